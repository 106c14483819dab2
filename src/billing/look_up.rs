//! Look-ups: what became of payments and refunds whose outcome nobody knows. By real time, on every timeline.

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};

use super::{
    App, Done,
    collect_due::drive,
    gateways, refund,
    settle::{self, Step},
};
use crate::{domain::customer::Timeline, store};

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
        let (settler, writer) = settle::channel(app);
        let calls = async {
            stream::iter(claimed).for_each_concurrent(None, |payment| drive(app, payment, Step::LookUp, &settler)).await;
            drop(settler);
        };
        let ((), written) = tokio::join!(calls, writer.run());
        written?;
    }
    Ok(asked)
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
