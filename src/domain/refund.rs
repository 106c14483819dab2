//! Refunds: money on its way back to the customer, to the method it came from or as credit.

pub mod transition;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    clock::Timeline,
    id::{InvoiceId, PaymentId, RefundId},
    money::Currency,
    text_enum,
};

pub use super::invoice::RefundTo;

text_enum! {
    /// What an operator found out about a parked refund.
    pub enum RefundFinding {
        /// The money went back.
        Succeeded = "succeeded",
        /// The money never went back, and may be asked for again.
        NotProcessed = "not_processed",
    }
}

text_enum! {
    /// Where a refund stands.
    pub enum RefundStatus {
        /// The refund is recorded, and the call has not been answered.
        Pending = "pending",
        /// The money went back.
        Succeeded = "succeeded",
        /// The gateway refused by its own word. No money moved.
        Refused = "refused",
        /// The gateway certainly did not process the call, and no money moved.
        GatewayError = "gateway_error",
        /// Nobody knows whether the money went back. A lookup must say.
        Unknown = "unknown",
        /// Nobody knows whether the money went back, and lookups have ended. An operator must say.
        Parked = "parked",
    }
}

/// Money on its way back to the customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Refund {
    /// Names the refund.
    pub id: RefundId,
    /// The payment whose money goes back. None for a refund that becomes credit.
    pub payment_id: Option<PaymentId>,
    /// The invoice whose money goes back.
    pub invoice_id: InvoiceId,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Where the money goes: the payment method or the customer's balance.
    pub destination: RefundTo,
    /// Minor units, more than 0.
    pub amount: i64,
    /// What the payment had given back before, minor units. By this amount a lookup tells this refund from earlier refunds.
    pub returned_before: i64,
    /// The currency of both amounts.
    pub currency: Currency,
    /// Why, in the words of whoever asked for it.
    pub reason: String,
    /// How far the refund has come.
    pub status: RefundStatus,
    /// Whether the charge was undone before settlement, rather than refunded.
    pub voided: bool,
    /// The gateway's id of the refund, if the gateway gives one.
    pub transaction_id: Option<String>,
    /// Why the gateway refused, or why the outcome is not known.
    pub message: Option<String>,
    /// The daemon that calls or looks up. None means that no daemon has the refund.
    pub lease_owner: Option<String>,
    /// Rises with each claim, so that a daemon with an older claim notices.
    pub lease_token: i64,
    /// When another daemon may take the refund over, wall time, UTC.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// How many lookups brought no answer.
    pub lookups: i64,
    /// When the gateway is asked next what became of the refund, wall time, UTC.
    pub next_lookup_at: Option<DateTime<Utc>>,
    /// Wall time at which the refund was recorded, UTC. For an unknown refund, the latest time at which the call may have been
    /// sent.
    pub sent_at: DateTime<Utc>,
    /// UTC, by the clock of its timeline.
    pub created_at: DateTime<Utc>,
    /// When the outcome was known, UTC, by the clock of its timeline.
    pub resolved_at: Option<DateTime<Utc>>,
}
