//! Answers kept for repeated requests, by API key and `Idempotency-Key`. No status means: being answered, or cut off by a crash.

use chrono::{DateTime, Utc};

use super::{Result, Tx};
use crate::domain::id::ApiKeyId;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Kept {
    /// Of method, address and body.
    pub request_digest: String,
    pub status: Option<i64>,
    pub body: Option<String>,
}

/// Takes the key for a new request and returns none, or returns what the key holds. What is older than `expired` counts as absent.
pub async fn take(
    tx: &mut Tx,
    owner: ApiKeyId,
    key: &str,
    request_digest: &str,
    now: DateTime<Utc>,
    expired: DateTime<Utc>,
) -> Result<Option<Kept>> {
    tx.query("delete from idempotency_keys where api_key_id = $1 and idempotency_key = $2 and created_at <= $3")
        .bind(owner)
        .bind(key.to_owned())
        .bind(expired)
        .run()
        .await?;
    let taken = tx
        .query(
            "insert into idempotency_keys (api_key_id, idempotency_key, request_digest, created_at) values ($1, $2, $3, $4)
             on conflict do nothing",
        )
        .bind(owner)
        .bind(key.to_owned())
        .bind(request_digest.to_owned())
        .bind(now)
        .run()
        .await?;
    if taken > 0 {
        return Ok(None);
    }
    let kept = tx
        .query("select request_digest, status, body from idempotency_keys where api_key_id = $1 and idempotency_key = $2")
        .bind(owner)
        .bind(key.to_owned());
    kept.one().await.map(Some)
}

/// Stores the answer.
pub async fn keep(tx: &mut Tx, owner: ApiKeyId, key: &str, status: i64, body: &str) -> Result<()> {
    tx.query(
        "update idempotency_keys set status = $3, body = $4 where api_key_id = $1 and idempotency_key = $2 and status is null",
    )
    .bind(owner)
    .bind(key.to_owned())
    .bind(status)
    .bind(body.to_owned())
    .run()
    .await?;
    Ok(())
}

/// Frees a key whose request came to nothing.
pub async fn free(tx: &mut Tx, owner: ApiKeyId, key: &str) -> Result<()> {
    tx.query("delete from idempotency_keys where api_key_id = $1 and idempotency_key = $2 and status is null")
        .bind(owner)
        .bind(key.to_owned())
        .run()
        .await?;
    Ok(())
}

pub async fn remove_expired(tx: &mut Tx, expired: DateTime<Utc>) -> Result<u64> {
    tx.query("delete from idempotency_keys where created_at <= $1").bind(expired).run().await
}
