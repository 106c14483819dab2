//! Clocks: the wall clock, and test clocks, each of which moves for its own customers, only when told and only forward.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{id::ClockId, serde_as_text, text_enum};

mod span;

pub use span::{BadSpan, Span};

/// Which clock drives a row: the wall clock, or a test clock that only moves when told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timeline {
    Wall,
    Test(ClockId),
}

impl Timeline {
    pub fn clock_id(self) -> Option<ClockId> {
        match self {
            Self::Wall => None,
            Self::Test(id) => Some(id),
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wall => f.write_str("wall"),
            Self::Test(id) => id.fmt(f),
        }
    }
}

impl FromStr for Timeline {
    type Err = super::id::BadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "wall" { Ok(Self::Wall) } else { text.parse().map(Self::Test) }
    }
}

serde_as_text!(Timeline);

text_enum! {
    pub enum ClockStatus {
        Idle = "idle",
        /// On its way to `target_at`, doing all due work on the way.
        Advancing = "advancing",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
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
