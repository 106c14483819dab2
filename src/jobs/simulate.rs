//! A simulation: a whole database, on a wall clock that is moved by hand, taken from one due instant to the next by the same jobs.
//!
//! Nothing waits here for real time: a lookup is made when the clock reaches its instant.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::advance::{do_due, earliest};
use crate::{
    billing::{App, Result, jobs::runs::Counts},
    clock::Clock,
    domain::clock::Timeline,
};

/// Takes everything on the wall timeline to `until`; work due at that very instant is left. `arrived` is called at every instant.
pub async fn simulate(app: &Arc<App>, until: DateTime<Utc>, mut arrived: impl FnMut(DateTime<Utc>, &Counts)) -> Result<Counts> {
    assert!(matches!(app.clock, Clock::Manual(_)), "a simulation must not move the real clock");
    let timeline = Timeline::Wall;
    let mut total = Counts::new();
    loop {
        let now = app.clock.now();
        let busy = do_due(app, timeline, now, &mut total).await?;
        if app.stopping.is_cancelled() {
            return Ok(total);
        }
        if busy {
            continue;
        }
        let next = earliest(app, timeline).await?.unwrap_or(until);
        // Work that cannot be done stays due: time goes on all the same.
        app.clock.set(next.max(now + TimeDelta::seconds(1)).min(until));
        arrived(app.clock.now(), &total);
        if app.clock.now() >= until {
            return Ok(total);
        }
    }
}
