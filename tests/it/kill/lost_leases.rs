//! Daemons that freeze for longer than their lease and come back while another has taken over: the money moves once.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::{
    billing::{
        self, App,
        collection::run,
        gateway_operations::recover,
        jobs::runs::Counts,
        payments::look_up::look_up_payments,
        subscriptions::cancel::{CancelInput, cancel},
    },
    domain::{
        clock::Timeline,
        event::Actor,
        payment::{Outcome, Payment, PaymentStatus},
        subscription::When,
    },
    gateway::{Charge, Mandate, Source},
    jobs, store,
};
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::{
    Daemon,
    crash_points::{Call, Fate, Moment, Point, fused},
};
use crate::{
    collection::chaos::{crowd, seed, storm},
    world::*,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_that_freeze_in_turns_share_a_postgres() {
    let Some(world) = World::slow(On::Postgres, Duration::from_millis(5)).await else { return };
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    crowd(&world, &mut random, 60).await;
    world.chaos(seed, storm()).await;
    world.set_out("2026-07-01T00:00:00Z").await;
    let (mut left, mut right) = (Daemon::new(&world, "left", "1s"), Daemon::new(&world, "right", "1s"));
    left.start();
    left.up().await;
    right.start();
    right.up().await;
    let mut freezes = 0;
    while freezes < 12 && !world.arrived().await {
        let frozen = if freezes % 2 == 0 { &left } else { &right };
        tokio::time::sleep(Duration::from_millis(random.random_range(50..=600))).await;
        frozen.signal("STOP");
        tokio::time::sleep(Duration::from_millis(random.random_range(1200..=2500))).await;
        frozen.signal("CONT");
        freezes += 1;
    }
    world.arrival(&mut [&mut left, &mut right], Duration::from_secs(90)).await;
    world.calm().await;
    let freed = world.freed().await;
    let charges = world.prove().await;
    println!("{freezes} freezes freed {freed} claims; {charges} charges agree");
    assert!(charges > 200, "only {charges} charges");
    assert!(left.terminate().await.success() && right.terminate().await.success());
}

const LEASE: Duration = Duration::from_millis(300);

/// A daemon of this process with a short lease, whose gateways stop at a point until let on.
fn hasty(world: &World, name: &str, point: Option<Point>) -> (Arc<App>, Arc<super::crash_points::Fuse>) {
    let mut config = world.app.config.clone();
    config.collection.lease = TimeDelta::from_std(LEASE).expect("a lease");
    let (app, fuse) = fused(world, config, name, point, Fate::Wait);
    (app, fuse)
}

async fn due(world: &World, paylike: bool) -> (rebilld::domain::subscription::Subscription, chrono::DateTime<chrono::Utc>) {
    let customer = world.customer("UTC").await;
    let token = if paylike { world.prior() } else { world.token() };
    world.method(customer, paylike, &token).await;
    let sub = world.monthly(customer, "2026-01-01").await;
    let sub = world.add(sub).await;
    let now = at("2026-01-01T06:00:00Z");
    billing::subscriptions::open_due::open_due(&world.app, Timeline::Test(world.clock), now).await.expect("opened");
    (sub, now)
}

fn charge_of(payment: &Payment) -> Charge {
    let source = match (&payment.prior_transaction_id, &payment.customer_token) {
        (Some(transaction_id), _) => Source::PriorTransaction { transaction_id: transaction_id.clone() },
        (None, token) => Source::VaultToken { customer_token: token.clone().unwrap_or_default(), payment_method_token: None },
    };
    Charge {
        reference: payment.reference.clone(),
        idempotency_key: payment.idempotency_key.clone(),
        source,
        amount_minor: payment.amount,
        currency: payment.currency,
        description: String::new(),
        mandate: Mandate::default(),
    }
}

/// What every daemon does at each tick.
async fn look(app: &App) {
    recover::recover(app, false).await.expect("recovered");
    look_up_payments(app, None).await.expect("looked up");
}

on_both! {
    async fn who_charges_after_it_was_given_up_is_in_the_books(world: World) {
        let (sub, now) = due(&world, false).await;
        let timeline = Timeline::Test(world.clock);
        let (stale, fuse) = hasty(&world, "stale", Some(Point(Moment::Before, Call::Charge)));
        let task = tokio::spawn(async move { run::collect_due(&stale, timeline, now).await });
        fuse.blown().await;
        cancel(&world.app, &Actor::System, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        let (fresh, _) = hasty(&world, "fresh", None);
        while world.payments().await[0].status != PaymentStatus::GatewayError {
            look(&fresh).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fuse.go_on();
        task.await.expect("alive").expect("collected");
        world.settle_requests().await;
        assert_eq!(world.prove().await, 1, "money that was taken is in the books, wanted or not, and what nobody owes goes back");
        assert!(world.events(None).await.contains(&"payment.unexpected_success".to_owned()));
        let payment = world.payments().await.remove(0);
        assert_eq!((payment.overpayment, payment.amount_refunded, world.invoices().await[0].amount_paid), (1000, 1000, 0));
    }

    async fn who_charges_after_it_was_given_up_and_dies_is_found_by_another_look(world: World) {
        let timeline = Timeline::Test(world.clock);
        for (index, paylike) in [false, true].into_iter().enumerate() {
            let (sub, now) = due(&world, paylike).await;
            let (stale, fuse) = hasty(&world, "stale", Some(Point(Moment::Before, Call::Charge)));
            let task = tokio::spawn(async move { run::collect_due(&stale, timeline, now).await });
            fuse.blown().await;
            cancel(&world.app, &Actor::System, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
            let (fresh, _) = hasty(&world, "fresh", None);
            while world.payments().await[index].status != PaymentStatus::GatewayError {
                look(&fresh).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // What it had sent arrives after all, and it dies of its own.
            task.abort();
            let given_up = world.payments().await.remove(index);
            let gateway = world.app.gateways.get(&given_up.gateway).expect("configured");
            let late = gateway.adapter.charge(&charge_of(&given_up)).await;
            assert!(matches!(late, Outcome::Succeeded { .. } | Outcome::Authorized { .. }), "{late:?}");
            let again = given_up.next_lookup_at.expect("asked once more");
            assert!(again > world.app.clock.now() + TimeDelta::hours(23), "when whatever was held up must have arrived");
            // A gateway that does not answer is asked again.
            world.sandbox.sandbox().add_fault(serde_json::from_value(json!({ "fault": "500", "times": 3 })).expect("a rule"));
            for _ in 0..2 {
                let mut tx = world.app.db.begin().await.expect("tx");
                let asked = world.payments().await.remove(index);
                assert!(asked.next_lookup_at.is_some() && asked.lease_owner.is_none());
                store::payments::save(&mut tx, &[Payment { next_lookup_at: Some(world.app.clock.now()), ..asked }]).await.expect("due");
                tx.commit().await.expect("commit");
                look(&fresh).await;
            }
            assert_eq!(world.payments().await[index].next_lookup_at, None);
            assert!(world.sandbox.sandbox().authorized().is_empty(), "what was reserved is free again");
            world.settle_requests().await;
            assert_eq!(world.prove().await, 1, "what was taken is in the books");
        }
        let told = world.events(None).await;
        assert!(told.contains(&"payment.unexpected_success".to_owned()) && told.contains(&"payment.orphaned_authorization".to_owned()));
    }

    async fn a_reservation_made_twice_is_captured_once(world: World) {
        let (_, now) = due(&world, true).await;
        let timeline = Timeline::Test(world.clock);
        let (stale, first) = hasty(&world, "stale", Some(Point(Moment::Before, Call::Charge)));
        let task = tokio::spawn(async move { run::collect_due(&stale, timeline, now).await });
        first.blown().await;
        tokio::time::sleep(LEASE).await;
        // The other has reserved again and is about to capture when the first comes back with a reservation of its own.
        let (fresh, second) = hasty(&world, "fresh", Some(Point(Moment::Before, Call::Capture)));
        let other = tokio::spawn(async move { look(&fresh).await });
        second.blown().await;
        first.go_on();
        task.await.expect("alive").expect("collected");
        assert_eq!(world.payments().await[0].status, PaymentStatus::Authorized, "what is given free is not the payment");
        second.go_on();
        other.await.expect("alive");
        assert_eq!(world.prove().await, 1);
    }

    async fn a_reservation_that_another_is_looking_for_is_not_given_free(world: World) {
        let (_, now) = due(&world, true).await;
        let timeline = Timeline::Test(world.clock);
        let (stale, first) = hasty(&world, "stale", Some(Point(Moment::After, Call::Charge)));
        let task = tokio::spawn(async move { run::collect_due(&stale, timeline, now).await });
        first.blown().await;
        tokio::time::sleep(LEASE).await;
        let (fresh, second) = hasty(&world, "fresh", Some(Point(Moment::After, Call::LookUp)));
        let other = tokio::spawn(async move { look(&fresh).await });
        second.blown().await;
        first.go_on();
        task.await.expect("alive").expect("collected");
        second.go_on();
        other.await.expect("alive");
        assert_eq!(world.prove().await, 1);
        assert_eq!(world.invoices().await[0].dunning_step, 0, "nobody was declined");
    }

    async fn a_look_up_that_takes_longer_than_a_lease_is_left_to_its_daemon(world: World) {
        let (_, now) = due(&world, true).await;
        let rule = json!({ "match": { "operation": "authorize" }, "fault": "drop_before" });
        world.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
        run::collect_due(&world.app, Timeline::Test(world.clock), now).await.expect("collected");
        let (patient, fuse) = hasty(&world, "patient", Some(Point(Moment::After, Call::LookUp)));
        let task = tokio::spawn(async move { look_up_payments(&patient, None).await });
        fuse.blown().await;
        let (other, _) = hasty(&world, "other", None);
        let begun = std::time::Instant::now();
        while begun.elapsed() < 3 * LEASE {
            assert_eq!(look_up_payments(&other, None).await.expect("asked"), 0, "two daemons look up one payment in turns");
            tokio::time::sleep(LEASE / 10).await;
        }
        fuse.go_on();
        task.await.expect("alive").expect("looked up");
        assert_eq!(world.prove().await, 1, "what it found out counts");
    }

    async fn a_capture_that_keeps_failing_is_not_hammered(world: World) {
        let (_, now) = due(&world, true).await;
        let rule = json!({ "match": { "operation": "capture" }, "fault": 500, "times": 0 });
        world.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
        run::collect_due(&world.app, Timeline::Test(world.clock), now).await.expect("collected");
        let look = look_up_payments(&world.app, None);
        tokio::time::timeout(Duration::from_secs(5), look).await.expect("a lookup run ends").expect("looked up");
        let payment = world.payments().await.remove(0);
        assert!(payment.lookups > 0 && payment.next_lookup_at.is_some_and(|at| at > payment.sent_at), "{payment:?}");
        world.sandbox.sandbox().clear_faults();
        while world.payments().await[0].status.is_open() {
            look_up_payments(&world.app, None).await.expect("looked up");
        }
        assert_eq!(world.prove().await, 1);
    }

    async fn a_clock_is_kept_while_an_instant_takes_longer_than_a_lease(world: World) {
        let (_, _) = due(&world, false).await;
        let fault = |operation: &str, fault: &str, times: u64| {
            let rule = json!({ "match": { "operation": operation }, "fault": fault, "times": times });
            world.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
        };
        fault("charge", "drop_after", 1);
        fault("lookup", "500", 0);
        let mut config = world.app.config.clone();
        config.collection.lease = TimeDelta::from_std(LEASE).expect("a lease");
        config.collection.lookup_backoff = vec![TimeDelta::milliseconds(500)];
        let holder = app(world.app.db.clone(), config.clone(), "holder");
        world.set_out("2026-01-20T00:00:00Z").await;
        let running = tokio::spawn(jobs::advance::run(holder, TaskTracker::new(), jobs::pulse::Pulse::new("travel")));
        world.payment_in(PaymentStatus::Unknown).await;
        let other = app(world.app.db.clone(), config, "other");
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(billing::test_clocks::advance::claim(&other).await.expect("asked").len(), 0, "two daemons move one clock");
        }
        world.sandbox.sandbox().clear_faults();
        while !world.arrived().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running.abort();
        assert_eq!(world.prove().await, 1);
    }

    async fn a_clock_is_moved_only_from_where_it_stands(world: World) {
        world.set_out("2026-06-01T00:00:00Z").await;
        let clock = billing::test_clocks::advance::claim(&world.app).await.expect("claimed").remove(0);
        let step = async |from: &str, to: &str| {
            billing::test_clocks::advance::step(&world.app, clock.id, at(from), at(to), &Counts::new()).await.expect("asked").is_some()
        };
        assert!(step("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z").await);
        assert!(!step("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z").await, "worked out for an instant that has passed");
        let now = store::clocks::get(&world.app.db, clock.id).await.expect("read").expect("clock").now_at;
        assert_eq!(now, at("2026-03-01T00:00:00Z"));
    }
}
