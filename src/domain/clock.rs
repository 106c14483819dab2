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
    /// The row lives in real time.
    Wall,
    /// The row lives by this test clock.
    Test(ClockId),
}

impl Timeline {
    /// The test clock. None for the wall clock.
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
    /// Whether a test clock is moving.
    pub enum ClockStatus {
        /// The clock stands still.
        Idle = "idle",
        /// The clock is on its way to `target_at` and does all due work on the way.
        Advancing = "advancing",
    }
}

/// A clock that moves only when told and only forward. Its customers never reach a gateway that takes real money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct TestClock {
    /// Names the clock.
    pub id: ClockId,
    /// For people.
    pub name: String,
    /// The instant that the clock shows, UTC.
    pub now_at: DateTime<Utc>,
    /// Whether the clock is moving.
    pub status: ClockStatus,
    /// UTC instant to which the clock is moving. None while the clock stands still.
    pub target_at: Option<DateTime<Utc>>,
    /// The daemon that moves the clock. None means that no daemon does.
    pub lease_owner: Option<String>,
    /// When another daemon may go on with the move, wall time, UTC.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// How often each thing happened during the advance that is running or ended last.
    #[sqlx(json)]
    pub counts: Map<String, Value>,
    /// Wall time, UTC.
    pub created_at: DateTime<Utc>,
}
