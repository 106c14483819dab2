//! Refunds that become credit, beside those that a gateway hears of: together never more than was paid, whoever asks at once.

use futures_util::future::join_all;
use rebilld::{
    billing::{BillingError, customers, refunds, refunds::look_up::look_up_refunds},
    domain::{
        customer::{Credit, Customer},
        event::Actor,
        id::{CustomerId, InvoiceId},
        invoice::{Invoice, InvoiceStatus},
        refund::{RefundStatus, RefundTo},
        subscription::Subscription,
    },
    sandbox::Rule,
    store,
};
use serde_json::json;

use crate::world::*;

const OPERATOR: Actor = Actor::System;

/// A customer with so much credit who was billed 10.00 on 10 January, charged by a gateway as far as credit did not reach.
async fn billed(world: &World, credit: i64) -> (CustomerId, InvoiceId) {
    let customer = world.customer("UTC").await;
    world.method(customer, false, &world.token()).await;
    if credit > 0 {
        customers::give_credit(&world.app, &OPERATOR, &customer.to_string(), credit, None, "gift".into()).await.expect("given");
    }
    world.add(Subscription { duration: 1, ..world.monthly(customer, "2026-01-10").await }).await;
    let now = world.app.now_of(rebilld::domain::clock::Timeline::Test(world.clock)).await.expect("now");
    world.advance(&now.max(at("2026-01-10T07:00:00Z")).to_rfc3339()).await;
    world.sandbox.sandbox().settle();
    let invoices = world.invoices().await;
    (customer, invoices.iter().find(|invoice| invoice.customer_id == customer).expect("an invoice").id)
}

async fn invoice(world: &World, id: InvoiceId) -> Invoice {
    store::invoices::get(&world.app.db, id).await.expect("read").expect("invoice")
}

async fn customer(world: &World, id: CustomerId) -> Customer {
    store::customers::find(&world.app.db, &id.to_string()).await.expect("read").expect("customer")
}

async fn ledger(world: &World, id: CustomerId) -> Vec<(i64, String, bool)> {
    let rows: Vec<Credit> =
        world.app.db.query("select * from credits where customer_id = $1 order by id").bind(id).all().await.expect("rows");
    rows.into_iter().map(|row| (row.amount, row.reason, row.invoice_id.is_some())).collect()
}

async fn to_credit(world: &World, id: InvoiceId, amount: Option<i64>) -> Result<i64, BillingError> {
    refunds::to_credit(&world.app, &OPERATOR, id, amount, "goodwill").await.map(|refund| refund.amount)
}

async fn to_method(world: &World, id: InvoiceId, amount: Option<i64>) -> Result<i64, BillingError> {
    refunds::refund(&world.app, &OPERATOR, id, amount, "goodwill")
        .await
        .map(|refunds| refunds.iter().map(|refund| refund.amount).sum())
}

fn why<T: std::fmt::Debug>(refused: Result<T, BillingError>) -> String {
    refused.expect_err("refused").to_string()
}

on_both! {
    async fn money_turned_into_credit_never_reaches_a_gateway_and_pays_the_next_invoice(world: World) {
        let (ada, id) = billed(&world, 0).await;
        let calls = world.sandbox.ledger().len();
        assert_eq!(to_credit(&world, id, Some(300)).await.expect("credited"), 300);
        let seen = invoice(&world, id).await;
        assert_eq!((seen.status, seen.amount_paid, seen.amount_refunded, seen.amount_credited), (InvoiceStatus::Paid, 1000, 0, 300));
        assert_eq!(ledger(&world, ada).await, [(300, format!("Refund of {}: goodwill", seen.number), true)]);
        let refunds = store::refunds::of_invoice(&world.app.db, id).await.expect("read");
        assert_eq!((refunds[0].destination, refunds[0].status, refunds[0].payment_id), (RefundTo::Credit, RefundStatus::Succeeded, None));
        assert_eq!(world.events(Some(refunds[0].id.to_string())).await, ["refund.created", "refund.succeeded"]);
        assert_eq!(world.events(Some(ada.to_string())).await, ["customer.credited"]);
        assert_eq!(world.sandbox.ledger().len(), calls);
        // What is left may go either way, and no more.
        assert!(why(to_method(&world, id, Some(701)).await).contains("at most 700"));
        assert_eq!(to_method(&world, id, Some(500)).await.expect("given back"), 500);
        assert_eq!(to_credit(&world, id, None).await.expect("credited"), 200);
        assert!(why(to_credit(&world, id, None).await).contains("at most 0"));
        assert!(why(to_method(&world, id, Some(1)).await).contains("at most 0"));
        let seen = invoice(&world, id).await;
        assert_eq!((seen.amount_refunded, seen.amount_credited, customer(&world, ada).await.balance), (500, 500, 500));
        world.prove().await;

        world.add(world.monthly(ada, "2026-02-10").await).await;
        world.advance("2026-02-11T00:00:00Z").await;
        let next = world.invoices().await.pop().expect("the next");
        assert_eq!((next.credit_applied, next.total, next.status, customer(&world, ada).await.balance), (500, 500, InvoiceStatus::Paid, 0));
        assert_eq!(world.prove().await, 2);
    }

    async fn what_credit_had_paid_can_only_become_credit_again(world: World) {
        let (ada, id) = billed(&world, 400).await;
        assert!(why(to_method(&world, id, Some(601)).await).contains("at most 600"));
        assert_eq!(to_credit(&world, id, Some(500)).await.expect("credited"), 500);
        // 400 of that were credit before, so 100 of the 600 that a gateway took are gone.
        assert!(why(to_method(&world, id, Some(501)).await).contains("at most 500"));
        assert_eq!(to_method(&world, id, None).await.expect("given back"), 500);
        assert!(why(to_credit(&world, id, Some(1)).await).contains("at most 0"));
        assert_eq!(customer(&world, ada).await.balance, 500);

        // Paid by credit alone: there is no payment, and no gateway to give anything back.
        let (bob, id) = billed(&world, 1500).await;
        assert!(why(to_method(&world, id, None).await).contains("at most 0"));
        assert_eq!(to_credit(&world, id, None).await.expect("credited"), 1000);
        assert_eq!(customer(&world, bob).await.balance, 1500);
        world.prove().await;
    }

    async fn a_refund_nobody_knows_the_end_of_keeps_what_it_claims(world: World) {
        let (_, id) = billed(&world, 0).await;
        let rule: Rule = serde_json::from_value(json!({ "match": { "operation": "refund" }, "fault": "drop_after", "times": 1 })).expect("a rule");
        world.sandbox.sandbox().add_fault(rule);
        assert_eq!(to_method(&world, id, Some(700)).await.expect("sent"), 700);
        let refused = why(to_credit(&world, id, Some(301)).await);
        assert!(refused.contains("at most 300") && refused.contains("700 is on its way back"), "{refused}");
        assert_eq!(to_credit(&world, id, None).await.expect("credited"), 300);
        assert!(matches!(to_credit(&world, id, None).await, Err(BillingError::WrongState(_))));
        look_up_refunds(&world.app).await.expect("looked up");
        let seen = invoice(&world, id).await;
        assert_eq!((seen.amount_refunded, seen.amount_credited), (700, 300));
        world.prove().await;

        // One that comes to nothing leaves what it had claimed.
        let (_, id) = billed(&world, 0).await;
        let rule: Rule = serde_json::from_value(json!({ "match": { "operation": "refund" }, "fault": "429", "times": 9 })).expect("a rule");
        world.sandbox.sandbox().add_fault(rule);
        to_method(&world, id, Some(700)).await.expect_err("not given back");
        world.sandbox.sandbox().clear_faults();
        assert_eq!(to_credit(&world, id, None).await.expect("credited"), 1000);
        world.prove().await;
    }

    async fn ten_refunds_at_once_bring_no_more_than_was_paid(world: World) {
        for (credit, by_gateway) in [(0, 1000), (400, 600), (1000, 0)] {
            let (ada, id) = billed(&world, credit).await;
            let asking = (0..10).map(|n| {
                let app = world.app.clone();
                tokio::spawn(async move {
                    if n % 2 == 0 {
                        refunds::to_credit(&app, &OPERATOR, id, Some(170), "race").await.map(|refund| refund.amount)
                    } else {
                        refunds::refund(&app, &OPERATOR, id, Some(170), "race").await.map(|refunds| refunds.iter().map(|refund| refund.amount).sum())
                    }
                })
            });
            let done = join_all(asking).await;
            let given: i64 = done.into_iter().filter_map(|one| one.expect("joined").ok()).sum();
            look_up_refunds(&world.app).await.expect("looked up");
            let seen = invoice(&world, id).await;
            assert_eq!(seen.amount_refunded + seen.amount_credited, given, "what was answered is what is written");
            assert!((170..=1000).contains(&given) && seen.amount_refunded <= by_gateway, "{given}");
            world.prove().await;
            assert_eq!(to_credit(&world, id, None).await.expect("the rest"), 1000 - given);
            assert!(why(to_credit(&world, id, None).await).contains("at most 0") && why(to_method(&world, id, None).await).contains("at most 0"));
            assert_eq!(customer(&world, ada).await.balance, 1000 - seen.amount_refunded);
            world.prove().await;
        }
    }

    async fn credit_in_another_currency_is_no_place_for_a_refund(world: World) {
        let ada = world.customer("UTC").await;
        world.method(ada, false, &world.token()).await;
        let euro = Subscription { currency: "EUR".parse().expect("currency"), ..world.monthly(ada, "2026-01-10").await };
        world.add(euro).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let id = world.invoices().await.remove(0).id;
        let refused = to_credit(&world, id, Some(100)).await;
        assert!(matches!(&refused, Err(BillingError::WrongState(said)) if said.contains("is in USD and this invoice in EUR")), "{refused:?}");
        assert_eq!((customer(&world, ada).await.balance, invoice(&world, id).await.amount_credited), (0, 0));
        world.prove().await;
    }

    async fn an_open_invoice_gives_back_no_credit_and_a_void_one_only_once(world: World) {
        let ada = world.customer("UTC").await;
        world.method(ada, false, "decline2020000000000").await;
        customers::give_credit(&world.app, &OPERATOR, &ada.to_string(), 300, None, "gift".into()).await.expect("given");
        world.add(world.monthly(ada, "2026-01-10").await).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let id = world.invoices().await.remove(0).id;
        assert_eq!((invoice(&world, id).await.credit_applied, customer(&world, ada).await.balance), (300, 0));
        assert!(matches!(to_credit(&world, id, Some(1)).await, Err(BillingError::WrongState(_))), "it is owed still");
        let voiding = (0..5).map(|_| rebilld::billing::invoices::void(&world.app, &OPERATOR, id, "mistake"));
        assert_eq!(join_all(voiding).await.iter().filter(|done| done.is_ok()).count(), 1);
        assert!(matches!(to_credit(&world, id, Some(1)).await, Err(BillingError::WrongState(_))), "it is back already");
        assert_eq!(customer(&world, ada).await.balance, 300);
        world.prove().await;
    }

    async fn credit_is_taken_back_with_a_reason_and_never_below_nothing(world: World) {
        let ada = world.customer("UTC").await;
        let put = async |amount: i64, reason: &str| {
            customers::give_credit(&world.app, &OPERATOR, &ada.to_string(), amount, None, reason.to_owned()).await.map(|done| done.1)
        };
        assert_eq!(put(500, "gift").await.expect("given"), 500);
        assert_eq!(put(-200, "given by mistake").await.expect("taken back"), 300);
        for (amount, reason) in [(-301, "too much"), (0, "nothing"), (-1, "  "), (i64::MIN, "all")] {
            assert!(matches!(put(amount, reason).await, Err(BillingError::Invalid(_))), "{amount} {reason}");
        }
        let taking = (0..8).map(|_| put(-100, "at once"));
        assert_eq!(join_all(taking).await.iter().filter(|done| done.is_ok()).count(), 3);
        assert_eq!(customer(&world, ada).await.balance, 0);
        assert_eq!(ledger(&world, ada).await[..2], [(500, "gift".into(), false), (-200, "given by mistake".into(), false)]);
        assert_eq!(world.events(Some(ada.to_string())).await[..2], ["customer.credited", "customer.debited"]);
        world.prove().await;
    }
}
