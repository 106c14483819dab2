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
    store::{self, Tx},
};

/// What the mechanism must know of a call. The implementor is one call of one operation.
pub(crate) trait GatewayCall: Sync {
    type Answer: Send;

    /// What the call is about, for the log.
    fn subject(&self) -> String;

    /// The call as the circuit knows it, if it moves money or authorizes it. None: a lookup, which says nothing of how charges fare.
    fn admission(&self, app: &App) -> Option<Call>;

    /// Until when the lease of the call runs. None: the call needs no lease, since repeating it does no harm.
    fn lease_expires_at(&self) -> Option<DateTime<Utc>>;

    /// Renews the lease until `until`. False: another daemon has the operation by now.
    fn renew(&self, tx: &mut Tx, now: DateTime<Utc>, until: DateTime<Utc>) -> impl Future<Output = store::Result<bool>> + Send;

    fn call(&self, gateway: &Configured) -> impl Future<Output = Self::Answer> + Send;

    /// The gateway is paused or its circuit is open: nothing was sent, and nothing is until this instant.
    fn postponed(&self, until: DateTime<Utc>) -> Self::Answer;

    /// Nobody knows what the call has done.
    fn unknown(&self, message: String) -> Self::Answer;

    /// The gateway's fault that an answer reports, and the wait that the gateway asked for.
    fn fault(&self, answer: &Self::Answer) -> Option<(String, Option<TimeDelta>)>;
}

/// Makes the call. None: the lease was lost, and nothing was sent.
pub(crate) async fn make<C: GatewayCall>(app: &App, gateway: &Arc<Configured>, call: &C) -> Option<C::Answer> {
    let _permit = gateway.permits.acquire().await.ok()?;
    let admission = call.admission(app);
    // The gateway may have gone down while the call waited for its turn.
    if let Some(until) = admission.as_ref().and_then(|admission| gateways::too_late_for(app, admission)) {
        return Some(call.postponed(until));
    }
    match keep_lease(app, call).await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => {
            tracing::warn!(%error, subject = call.subject(), "the lease could not be renewed; the operation is left to recovery");
            return None;
        }
    }
    let made = catch_panic(call.subject(), &gateway.name, call.call(gateway), |message| call.unknown(message));
    let (answer, log) = listening(made).await;
    if let Some(admission) = admission {
        gateways::note(app, &admission, log.met(call.fault(&answer))).await;
    }
    Some(answer)
}

/// Renews the lease of a call that has waited for long. False: another daemon has the operation by now.
async fn keep_lease(app: &App, call: &impl GatewayCall) -> store::Result<bool> {
    let lease = app.config.collection.lease;
    if call.lease_expires_at().is_none_or(|expires| expires - lease / 2 > app.clock.now()) {
        return Ok(true);
    }
    let mut tx = app.db.begin().await?;
    // Not before: the transaction may have waited for long, and the lease would end in the past.
    let now = app.clock.now();
    let renewed = call.renew(&mut tx, now, now + lease).await?;
    tx.commit().await?;
    Ok(renewed)
}
