//! Test clocks.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{clock::TestClock, id::ClockId};

impl Row for TestClock {
    const TABLE: &'static str = "clocks";
    const UNSAVED: &'static [&'static str] = &["name", "created_at"];
}

pub async fn insert(tx: &mut Tx, clock: TestClock) -> Result<()> {
    tx.insert_rows(&[clock]).await
}

pub async fn get(db: &Db, id: ClockId) -> Result<Option<TestClock>> {
    db.query("select * from clocks where id = $1").bind(id).optional().await
}

/// Reads a clock so that it cannot move before the transaction ends. Any number of transactions may do so at once.
pub async fn hold(tx: &mut Tx, id: ClockId) -> Result<Option<TestClock>> {
    tx.query("select * from clocks where id = $1 for share").bind(id).optional().await
}

/// [`hold`] for many clocks.
pub async fn hold_many(tx: &mut Tx, ids: &[ClockId]) -> Result<Vec<TestClock>> {
    tx.query("select * from clocks where id in list($1) order by id for share").bind_list(ids).all().await
}

/// Those of these clocks that exist.
pub async fn get_many(tx: &mut Tx, ids: &[ClockId]) -> Result<Vec<TestClock>> {
    tx.query("select * from clocks where id in list($1)").bind_list(ids).all().await
}

/// All clocks. There are few: each is made by hand.
pub async fn all(db: &Db) -> Result<Vec<TestClock>> {
    db.query("select * from clocks order by id").all().await
}

/// Reads a clock to change it, once nobody holds it.
pub async fn lock(tx: &mut Tx, id: ClockId) -> Result<Option<TestClock>> {
    tx.query("select * from clocks where id = $1 for update").bind(id).optional().await
}

pub async fn save(tx: &mut Tx, clock: TestClock) -> Result<()> {
    tx.save_rows(&[clock]).await?;
    Ok(())
}

/// Starts to advance an idle clock. Returns none if it is advancing already, or gone.
pub async fn start(tx: &mut Tx, id: ClockId, target: DateTime<Utc>) -> Result<Option<TestClock>> {
    tx.query(
        "update clocks set status = 'advancing', target_at = $2, counts = '{}' where id = $1 and status = 'idle' returning *",
    )
    .bind(id)
    .bind(target)
    .optional()
    .await
}

/// Keeps an idle clock idle until the transaction ends. Returns none if it is advancing, or gone.
pub async fn hold_idle(tx: &mut Tx, id: ClockId) -> Result<Option<TestClock>> {
    tx.query("select * from clocks where id = $1 and status = 'idle' and lease_owner is null for update")
        .bind(id)
        .optional()
        .await
}

/// Advancing clocks that no daemon moves: unclaimed, or claimed by a daemon that has gone silent.
pub async fn claim_advancing(tx: &mut Tx, owner: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<TestClock>> {
    tx.query(
        "update clocks set lease_owner = $1, lease_expires_at = $3 where id in once(
            select id from clocks where status = 'advancing' and (lease_expires_at is null or lease_expires_at <= $2)
            order by created_at limit 16 for update skip locked)
         returning *",
    )
    .bind(owner.to_owned())
    .bind(now)
    .bind(until)
    .all()
    .await
}

/// Whether any clock is to be claimed: it is on its way, or stands still and has work due all the same, which was asked for at its
/// own now. The earliest is one step in an index; `exists` PostgreSQL would rather answer by reading the table.
pub async fn any_to_claim(db: &Db, now: DateTime<Utc>) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query(
            "select cast(1 as bigint) from clocks c
             where (c.lease_expires_at is null or c.lease_expires_at <= $1) and (
                 c.status = 'advancing'
                 or (select min(s.due_at) from subscriptions s where s.timeline = c.id and s.due_at is not null) <= c.now_at
                 or (select min(s.authorize_at) from subscriptions s where s.timeline = c.id and s.authorize_at is not null) <= c.now_at
                or (select min(a.due_at) from installment_plans a where a.timeline = c.id and a.due_at is not null) <= c.now_at
                 or (select min(i.next_attempt_at) from invoices i where i.timeline = c.id and i.next_attempt_at is not null) <= c.now_at)
             limit 1",
        )
        .bind(now)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Claims those clocks, so that only one daemon does their work.
pub async fn claim_idle_with_work(tx: &mut Tx, owner: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<TestClock>> {
    tx.query(
        "update clocks set lease_owner = $1, lease_expires_at = $3 where id in once(
            select c.id from clocks c
            where c.status = 'idle' and (c.lease_expires_at is null or c.lease_expires_at <= $2) and (
                (select min(s.due_at) from subscriptions s where s.timeline = c.id and s.due_at is not null) <= c.now_at
                or (select min(s.authorize_at) from subscriptions s where s.timeline = c.id and s.authorize_at is not null) <= c.now_at
                or (select min(a.due_at) from installment_plans a where a.timeline = c.id and a.due_at is not null) <= c.now_at
                or (select min(i.next_attempt_at) from invoices i where i.timeline = c.id and i.next_attempt_at is not null) <= c.now_at)
            limit 16 for update of c skip locked)
         returning *",
    )
    .bind(owner.to_owned())
    .bind(now)
    .bind(until)
    .all()
    .await
}

/// Renews a claim. Returns false if another daemon holds it now.
pub async fn renew_claim(tx: &mut Tx, id: ClockId, owner: &str, until: DateTime<Utc>) -> Result<bool> {
    let renewed = tx
        .query("update clocks set lease_expires_at = $1 where id = $2 and lease_owner = $3")
        .bind(until)
        .bind(id)
        .bind(owner.to_owned())
        .run()
        .await?;
    Ok(renewed > 0)
}

/// Frees what the previous run of this daemon had claimed.
pub async fn release_claims(tx: &mut Tx, owner: &str) -> Result<u64> {
    tx.query("update clocks set lease_owner = null, lease_expires_at = null where lease_owner = $1")
        .bind(owner.to_owned())
        .run()
        .await
}

/// Removes the customers of a clock and everything that belongs to them. Events stay: they are the record. Call it before the clock is
/// locked, since whoever works on a customer locks the clock second.
pub async fn delete_customers(tx: &mut Tx, id: ClockId) -> Result<u64> {
    // The second condition repeats the condition of the partial index.
    tx.query("delete from customers where timeline = $1 and timeline <> 'wall'").bind(id.to_string()).run().await
}

/// Removes a clock whose customers are gone.
pub async fn delete(tx: &mut Tx, id: ClockId) -> Result<bool> {
    Ok(tx.query("delete from clocks where id = $1").bind(id).run().await? > 0)
}
