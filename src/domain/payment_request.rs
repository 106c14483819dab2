//! A payment request: the customer is asked to pay an invoice by e-mail, SMS or link. A request takes no money by itself.

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
        /// The request is recorded, and the gateway is being called.
        Pending = "pending",
        /// Nobody knows whether the customer was asked: a lookup says what was paid before the customer is asked again.
        Unknown = "unknown",
        /// The customer has been asked, or has the link to pay by.
        Sent = "sent",
        /// The customer has agreed to a schedule that the gateway runs.
        Running = "running",
        /// The customer has paid. A schedule is paid with its last payment.
        Paid = "paid",
        /// The customer did not pay in time.
        Expired = "expired",
        /// The request was taken back before the customer paid.
        Withdrawn = "withdrawn",
        /// The gateway refused, and nobody was asked.
        Refused = "refused",
        /// An operator decides: another amount was paid, or the gateway does not answer.
        Parked = "parked",
    }
}

impl RequestStatus {
    /// Whether the customer may still be going to pay by the request.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Unknown | Self::Sent | Self::Running)
    }
}

text_enum! {
    /// Who wanted the request, and thus what its expiry means.
    pub enum Role {
        /// The invoice is collected by the request: expiry is a failed attempt.
        Attempt = "attempt",
        /// The request ends the dunning ladder: after its expiry the daemon gives the invoice up.
        Last = "last",
        /// An operator sent the request, beside whatever else goes on: expiry changes nothing.
        Extra = "extra",
        /// An operator asked for a schedule that the gateway runs by itself.
        Schedule = "schedule",
    }
}

text_enum! {
    /// Why a request is being closed.
    pub enum Ending {
        /// The time to pay is over.
        Expired = "expired",
        /// The payment is not wanted any more, or an operator takes the request back.
        Withdrawn = "withdrawn",
    }
}

/// Callbacks make the daemon poll no more often than this.
const CALLBACKS_APART: TimeDelta = TimeDelta::seconds(1);

/// One request. The row has a copy of what is asked and of whom, so that a call sent again is the same request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct PaymentRequest {
    /// Names the request.
    pub id: PaymentRequestId,
    /// The invoice that the customer is asked to pay. None for a schedule, each of whose payments gets an invoice of its own.
    pub invoice_id: Option<InvoiceId>,
    /// Who is asked.
    pub customer_id: CustomerId,
    /// The stored method of kind `payment_request`. None where the settings or an operator chose the gateway.
    pub payment_method_id: Option<PaymentMethodId>,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Name of the configured gateway.
    pub gateway: String,
    /// Who wanted the request, and what its expiry means.
    pub role: Role,
    /// Paysley's `reference_number`, Paylike's `reference`.
    pub reference: String,
    /// How far the request has come.
    pub status: RequestStatus,
    /// Why the request is being closed, while the gateway has not confirmed that. None means that nobody is closing the request.
    pub ending: Option<Ending>,
    /// Some of `EMAIL`, `SMS`, `WEB`; the last sends nothing.
    #[sqlx(json)]
    pub channels: Vec<String>,
    /// As the message addresses the customer.
    pub name: String,
    /// Where `EMAIL` goes.
    pub email: Option<String>,
    /// Where `SMS` goes.
    pub phone: Option<String>,
    /// The language of the customer, such as `de-DE`. None means that nobody knows it.
    pub locale: Option<String>,
    /// What the customer reads about the payment.
    pub description: String,
    /// Minor units; for a schedule, what each payment takes.
    pub amount: i64,
    /// The currency of all amounts of the request.
    pub currency: Currency,
    /// Weekly, monthly, quarterly or yearly. None where one payment is asked for.
    pub payment_frequency: Option<Frequency>,
    /// First payment of a schedule, wall time, UTC: the gateway runs the schedule.
    pub payment_start_at: Option<DateTime<Utc>>,
    /// How many payments a schedule has. None means that the schedule goes on until somebody stops it.
    pub total_number_of_payments: Option<i64>,
    /// What the customer pays at once, beside the schedule, minor units. None means nothing.
    pub initial_payment_amount: Option<i64>,
    /// The gateway's id of the payment by which the customer agreed to the schedule. The same id stops the schedule. None before
    /// that payment.
    pub agreement_id: Option<String>,
    /// The gateway's own id. None where the gateway keeps no requests, and before the request was sent.
    pub request_id: Option<String>,
    /// Where the customer can pay. None before the gateway has given a link.
    pub link: Option<String>,
    /// What went wrong last, for an operator. None means that nothing did.
    pub message: Option<String>,
    /// Whether the request is watched after its end: the gateway kept the link open, or a payment of the schedule may have been
    /// on its way.
    pub kept: bool,
    /// How many calls asked the customer. More than one call may have made more than one link.
    pub asks: i64,
    /// How many reminders were sent.
    pub reminders: i64,
    /// Whether a reminder is to be sent now.
    pub remind: bool,
    /// UTC instant after which the request counts as not paid, by the clock of the timeline.
    pub expires_at: DateTime<Utc>,
    /// UTC instant of the next reminder, by the clock of the timeline. None means that no reminder is planned.
    pub next_reminder_at: Option<DateTime<Utc>>,
    /// The daemon that is calling. None means that no daemon has the request.
    pub lease_owner: Option<String>,
    /// Rises with each claim, so that a daemon with an older claim notices.
    pub lease_token: i64,
    /// How many calls in a row brought nothing new; the waits between calls grow with this number.
    pub checks: i64,
    /// When the gateway is next called about the request, wall time, UTC. None means that no call is planned.
    pub next_check_at: Option<DateTime<Utc>>,
    /// Wall time of the last claim, UTC. What the gateway said then may be older than a callback since. None before a claim.
    pub claimed_at: Option<DateTime<Utc>>,
    /// Wall time of the last callback or hint that something has happened, UTC. None before the first one.
    pub notified_at: Option<DateTime<Utc>>,
    /// Wall time after which the gateway takes no payment by the request, UTC.
    pub gateway_expires_at: DateTime<Utc>,
    /// Wall time of the first call, UTC: search windows count from here.
    pub sent_at: DateTime<Utc>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
    /// When the request came to an end, UTC, by the clock of the timeline. None means that the request has not ended.
    pub resolved_at: Option<DateTime<Utc>>,
}

impl PaymentRequest {
    /// Whether somebody has said that something happened, and no daemon has polled since.
    pub fn needs_poll(&self) -> bool {
        self.notified_at.is_some_and(|heard| self.claimed_at.is_none_or(|claimed| claimed <= heard))
    }

    /// Brings the next call forward to this instant of wall time. A call that is planned earlier stays.
    pub fn look_by(&mut self, at: DateTime<Utc>) {
        self.next_check_at = Some(self.next_check_at.map_or(at, |planned| planned.min(at)));
    }

    /// The first instant of wall time at which a callback may lead to a poll: callbacks are not signed, so anybody can send them.
    pub fn soonest_poll(&self, polls: &LookupPolicy, wall: DateTime<Utc>) -> DateTime<Utc> {
        let apart = polls.backoff.first().map_or(CALLBACKS_APART, |first| CALLBACKS_APART.min(*first));
        self.claimed_at.map_or(wall, |claimed| wall.max(claimed + apart))
    }

    /// What an event tells about the request: no e-mail address and no phone number.
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

    /// Whether the gateway may hold links that the daemon does not know, or could not take back: customers may still pay by them.
    pub fn may_be_orphaned(&self) -> bool {
        self.kept || self.asks > 1 || (self.asks > 0 && self.request_id.is_none())
    }
}

/// Whether a schedule has no payment to come. The gateway does not document whether the initial payment counts among the others.
/// The higher count ends the schedule at once, the lower count only when another payment would be overdue.
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

/// The first reminder that is still to come, or None. Each reminder is due at its time after the request was made, if that is
/// before the expiry.
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
