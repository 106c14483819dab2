//! Now, by each clock that a group of answers needs.

use std::collections::{BTreeMap, btree_map::Entry};

use chrono::{DateTime, Utc};

use crate::{
    billing::{App, Result},
    domain::clock::Timeline,
    store::Tx,
};

pub(super) struct Clocks {
    nows: BTreeMap<Timeline, DateTime<Utc>>,
    /// Wall time.
    pub wall: DateTime<Utc>,
}

impl Clocks {
    pub async fn read(app: &App, tx: &mut Tx, timelines: impl Iterator<Item = Timeline>) -> Result<Self> {
        let mut nows = BTreeMap::new();
        for timeline in timelines {
            if let Entry::Vacant(slot) = nows.entry(timeline) {
                slot.insert(app.now_in(tx, timeline).await?);
            }
        }
        Ok(Self { nows, wall: app.clock.now() })
    }

    /// Reads the wall clock again: locking may have taken long.
    pub fn refresh(&mut self, app: &App) {
        self.wall = app.clock.now();
    }

    pub fn now(&self, timeline: Timeline) -> DateTime<Utc> {
        self.nows.get(&timeline).copied().unwrap_or(self.wall)
    }

    /// Now on the one timeline that was read.
    pub fn only(&self) -> DateTime<Utc> {
        self.nows.values().next().copied().unwrap_or(self.wall)
    }
}
