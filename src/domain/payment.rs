//! A payment: one attempt to collect an invoice at a gateway, and what can come of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text_enum;

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

text_enum! {
    /// Where a payment stands.
    pub enum PaymentStatus {
        /// Recorded; the gateway is being called.
        Pending = "pending",
        /// Money is reserved under `transaction_id`; the capture comes next.
        Authorized = "authorized",
        Succeeded = "succeeded",
        Declined = "declined",
        /// Certainly not processed.
        GatewayError = "gateway_error",
        /// Nobody knows: a look-up at the gateway must say before anything else is tried.
        Unknown = "unknown",
        /// The gateway could not say either; an operator decides.
        Parked = "parked",
        Refunded = "refunded",
    }
}

impl PaymentStatus {
    /// While a payment is in one of these, its invoice refuses another.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Authorized | Self::Unknown | Self::Parked)
    }
}

text_enum! {
    /// What a decline means for the next attempt.
    pub enum DeclineClass {
        /// This card will not pay, now or later.
        Hard = "hard",
        /// May pass in some days.
        Soft = "soft",
        /// Only another card helps.
        NewCardNeeded = "new_card_needed",
        /// A passing trouble at the issuer.
        TryLater = "try_later",
        /// The issuer ended the mandate: cancels.
        StopRecurring = "stop_recurring",
        /// The merchant's or gateway's fault: spends no dunning step, tells the customer nothing.
        GatewayFault = "gateway_fault",
    }
}

/// Why a gateway refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    pub class: DeclineClass,
    /// The gateway's own code, as text.
    pub code: String,
    pub message: String,
}

/// What a call that moves money came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Money moved. `amount_minor` is what was really taken; it may be less than asked (partial approval).
    Succeeded { transaction_id: String, amount_minor: i64 },
    /// Money is reserved, none has moved. Persist the id, then capture.
    Authorized { transaction_id: String },
    /// Refused by the gateway's own word.
    Declined { decline: Decline, transaction_id: Option<String> },
    /// Certainly not processed: never connected, or 429.
    GatewayError { message: String, retry_after: Option<Duration> },
    /// Sent, and no answer that can be believed.
    Unknown { message: String },
}
