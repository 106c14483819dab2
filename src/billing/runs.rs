//! The history of job runs.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{App, Done};
use crate::store::{self, runs::JobRun};

/// What a run did, by name; an empty or all-zero one found nothing to do.
pub type Counts = Map<String, Value>;

/// Keeps a run in the history.
pub async fn record(app: &App, job: &str, started_at: DateTime<Utc>, outcome: Result<Counts, String>) -> Done<()> {
    let (result, counts, error) = match outcome {
        Ok(counts) => ("ok", counts, None),
        Err(error) => ("failed", Counts::new(), Some(error)),
    };
    let run = JobRun {
        id: app.id(),
        job: job.to_owned(),
        instance: app.instance.clone(),
        result: result.to_owned(),
        counts,
        error,
        started_at,
        ended_at: Some(app.clock.now()),
    };
    let mut tx = app.db.begin().await?;
    store::runs::insert(&mut tx, run).await?;
    tx.commit().await?;
    Ok(())
}
