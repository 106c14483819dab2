//! A dispute: a customer's bank takes back what was paid, or asks for it. Recorded as the gateway reports it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    clock::Timeline,
    id::{CustomerId, DisputeId, InvoiceId, PaymentId},
    money::Currency,
    text_enum,
};

text_enum! {
    /// Where a dispute stands.
    pub enum DisputeStatus {
        /// The bank holds the money, or has taken it back.
        Open = "open",
        /// The gateway does not report the dispute any more: the money is back.
        Closed = "closed",
    }
}

/// The disputed part of one payment. A payment has one open dispute at most, which covers all that is disputed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Dispute {
    /// Names the dispute.
    pub id: DisputeId,
    /// The payment that is disputed.
    pub payment_id: PaymentId,
    /// The invoice of the payment.
    pub invoice_id: InvoiceId,
    /// Who disputes the payment.
    pub customer_id: CustomerId,
    /// The clock of the customer.
    pub timeline: Timeline,
    /// Name of the configured gateway that took the payment.
    pub gateway: String,
    /// The gateway's id of the payment.
    pub transaction_id: String,
    /// Minor units.
    pub amount: i64,
    /// The currency of the amount.
    pub currency: Currency,
    /// Whether the bank still holds or took the money.
    pub status: DisputeStatus,
    /// The gateway's word for the reason.
    pub reason: String,
    /// When the daemon first saw the dispute, UTC.
    pub opened_at: DateTime<Utc>,
    /// When nothing was disputed any more, UTC. None means that the dispute is open.
    pub closed_at: Option<DateTime<Utc>>,
}

/// Days after a payment on which its gateway is asked whether it is disputed; card networks allow four months for most reasons.
pub const ASKED_AFTER_DAYS: [i64; 8] = [1, 3, 7, 14, 30, 60, 90, 120];
