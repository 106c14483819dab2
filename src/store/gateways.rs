//! Gateways that rest: an operator's pauses, refusals of the merchant's account, and the invoices and payments that wait for them.
//! Each statement reads only what is due, or what waits.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Db, Result, Tx, db::Row};
use crate::domain::clock::Timeline;

/// A gateway that an operator has paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct GatewayPause {
    pub gateway: String,
    pub reason: String,
    pub actor: String,
    /// Wall time.
    pub paused_at: DateTime<Utc>,
}

impl Row for GatewayPause {
    const TABLE: &'static str = "gateway_pauses";
}

/// Fails with [`super::Error::Conflict`] if it is paused already.
pub async fn pause(tx: &mut Tx, pause: GatewayPause) -> Result<()> {
    tx.insert_rows(&[pause]).await
}

/// Ends a pause; returns it, if there was one.
pub async fn resume(tx: &mut Tx, gateway: &str) -> Result<Option<GatewayPause>> {
    tx.query("delete from gateway_pauses where gateway = $1 returning *").bind(gateway.to_owned()).optional().await
}

/// All pauses, inside a transaction.
pub async fn pauses(tx: &mut Tx) -> Result<Vec<GatewayPause>> {
    tx.query("select * from gateway_pauses order by gateway").all().await
}

/// All pauses.
pub async fn paused(db: &Db) -> Result<Vec<GatewayPause>> {
    db.query("select * from gateway_pauses order by gateway").all().await
}

/// A gateway that refuses the merchant's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct GatewayRefusal {
    pub gateway: String,
    pub reason: String,
    /// Of the key that was refused.
    pub key_digest: String,
    /// How many probes were let through in real time.
    pub probes: i64,
    /// Wall time.
    pub refused_at: DateTime<Utc>,
    /// Wall time.
    pub next_probe_at: DateTime<Utc>,
}

impl Row for GatewayRefusal {
    const TABLE: &'static str = "gateway_refusals";
    const UNSAVED: &'static [&'static str] = &["key_digest", "refused_at"];
}

/// Fails with [`super::Error::Conflict`] if the refusal is known already.
pub async fn refuse(tx: &mut Tx, refusal: GatewayRefusal) -> Result<()> {
    tx.insert_rows(&[refusal]).await
}

/// Ends a refusal; returns it, if there was one.
pub async fn end_refusal(tx: &mut Tx, gateway: &str) -> Result<Option<GatewayRefusal>> {
    tx.query("delete from gateway_refusals where gateway = $1 returning *").bind(gateway.to_owned()).optional().await
}

/// All refusals, locked: what is claimed while a refusal ends must not wait for it.
pub async fn lock_refusals(tx: &mut Tx) -> Result<Vec<GatewayRefusal>> {
    tx.query("select * from gateway_refusals order by gateway for update").all().await
}

/// All refusals.
pub async fn refused(db: &Db) -> Result<Vec<GatewayRefusal>> {
    db.query("select * from gateway_refusals order by gateway").all().await
}

/// Saves the reason and the probes of a refusal.
pub async fn save_refusal(tx: &mut Tx, refusal: GatewayRefusal) -> Result<()> {
    tx.save_rows(&[refusal]).await?;
    Ok(())
}

/// Makes the invoices that wait for a gateway, at most until this instant, due now. Returns how many.
pub async fn bring_forward(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, until: DateTime<Utc>, limit: i64) -> Result<u64> {
    tx.query(
        "update invoices set next_attempt_at = $1 where id in (
         select id from invoices where timeline = $4 and next_attempt_at > $1 and next_attempt_at <= $2
         and postponed_by = 'gateway' limit $3 for update skip locked)",
    )
    .bind(now)
    .bind(until)
    .bind(limit)
    .bind(timeline)
    .run()
    .await
}

/// Makes the lookups at a gateway that answers again due at once, however long they were to wait.
pub async fn look_up_now(tx: &mut Tx, gateway: &str, now: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "update payments set next_lookup_at = $2 where id in (
             select id from payments where status in ('pending', 'authorized', 'unknown') and status = 'unknown' and gateway = $1
             and next_lookup_at > $2 and lease_owner is null for update skip locked)",
    )
    .bind(gateway.to_owned())
    .bind(now)
    .run()
    .await
}
