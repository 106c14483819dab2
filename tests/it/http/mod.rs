//! The HTTP server over real HTTP, on both databases: the contract that programs and people rely on.

mod actions;
mod bad_input;
mod business_days;
mod catalog;
mod clocks;
mod customers;
mod dates;
mod dunning_policies;
mod first_charges;
mod foreseen;
mod gateways;
mod health;
mod idempotency;
mod installment_operations;
mod installment_plans;
mod keys;
mod lists;
mod operations;
mod parked_money;
mod pauses;
mod payment_methods;
mod payment_requests;
mod refunds;
mod roll_outs;
mod schedules;
mod seed_bodies;
mod spellings;
mod subscriptions;
mod system;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    billing::{self, App},
    clock::Clock,
    config::{Caps, Config, GatewayConfig, GatewayKind, Mode},
    domain::{
        api_key::Scope,
        catalog::Entry,
        clock::{TestClock, Timeline},
        customer::{Credit, Customer},
        dunning::Policy,
        event::{Actor, Event},
        id::{AddOn, ClockId, Discount},
        installment_plan::{Installment, InstallmentPlan},
        invoice::Invoice,
        payment_method::PaymentMethod,
        plan::Plan,
        roll_out::RollOut,
        subscription::Subscription,
    },
    gateway::Gateways,
    http,
    store::{
        self,
        db::{Record, Row},
        page,
    },
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) use crate::database::on_both;
use crate::database::{Fixture, On, TestDatabase};

const BOOTSTRAP_KEY: &str = "the key of the settings";

/// The API, listening, and its keys.
pub struct TestServer {
    pub app: Arc<App>,
    pub base: String,
    pub admin: String,
    pub write: String,
    pub read: String,
    pub client: reqwest::Client,
    pub wall: Clock,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    _database: TestDatabase,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Asserts the shape of a problem and answers its body.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {self:?}");
        }
        problem
    }

    /// The fields that a 422 names.
    pub fn faults(&self) -> Vec<String> {
        let problem = self.problem(422);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self:?}"));
        errors.iter().map(|error| error["field"].as_str().expect("a field").to_owned()).collect()
    }

    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

impl Fixture for TestServer {
    async fn set_up(on: On) -> Option<Self> {
        let database = TestDatabase::migrated(on).await?;
        rebilld::gateway::http::install_tls();
        let mut config = Config::defaults();
        config.admin.bootstrap_key = BOOTSTRAP_KEY.into();
        config.billing.holidays = business_days::calendars();
        let wall = Clock::manual("2026-06-01T12:00:00Z".parse().expect("instant"));
        let app = Arc::new(App::new(database.db.clone(), wall.clone(), config, gateways(), [3; 32]));
        billing::api_keys::bootstrap(&app).await.expect("bootstrap key");
        let mut made = Vec::new();
        for scope in [Scope::Write, Scope::Read] {
            made.push(billing::api_keys::create(&app, &Actor::System, scope.as_str(), scope).await.expect("key").1);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(http::serve(listener, app.clone(), stop.clone()));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("client");
        let (write, read) = (made.remove(0), made.remove(0));
        Some(Self { app, base, admin: BOOTSTRAP_KEY.to_owned(), write, read, client, wall, stop, serving, _database: database })
    }

    async fn tear_down(self) {
        self.stop.cancel();
        self.serving.await.expect("joined").expect("served");
    }
}

impl TestServer {
    pub async fn send(&self, method: &str, path: &str, key: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Answer {
        let mut request =
            self.client.request(Method::from_bytes(method.as_bytes()).expect("method"), format!("{}{path}", self.base));
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("text") }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &self.admin, &[], None).await
    }

    /// Waits for a line of the metrics: they are the process's, and other tests measure theirs.
    pub async fn measures(&self, line: &str) {
        for _ in 0..200 {
            if self.get("/metrics").await.text.lines().any(|it| it == line) {
                return;
            }
        }
        panic!("{line} is not among the metrics:\n{}", self.get("/metrics").await.text);
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &self.admin, &[], Some(body.to_string().into_bytes())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &self.admin, &[], None).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, &self.admin, &[], Some(body.to_string().into_bytes())).await
    }

    /// Creates something and answers it.
    pub async fn made(&self, path: &str, body: Value) -> Value {
        self.post(path, body).await.ok(201)
    }

    /// Every row that a verb could have touched.
    pub async fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        self.rows_of::<Entry<AddOn>>(&mut rows).await;
        self.rows_of::<Entry<Discount>>(&mut rows).await;
        self.rows_of::<Plan>(&mut rows).await;
        self.rows_of::<Policy>(&mut rows).await;
        self.rows_of::<RollOut>(&mut rows).await;
        self.rows_of::<Customer>(&mut rows).await;
        self.rows_of::<Credit>(&mut rows).await;
        self.rows_of::<PaymentMethod>(&mut rows).await;
        self.rows_of::<Subscription>(&mut rows).await;
        self.rows_of::<InstallmentPlan>(&mut rows).await;
        self.rows_of::<Installment>(&mut rows).await;
        self.rows_of::<Invoice>(&mut rows).await;
        self.rows_of::<Event>(&mut rows).await;
        rows
    }

    async fn rows_of<T: Row + Record + std::fmt::Debug>(&self, rows: &mut Vec<String>) {
        let all = page::Request { limit: 10_000, ..page::Request::default() };
        let found = page::list::<T>(&self.app.db, all).await.expect("rows");
        rows.extend(found.rows.iter().map(|row| format!("{row:?}")));
    }

    /// Sends what must be refused: 422 naming exactly these fields, and nothing is changed by it.
    pub async fn refuses(&self, method: &str, path: &str, table: &[(Value, &[&str])]) {
        let before = self.rows().await;
        for (body, fields) in table {
            let answer = self.send(method, path, &self.admin, &[], Some(body.to_string().into_bytes())).await;
            assert_eq!(answer.status, 422, "{method} {path} {body}: {answer:?}");
            assert_eq!(answer.faults(), *fields, "{method} {path} {body}: {answer:?}");
        }
        assert_eq!(self.rows().await, before, "{method} {path} changed something");
    }

    /// The same for what the state does not allow.
    pub async fn conflicts(&self, path: &str, body: Value) {
        let before = self.rows().await;
        self.post(path, body.clone()).await.problem(409);
        assert_eq!(self.rows().await, before, "{path} {body} changed something");
    }

    /// Moves a test clock and opens what falls due on the way; nothing is collected.
    pub async fn bill(&self, clock: &str, to: &str) {
        let (id, to): (ClockId, DateTime<Utc>) = (clock.parse().expect("clock"), to.parse().expect("instant"));
        let timeline = Timeline::Test(id);
        loop {
            let due = store::next_due::bill(&self.app.db, timeline).await.expect("due").filter(|due| *due <= to);
            let mut tx = self.app.db.begin().await.expect("tx");
            let clock = store::clocks::lock(&mut tx, id).await.expect("read").expect("clock");
            let now = due.unwrap_or(to).max(clock.now_at);
            store::clocks::save(&mut tx, TestClock { now_at: now, ..clock }).await.expect("moved");
            tx.commit().await.expect("commit");
            if due.is_none() {
                return;
            }
            billing::subscriptions::open_due::open_due(&self.app, timeline, now).await.expect("billed");
        }
    }

    /// Moves a test clock over everything that falls due, as time does while no daemon runs.
    pub async fn jump(&self, clock: &str, to: &str) {
        let id: ClockId = clock.parse().expect("clock");
        let mut tx = self.app.db.begin().await.expect("tx");
        let clock = store::clocks::lock(&mut tx, id).await.expect("read").expect("clock");
        store::clocks::save(&mut tx, TestClock { now_at: to.parse().expect("instant"), ..clock }).await.expect("moved");
        tx.commit().await.expect("commit");
    }

    /// As if everything open had been collected.
    pub async fn pay_all(&self) {
        let mut tx = self.app.db.begin().await.expect("tx");
        let paid = "update invoices set status = 'paid', amount_paid = total - amount_reduced, next_attempt_at = null where status = 'open'";
        tx.query(paid).run().await.expect("paid");
        tx.commit().await.expect("commit");
    }

    pub async fn invoices(&self) -> Vec<Invoice> {
        self.app.db.query("select * from invoices order by id").all().await.expect("invoices")
    }

    pub async fn post_with_key(&self, path: &str, idempotency_key: &str, body: Value) -> Answer {
        self.send("POST", path, &self.admin, &[("idempotency-key", idempotency_key)], Some(body.to_string().into_bytes())).await
    }

    pub async fn clock(&self, now: &str) -> String {
        let clock = self.post("/v1/clocks", serde_json::json!({"name": "c", "now": now})).await.ok(StatusCode::CREATED.as_u16());
        clock["id"].as_str().expect("id").to_owned()
    }
}

/// Configured, and never asked in these tests.
fn gateways() -> Gateways {
    let config = |kind, mode| GatewayConfig {
        kind,
        mode,
        base_url: "http://127.0.0.1:9".to_owned(),
        api_key: "none".to_owned().into(),
        api_key_file: String::new(),
        merchant_id: "none".to_owned(),
        timeout: Duration::from_secs(1),
        max_in_flight: 1,
        authorization_lifetime: TimeDelta::days(7),
        caps: Caps::default(),
        breaker: Default::default(),
    };
    let configs = [
        ("fluid", config(GatewayKind::Fluidpay, Mode::Test)),
        ("paylike", config(GatewayKind::Paylike, Mode::Test)),
        ("paysley", config(GatewayKind::Paysley, Mode::Test)),
        ("real", config(GatewayKind::Fluidpay, Mode::Live)),
    ];
    Gateways::connect(&configs.map(|(name, config)| (name.to_owned(), config)).into()).expect("gateways")
}
