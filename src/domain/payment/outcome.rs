//! The outcomes of calls to a gateway that move money, one way or the other.

use chrono::TimeDelta;

use super::{Decline, DeclineClass};

/// The outcome of a call that takes or authorizes money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Money moved.
    Succeeded {
        /// The gateway's id of the transaction that took the money.
        transaction_id: String,
        /// What was really taken, minor units. A partial approval takes less than was asked for.
        amount_minor: i64,
    },
    /// The gateway holds money, and none has moved. The caller stores the id before the capture, so that a crash in between loses
    /// nothing.
    Authorized {
        /// The gateway's id of the authorization.
        transaction_id: String,
    },
    /// The gateway refused by its own word, and no money moved.
    Declined {
        /// Why the gateway refused.
        decline: Decline,
        /// The gateway's id of the refused attempt, if the gateway gives one.
        transaction_id: Option<String>,
    },
    /// The gateway certainly did not process the call: nobody connected, or the answer was 429.
    GatewayError {
        /// What went wrong, without secrets.
        message: String,
        /// How long a 429 asked to be left alone.
        retry_after: Option<TimeDelta>,
    },
    /// The call was sent, and no answer came that can be believed.
    Unknown {
        /// What went wrong, without secrets.
        message: String,
    },
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

impl Outcome {
    /// What the gateway said if it refuses the merchant's account.
    pub fn account_refusal(&self) -> Option<String> {
        match self {
            Self::Declined { decline, .. } if decline.class == DeclineClass::AccountRefused => Some(decline.reason()),
            _ => None,
        }
    }

    /// Whether the outcome shows that the gateway takes the merchant's account: money moved, or the customer was refused.
    pub fn is_accepted(&self) -> bool {
        match self {
            Self::Succeeded { .. } | Self::Authorized { .. } => true,
            Self::Declined { decline, .. } => decline.class.is_customers(),
            Self::GatewayError { .. } | Self::Unknown { .. } => false,
        }
    }
}

/// Another transaction under the reference of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The gateway's id of the transaction.
    pub transaction_id: String,
    /// What the transaction took, minor units. None where the gateway only holds the money.
    pub taken_minor: Option<i64>,
}

/// The outcome of a refund or a void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnOutcome {
    /// The money went back, or the gateway let go of it.
    Returned {
        /// The gateway's id of the refund, if the gateway gives one.
        transaction_id: Option<String>,
        /// Whether the charge was undone before settlement.
        voided: bool,
    },
    /// The gateway refused by its own word, and no money moved.
    Refused {
        /// The gateway's own code, as text.
        code: String,
        /// The gateway's own words, for people.
        message: String,
    },
    /// The gateway certainly did not process the call.
    GatewayError {
        /// What went wrong, without secrets.
        message: String,
    },
    /// The call was sent, and no answer came that can be believed.
    Unknown {
        /// What went wrong, without secrets.
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
