//! Jobs that look for work at every tick, and sooner where they know of work that falls due before it.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{Job, Ran, pulse::Pulse, run::run};
use crate::{billing::App, domain::clock::Timeline};

/// The shortest pause between two runs of a job that nobody wakes: what falls due meanwhile is done together.
const GATHER: Duration = Duration::from_millis(50);

pub(super) async fn answer(app: Arc<App>, job: &'static Job, schedule: Arc<Notify>, pulse: Arc<Pulse>) {
    schedule.notify_one();
    let mut wait = None;
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = schedule.notified() => {
                pulse.busy();
                wait = run_and_look_ahead(&app, job).await;
            }
            // What falls due before the next tick need not wait for it.
            () = tokio::time::sleep(wait.unwrap_or(app.config.jobs.tick)) => {
                pulse.busy();
                wait = if wait.is_some() { run_and_look_ahead(&app, job).await } else { None };
            }
        }
        pulse.idle();
    }
}

/// Runs a job; says how long until it has something to do again, if a tick would be later.
async fn run_and_look_ahead(app: &Arc<App>, job: &'static Job) -> Option<Duration> {
    let started_at = app.clock.now();
    let next = match run(app, job, started_at).await {
        Some(Ran::Idle(next)) => next,
        _ => job.earliest?(app, Timeline::Wall).await.ok().flatten(),
    }?;
    let wait = (next - app.clock.now()).to_std().unwrap_or_default().max(GATHER);
    // What was due then and still is cannot be done now: it waits for the schedule.
    (next > started_at && wait < app.config.jobs.tick).then_some(wait)
}
