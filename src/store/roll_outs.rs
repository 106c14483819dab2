//! Roll-outs. Each batch saves in its own transaction how far the roll-out has come.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{id::RollOutId, roll_out::RollOut};

impl Row for RollOut {
    const TABLE: &'static str = "roll_outs";
    const UNSAVED: &'static [&'static str] =
        &["entry_type", "entry_id", "revision", "options", "versions", "actor", "created_at"];
}

/// Fails with a conflict while another of the same entry is running.
pub async fn insert(tx: &mut Tx, roll_out: &RollOut) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(roll_out)).await
}

pub async fn get(db: &Db, id: RollOutId) -> Result<Option<RollOut>> {
    db.query("select * from roll_outs where id = $1").bind(id).optional().await
}

/// Roll-outs that are not done, oldest first.
pub async fn running(db: &Db) -> Result<Vec<RollOut>> {
    db.query("select * from roll_outs where status = 'running' order by id").all().await
}

/// Locks a roll-out for one batch. Returns none if it is done, or another daemon works on it.
pub async fn take(tx: &mut Tx, id: RollOutId) -> Result<Option<RollOut>> {
    tx.query("select * from roll_outs where id = $1 and status = 'running' for update skip locked").bind(id).optional().await
}

pub async fn save(tx: &mut Tx, roll_out: &RollOut) -> Result<()> {
    tx.save_rows(std::slice::from_ref(roll_out)).await?;
    Ok(())
}
