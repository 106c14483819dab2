//! A customer pays by a link while a card is charged, and daemons die at every await of both: one payment counts, the other goes back.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use rebilld::{
    billing::{
        App,
        collection::run,
        gateway_operations::recover,
        payment_requests::{check, request, return_overpayments, work},
        payments::look_up::look_up_payments,
        refunds::look_up::look_up_refunds,
        subscriptions::open_due::open_due,
    },
    config::Config,
    domain::{
        clock::Timeline,
        event::Actor,
        id::{InvoiceId, PaymentRequestId},
        invoice::InvoiceStatus,
        payment::Payment,
        payment_request::RequestStatus,
    },
    sandbox::Pay,
    store,
};

use super::crash_points::{Call, Fate, Moment, Point, fused};
use crate::world::*;

const NOW: &str = "2026-01-01T06:00:00Z";

/// Which money is booked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    CardFirst,
    LinkFirst,
}

/// Of the first life, and of those after it. They take turns, with an odd number of stories for each point.
const ORDERS: [[Order; 2]; 2] = [[Order::CardFirst, Order::LinkFirst], [Order::LinkFirst, Order::CardFirst]];

struct Story<'a> {
    world: &'a World,
    invoice: InvoiceId,
    request: PaymentRequestId,
}

fn quick(config: &mut Config) {
    config.collection.lease = TimeDelta::milliseconds(250);
    // A refund that the gateway does not know yet is looked up eight times: together these last longer than the lease, which is the time
    // that the refund is given to arrive. It would be parked otherwise.
    config.collection.lookup_backoff = vec![TimeDelta::milliseconds(50)];
    config.collection.gateway_fault_backoff = vec![TimeDelta::milliseconds(20); 9];
    config.collection.payment_request_poll = vec![TimeDelta::milliseconds(5)];
}

impl<'a> Story<'a> {
    /// An invoice that a card will pay, and a link for it that nobody has been sent yet.
    async fn begin(world: &'a World, gateway: &str) -> Self {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let mut sub = world.monthly(customer, "2026-01-01").await;
        sub.duration = 1;
        let sub = world.add(sub).await;
        open_due(&world.app, Timeline::Test(world.clock), at(NOW)).await.expect("opened");
        let invoice =
            world.invoices().await.into_iter().find(|invoice| invoice.subscription_id == Some(sub.id)).expect("billed").id;
        let asked = request(&world.app, &Actor::System, invoice, Some(gateway.to_owned()), None).await.expect("recorded");
        Self { world, invoice, request: asked.id }
    }

    /// The customer opens the link, if there is one by now, and pays. Once only.
    async fn pays(&self) {
        let sandbox = self.world.sandbox.sandbox();
        let request = store::payment_requests::get(&self.world.app.db, self.request).await.expect("read").expect("there");
        let theirs = self.world.sandbox.ledger().iter().any(|entry| entry.reference == request.reference);
        if theirs {
            return;
        }
        if request.gateway == "paysley" {
            let _ = sandbox.pay(Pay { reference: Some(request.reference), ..Pay::default() }).await;
        } else if let (Some(link), 0) = (&request.link, self.payments_by_link().await) {
            let _ = sandbox.pay_link(link, None);
        }
    }

    async fn payments_by_link(&self) -> usize {
        self.world.payments().await.iter().filter(|payment| payment.payment_request_id == Some(self.request)).count()
    }

    /// One life, to its work's end or to the point where it dies; whether it died.
    async fn live(&self, point: Option<Point>, order: Order) -> bool {
        let (app, fuse) = fused(self.world, self.world.app.config.clone(), "mayfly", point, Fate::Wait);
        while recover::recover(&app, true).await.expect("recovered") > 0 {}
        tokio::select! {
            () = self.work(&app, order) => false,
            // What was under way is dropped where it stood, as a kill does.
            () = fuse.blown() => true,
        }
    }

    async fn work(&self, app: &Arc<App>, order: Order) {
        let timeline = Timeline::Test(self.world.clock);
        work(app, None).await.expect("asked");
        self.pays().await;
        if order == Order::LinkFirst {
            check(app, self.request).await.expect("to be looked at");
            work(app, None).await.expect("heard");
            look_up_payments(app, None).await.expect("captured");
        }
        run::collect_due(app, timeline, at(NOW)).await.expect("collected");
        let begun = std::time::Instant::now();
        while !self.is_over().await {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it does not end: {:?}\n{:?}",
                self.world.requests().await,
                self.world.payments().await
            );
            recover::recover(app, false).await.expect("freed");
            work(app, None).await.expect("worked");
            look_up_payments(app, None).await.expect("looked up");
            look_up_refunds(app).await.expect("looked up");
            return_overpayments(app).await.expect("returned");
            run::collect_due(app, timeline, at(NOW)).await.expect("collected");
            self.pays().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn is_over(&self) -> bool {
        let payments = self.world.payments().await;
        let invoice = store::invoices::get(&self.world.app.db, self.invoice).await.expect("read").expect("there");
        let request = store::payment_requests::get(&self.world.app.db, self.request).await.expect("read").expect("there");
        invoice.status != InvoiceStatus::Open
            && !request.status.is_open()
            && payments.iter().all(|payment| !payment.status.is_open() && payment.overpayment <= payment.amount_refunded)
    }

    async fn is_proven(&self, told: &str) {
        self.world.prove().await;
        let invoice = store::invoices::get(&self.world.app.db, self.invoice).await.expect("read").expect("there");
        assert_eq!((invoice.status, invoice.amount_paid, invoice.amount_refunded), (InvoiceStatus::Paid, 1000, 0), "{told}");
        let net: i64 = self
            .world
            .payments()
            .await
            .iter()
            .filter(|payment| payment.invoice_id == self.invoice)
            .map(|payment| payment.amount_captured - payment.amount_refunded)
            .sum();
        assert_eq!(net, 1000, "{told}");
        let request = store::payment_requests::get(&self.world.app.db, self.request).await.expect("read").expect("there");
        assert!(matches!(request.status, RequestStatus::Paid | RequestStatus::Withdrawn), "{told}: {request:?}");
    }
}

async fn lives_end(mut world: World, gateway: &str, calls: &[Call], seconds: &[Option<Point>]) {
    let mut config = world.app.config.clone();
    quick(&mut config);
    world.app = app(world.app.db.clone(), config, "test");
    let (mut stories, mut deaths, mut twice) = (0, 0, 0);
    for &call in calls {
        for moment in [Moment::Before, Moment::After] {
            for &second in seconds {
                let (first, orders) = (Point(moment, call), ORDERS[stories % ORDERS.len()]);
                stories += 1;
                let story = Story::begin(&world, gateway).await;
                deaths += usize::from(story.live(Some(first), orders[0]).await);
                deaths += usize::from(second.is_some() && story.live(second, orders[1]).await);
                assert!(!story.live(None, orders[1]).await);
                story.is_proven(&format!("{gateway}: died at {first:?} and {second:?}, {orders:?}")).await;
                let back = |payment: &Payment| payment.invoice_id == story.invoice && payment.amount_refunded > 0;
                twice += usize::from(world.payments().await.iter().any(back));
            }
        }
    }
    assert!(deaths > calls.len(), "only {deaths} lives ended early");
    // A reservation is not captured once a card has paid: only money that is taken at once goes back.
    let possible = gateway == "paysley";
    assert!(twice >= if possible { calls.len() / 2 } else { 0 }, "only {twice} invoices were paid twice");
    assert!(possible || twice == 0, "{twice} reservations were captured in vain");
}

on_both! {
    async fn a_link_and_a_card_are_one_payment_wherever_daemons_die(world: World) {
        let calls = [Call::Ask, Call::Poll, Call::Withdraw, Call::Charge, Call::LookUp, Call::GiveBack, Call::LookUpReturn];
        let seconds = [None, Some(Point(Moment::After, Call::GiveBack)), Some(Point(Moment::After, Call::Poll))];
        lives_end(world, "paysley", &calls, &seconds).await;
    }

    async fn a_link_that_must_be_captured_and_a_card_are_one_payment_wherever_daemons_die(world: World) {
        let calls = [Call::Ask, Call::Poll, Call::Charge, Call::LookUp, Call::Capture];
        lives_end(world, "paylike", &calls, &[None, Some(Point(Moment::After, Call::Capture)), Some(Point(Moment::Before, Call::LookUp))]).await;
    }
}
