//! Disputes: what a bank takes back is in the books once, is told once, and cannot be given back a second time.

use chrono::TimeDelta;
use rebilld::{
    billing::{disputes, refunds},
    domain::{
        dispute::{Dispute, DisputeStatus},
        event::Actor,
        invoice::Invoice,
        payment::Payment,
    },
    sandbox::Rule,
    store,
};
use serde_json::json;

use crate::world::*;

const OPERATOR: Actor = Actor::System;

/// 10.00 paid and settled at each gateway.
async fn paid(world: &World) -> Vec<(Invoice, Payment)> {
    for paylike in [false, true] {
        let customer = world.customer("UTC").await;
        let token = if paylike { world.prior() } else { world.token() };
        world.method(customer, paylike, &token).await;
        let mut sub = world.monthly(customer, "2026-01-10").await;
        sub.duration = 1;
        world.add(sub).await;
    }
    world.advance("2026-01-10T07:00:00Z").await;
    world.sandbox.sandbox().settle();
    let invoices = world.invoices().await;
    let of = |payment: &Payment| invoices.iter().find(|invoice| invoice.id == payment.invoice_id).expect("billed").clone();
    world.payments().await.into_iter().map(|payment| (of(&payment), payment)).collect()
}

/// Asks about what is so many days old.
async fn check(world: &World, days: i64) -> usize {
    let now = world.app.clock.now() + TimeDelta::days(days) + TimeDelta::hours(1);
    disputes::check(&world.app, now).await.expect("asked")
}

async fn disputes(world: &World) -> Vec<Dispute> {
    world.app.db.query("select * from disputes order by id").all().await.expect("rows")
}

on_both! {
    async fn what_a_bank_takes_back_is_told_once_and_cannot_be_refunded_too(world: World) {
        let paid = paid(&world).await;
        assert_eq!(check(&world, 0).await, 0, "nobody is asked about before the first day is over");
        assert_eq!((check(&world, 1).await, check(&world, 1).await, check(&world, 2).await), (2, 0, 0), "once at each age");
        assert!(disputes(&world).await.is_empty());
        for (_, payment) in &paid {
            assert!(world.sandbox.sandbox().dispute(payment.transaction_id.as_deref().expect("an id"), 1000));
        }
        for _ in 0..3 {
            check(&world, 3).await;
        }
        let open = disputes(&world).await;
        assert_eq!(open.iter().map(|it| (it.amount, it.status)).collect::<Vec<_>>(), [(1000, DisputeStatus::Open); 2]);
        assert_eq!(world.events(None).await.iter().filter(|kind| *kind == "dispute.opened").count(), 2);
        world.prove().await;
        for (invoice, _) in &paid {
            assert_eq!(store::disputes::amount_of_invoice(&world.app.db, invoice.id).await.expect("read"), 1000);
            let refused = refunds::refund(&world.app, &OPERATOR, invoice.id, None, "unhappy").await.expect_err("refused");
            assert!(refused.to_string().contains("at most 0"), "{refused}");
            let refused = refunds::to_credit(&world.app, &OPERATOR, invoice.id, Some(1), "unhappy").await.expect_err("refused");
            assert!(refused.to_string().contains("at most 0"), "{refused}");
        }
        // The merchant wins: the money is back, and may be given back.
        for (_, payment) in &paid {
            assert!(world.sandbox.sandbox().dispute(payment.transaction_id.as_deref().expect("an id"), 0));
        }
        // However long that takes.
        assert_eq!(check(&world, 300).await, 2);
        let closed = disputes(&world).await;
        assert!(closed.iter().all(|it| it.status == DisputeStatus::Closed && it.closed_at.is_some() && it.amount == 1000));
        assert_eq!(world.events(None).await.iter().filter(|kind| *kind == "dispute.closed").count(), 2);
        for (invoice, _) in &paid {
            refunds::refund(&world.app, &OPERATOR, invoice.id, None, "unhappy").await.expect("given back");
        }
        world.prove().await;
    }

    async fn of_a_part_in_dispute_only_the_rest_can_be_given_back(world: World) {
        let (invoice, payment) = paid(&world).await.remove(1);
        assert_eq!(payment.gateway, "paylike");
        let id = payment.transaction_id.as_deref().expect("an id");
        assert!(world.sandbox.sandbox().dispute(id, 300));
        check(&world, 7).await;
        assert!(world.sandbox.sandbox().dispute(id, 400));
        check(&world, 8).await;
        assert_eq!(disputes(&world).await.iter().map(|it| it.amount).collect::<Vec<_>>(), [400]);
        let refused = refunds::refund(&world.app, &OPERATOR, invoice.id, Some(601), "unhappy").await.expect_err("refused");
        assert!(refused.to_string().contains("at most 600"), "{refused}");
        let made = refunds::refund(&world.app, &OPERATOR, invoice.id, None, "the rest").await.expect("given back");
        assert_eq!(made.iter().map(|refund| refund.amount).sum::<i64>(), 600);
        world.prove().await;
    }

    async fn a_gateway_that_does_not_answer_closes_no_dispute(world: World) {
        let paid = paid(&world).await;
        for (_, payment) in &paid {
            assert!(world.sandbox.sandbox().dispute(payment.transaction_id.as_deref().expect("an id"), 1000));
        }
        check(&world, 1).await;
        let down: Rule = serde_json::from_value(json!({ "match": { "operation": "lookup" }, "fault": "500", "times": 0 })).expect("a rule");
        world.sandbox.sandbox().add_fault(down);
        assert_eq!(check(&world, 2).await, 2);
        assert!(disputes(&world).await.iter().all(|it| it.status == DisputeStatus::Open));
        assert!(world.payments().await.iter().all(|payment| payment.amount_disputed == 1000));
        world.prove().await;
    }
}
