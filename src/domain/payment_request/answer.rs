//! What a gateway answers about a payment request.

use chrono::TimeDelta;

use crate::domain::{money::Currency, payment::Decline};

/// The outcome of a call that sends a request, or sends a request again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The customer was asked, or has a link to pay by.
    Sent {
        /// The gateway's own id, where the gateway keeps requests.
        request_id: Option<String>,
        /// Where the customer can pay, if the gateway says so.
        link: Option<String>,
    },
    /// The gateway refused by its own word, and nobody was asked.
    Refused(Decline),
    /// The gateway certainly did not process the call.
    GatewayError {
        /// What went wrong, without secrets.
        message: String,
        /// How long a 429 asked to be left alone.
        retry_after: Option<TimeDelta>,
    },
    /// The customer may have been asked.
    Unknown {
        /// What went wrong, without secrets.
        message: String,
    },
}

/// Money that a customer has paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The gateway's id of the payment.
    pub transaction_id: String,
    /// Minor units of `currency`.
    pub amount_minor: i64,
    /// The currency in which the customer paid.
    pub currency: Currency,
    /// Whether the gateway only holds the money. The daemon has to capture this money, or it goes back to the customer by itself.
    pub authorized: bool,
}

/// The gateway's answer when asked what was paid under a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// All payments so far, oldest first; the list is empty until the customer pays.
    Payments(Vec<Received>),
    /// The gateway could not say.
    NoAnswer {
        /// What went wrong, without secrets.
        message: String,
    },
}

/// The outcome of an attempt to take a request back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawn {
    /// Nobody can pay by the request any more.
    Gone,
    /// The gateway keeps the request open, as gateways do once somebody has tried to pay.
    Kept {
        /// The gateway's own words, for an operator.
        message: String,
    },
    /// Nobody knows whether the customer can still pay.
    NoAnswer {
        /// What went wrong, without secrets.
        message: String,
    },
}
