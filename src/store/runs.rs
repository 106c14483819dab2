//! Job runs: which job ran, when, and how it ended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Result, Tx, db::Row};
use crate::domain::id::{Id, RunId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct JobRun {
    pub id: RunId,
    pub job: String,
    pub instance: String,
    /// `ok` or `failed`.
    pub result: String,
    #[sqlx(json)]
    pub counts: Map<String, Value>,
    pub error: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Row for JobRun {
    const TABLE: &'static str = "job_runs";
}

pub async fn insert(tx: &mut Tx, run: JobRun) -> Result<()> {
    tx.insert_rows(&[run]).await
}

/// Removes runs that started before this instant.
pub async fn remove_older(tx: &mut Tx, oldest: DateTime<Utc>) -> Result<u64> {
    // Ids begin with their time, so this is a range of the primary key.
    let oldest: RunId = Id::first_at(oldest);
    tx.query("delete from job_runs where id < $1").bind(oldest).run().await
}
