//! The record of everything that happened. Append-only; feeds audit, webhooks and notices.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{customer::Timeline, id::EventId};

/// Who did it: the daemon itself, or an API key by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    System,
    Key(String),
}

impl Actor {
    pub fn text(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Key(id) => id.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Event {
    pub id: EventId,
    pub timeline: Timeline,
    /// `noun.verb`, such as `invoice.paid`.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub kind: String,
    /// Id of what it happened to.
    pub subject: String,
    pub actor: String,
    #[sqlx(json)]
    pub data: Value,
    /// By the clock of its timeline.
    pub occurred_at: DateTime<Utc>,
}
