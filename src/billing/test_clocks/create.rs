//! Test clocks: made, sent on their way, removed. Moving them step by step is the traveller's part.

use chrono::{DateTime, Months, Utc};
use serde_json::{Map, json};

use crate::{
    billing::{App, BillingError, Result},
    domain::{
        clock::{ClockStatus, Span, TestClock, Timeline},
        event::Actor,
        id::ClockId,
    },
    store,
};

/// A century in one go is certainly a slip.
const MAX_ADVANCE_YEARS: u32 = 100;

/// Where a clock is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    To(DateTime<Utc>),
    By(Span),
}

impl Goal {
    fn field(self) -> &'static str {
        match self {
            Self::To(_) => "to",
            Self::By(_) => "by",
        }
    }
}

pub async fn create(app: &App, actor: &Actor, name: &str, now: DateTime<Utc>) -> Result<TestClock> {
    let clock = TestClock {
        id: app.id(),
        name: name.to_owned(),
        now_at: now,
        status: ClockStatus::Idle,
        target_at: None,
        lease_owner: None,
        lease_expires_at: None,
        counts: Map::new(),
        created_at: app.clock.now(),
    };
    let event = app.event(Timeline::Test(clock.id), now, actor, "clock.created", clock.id, json!({"name": name, "now": now}));
    let mut tx = app.db.begin().await?;
    store::clocks::insert(&mut tx, clock.clone()).await?;
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(clock)
}

/// Sends a clock on its way. It goes on by itself, also after a restart.
pub async fn start_advance(app: &App, actor: &Actor, id: ClockId, goal: Goal) -> Result<TestClock> {
    let mut tx = app.db.begin().await?;
    let clock = store::clocks::lock(&mut tx, id).await?.ok_or_else(|| BillingError::not_found("clock", id))?;
    if clock.status == ClockStatus::Advancing {
        return Err(on_its_way());
    }
    let target = target(clock.now_at, goal)?;
    let clock = store::clocks::start(&mut tx, id, target).await?.ok_or_else(on_its_way)?;
    let data = json!({"from": clock.now_at, "to": target});
    let event = app.event(Timeline::Test(id), clock.now_at, actor, "clock.advance_started", id, data);
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    app.wakeups.advance.notify_one();
    Ok(clock)
}

fn on_its_way() -> BillingError {
    BillingError::WrongState("The clock is advancing: wait until it has arrived.".to_owned())
}

fn target(now: DateTime<Utc>, goal: Goal) -> Result<DateTime<Utc>> {
    let target = match goal {
        Goal::To(target) => Some(target),
        Goal::By(span) => span.after(now),
    };
    let limit = now.checked_add_months(Months::new(MAX_ADVANCE_YEARS * 12));
    match target.zip(limit) {
        Some((target, limit)) if target <= limit => {
            if target > now {
                Ok(target)
            } else {
                Err(BillingError::invalid(goal.field(), "must be later than the clock's now"))
            }
        }
        _ => Err(BillingError::invalid(goal.field(), format!("must lie within {MAX_ADVANCE_YEARS} years of the clock's now"))),
    }
}

/// Removes an idle clock with its customers and all that is theirs; the events stay.
pub async fn delete(app: &App, actor: &Actor, id: ClockId) -> Result<()> {
    let mut tx = app.db.begin().await?;
    // Rolled back if the clock turns out to be on its way.
    store::clocks::delete_customers(&mut tx, id).await?;
    let Some(clock) = store::clocks::hold_idle(&mut tx, id).await? else {
        return match store::clocks::lock(&mut tx, id).await? {
            Some(_) => Err(on_its_way()),
            None => Err(BillingError::not_found("clock", id)),
        };
    };
    // Those who were made meanwhile.
    store::clocks::delete_customers(&mut tx, id).await?;
    store::clocks::delete(&mut tx, id).await?;
    let event = app.event(Timeline::Test(id), clock.now_at, actor, "clock.deleted", id, json!({"name": clock.name}));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(())
}
