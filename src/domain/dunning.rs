//! Dunning: what follows a failed payment. Pure: a policy, a failure, and what to do next.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{calendar, payment::DeclineClass, text_enum};

mod policy;
#[cfg(test)]
mod tests;

pub use policy::{ByClass, Channel, DunningRules, LocalTime, Override, Policy, PolicySource, Step};

text_enum! {
    /// What happens when a ladder ends without the money.
    pub enum FinalAction {
        /// The invoice becomes uncollectible, and its subscription is cancelled.
        Cancel = "cancel",
        /// The invoice becomes uncollectible, and its subscription is paused.
        Pause = "pause",
        /// The invoice becomes uncollectible, and its subscription goes on.
        MarkUncollectible = "mark_uncollectible",
        /// The customer gets a last payment request; if the request expires, the invoice becomes uncollectible.
        PaymentRequest = "payment_request",
    }
}

text_enum! {
    /// Why an attempt that was due waits, though nobody is at fault and no step is spent.
    pub enum Postponement {
        /// The credential has had all the declines that its gateway's caps allow.
        Cap = "cap",
        /// The gateway is down, or an operator has paused it.
        Gateway = "gateway",
        /// The authorization for the invoice is being voided, or its outcome is not known yet.
        Reservation = "reservation",
    }
}

/// A failed payment with all that the decision about the next attempt needs.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// What the decline means for the next attempt.
    pub class: DeclineClass,
    /// Failures of the invoice so far, with this one.
    pub count: i64,
    /// UTC instant of the invoice's first failure, from which the steps count.
    pub first_failed_at: DateTime<Utc>,
    /// UTC instant of this failure, by the clock of the invoice's timeline.
    pub now: DateTime<Utc>,
    /// The zone in which days are counted.
    pub zone: Tz,
    /// Whether the customer has a stored method that could be charged and was not tried for this invoice.
    pub another_method: bool,
}

/// What to do about an invoice after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The invoice is charged again.
    RetryAt {
        /// UTC instant of the next attempt.
        at: DateTime<Utc>,
        /// Whether the next attempt charges the customer's next stored method.
        next_method: bool,
    },
    /// No charge to this method can succeed: the invoice waits for another method until this instant, and then the ladder ends.
    GiveUpAt(DateTime<Utc>),
    /// The ladder has no step left.
    GiveUp,
    /// The issuer ended the mandate, so the ladder ends at once.
    Stop,
}

/// The steps that hold for one class of decline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ladder<'r> {
    /// The steps, in order of their days.
    pub steps: &'r [Step],
    /// What happens when the ladder ends without the money. None means that the invoice is parked and an operator decides.
    pub final_action: Option<FinalAction>,
    /// Whether the policy has steps for this very class, and not just its general steps.
    own: bool,
}

impl<'r> Ladder<'r> {
    /// The step that follows the failure of this number, from 1. Failures beyond the last step get the last step again. None for
    /// a ladder without steps.
    pub fn step_after(&self, count: i64) -> Option<&'r Step> {
        let index = usize::try_from(count - 1).unwrap_or(0).min(self.steps.len().checked_sub(1)?);
        self.steps.get(index)
    }
}

impl DunningRules {
    /// The ladder for a class of decline. None as the class means the policy's general steps.
    pub fn ladder(&self, class: Option<DeclineClass>) -> Ladder<'_> {
        let written = match class {
            Some(DeclineClass::Soft) => self.by_class.soft.as_ref(),
            Some(DeclineClass::TryLater) => self.by_class.try_later.as_ref(),
            Some(DeclineClass::Hard) => self.by_class.hard.as_ref(),
            Some(DeclineClass::NewCardNeeded) => self.by_class.new_card_needed.as_ref(),
            Some(
                DeclineClass::StopRecurring
                | DeclineClass::GatewayFault
                | DeclineClass::AccountRefused
                | DeclineClass::ChargeRefused,
            )
            | None => None,
        };
        // A rule of the merchant's own may be what stops the customer, so nobody is given up for it unless the policy says so.
        let general = (class != Some(DeclineClass::TryLater)).then_some(self.final_action);
        match written {
            Some(own) => Ladder { steps: &own.steps, final_action: own.final_action.or(general), own: true },
            None => Ladder { steps: &self.steps, final_action: general, own: false },
        }
    }

    /// Decides what follows a failure. Steps stand at local calendar days after the first failure, each at its hour of the day,
    /// and the nth step follows the nth failure. Steps that name no hour stand at `bill_at`.
    pub fn after(&self, failure: &Failure, bill_at: NaiveTime) -> Next {
        let ladder = self.ladder(Some(failure.class));
        let taken = usize::try_from(failure.count - 1).unwrap_or(0);
        let ahead = ladder.steps.get(taken..).unwrap_or_default();
        match failure.class {
            DeclineClass::StopRecurring => Next::Stop,
            // This method will not pay, now or later: where the policy has no own steps for that, only another method is worth a
            // charge.
            DeclineClass::Hard | DeclineClass::NewCardNeeded if !ladder.own => {
                if failure.another_method && ahead.iter().any(|step| step.next_method) {
                    return Next::RetryAt { at: failure.now, next_method: true };
                }
                ladder.steps.last().map_or(Next::GiveUp, |last| Next::GiveUpAt(failure.instant_of(last, bill_at)))
            }
            _ => ahead.first().map_or(Next::GiveUp, |step| Next::RetryAt {
                at: failure.instant_of(step, bill_at),
                next_method: step.next_method && failure.another_method,
            }),
        }
    }
}

impl Failure {
    /// The instant of a step. A ladder that could not be followed in time goes on by one step a day, never by all steps at once.
    fn instant_of(&self, step: &Step, bill_at: NaiveTime) -> DateTime<Utc> {
        if step.after_days == 0 && step.at.is_none() {
            return self.now;
        }
        let time = step.at.map_or(bill_at, |at| at.0);
        let days_after = |from: DateTime<Utc>, days: u32| {
            let date = calendar::local_date(from, self.zone);
            calendar::instant(date.checked_add_days(Days::new(days.into())).unwrap_or(date), time, self.zone)
        };
        let at = days_after(self.first_failed_at, step.after_days);
        if at > self.now { at } else { days_after(self.now, 1).max(self.now + TimeDelta::minutes(1)) }
    }
}
