//! Test clocks: the same jobs, driven from one due instant to the next, in order, so that one long jump does what many short
//! ones do. Simulated time stands still while the outcome of any payment is unknown. What is asked for at a standing clock's own
//! now is done at once.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::{JOBS, Ran, did_something, pulse::Pulse};
use crate::{
    billing::{self, App, Result, jobs::runs::Counts},
    domain::{
        authorization::Authorization,
        clock::{TestClock, Timeline},
        payment::Payment,
        payment_request::PaymentRequest,
    },
    store,
};

/// Advances every clock that has a target, each in a task of its own, until the daemon stops.
pub async fn run(app: Arc<App>, tracker: TaskTracker, pulse: Arc<Pulse>) {
    loop {
        match billing::test_clocks::advance::claim(&app).await {
            Ok(clocks) => {
                for clock in clocks {
                    tracker.spawn(advance_claimed(app.clone(), clock));
                }
            }
            Err(error) => tracing::error!(%error, "test clocks could not be claimed"),
        }
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.wakeups.advance.notified() => {}
            () = tokio::time::sleep(app.config.jobs.tick) => {}
        }
        pulse.idle();
    }
}

/// Advances a claimed clock while its claim is renewed, then gives the claim back.
async fn advance_claimed(app: Arc<App>, clock: TestClock) {
    let id = clock.id;
    let work = async {
        match clock.target_at {
            Some(_) => advance(&app, clock).await,
            None => drain(&app, Timeline::Test(id), clock.now_at).await.map(|_| ()),
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = billing::test_clocks::advance::keep(&app, id) => Ok(()),
    };
    let failed = done.is_err();
    if let Err(error) = done {
        tracing::error!(clock = %id, %error, "the advance was interrupted and goes on at the next tick");
    }
    if let Err(error) = billing::test_clocks::advance::let_go(&app, id).await {
        tracing::error!(clock = %id, %error, "the clock could not be let go; its lease ends by itself");
    }
    if !failed {
        // It may have got another target meanwhile.
        app.wakeups.advance.notify_one();
    }
}

/// Advances a claimed clock to its target: does all work due now, then goes to the next instant that has any.
pub async fn advance(app: &Arc<App>, mut clock: TestClock) -> Result<()> {
    let timeline = Timeline::Test(clock.id);
    while let Some(target) = clock.target_at {
        let done = drain(app, timeline, clock.now_at).await?;
        if app.stopping.is_cancelled() {
            return Ok(());
        }
        let next = earliest(app, timeline).await?.filter(|&next| next < target).unwrap_or(target);
        match billing::test_clocks::advance::step(app, clock.id, clock.now_at, next, &done).await? {
            Some(moved) => clock = moved,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// The first of the growing pauses between two looks at payments that somebody else is settling.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// Does everything due at this instant, again and again until nothing is, and waits for unknown outcomes.
async fn drain(app: &Arc<App>, timeline: Timeline, now: DateTime<Utc>) -> Result<Counts> {
    let mut total = Counts::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let mut busy = do_due(app, timeline, now, &mut total).await?;
        if app.stopping.is_cancelled() {
            return Ok(total);
        }
        let authorizing = store::authorizations::undecided(&app.db, timeline).await? > 0;
        if authorizing || store::payments::undecided(&app.db, timeline).await? > 0 {
            busy = true;
            billing::gateway_operations::recover::recover(app, false).await?;
            let asked = billing::payments::look_up::look_up_payments(app, Some(timeline)).await?;
            if asked + billing::authorizations::look_up(app, Some(timeline)).await? == 0 {
                let next = billing::gateway_operations::lookups::next_lookup_in::<Payment>(app, timeline).await?;
                let next = next
                    .into_iter()
                    .chain(billing::gateway_operations::lookups::next_lookup_in::<Authorization>(app, timeline).await?)
                    .min();
                rest(app, next, &mut pause).await;
            }
        } else if store::payment_requests::busy(&app.db, timeline).await? > 0 {
            // Nobody pays by what was not sent; and what is taken back may have been paid at the last moment.
            busy = true;
            if billing::payment_requests::work(app, Some(timeline)).await? == 0 {
                let next = billing::gateway_operations::lookups::next_lookup_in::<PaymentRequest>(app, timeline).await?;
                rest(app, next, &mut pause).await;
            }
        } else if store::payments::earliest_return(&app.db, timeline).await?.is_some_and(|at| at <= app.clock.now()) {
            busy |= billing::payment_requests::return_overpayments(app).await? > 0;
        } else {
            pause = SHORTEST_PAUSE;
        }
        if !busy {
            return Ok(total);
        }
    }
}

/// Waits for what is looked up next. The job, another daemon or an operator may settle it meanwhile, at first most likely within
/// milliseconds: so the pauses grow.
async fn rest(app: &App, next: Option<TimeDelta>, pause: &mut Duration) {
    let next = next.and_then(|wait| wait.to_std().ok());
    tokio::select! {
        () = app.stopping.cancelled() => {}
        () = tokio::time::sleep(next.map_or(*pause, |next| next.min(*pause)).max(SHORTEST_PAUSE)) => {}
    }
    *pause = (*pause * 2).min(app.config.jobs.tick);
}

/// Runs each job that has work by now, once. Says whether any of them did something.
pub(super) async fn do_due(app: &Arc<App>, timeline: Timeline, now: DateTime<Utc>, total: &mut Counts) -> Result<bool> {
    let mut busy = false;
    for job in JOBS.iter().filter(|job| job.earliest.is_some()) {
        if let Ran::Did(counts) = job.run_due(app, timeline, now).await? {
            busy |= did_something(&counts);
            add(total, &counts);
        }
    }
    Ok(busy)
}

/// The next instant at which any job has work on a timeline.
pub(super) async fn earliest(app: &App, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let mut earliest: Option<DateTime<Utc>> = None;
    for due in JOBS.iter().filter_map(|job| job.earliest) {
        if let Some(at) = due(app, timeline).await? {
            earliest = Some(earliest.map_or(at, |sooner| sooner.min(at)));
        }
    }
    Ok(earliest)
}

fn add(total: &mut Counts, counts: &Counts) {
    for (name, count) in counts {
        let sum = total.get(name).and_then(Value::as_i64).unwrap_or(0) + count.as_i64().unwrap_or(0);
        total.insert(name.clone(), sum.into());
    }
}
