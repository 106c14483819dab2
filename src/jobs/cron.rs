//! Production: tokio-cron-scheduler rings wakeups; each job has one task that waits for its schedule, so that a job never overlaps
//! itself. Correctness never depends on a tick: a lost one is a late one. Several daemons share work by its rows; jobs that have a
//! timetable instead take turns, see `occurrences`.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler};
use tokio_util::task::TaskTracker;

use super::{JOBS, Job, Ran, Schedule, advance, did_something, occurrences};
use crate::{
    billing::{App, jobs::runs},
    domain::clock::Timeline,
    telemetry,
};

/// The running jobs.
pub struct Jobs {
    app: Arc<App>,
    scheduler: JobScheduler,
    tracker: TaskTracker,
    pulses: Pulses,
}

/// Whether the job loops turn: what the watchdog asks before each ping.
#[derive(Clone)]
pub struct Pulses {
    all: Vec<Arc<Pulse>>,
    /// A loop that has not turned for this long is stuck, unless it is inside a run.
    bound: Duration,
}

/// The sign of life of one loop.
pub struct Pulse {
    name: &'static str,
    /// None: at work, for as long as that takes. Its calls have time-outs of their own.
    rested: Mutex<Option<Instant>>,
}

impl Pulse {
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, rested: Mutex::new(Some(Instant::now())) })
    }

    /// The loop has turned and waits.
    pub(super) fn rests(&self) {
        *self.rested.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn works(&self) {
        *self.rested.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Pulses {
    /// The loops that stand still.
    pub fn still(&self) -> Vec<&'static str> {
        let rested = |pulse: &Pulse| *pulse.rested.lock().unwrap_or_else(PoisonError::into_inner);
        self.all
            .iter()
            .filter(|pulse| rested(pulse).is_some_and(|at| at.elapsed() > self.bound))
            .map(|pulse| pulse.name)
            .collect()
    }
}

/// Starts every job and rings each schedule once. Jobs stop claiming when `app.stopping` is cancelled.
pub async fn start(app: Arc<App>) -> anyhow::Result<Jobs> {
    let tracker = TaskTracker::new();
    let scheduler = JobScheduler::new().await.context("the cron scheduler could not be made")?;
    for job in JOBS {
        // From here on it is expected to run.
        app.last_runs.ended(job.name, app.clock.now(), job.late_after());
    }
    let ticking = Pulse::new("cron");
    let mut all = vec![ticking.clone()];
    for job in JOBS {
        let schedule = (job.ring)(&app.wakeups).clone();
        let ring = schedule.clone();
        ring_by_cron(&scheduler, job.schedule, &app, move || ring.notify_one())
            .await
            .with_context(|| format!("job {} could not be scheduled", job.name))?;
        let pulse = Pulse::new(job.name);
        all.push(pulse.clone());
        match job.schedule {
            Schedule::EveryTick => tracker.spawn(answer(app.clone(), job, schedule, pulse)),
            Schedule::Cron(expression) => {
                tracker.spawn(occurrences::answer(app.clone(), job, expression.parse()?, schedule, pulse))
            }
        };
    }
    let advance = app.wakeups.advance.clone();
    let ring = move || {
        ticking.rests();
        advance.notify_one();
    };
    ring_by_cron(&scheduler, Schedule::EveryTick, &app, ring).await.context("test clocks could not be scheduled")?;
    let pulse = Pulse::new("advance");
    all.push(pulse.clone());
    tracker.spawn(advance::run(app.clone(), tracker.clone(), pulse));
    scheduler.start().await.context("the cron scheduler could not be started")?;
    // The scheduler looks twice a second and may be late under load; what is stuck stays stuck.
    let pulses = Pulses { all, bound: 2 * app.config.jobs.tick + Duration::from_secs(10) };
    Ok(Jobs { app, scheduler, tracker, pulses })
}

impl Jobs {
    pub fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }

    /// Stops claiming and waits for what is in flight, no longer than `jobs.drain`. False if something had to be left.
    pub async fn drain(mut self) -> bool {
        self.app.stopping.cancel();
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the cron scheduler did not shut down cleanly");
        }
        self.tracker.close();
        tokio::time::timeout(self.app.config.jobs.drain, self.tracker.wait()).await.is_ok()
    }
}

async fn ring_by_cron(
    scheduler: &JobScheduler,
    schedule: Schedule,
    app: &App,
    ring: impl Fn() + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let expression = match schedule {
        Schedule::EveryTick => every(app.config.jobs.tick.as_secs()),
        Schedule::Cron(expression) => expression.to_owned(),
    };
    // The closure does nothing but ring: whatever takes time belongs to the task that answers.
    scheduler.add(CronJob::new(expression.as_str(), move |_, _| ring())?).await?;
    Ok(())
}

/// Every so many seconds, as cron can say it: seconds up to a minute, then minutes.
fn every(seconds: u64) -> String {
    match seconds {
        0 | 1 => "* * * * * *".to_owned(),
        2..60 => format!("*/{seconds} * * * * *"),
        _ => format!("0 */{} * * * *", (seconds / 60).min(59)),
    }
}

/// The shortest pause between two runs of a job that nobody rings for: what falls due meanwhile is done together.
const GATHER: Duration = Duration::from_millis(50);

async fn answer(app: Arc<App>, job: &'static Job, schedule: Arc<Notify>, pulse: Arc<Pulse>) {
    schedule.notify_one();
    let mut wait = None;
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = schedule.notified() => {
                pulse.works();
                wait = run_and_look_ahead(&app, job).await;
            }
            // What falls due before the next tick need not wait for it.
            () = tokio::time::sleep(wait.unwrap_or(app.config.jobs.tick)) => {
                pulse.works();
                wait = if wait.is_some() { run_and_look_ahead(&app, job).await } else { None };
            }
        }
        pulse.rests();
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

/// One run on the wall clock; none if it failed, which is told here. A panic is a failed run, not the end of the job.
pub(super) async fn run(app: &Arc<App>, job: &'static Job, started_at: DateTime<Utc>) -> Option<Ran> {
    let begun = Instant::now();
    let asked = app.requested_runs.take(job.name);
    let work = async {
        // Whoever asks for a run gets one.
        if asked {
            (job.run)(app, Timeline::Wall, started_at).await.map(Ran::Did)
        } else {
            job.run_due(app, Timeline::Wall, started_at).await
        }
    };
    let outcome = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(ran)) => Ok(ran),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the job panicked; the log has the place".to_owned()),
    };
    app.last_runs.ended(job.name, app.clock.now(), job.late_after());
    metrics::histogram!(telemetry::JOB_SECONDS, "job" => job.name).record(begun.elapsed().as_secs_f64());
    metrics::counter!(telemetry::JOB_RUNS, "job" => job.name, "result" => if outcome.is_ok() { "ok" } else { "failed" })
        .increment(1);
    if let Err(error) = &outcome {
        tracing::error!(job = job.name, error, "job failed");
    }
    // Ticks that found nothing would drown the history.
    let told = match &outcome {
        Ok(Ran::Idle(_)) => None,
        Ok(Ran::Did(counts)) => {
            (asked || job.schedule != Schedule::EveryTick || did_something(counts)).then(|| Ok(counts.clone()))
        }
        Err(error) => Some(Err(error.clone())),
    };
    if let Some(told) = told {
        if let Ok(counts) = &told {
            tracing::info!(job = job.name, counts = %serde_json::Value::Object(counts.clone()), "job done");
        }
        if let Err(error) = runs::record(app, job.name, started_at, told).await {
            tracing::error!(job = job.name, %error, "the run could not be recorded");
        }
    }
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_cron_expressions() {
        assert_eq!(super::every(1), "* * * * * *");
        assert_eq!(super::every(5), "*/5 * * * * *");
        assert_eq!(super::every(300), "0 */5 * * * *");
    }

    #[test]
    fn a_loop_at_work_is_alive_and_one_at_rest_for_too_long_is_not() {
        let (resting, working) = (Pulse::new("resting"), Pulse::new("working"));
        working.works();
        let pulses = Pulses { all: vec![resting.clone(), working], bound: Duration::from_millis(20) };
        assert!(pulses.still().is_empty());
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(pulses.still(), ["resting"]);
        resting.rests();
        assert!(pulses.still().is_empty());
    }
}
