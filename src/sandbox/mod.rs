//! The pretend outside world: a real HTTP server with the seed gateways' wire formats, fault switches and its own ledger.
//!
//! FluidPay lives under `/api`, Paysley under `/v2`, Paylike at the root, where Paysley answers too, the switches under `/_sandbox`. Everything is kept in memory. A call
//! travels one way: `call` reads it, `faults` and `chaos` decide what goes wrong, one gateway's module answers under the
//! one lock, `server` writes the answer or cuts the line.

mod admin;
mod body;
mod call;
mod chaos;
mod faults;
mod fixtures;
mod fluidpay;
mod ids;
mod latency;
mod ledger;
mod paylike;
mod paysley;
mod reply;
mod scripts;
mod server;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::Response,
    routing::any,
};
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub use call::SandboxGateway;
pub use faults::{Fault, Rule};
pub use fixtures::{FLUIDPAY_KEY, PAYLIKE_KEY, PAYLIKE_MERCHANT, PAYSLEY_KEY};
pub use latency::Latency;
pub use ledger::{LedgerEntry, Movement, Summary};
pub use paysley::{AskedPayment, Pay};
pub use scripts::{Anyone, Script};
pub use server::{SandboxServer, serve, start};

use call::{CallOperation, IncomingCall, Target};
use chaos::Chaos;
use faults::{Aim, FaultRules};
use ids::Ids;
use ledger::Ledger;
use reply::{CallEnding, Dropped, Reply};
use scripts::Scripts;

/// Where the sandbox gets its time from. It keeps wall time, whatever clock the daemon is on.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How the sandbox behaves when nobody has set a switch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How long every gateway call takes, at least.
    pub latency: Latency,
    /// FluidPay settles each transaction as it is made: nothing can be voided, everything can be refunded.
    pub settle_at_once: bool,
    /// Every token is known.
    pub anyone: Option<Anyone>,
}

/// The pretend gateways and their books.
pub struct Sandbox {
    now: Now,
    options: Options,
    /// How many calls have been answered or are being answered.
    called: AtomicU64,
    /// Calls under way, and the most there have been at a time.
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    state: Mutex<State>,
    /// Calls being processed; they finish even when their client has gone.
    calls: TaskTracker,
}

/// Everything behind the one lock. Whoever holds it decides alone, so no amount can be spent twice.
#[derive(Default)]
struct State {
    ids: Ids,
    ledger: Ledger,
    faults: FaultRules,
    chaos: Option<Chaos>,
    scripts: Scripts,
    fluidpay: fluidpay::FluidpayState,
    paylike: paylike::PaylikeState,
    paysley: paysley::PaysleyState,
}

impl Sandbox {
    /// A sandbox with its fixtures in place.
    pub fn new(now: Now, options: Options) -> Arc<Self> {
        let mut state = State::default();
        state.fluidpay.settle_at_once(options.settle_at_once);
        state.scripts.let_in(options.anyone);
        fixtures::install(&mut state, now());
        let calls = TaskTracker::new();
        let (called, at_once, most_at_once) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { now, options, called, at_once, most_at_once, state: Mutex::new(state), calls })
    }

    /// Every movement of money so far, in order.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.state().ledger.entries().to_vec()
    }

    /// From now on so much of a transaction is disputed, minor units; 0 ends it, and the money is back. FluidPay knows only the whole.
    /// False if there is no such transaction with so much on it.
    pub fn dispute(&self, transaction_id: &str, amount: i64) -> bool {
        let (mut state, now) = (self.state(), (self.now)());
        fluidpay::dispute(&mut state, transaction_id, amount, now)
            || paylike::dispute(&mut state, transaction_id, amount, now)
            || paysley::dispute(&mut state, transaction_id, amount, now)
    }

    /// References and amounts of what is reserved and neither captured nor given free, oldest first.
    pub fn reserved(&self) -> Vec<(String, i64)> {
        let state = self.state();
        let mut reserved = state.fluidpay.reserved();
        reserved.extend(state.paylike.reserved());
        reserved
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

    /// The most calls there have been at a time.
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

    /// Sets what a token's next attempts will get, as `POST /_sandbox/tokens/{token}/script` does.
    pub fn set_script(&self, token: &str, script: Script) {
        self.state().scripts.set(token.to_owned(), script);
    }

    /// Settles every FluidPay transaction that is pending settlement; returns how many.
    pub fn settle(&self) -> usize {
        self.state().fluidpay.settle((self.now)())
    }

    /// Plays the customer who opens a payment link, as `POST /_sandbox/paysley/pay` does. Answers once the merchant has been
    /// called back, or the reason why nothing could be paid.
    pub async fn pay(self: &Arc<Self>, pay: Pay) -> Result<String, String> {
        let (payment_id, callback) = paysley::pay(&mut self.state(), &pay, (self.now)())?;
        if let Some(callback) = callback {
            Arc::clone(self).call_back(callback).await;
        }
        Ok(payment_id)
    }

    /// Plays the customer who opens a Paylike payment link, as `POST /_sandbox/paylike/pay` does. Answers the transaction's id.
    pub fn pay_link(&self, link: &str, decline: Option<u16>) -> Result<String, String> {
        paylike::pay(&mut self.state(), link, decline, (self.now)())
    }

    /// Takes Paysley's own clock to an instant: recurring payments that fall due by then are made. Answers their ids.
    pub async fn run_schedules(self: &Arc<Self>, until: DateTime<Utc>) -> Vec<String> {
        let made = paysley::run_schedules(&mut self.state(), until);
        let mut ids = Vec::with_capacity(made.len());
        for (id, callback) in made {
            if let Some(callback) = callback {
                Arc::clone(self).call_back(callback).await;
            }
            ids.push(id);
        }
        ids
    }

    /// What Paysley's customers were asked for, oldest first.
    pub fn asked(&self) -> Vec<AskedPayment> {
        self.state().paysley.asked()
    }

    async fn call_back(self: Arc<Self>, callback: paysley::Callback) {
        let target = Target { reference: Some(callback.reference.clone()), ..Target::default() };
        let aim = Aim { gateway: SandboxGateway::Paysley, operation: CallOperation::Callback, path: &callback.url, target };
        let fault = self.state().faults.strike(&aim);
        let times = match fault {
            Some(Fault::DropBefore) => 0,
            Some(Fault::Duplicate) => 2,
            _ => 1,
        };
        let late = Arc::clone(&self);
        let deliver = async move {
            if let Some(Fault::Delay { ms }) = fault {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            for _ in 0..times {
                callback.send().await;
            }
        };
        let task = late.calls.spawn(deliver);
        if !matches!(fault, Some(Fault::Delay { .. })) {
            // A panic there is a callback that never arrived.
            let _ = task.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault_for(&self, call: &IncomingCall) -> Option<Fault> {
        let mut state = self.state();
        if state.faults.is_empty() && state.chaos.is_none() {
            return None;
        }
        let (operation, target) = match call.gateway {
            SandboxGateway::FluidPay => fluidpay::aim(&state.fluidpay, call),
            SandboxGateway::Paylike => paylike::aim(&state.paylike, call),
            SandboxGateway::Paysley => paysley::aim(&state.paysley, call),
        };
        let aim = Aim { gateway: call.gateway, operation, path: &call.path, target };
        let chosen = state.faults.strike(&aim);
        chosen.or_else(|| state.chaos.as_mut().and_then(|chaos| chaos.strike(call.gateway, operation)))
    }

    async fn process(self: Arc<Self>, call: IncomingCall) -> CallEnding {
        let fault = self.fault_for(&call);
        match fault {
            Some(Fault::DropBefore) => return CallEnding::Dropped,
            Some(Fault::Status { status, retry_after }) => return CallEnding::Answer(fault_reply(status, retry_after)),
            Some(Fault::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
            _ => {}
        }
        let wait = self.options.latency.of(self.called.fetch_add(1, Ordering::Relaxed));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let decline = if let Some(Fault::Decline { code }) = fault { Some(code) } else { None };
        let reply = match call.gateway {
            SandboxGateway::FluidPay => fluidpay::answer(&self, &call, decline),
            SandboxGateway::Paylike => paylike::answer(&self, &call, decline),
            SandboxGateway::Paysley => paysley::answer(&self, &call),
        };
        match fault {
            Some(Fault::DropAfter) => CallEnding::Dropped,
            Some(Fault::StatusAfter { status }) => CallEnding::Answer(fault_reply(status, None)),
            _ => CallEnding::Answer(reply),
        }
    }
}

/// A body that every gateway's clients can read: FluidPay's `status` and `msg`, Paylike's `message`, Paysley's `result`.
fn fault_reply(status: u16, retry_after: Option<u64>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = status.canonical_reason().unwrap_or("fault");
    let reply =
        Reply::json(status, &json!({ "status": "failed", "msg": reason, "message": reason, "result": "failed", "data": null }));
    match retry_after {
        Some(seconds) => reply.with_header(header::RETRY_AFTER, seconds.to_string()),
        None => reply,
    }
}

/// All routes. Served by anything but [`serve`], a dropped connection is only a 502: no handler can cut the line.
pub fn router(sandbox: Arc<Sandbox>) -> Router {
    let fluidpay = gateway(SandboxGateway::FluidPay, Arc::clone(&sandbox));
    let paysley = gateway(SandboxGateway::Paysley, Arc::clone(&sandbox));
    let root = any({
        let sandbox = Arc::clone(&sandbox);
        move |request: Request| {
            let gateway = if paysley::owns(request.uri().path()) { SandboxGateway::Paysley } else { SandboxGateway::Paylike };
            serve_call(sandbox, gateway, request)
        }
    });
    Router::new()
        .nest("/_sandbox", admin::routes(sandbox))
        .route("/api", fluidpay.clone())
        .route("/api/{*path}", fluidpay)
        .route("/v2", paysley.clone())
        .route("/v2/{*path}", paysley)
        .fallback_service(Router::new().fallback(root))
}

/// One request answered within this process; none where the connection is cut.
pub async fn answer(router: Router, request: Request) -> Option<Response> {
    let answered: Result<Response, Infallible> = router.oneshot(request).await;
    let Ok(response) = answered;
    response.extensions().get::<Dropped>().is_none().then_some(response)
}

fn gateway(gateway: SandboxGateway, sandbox: Arc<Sandbox>) -> axum::routing::MethodRouter {
    any(move |request: Request| serve_call(sandbox, gateway, request))
}

async fn serve_call(sandbox: Arc<Sandbox>, gateway: SandboxGateway, request: Request) -> Response<Body> {
    let call = IncomingCall::read(gateway, request).await;
    // A task of its own: the money moves even when the client hangs up now.
    let at_once = sandbox.at_once.fetch_add(1, Ordering::Relaxed) + 1;
    sandbox.most_at_once.fetch_max(at_once, Ordering::Relaxed);
    let task = sandbox.calls.spawn(Arc::clone(&sandbox).process(call));
    let ending = task.await.unwrap_or(CallEnding::Dropped);
    sandbox.at_once.fetch_sub(1, Ordering::Relaxed);
    Response::<Body>::from(ending)
}
