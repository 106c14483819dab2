//! Taking an occurrence of a job with a timetable: one daemon of all runs it, another takes over if that one goes silent.

use std::convert::Infallible;

use chrono::{DateTime, Utc};

use crate::{
    billing::{App, Result},
    store::{self, occurrences::Claim},
};

/// What became of the wish to run an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OccurrenceClaim {
    /// This daemon runs it.
    Ours,
    /// Somebody has run it.
    Done,
    /// Somebody is at it; their claim ends by itself at this instant.
    UnderWay(DateTime<Utc>),
}

/// Takes the occurrence of `occurs_at`, or with `again` any. Missed ones before it count as one with it.
pub async fn take(app: &App, job: &str, occurs_at: DateTime<Utc>, again: bool) -> Result<OccurrenceClaim> {
    let now = app.clock.now();
    let standing = store::occurrences::of_job(&app.db, job).await?;
    // Asking first is a plain read: of several daemons all but one find it taken.
    if let Some(standing) = standing {
        match standing.lease_expires_at {
            Some(until) if until > now => return Ok(OccurrenceClaim::UnderWay(until)),
            None if standing.occurs_at >= occurs_at && !again => return Ok(OccurrenceClaim::Done),
            _ => {}
        }
    }
    let until = now + app.config.collection.lease;
    let claim = Claim { job, owner: &app.instance, occurs_at, now, until, again };
    let mut tx = app.db.begin().await?;
    let taken = store::occurrences::claim(&mut tx, claim).await?;
    tx.commit().await?;
    // Another was faster by a moment; what became of that is asked when its claim would end.
    Ok(if taken { OccurrenceClaim::Ours } else { OccurrenceClaim::UnderWay(until) })
}

/// Keeps what was taken for as long as this is awaited.
pub async fn keep(app: &App, job: &str) -> Infallible {
    loop {
        tokio::time::sleep(app.config.collection.renew_every()).await;
        match prolong(app, job).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(job, "another daemon has taken this run over"),
            Err(error) => tracing::warn!(job, %error, "the claim on a job's run could not be renewed"),
        }
    }
}

async fn prolong(app: &App, job: &str) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let kept = store::occurrences::keep(&mut tx, job, &app.instance, app.clock.now() + app.config.collection.lease).await?;
    tx.commit().await?;
    Ok(kept)
}

/// What was taken has been done. One that failed is not: it is taken again once its lease has ended.
pub async fn finish(app: &App, job: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::occurrences::finish(&mut tx, job, &app.instance, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}
