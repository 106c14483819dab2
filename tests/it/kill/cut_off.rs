//! Daemons that lose their database, their gateways, or themselves for a while: others take over, and they go on by themselves.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::{
    domain::payment::PaymentStatus,
    sandbox::Rule,
    store::{Db, Error},
};
use serde_json::json;

use super::{
    Daemon,
    cluster::said,
    proxy::{Line, Mode},
};
use crate::{
    collection::chaos::{seed, storm},
    world::*,
};

fn slow(ms: u64) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": "charge" }, "fault": format!("delay:{ms}") })).expect("a rule")
}

/// One customer by FluidPay on the test clock, who owes something once the clock has moved.
async fn one(world: &World) {
    let customer = world.customer("UTC").await;
    world.method(customer, false, &world.token()).await;
    let subscription = world.monthly(customer, "2026-01-10").await;
    world.add(subscription).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_in_hand_is_written_when_the_database_is_back() {
    let Some(world) = World::new(On::Postgres).await else { return };
    one(&world).await;
    let line = Line::to(&world.url).await;
    let mut daemon = Daemon::at(&line.url, &world.sandbox.url(), "far", "60s", "8s", "");
    daemon.start();
    daemon.up().await;
    world.sandbox.sandbox().add_fault(slow(1500));
    daemon.advance(&world, "2026-01-20T00:00:00Z").await;
    world.payment_in(PaymentStatus::Pending).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    line.set(Mode::Cut);
    // The gateway takes the money and says so to a daemon that cannot write it down.
    let begun = Instant::now();
    while world.sandbox.ledger().is_empty() || begun.elapsed() < Duration::from_millis(2500) {
        daemon.must_live();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.readiness(503).await;
    line.set(Mode::Whole);
    daemon.readiness(200).await;
    world.arrival(&mut [&mut daemon], Duration::from_secs(90)).await;
    assert_eq!(world.prove().await, 1);
    let payment = world.payments().await.remove(0);
    assert_eq!(
        (payment.status, payment.lookups),
        (PaymentStatus::Succeeded, 0),
        "what was in hand was kept, not asked for again"
    );
    assert_eq!(world.freed().await, 0);
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_the_database_is_stood_in_for_and_comes_back() {
    let Some(world) = World::new(On::Postgres).await else { return };
    one(&world).await;
    let line = Line::to(&world.url).await;
    let mut far = Daemon::at(&line.url, &world.sandbox.url(), "far", "3s", "2s", "");
    let mut near = Daemon::new(&world, "near", "3s");
    far.start();
    far.up().await;
    world.sandbox.sandbox().add_fault(slow(1500));
    far.advance(&world, "2026-01-20T00:00:00Z").await;
    world.payment_in(PaymentStatus::Pending).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    line.set(Mode::Cut);
    near.start();
    near.up().await;
    // The clock and the payment are the other's once their leases have ended.
    world.arrival(&mut [&mut far, &mut near], Duration::from_secs(90)).await;
    assert_eq!(world.prove().await, 1);
    assert!(world.freed().await >= 1, "the payment was taken over");
    far.readiness(503).await;
    line.set(Mode::Whole);
    far.readiness(200).await;
    assert!(near.terminate().await.success());
    // It works again, without a restart.
    far.advance(&world, "2026-02-20T00:00:00Z").await;
    world.arrival(&mut [&mut far], Duration::from_secs(90)).await;
    assert_eq!(world.prove().await, 2, "its late answer has done no harm");
    assert!(far.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_daemons_are_cut_off_and_frozen_in_turns() {
    let Some(world) = World::slow(On::Postgres, Duration::from_millis(10)).await else { return };
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    world.real_crowd(&mut random, 300, Duration::from_secs(20)).await;
    world.chaos(seed, storm()).await;
    let more = "gateway_fault_backoff = [\"200ms\", \"500ms\", \"1s\"]\n[billing]\nbatch = 16\n";
    let mut daemons = Vec::new();
    for name in ["one", "two", "three"] {
        let (database, gateways) = (Line::to(&world.url).await, Line::to(&world.sandbox.url()).await);
        let mut daemon = Daemon::at(&database.url, &gateways.url, name, "2s", "600ms", more);
        daemon.start();
        daemons.push((daemon, database, gateways));
    }
    for (daemon, ..) in &mut daemons {
        daemon.up().await;
        // Its port is open before it is through with its start, which it may not outlive without a database.
        daemon.readiness(200).await;
    }
    for round in 0..15 {
        let (daemon, database, gateways) = &daemons[random.random_range(0..3)];
        let pause = Duration::from_millis(random.random_range(300..=3500));
        match round % 5 {
            0 => {
                daemon.signal("STOP");
                tokio::time::sleep(pause).await;
                daemon.signal("CONT");
            }
            1 => {
                database.set(Mode::Cut);
                tokio::time::sleep(pause).await;
                database.set(Mode::Whole);
            }
            2 => {
                gateways.set(Mode::Cut);
                tokio::time::sleep(pause).await;
                gateways.set(Mode::Whole);
            }
            3 => {
                database.set(Mode::Silent);
                tokio::time::sleep(pause).await;
                database.set(Mode::Whole);
            }
            _ => {
                // An administrator ends all sessions at once.
                let end = "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and pid <> pg_backend_pid()) ended";
                world.number(end).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..=300))).await;
    }
    let calm = Instant::now();
    loop {
        let left = world.left().await;
        if left == (0, 0, 0, 0) {
            break;
        }
        for (daemon, ..) in &mut daemons {
            daemon.must_live();
        }
        assert!(calm.elapsed() < Duration::from_mins(3), "left: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.calm().await;
    let charges = world.prove().await;
    println!("{charges} charges agree; {:#?}", said(daemons.iter().map(|it| &it.0), "WARN"));
    assert!(charges > 450, "only {charges} charges");
    for (mut daemon, ..) in daemons {
        daemon.readiness(200).await;
        assert!(daemon.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_other_end_says_nothing_is_given_up() {
    let Some(world) = World::new(On::Postgres).await else { return };
    let line = Line::to(&world.url).await;
    let db = Db::open(&line.url, 2, false).await.expect("database").with_statement_timeout(Duration::from_millis(300));
    let ask = async || db.query("select count(*) from payments").one::<(i64,)>().await;
    ask().await.expect("asked");
    let mut tx = db.begin().await.expect("begun");
    line.set(Mode::Silent);
    let mute = tx.query("select count(*) from invoices").one::<(i64,)>().await;
    assert!(matches!(mute, Err(Error::Unreachable(_))), "{mute:?}");
    let lost = tx.commit().await;
    assert!(matches!(lost, Err(Error::Unreachable(_))), "{lost:?}");
    assert!(matches!(ask().await, Err(Error::Unreachable(_))));
    line.set(Mode::Whole);
    let begun = Instant::now();
    while ask().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the pool does not heal");
    }
    db.begin().await.expect("begun").commit().await.expect("committed");
}
