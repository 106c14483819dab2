//! A link and a card, or two links, paid at the same moment: the invoice is paid once and the later money goes back.

use rebilld::{
    billing::{self, collection::run},
    domain::{
        clock::Timeline, event::Actor, invoice::InvoiceStatus, payment::PaymentStatus, payment_method::MethodKind,
        payment_request::RequestStatus,
    },
    sandbox::Pay,
};

use super::*;

/// An invoice whose card was declined once and pays at the next try, and a link for it.
async fn a_link_beside_a_card(world: &World, gateway: &str) -> PaymentRequest {
    let customer = world.customer("UTC").await;
    let token = world.token();
    world.sandbox.sandbox().set_script(&token, rebilld::sandbox::Script { declines: [202].into(), ..Default::default() });
    world.method(customer, false, &token).await;
    let mut sub = world.monthly(customer, "2026-01-10").await;
    sub.duration = 1;
    let sub = world.add(sub).await;
    let now = world.app.now_of(Timeline::Test(world.clock)).await.expect("now").max(at("2026-01-10T06:00:00Z"));
    world.advance(&(now + chrono::TimeDelta::minutes(1)).to_rfc3339()).await;
    let invoice = world.invoices().await.into_iter().find(|invoice| invoice.subscription_id == Some(sub.id)).expect("billed");
    let request = billing::payment_requests::request(&world.app, &Actor::System, invoice.id, Some(gateway.into()), None)
        .await
        .expect("asked");
    world.settle_requests().await;
    billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("due again");
    request
}

async fn collect(world: &World) {
    let timeline = Timeline::Test(world.clock);
    let now = world.app.now_of(timeline).await.expect("now");
    run::collect_due(&world.app, timeline, now).await.expect("collected");
}

/// One payment counts, the other went back whole, and both books say so.
async fn one_counts(world: &World, invoices: usize) -> Vec<MethodKind> {
    world.all_goes_back().await;
    world.prove().await;
    let all = world.invoices().await;
    assert_eq!(all.len(), invoices);
    assert!(all.iter().all(|invoice| invoice.status == InvoiceStatus::Paid && invoice.amount_refunded == 0), "{all:?}");
    let payments = world.payments().await;
    for invoice in &all {
        let of_it: Vec<_> =
            payments.iter().filter(|payment| payment.invoice_id == invoice.id && payment.amount_captured > 0).collect();
        assert_eq!(of_it.iter().map(|payment| payment.amount_captured - payment.amount_refunded).sum::<i64>(), invoice.total);
    }
    payments.iter().filter(|payment| payment.status == PaymentStatus::Refunded).map(|payment| payment.kind).collect()
}

on_both! {
    async fn a_card_that_succeeds_after_the_link_was_paid_is_given_back(world: World) {
        let request = a_link_beside_a_card(&world, "paysley").await;
        // The card is being charged while the customer pays by the link and we poll_by_reference of it.
        world.sandbox.sandbox().add_fault(serde_json::from_value(json!({ "match": { "operation": "charge" }, "fault": "delay:250" })).expect("rule"));
        let paying = async {
            while !world.payments().await.iter().any(|payment| payment.status == PaymentStatus::Pending) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.pays(&request).await;
            world.hears(&request).await;
            world.invoices().await[0].status
        };
        let ((), paid) = tokio::join!(collect(&world), paying);
        assert_eq!(paid, InvoiceStatus::Paid, "the link came first");
        assert_eq!(one_counts(&world, 1).await, [MethodKind::VaultToken]);
        let events = world.events(None).await;
        assert!(events.iter().any(|kind| kind == "payment.on_closed_invoice") && events.iter().any(|kind| kind == "refund.succeeded"));
    }

    async fn a_link_paid_just_before_the_card_succeeds_is_given_back(world: World) {
        let request = a_link_beside_a_card(&world, "paysley").await;
        world.pays(&request).await;
        collect(&world).await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid, "the card came first");
        world.settle_requests().await;
        assert_eq!(one_counts(&world, 1).await, [MethodKind::PaymentRequest]);
        let request = world.last_request().await;
        assert_eq!((request.status, request.ending), (RequestStatus::Paid, None));
        let refused = billing::refunds::refund(&world.app, &Actor::System, request.invoice_id.expect("an invoice"), Some(1001), "too much").await;
        assert!(refused.is_err(), "only what the invoice took can be given back");
        billing::refunds::refund(&world.app, &Actor::System, request.invoice_id.expect("an invoice"), None, "unhappy").await.expect("the card's");
        world.prove().await;
        assert_eq!(world.invoices().await[0].amount_refunded, 1000);
    }

    async fn link_and_card_at_once_ten_times_over(world: World) {
        let mut requests = Vec::new();
        for _ in 0..10 {
            requests.push(a_link_beside_a_card(&world, "paysley").await);
            // The card that the next advance would charge waits for the race.
            collect_later(&world).await;
        }
        for request in &requests {
            world.pays(request).await;
        }
        due_now(&world, &requests).await;
        let hearing = async {
            for request in &requests {
                let _ = billing::payment_requests::poll_by_reference(&world.app, "paysley", &request.reference).await.expect("heard");
                billing::payment_requests::work(&world.app, None).await.expect("worked");
            }
        };
        tokio::join!(collect(&world), hearing);
        let back = one_counts(&world, 10).await;
        println!("given back: {} by card, {} by link", back.iter().filter(|kind| **kind == MethodKind::VaultToken).count(),
            back.iter().filter(|kind| **kind == MethodKind::PaymentRequest).count());
    }

    async fn two_links_of_one_request_both_paid_are_one_payment(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        assert_eq!((request.status, request.asks), (RequestStatus::Sent, 2));
        let links = world.sandbox.sandbox().asked();
        assert_eq!(links.len(), 2, "the lost one and the known one");
        for link in &links {
            world.sandbox.sandbox().pay(Pay { transaction_id: Some(link.transaction_id.clone()), ..Pay::default() }).await.expect("paid");
            world.hears(&request).await;
        }
        one_counts(&world, 1).await;
        assert_eq!(world.payments().await.len(), 2);
    }

    async fn a_lost_link_paid_after_everything_was_over_is_found_and_given_back(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let links = world.sandbox.sandbox().asked();
        let pay = async |i: usize| {
            let transaction_id = Some(links[i].transaction_id.clone());
            world.sandbox.sandbox().pay(Pay { transaction_id, ..Pay::default() }).await.expect("paid")
        };
        pay(1).await;
        world.hears(&request).await;
        assert_eq!(world.last_request().await.status, RequestStatus::Paid);
        pay(0).await;
        // No callback comes: it is looked at all the same.
        for _ in 0..500 {
            if world.payments().await.len() == 2 {
                break;
            }
            world.settle_requests().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        one_counts(&world, 1).await;
        assert_eq!(world.payments().await.len(), 2);
    }
}

/// Puts every attempt that is due off, so that the next advance leaves it.
async fn collect_later(world: &World) {
    put(world, at("2030-01-01T00:00:00Z"), None).await;
}

async fn due_now(world: &World, requests: &[PaymentRequest]) {
    put(world, at("2026-01-01T00:00:00Z"), Some(requests)).await;
}

async fn put(world: &World, when: chrono::DateTime<chrono::Utc>, only: Option<&[PaymentRequest]>) {
    let mut invoices = world.invoices().await;
    invoices.retain(|invoice| {
        invoice.next_attempt_at.is_some()
            && only.is_none_or(|only| only.iter().any(|request| request.invoice_id == Some(invoice.id)))
    });
    for invoice in &mut invoices {
        invoice.next_attempt_at = Some(when);
    }
    let mut tx = world.app.db.begin().await.expect("tx");
    rebilld::store::invoices::save(&mut tx, &invoices).await.expect("saved");
    tx.commit().await.expect("commit");
}
