//! Who pays: the customer, the zone and clock that their bills follow, and their credit.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    calendar::Zone,
    clock::Timeline,
    id::{CreditId, CustomerId, InvoiceId},
    money::Currency,
};

/// Free key-value text that the merchant attaches.
pub type Metadata = Map<String, Value>;

/// Whoever pays. A customer has no card data: see [`PaymentMethod`](super::payment_method::PaymentMethod).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Customer {
    /// Names the customer.
    pub id: CustomerId,
    /// The merchant's own id; requests may use this in place of `id`. None means that the merchant gave none.
    pub reference: Option<String>,
    /// The clock that the customer lives by: the wall clock or a test clock.
    pub timeline: Timeline,
    /// As payment requests address the customer.
    pub name: String,
    /// Where payment requests go by e-mail.
    pub email: Option<String>,
    /// Where payment requests go by SMS.
    pub phone: Option<String>,
    /// The language of payment requests, such as `de-DE`.
    pub locale: Option<String>,
    /// The time zone of the customer's dates.
    pub timezone: Zone,
    /// The currency of all that the customer owes.
    pub currency: Currency,
    /// Credit, minor units of `currency`; used before any gateway.
    pub balance: i64,
    /// The merchant's own values, which no rule reads.
    #[sqlx(json)]
    pub metadata: Metadata,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC.
    pub updated_at: DateTime<Utc>,
}

/// One movement of a customer's credit. The sum of all movements is the balance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Credit {
    /// Names the movement.
    pub id: CreditId,
    /// Whose balance it moves.
    pub customer_id: CustomerId,
    /// Signed, minor units: what is used is negative. Never zero.
    pub amount: i64,
    /// The customer's currency.
    pub currency: Currency,
    /// Why, for people.
    pub reason: String,
    /// The invoice that used the credit, gave the credit back, or was refunded as credit. None where no invoice is behind it.
    pub invoice_id: Option<InvoiceId>,
    /// UTC.
    pub created_at: DateTime<Utc>,
}
