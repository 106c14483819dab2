//! The record of everything that happened: append-only, for audit.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{clock::Timeline, id::EventId};

/// Who did it: the daemon itself, or an API key by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    System,
    Key(String),
}

impl Actor {
    /// What [`Actor::text`] says.
    pub fn named(text: &str) -> Self {
        if text == "system" { Self::System } else { Self::Key(text.to_owned()) }
    }

    pub fn text(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Key(id) => id.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
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

/// What differs between two states of the same thing, as an event's data: `{"before": {...}, "after": {...}}`.
pub fn difference(before: &impl Serialize, after: &impl Serialize) -> Value {
    let fields = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (mut before, mut after) = (fields(serde_json::to_value(before)), fields(serde_json::to_value(after)));
    let same: Vec<String> =
        after.iter().filter(|(name, value)| before.get(*name) == Some(value)).map(|(name, _)| name.clone()).collect();
    for name in same {
        before.remove(&name);
        after.remove(&name);
    }
    json!({ "before": before, "after": after })
}
