//! Look-ups: what became of payments and refunds whose outcome nobody knows. By real time, on every timeline.

use std::convert::Infallible;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};

use super::{
    App, Done,
    collect_due::drive,
    gateways, refund,
    settle::{self, Step},
};
use crate::{
    domain::{customer::Timeline, id::PaymentId},
    store,
};

/// Asks the gateways about every unknown payment whose look-up is due; only those of `timeline`, if one is given. Answers how
/// many were asked about.
pub async fn look_up_payments(app: &App, timeline: Option<Timeline>) -> Done<usize> {
    let mut asked = 0;
    while !app.stopping.is_cancelled() {
        let now = app.clock.now();
        let mut tx = app.db.begin().await?;
        let until = now + app.config.collection.lease;
        let claimed =
            store::payments::claim_look_ups(&mut tx, &app.instance, timeline, now, until, app.config.billing.batch.into())
                .await?;
        if claimed.is_empty() {
            break;
        }
        gateways::remember_pauses(app, &mut tx).await?;
        tx.commit().await?;
        asked += claimed.len();
        let ids: Vec<PaymentId> = claimed.iter().map(|payment| payment.id).collect();
        let (settler, writer) = settle::channel(app);
        let calls = async {
            stream::iter(claimed)
                .for_each_concurrent(None, |payment| async { drop(drive(app, payment, Step::LookUp, &settler).await) })
                .await;
            drop(settler);
        };
        tokio::select! {
            // In this order and not at random, so that the simulation can run the same again.
            biased;
            ((), written) = async { tokio::join!(calls, writer.run()) } => written?,
            never = keep(app, &ids) => match never {},
        }
    }
    Ok(asked)
}

/// Keeps look-ups claimed for as long as this is awaited: one may read many pages, many wait for their turn at the gateway. Claims
/// that ended meanwhile would let daemons look up the same payments in turns, and none of them settle one.
async fn keep(app: &App, claimed: &[PaymentId]) -> Infallible {
    loop {
        tokio::time::sleep(app.config.collection.lease / 3).await;
        if let Err(error) = renew(app, claimed).await {
            tracing::warn!(%error, "claimed look-ups could not be renewed; another daemon may take them over");
        }
    }
}

async fn renew(app: &App, claimed: &[PaymentId]) -> Done<()> {
    let until = app.clock.now() + app.config.collection.lease;
    let mut tx = app.db.begin().await?;
    store::payments::keep_look_ups(&mut tx, &app.instance, claimed, until).await?;
    tx.commit().await?;
    Ok(())
}

/// The same for refunds.
pub async fn look_up_refunds(app: &App) -> Done<usize> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let claimed = store::refunds::claim_look_ups(&mut tx, &app.instance, now, now + app.config.collection.lease, 100).await?;
    if claimed.is_empty() {
        return Ok(0);
    }
    tx.commit().await?;
    let asked = claimed.len();
    for refund in claimed {
        refund::look_up(app, refund).await?;
    }
    Ok(asked)
}

/// How long until the next look-up on a timeline; none when none is waiting.
pub async fn next_look_up_in(app: &App, timeline: Timeline) -> Done<Option<TimeDelta>> {
    let at = store::payments::earliest_look_up(&app.db, timeline).await?;
    Ok(at.map(|at| (at - app.clock.now()).max(TimeDelta::zero())))
}
