//! Job runs: their history, when each job last ended one, and which runs an operator asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};

use crate::{
    billing::{App, Result},
    store::{self, runs::JobRun},
};

/// What a run did, by name; an empty or all-zero one found nothing to do.
pub type Counts = Map<String, Value>;

/// When each job of this daemon last ended a run.
#[derive(Default)]
pub struct LastRuns(Mutex<BTreeMap<&'static str, LastRun>>);

#[derive(Debug, Clone, Copy)]
struct LastRun {
    ended_at: DateTime<Utc>,
    late_after: TimeDelta,
}

impl LastRuns {
    /// A run of this job has ended. The job is late once it has not ended another one for `late_after`.
    pub fn ended(&self, job: &'static str, ended_at: DateTime<Utc>, late_after: TimeDelta) {
        self.lock().insert(job, LastRun { ended_at, late_after });
    }

    pub fn ended_at(&self, job: &str) -> Option<DateTime<Utc>> {
        self.lock().get(job).map(|run| run.ended_at)
    }

    /// The jobs that should have ended a run by now.
    pub fn late(&self, now: DateTime<Utc>) -> Vec<&'static str> {
        self.lock().iter().filter(|(_, run)| now - run.ended_at > run.late_after).map(|(job, _)| *job).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, LastRun>> {
        self.0.lock()
    }
}

/// Jobs that an operator asked for. Their next run is recorded even if it finds nothing to do.
#[derive(Default)]
pub struct RequestedRuns(Mutex<BTreeSet<&'static str>>);

impl RequestedRuns {
    pub fn add(&self, job: &'static str) {
        self.lock().insert(job);
    }

    pub fn contains(&self, job: &str) -> bool {
        self.lock().contains(job)
    }

    /// Whether a run was asked for; this run is it.
    pub fn take(&self, job: &str) -> bool {
        self.lock().remove(job)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock()
    }
}

/// Keeps a run in the history.
pub async fn record(app: &App, job: &str, started_at: DateTime<Utc>, outcome: Result<Counts, String>) -> Result<()> {
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
