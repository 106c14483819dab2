//! Production: tokio-cron-scheduler rings bells; each job has one task that waits for its bell, so that a job never overlaps
//! itself. Correctness never depends on a tick: a lost one is a late one.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler};
use tokio_util::task::TaskTracker;

use super::{Bell, JOBS, Job, did_something, travel};
use crate::{
    billing::{App, runs},
    domain::customer::Timeline,
    telemetry,
};

/// The running jobs.
pub struct Jobs {
    app: Arc<App>,
    scheduler: JobScheduler,
    tracker: TaskTracker,
}

/// Starts every job and rings each bell once. Jobs stop claiming when `app.stopping` is cancelled.
pub async fn start(app: Arc<App>) -> anyhow::Result<Jobs> {
    let tracker = TaskTracker::new();
    let scheduler = JobScheduler::new().await.context("the cron scheduler could not be made")?;
    for job in JOBS {
        let bell = (job.ring)(&app.bells).clone();
        ring_by_cron(&scheduler, job.bell, &app, bell.clone())
            .await
            .with_context(|| format!("job {} could not be scheduled", job.name))?;
        tracker.spawn(answer(app.clone(), job, bell));
    }
    ring_by_cron(&scheduler, Bell::Tick, &app, app.bells.travel.clone()).await.context("test clocks could not be scheduled")?;
    tracker.spawn(travel::run(app.clone(), tracker.clone()));
    scheduler.start().await.context("the cron scheduler could not be started")?;
    Ok(Jobs { app, scheduler, tracker })
}

impl Jobs {
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

async fn ring_by_cron(scheduler: &JobScheduler, bell: Bell, app: &App, notify: Arc<Notify>) -> anyhow::Result<()> {
    let expression = match bell {
        Bell::Tick => every(app.config.jobs.tick.as_secs()),
        Bell::Cron(expression) => expression.to_owned(),
    };
    // The closure does nothing but ring: whatever takes time belongs to the task that answers.
    scheduler.add(CronJob::new(expression.as_str(), move |_, _| notify.notify_one())?).await?;
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

async fn answer(app: Arc<App>, job: &'static Job, bell: Arc<Notify>) {
    bell.notify_one();
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = bell.notified() => {}
        }
        run(&app, job).await;
    }
}

/// One run on the wall clock. A panic is a failed run, not the end of the job.
async fn run(app: &App, job: &'static Job) {
    let started_at = app.clock.now();
    let begun = Instant::now();
    let asked = app.bells.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(job.name);
    let work = std::panic::AssertUnwindSafe((job.run)(app, Timeline::Wall, started_at)).catch_unwind();
    let outcome = match work.await {
        Ok(Ok(counts)) => Ok(counts),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the job panicked; the log has the place".to_owned()),
    };
    metrics::histogram!(telemetry::JOB_SECONDS, "job" => job.name).record(begun.elapsed().as_secs_f64());
    metrics::counter!(telemetry::JOB_RUNS, "job" => job.name, "result" => if outcome.is_ok() { "ok" } else { "failed" })
        .increment(1);
    if let Err(error) = &outcome {
        tracing::error!(job = job.name, error, "job failed");
    }
    // Ticks that found nothing would drown the history.
    if asked || outcome.as_ref().map_or(true, did_something) {
        if let Ok(counts) = &outcome {
            tracing::info!(job = job.name, counts = %serde_json::Value::Object(counts.clone()), "job done");
        }
        if let Err(error) = runs::record(app, job.name, started_at, outcome).await {
            tracing::error!(job = job.name, %error, "the run could not be recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ticks_become_cron_expressions() {
        assert_eq!(super::every(1), "* * * * * *");
        assert_eq!(super::every(5), "*/5 * * * * *");
        assert_eq!(super::every(300), "0 */5 * * * *");
    }
}
