//! Events: appended in the transaction that makes them true, never changed.

use serde_json::Value;
use sqlx::types::Json;

use super::{Result, Tx, db::Row};
use crate::domain::event::Event;

impl Row for Event {
    const TABLE: &'static str = "events";
}

pub async fn append(tx: &mut Tx, events: &[Event]) -> Result<()> {
    tx.insert_rows(events).await
}

/// The data of a subject's events of one type, oldest first.
pub async fn data_of(tx: &mut Tx, subject: &str, kind: &str) -> Result<Vec<Value>> {
    // The empty text makes SQLite read the few events of the subject instead of all events of the type.
    let rows: Vec<(Json<Value>,)> = tx
        .query("select data from events where subject = $1 and type || '' = $2 order by id")
        .bind(subject.to_owned())
        .bind(kind.to_owned())
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0.0).collect())
}
