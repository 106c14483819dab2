//! A whole small world for stories: a database of either kind, the sandbox behind real HTTP, a test clock, and the proof that the
//! books of both sides agree.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rebilld::{
    billing::{self, App, payment_methods::PaymentMethodInput},
    clock::Clock,
    config::{Caps, Config, GatewayConfig, GatewayKind, Mode},
    domain::{
        clock::{ClockStatus, TestClock, Timeline},
        customer::{Customer, Metadata},
        frequency::Frequency,
        id::{ClockId, CustomerId},
        invoice::Invoice,
        money::Currency,
        payment::Payment,
        payment_method::{MethodKind, PaymentMethod},
        payment_request::PaymentRequest,
        subscription::Subscription,
    },
    gateway::Gateways,
    jobs,
    sandbox::{self, Options, SandboxServer},
    store::{self, Db},
};
use serde_json::{Map, json};
mod prove;

pub use prove::prove;

pub(crate) use crate::database::on_both;
pub use crate::database::{Fixture, On, TestDatabase};

pub const FLUIDPAY_KEY: &str = "api_sandboxkey0000000000000";
pub const PAYLIKE_KEY: &str = "4ff7de37-dddf-4e51-8cc9-48b61a102923";
pub const PAYLIKE_MERCHANT: &str = "55006bdfe0308c4cbfdbd0e1";

pub struct World {
    pub app: Arc<App>,
    pub sandbox: SandboxServer,
    pub clock: ClockId,
    pub url: String,
    database: TestDatabase,
}

impl Fixture for World {
    async fn set_up(on: On) -> Option<Self> {
        Self::new(on).await
    }
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|_| panic!("{text} is no instant"))
}

pub fn date(text: &str) -> NaiveDate {
    text.parse().unwrap_or_else(|_| panic!("{text} is no date"))
}

impl World {
    /// None where PostgreSQL is left out.
    pub async fn new(on: On) -> Option<Self> {
        Self::starting(on, "2026-01-01T00:00:00Z").await
    }

    pub async fn starting(on: On, now: &str) -> Option<Self> {
        Self::opposite(on, now, Options::default()).await
    }

    /// With a gateway that takes its time, as real ones do: what is killed is then killed amid calls.
    pub async fn slow(on: On, latency: Duration) -> Option<Self> {
        Self::opposite(on, "2026-01-01T00:00:00Z", Options { latency: latency.into(), ..Options::default() }).await
    }

    async fn opposite(on: On, now: &str, options: Options) -> Option<Self> {
        let database = TestDatabase::migrated(on).await?;
        rebilld::gateway::http::install_tls();
        let wall = Clock::System;
        let sandbox = sandbox::start("127.0.0.1:0".parse().expect("address"), Arc::new(move || wall.now()), options)
            .await
            .expect("sandbox");
        let app = app(database.db.clone(), config(&sandbox.url()), "test");
        let clock = new_clock(&app, at(now)).await;
        Some(Self { app, sandbox, clock, url: database.url.clone(), database })
    }

    /// Whoever is made from now on lives by a clock of their own.
    pub async fn another_clock(&mut self) {
        self.clock = new_clock(&self.app, at("2026-01-01T00:00:00Z")).await;
    }

    /// The same database as another daemon would see it, perhaps after a crash.
    pub async fn another(&self, name: &str) -> Arc<App> {
        app(self.database.open_again().await, self.app.config.clone(), name)
    }

    pub async fn customer(&self, zone: &str) -> CustomerId {
        let now = self.app.clock.now();
        let customer = Customer {
            id: self.app.id(),
            reference: None,
            timeline: Timeline::Test(self.clock),
            name: "Ada".into(),
            email: Some("ada@example.com".into()),
            phone: None,
            locale: None,
            timezone: zone.parse().expect("zone"),
            currency: Currency::USD,
            balance: 0,
            metadata: Metadata::new(),
            created_at: now,
            updated_at: now,
        };
        let id = customer.id;
        let mut tx = self.app.db.begin().await.expect("tx");
        store::customers::insert(&mut tx, &customer).await.expect("customer");
        tx.commit().await.expect("commit");
        id
    }

    /// A stored FluidPay customer that is approved.
    pub fn token(&self) -> String {
        self.sandbox.sandbox().fluidpay_tokens(1, "story").remove(0)
    }

    /// An earlier Paylike transaction that can be charged again.
    pub fn prior(&self) -> String {
        self.sandbox.sandbox().paylike_tokens(1).remove(0)
    }

    /// A default method: a FluidPay token, or with `paylike` an earlier transaction.
    pub async fn method(&self, customer: CustomerId, paylike: bool, token: &str) {
        let now = self.app.clock.now();
        let method = PaymentMethod {
            id: self.app.id(),
            customer_id: customer,
            gateway: if paylike { "paylike" } else { "fluid" }.into(),
            kind: if paylike { MethodKind::PriorTransaction } else { MethodKind::VaultToken },
            customer_token: (!paylike).then(|| token.to_owned()),
            payment_method_token: None,
            transaction_id: paylike.then(|| token.to_owned()),
            channels: vec![],
            expires: None,
            last_four: None,
            is_default: true,
            priority: 0,
            mandate_ended_at: None,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.app.db.begin().await.expect("tx");
        store::payment_methods::insert(&mut tx, &method).await.expect("method");
        tx.commit().await.expect("commit");
    }

    /// Monthly, 10.00 USD, from this date on; change it and [`World::add`] it.
    pub async fn monthly(&self, customer: CustomerId, start: &str) -> Subscription {
        let now = self.app.now_of(Timeline::Test(self.clock)).await.expect("clock");
        let zone = store::customers::find(&self.app.db, &customer.to_string()).await.expect("read").expect("customer").timezone;
        Subscription {
            timeline: Timeline::Test(self.clock),
            description: "Gym".into(),
            amount: 1000,
            ..Subscription::beginning(self.app.id(), customer, Currency::USD, zone, Frequency::Monthly, date(start), now)
        }
    }

    pub async fn add(&self, mut subscription: Subscription) -> Subscription {
        subscription.refresh(&self.app.rules);
        let mut tx = self.app.db.begin().await.expect("tx");
        store::subscriptions::insert(&mut tx, std::slice::from_ref(&subscription)).await.expect("subscription");
        tx.commit().await.expect("commit");
        subscription
    }

    /// A default method by which the customer is asked, who has a phone as well.
    pub async fn asks(&self, customer: CustomerId, channels: &[&str]) {
        self.method(customer, false, "").await;
        let mut tx = self.app.db.begin().await.expect("tx");
        let mut method = store::payment_methods::of_customer(&mut tx, customer).await.expect("methods").remove(0);
        store::payment_methods::delete(&mut tx, method.id).await.expect("deleted");
        method.gateway = "paysley".into();
        method.kind = MethodKind::PaymentRequest;
        method.customer_token = None;
        method.channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        store::payment_methods::insert(&mut tx, &method).await.expect("method");
        let row = store::customers::find_in(&mut tx, &customer.to_string()).await.expect("read").expect("customer");
        store::customers::save(&mut tx, &Customer { phone: Some("+15551234567".into()), ..row }).await.expect("phone");
        tx.commit().await.expect("commit");
    }

    pub async fn requests(&self) -> Vec<PaymentRequest> {
        self.app.db.query("select * from payment_requests order by id").all().await.expect("requests")
    }

    /// Does what is due about requests by real time, until nothing is busy and what came twice has gone back.
    pub async fn settle_requests(&self) {
        billing::payment_requests::work(&self.app, None).await.expect("worked");
        if billing::payments::look_up::look_up_payments(&self.app, None).await.expect("looked up") > 0 {
            billing::payment_requests::work(&self.app, None).await.expect("worked");
        }
        billing::payment_requests::return_overpayments(&self.app).await.expect("returned");
    }

    /// Moves the test clock, doing all due work on the way.
    pub async fn advance(&self, to: &str) {
        self.set_out(to).await;
        for clock in billing::test_clocks::advance::claim(&self.app).await.expect("claimed") {
            jobs::advance::advance(&self.app, clock).await.expect("advanced");
        }
    }

    /// Sends the clock on its way; somebody has to move it.
    pub async fn set_out(&self, to: &str) {
        let mut tx = self.app.db.begin().await.expect("tx");
        let clock = store::clocks::lock(&mut tx, self.clock).await.expect("read").expect("clock");
        let clock = TestClock { status: ClockStatus::Advancing, target_at: Some(at(to)), counts: Map::new(), ..clock };
        store::clocks::save(&mut tx, clock).await.expect("set out");
        tx.commit().await.expect("commit");
    }

    /// Puts the clock there and does nothing of what is due.
    pub async fn set_clock(&self, to: &str) {
        let mut tx = self.app.db.begin().await.expect("tx");
        let clock = store::clocks::lock(&mut tx, self.clock).await.expect("read").expect("clock");
        store::clocks::save(&mut tx, TestClock { now_at: at(to), ..clock }).await.expect("set");
        tx.commit().await.expect("commit");
    }

    pub async fn subscription(&self, subscription: &Subscription) -> Subscription {
        store::subscriptions::get(&self.app.db, subscription.id).await.expect("read").expect("subscription")
    }

    pub async fn invoices(&self) -> Vec<Invoice> {
        self.app.db.query("select * from invoices order by due_at, id").all().await.expect("invoices")
    }

    pub async fn payments(&self) -> Vec<Payment> {
        self.app.db.query("select * from payments order by created_at, id").all().await.expect("payments")
    }

    /// Dates and outcomes of all payments, by the clock: `2026-01-31 succeeded`.
    pub async fn story(&self) -> Vec<String> {
        self.payments().await.iter().map(|payment| format!("{} {}", payment.created_at.date_naive(), payment.status)).collect()
    }

    /// Event types in order, those of one subject only if given.
    pub async fn events(&self, subject: Option<String>) -> Vec<String> {
        let rows: Vec<(String,)> = self
            .app
            .db
            .query("select type from events where ($1 is null or subject = $1) order by id")
            .bind(subject)
            .all()
            .await
            .expect("events");
        rows.into_iter().map(|row| row.0).collect()
    }

    /// Random faults from a seed, in thousandths.
    pub async fn chaos(&self, seed: u64, rates: serde_json::Value) {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("client");
        let answer = client
            .post(format!("{}/_sandbox/chaos", self.sandbox.url()))
            .json(&json!({ "seed": seed, "rates": rates, "delay_ms": 400 }))
            .send()
            .await
            .expect("sent");
        assert!(answer.status().is_success(), "chaos refused: {}", answer.text().await.unwrap_or_default());
    }

    pub async fn calm(&self) {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("client");
        client.delete(format!("{}/_sandbox/chaos", self.sandbox.url())).send().await.expect("sent");
    }

    /// The proof: money by the sandbox's books is money by ours, payment by payment; every cycle has one invoice; no invoice is
    /// paid more than once; nothing is left unknown. Answers the number of charges.
    pub async fn prove(&self) -> usize {
        prove(&self.app, &self.sandbox.ledger()).await
    }
}

async fn new_clock(app: &App, now_at: DateTime<Utc>) -> ClockId {
    let clock = TestClock {
        id: app.id(),
        name: "story".into(),
        now_at,
        status: ClockStatus::Idle,
        target_at: None,
        lease_owner: None,
        lease_expires_at: None,
        counts: Map::new(),
        created_at: app.clock.now(),
    };
    let id = clock.id;
    let mut tx = app.db.begin().await.expect("tx");
    store::clocks::insert(&mut tx, clock).await.expect("clock");
    tx.commit().await.expect("commit");
    id
}

pub fn app(db: Db, config: Config, instance: &str) -> Arc<App> {
    app_by(Clock::System, db, config, instance)
}

pub fn app_by(clock: Clock, db: Db, config: Config, instance: &str) -> Arc<App> {
    let gateways = Gateways::connect(&config.gateways).expect("gateways");
    let mut app = App::new(db, clock, config, gateways, [u8::try_from(instance.len()).expect("a short name"); 32]);
    instance.clone_into(&mut app.instance);
    Arc::new(app)
}

/// Both gateways at the sandbox, and waits short enough for a test.
pub fn config(sandbox: &str) -> Config {
    let mut config = Config::defaults();
    let gateway = |kind, base_url: String, key: &str, merchant: &str| GatewayConfig {
        kind,
        mode: Mode::Test,
        base_url,
        api_key: key.to_owned().into(),
        api_key_file: String::new(),
        merchant_id: merchant.to_owned(),
        timeout: Duration::from_millis(300),
        max_in_flight: 32,
        authorization_lifetime: TimeDelta::hours(7 * 24),
        caps: Caps::default(),
        breaker: Default::default(),
    };
    config.gateways.insert("fluid".into(), gateway(GatewayKind::Fluidpay, format!("{sandbox}/api"), FLUIDPAY_KEY, ""));
    config.gateways.insert("paylike".into(), gateway(GatewayKind::Paylike, sandbox.to_owned(), PAYLIKE_KEY, PAYLIKE_MERCHANT));
    config.gateways.insert("paysley".into(), gateway(GatewayKind::Paysley, format!("{sandbox}/v2"), sandbox::PAYSLEY_KEY, ""));
    config.collection.payment_request_poll = [10, 20].map(TimeDelta::milliseconds).to_vec();
    config.billing.holidays.insert("somewhere".into(), vec![date("2026-03-31"), date("2026-04-30"), date("2026-08-31")]);
    config.collection.lookup_backoff = [20, 40, 80].map(TimeDelta::milliseconds).to_vec();
    config
}

/// A card in FluidPay's vault, as an operator adds it.
pub fn vault(token: &str) -> PaymentMethodInput {
    PaymentMethodInput {
        gateway: "fluid".into(),
        kind: MethodKind::VaultToken,
        customer_token: Some(token.into()),
        payment_method_token: None,
        transaction_id: None,
        channels: None,
        expires: None,
        last_four: None,
        default: None,
        priority: None,
    }
}
