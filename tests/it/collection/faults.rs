//! What goes wrong on the wire, and that each charge is made once all the same.

use chrono::TimeDelta;
use rebilld::{
    billing::{
        self,
        collection::{claim, run},
        gateway_operations::recover,
    },
    domain::{clock::Timeline, invoice::InvoiceStatus, payment::PaymentStatus, subscription::SubscriptionStatus},
    sandbox::Rule,
    store,
};
use serde_json::json;

use crate::world::*;

fn rule(fault: &str, operation: &str, times: u32) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": times })).expect("a rule")
}

async fn both_gateways(world: &World) {
    for paylike in [false, true] {
        let customer = world.customer("UTC").await;
        let token = if paylike { world.prior() } else { world.token() };
        world.method(customer, paylike, &token).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
    }
}

on_both! {
    async fn every_fault_on_every_money_call_ends_in_one_charge(world: World) {
        both_gateways(&world).await;
        let mut month = 1;
        for fault in ["drop_before", "drop_after", "500", "status_after:500", "429", "delay:450"] {
            for operation in ["charge", "authorize", "capture"] {
                world.sandbox.sandbox().add_fault(rule(fault, operation, 1));
                let date = at("2026-01-10T00:00:00Z").checked_add_months(chrono::Months::new(month)).expect("date");
                world.advance(&date.to_rfc3339()).await;
                assert_eq!(world.prove().await, 2 * month as usize, "{fault} on {operation}");
                world.sandbox.sandbox().clear_faults();
                month += 1;
            }
        }
        assert!(world.invoices().await.iter().all(|invoice| invoice.dunning_step == 0), "faults spend no dunning step");
    }

    async fn a_look_up_that_fails_too_is_asked_again(world: World) {
        both_gateways(&world).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "charge", 1));
        world.sandbox.sandbox().add_fault(rule("drop_after", "authorize", 1));
        world.sandbox.sandbox().add_fault(rule("500", "lookup", 3));
        world.advance("2026-01-11T00:00:00Z").await;
        assert_eq!(world.prove().await, 2);
    }

    async fn what_no_gateway_can_answer_is_parked_and_its_invoice_takes_no_other_payment(world: World) {
        both_gateways(&world).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "charge", 1));
        world.sandbox.sandbox().add_fault(rule("500", "lookup", 0));
        world.advance("2026-03-01T00:00:00Z").await;
        let parked: Vec<_> = world.payments().await.into_iter().filter(|payment| payment.status == PaymentStatus::Parked).collect();
        assert_eq!(parked.len(), 1);
        let again: Vec<_> = world.payments().await.into_iter().filter(|payment| payment.invoice_id == parked[0].invoice_id).collect();
        assert_eq!(again.len(), 1, "a parked payment's invoice is not charged again");
        assert!(world.events(Some(parked[0].id.to_string())).await.contains(&"payment.parked".to_owned()));
    }

    async fn a_crash_between_record_and_call_charges_once(world: World) {
        both_gateways(&world).await;
        let timeline = Timeline::Test(world.clock);
        let now = at("2026-01-10T06:00:00Z");
        billing::subscriptions::open_due::open_due(&world.app, timeline, now).await.expect("opened");
        // The daemon dies with its payments recorded and no call made: another life finds them pending.
        let dead = world.another("dead").await;
        let claimed = claim::claim_only(&dead, timeline, now).await.expect("claimed");
        assert_eq!(claimed, 2);
        assert!(world.payments().await.iter().all(|payment| payment.status == PaymentStatus::Pending));
        assert_eq!(run::collect_due(&world.app, timeline, now).await.expect("nothing due").payments, 0, "nobody else may charge meanwhile");
        assert_eq!(recover::recover(&dead, true).await.expect("freed"), 2);
        billing::payments::look_up::look_up_payments(&dead, None).await.expect("looked up");
        assert_eq!(world.prove().await, 2);
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
    }

    async fn a_cancel_while_the_answer_is_unknown_sends_nothing_again(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        let sub = world.add(sub).await;
        let timeline = Timeline::Test(world.clock);
        let now = at("2026-01-10T06:00:00Z");
        world.sandbox.sandbox().add_fault(rule("drop_before", "charge", 1));
        billing::subscriptions::open_due::open_due(&world.app, timeline, now).await.expect("opened");
        run::collect_due(&world.app, timeline, now).await.expect("collected");
        assert_eq!(world.payments().await[0].status, PaymentStatus::Unknown);
        let mut cancelled = world.subscription(&sub).await;
        cancelled.end(SubscriptionStatus::Cancelled, now);
        let mut tx = world.app.db.begin().await.expect("tx");
        store::subscriptions::save(&mut tx, &[cancelled]).await.expect("saved");
        tx.commit().await.expect("commit");
        billing::payments::look_up::look_up_payments(&world.app, None).await.expect("looked up");
        assert_eq!(world.payments().await[0].status, PaymentStatus::Unknown, "the call may still be on its way");
        let mut config = world.app.config.clone();
        config.collection.lease = TimeDelta::zero();
        let later = app(world.app.db.clone(), config, "later");
        let waiting = world.payments().await.remove(0);
        let mut tx = later.db.begin().await.expect("tx");
        store::payments::save(&mut tx, &[rebilld::domain::payment::Payment { next_lookup_at: Some(later.clock.now()), ..waiting }]).await.expect("due");
        tx.commit().await.expect("commit");
        billing::payments::look_up::look_up_payments(&later, None).await.expect("looked up");
        assert_eq!(world.prove().await, 0);
        assert_eq!((world.payments().await[0].status, world.invoices().await[0].status), (PaymentStatus::GatewayError, InvoiceStatus::Void));
    }

    /// Found by a storm: the first capture was late, the second was refused for haste, and the first took the money after all.
    async fn a_late_capture_and_a_refused_second_one_are_one_charge(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, true, &world.prior()).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
        world.sandbox.sandbox().add_fault(rule("delay:450", "capture", 1));
        world.sandbox.sandbox().add_fault(rule("429", "capture", 1));
        world.advance("2026-01-11T00:00:00Z").await;
        assert_eq!((world.prove().await, world.payments().await.len()), (1, 1));
    }

    async fn a_gateway_that_cannot_be_reached_is_no_decline(world: World) {
        both_gateways(&world).await;
        world.sandbox.sandbox().add_fault(rule("429", "charge", 5));
        world.advance("2026-01-11T00:00:00Z").await;
        let statuses: Vec<_> = world.payments().await.iter().map(|payment| payment.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == PaymentStatus::GatewayError).count(), 5);
        assert!(world.invoices().await.iter().all(|invoice| invoice.dunning_step == 0 && invoice.status == InvoiceStatus::Paid));
        assert!(!world.events(None).await.iter().any(|kind| kind == "payment.declined"));
        assert_eq!(world.prove().await, 2);
    }
}
