//! Production: tokio-cron-scheduler wakes the jobs. Each job has one task that waits for its wake-up, so that a job never overlaps
//! itself. Correctness never depends on a tick: a lost one is a late one. Several daemons share work by its rows; jobs that have a
//! timetable instead take turns, see `occurrences`.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler};
use tokio_util::task::TaskTracker;

use super::{
    JOBS, JobSchedule, advance, occurrences,
    pulse::{Pulse, Pulses},
    tick,
};
use crate::billing::App;

/// The running jobs.
pub struct Jobs {
    app: Arc<App>,
    scheduler: JobScheduler,
    tracker: TaskTracker,
    pulses: Pulses,
}

/// Starts every job and wakes each once. Jobs stop claiming when `app.stopping` is cancelled.
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
        let schedule = (job.wake)(&app.wakeups).clone();
        let wake = schedule.clone();
        wake_by_cron(&scheduler, job.schedule, &app, move || wake.notify_one())
            .await
            .with_context(|| format!("job {} could not be scheduled", job.name))?;
        let pulse = Pulse::new(job.name);
        all.push(pulse.clone());
        match job.schedule {
            JobSchedule::EveryTick => tracker.spawn(tick::answer(app.clone(), job, schedule, pulse)),
            JobSchedule::Cron(expression) => {
                tracker.spawn(occurrences::answer(app.clone(), job, expression.parse()?, schedule, pulse))
            }
        };
    }
    let advance = app.wakeups.advance.clone();
    let wake = move || {
        ticking.idle();
        advance.notify_one();
    };
    wake_by_cron(&scheduler, JobSchedule::EveryTick, &app, wake).await.context("test clocks could not be scheduled")?;
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

async fn wake_by_cron(
    scheduler: &JobScheduler,
    schedule: JobSchedule,
    app: &App,
    wake: impl Fn() + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let expression = match schedule {
        JobSchedule::EveryTick => every(app.config.jobs.tick.as_secs()),
        JobSchedule::Cron(expression) => expression.to_owned(),
    };
    // The closure only wakes: whatever takes time belongs to the task of the job.
    scheduler.add(CronJob::new(expression.as_str(), move |_, _| wake())?).await?;
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

#[cfg(test)]
mod tests {
    #[test]
    fn ticks_become_cron_expressions() {
        assert_eq!(super::every(1), "* * * * * *");
        assert_eq!(super::every(5), "*/5 * * * * *");
        assert_eq!(super::every(300), "0 */5 * * * *");
    }
}
