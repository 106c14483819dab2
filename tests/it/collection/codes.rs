//! Every code that a gateway may refuse with, through the sandbox: what it does to invoice, subscription and next attempt.

use rebilld::{
    domain::{
        clock::Timeline,
        event::Event,
        invoice::{InvoiceStatus, NextAction},
        payment::{DeclineClass, PaymentStatus},
        payment_method::PaymentMethod,
        subscription::SubscriptionStatus,
    },
    sandbox::Script,
};

use crate::world::*;

/// What a refusal does, told shortly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Tried again the next day.
    Retries(DeclineClass),
    /// Waits for another method until the ladder ends.
    Waits(DeclineClass),
    /// Tried again within minutes; no step, no word to the customer.
    Nothing,
    /// Waits for an operator, and nobody is told.
    Parks,
    /// Ends the subscription.
    Cancels,
}

use Does::{Cancels, Nothing, Parks, Retries, Waits};

fn fluidpay(code: u16) -> Does {
    match code {
        204 | 220 | 221 | 222 | 225 | 226 | 250 | 251 | 252 | 253 => Waits(DeclineClass::Hard),
        223 | 240 => Waits(DeclineClass::NewCardNeeded),
        261 | 262 => Cancels,
        300 | 310 => Retries(DeclineClass::TryLater),
        // Looked up first: none of them took money here.
        301 | 400 | 421 | 430 => Nothing,
        410 => Parks,
        // 202 and the like, and codes that nobody has written down.
        _ => Retries(DeclineClass::Soft),
    }
}

fn paylike(code: u16) -> Does {
    match code {
        // What the sandbox marks as the merchant's fault is not put down to the customer.
        5 | 13..=24 => Parks,
        1..=4 | 10 | 29 => Waits(DeclineClass::Hard),
        6 | 30 | 31 => Waits(DeclineClass::NewCardNeeded),
        _ => Retries(DeclineClass::Soft),
    }
}

async fn each_code(world: &World, codes: &[u16], at_paylike: bool, expected: fn(u16) -> Does) {
    let mut subscriptions = Vec::new();
    for &code in codes {
        let customer = world.customer("UTC").await;
        let token = if at_paylike { format!("560fd96b7973ff3d2362{code:04}") } else { world.token() };
        if !at_paylike {
            world.sandbox.sandbox().set_script(&token, Script { declines: [code].into(), ..Script::default() });
        }
        world.method(customer, at_paylike, &token).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        subscriptions.push(world.add(sub).await);
    }
    world.advance("2026-01-10T06:00:00Z").await;
    let (payments, invoices) = (world.payments().await, world.invoices().await);
    for (code, sub) in codes.iter().zip(&subscriptions) {
        let invoice = invoices.iter().find(|invoice| invoice.subscription_id == Some(sub.id)).expect("an invoice");
        let mine: Vec<_> = payments.iter().filter(|payment| payment.invoice_id == invoice.id).collect();
        assert_eq!(mine.len(), 1, "{code}: one attempt, looked up and not repeated");
        assert_eq!((mine[0].status, mine[0].decline_code.clone()), (PaymentStatus::Declined, Some(code.to_string())), "{code}");
        let looked_up = world.events(Some(mine[0].id.to_string())).await.contains(&"payment.unknown".to_owned());
        assert!(looked_up || at_paylike || ![301, 400, 421, 430].contains(code), "{code}: may hide a charge");
        let status = world.subscription(sub).await.status;
        let told = world.events(Some(invoice.id.to_string())).await.contains(&"invoice.dunning".to_owned());
        let does = match (invoice.status, invoice.next_action, invoice.next_attempt_at, status) {
            (InvoiceStatus::Open, NextAction::Charge, Some(next), SubscriptionStatus::PastDue)
                if next == at("2026-01-11T06:00:00Z") =>
            {
                Retries(invoice.decline_class.expect("a class"))
            }
            (InvoiceStatus::Open, NextAction::GiveUp, Some(end), SubscriptionStatus::PastDue)
                if end == at("2026-01-17T06:00:00Z") =>
            {
                Waits(invoice.decline_class.expect("a class"))
            }
            (InvoiceStatus::Open, NextAction::Charge, Some(next), SubscriptionStatus::Active)
                if next == at("2026-01-10T06:01:00Z") =>
            {
                Nothing
            }
            (InvoiceStatus::Open, NextAction::Charge, None, SubscriptionStatus::Active) if invoice.is_parked() => {
                let reason = invoice.parked_reason.as_deref().expect("a reason");
                assert!(reason.ends_with(&format!(" ({code})")) && !reason.starts_with("declined"), "{code}: {reason}");
                Parks
            }
            (InvoiceStatus::Uncollectible, _, None, SubscriptionStatus::Cancelled) => Cancels,
            other => panic!("{code}: {other:?}"),
        };
        assert_eq!(does, expected(*code), "{code}");
        assert_eq!((told, invoice.dunning_step), if matches!(does, Nothing | Parks) { (false, 0) } else { (true, 1) }, "{code}");
    }
    assert_eq!(world.prove().await, 0);
}

on_both! {
    async fn every_fluidpay_code_does_what_its_class_says(world: World) {
        let codes = [
            200, 201, 202, 203, 204, 220, 221, 222, 223, 225, 226, 240, 250, 251, 252, 253, 261, 262, 300, 301, 310, 400, 410, 421, 430,
            // Not in the gateway's list.
            205, 299, 350, 441, 499, 777,
        ];
        each_code(&world, &codes, false, fluidpay).await;
    }

    async fn every_paylike_code_does_what_its_class_says(world: World) {
        // 26 to 28 are about the account, and stop every other charge.
        let codes: Vec<u16> = (1..=31).filter(|code| !(26..=28).contains(code)).collect();
        each_code(&world, &codes, true, paylike).await;
    }

    async fn a_duplicate_that_hides_a_charge_is_found_and_not_charged_again(world: World) {
        for code in [301, 430] {
            // The first call takes the money, and its answer is lost; what comes after it is called a duplicate.
            let token = world.token();
            let customer = world.customer("UTC").await;
            world.method(customer, false, &token).await;
            let mut sub = world.monthly(customer, "2026-01-10").await;
            sub.duration = 1;
            world.add(sub).await;
            let rule = |fault: &str, operation: &str| serde_json::from_value(serde_json::json!({ "match": { "operation": operation, "token": token }, "fault": fault, "times": 1 })).expect("a rule");
            world.sandbox.sandbox().add_fault(rule("drop_after", "charge"));
            world.sandbox.sandbox().add_fault(rule(&format!("decline:{code}"), "charge"));
            let now = world.app.now_of(rebilld::domain::clock::Timeline::Test(world.clock)).await.expect("now").max(at("2026-01-10T06:00:00Z"));
            world.advance(&(now + chrono::TimeDelta::minutes(5)).to_rfc3339()).await;
            world.sandbox.sandbox().clear_faults();
        }
        assert!(world.payments().await.iter().all(|payment| payment.status == PaymentStatus::Succeeded));
        assert_eq!(world.prove().await, 2);
    }

    async fn an_issuer_that_stops_recurring_charges_closes_the_method_for_all_that_is_charged_to_it(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, "decline2620000000000").await;
        let first = world.monthly(customer, "2026-01-10").await;
        let first = world.add(first).await;
        let later = world.monthly(customer, "2026-01-20").await;
        let later = world.add(later).await;
        world.advance("2026-01-21T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"], "the other subscription does not charge it either");
        assert_eq!(world.subscription(&first).await.status, SubscriptionStatus::Cancelled);
        assert_eq!(world.subscription(&later).await.status, SubscriptionStatus::PastDue);
        let invoice = world.invoices().await.pop().expect("the later one");
        assert_eq!((invoice.decline_class, invoice.decline_code.as_deref()), (Some(DeclineClass::NewCardNeeded), Some("mandate_ended")));
        assert!(world.events(None).await.contains(&"payment_method.mandate_ended".to_owned()));
        // By the customer's clock, as all that is told of the customer.
        let when = Some(at("2026-01-10T06:00:00Z"));
        let method: PaymentMethod = world.app.db.query("select * from payment_methods").one().await.expect("the method");
        assert_eq!((method.mandate_ended_at, Some(method.updated_at)), (when, when));
        let told: Event = world.app.db.query("select * from events where type = 'payment_method.mandate_ended'").one().await.expect("once");
        assert_eq!((told.timeline, Some(told.occurred_at)), (Timeline::Test(world.clock), when));
    }
}
