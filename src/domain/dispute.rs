//! A dispute: a customer's bank takes back what was paid, or asks for it. Recorded as the gateway reports it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{
    customer::Timeline,
    id::{CustomerId, DisputeId, InvoiceId, PaymentId},
    money::Currency,
    text_enum,
};

text_enum! {
    /// Where a dispute stands.
    pub enum DisputeStatus {
        /// The money is away, or held.
        Open = "open",
        /// The gateway does not speak of it any more: the money is back.
        Closed = "closed",
    }
}

/// What was disputed of one payment. A payment has one open dispute at most, of all that is disputed of it.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Dispute {
    pub id: DisputeId,
    pub payment_id: PaymentId,
    pub invoice_id: InvoiceId,
    pub customer_id: CustomerId,
    pub timeline: Timeline,
    pub gateway: String,
    /// The gateway's id of the payment.
    pub transaction_id: String,
    /// Minor units.
    pub amount: i64,
    pub currency: Currency,
    pub status: DisputeStatus,
    /// The gateway's word for it.
    pub reason: String,
    pub opened_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
}

/// Days after a payment on which its gateway is asked whether it is disputed; card networks allow four months for most reasons.
const ASKED_AFTER_DAYS: &[i64] = &[1, 3, 7, 14, 30, 60, 90, 120];

/// When a payment is next asked about, wall time; none once it is too old.
pub fn next_check(sent_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    ASKED_AFTER_DAYS.iter().map(|days| sent_at + TimeDelta::days(*days)).find(|at| *at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_is_asked_about_a_few_times_and_then_no_more() {
        let sent_at: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let mut now = sent_at;
        let mut asked = 0;
        while let Some(next) = next_check(sent_at, now) {
            assert!(next > now);
            now = next;
            asked += 1;
        }
        assert_eq!((asked, now - sent_at), (ASKED_AFTER_DAYS.len(), TimeDelta::days(120)));
    }
}
