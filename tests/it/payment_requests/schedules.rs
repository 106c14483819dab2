//! Schedules that Paysley runs by itself: what it takes is found by looking and booked once, until it ends or is stopped.

use chrono::{DateTime, Days, NaiveDate, Utc};
use rebilld::{
    billing::payment_requests::{ScheduleInput, schedule},
    domain::{customer::Customer, event::Actor, frequency::Frequency, invoice::InvoiceStatus},
};

use super::*;

/// In the future, as the gateway wants it.
fn start() -> NaiveDate {
    rebilld::clock::Clock::System.now().date_naive() + Days::new(2)
}

fn days_after_start(days: u64) -> DateTime<Utc> {
    (start() + Days::new(days)).and_hms_opt(23, 0, 0).expect("a time").and_utc()
}

async fn agreed_upon(world: &World, payments: Option<i64>, initial: Option<i64>) -> PaymentRequest {
    let customer = world.customer("UTC").await;
    let input = ScheduleInput {
        customer: customer.to_string(),
        amount: 500,
        currency: None,
        description: "Club".into(),
        frequency: Frequency::Weekly,
        starts_on: start(),
        payments,
        initial,
        gateway: Some("paysley".into()),
        channels: None,
    };
    schedule(&world.app, &Actor::System, input).await.expect("recorded")
}

on_both! {
    async fn each_payment_of_a_schedule_becomes_one_paid_invoice(world: World) {
        let request = agreed_upon(&world, Some(3), Some(200)).await;
        // The money comes as it comes: no credit is used for it.
        let mut tx = world.app.db.begin().await.expect("tx");
        let row = store::customers::find_in(&mut tx, &request.customer_id.to_string()).await.expect("read").expect("customer");
        store::customers::save_balances(&mut tx, &[Customer { balance: 1000, ..row.clone() }], &[rebilld::domain::customer::Credit {
            id: world.app.id(), customer_id: row.id, amount: 1000, currency: row.currency, reason: "hello".into(), invoice_id: None, created_at: row.created_at,
        }]).await.expect("credit");
        tx.commit().await.expect("commit");
        world.request_becomes(RequestStatus::Sent).await;
        world.pays(&request).await;
        let running = world.request_becomes(RequestStatus::Running).await;
        assert!(running.agreement_id.is_some() && world.sandbox.sandbox().asked()[0].recurring);
        assert_eq!(world.prove().await, 1);
        for (until, payments) in [(9, 3), (9, 3), (400, 4)] {
            world.sandbox.sandbox().run_schedules(days_after_start(until)).await;
            for _ in 0..2 {
                world.hears(&request).await;
                assert_eq!(world.prove().await, payments);
            }
        }
        let invoices = world.invoices().await;
        assert!(invoices.iter().all(|invoice| invoice.status == InvoiceStatus::Paid && invoice.credit_applied == 0 && invoice.description == "Club"));
        let mut totals: Vec<_> = invoices.iter().map(|invoice| invoice.total).collect();
        totals.sort_unstable();
        assert_eq!(totals, [200, 500, 500, 500]);
        assert_eq!(world.last_request().await.status, RequestStatus::Paid);
        let events = world.events(Some(request.id.to_string())).await;
        assert_eq!(events, ["payment_request.created", "payment_request.sent", "payment_request.agreed", "payment_request.paid"]);
        rebilld::billing::refunds::refund(&world.app, &Actor::System, invoices[3].id, None, "unhappy").await.expect("given back");
        assert_eq!(world.prove().await, 4);
    }

    async fn a_schedule_without_a_first_payment_runs_until_it_is_stopped(world: World) {
        let request = agreed_upon(&world, None, None).await;
        world.request_becomes(RequestStatus::Sent).await;
        world.pays(&request).await;
        world.request_becomes(RequestStatus::Running).await;
        assert_eq!((world.prove().await, world.invoices().await.len()), (0, 0), "agreeing costs nothing");
        world.sandbox.sandbox().run_schedules(days_after_start(15)).await;
        // One more is made while it is being stopped, and the answer to that is lost.
        let reminded = rebilld::billing::payment_requests::remind(&world.app, &Actor::System, request.id).await;
        assert!(reminded.expect_err("it runs").to_string().contains("nothing to remind of"));
        rebilld::billing::payment_requests::withdraw(&world.app, &Actor::System, request.id).await.expect("stopped");
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        world.request_becomes(RequestStatus::Withdrawn).await;
        assert!(!world.sandbox.sandbox().asked()[0].recurring);
        assert_eq!(world.prove().await, 3);
        assert!(world.sandbox.sandbox().run_schedules(days_after_start(400)).await.is_empty());
        let watched = world.last_request().await;
        assert!(watched.next_check_at.is_some_and(|at| at <= watched.gateway_expires_at), "what was on its way is looked for");
    }

    async fn nobody_agrees_and_the_link_is_taken_back(world: World) {
        let request = agreed_upon(&world, None, Some(100)).await;
        world.request_becomes(RequestStatus::Sent).await;
        world.advance("2026-01-16T00:00:00Z").await;
        let request = store::payment_requests::get(&world.app.db, request.id).await.expect("read").expect("there");
        assert_eq!((request.status, request.reminders), (RequestStatus::Expired, 2));
        assert!(world.sandbox.sandbox().asked()[0].deleted);
        assert_eq!((world.prove().await, world.invoices().await.len()), (0, 0));
    }

    async fn a_schedule_that_may_have_been_sent_is_not_sent_again(world: World) {
        let request = agreed_upon(&world, None, Some(100)).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        let parked = world.request_becomes(RequestStatus::Parked).await;
        assert_eq!((parked.asks, world.sandbox.sandbox().asked().len()), (1, 1), "a second might begin a second schedule");
        // The customer got it and agrees.
        world.pays(&request).await;
        world.request_becomes(RequestStatus::Running).await;
        assert_eq!(world.prove().await, 1);
    }

    async fn a_schedule_agreed_to_after_it_was_withdrawn_is_stopped(world: World) {
        let request = agreed_upon(&world, None, Some(100)).await;
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        world.request_becomes(RequestStatus::Parked).await;
        rebilld::billing::payment_requests::withdraw(&world.app, &Actor::System, request.id).await.expect("closed");
        assert_eq!(world.last_request().await.status, RequestStatus::Withdrawn);
        // We never knew of the link, so it could not be taken back; the customer has it.
        world.pays(&request).await;
        world.hears(&request).await;
        world.request_becomes(RequestStatus::Withdrawn).await;
        assert!(!world.sandbox.sandbox().asked()[0].recurring, "it takes no more");
        assert_eq!(world.prove().await, 1);
    }
}
