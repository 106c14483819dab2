//! Money out: what every payment gateway must be able to do, and which ones are configured.
//!
//! Adding a gateway is one file here and one line in [`Gateways::connect`]. A gateway never decides about retries: it says what
//! happened, and `billing` decides. An [`Outcome::Unknown`] may only be followed by [`Gateway::look_up`].

#![warn(missing_docs)]

pub mod circuit;
pub mod fault;
pub mod fluidpay;
pub mod http;
mod json;
mod mask;
pub mod paylike;
pub mod paysley;
mod remote_state;
pub mod requests;
mod returns;
mod statuses;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use self::{circuit::Health, fluidpay::FluidPay, http::Settings, paylike::Paylike, paysley::Paysley, requests::Requests};
use crate::{
    config::{BreakerConfig, GatewayConfig, GatewayKind, Mode},
    domain::{money::Currency, payment_method::MethodKind},
};

pub use crate::domain::payment::{Other, Outcome, Reason, ReturnOutcome};

/// What a gateway charges: a stored token or an earlier transaction. Never card data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A card or account that the gateway keeps in its vault.
    VaultToken {
        /// The gateway's id of the customer in its vault.
        customer_token: String,
        /// The gateway's id of one method of that customer. None: the customer's default method.
        payment_method_token: Option<String>,
    },
    /// The card of an earlier transaction at the gateway.
    PriorTransaction {
        /// The gateway's id of that transaction.
        transaction_id: String,
    },
}

/// The customer's consent behind a charge, for gateways that take stored-credential marks (a card-network rule).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mandate {
    /// What the customer consented to: recurring charges, or installments.
    pub reason: Reason,
    /// The customer's first transaction under this consent, where it is known.
    pub initial_transaction_id: Option<String>,
}

/// One payment as the gateway needs to know it. Sent again unchanged, it is the same payment.
#[derive(Debug, Clone)]
pub struct Charge {
    /// Our own reference: FluidPay's `order_id`, Paylike's `custom.reference`. 17 alphanumerics.
    pub reference: String,
    /// Makes a repeat harmless where the gateway offers that.
    pub idempotency_key: String,
    /// The stored token or earlier transaction that is charged.
    pub source: Source,
    /// Minor units of `currency`, more than 0.
    pub amount_minor: i64,
    /// The currency of the amount.
    pub currency: Currency,
    /// What the customer may read on a receipt. Never card data.
    pub description: String,
    /// The consent that the charge rests on.
    pub mandate: Mandate,
}

/// What is needed to find out what became of a payment.
#[derive(Debug, Clone)]
pub struct Sent {
    /// [`Charge::reference`] of the payment.
    pub reference: String,
    /// What was asked for, minor units. Another amount at the gateway is [`Found::Disagrees`].
    pub amount_minor: i64,
    /// The currency of the amount.
    pub currency: Currency,
    /// Known when the gateway had answered an authorization.
    pub transaction_id: Option<String>,
    /// Wall time of the first call: search windows count from here.
    pub sent_at: DateTime<Utc>,
}

/// The gateway's answer to a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It happened: `Succeeded`, `Authorized` or `Declined`.
    Outcome(Outcome),
    /// It happened, and the gateway has more under the same reference.
    Several {
        /// The outcome of the transaction that counts as the payment.
        best: Outcome,
        /// The other transactions under the reference. Money that they took or authorized must go back.
        others: Vec<Other>,
    },
    /// The gateway has never seen it. The same charge may be sent again.
    Nothing,
    /// It is there, with another amount or currency than was asked for. No further question changes that: for an operator.
    Disagrees {
        /// What differs, for an operator.
        message: String,
    },
    /// The gateway could not say; ask again later.
    NoAnswer {
        /// What went wrong, without secrets.
        message: String,
    },
}

impl Found {
    /// Like [`Self::Outcome`], with the other transactions found under the reference.
    fn among(self, others: Vec<Other>) -> Self {
        match self {
            Self::Outcome(best) if !others.is_empty() => Self::Several { best, others },
            found => found,
        }
    }
}

/// A refund or void of money already taken.
#[derive(Debug, Clone)]
pub struct Return {
    /// The gateway's id of the transaction that took the money.
    pub transaction_id: String,
    /// What is to go back, minor units.
    pub amount_minor: i64,
    /// What was captured, minor units.
    pub captured_minor: i64,
    /// What had been returned before this one, minor units.
    pub returned_minor: i64,
    /// The currency of all three amounts.
    pub currency: Currency,
}

/// The gateway's answer when asked about a refund whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnFound {
    /// The money went back.
    Returned {
        /// Whether the charge was voided before it settled. False: it was refunded.
        voided: bool,
    },
    /// The gateway has not returned this money. The same return may be sent again once an earlier call can no longer arrive.
    Nothing,
    /// The gateway could not say; ask again later.
    NoAnswer {
        /// What went wrong, without secrets.
        message: String,
    },
}

/// What a customer's bank took back, or holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    /// 0: nothing, or nothing any more.
    pub amount_minor: i64,
    /// The gateway's word for it.
    pub reason: String,
}

/// What differs between gateways as far as callers care.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// Whether less than was authorized may be captured: only where a second capture of the same is refused.
    pub captures_in_part: bool,
    /// Which kind of payment method it charges.
    pub kind: MethodKind,
}

/// A payment gateway: it moves money, and says what became of money that was moved.
///
/// Only [`Gateway::disputed`] fails with an error. Any other call that brings no answer ends as `GatewayError` if it was certainly not processed, and as
/// `Unknown` or `NoAnswer` otherwise.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// What callers must know of this gateway before they call it.
    fn capabilities(&self) -> Capabilities;

    /// What it can do about asking the customer, if anything.
    fn requests(&self) -> Option<&dyn Requests> {
        None
    }

    /// Takes the money, or authorizes it where the gateway needs two steps.
    async fn charge(&self, charge: &Charge) -> Outcome;

    /// Reserves the money and takes none, at every gateway: answers `Authorized`, never `Succeeded`.
    async fn authorize(&self, charge: &Charge) -> Outcome;

    /// Takes the charge's amount of what is authorized under `transaction_id`, which may be more. Never answers `Authorized`.
    /// Repeating the capture takes nothing more. After an `Unknown`, a lookup with the transaction id says `Succeeded`, or
    /// `Authorized` when the capture may be tried again.
    async fn capture(&self, transaction_id: &str, charge: &Charge) -> Outcome;

    /// What became of a payment whose outcome is unknown.
    async fn look_up(&self, sent: &Sent) -> Found;

    /// Voids authorized money; refused as `captured` where it has been taken. Repeating it does no harm. Best effort: an
    /// authorization that is not voided runs out by itself.
    async fn void(&self, transaction_id: &str, charge: &Charge) -> ReturnOutcome;

    /// Gives money back: a void where it has not settled, a refund where it has.
    ///
    /// Before sending, the adapter compares `returned_minor` with the gateway's own figure: an order that has already happened is
    /// answered as `Returned` and moves nothing, any other difference is refused as `amounts_disagree`. So a payment may have
    /// only one return under way at a time.
    async fn give_back(&self, order: &Return) -> ReturnOutcome;

    /// What is disputed of money that was taken; none where the gateway does not tell. `request_id`: by which the customer was asked.
    async fn disputed(&self, _transaction_id: &str, _request_id: Option<&str>) -> Result<Option<Disputed>, String> {
        Ok(None)
    }

    /// Whether an earlier [`Gateway::give_back`] with this order happened.
    async fn look_up_return(&self, order: &Return) -> ReturnFound;
}

/// A configured gateway: its name, its limits, its adapter.
pub struct Configured {
    /// The key of its section in the settings, `gateways.<name>`.
    pub name: String,
    /// False: a test account. A test clock's customers use no other.
    pub live: bool,
    /// How many calls it gets at a time.
    pub permits: Semaphore,
    /// What speaks to the gateway.
    pub adapter: Arc<dyn Gateway>,
}

/// Every configured gateway by name, and how it is.
#[derive(Default, Clone)]
pub struct Gateways {
    configured: BTreeMap<String, Arc<Configured>>,
    health: BTreeMap<String, Arc<Health>>,
}

/// A gateway that cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
#[error("gateways.{name}: {message}")]
pub struct BadGateway {
    /// The key of its section in the settings.
    pub name: String,
    /// What is wrong with the section, without secrets.
    pub message: String,
}

impl Gateways {
    /// Builds an adapter for each configured gateway. Opens no connection.
    pub fn connect(configs: &BTreeMap<String, GatewayConfig>) -> Result<Self, BadGateway> {
        let mut gateways = Self::default();
        for (name, config) in configs {
            let bad = |message: String| BadGateway { name: name.clone(), message };
            let settings = Settings {
                name: name.clone(),
                base_url: config.base_url.clone(),
                api_key: config.api_key.clone(),
                merchant_id: config.merchant_id.clone(),
                timeout: config.timeout,
                max_in_flight: config.max_in_flight,
            };
            let adapter: Arc<dyn Gateway> = match config.kind {
                GatewayKind::Fluidpay | GatewayKind::Sandbox => Arc::new(FluidPay::new(&settings).map_err(bad)?),
                GatewayKind::Paylike => Arc::new(Paylike::new(&settings).map_err(bad)?),
                GatewayKind::Paysley => Arc::new(Paysley::new(&settings).map_err(bad)?),
            };
            let live = config.mode == Mode::Live;
            let permits = Semaphore::new(config.max_in_flight);
            gateways.add(Configured { name: name.clone(), live, permits, adapter }, &config.breaker, Some(config.kind));
        }
        Ok(gateways)
    }

    /// A gateway by its configured name. None: the settings have none of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Configured>> {
        self.configured.get(name)
    }

    /// How a configured gateway is.
    pub fn health(&self, name: &str) -> Option<&Arc<Health>> {
        self.health.get(name)
    }

    /// By name, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Arc<Health>)> {
        self.health.iter().map(|(name, health)| (name.as_str(), health))
    }

    /// The configured names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.configured.keys().map(String::as_str)
    }

    /// Adds or replaces one: for tests and simulations that bring their own adapter.
    pub fn insert(&mut self, configured: Configured) {
        self.add(configured, &BreakerConfig::default(), None);
    }

    fn add(&mut self, configured: Configured, breaker: &BreakerConfig, kind: Option<GatewayKind>) {
        let waits = breaker.waits.clone();
        let health = Health::new(breaker.rules(), waits, configured.permits.available_permits(), kind);
        self.health.insert(configured.name.clone(), Arc::new(health));
        self.configured.insert(configured.name.clone(), Arc::new(configured));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn connect(kind: &str, merchant_id: &str) -> Result<Gateways, BadGateway> {
        let config = json!({
            "kind": kind, "mode": "live", "base_url": "https://gateway.example/api", "api_key": "k", "merchant_id": merchant_id,
            "max_in_flight": 3,
        });
        let config: GatewayConfig = serde_json::from_value(config).expect("settings");
        Gateways::connect(&BTreeMap::from([("main".to_owned(), config)]))
    }

    #[test]
    fn every_kind_gets_its_adapter_or_a_clear_no() {
        for (kind, method) in [
            ("fluidpay", MethodKind::VaultToken),
            ("sandbox", MethodKind::VaultToken),
            ("paylike", MethodKind::PriorTransaction),
            ("paysley", MethodKind::PaymentRequest),
        ] {
            let gateways = connect(kind, "m1").expect("usable");
            let main = gateways.get("main").expect("configured");
            assert_eq!((main.adapter.capabilities().kind, main.live, main.permits.available_permits()), (method, true, 3));
            let asks = main.adapter.requests().map(Requests::sends);
            assert_eq!(
                asks,
                [("paylike", false), ("paysley", true)].into_iter().find(|asking| asking.0 == kind).map(|asking| asking.1)
            );
        }
        let error = connect("paylike", "").err().expect("must be refused").to_string();
        assert!(error.starts_with("gateways.main: ") && error.contains("merchant_id"), "{error}");
    }
}
