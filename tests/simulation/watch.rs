//! The watcher of the database: each statement and commit is a point to die at, comes to its end at once, and may fail.
//!
//! SQLite works on a thread of its own. Waiting for it here, without letting anything else go on, is what makes the order of
//! events depend on nothing but the seed.

use std::{
    any::Any,
    cell::RefCell,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use parking_lot::{Mutex, MutexGuard};
use rebilld::store::{
    self,
    db::{DbObserver, DbOperation},
};
use tokio::{
    runtime::{EnterGuard, Handle, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::life::Life;

/// The threads that belong to the databases. Time is real there.
pub fn databases() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().build().expect("threads for databases")
        })
        .handle()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until it is done, whatever runs around it.
pub fn finish(mut work: Pin<&mut (dyn Future<Output = ()> + Send)>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let _inside = databases().enter();
    // Otherwise tokio would stop it after a while to let others go on, and nobody can.
    let mut work = std::pin::pin!(tokio::task::unconstrained(work.as_mut()));
    while work.as_mut().poll(&mut context) == Poll::Pending {
        thread::park();
    }
}

type Wait<'a> = Pin<Box<dyn Future<Output = store::Result<()>> + Send + 'a>>;

/// Watches one life's database.
pub struct Watch {
    life: Arc<Life>,
    /// Writers take turns, also those of another life.
    turn: Arc<Semaphore>,
    mine: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Watch {
    pub fn new(life: Arc<Life>, turn: Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self { life, turn, mine: Mutex::new(None) })
    }

    fn mine(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.mine.lock()
    }
}

impl DbObserver for Watch {
    fn before<'a>(&'a self, operation: DbOperation<'a>) -> Wait<'a> {
        Box::pin(async move {
            let world = &self.life.world;
            match operation {
                DbOperation::Begin => {
                    world.dawdle().await;
                    let turn = self.turn.clone().acquire_owned().await.expect("never closed");
                    self.life.point("begin").await;
                    if world.database_fails(&self.life.name, 2) {
                        return Err(store::Error::Busy);
                    }
                    *self.mine() = Some(turn);
                }
                DbOperation::Statement { sql, in_transaction } => {
                    if !in_transaction {
                        world.dawdle().await;
                    }
                    self.life.point(sql).await;
                    if world.database_fails(&self.life.name, 1) {
                        return Err(store::Error::Busy);
                    }
                }
                DbOperation::Commit => {
                    self.life.point("commit").await;
                    if world.database_fails(&self.life.name, 5) {
                        return Err(store::Error::Unreachable("the line was lost before the commit".to_owned()));
                    }
                }
            }
            Ok(())
        })
    }

    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        finish(work);
    }

    fn after<'a>(&'a self, operation: DbOperation<'a>) -> Wait<'a> {
        Box::pin(async move {
            match operation {
                DbOperation::Begin => *self.mine() = None,
                DbOperation::Statement { .. } => self.life.point("answered").await,
                DbOperation::Commit => {
                    self.life.point("committed").await;
                    if self.life.world.database_fails(&self.life.name, 5) {
                        return Err(store::Error::Unreachable("the line was lost after the commit".to_owned()));
                    }
                }
            }
            Ok(())
        })
    }

    fn transaction(&self) -> Box<dyn Any + Send + Sync> {
        self.life.in_transaction(true);
        Box::new(self.mine().take())
    }

    fn leaving(&self) {
        go_inside();
    }

    fn left(&self) {
        self.life.in_transaction(false);
        come_out();
    }
}

/// From here on this thread's connections go back to the databases' own threads.
pub fn go_inside() {
    INSIDE.with(|inside| inside.borrow_mut().push(databases().enter()));
}

pub fn come_out() {
    let last = INSIDE.with(|inside| inside.borrow_mut().pop());
    drop(last);
}

thread_local! {
    static INSIDE: RefCell<Vec<EnterGuard<'static>>> = const { RefCell::new(Vec::new()) };
}
