//! How far a gateway has got with giving money back, so that a repeated return is recognised and another's is not taken for ours.

use super::{Return, ReturnFound, ReturnOutcome};

/// How far the gateway has got with a return.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReturnProgress {
    /// It has returned only what we had returned before.
    Before,
    /// It has made this return, too.
    Made { voided: bool },
    /// It has returned another amount: somebody returned money at the gateway.
    Other(String),
}

impl ReturnProgress {
    /// `theirs`: all that the gateway has returned of the payment.
    pub(super) fn of(order: &Return, theirs: i64, voided: bool) -> Self {
        if theirs == order.returned_minor + order.amount_minor {
            Self::Made { voided }
        } else if theirs == order.returned_minor {
            Self::Before
        } else {
            Self::Other(format!("returned so far: {} here, {theirs} at the gateway", order.returned_minor))
        }
    }

    /// How an order to return money ends before it is sent. None: it must be sent.
    pub(super) fn outcome(self) -> Option<ReturnOutcome> {
        match self {
            Self::Before => None,
            Self::Made { voided } => Some(ReturnOutcome::Returned { transaction_id: None, voided }),
            Self::Other(message) => Some(refused("amounts_disagree", message)),
        }
    }
}

impl From<ReturnProgress> for ReturnFound {
    fn from(progress: ReturnProgress) -> Self {
        match progress {
            ReturnProgress::Before => Self::Nothing,
            ReturnProgress::Made { voided } => Self::Returned { voided },
            ReturnProgress::Other(message) => Self::NoAnswer { message },
        }
    }
}

pub(super) fn refused(code: &str, message: String) -> ReturnOutcome {
    ReturnOutcome::Refused { code: code.to_owned(), message }
}
