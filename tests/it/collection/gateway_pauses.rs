//! Gateways that rest in real time: what is due there waits without being touched, nothing else waits for it, and it goes on by
//! itself, as the same payments.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use rebilld::{
    billing::{self, App, collection::run::collect_due, payments::look_up::look_up_payments},
    clock::Clock,
    config::Config,
    domain::{
        clock::Timeline,
        event::Actor,
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
    },
    gateway::Gateways,
    sandbox::Rule,
    store::{self, db::Row},
};
use serde_json::json;

use crate::world::*;

const DUE: &str = "2026-01-10T06:00:00Z";

/// So many invoices of this gateway, due now in real time.
async fn due(world: &World, paylike: bool, count: usize) {
    for _ in 0..count {
        let customer = world.customer("UTC").await;
        let token = if paylike { world.prior() } else { world.token() };
        world.method(customer, paylike, &token).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
    }
    billing::subscriptions::open_due::open_due(&world.app, Timeline::Test(world.clock), at(DUE)).await.expect("opened");
    run(world, "update invoices set timeline = 'wall'").await;
}

async fn run(world: &World, sql: impl Into<String>) -> u64 {
    let sql: &'static str = Box::leak(sql.into().into_boxed_str());
    world.app.db.query(sql).run().await.expect("run")
}

/// A daemon on the world's database whose wall clock is moved by hand, from now on: gateways keep real time.
fn by_hand(world: &World, change: impl FnOnce(&mut Config)) -> (Arc<App>, Clock) {
    let mut config = world.app.config.clone();
    // No fault but those that are asked for, however busy the machine is.
    config.gateways.values_mut().for_each(|gateway| gateway.timeout = Duration::from_secs(20));
    change(&mut config);
    let clock = Clock::manual(world.app.clock.now());
    let gateways = Gateways::connect(&config.gateways).expect("gateways");
    (Arc::new(App::new(world.app.db.clone(), clock.clone(), config, gateways, [9; 32])), clock)
}

async fn collect(app: &Arc<App>) -> billing::collection::run::Collected {
    collect_due(app, Timeline::Wall, app.clock.now()).await.expect("collected")
}

fn rule(fault: serde_json::Value, operation: &str, times: u32) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": times })).expect("a rule")
}

fn statements(app: &App) -> u64 {
    app.db.tally().statements.load(Ordering::Relaxed)
}

on_both! {
    async fn ten_at_a_healthy_gateway_do_not_wait_for_thousands_at_a_paused_one(world: World) {
        due(&world, false, 1).await;
        // The same invoice again and again, due before everything else.
        let rest: Vec<&str> = Invoice::columns().iter().copied().filter(|column| !["id", "number", "cycle"].contains(column)).collect();
        let crowd = format!(
            "insert into invoices (id, number, cycle, {columns})
             with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000)
             select 'inv_01h455vb4pex5vsknk08' || cast(100000 + n.i as text), 'X' || cast(n.i as text), null, {columns} from invoices, n",
            columns = rest.join(", ")
        );
        assert_eq!(run(&world, crowd).await, 3000);
        due(&world, true, 10).await;
        run(&world, "analyze").await;
        let (app, clock) = by_hand(&world, |_| {});
        billing::gateways::pause(&app, &Actor::System, "fluid", "maintenance").await.expect("paused");

        let events = world.events(None).await.len();
        let before = statements(&app);
        let collected = collect(&app).await;
        assert_eq!((collected.payments, collected.postponed), (10, 3001));
        let spent = statements(&app) - before;
        let batches = 3000 / u64::from(app.config.billing.batch) + 2;
        assert!(spent < 40 + 12 * batches, "{spent} statements for {batches} batches");
        assert_eq!(world.prove().await, 10);
        let touched: (i64,) = app.db.query("select count(*) from invoices where status = 'open' and (attempts > 0 or gateway_faults > 0 or dunning_step > 0)").one().await.expect("count");
        assert_eq!(touched.0, 0);
        // Each of the ten: paid, and succeeded.
        assert_eq!(world.events(None).await.len() - events, 20, "nothing is told of invoices that wait");

        // At the next ticks they are not even read.
        for _ in 0..5 {
            let before = statements(&app);
            clock.set(clock.now() + TimeDelta::seconds(1));
            assert_eq!(collect(&app).await, billing::collection::run::Collected::default());
            assert!(statements(&app) - before <= 6, "{} statements for nothing", statements(&app) - before);
        }
        billing::gateways::resume(&app, &Actor::System, "fluid").await.expect("resumed");
        let due: (i64,) = app.db.query("select count(*) from invoices where next_attempt_at <= $1").bind(app.clock.now()).one().await.expect("count");
        assert_eq!(due.0, 3001, "they are due at once, not when they would have been looked at again");
    }

    async fn a_429_pauses_its_gateway_for_as_long_as_it_asks(world: World) {
        due(&world, false, 20).await;
        let (app, clock) = by_hand(&world, |config| {
            config.gateways.get_mut("fluid").expect("configured").max_in_flight = 1;
        });
        let sandbox = world.sandbox.sandbox();
        sandbox.add_fault(rule(json!({ "kind": "status", "status": 429, "retry_after": 600 }), "charge", 1));
        collect(&app).await;
        assert_eq!(world.sandbox.ledger().len(), 0, "whoever asks for fewer requests gets none");
        let until = clock.now() + TimeDelta::seconds(600);
        assert!(world.invoices().await.iter().all(|invoice| invoice.next_attempt_at == Some(until)), "{:?}", world.invoices().await);
        clock.set(until - TimeDelta::seconds(1));
        assert_eq!(collect(&app).await, billing::collection::run::Collected::default());
        clock.set(until);
        collect(&app).await;
        assert_eq!(world.prove().await, 20);
    }

    async fn a_429_cannot_ask_for_more_than_is_allowed(world: World) {
        due(&world, false, 1).await;
        let (app, clock) = by_hand(&world, |_| {});
        world.sandbox.sandbox().add_fault(rule(json!({ "kind": "status", "status": 429, "retry_after": 9_999_999 }), "charge", 1));
        collect(&app).await;
        let until = app.gateways.health("fluid").expect("configured").breaker(app.clock.now()).until;
        assert_eq!(until, Some(clock.now() + TimeDelta::hours(1)));
    }

    async fn what_never_arrived_is_sent_again_as_the_same_payment_by_few_at_first(world: World) {
        due(&world, false, 12).await;
        let (app, clock) = by_hand(&world, |config| {
            config.collection.lookup_backoff = vec![TimeDelta::seconds(1)];
            // All of them are called before it is noticed.
            config.gateways.get_mut("fluid").expect("configured").breaker.faults = 12;
        });
        let sandbox = world.sandbox.sandbox();
        sandbox.add_fault(rule(json!("drop_before"), "charge", 0));
        collect(&app).await;
        let unknown = world.payments().await;
        assert!(unknown.len() == 12 && unknown.iter().all(|payment| payment.status == PaymentStatus::Unknown), "{unknown:?}");
        look_up_payments(&app, None).await.expect("looked up");
        assert_eq!(sandbox.struck(), 12, "the gateway knows of none of them, and none is sent while it is down");
        // After the wait three of them find out that it still is.
        clock.set(clock.now() + TimeDelta::seconds(30));
        look_up_payments(&app, None).await.expect("looked up");
        // Each of the three that fails may make room for another before the last of them has told.
        assert!((15..=18).contains(&sandbox.struck()), "{} calls", sandbox.struck());
        sandbox.clear_faults();
        for _ in 0..4 {
            clock.set(clock.now() + TimeDelta::seconds(60));
            look_up_payments(&app, None).await.expect("looked up");
        }
        assert_eq!((world.prove().await, world.payments().await.len()), (12, 12), "no payment but the first was made");
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
    }

    async fn an_outage_of_weeks_parks_no_payment_that_is_found_after_it(world: World) {
        due(&world, false, 12).await;
        let (app, clock) = by_hand(&world, |config| {
            config.collection.lookup_backoff = [60, 300, 3600, 86_400].map(TimeDelta::seconds).to_vec();
        });
        let sandbox = world.sandbox.sandbox();
        sandbox.add_fault(rule(json!("drop_after"), "charge", 0));
        sandbox.add_fault(rule(json!(503), "lookup", 0));
        collect(&app).await;
        let end = clock.now() + TimeDelta::days(26);
        while let Some(next) = store::leases::earliest_lookup::<Payment>(&app.db, Timeline::Wall).await.expect("read").filter(|next| *next < end) {
            clock.set(next.max(clock.now()));
            look_up_payments(&app, None).await.expect("looked up");
        }
        assert!(world.payments().await.iter().all(|payment| payment.status == PaymentStatus::Unknown), "{:?}", world.story().await);
        let asked = sandbox.struck();
        assert!(asked < 12 * 45 * 3, "{asked} calls in 26 days");
        sandbox.clear_faults();
        clock.set(end + TimeDelta::days(1));
        look_up_payments(&app, None).await.expect("looked up");
        assert_eq!(world.prove().await, 12);
    }

    async fn a_pause_holds_for_every_daemon_and_for_the_next_life(world: World) {
        due(&world, false, 3).await;
        billing::gateways::pause(&world.app, &Actor::System, "fluid", "").await.expect("paused");
        for name in ["another", "reborn"] {
            let other = world.another(name).await;
            let collected = collect(&other).await;
            assert_eq!(collected.payments, 0, "{name}");
        }
        assert!(world.payments().await.is_empty() && world.sandbox.ledger().is_empty());
        billing::gateways::resume(&world.app, &Actor::System, "fluid").await.expect("resumed");
        let other: Arc<App> = world.another("another").await;
        assert_eq!(collect(&other).await.payments, 3);
        assert_eq!(world.prove().await, 3);
    }

    async fn a_test_clock_goes_by_a_day_at_a_time_while_its_gateway_is_paused(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
        billing::gateways::pause(&world.app, &Actor::System, "fluid", "").await.expect("paused");
        world.advance("2026-03-20T00:00:00Z").await;
        let invoices = world.invoices().await;
        assert!(invoices.len() == 3 && invoices.iter().all(|invoice| invoice.status == InvoiceStatus::Open && invoice.attempts == 0), "{invoices:?}");
        billing::gateways::resume(&world.app, &Actor::System, "fluid").await.expect("resumed");
        world.advance("2026-03-22T00:00:00Z").await;
        assert_eq!(world.prove().await, 3);
    }
}

/// Measured where the calls arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_go_to_a_gateway_at_a_time_than_it_is_given() {
    let world = World::slow(On::Sqlite, Duration::from_millis(20)).await.expect("SQLite is always there");
    due(&world, false, 30).await;
    due(&world, true, 30).await;
    let (app, _) = by_hand(&world, |config| {
        config.gateways.get_mut("fluid").expect("configured").max_in_flight = 3;
        config.gateways.get_mut("paylike").expect("configured").max_in_flight = 2;
    });
    collect(&app).await;
    assert_eq!(world.prove().await, 60);
    assert_eq!(world.sandbox.sandbox().most_at_once(), 5);
}
