//! Housekeeping: what is kept for a while only, and that while is over.

use crate::{
    billing::{App, Result, idempotency},
    store,
};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub idempotency_keys: u64,
    pub runs: u64,
    pub instances: u64,
}

/// Removes answers kept for repeats after their day, job runs older than `jobs.keep_runs`, and daemons not seen for as long. By
/// the wall clock.
pub async fn housekeeping(app: &App) -> Result<Removed> {
    let now = app.clock.now();
    let oldest = now - app.config.jobs.keep_runs;
    let mut tx = app.db.begin().await?;
    let idempotency_keys = store::idempotency::remove_expired(&mut tx, idempotency::expired(now)).await?;
    let runs = store::runs::remove_older(&mut tx, oldest).await?;
    let instances = store::instances::remove_older(&mut tx, oldest).await?;
    tx.commit().await?;
    Ok(Removed { idempotency_keys, runs, instances })
}
