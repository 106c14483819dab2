//! What all lives of one run share: time, chance, the gateways, the weather between, and the record of it all.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};
use rebilld::{
    sandbox::{self, Options, Sandbox},
    store::Db,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    dice::Dice,
    faults::{Call, Fault, Weather},
    trace::Trace,
    watch::databases,
    wire::Asked,
};

/// How long a search may not know of what has happened.
const INDEX_LAG: Duration = Duration::from_secs(8);

struct State {
    dice: Dice,
    trace: Trace,
    weather: Weather,
    /// Whether the database fails now and then, and work takes its time.
    rough: bool,
    /// When a reference last reached its gateway.
    arrived: BTreeMap<String, Instant>,
    /// Declines that an issuer gave, by reference.
    declined: BTreeMap<String, u32>,
    /// What something in between has sent twice, and how often.
    doubled: BTreeMap<String, usize>,
    /// What was called and never heard of again by who called it.
    unheard: BTreeMap<String, usize>,
    broken: Vec<String>,
    panicked: Vec<String>,
}

pub struct World {
    pub database: Handle,
    pub sandbox: Arc<Sandbox>,
    pub router: Router,
    /// Read by whoever checks, unseen by any life.
    pub books: Db,
    started: Instant,
    base: DateTime<Utc>,
    state: Mutex<State>,
}

impl World {
    pub fn new(seed: u64, told: bool, books: Db) -> Arc<Self> {
        let (started, base) = (Instant::now(), "2026-01-05T00:00:00Z".parse().expect("an instant"));
        let now = move || at(started, base);
        let sandbox = Sandbox::new(Arc::new(now), Options::default());
        let state = State {
            dice: Dice::new(seed),
            trace: Trace::new(told),
            weather: Weather::Calm,
            rough: false,
            arrived: BTreeMap::new(),
            declined: BTreeMap::new(),
            doubled: BTreeMap::new(),
            unheard: BTreeMap::new(),
            broken: Vec::new(),
            panicked: Vec::new(),
        };
        let router = sandbox::router(sandbox.clone());
        Arc::new(Self { database: databases().clone(), books, router, sandbox, started, base, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub fn now(&self) -> DateTime<Utc> {
        at(self.started, self.base)
    }

    pub fn dice<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.state().dice)
    }

    pub fn tell(&self, who: &str, what: &str) {
        self.state().trace.add(self.started.elapsed(), who, what);
    }

    pub fn weather(&self, weather: Weather, rough: bool) {
        let mut state = self.state();
        (state.weather, state.rough) = (weather, rough);
    }

    /// A promise that was seen broken.
    pub fn broken(&self, promise: String) {
        self.state().broken.push(promise);
    }

    /// A task that ended in a panic is a fault, and not one of a promise.
    pub fn panicked(&self, words: String) {
        self.state().panicked.push(words);
    }

    pub fn take_panicked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().panicked)
    }

    pub fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.state().broken)
    }

    pub fn with_trace<T>(&self, read: impl FnOnce(&Trace) -> T) -> T {
        read(&self.state().trace)
    }

    /// Now and then work takes a little longer, so that others come in between.
    pub async fn dawdle(&self) {
        let time = {
            let mut state = self.state();
            let slow = state.rough && state.dice.chance(150);
            slow.then(|| state.dice.millis(1, 400))
        };
        if let Some(time) = time {
            sleep(time).await;
        }
    }

    pub fn database_fails(&self, who: &str, per_mille: u32) -> bool {
        let fails = {
            let mut state = self.state();
            state.rough && state.dice.chance(per_mille)
        };
        if fails {
            self.tell(who, "the database fails");
        }
        fails
    }

    pub fn fault_for(&self, asked: &Asked) -> Option<Fault> {
        let mut state = self.state();
        let weather = state.weather;
        weather.strike(asked.call, &mut state.dice)
    }

    /// What is charged must have been written down before, for all to see.
    pub async fn about_to_call(&self, asked: &Asked) {
        let Some(reference) = asked.reference.clone().filter(|_| asked.call.asks_card()) else { return };
        let known: Vec<(String,)> = self
            .books
            .query("select status from payments where reference = $1 union all select status from authorizations where reference = $1")
            .bind(reference.clone())
            .all()
            .await
            .expect("read");
        if known.is_empty() {
            self.broken(format!("charge {reference} is called and nobody has recorded it"));
        }
    }

    pub fn arrives(&self, asked: &Asked) {
        self.tell("gateway", &format!("{:?} {} arrives", asked.call, asked.reference.as_deref().unwrap_or_default()));
        if let Some(reference) = asked.reference.clone().filter(|_| asked.call != Call::Search) {
            self.state().arrived.insert(reference, Instant::now());
        }
    }

    /// Whether a search may not know of it yet.
    pub fn is_fresh(&self, reference: &str) -> bool {
        self.state().arrived.get(reference).is_some_and(|at| at.elapsed() < INDEX_LAG)
    }

    /// An issuer says no to this.
    pub fn declines(&self, asked: &Asked, code: u16) {
        let gateways_fault =
            if asked.paylike { matches!(code, 5 | 13..=24 | 26..=28) } else { matches!(code, 301 | 400 | 410 | 421 | 430 | 440) };
        if let Some(reference) = asked.reference.clone().filter(|_| !gateways_fault) {
            *self.state().declined.entry(reference).or_default() += 1;
        }
    }

    /// Something in between sends this twice, of which nobody who sent it once can know.
    pub fn doubles(&self, asked: &Asked) {
        if let Some(reference) = asked.reference.clone() {
            *self.state().doubled.entry(reference).or_default() += 1;
        }
    }

    /// Who calls waits for the answer, if they live.
    pub fn calls(&self, asked: &Asked) {
        if let Some(reference) = asked.reference.clone().filter(|_| asked.call.asks_card()) {
            *self.state().unheard.entry(reference).or_default() += 1;
        }
    }

    pub fn hears(&self, asked: &Asked) {
        if let Some(reference) = asked.reference.as_ref().filter(|_| asked.call.asks_card())
            && let Some(count) = self.state().unheard.get_mut(reference)
        {
            *count -= 1;
        }
    }

    /// Whether a call arrived after this instant that nobody lived to hear the answer of.
    pub fn arrived_unheard(&self, reference: &str, after: DateTime<Utc>) -> bool {
        let state = self.state();
        let late = state
            .arrived
            .get(reference)
            .is_some_and(|at| self.base + TimeDelta::from_std(*at - self.started).unwrap_or_default() > after);
        late && state.unheard.get(reference).is_some_and(|&count| count > 0)
    }

    pub fn doubled(&self, reference: &str) -> usize {
        self.state().doubled.get(reference).copied().unwrap_or(0)
    }

    pub fn declined(&self, reference: &str) -> u32 {
        self.state().declined.get(reference).copied().unwrap_or(0)
    }
}

fn at(started: Instant, base: DateTime<Utc>) -> DateTime<Utc> {
    base + TimeDelta::from_std(started.elapsed()).unwrap_or_default()
}
