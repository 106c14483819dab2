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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Customer {
    pub id: CustomerId,
    /// The merchant's own id; requests may use it in place of `id`.
    pub reference: Option<String>,
    pub timeline: Timeline,
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    pub timezone: Zone,
    pub currency: Currency,
    /// Credit, minor units of `currency`; used before any gateway.
    pub balance: i64,
    #[sqlx(json)]
    pub metadata: Metadata,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// One movement of a customer's credit; their sum is the balance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Credit {
    pub id: CreditId,
    pub customer_id: CustomerId,
    /// Signed, minor units: what is used is negative. Never zero.
    pub amount: i64,
    pub currency: Currency,
    pub reason: String,
    /// The invoice it was used for, came back from, or was paid for.
    pub invoice_id: Option<InvoiceId>,
    pub created_at: DateTime<Utc>,
}
