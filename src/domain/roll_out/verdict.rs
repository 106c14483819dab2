//! What a roll-out does to one subscription: the list that is shown first and the change itself come from here.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Effect, Field, LeftAloneReason, Options, Versions, inherit::Pick};
use crate::domain::{
    invoice::{Modifier, price, subtotal},
    money::MAX_AMOUNT_MINOR,
    plan::Plan,
    proration::Share,
    subscription::{Change, Rules, Subscription, SubscriptionStatus, UnusedDays, change::Changed},
};

/// What a verdict depends on besides the row of the subscription.
#[derive(Debug, Clone)]
pub struct SubscriptionFacts {
    /// UTC, by the clock of the subscription's timeline.
    pub now: DateTime<Utc>,
    /// The days to come that were billed, and what their invoices can give for them. Callers find these out only for [`Effect::Now`].
    pub unused: Vec<UnusedDays>,
}

/// How a subscription is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The changed subscription.
    pub after: Subscription,
    /// What the change costs.
    pub changed: Changed,
    /// The fields in which the subscription keeps values of its own.
    pub kept: Vec<Field>,
}

impl Versions {
    /// Whether the subscription has anything of this entry, now or in a change that waits.
    pub fn concerns(&self, subscription: &Subscription) -> bool {
        let pending = subscription.pending_change.as_ref();
        let holds = |versions: &[Modifier], list: &[Modifier], waiting: Option<&Vec<Modifier>>| {
            let id = versions.first().map(|entry| &entry.id);
            list.iter().chain(waiting.into_iter().flatten()).any(|item| Some(&item.id) == id)
        };
        match self {
            Self::Plan(plans) => plans.first().is_some_and(|plan| subscription.plan_id == Some(plan.id)),
            Self::AddOn(versions) => holds(versions, &subscription.add_ons, pending.and_then(|it| it.add_ons.as_ref())),
            Self::Discount(versions) => holds(versions, &subscription.discounts, pending.and_then(|it| it.discounts.as_ref())),
        }
    }

    /// The plan with its copy of this add-on or discount changed. None if nothing in the plan changes.
    pub fn in_plan(&self, options: &Options, plan: &Plan) -> Option<Plan> {
        let mut pick = Pick::new(options);
        let mut after = plan.clone();
        match self {
            Self::Plan(_) => return None,
            Self::AddOn(versions) => after.add_ons = pick.entry(versions, &plan.add_ons)?,
            Self::Discount(versions) => after.discounts = pick.entry(versions, &plan.discounts)?,
        }
        Some(after)
    }

    /// What changes in these terms, and the fields that stay although they differ.
    fn wanted(&self, options: &Options, terms: &Subscription) -> (Change, Vec<Field>) {
        let mut pick = Pick::new(options);
        let change = match self {
            Self::Plan(plans) => pick.of_plan(plans, terms),
            Self::AddOn(versions) => Change { add_ons: pick.entry(versions, &terms.add_ons), ..Change::default() },
            Self::Discount(versions) => Change { discounts: pick.entry(versions, &terms.discounts), ..Change::default() },
        };
        (change, pick.kept.into_iter().collect())
    }

    /// Decides what becomes of a subscription that the entry concerns. An error says why the subscription is left alone.
    pub fn judge(
        &self,
        options: &Options,
        before: &Subscription,
        facts: SubscriptionFacts,
        rules: &Rules,
    ) -> Result<Verdict, LeftAloneReason> {
        let today = before.today(facts.now);
        self.may_change(before, today)?;
        let (change, mut kept) = self.wanted(options, before);
        let mut after = before.clone();
        // The pending change will be applied on top of these terms, so the pending change is changed in the same way.
        let mut waits = false;
        if let Some(pending) = &mut after.pending_change {
            let (wanted, kept_then) = self.wanted(options, &laid_over(before, pending));
            let later = of_what_waits(pending, wanted);
            waits = later != Change::default();
            pending.merge(later);
            kept.extend(kept_then);
        }
        kept.sort_unstable();
        kept.dedup();
        let nothing = change == Change::default();
        if nothing && !waits {
            return Err(if kept.is_empty() { LeftAloneReason::Unchanged } else { LeftAloneReason::Overridden });
        }
        let mut changed = None;
        if !nothing && options.when == Effect::Now {
            let bills =
                matches!(before.status, SubscriptionStatus::Trialing | SubscriptionStatus::Active | SubscriptionStatus::PastDue);
            let mut trial = after.clone();
            let done = trial.change_now(change.clone(), facts.unused.clone(), facts.now, rules);
            // Terms that cost the same are not worth an invoice.
            if bills && before.running_period(today).is_some() && is_repriced(before, &trial) {
                (after, changed) = (trial, Some(done));
            }
        }
        let changed = changed.unwrap_or_else(|| {
            let effective_date = before.next_nominal_date().unwrap_or(today);
            if nothing {
                after.refresh(rules);
            } else {
                after.change_terms(change, facts.now, rules);
            }
            Changed::on(effective_date)
        });
        if fits(before, &after) { Ok(Verdict { after, changed, kept }) } else { Err(LeftAloneReason::DoesNotFit) }
    }

    fn may_change(&self, before: &Subscription, today: NaiveDate) -> Result<(), LeftAloneReason> {
        if before.status.is_ended() {
            return Err(LeftAloneReason::Ended);
        }
        if before.cancel_at_period_end {
            return Err(LeftAloneReason::Cancelling);
        }
        if let Self::Plan(plans) = self {
            if plans.first().is_some_and(|plan| plan.currency != before.currency) {
                return Err(LeftAloneReason::OtherCurrency);
            }
            let next_plan = before.pending_change.as_ref().and_then(|pending| pending.plan_id);
            if next_plan.is_some() && next_plan != before.plan_id {
                return Err(LeftAloneReason::ChangingPlan);
            }
        }
        let missed = before.next_nominal_date().is_some_and(|date| date <= today);
        if before.status == SubscriptionStatus::Parked && missed {
            return Err(LeftAloneReason::Parked);
        }
        Ok(())
    }
}

impl Verdict {
    /// What the next charge of the subscription comes to, minor units. None means that no charge is to come.
    pub fn next_amount(subscription: &Subscription, rules: &Rules) -> Option<i64> {
        subscription.next_bill_at?;
        subscription.upcoming(rules, 1).pop().map(|cycle| cycle.amount)
    }
}

/// Whether a full cycle has another price, or comes at other times.
fn is_repriced(before: &Subscription, after: &Subscription) -> bool {
    let cycle = before.next_cycle - 1;
    let full = |subscription: &Subscription| subtotal(&price(&subscription.charge(), cycle, Share::WHOLE));
    before.recurrence().ok() != after.recurrence().ok() || full(before) != full(after)
}

/// Whether the bill run could go on with these terms.
fn fits(before: &Subscription, after: &Subscription) -> bool {
    let affordable = |it: &Subscription| it.amount.checked_mul(it.quantity).is_some_and(|base| base <= MAX_AMOUNT_MINOR);
    let next = match &after.pending_change {
        Some(pending) => laid_over(after, pending),
        None => after.clone(),
    };
    let too_short = after.duration != before.duration && (1..=before.cycles_billed).contains(&after.duration);
    !too_short && [after, &next].iter().all(|it| it.recurrence().is_ok() && affordable(it))
}

/// The terms as they will be once the change that waits is applied.
fn laid_over(subscription: &Subscription, pending: &Change) -> Subscription {
    let mut terms = subscription.clone();
    pending.put_over(&mut terms);
    terms
}

/// The part of a change that concerns the terms that wait: everything else changes in the subscription itself.
fn of_what_waits(pending: &Change, mut wanted: Change) -> Change {
    let recurs =
        pending.billing_frequency.is_some() || pending.billing_cycle_interval.is_some() || pending.billing_days.is_some();
    if !recurs {
        (wanted.billing_frequency, wanted.billing_cycle_interval) = (None, None);
        (wanted.billing_days, wanted.keep_anchor) = (None, None);
    }
    if pending.business_day.is_none() && pending.holiday_calendar.is_none() {
        (wanted.business_day, wanted.holiday_calendar) = (None, None);
    }
    macro_rules! only {
        ($($field:ident),+) => {$( if pending.$field.is_none() { wanted.$field = None; } )+};
    }
    only!(description, amount, duration, catch_up, while_past_due, add_ons, discounts);
    wanted
}
