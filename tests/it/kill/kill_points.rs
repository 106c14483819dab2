//! Kills at chosen moments: with a call in flight, at boot, one after the other; and the gentle end by SIGTERM.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::{
    billing::subscriptions::cancel::{CancelInput, cancel},
    domain::{event::Actor, payment::PaymentStatus, subscription::When},
    sandbox::Rule,
};
use serde_json::json;

use super::Daemon;
use crate::{
    collection::chaos::{crowd, seed, storm},
    world::*,
};

fn slow(operation: &str) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": "delay:1200" })).expect("a rule")
}

/// Long enough for a call to be on the wire.
const UNDER_WAY: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(90);

on_both! {
    async fn a_kill_amid_a_slow_call_takes_the_money_once(world: World) {
        let mut daemon = Daemon::with_timeout(&world, "phoenix", "10s", "4s");
        for paylike in [false, true] {
            let customer = world.customer("UTC").await;
            let token = if paylike { world.prior() } else { world.token() };
            world.method(customer, paylike, &token).await;
            let sub = world.monthly(customer, "2026-01-10").await;
            world.add(sub).await;
        }
        daemon.start();
        daemon.up().await;
        let moments = [("charge", PaymentStatus::Pending), ("authorize", PaymentStatus::Pending), ("capture", PaymentStatus::Authorized)];
        for (month, (operation, status)) in moments.into_iter().enumerate() {
            world.sandbox.sandbox().add_fault(slow(operation));
            daemon.advance(&world, &format!("2026-{:02}-20T00:00:00Z", month + 1)).await;
            world.payment_in(status).await;
            tokio::time::sleep(UNDER_WAY).await;
            daemon.kill();
            daemon.start();
            daemon.up().await;
            world.arrival(&mut [&mut daemon], PATIENCE).await;
            // What the dead daemon had asked for has been done by now, too.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            assert_eq!(world.prove().await, 2 * (month + 1), "killed amid {operation}");
        }
        assert!(world.freed().await >= 3);
    }

    async fn a_cancel_between_the_kill_and_the_restart_loses_no_money(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        let sub = world.add(sub).await;
        let mut daemon = Daemon::with_timeout(&world, "phoenix", "5s", "2s");
        daemon.start();
        daemon.up().await;
        world.sandbox.sandbox().add_fault(slow("charge"));
        daemon.advance(&world, "2026-01-20T00:00:00Z").await;
        world.payment_in(PaymentStatus::Pending).await;
        tokio::time::sleep(UNDER_WAY).await;
        daemon.kill();
        cancel(&world.app, &Actor::System, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        // The restarted daemon asks before the gateway has got to the dead one's request, and may not send it again.
        daemon.start();
        world.arrival(&mut [&mut daemon], PATIENCE).await;
        assert_eq!(world.prove().await, 1);
        assert_eq!(world.payments().await[0].status, PaymentStatus::Succeeded, "the late charge is in the books");
    }

    async fn kills_at_boot_and_one_after_the_other(world: World) {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        crowd(&world, &mut random, 30).await;
        world.chaos(seed, storm()).await;
        world.set_out("2026-03-20T00:00:00Z").await;
        let mut daemon = Daemon::new(&world, "phoenix", "5s");
        for _ in 0..30 {
            daemon.start();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=160))).await;
            daemon.kill();
        }
        daemon.start();
        world.arrival(&mut [&mut daemon], PATIENCE).await;
        world.calm().await;
        assert!(world.prove().await > 50);
    }

    async fn sigterm_leaves_no_call_behind(world: World) {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        crowd(&world, &mut random, 40).await;
        world.chaos(seed, storm()).await;
        world.set_out("2026-04-20T00:00:00Z").await;
        let mut daemon = Daemon::new(&world, "phoenix", "5s");
        for _ in 0..8 {
            daemon.start();
            daemon.up().await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=700))).await;
            assert!(daemon.terminate().await.success());
            let left: Vec<_> = world.payments().await.into_iter().filter(|payment| payment.lease_expires_at.is_some()).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
        assert_eq!(world.freed().await, 0, "there was nothing to free");
        daemon.start();
        world.arrival(&mut [&mut daemon], PATIENCE).await;
        world.calm().await;
        assert!(world.prove().await > 50);
    }
}
