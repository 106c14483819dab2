//! Dunning: what follows a failed payment. Pure: a policy, a failure, and what to do next.

use chrono::{DateTime, Days, NaiveTime, Utc};
use chrono_tz::Tz;

use super::{calendar, payment::DeclineClass, text_enum};

text_enum! {
    /// What ends a ladder that did not bring the money.
    pub enum FinalAction {
        Cancel = "cancel",
        Pause = "pause",
        MarkUncollectible = "mark_uncollectible",
        PaymentRequest = "payment_request",
    }
}

/// A ladder of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Days after the first failure, rising.
    pub retry_days: Vec<u32>,
    pub final_action: FinalAction,
}

/// What to do about an invoice after a decline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Charge again then.
    RetryAt(DateTime<Utc>),
    /// No charge can succeed with this method: wait for another until then, then give up.
    GiveUpAt(DateTime<Utc>),
    /// The ladder is used up.
    GiveUp,
    /// The issuer ended the mandate: cancel at once.
    Stop,
}

/// The step after a decline. `failures` counts this one; retries stand at local calendar days after the first failure, at the
/// time of day at which bills are run.
pub fn after_decline(
    policy: &Policy,
    class: DeclineClass,
    failures: i64,
    first_failed_at: DateTime<Utc>,
    zone: Tz,
    bill_at: NaiveTime,
) -> Next {
    let on_day = |days: u32| {
        let date = calendar::local_date(first_failed_at, zone);
        calendar::instant(date.checked_add_days(Days::new(days.into())).unwrap_or(date), bill_at, zone)
    };
    match class {
        DeclineClass::StopRecurring => Next::Stop,
        DeclineClass::Hard | DeclineClass::NewCardNeeded => match policy.retry_days.last() {
            Some(&last) => Next::GiveUpAt(on_day(last)),
            None => Next::GiveUp,
        },
        DeclineClass::Soft | DeclineClass::TryLater | DeclineClass::GatewayFault => {
            let step = usize::try_from(failures - 1).unwrap_or(0);
            policy.retry_days.get(step).map_or(Next::GiveUp, |&days| Next::RetryAt(on_day(days)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("instant")
    }

    #[test]
    fn retries_stand_at_days_after_the_first_failure_in_local_time() {
        let policy = Policy { retry_days: vec![1, 3, 5, 7], final_action: FinalAction::Cancel };
        let zone: Tz = "Europe/Berlin".parse().expect("zone");
        let six = NaiveTime::from_hms_opt(6, 0, 0).expect("time");
        let first = at("2026-10-23T04:00:00Z");
        let next = |class, failures| after_decline(&policy, class, failures, first, zone, six);
        // Summer time ends on 25 October: local six o'clock moves from 04:00 to 05:00 UTC.
        assert_eq!(next(DeclineClass::Soft, 1), Next::RetryAt(at("2026-10-24T04:00:00Z")));
        assert_eq!(next(DeclineClass::Soft, 2), Next::RetryAt(at("2026-10-26T05:00:00Z")));
        assert_eq!(next(DeclineClass::Soft, 4), Next::RetryAt(at("2026-10-30T05:00:00Z")));
        assert_eq!(next(DeclineClass::Soft, 5), Next::GiveUp);
        assert_eq!(next(DeclineClass::Hard, 1), Next::GiveUpAt(at("2026-10-30T05:00:00Z")));
        assert_eq!(next(DeclineClass::StopRecurring, 1), Next::Stop);
    }
}
