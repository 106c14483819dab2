//! A gateway's fault: what a call meets that brings no answer.

use chrono::TimeDelta;

/// A call that the gateway did not answer by its own word: nobody there, too slow, cut off, overloaded, broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayFault {
    /// What happened, without secrets.
    pub message: String,
    /// How long a 429 asked for.
    pub retry_after: Option<TimeDelta>,
}
