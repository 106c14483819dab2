//! A whole small world for stories: a database of either kind, the sandbox behind real HTTP, a test clock, and the proof that the
//! books of both sides agree.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use rebilld::{
    billing::{self, App},
    clock::Clock,
    config::{Config, GatewayConfig, GatewayKind, Mode},
    domain::{
        clock::{ClockStatus, TestClock},
        customer::{Credit, Customer, Metadata, PaymentMethod, Timeline},
        frequency::Frequency,
        id::{ClockId, CustomerId},
        installment::{Installment, InstallmentPlan, InstallmentSchedule, InstallmentStatus},
        invoice::{Invoice, InvoiceStatus},
        money::Currency,
        payment::{MethodKind, Payment, Refund, RefundStatus, RefundTo},
        subscription::Subscription,
    },
    gateway::Gateways,
    jobs,
    sandbox::{self, Kind, Options, Running},
    store::{self, Db},
};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::postgres;

pub const FLUIDPAY_KEY: &str = "api_sandboxkey0000000000000";
pub const PAYLIKE_KEY: &str = "4ff7de37-dddf-4e51-8cc9-48b61a102923";
pub const PAYLIKE_MERCHANT: &str = "55006bdfe0308c4cbfdbd0e1";

/// Which database a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Two tests of one body, one for each database.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: World) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn story($world: World) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                if let Some(world) = World::new(On::Sqlite).await {
                    story(world).await;
                }
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(world) = World::new(On::Postgres).await {
                    story(world).await;
                }
            }
        }
    )+};
}
pub(crate) use on_both;

pub struct World {
    pub app: Arc<App>,
    pub sandbox: Running,
    pub clock: ClockId,
    pub url: String,
    _folder: TempDir,
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
        let folder = tempfile::tempdir().expect("a folder");
        let url = match on {
            On::Sqlite => format!("sqlite://{}", folder.path().join("rebilld.db").display()),
            On::Postgres => postgres::fresh_database().await?,
        };
        rebilld::gateway::http::install_tls();
        let wall = Clock::System;
        let sandbox = sandbox::start("127.0.0.1:0".parse().expect("address"), Arc::new(move || wall.now()), options)
            .await
            .expect("sandbox");
        let db = Db::open(&url, 8, true).await.expect("database");
        db.migrate().await.expect("migrated");
        let app = Arc::new(app(db, config(&sandbox.url()), "test"));
        let clock = TestClock {
            id: app.id(),
            name: "story".into(),
            now_at: at(now),
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
        Some(Self { app, sandbox, clock: id, url, _folder: folder })
    }

    /// The same database as another daemon would see it, perhaps after a crash.
    pub async fn another(&self, name: &str) -> Arc<App> {
        let db = Db::open(&self.url, 8, false).await.expect("database");
        Arc::new(app(db, self.app.config.clone(), name))
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

    /// Moves the test clock, doing all due work on the way.
    pub async fn advance(&self, to: &str) {
        self.set_out(to).await;
        for clock in billing::travel::claim(&self.app).await.expect("claimed") {
            jobs::travel::advance(&self.app, clock).await.expect("advanced");
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

pub async fn prove(app: &App, ledger: &[sandbox::Entry]) -> usize {
    let mut theirs: BTreeMap<String, i64> = BTreeMap::new();
    let mut moves: BTreeMap<String, usize> = BTreeMap::new();
    for entry in ledger {
        let sign = if matches!(entry.kind, Kind::Charge | Kind::Capture | Kind::DisputeWon) { 1 } else { -1 };
        *theirs.entry(entry.reference.clone()).or_default() += sign * entry.amount;
        *moves.entry(entry.reference.clone()).or_default() += usize::from(matches!(entry.kind, Kind::Charge | Kind::Capture));
    }
    let payments: Vec<Payment> = app.db.query("select * from payments").all().await.expect("payments");
    let ours: BTreeMap<String, i64> = payments
        .iter()
        .filter(|payment| payment.amount_captured > 0)
        .map(|payment| (payment.reference.clone(), payment.amount_captured - payment.amount_refunded - payment.amount_disputed))
        .collect();
    let differing: Vec<String> = theirs
        .keys()
        .chain(ours.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|reference| theirs.get(*reference) != ours.get(*reference))
        .map(|reference| {
            let payment = payments.iter().find(|payment| payment.reference == *reference);
            let entries: Vec<_> = ledger.iter().filter(|entry| entry.reference == *reference).collect();
            format!("theirs {:?}, ours {:?}\n  {payment:?}\n  {entries:?}", theirs.get(reference), ours.get(reference))
        })
        .collect();
    assert!(differing.is_empty(), "the books differ:\n{}", differing.join("\n"));
    assert!(moves.values().all(|&count| count == 1), "a payment was taken twice");
    let undecided: Vec<_> = payments.iter().filter(|payment| payment.status.is_open()).collect();
    assert!(undecided.is_empty(), "left undecided: {undecided:?}");

    let invoices: Vec<Invoice> =
        app.db.query("select * from invoices order by subscription_id, cycle").all().await.expect("invoices");
    let mut paid: BTreeMap<_, i64> = BTreeMap::new();
    for payment in &payments {
        *paid.entry(payment.invoice_id).or_default() += payment.amount_captured;
    }
    prove_refunds(app, &invoices, &payments).await;
    for invoice in &invoices {
        assert_eq!(invoice.amount_paid, paid.get(&invoice.id).copied().unwrap_or(0), "what {} was paid", invoice.number);
        assert_eq!(invoice.lines.iter().map(|line| line.amount).sum::<i64>(), invoice.subtotal, "lines of {}", invoice.number);
    }
    let subscriptions: Vec<Subscription> = app.db.query("select * from subscriptions").all().await.expect("subscriptions");
    for subscription in subscriptions {
        let cycles: Vec<i64> = invoices
            .iter()
            .filter(|invoice| invoice.subscription_id == Some(subscription.id))
            .filter_map(|invoice| invoice.cycle)
            .collect();
        assert_eq!(cycles, (0..subscription.next_cycle).collect::<Vec<_>>(), "cycles of {}", subscription.id);
    }
    prove_installments(app, &invoices).await;
    ours.len()
}

/// What went back through gateways and what became credit stand apart, together never exceed what came, and each customer's balance
/// is the sum of their ledger.
async fn prove_refunds(app: &App, invoices: &[Invoice], payments: &[Payment]) {
    let refunds: Vec<Refund> = app.db.query("select * from refunds").all().await.expect("refunds");
    let gone = |invoice: &Invoice, to| -> i64 {
        let of = |refund: &&Refund| refund.invoice_id == invoice.id && refund.destination == to;
        refunds.iter().filter(of).filter(|refund| refund.status == RefundStatus::Succeeded).map(|refund| refund.amount).sum()
    };
    let credits: Vec<Credit> = app.db.query("select * from credits").all().await.expect("credits");
    for invoice in invoices {
        let number = &invoice.number;
        let returned: i64 =
            payments.iter().filter(|payment| payment.invoice_id == invoice.id).map(|payment| payment.amount_refunded).sum();
        assert_eq!((invoice.amount_refunded, gone(invoice, RefundTo::Method)), (returned, returned), "given back of {number}");
        assert_eq!(invoice.amount_credited, gone(invoice, RefundTo::Credit), "credited of {number}");
        assert!(
            invoice.amount_refunded + invoice.amount_credited <= invoice.amount_paid + invoice.credit_applied,
            "{number}: too much"
        );
        // Used, returned by a void, and given back: what the ledger says of an invoice is what the invoice says.
        let booked: i64 = credits.iter().filter(|credit| credit.invoice_id == Some(invoice.id)).map(|credit| credit.amount).sum();
        let kept = if invoice.status == InvoiceStatus::Void { 0 } else { invoice.credit_applied };
        assert_eq!(booked, invoice.amount_credited - kept, "credit of {number}");
    }
    let customers: Vec<Customer> = app.db.query("select * from customers").all().await.expect("customers");
    for customer in customers {
        let ledger: i64 = credits.iter().filter(|credit| credit.customer_id == customer.id).map(|credit| credit.amount).sum();
        assert_eq!(customer.balance, ledger, "credit of {}", customer.id);
    }
}

/// Every installment plan adds up, and each of its installments is in one invoice at most, which says the same of it.
async fn prove_installments(app: &App, invoices: &[Invoice]) {
    let plans: Vec<InstallmentPlan> = app.db.query("select * from installment_plans").all().await.expect("plans");
    let all: Vec<Installment> = app.db.query("select * from installments order by number").all().await.expect("installments");
    for plan in plans {
        let installments: Vec<_> = all.iter().filter(|part| part.installment_plan_id == plan.id).cloned().collect();
        let mut schedule = InstallmentSchedule { plan, installments };
        schedule.check().expect("adds up");
        let (stored, (owed, _)) = (schedule.plan.due_at, schedule.standing());
        schedule.refresh();
        assert_eq!(stored, schedule.plan.due_at, "when {} is due", schedule.plan.id);
        assert!(owed || !schedule.plan.is_running(), "{} owes nothing and has not ended", schedule.plan.id);
        let invoices: Vec<_> = invoices.iter().filter(|invoice| invoice.installment_plan_id == Some(schedule.plan.id)).collect();
        for invoice in &invoices {
            let covered: Vec<_> = schedule.installments.iter().filter(|part| part.invoice_id == Some(invoice.id)).collect();
            assert_eq!(invoice.installment_number, covered.iter().map(|part| part.number).min(), "{}", invoice.number);
            assert_eq!(invoice.subtotal, covered.iter().map(|part| part.amount).sum::<i64>(), "{}", invoice.number);
        }
        for part in &schedule.installments {
            let invoice = invoices.iter().find(|invoice| Some(invoice.id) == part.invoice_id).map(|invoice| invoice.status);
            let agrees = match part.status {
                InstallmentStatus::Scheduled | InstallmentStatus::PaidElsewhere => invoice.is_none(),
                InstallmentStatus::Moved => matches!(invoice, None | Some(InvoiceStatus::Void)),
                InstallmentStatus::Due => invoice == Some(InvoiceStatus::Open),
                InstallmentStatus::Paid => invoice == Some(InvoiceStatus::Paid),
                InstallmentStatus::Failed => invoice == Some(InvoiceStatus::Uncollectible),
                InstallmentStatus::Cancelled => !matches!(invoice, Some(InvoiceStatus::Open | InvoiceStatus::Paid)),
            };
            assert!(agrees, "{part:?} has an invoice that is {invoice:?}");
        }
    }
}

pub fn app(db: Db, config: Config, instance: &str) -> App {
    let gateways = Gateways::connect(&config.gateways).expect("gateways");
    let mut app = App::new(db, Clock::System, config, gateways, [instance.len() as u8; 32]);
    instance.clone_into(&mut app.instance);
    app
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
        authorization_lifetime: Duration::from_hours(7 * 24),
    };
    config.gateways.insert("fluid".into(), gateway(GatewayKind::Fluidpay, format!("{sandbox}/api"), FLUIDPAY_KEY, ""));
    config.gateways.insert("paylike".into(), gateway(GatewayKind::Paylike, sandbox.to_owned(), PAYLIKE_KEY, PAYLIKE_MERCHANT));
    config.billing.holidays.insert("somewhere".into(), vec![date("2026-03-31"), date("2026-04-30"), date("2026-08-31")]);
    config.collection.lookup_backoff = [20, 40, 80].map(Duration::from_millis).to_vec();
    config
}
