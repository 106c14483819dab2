//! Asking the customer: what gateways can do that send a payment request, or at least have a link to pay by.
//!
//! A request takes no money by itself, so sending it twice is a nuisance and no double charge, unless both get paid: what was paid is
//! always looked up by our own reference, which finds the payments of every copy.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::http::NoAnswer;
use crate::domain::{frequency::Frequency, money::Currency};

pub use crate::domain::payment_request::answer::{Asked, Polled, Received, Withdrawn};

/// One request as the gateway needs to know it. Sent again unchanged, it is the same request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Our own reference: Paysley's `reference_number`, Paylike's `reference`. 17 alphanumerics.
    pub reference: String,
    /// What the customer is asked to pay, minor units of `currency`.
    pub amount_minor: i64,
    /// The currency of all amounts of the request.
    pub currency: Currency,
    /// What the customer reads about the payment.
    pub description: String,
    /// Some of `EMAIL`, `SMS`, `WEB`; the last sends nothing.
    pub channels: Vec<String>,
    /// The customer's name, as the message addresses the customer.
    pub name: String,
    /// Where `EMAIL` goes.
    pub email: Option<String>,
    /// Where `SMS` goes.
    pub phone: Option<String>,
    /// The language of the customer, such as `de-DE`, if it is known.
    pub locale: Option<String>,
    /// Wall time: gateways know no other.
    pub expires_at: DateTime<Utc>,
    /// Where the gateway may tell us that something has happened.
    pub callback_url: Option<String>,
    /// One that the gateway is to run by itself; none: one payment.
    pub schedule: Option<RequestSchedule>,
}

/// Payments that the gateway makes by itself, once the customer has agreed.
#[derive(Debug, Clone)]
pub struct RequestSchedule {
    /// Weekly, monthly, quarterly or yearly.
    pub frequency: Frequency,
    /// In the future.
    pub starts_at: DateTime<Utc>,
    /// None: until stopped.
    pub payments: Option<i64>,
    /// Taken at once, beside the schedule; minor units.
    pub initial_minor: Option<i64>,
}

/// What is needed to find out what was paid.
#[derive(Debug, Clone)]
pub struct Outstanding {
    /// [`Ask::reference`] of the request.
    pub reference: String,
    /// What the customer was asked to pay, minor units of `currency`.
    pub amount_minor: i64,
    /// The currency of the amount.
    pub currency: Currency,
    /// Wall time of the first call: search windows count from here.
    pub sent_at: DateTime<Utc>,
}

/// What a gateway can do that asks customers to pay. As with [`Gateway`](super::Gateway), no method fails with an error.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Whether it sends messages itself. Where it does not, there is only a link.
    fn sends(&self) -> bool;

    /// Whether it can run a schedule by itself.
    fn runs_schedules(&self) -> bool {
        false
    }

    /// Asks the customer.
    async fn ask(&self, ask: &Ask) -> Asked;

    /// Asks once more, by the same request.
    async fn remind(&self, request_id: Option<&str>, ask: &Ask) -> Asked;

    /// What was paid under a reference. Only looks: nothing is captured here.
    async fn poll(&self, outstanding: &Outstanding) -> Polled;

    /// Takes the request back. Repeating it does no harm.
    async fn withdraw(&self, request_id: &str) -> Withdrawn;

    /// Stops a running schedule, by any payment of it. Repeating it does no harm.
    async fn stop(&self, _payment_id: &str) -> Withdrawn {
        Withdrawn::NoAnswer { message: "this gateway runs no schedules".to_owned() }
    }
}

impl From<NoAnswer> for Asked {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::NotProcessed { message, retry_after } => Self::GatewayError { message, retry_after },
            NoAnswer::Unknown { message } => Self::Unknown { message },
        }
    }
}
