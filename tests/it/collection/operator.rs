//! What an operator does about money: collect, void, write off, refund, and the last word on a parked payment.

use rebilld::{
    billing::{self, BillingError},
    domain::{
        event::Actor,
        invoice::InvoiceStatus,
        payment::{PaymentStatus, Resolution},
        refund::RefundStatus,
        subscription::{Subscription, SubscriptionStatus},
    },
    sandbox::Rule,
    store,
};
use serde_json::json;

use crate::world::*;

fn rule(fault: &str, operation: &str, times: u32) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": times })).expect("a rule")
}

async fn charged_monthly(world: &World, paylike: bool, token: &str) -> Subscription {
    let customer = world.customer("UTC").await;
    world.method(customer, paylike, token).await;
    let sub = world.monthly(customer, "2026-01-10").await;
    let sub = world.add(sub).await;
    world.advance("2026-01-10T07:00:00Z").await;
    sub
}

fn why<T: std::fmt::Debug>(refused: Result<T, BillingError>) -> String {
    refused.expect_err("refused").to_string()
}

on_both! {
    async fn money_goes_back_once_and_never_more_than_was_taken(world: World) {
        for paylike in [false, true] {
            let token = if paylike { world.prior() } else { world.token() };
            charged_monthly(&world, paylike, &token).await;
        }
        world.sandbox.sandbox().settle();
        for invoice in world.invoices().await {
            billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(300), "goodwill").await.expect("refunded");
            assert!(why(billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(701), "too much").await).contains("700"));
            let refunds = billing::refunds::refund(&world.app, &Actor::System, invoice.id, None, "the rest").await.expect("refunded");
            assert_eq!((refunds[0].amount, refunds[0].voided), (700, false));
            assert!(why(billing::refunds::refund(&world.app, &Actor::System, invoice.id, None, "again").await).contains("at most 0"));
        }
        assert!(world.payments().await.iter().all(|payment| payment.status == PaymentStatus::Refunded && payment.amount_refunded == 1000));
        world.prove().await;
    }

    async fn before_settlement_the_whole_is_voided_and_a_part_has_to_wait(world: World) {
        charged_monthly(&world, false, &world.token()).await;
        let invoice = world.invoices().await.remove(0);
        assert!(why(billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(300), "goodwill").await).contains("settle"));
        let refunds = billing::refunds::refund(&world.app, &Actor::System, invoice.id, None, "mistake").await.expect("voided");
        assert!(refunds[0].voided);
        world.prove().await;
    }

    async fn a_refund_whose_answer_is_lost_is_looked_up_and_not_repeated(world: World) {
        for paylike in [false, true] {
            let token = if paylike { world.prior() } else { world.token() };
            charged_monthly(&world, paylike, &token).await;
        }
        world.sandbox.sandbox().settle();
        for invoice in world.invoices().await {
            world.sandbox.sandbox().add_fault(rule("drop_after", "refund", 1));
            let refunds = billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(400), "goodwill").await.expect("sent");
            assert_eq!(refunds[0].status, RefundStatus::Unknown);
            let second = why(billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(400), "once more").await);
            assert!(second.contains("on its way"), "{second}");
            billing::refunds::look_up::look_up_refunds(&world.app).await.expect("looked up");
            let refunds = store::refunds::of_invoice(&world.app.db, invoice.id).await.expect("read");
            assert_eq!((refunds.len(), refunds[0].status), (1, RefundStatus::Succeeded));
        }
        world.prove().await;
    }

    async fn a_refund_that_never_arrived_is_not_declared_lost_too_early(world: World) {
        charged_monthly(&world, false, &world.token()).await;
        world.sandbox.sandbox().settle();
        let invoice = world.invoices().await.remove(0);
        world.sandbox.sandbox().add_fault(rule("drop_before", "refund", 1));
        billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(400), "goodwill").await.expect("sent");
        billing::refunds::look_up::look_up_refunds(&world.app).await.expect("looked up");
        let refunds = store::refunds::of_invoice(&world.app.db, invoice.id).await.expect("read");
        assert_eq!(refunds[0].status, RefundStatus::Unknown, "the request may still be on its way");
        world.prove().await;
    }

    async fn a_void_invoice_is_not_collected_and_ends_the_debt(world: World) {
        let sub = charged_monthly(&world, false, "decline2020000000000").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        let invoice = world.invoices().await.remove(0);
        let void = billing::invoices::void(&world.app, &Actor::System, invoice.id, "paid in cash").await.expect("voided");
        assert_eq!((void.status, void.next_attempt_at), (InvoiceStatus::Void, None));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        world.advance("2026-02-09T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"]);
        assert!(why(billing::invoices::void(&world.app, &Actor::System, invoice.id, "again").await).contains("void"));
    }

    async fn an_invoice_written_off_is_not_collected(world: World) {
        let sub = charged_monthly(&world, false, "decline2020000000000").await;
        let invoice = world.invoices().await.remove(0);
        billing::invoices::mark_uncollectible(&world.app, &Actor::System, invoice.id, "gone").await.expect("written off");
        assert_eq!((world.invoices().await[0].status, world.subscription(&sub).await.status), (InvoiceStatus::Uncollectible, SubscriptionStatus::Active));
        world.advance("2026-02-09T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"]);
    }

    async fn collect_now_does_not_wait_for_the_ladder(world: World) {
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, rebilld::sandbox::Script { declines: [202].into(), ..Default::default() });
        charged_monthly(&world, false, &token).await;
        let invoice = world.invoices().await.remove(0);
        billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("asked");
        world.advance("2026-01-10T08:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-10 succeeded"]);
        world.prove().await;
    }

    async fn an_operator_closes_a_parked_payment(world: World) {
        for (resolution, paid) in [(Resolution::Succeeded, true), (Resolution::NotProcessed, true), (Resolution::Declined, false)] {
            world.sandbox.sandbox().add_fault(rule(if resolution == Resolution::Succeeded { "drop_after" } else { "drop_before" }, "charge", 1));
            world.sandbox.sandbox().add_fault(rule("500", "lookup", 0));
            let customer = world.customer("UTC").await;
            world.method(customer, false, &world.token()).await;
            let mut sub = world.monthly(customer, "2026-01-10").await;
            sub.duration = 1;
            world.add(sub).await;
            let now = world.app.now_of(rebilld::domain::clock::Timeline::Test(world.clock)).await.expect("now").max(at("2026-01-10T06:00:00Z"));
            world.advance(&(now + chrono::TimeDelta::hours(1)).to_rfc3339()).await;
            world.sandbox.sandbox().clear_faults();
            let parked = world.payments().await.into_iter().find(|payment| payment.status == PaymentStatus::Parked).expect("parked");
            assert!(why(billing::invoices::collect(&world.app, &Actor::System, parked.invoice_id).await).contains("on its way or undecided"));
            billing::payments::resolve(&world.app, &Actor::System, parked.id, resolution, None, None, "asked by phone").await.expect("resolved");
            world.advance(&(now + chrono::TimeDelta::hours(2)).to_rfc3339()).await;
            let invoice = world.invoices().await.into_iter().find(|invoice| invoice.id == parked.invoice_id).expect("there");
            assert_eq!(invoice.status == InvoiceStatus::Paid, paid, "{resolution}");
            assert!(why(billing::payments::resolve(&world.app, &Actor::System, parked.id, resolution, None, None, "again").await).contains("only a parked one"));
        }
        world.prove().await;
    }
}
