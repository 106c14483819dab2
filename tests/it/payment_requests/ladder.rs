//! What becomes of a request that nobody pays: reminders, expiry, the next step, the end; and of one that is not wanted any more.

use rebilld::{
    billing::{self, subscriptions::cancel::CancelInput},
    domain::{
        dunning::FinalAction,
        event::Actor,
        invoice::InvoiceStatus,
        payment_request::{RequestStatus, Role},
        subscription::{SubscriptionStatus, When},
    },
    store,
};

use super::*;

on_both! {
    async fn each_expiry_is_a_step_of_the_ladder_and_its_end_cancels(world: World) {
        let sub = asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-24T05:59:00Z").await;
        let request = world.last_request().await;
        assert_eq!((request.status, request.reminders), (RequestStatus::Sent, 2), "on the 13th and the 20th");
        assert_eq!(world.sandbox.sandbox().asked()[0].messages, 3);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        world.advance("2026-01-24T07:00:00Z").await;
        assert_eq!((world.last_request().await.status, world.invoices().await[0].dunning_step), (RequestStatus::Expired, 1));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        assert!(world.sandbox.sandbox().asked()[0].deleted, "nobody can pay by it any more");
        world.advance("2026-01-25T07:00:00Z").await;
        assert_eq!((world.requests().await.len(), world.last_request().await.status), (2, RequestStatus::Sent));
        world.advance("2026-12-31T00:00:00Z").await;
        let requests = world.requests().await;
        assert_eq!(requests.len(), 5, "as many as a card is tried");
        assert!(requests.iter().all(|request| request.status == RequestStatus::Expired && request.reminders == 2 && request.role == Role::Attempt));
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Uncollectible);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
        assert_eq!(world.prove().await, 0);
        let events = world.events(Some(requests[0].id.to_string())).await;
        assert_eq!(events, ["payment_request.created", "payment_request.sent", "payment_request.reminded", "payment_request.reminded", "payment_request.expired"]);
    }

    async fn one_long_jump_is_many_short_ones(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        for day in 10..=31 {
            world.advance(&format!("2026-01-{day}T05:00:00Z")).await;
        }
        let requests = world.requests().await;
        let told: Vec<_> = requests.iter().map(|request| (request.created_at, request.resolved_at, request.reminders)).collect();
        assert_eq!(told, [
            (at("2026-01-10T06:00:00Z"), Some(at("2026-01-24T06:00:00Z")), 2),
            (at("2026-01-25T06:00:00Z"), None, 1),
        ]);
    }

    async fn who_has_paid_is_not_reminded(world: World) {
        let sub = asked_once(&world, &["EMAIL", "SMS"]).await;
        world.advance("2026-01-14T00:00:00Z").await;
        let request = world.last_request().await;
        assert_eq!((request.reminders, world.sandbox.sandbox().asked()[0].messages), (1, 4));
        // Paid, and nobody has told us: the reminder looks first.
        world.pays(&request).await;
        world.advance("2026-02-28T00:00:00Z").await;
        let request = world.last_request().await;
        assert_eq!((request.status, request.reminders, request.next_reminder_at), (RequestStatus::Paid, 1, None));
        assert_eq!(world.sandbox.sandbox().asked()[0].messages, 4);
        assert_eq!((world.prove().await, world.subscription(&sub).await.status), (1, SubscriptionStatus::Completed));
    }

    async fn paid_at_the_very_end_is_paid(world: World) {
        let sub = asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-24T05:00:00Z").await;
        world.pays(&world.last_request().await).await;
        world.advance("2026-01-24T07:00:00Z").await;
        assert_eq!(world.last_request().await.status, RequestStatus::Paid);
        assert_eq!((world.prove().await, world.invoices().await[0].dunning_step), (1, 0));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Completed);
    }

    async fn cancel_and_void_take_the_link_back(world: World) {
        let sub = asked_once(&world, &["EMAIL"]).await;
        asked_once(&world, &["SMS"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let invoices = world.invoices().await;
        billing::subscriptions::cancel::cancel(&world.app, &Actor::System, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        let other = invoices.iter().find(|invoice| invoice.subscription_id != Some(sub.id)).expect("the other");
        billing::invoices::void(&world.app, &Actor::System, other.id, "a mistake").await.expect("voided");
        for _ in 0..500 {
            world.settle_requests().await;
            if world.requests().await.iter().all(|request| !request.status.is_open()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(world.requests().await.iter().all(|request| request.status == RequestStatus::Withdrawn && request.ending.is_none()));
        assert!(world.sandbox.sandbox().asked().iter().all(|asked| asked.deleted));
        world.advance("2026-03-01T00:00:00Z").await;
        assert_eq!((world.requests().await.len(), world.prove().await), (2, 0));
    }

    async fn who_paid_just_before_a_void_gets_it_back(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        world.pays(&world.last_request().await).await;
        let invoice = world.invoices().await.remove(0);
        billing::invoices::void(&world.app, &Actor::System, invoice.id, "a mistake").await.expect("voided");
        world.all_goes_back().await;
        let (invoice, payment) = (world.invoices().await.remove(0), world.payments().await.remove(0));
        assert_eq!((invoice.status, invoice.amount_paid, invoice.amount_refunded), (InvoiceStatus::Void, 0, 0));
        assert_eq!((payment.overpayment, payment.amount_refunded), (1000, 1000));
        assert_eq!(world.prove().await, 1);
    }

    async fn an_operators_word_ends_or_repeats_a_request(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        billing::payment_requests::remind(&world.app, &Actor::System, request.id).await.expect("reminded");
        world.settle_requests().await;
        assert_eq!((world.last_request().await.reminders, world.sandbox.sandbox().asked()[0].messages), (1, 2));
        billing::invoices::collect(&world.app, &Actor::System, request.invoice_id.expect("an invoice")).await.expect("collected");
        world.advance("2026-01-10T08:00:00Z").await;
        assert_eq!((world.requests().await.len(), world.last_request().await.reminders), (1, 2), "collecting asks again");
        billing::payment_requests::withdraw(&world.app, &Actor::System, request.id).await.expect("withdrawn");
        let twice = billing::payment_requests::withdraw(&world.app, &Actor::System, request.id).await.expect_err("once");
        assert!(twice.to_string().contains("being withdrawn"), "{twice}");
        world.request_becomes(RequestStatus::Withdrawn).await;
        assert!(billing::payment_requests::remind(&world.app, &Actor::System, request.id).await.is_err());
        world.advance("2026-01-24T07:00:00Z").await;
        assert_eq!((world.requests().await.len(), world.last_request().await.status), (2, RequestStatus::Sent), "still owed: asked again in time");
    }

    async fn a_ladder_that_ends_with_a_request_leaves_the_invoice_open_until_that_expires(world: World) {
        let world = world
            .with(|config| {
                config.collection.final_action = FinalAction::PaymentRequest;
                config.collection.payment_request_gateway = "paysley".into();
            });
        for _ in 0..2 {
            let customer = world.customer("UTC").await;
            world.method(customer, false, "decline2020000000000").await;
            let mut sub = world.monthly(customer, "2026-01-10").await;
            sub.duration = 1;
            world.add(sub).await;
        }
        world.advance("2026-01-18T00:00:00Z").await;
        let requests = world.requests().await;
        assert_eq!(requests.iter().map(|request| (request.role, request.status, request.expires_at)).collect::<Vec<_>>(),
            [(Role::Last, RequestStatus::Sent, at("2026-01-31T06:00:00Z")); 2]);
        assert_eq!(requests[0].channels, ["EMAIL"]);
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Open && invoice.dunning_step == 5));
        world.pays(&requests[0]).await;
        world.hears(&requests[0]).await;
        world.advance("2026-03-01T00:00:00Z").await;
        let mut ends: Vec<_> = world.invoices().await.iter().map(|invoice| invoice.status).collect();
        ends.sort();
        assert_eq!(ends, [InvoiceStatus::Paid, InvoiceStatus::Uncollectible]);
        assert_eq!((world.requests().await.len(), world.prove().await), (2, 1));
        let subscriptions: Vec<Subscription> = world.app.db.query("select * from subscriptions").all().await.expect("read");
        assert!(subscriptions.iter().all(|sub| sub.status == SubscriptionStatus::Completed), "nobody is cancelled by this");
    }

    async fn without_a_gateway_that_asks_the_ladder_ends_with_a_paylike_link_or_nothing(world: World) {
        let world = world.with(|config| config.collection.final_action = FinalAction::PaymentRequest);
        let mut subs = Vec::new();
        for (paylike, token) in [(false, "decline2020000000000"), (true, "560fd96b7973ff3d23620007")] {
            let customer = world.customer("UTC").await;
            world.method(customer, paylike, token).await;
            let sub = world.monthly(customer, "2026-01-10").await;
            subs.push(world.add(sub).await);
        }
        world.advance("2026-01-18T00:00:00Z").await;
        let (fluid, requests) = (world.subscription(&subs[0]).await, world.requests().await);
        assert_eq!((fluid.status, requests.len()), (SubscriptionStatus::Active, 1));
        assert_eq!((requests[0].gateway.as_str(), requests[0].role, requests[0].channels.as_slice()), ("paylike", Role::Last, &["WEB".to_owned()][..]));
        world.sandbox.sandbox().pay_link(requests[0].link.as_deref().expect("a link"), None).expect("reserved");
        world.hears(&requests[0]).await;
        assert_eq!(world.subscription(&subs[1]).await.status, SubscriptionStatus::Active);
        assert_eq!(world.prove().await, 1);
    }

    async fn a_new_card_after_the_last_request_is_charged_and_the_link_taken_back(world: World) {
        let world = world
            .with(|config| {
                config.collection.final_action = FinalAction::PaymentRequest;
                config.collection.payment_request_gateway = "paysley".into();
            });
        let customer = world.customer("UTC").await;
        world.method(customer, false, "decline2020000000000").await;
        let mut sub = world.monthly(customer, "2026-01-10").await;
        sub.duration = 1;
        world.add(sub).await;
        world.advance("2026-01-18T00:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        // Declined once more: the request stands, and its own end decides.
        billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("collected");
        world.advance("2026-01-19T00:00:00Z").await;
        let waiting = world.invoices().await.remove(0);
        assert_eq!((waiting.status, waiting.next_attempt_at), (InvoiceStatus::Open, Some(at("2026-01-31T06:00:00Z"))));
        let mut tx = world.app.db.begin().await.expect("tx");
        let mut method = store::payment_methods::of_customer(&mut tx, customer).await.expect("methods").remove(0);
        store::payment_methods::delete(&mut tx, method.id).await.expect("gone");
        method.customer_token = Some(world.token());
        store::payment_methods::insert(&mut tx, &method).await.expect("new");
        tx.commit().await.expect("commit");
        billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("collected");
        world.advance("2026-01-20T00:00:00Z").await;
        world.settle_requests().await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid);
        assert_eq!(world.last_request().await.status, RequestStatus::Withdrawn);
        assert!(world.sandbox.sandbox().asked()[0].deleted);
        assert_eq!(world.prove().await, 1);
    }

    async fn a_link_that_the_gateway_keeps_is_watched_after_its_end(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let declined = serde_json::from_value(json!({ "reference": request.reference, "outcome": "decline" })).expect("pay");
        world.sandbox.sandbox().pay(declined).await.expect("tried");
        billing::invoices::void(&world.app, &Actor::System, request.invoice_id.expect("an invoice"), "a mistake").await.expect("voided");
        world.request_becomes(RequestStatus::Withdrawn).await;
        assert!(!world.sandbox.sandbox().asked()[0].deleted, "a link that somebody has tried stays");
        for _ in 0..5 {
            world.settle_requests().await;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        // However often it was looked at: what is paid by it now is found without a word from anybody, and goes back.
        world.pays(&request).await;
        world.request_becomes(RequestStatus::Paid).await;
        world.all_goes_back().await;
        assert_eq!((world.prove().await, world.payments().await[0].amount_refunded), (1, 1000));
    }
}
