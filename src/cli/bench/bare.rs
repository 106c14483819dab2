//! What the machine can do without the daemon: the same calls with nothing around them, and the same rows with commits only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::{
    database::{GATEWAY, gateway},
    figures::per_second,
    population,
    processes::Process,
};
use crate::{
    billing::{
        App,
        bench::{self, BareClient, BenchRows},
    },
    domain::{
        clock::Timeline,
        count,
        event::Event,
        id::{CustomerId, InvoiceId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        subscription::Subscription,
    },
    sandbox::Latency,
    store::{self, Db, page::Cursor},
};

/// Subscriptions per commit.
const BATCH: usize = 500;
/// The most calls or row sets that are measured; a rate does not change after that many.
pub const MOST: u32 = 20_000;

/// Calls per second to a sandbox of their own, with as many in flight as the daemon may have.
pub async fn http_per_s(app: &App, latency: Latency, in_flight: u32, calls: usize) -> anyhow::Result<f64> {
    let sandbox = Process::sandbox(latency, 1).await?;
    let client = BareClient::new(GATEWAY, &gateway(sandbox.url(), in_flight)).map_err(anyhow::Error::msg)?;
    let due = population::Due::before(app.clock.now(), Timeline::Wall, 1)?;
    let mut rows = BenchRows::default();
    population::add(&mut rows, app, &due, 0, 0, 1)?;
    let subscription = rows.subscriptions.first().cloned().context("a subscription")?;
    population::add_cycle(&mut rows, app, &due, &subscription, 0)?;
    let invoice = rows.invoices.first().context("an invoice")?;
    let bodies: Vec<Vec<u8>> =
        (0..calls).map(|_| BareClient::body(&population::paid(app, invoice, due.card(0), due.at))).collect();
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (client, bodies, next) = (client.clone(), bodies.clone(), next.clone());
        callers.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                client.call(body.clone()).await?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done?.map_err(|error| anyhow::anyhow!("a bare call failed: {error}"))?;
    }
    let took = begun.elapsed();
    sandbox.kill().await?;
    Ok(per_second(calls, took))
}

/// What one bill run wrote.
#[derive(Debug, Default)]
pub struct Written {
    pub invoices: Vec<Invoice>,
    pub payments: Vec<Payment>,
    events: Vec<Event>,
}

impl Written {
    /// Everything with an id after the marker, oldest first: at most `most` invoices with their payments and events.
    pub async fn since(db: &Db, marker: &Marker, most: usize) -> anyhow::Result<Self> {
        let invoices: Vec<Invoice> = after(db, marker.invoice.clone(), most).await?;
        let payments = after(db, marker.payment.clone(), most).await?;
        // Three events each: the invoice is opened and paid, the payment succeeds.
        let events = after(db, marker.event.clone(), 3 * most + 100).await?;
        Ok(Self { invoices, payments, events })
    }

    /// Fails if an invoice is not paid.
    pub fn refuse_unpaid(&self) -> anyhow::Result<()> {
        let open = self.invoices.iter().filter(|invoice| invoice.status != InvoiceStatus::Paid).count();
        let failed = self.payments.iter().filter(|payment| payment.status != PaymentStatus::Succeeded).count();
        if open + failed > 0 {
            bail!("{open} invoices are not paid and {failed} payments did not succeed: what was measured is no bill run");
        }
        Ok(())
    }
}

/// Ids from before a bill run.
pub struct Marker {
    invoice: String,
    payment: String,
    event: String,
}

impl Marker {
    pub fn now(app: &App) -> Self {
        use crate::domain::id;
        Self {
            invoice: app.id::<id::Invoice>().to_string(),
            payment: app.id::<id::Payment>().to_string(),
            event: app.id::<id::Event>().to_string(),
        }
    }
}

async fn after<T: Keyed + store::db::Row + store::db::Record>(
    db: &Db,
    mut marker: String,
    most: usize,
) -> anyhow::Result<Vec<T>> {
    let mut all: Vec<T> = Vec::new();
    while all.len() < most {
        let limit = count((most - all.len()).min(2000));
        let request = store::page::Request { filters: vec![], cursor: Cursor::After(marker.clone()), limit };
        let mut page = store::page::list::<T>(db, request).await?;
        page.rows.reverse();
        let Some(last) = page.rows.last() else { break };
        marker = last.key();
        all.append(&mut page.rows);
        if !page.has_more {
            break;
        }
    }
    Ok(all)
}

trait Keyed {
    fn key(&self) -> String;
}

macro_rules! keyed {
    ($($row:ty)+) => {$(
        impl Keyed for $row {
            fn key(&self) -> String {
                self.id.to_string()
            }
        }
    )+};
}
keyed! { Invoice Payment Event }

/// Row sets per second: writes what a bill run wrote once more, for `twins`, in batches of 500. Each row is written once, in its
/// final state; tables, indexes and values are those of the run, only the ids differ.
pub async fn db_per_s(app: &App, written: &Written, twins: &[Subscription]) -> anyhow::Result<f64> {
    let batches = copies(app, written, twins).await?;
    let sets: usize = batches.iter().map(|batch| batch.invoices.len()).sum();
    let mut took = Duration::ZERO;
    for batch in batches {
        let begun = Instant::now();
        bench::write(&app.db, &batch).await?;
        took += begun.elapsed();
    }
    Ok(per_second(sets, took))
}

async fn copies(app: &App, written: &Written, twins: &[Subscription]) -> anyhow::Result<Vec<BenchRows>> {
    let payments: HashMap<InvoiceId, &Payment> = written.payments.iter().map(|payment| (payment.invoice_id, payment)).collect();
    let mut events: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &written.events {
        events.entry(&event.subject).or_default().push(event);
    }
    let mut batches = Vec::new();
    let mut pairs = written.invoices.iter().zip(twins).peekable();
    while pairs.peek().is_some() {
        let mut rows = BenchRows::default();
        for (invoice, twin) in pairs.by_ref().take(BATCH) {
            let payment = payments.get(&invoice.id).context("each invoice has its payment")?;
            let original = invoice.subscription_id.context("each invoice has its subscription")?;
            rows.moved.push(moved(app, original, twin).await?);
            let id: InvoiceId = app.id();
            let (number, customer_id) = (format!("BARE-{}", id.short_reference()), twin.customer_id);
            rows.invoices.push(Invoice { id, number, customer_id, subscription_id: Some(twin.id), ..invoice.clone() });
            let copy = payment_copy(app, payment, id, customer_id);
            for (subject, owner) in [(invoice.id.to_string(), id.to_string()), (payment.id.to_string(), copy.id.to_string())] {
                for event in events.get(subject.as_str()).into_iter().flatten() {
                    rows.events.push(Event { id: app.id(), subject: owner.clone(), ..(*event).clone() });
                }
            }
            rows.payments.push(copy);
        }
        batches.push(rows);
    }
    Ok(batches)
}

/// The twin, advanced to where its original is after the run.
async fn moved(app: &App, original: SubscriptionId, twin: &Subscription) -> anyhow::Result<Subscription> {
    let original = store::subscriptions::get(&app.db, original).await?.context("what was billed is there")?;
    Ok(Subscription { id: twin.id, customer_id: twin.customer_id, ..original })
}

fn payment_copy(app: &App, payment: &Payment, invoice_id: InvoiceId, customer_id: CustomerId) -> Payment {
    let id: crate::domain::id::PaymentId = app.id();
    let (reference, idempotency_key) = (id.short_reference(), id.to_string());
    Payment { id, invoice_id, customer_id, reference, idempotency_key, ..payment.clone() }
}
