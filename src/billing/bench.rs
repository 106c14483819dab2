//! What the benchmark asks for beside the daemon: rows written as they are, a due scan by itself, calls with nothing around them.
//!
//! Nothing here bills anybody. What it measures against must do the same work, so it uses the same store, client and bodies.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::{Client, Url, header::CONTENT_TYPE};
use tokio::sync::Semaphore;

use super::{App, Result, payments::call::charge_of};
use crate::{
    config::GatewayConfig,
    domain::{
        clock::Timeline,
        customer::Customer,
        event::Event,
        invoice::Invoice,
        payment::{Outcome, Payment},
        payment_method::{MethodKind, PaymentMethod},
        subscription::Subscription,
    },
    gateway::{
        Capabilities, Charge, Configured, Found, Gateway, Return, ReturnFound, ReturnOutcome, Sent, fluidpay,
        http::{self, Auth, Settings},
    },
    store::{self, Db},
};

/// Rows for one commit.
#[derive(Debug, Default)]
pub struct BenchRows {
    pub customers: Vec<Customer>,
    pub methods: Vec<PaymentMethod>,
    pub subscriptions: Vec<Subscription>,
    pub invoices: Vec<Invoice>,
    pub payments: Vec<Payment>,
    pub events: Vec<Event>,
    /// Subscriptions that are there already, as far as a bill run writes them.
    pub moved: Vec<Subscription>,
}

/// Writes rows in one transaction, each kind by one statement.
pub async fn write(db: &Db, rows: &BenchRows) -> Result<()> {
    let mut tx = db.begin().await?;
    store::customers::insert_many(&mut tx, &rows.customers).await?;
    store::payment_methods::insert_many(&mut tx, &rows.methods).await?;
    store::subscriptions::insert(&mut tx, &rows.subscriptions).await?;
    store::invoices::insert(&mut tx, &rows.invoices).await?;
    store::payments::insert(&mut tx, &rows.payments).await?;
    store::events::append(&mut tx, &rows.events).await?;
    store::subscriptions::save_progress(&mut tx, &rows.moved).await?;
    tx.commit().await?;
    Ok(())
}

/// Finds and locks the next subscriptions that are due, as the bill run does, and lets go of them. How many there were.
pub async fn next_due(app: &App, now: DateTime<Utc>, limit: i64) -> Result<usize> {
    let mut tx = app.db.begin().await?;
    let found = store::subscriptions::due(&mut tx, Timeline::Wall, now, limit).await?.len();
    // A dropped transaction lets go some time later.
    tx.commit().await?;
    Ok(found)
}

/// The client of a FluidPay adapter without the adapter.
#[derive(Clone)]
pub struct BareClient {
    client: Client,
    url: Url,
}

impl BareClient {
    pub fn new(name: &str, gateway: &GatewayConfig) -> Result<Self, String> {
        let settings = Settings {
            name: name.to_owned(),
            base_url: gateway.base_url.clone(),
            api_key: gateway.api_key.clone(),
            merchant_id: String::new(),
            timeout: gateway.timeout,
            max_in_flight: gateway.max_in_flight,
        };
        let url = Url::parse(&format!("{}/transaction", gateway.base_url)).map_err(|error| error.to_string())?;
        Ok(Self { client: http::client(&settings, Auth::Raw)?, url })
    }

    /// What the adapter would send for this payment.
    pub fn body(payment: &Payment) -> Vec<u8> {
        fluidpay::sale(&charge_of(payment)).to_string().into_bytes()
    }

    /// One call, read to its last byte.
    pub async fn call(&self, body: Vec<u8>) -> Result<(), String> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        answer.bytes().await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(()) } else { Err(format!("status {status}")) }
    }
}

/// Puts an adapter under this name that approves everything at once and asks nobody.
pub fn without_http(app: &mut App, name: &str) {
    let adapter = Arc::new(Approving);
    app.gateways.insert(Configured {
        name: name.to_owned(),
        live: false,
        permits: Semaphore::new(Semaphore::MAX_PERMITS),
        adapter,
    });
}

struct Approving;

#[async_trait]
impl Gateway for Approving {
    fn capabilities(&self) -> Capabilities {
        Capabilities { kind: MethodKind::VaultToken, captures_in_part: false }
    }

    async fn charge(&self, charge: &Charge) -> Outcome {
        Outcome::Succeeded { transaction_id: charge.reference.clone(), amount_minor: charge.amount_minor }
    }

    async fn authorize(&self, charge: &Charge) -> Outcome {
        Outcome::Authorized { transaction_id: charge.reference.clone() }
    }

    async fn capture(&self, transaction_id: &str, charge: &Charge) -> Outcome {
        Outcome::Succeeded { transaction_id: transaction_id.to_owned(), amount_minor: charge.amount_minor }
    }

    async fn look_up(&self, _sent: &Sent) -> Found {
        Found::Nothing
    }

    async fn void(&self, _transaction_id: &str, _charge: &Charge) -> ReturnOutcome {
        ReturnOutcome::GatewayError { message: "nothing is ever reserved here".to_owned() }
    }

    async fn give_back(&self, _order: &Return) -> ReturnOutcome {
        ReturnOutcome::GatewayError { message: "nothing is ever taken here".to_owned() }
    }

    async fn look_up_return(&self, _order: &Return) -> ReturnFound {
        ReturnFound::Nothing
    }
}

/// How long a pause between two looks at a bill run may be without being seen in the figures.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether everything due on the wall timeline is billed and every outcome is in the batch.
pub async fn is_quiet(db: &Db, now: DateTime<Utc>) -> Result<bool> {
    let due = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
    Ok(!due(store::next_due::bill(db, Timeline::Wall).await?)
        && !due(store::invoices::earliest_attempt(db, Timeline::Wall).await?)
        && store::payments::undecided(db, Timeline::Wall).await? == 0)
}
