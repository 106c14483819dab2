//! Credit is used first, for a whole batch by the same few statements, and the ledger always explains the balance.

use std::sync::atomic::Ordering;

use rebilld::{
    billing::{
        customers::{self, CustomerRef},
        invoices::open::{Draft, open_invoices},
        subscriptions::subscribe::{Start, SubscribeInput, subscribe},
    },
    domain::{
        clock::Timeline,
        customer::Credit,
        event::Actor,
        frequency::Frequency,
        invoice::{InvoiceStatus, Line, LineKind},
        money::Currency,
    },
    store,
};

use crate::world::*;

on_both! {
    async fn a_batch_uses_each_customers_credit_in_order(world: World) {
        let mut payers = Vec::new();
        for credit in [0, 250, 10_000] {
            let customer = world.customer("UTC").await;
            if credit > 0 {
                customers::give_credit(&world.app, &Actor::System, &customer.to_string(), credit, None, "gift".into()).await.expect("given");
            }
            payers.push(customer);
        }
        let draft = |customer_id, amount, currency: &str| Draft {
            customer_id,
            subscription_id: None,
            installment: None,
            cycle: None,
            timeline: Timeline::Test(world.clock),
            currency: currency.parse().expect("currency"),
            timezone: "UTC".parse().expect("zone"),
            description: "x".into(),
            period: None,
            lines: vec![Line::new(LineKind::Base, "x", amount)],
            due_at: at("2026-01-02T00:00:00Z"),
        };
        let mut statements = Vec::new();
        let mut opened = Vec::new();
        for copies in [1, 100] {
            let drafts: Vec<Draft> = (0..copies)
                .flat_map(|_| payers.iter().flat_map(|payer| [draft(*payer, 100, "USD"), draft(*payer, 70, "EUR"), draft(*payer, 0, "USD")]))
                .collect();
            let before = world.app.db.tally().statements.load(Ordering::Relaxed);
            let mut tx = world.app.db.begin().await.expect("tx");
            let (invoices, events) = open_invoices(&mut tx, &world.app, at("2026-01-01T00:00:00Z"), &Actor::System, drafts).await.expect("opened");
            store::events::append(&mut tx, &events).await.expect("events");
            tx.commit().await.expect("commit");
            statements.push(world.app.db.tally().statements.load(Ordering::Relaxed) - before);
            opened.extend(invoices);
        }
        assert_eq!(statements[0], statements[1], "statements for 9 and for 900 invoices");
        assert_eq!(world.invoices().await.len(), 909);
        assert_eq!(opened.last().expect("one").number, "INV-000909");

        for (payer, given) in payers.iter().zip([0, 250, 10_000]) {
            let of_payer: Vec<_> = opened.iter().filter(|invoice| invoice.customer_id == *payer).collect();
            let used: i64 = of_payer.iter().map(|invoice| invoice.credit_applied).sum();
            assert_eq!(used, given.min(10_100), "all of it is used, in the order of the drafts");
            assert!(of_payer.iter().all(|invoice| invoice.currency == Currency::USD || invoice.credit_applied == 0));
            let ledger: Vec<Credit> =
                world.app.db.query("select * from credits where customer_id = $1").bind(*payer).all().await.expect("ledger");
            let balance = store::customers::find(&world.app.db, &payer.to_string()).await.expect("read").expect("customer").balance;
            assert_eq!((balance, ledger.iter().map(|row| row.amount).sum::<i64>()), (given - used, given - used));
        }
        for invoice in &opened {
            let paid = invoice.total == 0;
            assert_eq!(invoice.status == InvoiceStatus::Paid, paid);
            assert_eq!(invoice.next_attempt_at.is_none(), paid);
        }
    }

    async fn credit_pays_a_cycle_without_any_gateway(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        customers::give_credit(&world.app, &Actor::System, &customer.to_string(), 1500, None, "gift".into()).await.expect("given");
        world.add(world.monthly(customer, "2026-01-10").await).await;
        world.advance("2026-03-11T00:00:00Z").await;
        let totals: Vec<_> = world.invoices().await.iter().map(|invoice| (invoice.credit_applied, invoice.total, invoice.status)).collect();
        assert_eq!(totals, [(1000, 0, InvoiceStatus::Paid), (500, 500, InvoiceStatus::Paid), (0, 1000, InvoiceStatus::Paid)]);
        assert_eq!(world.prove().await, 2);
    }

    async fn credit_pays_an_initial_payment_first(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        customers::give_credit(&world.app, &Actor::System, &customer.to_string(), 1000, None, "gift".into()).await.expect("given");
        let input = SubscribeInput {
            customer: CustomerRef { id: customer.to_string() },
            amount: Some(1000),
            billing_frequency: Some(Frequency::Monthly),
            next_bill_date: Some(Start::Date(date("2026-01-10"))),
            initial_payment_amount: Some(700),
            duration: Some(1),
            ..SubscribeInput::default()
        };
        subscribe(&world.app, &Actor::System, input).await.expect("subscribed");
        world.advance("2026-01-11T00:00:00Z").await;
        let paid: Vec<_> = world.invoices().await.iter().map(|invoice| (invoice.subtotal, invoice.credit_applied, invoice.amount_paid)).collect();
        assert_eq!((paid, world.prove().await), (vec![(700, 700, 0), (1000, 300, 700)], 1));
    }
}
