//! Events: appended in the transaction that makes them true, never changed.

use super::{Result, Tx, db::Row};
use crate::domain::event::Event;

impl Row for Event {
    const TABLE: &'static str = "events";
    const COLUMNS: &'static [&'static str] = &["id", "timeline", "type", "subject", "actor", "data", "occurred_at"];
}

pub async fn append(tx: &mut Tx, events: &[Event]) -> Result<()> {
    tx.insert_rows(events).await
}
