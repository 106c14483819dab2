//! What a gateway answers about a payment request.

use chrono::TimeDelta;

use crate::domain::{money::Currency, payment::Decline};

/// What a request that was sent, or sent again, came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `request_id` is the gateway's own, where it keeps requests.
    Sent { request_id: Option<String>, link: Option<String> },
    /// Refused by the gateway's own word: nobody was asked.
    Refused(Decline),
    /// Certainly not processed.
    GatewayError { message: String, retry_after: Option<TimeDelta> },
    /// The customer may have been asked.
    Unknown { message: String },
}

/// Money that a customer has paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub transaction_id: String,
    pub amount_minor: i64,
    pub currency: Currency,
    /// Not ours yet: it has to be captured, else it goes back to the customer by itself.
    pub authorized: bool,
}

/// The gateway's answer when asked what was paid under a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// All of it, oldest first; none yet, as a rule.
    Payments(Vec<Received>),
    NoAnswer {
        message: String,
    },
}

/// What an attempt to take a request back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawn {
    /// Nobody can pay by it any more.
    Gone,
    /// The gateway keeps it, as it does once somebody has tried to pay.
    Kept {
        message: String,
    },
    NoAnswer {
        message: String,
    },
}
