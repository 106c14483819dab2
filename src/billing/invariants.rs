//! The invariants: what must hold of all data at any moment, and the ids that break it. A job checks them and writes an event when
//! one breaks or is restored; `/v1/health/billing` checks them, too.

mod table;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::json;

pub use self::table::INVARIANTS;
use super::{App, Result};
use crate::{
    domain::{clock::Timeline, event::Actor, id::SubscriptionId},
    store::{
        self,
        invariants::{self, Finding, Violation},
        sums::Sums,
    },
};

/// One invariant, as it is declared.
pub struct Invariant {
    pub name: &'static str,
    /// What must hold.
    pub rule: &'static str,
    /// What to do where it does not hold.
    pub remedy: &'static str,
    /// Finds what breaks it.
    find: for<'a> fn(&'a Look<'a>) -> BoxFuture<'a, Result<Finding>>,
}

/// What all invariants are checked by, so that one check has one idea of now.
struct Look<'a> {
    app: &'a App,
    now: DateTime<Utc>,
    /// Work that was due before this instant should be done.
    overdue: DateTime<Utc>,
    /// Money that moved since this instant is added up.
    recent: DateTime<Utc>,
    sums: Vec<Sums>,
}

/// An invariant and what breaks it now.
pub struct Checked {
    pub invariant: &'static Invariant,
    pub found: Finding,
}

impl Checked {
    pub fn holds(&self) -> bool {
        self.found.count == 0
    }
}

/// How far the counting of cycles has come, and which subscriptions did not add up: those are counted at each look.
#[derive(Debug, Default)]
pub struct CycleScan {
    after: Option<SubscriptionId>,
    broken: BTreeSet<SubscriptionId>,
}

/// Checks every invariant, in the order of [`INVARIANTS`].
pub async fn check(app: &App) -> Result<Vec<Checked>> {
    let now = app.clock.now();
    let recent = now - app.config.invariants.recent;
    let overdue = now - app.config.invariants.overdue_after;
    let look = Look { app, now, overdue, recent, sums: store::sums::of_invoices(&app.db, recent).await? };
    let mut all = Vec::with_capacity(INVARIANTS.len());
    for invariant in INVARIANTS {
        all.push(Checked { invariant, found: (invariant.find)(&look).await? });
    }
    Ok(all)
}

/// How many invariants broke, and how many hold again, since the check before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    pub broken: usize,
    pub restored: usize,
}

/// Checks every invariant, stores which are broken, and appends an event for each that broke or was restored since any daemon last
/// checked.
pub async fn watch(app: &App) -> Result<Changes> {
    let all = check(app).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let known = invariants::violations(&mut tx).await?;
    let was_broken = |name: &str| known.iter().any(|violation| violation.name == name);
    let (broken, restored): (Vec<&Checked>, Vec<&Checked>) =
        all.iter().filter(|one| one.holds() == was_broken(one.invariant.name)).partition(|one| !one.holds());
    let count = |name: &str| all.iter().find(|one| one.invariant.name == name).map_or(0, |one| one.found.count);
    let recounted = known.iter().map(|violation| Violation { count: count(&violation.name), ..violation.clone() });
    let recounted: Vec<Violation> = recounted.filter(|violation| violation.count > 0 && !known.contains(violation)).collect();
    if broken.is_empty() && restored.is_empty() && recounted.is_empty() {
        return Ok(Changes::default());
    }
    invariants::recount(&mut tx, &recounted).await?;
    let event =
        |invariant: &Invariant, kind: &str, data| app.event(Timeline::Wall, now, &Actor::System, kind, invariant.name, data);
    let mut events = Vec::new();
    for Checked { invariant, found } in &broken {
        tracing::error!(invariant = invariant.name, count = found.count, ids = found.ids.join(", "), "{}", invariant.remedy);
        let data = json!({ "rule": invariant.rule, "count": found.count, "ids": found.ids });
        events.push(event(invariant, "invariant.violated", data));
    }
    events.extend(restored.iter().map(|one| event(one.invariant, "invariant.restored", json!({ "rule": one.invariant.rule }))));
    let violations: Vec<Violation> = broken
        .iter()
        .map(|one| Violation { name: one.invariant.name.to_owned(), count: one.found.count, broken_at: now })
        .collect();
    match invariants::broken(&mut tx, &violations).await {
        // Another daemon checked at the same moment and wrote the events.
        Err(store::Error::Conflict) => return Ok(Changes::default()),
        done => done?,
    }
    let names: Vec<&str> = restored.iter().map(|one| one.invariant.name).collect();
    invariants::restored(&mut tx, &names).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(Changes { broken: broken.len(), restored: restored.len() })
}
