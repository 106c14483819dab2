//! Every code and every HTTP status that a gateway may refuse with, for weeks: whoever is active and has not paid is told to an operator.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use rebilld::{
    domain::{
        id::InvoiceId,
        invoice::InvoiceStatus,
        payment::PaymentStatus,
        payment_method::{MethodKind, PaymentMethod},
        subscription::{Subscription, SubscriptionStatus},
    },
    sandbox::Rule,
    store,
};
use serde_json::json;

use crate::world::*;

/// One gateway of its own for each refusal: what stops one must not hide the others.
struct Case {
    name: String,
    paylike: bool,
    fault: String,
}

fn cases() -> Vec<Case> {
    let fluidpay: Vec<u16> =
        (200..=204).chain(220..=226).chain([240, 300, 301, 310, 400, 410, 421, 430, 440, 777]).chain(250..=262).collect();
    let codes = |paylike: bool, codes: Vec<u16>| codes.into_iter().map(move |code| (paylike, format!("decline:{code}")));
    let of = |paylike: bool| move |status: u16| (paylike, status.to_string());
    // A lookup at Paylike reads pages of transactions, so of its 5xx, which are all one, only some are tried.
    let statuses = (400..600).map(of(false)).chain((400..500).chain((500..600).step_by(25)).map(of(true)));
    let all = codes(false, fluidpay).chain(codes(true, (1..=32).collect())).chain(statuses);
    all.enumerate().map(|(index, (paylike, fault))| Case { name: format!("g{index}"), paylike, fault }).collect()
}

/// A monthly subscription that is charged at the gateway of its own, and refused there for ever.
async fn refused(world: &World, case: &Case) -> Subscription {
    let token = if case.paylike { world.prior() } else { world.token() };
    let rule = json!({ "match": { "token": token }, "fault": case.fault, "times": 0 });
    world.sandbox.sandbox().add_fault(serde_json::from_value::<Rule>(rule).expect("a rule"));
    let customer = world.customer("UTC").await;
    let now = world.app.clock.now();
    let method = PaymentMethod {
        id: world.app.id(),
        customer_id: customer,
        gateway: case.name.clone(),
        kind: if case.paylike { MethodKind::PriorTransaction } else { MethodKind::VaultToken },
        customer_token: (!case.paylike).then(|| token.clone()),
        payment_method_token: None,
        transaction_id: case.paylike.then_some(token),
        channels: vec![],
        expires: None,
        last_four: None,
        is_default: true,
        priority: 0,
        mandate_ended_at: None,
        created_at: now,
        updated_at: now,
    };
    let mut tx = world.app.db.begin().await.expect("tx");
    store::payment_methods::insert(&mut tx, &method).await.expect("method");
    tx.commit().await.expect("commit");
    world.add(world.monthly(customer, "2026-01-10").await).await
}

on_both! {
    async fn nobody_is_active_and_unpaid_for_weeks_without_a_word(world: World) {
        let mut world = world;
        let cases = cases();
        let mut config = world.app.config.clone();
        // What is unknown holds the clock up in real time: few rounds, and short ones.
        config.collection.lease = TimeDelta::milliseconds(600);
        config.collection.gateway_fault_backoff = vec![TimeDelta::hours(12), TimeDelta::days(3)];
        for case in &cases {
            let mut gateway = config.gateways[if case.paylike { "paylike" } else { "fluid" }].clone();
            gateway.timeout = Duration::from_millis(500);
            config.gateways.insert(case.name.clone(), gateway);
        }
        world.app = app(store::Db::open(&world.url, 8, false).await.expect("database"), config, "all");
        let mut subscriptions = Vec::new();
        for case in &cases {
            subscriptions.push(refused(&world, case).await);
        }
        world.advance("2026-01-31T06:00:00Z").await;

        let invoices = world.invoices().await;
        let wall = world.app.clock.now();
        let refused = store::invariants::invoices_refused(&world.app.db, wall, TimeDelta::days(2)).await.expect("read");
        let mut told: BTreeSet<InvoiceId> = refused.into_iter().map(|(id, _)| id).collect();
        told.extend(invoices.iter().filter(|invoice| invoice.is_parked()).map(|invoice| invoice.id));
        told.extend(world.payments().await.iter().filter(|payment| payment.status == PaymentStatus::Parked).map(|payment| payment.invoice_id));
        let mut silent = Vec::new();
        let mut active = 0;
        for (case, subscription) in cases.iter().zip(&subscriptions) {
            let is_active = world.subscription(subscription).await.status == SubscriptionStatus::Active;
            let open = invoices.iter().filter(|invoice| invoice.subscription_id == Some(subscription.id) && invoice.status == InvoiceStatus::Open);
            for invoice in open.filter(|_| is_active) {
                active += 1;
                if !told.contains(&invoice.id) {
                    silent.push(format!("{} (paylike: {}): {invoice:?}", case.fault, case.paylike));
                }
            }
        }
        assert!(silent.is_empty(), "{}", silent.join("\n"));
        assert!(active > 200, "only {active}");
        assert_eq!(world.sandbox.ledger().len(), 0, "and nothing was taken");
        let health = rebilld::billing::invariants::check(&world.app).await.expect("checked");
        assert!(health.iter().any(|one| !one.holds()));
    }
}
