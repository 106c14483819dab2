//! What every kind of operation has in common: leases and claims are kept while a call waits for its gateway's permit, and an answer
//! that the database does not take at once is settled all the same.

use std::{
    any::Any,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    billing::{
        App, authorizations, collection::run, payment_requests, payments::look_up::look_up_payments, refunds,
        subscriptions::open_due::open_due,
    },
    domain::{
        authorization::Authorization, clock::Timeline, event::Actor, id::InvoiceId, payment::Payment,
        payment_request::PaymentRequest, refund::Refund, subscription::Subscription,
    },
    gateway::Configured,
    store::{
        self,
        db::{DbObserver, DbOperation},
    },
};
use serde_json::json;
use tokio::sync::SemaphorePermit;

use super::crash_points::{Call, Fate, Fuse, Moment, Point, fused};
use crate::world::*;

const NOW: &str = "2026-01-01T06:00:00Z";
const AHEAD: &str = "2026-01-08T00:00:00Z";
const LEASE: Duration = Duration::from_millis(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Payment,
    Authorization,
    Refund,
    Request,
}

const KINDS: [Kind; 4] = [Kind::Payment, Kind::Authorization, Kind::Refund, Kind::Request];

/// An operation that is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    kind: Kind,
    timeline: Timeline,
    invoice: Option<InvoiceId>,
}

/// How the newest operation of a kind stands.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Row {
    status: String,
    lease_owner: Option<String>,
    /// The end of the lease of a call; of a request, the end of its claim.
    ends_at: Option<DateTime<Utc>>,
}

impl Kind {
    fn call(self) -> Call {
        match self {
            Self::Payment => Call::Charge,
            Self::Authorization => Call::Authorize,
            Self::Refund => Call::GiveBack,
            Self::Request => Call::Ask,
        }
    }

    fn lookup(self) -> Call {
        match self {
            Self::Payment | Self::Authorization => Call::LookUp,
            Self::Refund => Call::LookUpReturn,
            Self::Request => Call::Poll,
        }
    }

    fn gateway(self) -> &'static str {
        if self == Self::Request { "paysley" } else { "fluid" }
    }

    async fn row(self, world: &World) -> Row {
        let sql = match self {
            Self::Payment => "select status, lease_owner, lease_expires_at as ends_at from payments order by id desc limit 1",
            Self::Authorization => {
                "select status, lease_owner, lease_expires_at as ends_at from authorizations order by id desc limit 1"
            }
            Self::Refund => "select status, lease_owner, lease_expires_at as ends_at from refunds order by id desc limit 1",
            Self::Request => {
                "select status, lease_owner, next_check_at as ends_at from payment_requests order by id desc limit 1"
            }
        };
        let row: Option<Row> = world.app.db.query(sql).optional().await.expect("read");
        row.unwrap_or(Row { status: String::new(), lease_owner: None, ends_at: None })
    }

    /// Another daemon takes the operation over, as it does when the lease has ended. A row that its holder renews just now is skipped,
    /// so the other daemon tries again.
    async fn is_taken_over(self, world: &World) {
        let begun = Instant::now();
        while !self.takes_over(world).await {
            assert!(begun.elapsed() < Duration::from_secs(20), "{self:?} is never taken over");
        }
    }

    async fn takes_over(self, world: &World) -> bool {
        let later = world.app.clock.now() + TimeDelta::hours(1);
        let mut tx = world.app.db.begin().await.expect("tx");
        let taken = match self {
            Self::Payment => store::leases::expire::<Payment>(&mut tx, later, None).await.expect("expired"),
            Self::Authorization => store::leases::expire::<Authorization>(&mut tx, later, None).await.expect("expired"),
            Self::Refund => store::leases::expire::<Refund>(&mut tx, later, None).await.expect("expired"),
            Self::Request => {
                let claimed = store::leases::claim_lookups::<PaymentRequest>(&mut tx, "other", None, later, later, 9).await;
                claimed.expect("claimed").len() as u64
            }
        };
        tx.commit().await.expect("commit");
        taken == 1
    }
}

/// On a clock of its own.
async fn due(world: &mut World, kind: Kind) -> Due {
    world.another_clock().await;
    let timeline = Timeline::Test(world.clock);
    let customer = world.customer("UTC").await;
    world.method(customer, false, &world.token()).await;
    if kind == Kind::Authorization {
        world.set_clock(AHEAD).await;
        let subscription = world.monthly(customer, "2026-01-10").await;
        world.add(Subscription { authorize_days_before: Some(3), ..subscription }).await;
        return Due { kind, timeline, invoice: None };
    }
    world.add(world.monthly(customer, "2026-01-01").await).await;
    open_due(&world.app, timeline, at(NOW)).await.expect("opened");
    let invoice = world.invoices().await.into_iter().find(|invoice| invoice.customer_id == customer).expect("billed").id;
    if kind == Kind::Refund {
        run::collect_due(&world.app, timeline, at(NOW)).await.expect("collected");
        world.sandbox.sandbox().settle();
    }
    if kind == Kind::Request {
        let gateway = Some(kind.gateway().to_owned());
        payment_requests::request(&world.app, &Actor::System, invoice, gateway, None).await.expect("recorded");
    }
    Due { kind, timeline, invoice: Some(invoice) }
}

/// Records the operation and makes its call.
async fn act(app: Arc<App>, due: Due) {
    match (due.kind, due.invoice) {
        (Kind::Payment, _) => drop(run::collect_due(&app, due.timeline, at(NOW)).await.expect("collected")),
        (Kind::Authorization, _) => {
            authorizations::authorize_due(&app, due.timeline, at(AHEAD)).await.expect("authorized");
        }
        (Kind::Refund, invoice) => {
            let invoice = invoice.expect("an invoice");
            refunds::refund(&app, &Actor::System, invoice, None, "unhappy").await.expect("given back");
        }
        (Kind::Request, _) => drop(payment_requests::work(&app, None).await.expect("asked")),
    }
}

async fn look(app: Arc<App>, kind: Kind) -> usize {
    let looked = match kind {
        Kind::Payment => look_up_payments(&app, None).await,
        Kind::Authorization => authorizations::look_up(&app, None).await,
        Kind::Refund => refunds::look_up::look_up_refunds(&app).await,
        Kind::Request => payment_requests::work(&app, None).await,
    };
    looked.expect("looked up")
}

/// A daemon with a short lease, whose gateways stop at a point.
fn hasty(world: &World, name: &str, point: Option<Point>) -> (Arc<App>, Arc<Fuse>) {
    let mut config = world.app.config.clone();
    config.collection.lease = TimeDelta::from_std(LEASE).expect("short");
    fused(world, config, name, point, Fate::Wait)
}

fn gateway(app: &App, kind: Kind) -> Arc<Configured> {
    app.gateways.get(kind.gateway()).expect("configured").clone()
}

async fn all_permits(gateway: &Configured) -> SemaphorePermit<'_> {
    let all = gateway.permits.available_permits();
    gateway.permits.acquire_many(u32::try_from(all).expect("few")).await.expect("open")
}

async fn until(world: &World, kind: Kind, what: &str, holds: impl Fn(&Row) -> bool) -> Row {
    let begun = Instant::now();
    loop {
        let row = kind.row(world).await;
        if holds(&row) {
            return row;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{kind:?} is never {what}: {row:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn is_blown(fuse: &Fuse) -> bool {
    tokio::time::timeout(Duration::from_millis(1), fuse.blown()).await.is_ok()
}

/// Refuses so many transactions, once told to.
#[derive(Default)]
struct Obstacle(AtomicU32);

type Wait<'a> = Pin<Box<dyn Future<Output = store::Result<()>> + Send + 'a>>;

impl DbObserver for Obstacle {
    fn before<'a>(&'a self, operation: DbOperation<'a>) -> Wait<'a> {
        let stands = operation == DbOperation::Begin
            && self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let refused = || Err(store::Error::Database("in the way: this error is part of the test".into()));
        Box::pin(std::future::ready(if stands { refused() } else { Ok(()) }))
    }

    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
    }

    fn after<'a>(&'a self, _: DbOperation<'a>) -> Wait<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn transaction(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(())
    }

    fn leaving(&self) {}

    fn left(&self) {}
}

on_both! {
    async fn a_lease_is_renewed_before_a_call_that_waited_for_long(world: World) {
        let mut world = world;
        for kind in KINDS {
            let due = due(&mut world, kind).await;
            let (app, fuse) = hasty(&world, "patient", Some(Point(Moment::Before, kind.call())));
            let gateway = gateway(&app, kind);
            let permits = all_permits(&gateway).await;
            let task = tokio::spawn(act(app, due));
            let leased = until(&world, kind, "leased", |row| row.lease_owner.as_deref() == Some("patient")).await;
            tokio::time::sleep(LEASE * 2 / 3).await;
            assert!(!is_blown(&fuse).await, "{kind:?} did not wait for its permit");
            drop(permits);
            fuse.blown().await;
            let renewed = kind.row(&world).await;
            assert_eq!((&renewed.status, renewed.ends_at > leased.ends_at), (&leased.status, true), "{kind:?}: {leased:?} {renewed:?}");
            assert!(renewed.ends_at > Some(world.app.clock.now() + LEASE / 2), "{kind:?}: {renewed:?}");
            fuse.go_on();
            task.await.expect("alive");
        }
    }

    async fn what_another_daemon_has_taken_over_is_not_sent(world: World) {
        let mut world = world;
        for kind in KINDS {
            let due = due(&mut world, kind).await;
            let (app, fuse) = hasty(&world, "stale", Some(Point(Moment::Before, kind.call())));
            let gateway = gateway(&app, kind);
            let permits = all_permits(&gateway).await;
            let task = tokio::spawn(act(app, due));
            until(&world, kind, "leased", |row| row.lease_owner.as_deref() == Some("stale")).await;
            tokio::time::sleep(LEASE * 2 / 3).await;
            kind.is_taken_over(&world).await;
            drop(permits);
            let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
            assert!(ended.is_ok() && !is_blown(&fuse).await, "{kind:?} was sent all the same");
        }
    }

    async fn lookups_wait_for_a_permit_and_are_kept_meanwhile(world: World) {
        let mut world = world;
        for kind in KINDS {
            let due = due(&mut world, kind).await;
            if kind != Kind::Request {
                let operation = match kind {
                    Kind::Payment => "charge",
                    Kind::Authorization => "authorize",
                    _ => "refund",
                };
                let rule = json!({ "match": { "operation": operation }, "fault": "drop_before" });
                world.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
            }
            act(world.app.clone(), due).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let (app, fuse) = hasty(&world, "patient", Some(Point(Moment::Before, kind.lookup())));
            let (other, _) = hasty(&world, "other", None);
            let gateway = gateway(&app, kind);
            let permits = all_permits(&gateway).await;
            let task = tokio::spawn(look(app, kind));
            until(&world, kind, "claimed", |row| row.lease_owner.as_deref() == Some("patient")).await;
            let begun = Instant::now();
            while begun.elapsed() < 2 * LEASE {
                assert_eq!(look(other.clone(), kind).await, 0, "{kind:?}: two daemons look up one operation in turns");
                tokio::time::sleep(LEASE / 10).await;
            }
            assert!(!is_blown(&fuse).await, "{kind:?} did not wait for its permit");
            drop(permits);
            fuse.blown().await;
            fuse.go_on();
            assert_eq!(task.await.expect("alive"), 1, "{kind:?}");
        }
    }

    async fn an_answer_is_settled_again_while_the_database_is_in_the_way(world: World) {
        let mut world = world;
        for (kind, status) in KINDS.into_iter().zip(["succeeded", "authorized", "succeeded", "sent"]) {
            let due = due(&mut world, kind).await;
            let (mut app, fuse) = fused(&world, world.app.config.clone(), "test", Some(Point(Moment::After, kind.call())), Fate::Wait);
            let obstacle = Arc::new(Obstacle::default());
            Arc::get_mut(&mut app).expect("not shared").db = world.app.db.observed_by(obstacle.clone());
            let task = tokio::spawn(act(app, due));
            fuse.blown().await;
            obstacle.0.store(3, Ordering::SeqCst);
            fuse.go_on();
            task.await.expect("alive");
            assert_eq!((kind.row(&world).await.status, obstacle.0.load(Ordering::SeqCst)), (status.to_owned(), 0), "{kind:?}");
        }
    }
}
