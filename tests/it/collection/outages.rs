//! Four hours without a gateway, as a test clock lives through them: nobody is told, no step is spent, few calls are made, and
//! afterwards each charge has been made once.

use std::{net::SocketAddr, time::Duration};

use chrono::TimeDelta;
use rebilld::{
    domain::{invoice::InvoiceStatus, payment::PaymentStatus},
    jobs,
    sandbox::Rule,
    store,
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::world::*;

/// The way to the sandbox, which can be cut: then nobody listens at its address.
struct CollectionStep {
    address: SocketAddr,
    sandbox: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl CollectionStep {
    async fn to(sandbox: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("address");
        Self { address, sandbox, open: Some(tokio::spawn(carry(listener, sandbox))) }
    }

    async fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            // The port is free once the task is gone.
            let _ = open.await;
        }
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the same port");
        self.open = Some(tokio::spawn(carry(listener, self.sandbox)));
    }
}

/// Connections end with this task.
async fn carry(listener: TcpListener, sandbox: SocketAddr) {
    let mut lines = tokio::task::JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        lines.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(sandbox).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

const EACH: usize = 50;
const IN_FLIGHT: usize = 8;

fn rule(fault: &str, operation: &str) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": 0 })).expect("a rule")
}

/// Fifty customers at each gateway, billed on the tenth of each month, through a way that can be cut.
async fn crowded(world: &mut World) -> CollectionStep {
    for paylike in [false, true] {
        for _ in 0..EACH {
            let customer = world.customer("UTC").await;
            let token = if paylike { world.prior() } else { world.token() };
            world.method(customer, paylike, &token).await;
            let sub = world.monthly(customer, "2026-01-10").await;
            world.add(sub).await;
        }
    }
    let way = CollectionStep::to(world.sandbox.addr()).await;
    let mut config = world.app.config.clone();
    // A call that is late has arrived by then, and a test clock waits no longer for it.
    config.collection.lease = TimeDelta::seconds(2);
    config.billing.batch = 10;
    for (name, path) in [("fluid", "/api"), ("paylike", "")] {
        let gateway = config.gateways.get_mut(name).expect("configured");
        gateway.base_url = format!("http://{}{path}", way.address);
        gateway.max_in_flight = IN_FLIGHT;
    }
    world.app = app(world.app.db.clone(), config, "outage");
    way
}

async fn told(world: &World, kind: &str) -> usize {
    world.events(None).await.iter().filter(|told| *told == kind).count()
}

/// From six to ten in the morning of the tenth nothing can be charged; then everything is.
async fn outage(world: &World, way: &mut CollectionStep, month: usize, fault: Option<&str>) {
    let what = fault.unwrap_or("nobody listens");
    let sandbox = world.sandbox.sandbox();
    world.advance(&format!("2026-{month:02}-10T05:59:59Z")).await;
    let (tried_before, told_before) = (world.payments().await.len(), told(world, "gateway.circuit_opened").await);
    match fault {
        Some(fault) => ["charge", "authorize"].into_iter().for_each(|operation| sandbox.add_fault(rule(fault, operation))),
        None => way.cut().await,
    }
    world.advance(&format!("2026-{month:02}-10T10:00:00Z")).await;
    let payments = world.payments().await;
    let during = &payments[tried_before..];
    let not_connected = |message: &Option<String>| message.as_deref().is_some_and(|text| text.starts_with("could not connect"));
    let calls = match fault {
        Some(_) => sandbox.struck(),
        None => during.iter().filter(|payment| not_connected(&payment.decline_message)).count() as u64,
    };
    // Before it is noticed, as many as go at once; then a few after each wait: at 1, 6, 21 and 81 minutes.
    let bound = 2 * (IN_FLIGHT + 5 + 4 * 5) as u64;
    assert!((10..=bound).contains(&calls), "{what}: {calls} calls for {} invoices", 2 * EACH);
    let invoices = world.invoices().await;
    let waiting = invoices.iter().filter(|invoice| invoice.status == InvoiceStatus::Open);
    let untouched = waiting.filter(|invoice| (invoice.attempts, invoice.gateway_faults) == (0, 0)).count();
    assert!(untouched > EACH / 2, "{what}: only {untouched} invoices wait without an attempt");
    assert_eq!(told(world, "gateway.circuit_opened").await - told_before, 2, "{what}: told once for each gateway");

    sandbox.clear_faults();
    if fault.is_none() {
        way.mend().await;
    }
    world.advance(&format!("2026-{month:02}-12T00:00:00Z")).await;
    assert_eq!(world.prove().await, 2 * EACH * month, "{what}: each was charged once");
    for invoice in world.invoices().await {
        assert_eq!((invoice.status, invoice.dunning_step), (InvoiceStatus::Paid, 0), "{what}: {invoice:?}");
    }
    for told_to_customers in ["payment.declined", "subscription.past_due", "invoice.uncollectible", "payment.parked"] {
        assert_eq!(told(world, told_to_customers).await, 0, "{what}: {told_to_customers}");
    }
    assert_eq!(told(world, "gateway.circuit_closed").await, told(world, "gateway.circuit_opened").await, "{what}");
}

on_both! {
    async fn four_hours_without_a_gateway_spend_no_step_and_tell_no_customer(world: World) {
        let mut world = world;
        let mut way = crowded(&mut world).await;
        let outages = [None, Some("503"), Some("delay:400"), Some("429")];
        for (month, fault) in (1..).zip(outages) {
            outage(&world, &mut way, month, fault).await;
        }
    }

    /// A stated limit: what is unknown must be known before a test clock moves on.
    async fn a_test_clock_stands_still_while_nobody_can_say_what_became_of_its_payments(world: World) {
        let mut world = world;
        let _way = crowded(&mut world).await;
        let sandbox = world.sandbox.sandbox().clone();
        for operation in ["charge", "authorize"] {
            sandbox.add_fault(rule("drop_after", operation));
        }
        sandbox.add_fault(rule("503", "lookup"));
        world.set_out("2026-01-11T00:00:00Z").await;
        let app = world.app.clone();
        let journey = tokio::spawn(async move {
            for clock in rebilld::billing::test_clocks::advance::claim(&app).await.expect("claimed") {
                jobs::advance::advance(&app, clock).await.expect("advanced");
            }
        });
        // Far more than all patience: by default ten silent lookups park a payment.
        while sandbox.struck() < 1000 {
            assert!(!journey.is_finished(), "the clock ran away from payments that nobody knows the outcome of");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let clock = store::clocks::get(&world.app.db, world.clock).await.expect("read").expect("clock");
        assert_eq!(clock.now_at, at("2026-01-10T06:00:00Z"));
        assert!(world.payments().await.iter().all(|payment| payment.status != PaymentStatus::Parked));
        sandbox.clear_faults();
        journey.await.expect("arrived");
        assert_eq!(world.prove().await, 2 * EACH);
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
    }
}
