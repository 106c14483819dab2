//! A customer is asked and pays: by every channel, whatever the gateway says by itself.

use rebilld::{
    billing,
    domain::{
        event::Actor, invoice::InvoiceStatus, payment::PaymentStatus, payment_method::MethodKind, payment_request::RequestStatus,
        subscription::SubscriptionStatus,
    },
    sandbox::Pay,
    store,
};

use super::*;

on_both! {
    async fn a_customer_asked_by_any_channel_pays_once(world: World) {
        let all: [&[&str]; 4] = [&["EMAIL"], &["SMS"], &["WEB"], &["EMAIL", "SMS"]];
        for channels in all {
            asked_once(&world, channels).await;
        }
        world.advance("2026-01-10T07:00:00Z").await;
        let requests = world.requests().await;
        let asked = world.sandbox.sandbox().asked();
        assert_eq!((requests.len(), asked.len()), (4, 4));
        for channels in all {
            let request = requests.iter().find(|request| request.channels == channels).expect("asked");
            assert_eq!((request.status, request.amount, request.asks), (RequestStatus::Sent, 1000, 1));
            assert!(request.link.as_ref().is_some_and(|link| link.starts_with("https://")));
            let theirs = asked.iter().find(|asked| asked.reference == request.reference).expect("there");
            assert_eq!((theirs.amount, theirs.channels.as_slice()), (1000, request.channels.as_slice()));
            assert_eq!(theirs.messages, channels.iter().filter(|channel| **channel != "WEB").count() as u64);
        }
        assert!(world.payments().await.is_empty(), "nobody has paid");
        for request in &requests {
            world.pays(request).await;
            for _ in 0..2 {
                world.hears(request).await;
            }
        }
        assert_eq!(world.prove().await, 4);
        for payment in world.payments().await {
            assert_eq!((payment.status, payment.kind, payment.overpayment), (PaymentStatus::Succeeded, MethodKind::PaymentRequest, 0));
        }
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid && invoice.next_attempt_at.is_none()));
        let events = world.events(Some(requests[0].id.to_string())).await;
        assert_eq!(events, ["payment_request.created", "payment_request.sent", "payment_request.paid"]);
    }

    async fn a_chargeback_of_what_was_asked_for_is_recorded(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        world.pays(&request).await;
        world.hears(&request).await;
        let payment = world.payments().await.remove(0);
        let check = async |days| {
            let then = world.app.clock.now() + chrono::TimeDelta::days(days) + chrono::TimeDelta::hours(1);
            billing::disputes::check(&world.app, then).await.expect("asked");
            world.payments().await.remove(0).amount_disputed
        };
        assert_eq!(check(1).await, 0);
        for (day, amount) in [(3, 400), (7, 1000), (14, 0)] {
            assert!(world.sandbox.sandbox().dispute(payment.transaction_id.as_deref().expect("an id"), amount));
            assert_eq!(check(day).await, amount);
            world.prove().await;
        }
        assert_eq!(world.events(None).await.iter().filter(|kind| kind.starts_with("dispute.")).collect::<Vec<_>>(), ["dispute.opened", "dispute.changed", "dispute.closed"]);
    }

    async fn a_payment_is_found_without_any_callback(world: World) {
        let sub = asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        world.pays(&world.last_request().await).await;
        world.request_becomes(RequestStatus::Paid).await;
        assert_eq!(world.prove().await, 1);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Completed);
    }

    async fn a_declined_attempt_at_the_link_changes_nothing(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let pay = serde_json::from_value(json!({ "reference": request.reference, "outcome": "decline" })).expect("pay");
        world.sandbox.sandbox().pay(pay).await.expect("tried");
        world.hears(&request).await;
        assert_eq!(world.last_request().await.status, RequestStatus::Sent);
        world.pays(&request).await;
        world.hears(&request).await;
        assert_eq!(world.prove().await, 1);
    }

    async fn less_than_was_asked_counts_and_the_rest_is_asked_for(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let pay = Pay { reference: Some(request.reference.clone()), amount: Some(999), ..Pay::default() };
        world.sandbox.sandbox().pay(pay).await.expect("paid");
        world.hears(&request).await;
        world.advance("2026-01-10T08:00:00Z").await;
        let (rest, invoice) = (world.last_request().await, world.invoices().await.remove(0));
        assert_eq!((world.requests().await.len(), rest.amount, rest.status), (2, 1, RequestStatus::Sent));
        assert_eq!((invoice.status, invoice.amount_paid, invoice.dunning_step), (InvoiceStatus::Open, 999, 0));
        world.pays(&rest).await;
        world.hears(&rest).await;
        assert_eq!((world.invoices().await[0].status, world.prove().await), (InvoiceStatus::Paid, 2));
    }

    async fn more_than_was_asked_goes_back(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let pay = Pay { reference: Some(request.reference.clone()), amount: Some(1500), ..Pay::default() };
        world.sandbox.sandbox().pay(pay).await.expect("paid");
        world.hears(&request).await;
        world.all_goes_back().await;
        let (payment, invoice) = (world.payments().await.remove(0), world.invoices().await.remove(0));
        assert_eq!((invoice.status, invoice.amount_paid), (InvoiceStatus::Paid, 1000));
        assert_eq!((payment.amount_captured, payment.overpayment, payment.amount_refunded), (1500, 500, 500));
        assert_eq!(world.prove().await, 1);
    }

    async fn money_of_another_currency_goes_back_and_an_operator_looks(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let pay = Pay { reference: Some(request.reference.clone()), currency: Some("EUR".parse().expect("known")), ..Pay::default() };
        world.sandbox.sandbox().pay(pay).await.expect("paid");
        for _ in 0..2 {
            world.hears(&request).await;
        }
        world.all_goes_back().await;
        let parked = world.last_request().await;
        assert_eq!(parked.status, RequestStatus::Parked);
        assert_eq!(parked.message.as_deref(), Some("10.00 EUR was paid, not 10.00 USD: it goes back"));
        assert_eq!(store::invariants::payment_requests_parked(&world.app.db).await.expect("read").ids, [request.id.to_string()]);
        assert_eq!(world.events(Some(request.id.to_string())).await.iter().filter(|kind| *kind == "payment_request.parked").count(), 1);
        assert_eq!((world.invoices().await[0].status, world.invoices().await[0].amount_paid), (InvoiceStatus::Open, 0));
        assert_eq!(world.prove().await, 1);
        billing::payment_requests::withdraw(&world.app, &Actor::System, request.id).await.expect("dealt with");
        world.request_becomes(RequestStatus::Withdrawn).await;
    }

    async fn an_operator_asks_for_an_open_invoice_and_the_card_goes_on(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, "decline2020000000000").await;
        let sub = world.monthly(customer, "2026-01-10").await;
        let sub = world.add(sub).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        let gateway = Some("paysley".to_owned());
        let refused = billing::payment_requests::request(&world.app, &Actor::System, invoice.id, None, None).await.expect_err("two can ask").to_string();
        assert!(refused.contains("paylike, paysley"), "{refused}");
        let request = billing::payment_requests::request(&world.app, &Actor::System, invoice.id, gateway, None).await.expect("asked");
        world.settle_requests().await;
        world.advance("2026-01-12T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-11 declined"], "the ladder goes on");
        world.pays(&request).await;
        world.hears(&request).await;
        world.advance("2026-02-01T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        assert_eq!(world.story().await.last().map(String::as_str), Some("2026-01-12 succeeded"));
        assert_eq!(world.prove().await, 1);
        let paid = billing::payment_requests::request(&world.app, &Actor::System, invoice.id, Some("paysley".into()), None).await;
        assert!(paid.expect_err("nothing is owed").to_string().contains("the invoice is paid"));
    }

    async fn a_paylike_link_is_paid_captured_and_booked(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, true, "560fd96b7973ff3d23620007").await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        let ask = async || billing::payment_requests::request(&world.app, &Actor::System, invoice.id, Some("paylike".into()), None).await.expect("asked");
        let (first, second) = (ask().await, ask().await);
        world.settle_requests().await;
        let link = async |id| store::payment_requests::get(&world.app.db, id).await.expect("read").expect("there").link.expect("a link");
        let late = (link(second.id).await, link(first.id).await);
        world.sandbox.sandbox().pay_link(&late.1, None).expect("reserved");
        assert!(world.sandbox.ledger().is_empty(), "only reserved");
        world.hears(&first).await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid);
        // The other link is not wanted any more: what is paid by it is never captured.
        world.sandbox.sandbox().pay_link(&late.0, None).expect("reserved");
        world.hears(&second).await;
        assert_eq!(world.last_request().await.status, RequestStatus::Withdrawn);
        assert_eq!(world.prove().await, 1);
        billing::refunds::refund(&world.app, &Actor::System, invoice.id, Some(400), "unhappy").await.expect("given back");
        assert_eq!(world.prove().await, 1);
        assert_eq!(world.invoices().await[0].amount_refunded, 400);
    }

    async fn events_say_what_a_message_needs_and_no_address(world: World) {
        asked_once(&world, &["EMAIL", "SMS"]).await;
        world.advance("2026-01-14T00:00:00Z").await;
        let request = world.last_request().await;
        world.pays(&request).await;
        world.hears(&request).await;
        let told: Vec<(String, String)> =
            world.app.db.query("select type, cast(data as text) from events where type like 'payment_request.%' order by id").all().await.expect("events");
        let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["payment_request.created", "payment_request.sent", "payment_request.reminded", "payment_request.paid"]);
        for (kind, data) in &told {
            assert!(!data.contains('@') && !data.contains("1555"), "{kind}: {data}");
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            assert_eq!((&data["amount"], &data["currency"], &data["channels"]), (&json!(1000), &json!("USD"), &json!(["EMAIL", "SMS"])), "{kind}");
            assert_eq!(data["invoice_id"], json!(request.invoice_id), "{kind}");
            assert_eq!(data["link"].is_string(), kind != "payment_request.created", "{kind}");
        }
    }
}
