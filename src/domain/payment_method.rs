//! How a customer pays: stored tokens and earlier transactions, never card data.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    id::{CustomerId, PaymentMethodId},
    text_enum,
};

text_enum! {
    /// How a customer pays.
    pub enum MethodKind {
        /// A customer token in the gateway's vault (FluidPay).
        VaultToken = "vault_token",
        /// An earlier transaction that the customer made (Paylike).
        PriorTransaction = "prior_transaction",
        /// The customer is asked by e-mail, SMS or link (Paysley).
        PaymentRequest = "payment_request",
    }
}

/// One way of a customer to pay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct PaymentMethod {
    pub id: PaymentMethodId,
    pub customer_id: CustomerId,
    /// Name of a configured gateway.
    pub gateway: String,
    pub kind: MethodKind,
    pub customer_token: Option<String>,
    pub payment_method_token: Option<String>,
    pub transaction_id: Option<String>,
    #[sqlx(json)]
    pub channels: Vec<String>,
    /// `YYYY-MM`.
    pub expires: Option<String>,
    pub last_four: Option<String>,
    pub is_default: bool,
    /// Lower is tried first.
    pub priority: i64,
    /// When the issuer stopped recurring charges to it: it is not charged any more.
    pub mandate_ended_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
