//! What a call to a gateway came to.

use chrono::TimeDelta;

use super::Decline;

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
    GatewayError { message: String, retry_after: Option<TimeDelta> },
    /// Sent, and no answer that can be believed.
    Unknown { message: String },
}

impl Outcome {
    /// The fault of the gateway that this outcome tells of, and for how long a 429 asked to be left alone.
    pub fn gateway_fault(&self) -> Option<(String, Option<TimeDelta>)> {
        match self {
            Self::GatewayError { message, retry_after } => Some((message.clone(), *retry_after)),
            Self::Unknown { message } => Some((message.clone(), None)),
            Self::Succeeded { .. } | Self::Authorized { .. } | Self::Declined { .. } => None,
        }
    }
}

/// Another transaction under the reference of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    pub transaction_id: String,
    /// Taken, minor units; none where it is only reserved.
    pub taken_minor: Option<i64>,
}

/// What a refund or void came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnOutcome {
    /// `transaction_id` is the refund's own, where the gateway makes one. `voided`: undone before settlement.
    Returned {
        transaction_id: Option<String>,
        voided: bool,
    },
    Refused {
        code: String,
        message: String,
    },
    GatewayError {
        message: String,
    },
    Unknown {
        message: String,
    },
}

impl ReturnOutcome {
    /// The fault of the gateway that this outcome tells of.
    pub fn gateway_fault(&self) -> Option<(String, Option<TimeDelta>)> {
        match self {
            Self::GatewayError { message } | Self::Unknown { message } => Some((message.clone(), None)),
            Self::Returned { .. } | Self::Refused { .. } => None,
        }
    }
}
