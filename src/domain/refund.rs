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
        /// It never did: it may be asked for again.
        NotProcessed = "not_processed",
    }
}

text_enum! {
    /// Where a refund stands.
    pub enum RefundStatus {
        Pending = "pending",
        Succeeded = "succeeded",
        Refused = "refused",
        GatewayError = "gateway_error",
        Unknown = "unknown",
        Parked = "parked",
    }
}

/// Money on its way back to the customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Refund {
    pub id: RefundId,
    /// None for what becomes credit.
    pub payment_id: Option<PaymentId>,
    pub invoice_id: InvoiceId,
    pub timeline: Timeline,
    pub destination: RefundTo,
    pub amount: i64,
    /// What the payment had given back before: lets a lookup tell this refund from earlier ones.
    pub returned_before: i64,
    pub currency: Currency,
    pub reason: String,
    pub status: RefundStatus,
    /// Undone before settlement, rather than refunded.
    pub voided: bool,
    pub transaction_id: Option<String>,
    pub message: Option<String>,
    pub lease_owner: Option<String>,
    /// Rises with each claim, so that whoever held an older one knows.
    pub lease_token: i64,
    pub lease_expires_at: Option<DateTime<Utc>>,
    pub lookups: i64,
    pub next_lookup_at: Option<DateTime<Utc>>,
    /// Wall time at which it was recorded; once it is unknown, until when it may have been sent.
    pub sent_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
}
