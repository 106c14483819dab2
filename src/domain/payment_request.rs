//! A payment request: the customer is asked to pay an invoice by e-mail, SMS or link. It takes no money by itself.

pub mod answer;
pub mod transition;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::Timeline,
    frequency::Frequency,
    id::{CustomerId, InvoiceId, PaymentMethodId, PaymentRequestId},
    lookup::LookupPolicy,
    money::Currency,
    text_enum,
};

text_enum! {
    /// Where a payment request stands.
    pub enum RequestStatus {
        /// Recorded; the gateway is being called.
        Pending = "pending",
        /// Nobody knows whether the customer was asked: what was paid is looked up before asking again.
        Unknown = "unknown",
        /// The customer has been asked.
        Sent = "sent",
        /// The customer has agreed to a schedule that the gateway runs.
        Running = "running",
        /// Also of a schedule: with its last payment.
        Paid = "paid",
        Expired = "expired",
        Withdrawn = "withdrawn",
        /// The gateway asked nobody.
        Refused = "refused",
        /// An operator decides: another amount was paid, or the gateway does not answer.
        Parked = "parked",
    }
}

impl RequestStatus {
    /// Whether the customer may still be going to pay by it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Unknown | Self::Sent | Self::Running)
    }
}

text_enum! {
    /// Whose idea it was, and thus what its expiry means.
    pub enum Role {
        /// How this invoice is collected: expiry is a failed attempt.
        Attempt = "attempt",
        /// The end of the dunning ladder: after it the invoice is given up on.
        Last = "last",
        /// An operator's, beside whatever else goes on.
        Extra = "extra",
        /// An operator's: a schedule that the gateway runs by itself.
        Schedule = "schedule",
    }
}

text_enum! {
    /// Why a request is being closed.
    pub enum Ending {
        Expired = "expired",
        Withdrawn = "withdrawn",
    }
}

/// Callbacks make us look no more often than this.
const CALLBACKS_APART: TimeDelta = TimeDelta::seconds(1);

/// One request. Holds its own copy of what is asked and of whom, so that sent again it is the same request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct PaymentRequest {
    pub id: PaymentRequestId,
    /// None for a schedule: each of its payments gets an invoice of its own.
    pub invoice_id: Option<InvoiceId>,
    pub customer_id: CustomerId,
    pub payment_method_id: Option<PaymentMethodId>,
    pub timeline: Timeline,
    pub gateway: String,
    pub role: Role,
    /// Paysley's `reference_number`, Paylike's `reference`.
    pub reference: String,
    pub status: RequestStatus,
    /// It is being closed, and the gateway has not confirmed that.
    pub ending: Option<Ending>,
    #[sqlx(json)]
    pub channels: Vec<String>,
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    pub description: String,
    /// Minor units; of a schedule, what each payment takes.
    pub amount: i64,
    pub currency: Currency,
    /// Weekly, monthly, quarterly or yearly; none where one payment is asked for.
    pub payment_frequency: Option<Frequency>,
    /// Wall time, as the gateway runs it.
    pub payment_start_at: Option<DateTime<Utc>>,
    /// None: until it is stopped.
    pub total_number_of_payments: Option<i64>,
    /// Taken at once, beside the schedule; minor units.
    pub initial_payment_amount: Option<i64>,
    /// The gateway's id of the payment by which the customer agreed to the schedule: it is stopped by this.
    pub agreement_id: Option<String>,
    /// The gateway's own id, where it keeps requests.
    pub request_id: Option<String>,
    pub link: Option<String>,
    pub message: Option<String>,
    /// The gateway did not let it be taken back, or a payment of its schedule may have been on its way: it is watched after its end.
    pub kept: bool,
    /// Calls that asked: more than one may have made more than one link.
    pub asks: i64,
    /// Reminders sent.
    pub reminders: i64,
    /// A reminder is to be sent now.
    pub remind: bool,
    pub expires_at: DateTime<Utc>,
    pub next_reminder_at: Option<DateTime<Utc>>,
    pub lease_owner: Option<String>,
    /// Rises with each claim.
    pub lease_token: i64,
    /// Calls in a row that brought no answer.
    pub checks: i64,
    /// Wall time: when the gateway is next called about it.
    pub next_check_at: Option<DateTime<Utc>>,
    /// Wall time of the last claim: what the gateway said then may be older than what it is said to know since.
    pub claimed_at: Option<DateTime<Utc>>,
    /// Wall time: when somebody last said that something has happened.
    pub notified_at: Option<DateTime<Utc>>,
    /// Wall time: after that the gateway takes no payment by it.
    pub gateway_expires_at: DateTime<Utc>,
    /// Wall time of the first call.
    pub sent_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
}

impl PaymentRequest {
    /// Whether somebody has said that something happened, and nobody has looked since.
    pub fn needs_poll(&self) -> bool {
        self.notified_at.is_some_and(|heard| self.claimed_at.is_none_or(|claimed| claimed <= heard))
    }

    /// Brings the next look forward, to this instant of wall time.
    pub fn look_by(&mut self, at: DateTime<Utc>) {
        self.next_check_at = Some(self.next_check_at.map_or(at, |planned| planned.min(at)));
    }

    /// The first instant at which a callback may make us look again: callbacks are signed by nobody.
    pub fn soonest_poll(&self, polls: &LookupPolicy, wall: DateTime<Utc>) -> DateTime<Utc> {
        let apart = polls.backoff.first().map_or(CALLBACKS_APART, |first| CALLBACKS_APART.min(*first));
        self.claimed_at.map_or(wall, |claimed| wall.max(claimed + apart))
    }

    /// What an event tells of a request: no e-mail address, no phone number.
    pub fn event_data(&self) -> Value {
        json!({
            "invoice_id": self.invoice_id,
            "customer_id": self.customer_id,
            "gateway": self.gateway,
            "role": self.role,
            "channels": self.channels,
            "amount": self.amount,
            "currency": self.currency,
            "link": self.link,
            "reminders": self.reminders,
            "expires_at": self.expires_at,
            "message": self.message,
        })
    }

    /// Whether the gateway may hold links that we do not know of, or could not take back: they may still be paid.
    pub fn may_be_orphaned(&self) -> bool {
        self.kept || self.asks > 1 || (self.asks > 0 && self.request_id.is_none())
    }
}

/// Whether a schedule has no payment to come. Whether the gateway counts the initial payment among the others is not documented: both
/// are believed, the lower count only once another payment would be overdue.
pub fn is_complete(
    frequency: Option<Frequency>,
    starts_at: Option<DateTime<Utc>>,
    total: Option<i64>,
    initial_minor: Option<i64>,
    payments: i64,
    wall: DateTime<Utc>,
) -> bool {
    let Some(total) = total else { return false };
    let most = total.saturating_add(initial_minor.is_some().into());
    let days: i64 = match frequency {
        Some(Frequency::Weekly) => 7,
        Some(Frequency::Quarterly) => 92,
        Some(Frequency::Yearly) => 366,
        _ => 31,
    };
    let over = TimeDelta::try_days(days.saturating_mul(total.saturating_add(1)))
        .and_then(|span| starts_at?.checked_add_signed(span))
        .is_some_and(|over| over <= wall);
    payments >= most || payments >= total && over
}

/// When the next reminder is due: at the given times after the request was made, those that are already over left out.
pub fn next_reminder(
    after: &[TimeDelta],
    created_at: DateTime<Utc>,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let instants = after.iter().filter_map(|after| created_at.checked_add_signed(*after));
    instants.filter(|at| *at > now && *at < expires_at).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_over_with_its_last_payment_however_the_first_is_counted() {
        let starts: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("instant");
        let at = |days| starts + TimeDelta::days(days);
        let month = Some(Frequency::Monthly);
        for (total, initial, payments, day, over) in [
            (None, None, 1000, 10_000, false),
            (Some(3), None, 2, 10_000, false),
            (Some(3), None, 3, 0, true),
            // Whether the initial payment is one of the three is not documented.
            (Some(3), Some(1), 3, 0, false),
            (Some(3), Some(1), 3, 123, false),
            (Some(3), Some(1), 3, 124, true),
            (Some(3), Some(1), 4, 0, true),
            (Some(i64::MAX - 1), Some(1), 4, 0, false),
        ] {
            let said = is_complete(month, Some(starts), total, initial, payments, at(day));
            assert_eq!(said, over, "{total:?} {initial:?}: {payments} on day {day}");
        }
    }

    #[test]
    fn reminders_follow_one_another_and_stop_at_the_expiry() {
        let at = |text: &str| -> DateTime<Utc> { format!("2026-01-{text}T00:00:00Z").parse().expect("instant") };
        let after: Vec<TimeDelta> = [3, 10, 20].map(TimeDelta::days).to_vec();
        let next = |now| next_reminder(&after, at("01"), at(now), at("15"));
        assert_eq!((next("01"), next("03")), (Some(at("04")), Some(at("04"))));
        assert_eq!((next("04"), next("10")), (Some(at("11")), Some(at("11"))));
        assert_eq!(next("11"), None, "the third would come after the end");
        assert_eq!(next_reminder(&[], at("01"), at("01"), at("15")), None);
        assert_eq!(next_reminder(&[TimeDelta::MAX], at("01"), at("01"), at("15")), None);
    }
}
