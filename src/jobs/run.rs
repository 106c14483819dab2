//! One run of a job on the wall clock: it is timed, counted and recorded, and a panic is a failed run.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::{Job, JobSchedule, Ran, did_something};
use crate::{
    billing::{App, jobs::runs},
    domain::clock::Timeline,
    telemetry,
};

/// Runs a job once on the wall clock. None: the run failed, and the log says why. A panic is a failed run, not the end of the job.
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
            (asked || job.schedule != JobSchedule::EveryTick || did_something(counts)).then(|| Ok(counts.clone()))
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
