//! Every await of an early authorization as a place to die: between the call and its record, between the record and the capture.

use std::time::Duration;

use rebilld::{
    billing::{
        authorizations, collection::run, gateway_operations::recover, payments::look_up::look_up_payments,
        subscriptions::open_due::open_due,
    },
    domain::{clock::Timeline, subscription::Subscription},
    sandbox::Movement,
    store,
};

use super::crash_points::{Call, Fate, Moment, Point, fused};
use crate::world::*;

const AHEAD: &str = "2026-01-08T00:00:00Z";
const BILLED: &str = "2026-01-10T06:00:00Z";

/// One life, to its work's end or to the point where it dies; whether it died.
async fn live(world: &World, point: Option<Point>) -> bool {
    let (app, fuse) = fused(world, world.app.config.clone(), "mayfly", point, Fate::Wait);
    let timeline = Timeline::Test(world.clock);
    while recover::recover(&app, true).await.expect("recovered") > 0 {}
    let work = async {
        if app.now_of(timeline).await.expect("now") == at(AHEAD) {
            authorizations::authorize_due(&app, timeline, at(AHEAD)).await.expect("authorized");
            while store::authorizations::undecided(&app.db, timeline).await.expect("counted") > 0 {
                if authorizations::look_up(&app, None).await.expect("looked up") == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            world.set_clock(BILLED).await;
        }
        open_due(&app, timeline, at(BILLED)).await.expect("opened");
        run::collect_due(&app, timeline, at(BILLED)).await.expect("collected");
        while store::payments::undecided(&app.db, timeline).await.expect("counted") > 0 {
            if look_up_payments(&app, None).await.expect("looked up") == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        authorizations::authorize_due(&app, timeline, at(BILLED)).await.expect("looked at");
    };
    tokio::select! {
        () = work => false,
        () = fuse.blown() => true,
    }
}

on_both! {
    async fn two_lives_end_at_any_two_points_and_what_was_reserved_is_captured_once(world: World) {
        let calls = [Call::Authorize, Call::Capture, Call::LookUp];
        let points: Vec<Point> = calls.into_iter().flat_map(|call| [Point(Moment::Before, call), Point(Moment::After, call)]).collect();
        let (mut deaths, mut charges) = (0, 0);
        for paylike in [false, true] {
            for &first in &points {
                for &second in &points {
                    world.set_clock(AHEAD).await;
                    let customer = world.customer("UTC").await;
                    let token = if paylike { world.prior() } else { world.token() };
                    world.method(customer, paylike, &token).await;
                    let sub = world.monthly(customer, "2026-01-10").await;
                    world.add(Subscription { duration: 1, authorize_days_before: Some(3), ..sub }).await;
                    deaths += usize::from(live(&world, Some(first)).await) + usize::from(live(&world, Some(second)).await);
                    assert!(!live(&world, None).await);
                    charges += 1;
                    let died = format!("died at {first:?} and {second:?}, Paylike: {paylike}");
                    assert_eq!(world.prove().await, charges, "{died}");
                    assert_eq!(world.sandbox.sandbox().authorized(), [], "{died}");
                }
            }
        }
        assert!(deaths > 50, "only {deaths} lives ended early");
        assert!(world.sandbox.ledger().iter().all(|entry| entry.kind == Movement::Capture), "charged beside what was reserved");
    }
}
