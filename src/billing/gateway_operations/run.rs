//! One call to a gateway, the same for every operation: it waits for its turn, is made under a lease that runs, and its adapter may panic.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::catch_panic;
use crate::{
    billing::{
        App,
        gateways::{self, Call},
    },
    gateway::{Configured, circuit::listening},
    store::{self, leases::Leased},
};

/// What a call to a gateway is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Money moves or is authorized, or goes back. Made twice, it might happen twice: so the call is made under a lease that runs.
    Move,
    /// What is given back by it was never taken, and repeating it does no harm.
    Void,
    /// Asks what happened. Says nothing of how charges fare at the gateway.
    LookUp,
}

/// One call of one operation.
pub(crate) trait GatewayCall: Sync {
    /// The operation's row, whose lease the call is made under.
    type Row: Leased;
    type Answer: Send;

    fn row(&self) -> &Self::Row;

    fn purpose(&self) -> Purpose;

    /// The call as the circuit of the gateway knows it.
    fn circuit_call(&self, app: &App) -> Call;

    /// The answer if the gateway is paused or its circuit is open until this instant. None: the call is made all the same.
    fn postponed(&self, until: DateTime<Utc>) -> Option<Self::Answer>;

    fn call(&self, gateway: &Configured) -> impl Future<Output = Self::Answer> + Send;

    /// The answer if nobody knows what the call has done.
    fn unknown(&self, message: String) -> Self::Answer;

    /// The gateway's fault that an answer reports, and the wait that the gateway asked for.
    fn fault(&self, answer: &Self::Answer) -> Option<(String, Option<TimeDelta>)>;
}

/// Makes the call. None: another daemon may have the operation by now, and nothing was sent.
pub(crate) async fn make<C: GatewayCall>(app: &App, gateway: &Arc<Configured>, call: &C) -> Option<C::Answer> {
    let _permit = gateway.permits.acquire().await.ok()?;
    let circuit_call = call.circuit_call(app);
    // The gateway may have gone down while the call waited for its turn.
    let postponed = gateways::too_late_for(app, &circuit_call).and_then(|until| call.postponed(until));
    if postponed.is_some() {
        return postponed;
    }
    if call.purpose() == Purpose::Move && !keep_lease(app, call.row()).await {
        return None;
    }
    let made = catch_panic(call.row().key(), &gateway.name, call.call(gateway), |message| call.unknown(message));
    let (answer, log) = listening(made).await;
    if call.purpose() != Purpose::LookUp {
        gateways::note(app, &circuit_call, log.met(call.fault(&answer))).await;
    }
    Some(answer)
}

/// Renews the lease of an operation that has waited for long. False: another daemon has the operation, or may have it soon.
async fn keep_lease<L: Leased>(app: &App, row: &L) -> bool {
    match renew(app, row).await {
        Ok(renewed) => renewed,
        Err(error) => {
            tracing::warn!(%error, operation = row.key(), "the lease could not be renewed; the operation is left to recovery");
            false
        }
    }
}

async fn renew<L: Leased>(app: &App, row: &L) -> store::Result<bool> {
    let lease = app.config.collection.lease;
    if row.lease_expires_at().is_some_and(|expires| expires - lease / 2 > app.clock.now()) {
        return Ok(true);
    }
    let mut tx = app.db.begin().await?;
    // Not before: the transaction may have waited for long, and the lease would end in the past.
    let now = app.clock.now();
    let renewed = store::leases::renew_lease(&mut tx, row, now, now + lease).await?;
    tx.commit().await?;
    Ok(renewed)
}
