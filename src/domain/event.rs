//! The record of everything that happened. Events are only added, so that an audit can trust the record.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{clock::Timeline, id::EventId};

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The daemon itself, by one of its jobs.
    System,
    /// Whoever has the API key of this id.
    Key(String),
}

impl Actor {
    /// The actor that [`Actor::text`] wrote as this text.
    pub fn named(text: &str) -> Self {
        if text == "system" { Self::System } else { Self::Key(text.to_owned()) }
    }

    /// `system`, or the id of the API key: as events store the actor.
    pub fn text(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Key(id) => id.clone(),
        }
    }
}

/// A record of one change. No code changes or removes an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Event {
    /// Names the event; ids rise with time.
    pub id: EventId,
    /// The clock of what was changed: the wall clock or a test clock.
    pub timeline: Timeline,
    /// `noun.verb`, such as `invoice.paid`.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub kind: String,
    /// Id text of what was changed.
    pub subject: String,
    /// Who made the change, as [`Actor::text`] writes it.
    pub actor: String,
    /// What changed, as a JSON object. Never card data or secrets.
    #[sqlx(json)]
    pub data: Value,
    /// UTC, by the clock of the timeline.
    pub occurred_at: DateTime<Utc>,
}

/// The fields that differ between two states of the same thing, as an event's data: `{"before": {...}, "after": {...}}`.
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
