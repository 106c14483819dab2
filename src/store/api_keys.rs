//! API keys, found by the digest of their text.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{api_key::ApiKey, id::ApiKeyId};

impl Row for ApiKey {
    const TABLE: &'static str = "api_keys";
}

pub async fn insert(tx: &mut Tx, key: ApiKey) -> Result<()> {
    tx.insert_rows(&[key]).await
}

pub async fn by_digest(db: &Db, digest: &str) -> Result<Option<ApiKey>> {
    db.query("select * from api_keys where digest = $1").bind(digest.to_owned()).optional().await
}

pub async fn by_digest_in(tx: &mut Tx, digest: &str) -> Result<Option<ApiKey>> {
    tx.query("select * from api_keys where digest = $1").bind(digest.to_owned()).optional().await
}

pub async fn get(db: &Db, id: ApiKeyId) -> Result<Option<ApiKey>> {
    db.query("select * from api_keys where id = $1").bind(id).optional().await
}

/// Returns false if there is no such key. A key that was revoked before keeps its instant.
pub async fn revoke(tx: &mut Tx, id: ApiKeyId, now: DateTime<Utc>) -> Result<bool> {
    let changed =
        tx.query("update api_keys set revoked_at = coalesce(revoked_at, $2) where id = $1").bind(id).bind(now).run().await?;
    Ok(changed > 0)
}

/// Revokes the keys of this name, except the one with this digest; returns which.
pub async fn revoke_others_named(tx: &mut Tx, name: &str, digest: &str, now: DateTime<Utc>) -> Result<Vec<ApiKey>> {
    tx.query("update api_keys set revoked_at = $3 where name = $1 and digest <> $2 and revoked_at is null returning *")
        .bind(name.to_owned())
        .bind(digest.to_owned())
        .bind(now)
        .all()
        .await
}

/// Every key, oldest first.
pub async fn all(db: &Db) -> Result<Vec<ApiKey>> {
    db.query("select * from api_keys order by id").all().await
}
