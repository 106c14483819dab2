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
    /// Names the payment method.
    pub id: PaymentMethodId,
    /// Whose payment method this is.
    pub customer_id: CustomerId,
    /// Name of a configured gateway.
    pub gateway: String,
    /// Which of the following fields say what is charged.
    pub kind: MethodKind,
    /// A vault token: the gateway's id of the customer.
    pub customer_token: Option<String>,
    /// A vault token: the gateway's id of one method of the customer. None means the default method at the gateway.
    pub payment_method_token: Option<String>,
    /// An earlier transaction: the gateway's id of the transaction whose card is charged.
    pub transaction_id: Option<String>,
    /// A payment request: some of `EMAIL`, `SMS`, `WEB`.
    #[sqlx(json)]
    pub channels: Vec<String>,
    /// Last month in which the card is valid, `YYYY-MM`. None means that nobody said so.
    pub expires: Option<String>,
    /// The last four digits of the card, for people.
    pub last_four: Option<String>,
    /// Whether this method is charged where none is named. A customer has one default at most.
    pub is_default: bool,
    /// Methods with a lower number are tried first.
    pub priority: i64,
    /// When the issuer stopped recurring charges to the method, which is not charged any more. None means that charges go on.
    pub mandate_ended_at: Option<DateTime<Utc>>,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC.
    pub updated_at: DateTime<Utc>,
}
