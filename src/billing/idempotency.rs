//! The same POST twice is one POST: the first takes its `Idempotency-Key`, a repeat gets the first one's answer for 24 hours.

use chrono::{DateTime, TimeDelta, Utc};

use super::{App, Result};
use crate::{domain::id::ApiKeyId, store};

/// How long an answer is kept, by the wall clock.
pub const KEPT_H: i64 = 24;

/// What a request with a key is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The first of its kind: go on, then [`keep`] or [`free`].
    First,
    /// Answered before.
    Answered { status: u16, body: String },
    /// The key belongs to another request.
    OtherRequest,
    /// An earlier one has not been answered: it runs elsewhere, or was cut off.
    Unfinished,
}

pub async fn begin(app: &App, owner: ApiKeyId, key: &str, request_digest: &str) -> Result<Begun> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let kept = store::idempotency::take(&mut tx, owner, key, request_digest, now, expired(now)).await?;
    tx.commit().await?;
    Ok(match kept {
        None => Begun::First,
        Some(kept) if kept.request_digest != request_digest => Begun::OtherRequest,
        Some(kept) => match kept.status.and_then(|status| u16::try_from(status).ok()) {
            Some(status) => Begun::Answered { status, body: kept.body.unwrap_or_default() },
            None => Begun::Unfinished,
        },
    })
}

pub async fn keep(app: &App, owner: ApiKeyId, key: &str, status: u16, body: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::idempotency::keep(&mut tx, owner, key, status.into(), body).await?;
    tx.commit().await?;
    Ok(())
}

pub async fn free(app: &App, owner: ApiKeyId, key: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::idempotency::free(&mut tx, owner, key).await?;
    tx.commit().await?;
    Ok(())
}

/// What was kept until here is too old.
pub fn expired(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::hours(KEPT_H)
}
