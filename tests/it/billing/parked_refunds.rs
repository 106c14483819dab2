//! Refunds that no gateway could say anything about: parked, kept from being asked for again, and closed by an operator's word.

use std::time::{Duration, Instant};

use rebilld::{
    billing::{BillingError, refunds, refunds::look_up::look_up_refunds},
    domain::{
        event::Actor,
        id::InvoiceId,
        invoice::Invoice,
        payment::PaymentStatus,
        refund::{Refund, RefundFinding, RefundStatus},
    },
    sandbox::Rule,
    store,
};
use serde_json::json;

use crate::world::*;

const OPERATOR: Actor = Actor::System;

fn rule(fault: &str, operation: &str, times: u32) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": times })).expect("a rule")
}

/// 10.00 paid and settled.
async fn paid(world: &World, paylike: bool) -> Invoice {
    let customer = world.customer("UTC").await;
    let token = if paylike { world.prior() } else { world.token() };
    world.method(customer, paylike, &token).await;
    let mut sub = world.monthly(customer, "2026-01-10").await;
    sub.duration = 1;
    let sub = world.add(sub).await;
    let now = world.app.now_of(sub.timeline).await.expect("now").max(at("2026-01-10T07:00:00Z"));
    world.advance(&now.to_rfc3339()).await;
    world.sandbox.sandbox().settle();
    world.invoices().await.into_iter().find(|invoice| invoice.subscription_id == Some(sub.id)).expect("billed")
}

async fn of(world: &World, invoice: InvoiceId) -> Vec<Refund> {
    store::refunds::of_invoice(&world.app.db, invoice).await.expect("read")
}

/// Asks until nobody asks any more.
async fn parked(world: &World, invoice: InvoiceId) -> Refund {
    let begun = Instant::now();
    loop {
        look_up_refunds(&world.app).await.expect("asked");
        let refund = of(world, invoice).await.pop().expect("a refund");
        if refund.status == RefundStatus::Parked {
            return refund;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never parked: {refund:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn lost(world: &World, paylike: bool, fault: &str) -> Refund {
    let invoice = paid(world, paylike).await;
    world.sandbox.sandbox().add_fault(rule(fault, "refund", 1));
    let made = refunds::refund(&world.app, &OPERATOR, invoice.id, Some(400), "unhappy").await.expect("asked");
    assert_eq!(made[0].status, RefundStatus::Unknown);
    world.sandbox.sandbox().add_fault(rule("500", "lookup", 0));
    let parked = parked(world, invoice.id).await;
    world.sandbox.sandbox().clear_faults();
    parked
}

async fn resolve(world: &World, refund: &Refund, finding: RefundFinding) -> Result<Refund, BillingError> {
    refunds::resolve(&world.app, &OPERATOR, refund.id, finding, None, "seen there").await
}

on_both! {
    async fn a_parked_refund_that_went_through_is_in_the_books_once_an_operator_says_so(world: World) {
        for paylike in [false, true] {
            let refund = lost(&world, paylike, "drop_after").await;
            // While it is in doubt nothing more goes back by that payment, and its amount is kept from credit, too.
            let again = refunds::refund(&world.app, &OPERATOR, refund.invoice_id, Some(1), "again").await.expect_err("refused");
            assert!(again.to_string().contains("on its way"), "{again}");
            let credit = refunds::to_credit(&world.app, &OPERATOR, refund.invoice_id, Some(601), "again").await.expect_err("refused");
            assert!(credit.to_string().contains("at most 600"), "{credit}");
            let resolved = resolve(&world, &refund, RefundFinding::Succeeded).await.expect("resolved");
            assert_eq!((resolved.status, resolved.amount), (RefundStatus::Succeeded, 400));
            let twice = resolve(&world, &refund, RefundFinding::Succeeded).await.expect_err("refused");
            assert!(matches!(&twice, BillingError::WrongState(why) if why.contains("only a parked one")), "{twice}");
            let events = world.events(Some(refund.id.to_string())).await;
            assert!(events.ends_with(&["refund.resolved".into(), "refund.succeeded".into()]), "{events:?}");
            // The rest is as refundable as ever.
            refunds::refund(&world.app, &OPERATOR, refund.invoice_id, None, "the rest").await.expect("given back");
        }
        assert!(world.payments().await.iter().all(|payment| payment.status == PaymentStatus::Refunded));
        world.prove().await;
    }

    async fn a_parked_refund_that_never_arrived_can_be_asked_for_again(world: World) {
        for paylike in [false, true] {
            let refund = lost(&world, paylike, "drop_before").await;
            let named = refunds::resolve(&world.app, &OPERATOR, refund.id, RefundFinding::NotProcessed, Some("t".into()), "x").await;
            assert!(named.expect_err("refused").to_string().contains("transaction_id"));
            let resolved = resolve(&world, &refund, RefundFinding::NotProcessed).await.expect("resolved");
            assert_eq!((resolved.status, resolved.message.as_deref()), (RefundStatus::GatewayError, Some("seen there")));
            let made = refunds::refund(&world.app, &OPERATOR, refund.invoice_id, Some(400), "once more").await.expect("given back");
            assert_eq!(made[0].status, RefundStatus::Succeeded);
        }
        let missing = refunds::resolve(&world.app, &OPERATOR, world.app.id(), RefundFinding::Succeeded, None, "x").await;
        assert!(matches!(missing, Err(BillingError::NotFound { .. })));
        world.prove().await;
    }

    async fn a_refund_at_a_gateway_that_left_the_configuration_is_parked_too(world: World) {
        let invoice = paid(&world, false).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "refund", 1));
        refunds::refund(&world.app, &OPERATOR, invoice.id, None, "unhappy").await.expect("asked");
        let mut config = world.app.config.clone();
        config.gateways.clear();
        let without = app(world.app.db.clone(), config, "without");
        let begun = Instant::now();
        while of(&world, invoice.id).await[0].status != RefundStatus::Parked {
            look_up_refunds(&without).await.expect("asked");
            assert!(begun.elapsed() < Duration::from_secs(30), "asked for ever");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        resolve(&world, &of(&world, invoice.id).await[0], RefundFinding::Succeeded).await.expect("resolved");
        world.prove().await;
    }
}
