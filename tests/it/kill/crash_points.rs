//! Every await of collection as a place to die: a daemon ends before or after a gateway call, the next one too, the third heals.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rebilld::{
    billing::{
        App, collection::run, gateway_operations::recover, payments::look_up::look_up_payments, subscriptions::open_due::open_due,
    },
    clock::Clock,
    config::Config,
    domain::{clock::Timeline, payment::Outcome},
    gateway::{
        Capabilities, Charge, Configured, Disputed, Found, Gateway, Gateways, Return, ReturnFound, ReturnOutcome, Sent,
        requests::{Ask, Asked, Outstanding, Polled, Requests, Withdrawn},
    },
    store,
};
use tokio::sync::{Notify, Semaphore};

use crate::world::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Authorize,
    Charge,
    Capture,
    LookUp,
    GiveBack,
    LookUpReturn,
    Disputed,
    /// Of payment requests.
    Ask,
    Poll,
    Withdraw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has left the house.
    Before,
    /// It has happened, and nobody was told.
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point(pub Moment, pub Call);

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stands still until [`Fuse::go_on`], if that ever comes.
    Wait,
    Panic,
}

/// Blows once, at its point.
pub struct Fuse {
    point: Option<Point>,
    fate: Fate,
    spent: AtomicBool,
    blown: Notify,
    onward: Notify,
}

impl Fuse {
    async fn pass(&self, moment: Moment, call: Call) {
        if self.point == Some(Point(moment, call)) && !self.spent.swap(true, Ordering::SeqCst) {
            assert!(self.fate != Fate::Panic, "a fuse blows {moment:?} {call:?}: this panic is part of the test");
            self.blown.notify_one();
            self.onward.notified().await;
        }
    }

    pub async fn blown(&self) {
        self.blown.notified().await;
    }

    pub fn go_on(&self) {
        self.onward.notify_one();
    }

    async fn around<T>(&self, call: Call, work: impl Future<Output = T>) -> T {
        self.pass(Moment::Before, call).await;
        let answer = work.await;
        self.pass(Moment::After, call).await;
        answer
    }
}

struct Fused {
    inner: Arc<dyn Gateway>,
    fuse: Arc<Fuse>,
}

#[async_trait]
impl Gateway for Fused {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn charge(&self, charge: &Charge) -> Outcome {
        self.fuse.around(Call::Charge, self.inner.charge(charge)).await
    }

    async fn authorize(&self, charge: &Charge) -> Outcome {
        self.fuse.around(Call::Authorize, self.inner.authorize(charge)).await
    }

    async fn capture(&self, transaction_id: &str, charge: &Charge) -> Outcome {
        self.fuse.around(Call::Capture, self.inner.capture(transaction_id, charge)).await
    }

    async fn look_up(&self, sent: &Sent) -> Found {
        self.fuse.around(Call::LookUp, self.inner.look_up(sent)).await
    }

    async fn void(&self, transaction_id: &str, charge: &Charge) -> ReturnOutcome {
        self.inner.void(transaction_id, charge).await
    }

    async fn give_back(&self, order: &Return) -> ReturnOutcome {
        self.fuse.around(Call::GiveBack, self.inner.give_back(order)).await
    }

    async fn look_up_return(&self, order: &Return) -> ReturnFound {
        self.fuse.around(Call::LookUpReturn, self.inner.look_up_return(order)).await
    }

    async fn disputed(&self, transaction_id: &str, request_id: Option<&str>) -> Result<Option<Disputed>, String> {
        self.fuse.around(Call::Disputed, self.inner.disputed(transaction_id, request_id)).await
    }

    fn requests(&self) -> Option<&dyn Requests> {
        self.inner.requests().map(|_| self as &dyn Requests)
    }
}

impl Fused {
    fn asks(&self) -> &dyn Requests {
        self.inner.requests().expect("a gateway that asks")
    }
}

#[async_trait]
impl Requests for Fused {
    fn sends(&self) -> bool {
        self.asks().sends()
    }

    async fn ask(&self, ask: &Ask) -> Asked {
        self.fuse.around(Call::Ask, self.asks().ask(ask)).await
    }

    async fn remind(&self, request_id: Option<&str>, ask: &Ask) -> Asked {
        self.asks().remind(request_id, ask).await
    }

    async fn poll(&self, outstanding: &Outstanding) -> Polled {
        self.fuse.around(Call::Poll, self.asks().poll(outstanding)).await
    }

    async fn withdraw(&self, request_id: &str) -> Withdrawn {
        self.fuse.around(Call::Withdraw, self.asks().withdraw(request_id)).await
    }
}

/// A daemon of this process on the world's database, with one fuse in all its gateways.
pub fn fused(world: &World, config: Config, name: &str, point: Option<Point>, fate: Fate) -> (Arc<App>, Arc<Fuse>) {
    let fuse = Arc::new(Fuse { point, fate, spent: AtomicBool::new(false), blown: Notify::new(), onward: Notify::new() });
    let mut gateways = Gateways::connect(&config.gateways).expect("gateways");
    let names: Vec<String> = gateways.names().map(str::to_owned).collect();
    for name in names {
        let inner = gateways.get(&name).expect("configured").adapter.clone();
        let adapter = Arc::new(Fused { inner, fuse: fuse.clone() });
        gateways.insert(Configured { name, live: false, permits: Semaphore::new(8), adapter });
    }
    let mut app = App::new(world.app.db.clone(), Clock::System, config, gateways, rand::random());
    name.clone_into(&mut app.instance);
    (Arc::new(app), fuse)
}

/// One life, to its work's end or to the point where it dies; whether it died.
async fn live(world: &World, point: Option<Point>) -> bool {
    let (app, fuse) = fused(world, world.app.config.clone(), "mayfly", point, Fate::Wait);
    let timeline = Timeline::Test(world.clock);
    let now = at("2026-01-01T06:00:00Z");
    while recover::recover(&app, true).await.expect("recovered") > 0 {}
    let work = async {
        open_due(&app, timeline, now).await.expect("opened");
        run::collect_due(&app, timeline, now).await.expect("collected");
        while store::payments::undecided(&app.db, timeline).await.expect("counted") > 0 {
            if look_up_payments(&app, None).await.expect("looked up") == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    tokio::select! {
        () = work => false,
        // What was under way is dropped where it stood, as a kill does.
        () = fuse.blown() => true,
    }
}

on_both! {
    async fn two_lives_end_at_any_two_points_and_the_third_finishes(world: World) {
        let calls = [Call::Charge, Call::Capture, Call::LookUp];
        let points: Vec<Point> = calls.into_iter().flat_map(|call| [Point(Moment::Before, call), Point(Moment::After, call)]).collect();
        let mut deaths = 0;
        let mut charges = 0;
        for paylike in [false, true] {
            for &first in &points {
                for &second in &points {
                    let customer = world.customer("UTC").await;
                    let token = if paylike { world.prior() } else { world.token() };
                    world.method(customer, paylike, &token).await;
                    let mut sub = world.monthly(customer, "2026-01-01").await;
                    sub.duration = 1;
                    world.add(sub).await;
                    deaths += usize::from(live(&world, Some(first)).await) + usize::from(live(&world, Some(second)).await);
                    assert!(!live(&world, None).await);
                    charges += 1;
                    assert_eq!(world.prove().await, charges, "died at {first:?} and {second:?}, Paylike: {paylike}");
                }
            }
        }
        assert!(deaths > 50, "only {deaths} lives ended early");
    }
}
