//! Adapters that panic: the call that panicked is looked up, and all the others of the run end as they should.

use std::time::Duration;

use chrono::TimeDelta;
use rebilld::{
    billing::{
        App,
        collection::run,
        disputes,
        gateway_operations::recover,
        payment_requests::{request, work},
        payments::look_up::look_up_payments,
        refunds,
        refunds::look_up::look_up_refunds,
        subscriptions::open_due::open_due,
    },
    domain::{
        clock::Timeline,
        event::Actor,
        id::InvoiceId,
        payment_request::RequestStatus,
        refund::{Refund, RefundStatus},
    },
};

use super::crash_points::{Call, Fate, Moment, Point, fused};
use crate::world::*;

const NOW: &str = "2026-01-01T06:00:00Z";

async fn invoice(world: &World, paylike: bool) -> InvoiceId {
    let customer = world.customer("UTC").await;
    let token = if paylike { world.prior() } else { world.token() };
    world.method(customer, paylike, &token).await;
    let subscription = world.add(world.monthly(customer, "2026-01-01").await).await;
    open_due(&world.app, Timeline::Test(world.clock), at(NOW)).await.expect("opened");
    let mut invoices = world.invoices().await.into_iter();
    invoices.find(|invoice| invoice.subscription_id == Some(subscription.id)).expect("billed").id
}

/// What every daemon does at each tick.
async fn look(app: &App) {
    recover::recover(app, false).await.expect("recovered");
    look_up_payments(app, None).await.expect("looked up");
    look_up_refunds(app).await.expect("looked up");
}

async fn refunds(world: &World) -> Vec<Refund> {
    world.app.db.query("select * from refunds order by id").all().await.expect("refunds")
}

on_both! {
    async fn an_adapter_that_panics_takes_nobody_with_it(world: World) {
        let now = at(NOW);
        let points = [Moment::Before, Moment::After].into_iter().flat_map(|moment| [Call::Charge, Call::Capture].map(|call| Point(moment, call)));
        for (round, point) in (1..).zip(points) {
            for paylike in [false, true, true] {
                invoice(&world, paylike).await;
            }
            let (app, _) = fused(&world, world.app.config.clone(), "test", Some(point), Fate::Panic);
            run::collect_due(&app, Timeline::Test(world.clock), now).await.expect("collected");
            let open = world.payments().await.iter().filter(|payment| payment.status.is_open()).count();
            assert_eq!(open, 1, "all but the one that panicked at {point:?} are settled");
            while world.payments().await.iter().any(|payment| payment.status.is_open()) {
                look(&world.app).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(world.prove().await, 3 * round);
        }
    }

    async fn a_refund_whose_call_or_look_up_panics_is_looked_up(world: World) {
        let mut config = world.app.config.clone();
        config.collection.lease = TimeDelta::milliseconds(200);
        config.collection.lookup_backoff = vec![TimeDelta::milliseconds(40)];
        let points = [Moment::Before, Moment::After].map(|moment| Point(moment, Call::GiveBack));
        let mut invoices = Vec::new();
        for _ in points {
            invoices.push(invoice(&world, false).await);
        }
        run::collect_due(&world.app, Timeline::Test(world.clock), at(NOW)).await.expect("collected");
        world.sandbox.sandbox().settle();
        for (id, point) in invoices.into_iter().zip(points) {
            let (app, _) = fused(&world, config.clone(), "test", Some(point), Fate::Panic);
            let made = refunds::refund(&app, &Actor::System, id, None, "unhappy").await.expect("recorded");
            assert_eq!(made[0].status, RefundStatus::Unknown, "{point:?}");
        }
        // One lookup panics as well; the other is settled by the same run, and the first by a later one.
        let (app, _) = fused(&world, config.clone(), "test", Some(Point(Moment::Before, Call::LookUpReturn)), Fate::Panic);
        assert_eq!(look_up_refunds(&app).await.expect("looked up"), 2);
        for _ in 0..500 {
            if refunds(&world).await.iter().all(|refund| !matches!(refund.status, RefundStatus::Pending | RefundStatus::Unknown)) {
                break;
            }
            look(&app).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ended: Vec<RefundStatus> = refunds(&world).await.iter().map(|refund| refund.status).collect();
        assert_eq!(ended, [RefundStatus::GatewayError, RefundStatus::Succeeded], "one never left, one happened");
        world.prove().await;
    }

    async fn a_dispute_lookup_that_panics_leaves_the_others_alone(world: World) {
        for _ in 0..3 {
            invoice(&world, false).await;
        }
        run::collect_due(&world.app, Timeline::Test(world.clock), at(NOW)).await.expect("collected");
        world.sandbox.sandbox().settle();
        for payment in world.payments().await {
            assert!(world.sandbox.sandbox().dispute(payment.transaction_id.as_deref().expect("an id"), 1000));
        }
        let (app, _) = fused(&world, world.app.config.clone(), "test", Some(Point(Moment::Before, Call::Disputed)), Fate::Panic);
        let after = |days| world.app.clock.now() + chrono::TimeDelta::days(days) + chrono::TimeDelta::hours(1);
        assert_eq!(disputes::check(&app, after(1)).await.expect("the run goes on"), 3);
        let disputed = async || world.payments().await.iter().filter(|payment| payment.amount_disputed == 1000).count();
        assert_eq!(disputed().await, 2);
        disputes::check(&app, after(3)).await.expect("asked");
        assert_eq!(disputed().await, 3, "whoever was left out is asked about at the next age");
        world.prove().await;
    }

    async fn a_payment_request_whose_call_panics_takes_nobody_with_it(world: World) {
        for call in [Call::Ask, Call::Poll] {
            let ids = [invoice(&world, false).await, invoice(&world, false).await];
            for id in ids {
                request(&world.app, &Actor::System, id, Some("paysley".to_owned()), None).await.expect("recorded");
            }
            if call == Call::Poll {
                work(&world.app, None).await.expect("asked");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let (app, _) = fused(&world, world.app.config.clone(), "test", Some(Point(Moment::Before, call)), Fate::Panic);
            assert!(work(&app, None).await.expect("the run goes on") >= 2, "{call:?}");
            let asked = world.requests().await.into_iter().filter(|request| request.invoice_id.is_some_and(|id| ids.contains(&id)));
            let statuses: Vec<RequestStatus> = asked.map(|request| request.status).collect();
            let unknown = statuses.iter().filter(|status| **status == RequestStatus::Unknown).count();
            assert_eq!((statuses.len(), unknown), (2, usize::from(call == Call::Ask)), "{call:?}: {statuses:?}");
        }
    }
}
