//! Look-ups: what became of payments and refunds whose outcome nobody knows. By real time, on every timeline.

use std::convert::Infallible;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};

use crate::{
    billing::{
        App, Result,
        collection::run::execute,
        gateways,
        payments::settle::{self, Step},
        refunds,
    },
    domain::{
        clock::Timeline,
        id::{PaymentId, RefundId},
        payment::Payment, refund::Refund,
    },
    store,
};

/// Asks the gateways about every unknown payment whose look-up is due; only those of `timeline`, if one is given. Answers how
/// many were asked about.
pub async fn look_up_payments(app: &App, timeline: Option<Timeline>) -> Result<usize> {
    let mut asked = 0;
    while !app.stopping.is_cancelled() {
        let now = app.clock.now();
        let mut tx = app.db.begin().await?;
        let until = now + app.config.collection.lease;
        let claimed = store::leases::claim_lookups::<Payment>(
            &mut tx,
            &app.instance,
            timeline,
            now,
            until,
            app.config.billing.batch.into(),
        )
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
                .for_each_concurrent(None, |payment| async { drop(execute(app, payment, Step::LookUp, &settler).await) })
                .await;
            drop(settler);
        };
        tokio::select! {
            // In this order and not at random, so that the simulation can run the same again.
            biased;
            ((), written) = async { tokio::join!(calls, writer.run()) } => written?,
            never = keep(app, |until| renew_payments(app, &ids, until)) => match never {},
        }
    }
    Ok(asked)
}

/// Keeps look-ups claimed for as long as this is awaited: one look-up may read many pages, and many wait for their turn at the gateway.
/// Claims that ended meanwhile would let daemons look up the same rows in turns, and no daemon would settle one.
async fn keep<F: Future<Output = store::Result<u64>>>(app: &App, renew: impl Fn(DateTime<Utc>) -> F) -> Infallible {
    loop {
        tokio::time::sleep(app.config.collection.lease / 3).await;
        if let Err(error) = renew(app.clock.now() + app.config.collection.lease).await {
            tracing::warn!(%error, "claimed look-ups could not be renewed; another daemon may take them over");
        }
    }
}

async fn renew_payments(app: &App, claimed: &[PaymentId], until: DateTime<Utc>) -> store::Result<u64> {
    let mut tx = app.db.begin().await?;
    let renewed = store::leases::keep_lookups::<Payment>(&mut tx, &app.instance, claimed, until).await?;
    tx.commit().await?;
    Ok(renewed)
}

async fn renew_refunds(app: &App, claimed: &[RefundId], until: DateTime<Utc>) -> store::Result<u64> {
    let mut tx = app.db.begin().await?;
    let renewed = store::leases::keep_lookups::<Refund>(&mut tx, &app.instance, claimed, until).await?;
    tx.commit().await?;
    Ok(renewed)
}

/// Asks the gateways about every unknown refund whose look-up is due. Answers how many were asked about.
pub async fn look_up_refunds(app: &App) -> Result<usize> {
    let mut asked = 0;
    // What falls due meanwhile is the next run's, so that this run has an end however slow the gateways are.
    let due = app.clock.now();
    while !app.stopping.is_cancelled() {
        let until = app.clock.now() + app.config.collection.lease;
        let mut tx = app.db.begin().await?;
        let claimed =
            store::leases::claim_lookups::<Refund>(&mut tx, &app.instance, None, due, until, app.config.billing.batch.into())
                .await?;
        if claimed.is_empty() {
            break;
        }
        tx.commit().await?;
        asked += claimed.len();
        let ids: Vec<RefundId> = claimed.iter().map(|refund| refund.id).collect();
        let calls = stream::iter(claimed).for_each_concurrent(None, |refund| async move {
            let id = refund.id;
            // An answer that could not be written is asked for again when the claim ends.
            if let Err(error) = refunds::look_up(app, refund).await {
                tracing::warn!(%error, refund = %id, "what became of a refund could not be written");
            }
        });
        tokio::select! {
            // In this order and not at random, so that the simulation can run the same again.
            biased;
            () = calls => {}
            never = keep(app, |until| renew_refunds(app, &ids, until)) => match never {},
        }
    }
    Ok(asked)
}

/// How long until the next look-up on a timeline; none when none is waiting.
pub async fn next_lookup_in(app: &App, timeline: Timeline) -> Result<Option<TimeDelta>> {
    let at = store::leases::earliest_lookup::<Payment>(&app.db, timeline).await?;
    Ok(at.map(|at| (at - app.clock.now()).max(TimeDelta::zero())))
}
