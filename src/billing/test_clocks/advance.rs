//! The steps of a test clock on its way: claim, move, arrive. Each is one small transaction, so that an advance goes on where it
//! was after any interruption.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    billing::{App, Result, jobs::runs::Counts},
    domain::{
        clock::{ClockStatus, TestClock, Timeline},
        event::Actor,
        id::ClockId,
    },
    store,
};

/// Claims the clocks that are to be moved and that nobody moves, and those that stand still with work due at their now.
pub async fn claim(app: &App) -> Result<Vec<TestClock>> {
    let now = app.clock.now();
    let until = now + app.config.collection.lease;
    // Asking first is a plain read; most of the time no clock needs anything.
    if !store::clocks::any_to_claim(&app.db, now).await? {
        return Ok(Vec::new());
    }
    let mut tx = app.db.begin().await?;
    let mut clocks = store::clocks::claim_advancing(&mut tx, &app.instance, now, until).await?;
    clocks.extend(store::clocks::claim_idle_with_work(&mut tx, &app.instance, now, until).await?);
    if !clocks.is_empty() {
        tx.commit().await?;
    }
    Ok(clocks)
}

/// Moves a clock from `from` on to `to`, never back, and adds to its counts. A clock that is moved to its target once more, after
/// everything due there is done, has arrived. None if this daemon does not hold the clock any more, or if it stands elsewhere
/// because another advance moved it meanwhile: what is due was then worked out for another instant.
pub async fn step(app: &App, id: ClockId, from: DateTime<Utc>, to: DateTime<Utc>, done: &Counts) -> Result<Option<TestClock>> {
    let mut tx = app.db.begin().await?;
    let Some(mut clock) = store::clocks::lock(&mut tx, id).await? else { return Ok(None) };
    if clock.status != ClockStatus::Advancing || clock.lease_owner.as_deref() != Some(&app.instance) || clock.now_at != from {
        return Ok(None);
    }
    let arrived = clock.target_at.is_none_or(|target| clock.now_at >= target);
    clock.now_at = clock.now_at.max(to);
    for (name, count) in done {
        let sum = clock.counts.get(name).and_then(Value::as_i64).unwrap_or(0) + count.as_i64().unwrap_or(0);
        clock.counts.insert(name.clone(), sum.into());
    }
    clock.lease_expires_at = Some(app.clock.now() + app.config.collection.lease);
    if arrived {
        clock.status = ClockStatus::Idle;
        clock.target_at = None;
        clock.lease_owner = None;
        clock.lease_expires_at = None;
        let data = json!({ "now": clock.now_at, "counts": clock.counts });
        let event = app.event(Timeline::Test(id), clock.now_at, &Actor::System, "clock.arrived", id, data);
        store::events::append(&mut tx, &[event]).await?;
    }
    store::clocks::save(&mut tx, clock.clone()).await?;
    tx.commit().await?;
    Ok(Some(clock))
}

/// Keeps a clock claimed for as long as this is awaited: doing all that is due at one instant may take longer than a lease.
pub async fn keep(app: &App, id: ClockId) {
    loop {
        tokio::time::sleep(app.config.collection.renew_every()).await;
        match renew(app, id).await {
            Ok(true) => {}
            // The next step finds out and ends the journey.
            Ok(false) => return std::future::pending().await,
            Err(error) => tracing::warn!(clock = %id, %error, "the claim on a clock could not be renewed"),
        }
    }
}

async fn renew(app: &App, id: ClockId) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let renewed = store::clocks::renew_claim(&mut tx, id, &app.instance, app.clock.now() + app.config.collection.lease).await?;
    tx.commit().await?;
    Ok(renewed)
}

/// Lets go of a clock, so that this or another daemon takes it up again.
pub async fn let_go(app: &App, id: ClockId) -> Result<()> {
    let mut tx = app.db.begin().await?;
    if let Some(clock) =
        store::clocks::lock(&mut tx, id).await?.filter(|clock| clock.lease_owner.as_deref() == Some(&app.instance))
    {
        store::clocks::save(&mut tx, TestClock { lease_owner: None, lease_expires_at: None, ..clock }).await?;
        tx.commit().await?;
    }
    Ok(())
}
