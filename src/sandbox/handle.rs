//! The sandbox as tests, the demo and the switches use it: read the ledger, set a switch, play a customer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio_util::task::TaskTracker;

use super::{
    faults::Rule,
    fixtures, fluidpay,
    latency::Latency,
    ledger::{LedgerEntry, Summary},
    paylike,
    paysley::{self, AskedPayment},
    scripts::{Anyone, Script},
    state::State,
};

/// Where the sandbox reads the time. A test clock of the daemon does not move it.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How the sandbox behaves as long as no switch is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How long every gateway call takes, at least.
    pub latency: Latency,
    /// FluidPay settles each transaction as it is made: nothing can be voided, everything can be refunded.
    pub settle_at_once: bool,
    /// Every token counts as known, see [`Anyone`].
    pub anyone: Option<Anyone>,
}

/// The pretend gateways and what they remember.
pub struct Sandbox {
    pub(super) now: Now,
    pub(super) options: Options,
    /// How many calls have been answered or are being answered.
    pub(super) called: AtomicU64,
    /// Calls in flight.
    pub(super) at_once: AtomicUsize,
    /// The most calls that were in flight at one time.
    pub(super) most_at_once: AtomicUsize,
    pub(super) state: Mutex<State>,
    /// The tasks of calls in flight. They finish even if the client disconnects.
    pub(super) calls: TaskTracker,
}

impl Sandbox {
    /// A sandbox with its fixtures in place.
    pub fn new(now: Now, options: Options) -> Arc<Self> {
        let mut state = State::default();
        state.fluidpay.settle_at_once(options.settle_at_once);
        state.scripts.let_in(options.anyone);
        let at = now();
        fluidpay::install(&mut state, at);
        paylike::install(&mut state, at);
        let calls = TaskTracker::new();
        let (called, at_once, most_at_once) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { now, options, called, at_once, most_at_once, state: Mutex::new(state), calls })
    }

    /// Every movement of money so far, in order.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.state().ledger.entries().to_vec()
    }

    /// Disputes this amount of a transaction, in minor units; 0 ends the dispute, and the money comes back. FluidPay can only
    /// dispute the whole amount. False if no transaction of this id has so much that can be disputed.
    pub fn dispute(&self, transaction_id: &str, amount: i64) -> bool {
        let (mut state, now) = (self.state(), (self.now)());
        fluidpay::dispute(&mut state, transaction_id, amount, now)
            || paylike::dispute(&mut state, transaction_id, amount, now)
            || paysley::dispute(&mut state, transaction_id, amount, now)
    }

    /// Authorizations that are neither captured nor voided: reference and amount, oldest first for each gateway.
    pub fn authorized(&self) -> Vec<(String, i64)> {
        let state = self.state();
        let mut authorized = state.fluidpay.authorized();
        authorized.extend(state.paylike.authorized());
        authorized
    }

    /// The ledger in figures.
    pub fn summary(&self) -> Summary {
        self.state().ledger.summary()
    }

    /// Sets a fault switch, as `POST /_sandbox/faults` does.
    pub fn add_fault(&self, rule: Rule) {
        self.state().faults.add(rule);
    }

    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// How often the faults that are set have struck.
    pub fn struck(&self) -> u64 {
        self.state().faults.rules().iter().map(|rule| rule.used).sum()
    }

    /// The most calls that were in flight at one time.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::Relaxed)
    }

    /// Stores `count` FluidPay customers whose card is approved, and returns their ids.
    pub fn fluidpay_tokens(&self, count: usize, prefix: &str) -> Vec<String> {
        fluidpay::make_tokens(&mut self.state(), count, prefix, fixtures::APPROVED_CARD, (self.now)())
    }

    /// Stores `count` earlier Paylike transactions of the fixture merchant that can be charged again, and returns their ids.
    pub fn paylike_tokens(&self, count: usize) -> Vec<String> {
        paylike::make_tokens(&mut self.state(), count, (self.now)())
    }

    /// Sets how a token's next attempts end, as `POST /_sandbox/tokens/{token}/script` does.
    pub fn set_script(&self, token: &str, script: Script) {
        self.state().scripts.set(token.to_owned(), script);
    }

    /// Settles every FluidPay transaction that is pending settlement; returns their number.
    pub fn settle(&self) -> usize {
        self.state().fluidpay.settle((self.now)())
    }

    /// Plays the customer who opens a Paylike payment link, as `POST /_sandbox/paylike/pay` does. Returns the transaction's id.
    pub fn pay_link(&self, link: &str, decline: Option<u16>) -> Result<String, String> {
        paylike::pay(&mut self.state(), link, decline, (self.now)())
    }

    /// What Paysley's customers were asked for, oldest first.
    pub fn asked(&self) -> Vec<AskedPayment> {
        self.state().paysley.asked()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
