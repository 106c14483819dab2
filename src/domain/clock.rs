//! A test clock: time for a set of customers, which only moves when told, and only forward.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{id::ClockId, text_enum};

mod span;

pub use span::{BadSpan, Span};

text_enum! {
    pub enum ClockStatus {
        Idle = "idle",
        /// On its way to `target_at`, doing all due work on the way.
        Advancing = "advancing",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct TestClock {
    pub id: ClockId,
    pub name: String,
    pub now_at: DateTime<Utc>,
    pub status: ClockStatus,
    pub target_at: Option<DateTime<Utc>>,
    pub lease_owner: Option<String>,
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// What happened during the advance that is running or ended last.
    #[sqlx(json)]
    pub counts: Map<String, Value>,
    pub created_at: DateTime<Utc>,
}
