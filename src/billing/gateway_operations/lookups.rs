//! Lookups: what became of operations whose outcome nobody knows. By real time, on every timeline; the same for every kind of operation.

use std::convert::Infallible;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt, stream};

use crate::{
    billing::{App, Result, gateways},
    domain::clock::Timeline,
    store::{self, leases::LookedUp},
};

/// Claims the operations whose lookup is due, batch by batch, only those of `timeline` if one is given. Has each batch looked up, and
/// keeps its claims meanwhile. Answers how many were claimed.
pub(crate) async fn look_up_due<L: LookedUp, F: Future<Output = Result<()>>>(
    app: &App,
    timeline: Option<Timeline>,
    look_up: impl Fn(Vec<L>) -> F,
) -> Result<usize> {
    // What falls due meanwhile is the next run's, so that this run has an end however slow the gateways are.
    let due = app.clock.now();
    let mut asked = 0;
    while !app.stopping.is_cancelled() {
        let claimed: Vec<L> = claim(app, timeline, due).await?;
        if claimed.is_empty() {
            break;
        }
        asked += claimed.len();
        let keys: Vec<String> = claimed.iter().map(LookedUp::key).collect();
        tokio::select! {
            // In this order and not at random, so that the simulation can run the same again.
            biased;
            done = look_up(claimed) => done?,
            never = keep::<L>(app, &keys) => match never {},
        }
    }
    Ok(asked)
}

/// Like [`look_up_due`], for operations whose answers are settled one by one. A failure stops none of the others: an answer that could
/// not be written is asked for again when the claim ends.
pub(crate) async fn look_up_each<L: LookedUp, F: Future<Output = Result<()>>>(
    app: &App,
    timeline: Option<Timeline>,
    look_up: impl Fn(L) -> F,
) -> Result<usize> {
    let one = |row: L| {
        let (key, done) = (row.key(), look_up(row));
        async move {
            if let Err(error) = done.await {
                tracing::warn!(%error, operation = key, "what became of an operation could not be written");
            }
        }
    };
    look_up_due(app, timeline, |claimed: Vec<L>| stream::iter(claimed).for_each_concurrent(None, &one).map(Ok)).await
}

/// Claims one batch of what was due by an instant.
pub(crate) async fn claim<L: LookedUp>(app: &App, timeline: Option<Timeline>, due: DateTime<Utc>) -> Result<Vec<L>> {
    let until = app.clock.now() + app.config.collection.lease;
    let limit = app.config.billing.batch.into();
    let mut tx = app.db.begin().await?;
    let claimed = store::leases::claim_lookups::<L>(&mut tx, &app.instance, timeline, due, until, limit).await?;
    if !claimed.is_empty() {
        gateways::remember(app, &mut tx).await?;
        tx.commit().await?;
    }
    Ok(claimed)
}

/// Keeps lookups claimed for as long as this future is awaited: one lookup may read many pages, and many wait for their turn at the
/// gateway. If their claims ended meanwhile, daemons would look up the same rows in turns, and none of them could settle one.
async fn keep<L: LookedUp>(app: &App, keys: &[String]) -> Infallible {
    loop {
        tokio::time::sleep(app.config.collection.renew_every()).await;
        if let Err(error) = renew::<L>(app, keys).await {
            tracing::warn!(%error, "claimed lookups could not be renewed; another daemon may take them over");
        }
    }
}

async fn renew<L: LookedUp>(app: &App, keys: &[String]) -> store::Result<()> {
    let until = app.clock.now() + app.config.collection.lease;
    let mut tx = app.db.begin().await?;
    store::leases::keep_lookups::<L>(&mut tx, &app.instance, keys, until).await?;
    tx.commit().await
}

/// How long until the next lookup on a timeline; none when none is waiting.
pub async fn next_lookup_in<L: LookedUp>(app: &App, timeline: Timeline) -> Result<Option<TimeDelta>> {
    let at = store::leases::earliest_lookup::<L>(&app.db, timeline).await?;
    Ok(at.map(|at| (at - app.clock.now()).max(TimeDelta::zero())))
}
