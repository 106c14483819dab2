//! One life of a daemon: all its tasks stop for ever at the point where it is killed, or stand still together while it is frozen.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use chrono::TimeDelta;
use parking_lot::{Mutex, MutexGuard};
use rebilld::clock::Clock;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

use super::world::World;

/// What awaits a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it goes on any more.
    Killed,
    /// Nothing of it goes on for so long: a stopped process, a machine that was moved.
    Frozen(Duration),
}

/// Where it awaits a life: so many points of all its tasks from now, or so many beginnings and ends of calls alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Points(u64),
    Calls(u64),
}

#[derive(Default)]
struct State {
    fate: Option<(Place, Fate)>,
    killed: bool,
    frozen_until: Option<Instant>,
    in_transaction: bool,
}

pub struct Life {
    pub name: String,
    pub world: Arc<World>,
    /// Its own, which may be a little fast or slow.
    pub clock: Clock,
    skew_ms: AtomicI64,
    state: Mutex<State>,
}

impl Life {
    pub fn new(name: impl Into<String>, world: Arc<World>, skew: TimeDelta) -> Arc<Self> {
        let clock = Clock::manual(world.now() + skew);
        let skew_ms = AtomicI64::new(skew.num_milliseconds());
        Arc::new(Self { name: name.into(), world, clock, skew_ms, state: Mutex::default() })
    }

    /// Its clock goes on. One that is set back goes back.
    fn tick(&self) {
        if let Clock::Manual(micros) = &self.clock {
            let skew = TimeDelta::milliseconds(self.skew_ms.load(Ordering::SeqCst));
            micros.store((self.world.now() + skew).timestamp_micros(), Ordering::SeqCst);
        }
    }

    /// Somebody sets its clock, forward or back.
    pub fn set_clock(&self, skew_ms: i64) {
        self.world.tell(&self.name, &format!("its clock is set to {skew_ms} ms off"));
        self.skew_ms.store(skew_ms, Ordering::SeqCst);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub fn await_fate(&self, place: Place, fate: Fate) {
        self.state().fate = Some((place, fate));
    }

    pub fn forgive(&self) {
        self.state().fate = None;
    }

    pub fn is_killed(&self) -> bool {
        self.state().killed
    }

    pub fn is_frozen(&self) -> bool {
        self.state().frozen_until.is_some_and(|until| until > Instant::now())
    }

    pub fn in_transaction(&self, is: bool) {
        self.state().in_transaction = is;
    }

    /// A point at which it may be killed or frozen.
    pub async fn point(&self, what: &str) {
        self.pass(what, false).await;
    }

    /// One before or after a call to a gateway.
    pub async fn call(&self, what: &str) {
        self.pass(what, true).await;
    }

    async fn pass(&self, what: &str, call: bool) {
        self.world.tell(&self.name, what);
        let frozen = {
            let mut state = self.state();
            let reached = match &mut state.fate {
                Some((Place::Points(left), _)) => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                Some((Place::Calls(left), _)) if call => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                _ => false,
            };
            match state.fate {
                Some((_, Fate::Killed)) if reached => {
                    state.killed = true;
                    None
                }
                // A database takes its locks away from a client that is silent amid a transaction; that is an error, not this.
                Some((_, Fate::Frozen(time))) if reached && !state.in_transaction => {
                    state.fate = None;
                    state.frozen_until = Some(Instant::now() + time);
                    Some(Some(time))
                }
                _ => Some(None),
            }
        };
        match frozen {
            Some(None) => {}
            Some(Some(time)) => {
                self.world.tell(&self.name, &format!("frozen for {} s", time.as_secs()));
                // The task is left alone until then anyway.
                tokio::task::yield_now().await;
            }
            None => {
                self.world.tell(&self.name, "killed");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A task of a life.
pub struct Task<T> {
    life: Arc<Life>,
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    thaw: Option<Pin<Box<Sleep>>>,
    database: Handle,
}

impl<T> Task<T> {
    pub fn new(life: &Arc<Life>, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { life: life.clone(), work: Some(Box::pin(work)), thaw: None, database: life.world.database.clone() }
    }
}

impl<T> Future for Task<T> {
    /// None: its life ended first.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        loop {
            if self.life.is_killed() {
                let _inside = self.database.clone().enter();
                self.work = None;
                return Poll::Ready(None);
            }
            let until = self.life.state().frozen_until;
            if let Some(until) = until.filter(|until| *until > Instant::now()) {
                let thaw = self.thaw.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if thaw.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            self.thaw = None;
            self.life.tick();
            let Some(work) = self.work.as_mut() else { return Poll::Ready(None) };
            match work.as_mut().poll(context) {
                Poll::Ready(done) => return Poll::Ready(Some(done)),
                // It may have ended amid this very poll.
                Poll::Pending if self.life.is_killed() || self.life.is_frozen() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        // What is left of a transaction goes back to the database's own threads.
        let _inside = self.database.enter();
        self.work = None;
    }
}
