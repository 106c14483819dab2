//! What a lookup finds that nobody asked for: the same payment taken twice, another amount, another currency, a stray reservation.

use rebilld::{
    billing::{
        collection::run,
        payments::{self, look_up::look_up_payments},
        subscriptions::open_due::open_due,
    },
    domain::{
        clock::Timeline,
        event::Actor,
        invoice::InvoiceStatus,
        money::Currency,
        payment::{Outcome, Payment, PaymentStatus, Resolution},
    },
    gateway::{Charge, Mandate, Source},
    sandbox::Rule,
};
use serde_json::json;

use crate::world::*;

fn rule(fault: &str, operation: &str) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": 1 })).expect("a rule")
}

/// A payment of 10.00 whose first call met this fault, and nothing asked since.
async fn in_doubt(world: &World, paylike: bool, fault: &str) -> Payment {
    let customer = world.customer("UTC").await;
    let token = if paylike { world.prior() } else { world.token() };
    world.method(customer, paylike, &token).await;
    let mut sub = world.monthly(customer, "2026-01-10").await;
    sub.duration = 1;
    world.add(sub).await;
    let timeline = Timeline::Test(world.clock);
    let now = at("2026-01-10T06:00:00Z");
    world.set_clock("2026-01-10T06:00:00Z").await;
    world.sandbox.sandbox().add_fault(rule(fault, if paylike { "authorize" } else { "charge" }));
    open_due(&world.app, timeline, now).await.expect("opened");
    run::collect_due(&world.app, timeline, now).await.expect("collected");
    world.sandbox.sandbox().clear_faults();
    let unknown = world.payments().await.into_iter().find(|payment| payment.status == PaymentStatus::Unknown);
    unknown.expect("nobody knows")
}

/// As somebody else does who uses our reference: a second daemon gone wild, or a hand in the console.
async fn by_hand(world: &World, payment: &Payment, amount: i64, currency: Currency, capture: bool) -> String {
    let gateway = world.app.gateways.get(&payment.gateway).expect("configured");
    let source = match (&payment.prior_transaction_id, &payment.customer_token) {
        (Some(id), _) => Source::PriorTransaction { transaction_id: id.clone() },
        (None, token) => Source::VaultToken { customer_token: token.clone().unwrap_or_default(), payment_method_token: None },
    };
    let charge = Charge {
        reference: payment.reference.clone(),
        idempotency_key: world.app.id::<rebilld::domain::id::Payment>().to_string(),
        source,
        amount_minor: amount,
        currency,
        description: "by hand".into(),
        mandate: Mandate::default(),
    };
    match gateway.adapter.charge(&charge).await {
        Outcome::Authorized { transaction_id } if capture => match gateway.adapter.capture(&transaction_id, &charge).await {
            Outcome::Succeeded { transaction_id, .. } => transaction_id,
            other => panic!("{other:?}"),
        },
        Outcome::Succeeded { transaction_id, .. } | Outcome::Authorized { transaction_id } => transaction_id,
        other => panic!("{other:?}"),
    }
}

async fn looked_up(world: &World, payment: &Payment) -> Payment {
    look_up_payments(&world.app, None).await.expect("looked up");
    world.payments().await.into_iter().find(|now| now.id == payment.id).expect("there")
}

on_both! {
    async fn what_was_taken_twice_is_parked_and_named_and_nothing_more_is_moved(world: World) {
        for paylike in [false, true] {
            // FluidPay's first charge has moved money; Paylike's first call has only reserved it.
            let payment = in_doubt(&world, paylike, "drop_after").await;
            let mut ids = vec![by_hand(&world, &payment, 1000, payment.currency, true).await];
            if paylike {
                ids.push(by_hand(&world, &payment, 1000, payment.currency, true).await);
            }
            let moved = world.sandbox.ledger().len();
            let parked = looked_up(&world, &payment).await;
            assert_eq!(parked.status, PaymentStatus::Parked);
            let said = parked.decline_message.clone().expect("a message");
            assert!(said.contains("2 times") && ids.iter().all(|id| said.contains(id)), "{said}");
            let events = world.events(Some(payment.id.to_string())).await;
            assert!(events.ends_with(&["payment.taken_twice".into(), "payment.parked".into()]), "{events:?}");
            assert_eq!(world.sandbox.ledger().len(), moved);
            assert!(world.sandbox.sandbox().authorized().is_empty(), "what was only reserved is given free");
            let stays = ids.remove(0);
            let resolved = payments::resolve(&world.app, &Actor::System, payment.id, Resolution::Succeeded, Some(stays.clone()), None, "gave the other back")
                .await
                .expect("resolved");
            assert_eq!((resolved.status, resolved.transaction_id, resolved.amount_captured), (PaymentStatus::Succeeded, Some(stays), 1000));
            let invoice = world.invoices().await.into_iter().find(|invoice| invoice.id == payment.invoice_id).expect("there");
            assert_eq!(invoice.status, InvoiceStatus::Paid);
        }
    }

    async fn another_amount_or_currency_is_parked_at_once_and_closed_with_what_was_taken(world: World) {
        let euro = "EUR".parse().expect("currency");
        for paylike in [false, true] {
            for (amount, currency, words) in [(1200, Currency::USD, ["1000", "1200"]), (700, Currency::USD, ["1000", "700"]), (1000, euro, ["USD", "eur"])] {
                let payment = in_doubt(&world, paylike, "drop_before").await;
                let id = by_hand(&world, &payment, amount, currency, true).await;
                let parked = looked_up(&world, &payment).await;
                assert_eq!((parked.status, parked.lookups), (PaymentStatus::Parked, 0), "asking again would not change it");
                let said = parked.decline_message.clone().expect("a message").to_lowercase();
                assert!(words.iter().all(|word| said.contains(&word.to_lowercase())) && said.contains("transaction"), "{said}");
                let resolve = async |resolution, amount| {
                    let given = (resolution == Resolution::Succeeded).then(|| id.clone());
                    payments::resolve(&world.app, &Actor::System, payment.id, resolution, given, amount, "seen there").await
                };
                for too_much in [0, 1001, 1200] {
                    let refused = resolve(Resolution::Succeeded, Some(too_much)).await.expect_err("refused").to_string();
                    assert!(refused.contains("amount") && refused.contains("1000"), "{refused}");
                }
                assert!(resolve(Resolution::Declined, Some(5)).await.expect_err("refused").to_string().contains("amount"));
                let taken = amount.min(1000);
                let resolved = resolve(Resolution::Succeeded, Some(taken)).await.expect("resolved");
                assert_eq!((resolved.status, resolved.amount_captured), (PaymentStatus::Succeeded, taken));
                let invoice = world.invoices().await.into_iter().find(|invoice| invoice.id == payment.invoice_id).expect("there");
                assert_eq!((invoice.amount_paid, invoice.status == InvoiceStatus::Paid), (taken, taken == 1000));
                assert!(resolve(Resolution::Succeeded, None).await.expect_err("refused").to_string().contains("only a parked one"));
                // It owes the rest; that is another story.
                let mut tx = world.app.db.begin().await.expect("tx");
                tx.query("update invoices set next_attempt_at = null where next_attempt_at is not null").run().await.expect("stopped");
                tx.commit().await.expect("commit");
            }
        }
    }

    async fn of_two_reservations_one_is_captured_and_the_other_given_free(world: World) {
        let payment = in_doubt(&world, true, "drop_after").await;
        by_hand(&world, &payment, 1000, payment.currency, false).await;
        assert_eq!(world.sandbox.sandbox().authorized().len(), 2);
        assert_eq!(looked_up(&world, &payment).await.status, PaymentStatus::Succeeded);
        assert!(world.sandbox.sandbox().authorized().is_empty());
        assert_eq!(world.prove().await, 1);
    }
}
