//! The clock: the only reader of system time in the program. Whole microseconds, so that both databases keep it exactly.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, SubsecRound, Utc};

/// Source of wall time. A simulation puts the whole database on a hand-moved one.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Microseconds since 1970, moved by [`Clock::set`].
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn manual(now: DateTime<Utc>) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.timestamp_micros())))
    }

    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that may ask the system")]
            Self::System => Utc::now().trunc_subsecs(6),
            Self::Manual(micros) => DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default(),
        }
    }

    /// Moves a manual clock forward; never back. The system clock cannot be moved.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Self::Manual(micros) = self {
            micros.fetch_max(now.timestamp_micros(), Ordering::SeqCst);
        }
    }
}
