//! What goes wrong on the wire or in the house while a customer is asked: each invoice is paid once all the same.

use chrono::TimeDelta;
use rebilld::{
    billing::{self, collection::run, gateway_operations::recover},
    domain::{clock::Timeline, invoice::InvoiceStatus, payment_request::RequestStatus},
    store,
};

use super::*;

on_both! {
    async fn every_fault_of_asking_and_hearing_ends_in_one_payment(world: World) {
        let mut month = 1;
        let customer = world.customer("UTC").await;
        world.asks(customer, &["EMAIL"]).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
        for operation in ["request", "lookup"] {
            for fault in ["drop_before", "drop_after", "500", "status_after:500", "429", "delay:450"] {
                let due = at("2026-01-10T06:00:00Z").checked_add_months(chrono::Months::new(month - 1)).expect("date");
                if operation == "request" {
                    world.sandbox.sandbox().add_fault(rule(fault, operation, 1));
                }
                world.advance(&(due + TimeDelta::hours(1)).to_rfc3339()).await;
                let request = world.request_becomes(RequestStatus::Sent).await;
                world.pays(&request).await;
                if operation == "lookup" {
                    // As often as one look asks again by itself, and once more.
                    world.sandbox.sandbox().add_fault(rule(fault, operation, 4));
                }
                world.request_becomes(RequestStatus::Paid).await;
                assert_eq!(world.prove().await, month as usize, "{fault} on {operation}");
                world.sandbox.sandbox().clear_faults();
                month += 1;
            }
        }
        assert!(world.invoices().await.iter().all(|invoice| invoice.dunning_step == 0), "faults spend no dunning step");
    }

    async fn every_fault_of_giving_back_ends_in_one_refund(world: World) {
        let world = world
            .with(|config| {
                config.collection.lease = TimeDelta::milliseconds(400);
                config.collection.lookup_backoff = vec![TimeDelta::milliseconds(100)];
                config.collection.gateway_fault_backoff = vec![TimeDelta::milliseconds(50); 3];
            });
        for fault in ["drop_before", "drop_after", "500", "status_after:500", "429", "delay:450"] {
            asked_once(&world, &["EMAIL"]).await;
            let now = world.app.now_of(Timeline::Test(world.clock)).await.expect("now").max(at("2026-01-10T06:00:00Z"));
            world.advance(&(now + TimeDelta::hours(1)).to_rfc3339()).await;
            let request = world.last_request().await;
            world.pays(&request).await;
            billing::invoices::void(&world.app, &rebilld::domain::event::Actor::System, request.invoice_id.expect("an invoice"), "a mistake").await.expect("voided");
            world.sandbox.sandbox().add_fault(rule(fault, "refund", 1));
            world.all_goes_back().await;
            world.prove().await;
            world.sandbox.sandbox().clear_faults();
        }
    }

    async fn a_refund_that_the_gateway_refuses_for_good_stays_visible(world: World) {
        let world = world.with(|config| config.collection.gateway_fault_backoff = vec![TimeDelta::milliseconds(1)]);
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        world.pays(&request).await;
        billing::invoices::void(&world.app, &rebilld::domain::event::Actor::System, request.invoice_id.expect("an invoice"), "a mistake").await.expect("voided");
        world.sandbox.sandbox().add_fault(rule("403", "refund", 0));
        for _ in 0..5 {
            world.settle_requests().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let payment = world.payments().await.remove(0);
        assert_eq!((payment.overpayment, payment.amount_refunded, payment.return_at), (1000, 0, None));
        assert_eq!(world.events(Some(payment.id.to_string())).await.iter().filter(|kind| *kind == "payment.overpayment_kept").count(), 1);
    }

    async fn a_reminder_whose_answer_is_lost_is_not_sent_again(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        for (fault, messages) in [("drop_after", 2), ("429", 3)] {
            world.sandbox.sandbox().add_fault(rule(fault, "request", 1));
            let days = if messages == 2 { "2026-01-14T00:00:00Z" } else { "2026-01-21T00:00:00Z" };
            world.advance(days).await;
            assert_eq!(world.sandbox.sandbox().asked()[0].messages, messages, "{fault}");
        }
        assert_eq!(world.last_request().await.reminders, 2);
    }

    async fn a_withdrawal_whose_answer_is_lost_is_repeated(world: World) {
        for fault in ["drop_before", "drop_after", "500", "429"] {
            asked_once(&world, &["EMAIL"]).await;
            let now = world.app.now_of(Timeline::Test(world.clock)).await.expect("now").max(at("2026-01-10T06:00:00Z"));
            world.advance(&(now + TimeDelta::hours(1)).to_rfc3339()).await;
            let request = world.last_request().await;
            world.sandbox.sandbox().add_fault(rule(fault, "request", 1));
            billing::invoices::void(&world.app, &rebilld::domain::event::Actor::System, request.invoice_id.expect("an invoice"), "a mistake").await.expect("voided");
            world.request_becomes(RequestStatus::Withdrawn).await;
        }
        assert!(world.sandbox.sandbox().asked().iter().all(|asked| asked.deleted));
    }

    async fn a_customer_who_cannot_be_reached_goes_down_the_ladder(world: World) {
        let customer = world.customer("UTC").await;
        world.asks(customer, &["EMAIL"]).await;
        let mut tx = world.app.db.begin().await.expect("tx");
        let row = store::customers::find_in(&mut tx, &customer.to_string()).await.expect("read").expect("customer");
        store::customers::save(&mut tx, &rebilld::domain::customer::Customer { email: Some("nowhere".into()), ..row }).await.expect("saved");
        tx.commit().await.expect("commit");
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
        world.advance("2026-01-16T00:00:00Z").await;
        let (request, invoice) = (world.last_request().await, world.invoices().await.remove(0));
        assert_eq!((request.status, invoice.dunning_step, invoice.status), (RequestStatus::Refused, 1, InvoiceStatus::Open));
        assert!(request.message.is_some_and(|message| message.contains("(email)") && !message.contains("nowhere")));
        world.advance("2026-01-18T00:00:00Z").await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Uncollectible);
    }

    async fn a_gateway_that_never_answers_leaves_the_request_to_an_operator_and_time_goes_on(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        world.sandbox.sandbox().add_fault(rule("500", "lookup", 0));
        world.advance("2026-01-12T00:00:00Z").await;
        let parked = world.last_request().await;
        assert_eq!(parked.status, RequestStatus::Parked);
        assert_eq!(world.requests().await.len(), 1);
    }

    async fn a_daemon_that_dies_before_or_after_asking_is_made_good_by_the_next(world: World) {
        asked_once(&world, &["EMAIL"]).await;
        let timeline = Timeline::Test(world.clock);
        let now = at("2026-01-10T06:00:00Z");
        billing::subscriptions::open_due::open_due(&world.app, timeline, now).await.expect("opened");
        // Recorded, and it dies: another life finds it due.
        let dead = world.another("dead").await;
        assert_eq!(run::collect_due(&dead, timeline, now).await.expect("recorded").requests, 1);
        assert_eq!((world.last_request().await.status, world.last_request().await.asks), (RequestStatus::Pending, 0));
        // Written down that it is being asked, and it dies before the call.
        assert_eq!(billing::payment_requests::claim_only(&dead, timeline).await.expect("claimed"), 1);
        assert_eq!(billing::payment_requests::work(&world.app, None).await.expect("nothing due"), 0, "nobody else asks meanwhile");
        assert_eq!(run::collect_due(&world.app, timeline, now).await.expect("nothing due").requests, 0);
        assert!(recover::recover(&dead, true).await.expect("freed") >= 1);
        billing::payment_requests::work(&dead, None).await.expect("asked");
        assert_eq!((world.last_request().await.status, world.sandbox.sandbox().asked().len()), (RequestStatus::Sent, 1));
        // It dies between the customer's payment and the commit: claimed, and never settled.
        let request = world.last_request().await;
        world.pays(&request).await;
        assert!(billing::payment_requests::poll_by_reference(&world.app, "paysley", &request.reference).await.expect("heard"));
        // Not at once: calls of a gateway are followed at most once in a while.
        while billing::payment_requests::claim_only(&dead, timeline).await.expect("claimed") == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(recover::recover(&dead, true).await.expect("freed") >= 1);
        world.settle_requests().await;
        assert_eq!((world.prove().await, world.invoices().await[0].status), (1, InvoiceStatus::Paid));
    }
}
