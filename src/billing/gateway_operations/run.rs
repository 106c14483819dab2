//! One call to a gateway, the same for every operation: it waits for its turn, is recorded before it is made, and its adapter may panic.

use std::{panic::AssertUnwindSafe, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;

use crate::{
    billing::{
        App, Result,
        gateways::{self, Call, refusals},
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
    /// A customer is asked or reminded. Made twice, the customer is bothered twice: so the call is recorded first.
    Message,
    /// Asks what happened. Says nothing of how charges fare at the gateway.
    LookUp,
}

impl Purpose {
    /// Whether the record of the call is made sure of just before the call.
    fn is_recorded(self) -> bool {
        matches!(self, Self::Move | Self::Message)
    }

    /// Whether the circuit of the gateway is asked, and told how the call fared.
    fn concerns_circuit(self) -> bool {
        matches!(self, Self::Move | Self::Void)
    }
}

/// One call of one operation.
pub(crate) trait GatewayCall: Send + Sync {
    type Answer: Send;

    /// What the call is about, for the log.
    fn subject(&self) -> String;

    fn purpose(&self) -> Purpose;

    /// Commits that the call is about to be made. False: another daemon has the operation, or may have it soon. Only done for a call
    /// that moves money or sends a message.
    fn begin(&mut self, _app: &App) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(true) }
    }

    /// The call as the circuit of the gateway knows it. None: the circuit knows nothing of such calls.
    fn circuit_call(&self, _app: &App) -> Option<Call> {
        None
    }

    /// The answer if the gateway is paused or its circuit is open until this instant. None: the call is made all the same.
    fn postponed(&self, _until: DateTime<Utc>) -> Option<Self::Answer> {
        None
    }

    fn call(&self, gateway: &Configured) -> impl Future<Output = Self::Answer> + Send;

    /// The answer if nobody knows what the call has done.
    fn unknown(&self, message: String) -> Self::Answer;

    /// What the gateway said if it refuses the merchant's account.
    fn refusal(&self, _answer: &Self::Answer) -> Option<String> {
        None
    }

    /// Whether the answer shows that the gateway takes the merchant's account.
    fn is_accepted(&self, _answer: &Self::Answer) -> bool {
        false
    }

    /// The gateway's fault that an answer reports, and the wait that the gateway asked for.
    fn fault(&self, _answer: &Self::Answer) -> Option<(String, Option<TimeDelta>)> {
        None
    }
}

/// Makes the call. None: another daemon may have the operation by now, and nothing was sent.
pub(crate) async fn make<C: GatewayCall>(app: &App, gateway: &Arc<Configured>, mut call: C) -> Option<C::Answer> {
    let _permit = gateway.permits.acquire().await.ok()?;
    let purpose = call.purpose();
    let gateway_call = call.circuit_call(app);
    let circuit_call = gateway_call.clone().filter(|_| purpose.concerns_circuit());
    // The gateway may have gone down while the call waited for its turn.
    let until = circuit_call.as_ref().and_then(|circuit_call| gateways::too_late_for(app, circuit_call));
    let postponed = until.and_then(|until| call.postponed(until));
    if postponed.is_some() {
        return postponed;
    }
    if purpose.is_recorded() && !begun(app, &mut call).await {
        return None;
    }
    let begun_at = app.clock.now();
    let (answer, log) = listening(catch_panic(&gateway.name, &call, call.call(gateway))).await;
    if let Some(reason) = log.refused().or_else(|| call.refusal(&answer)) {
        refusals::refuse(app, &gateway.name, gateway_call.as_ref(), &reason).await;
    } else if purpose != Purpose::LookUp && call.is_accepted(&answer) {
        // A request to pay goes out later than it is let through, and by another job.
        let order = gateway_call.as_ref().filter(|_| purpose != Purpose::Message);
        refusals::accepted(app, &gateway.name, order, begun_at).await;
    }
    if let Some(circuit_call) = circuit_call {
        gateways::note(app, &circuit_call, log.met(call.fault(&answer))).await;
    }
    Some(answer)
}

async fn begun<C: GatewayCall>(app: &App, call: &mut C) -> bool {
    call.begin(app).await.unwrap_or_else(|error| {
        tracing::warn!(%error, operation = call.subject(), "a call could not be recorded and is not made; the operation is recovered later");
        false
    })
}

/// Awaits a call of an adapter. A panic of the adapter becomes the answer of an unknown outcome: the call may have got as far as the
/// gateway, and the panic must not take the other calls of the run with it.
async fn catch_panic<C: GatewayCall>(gateway: &str, call: &C, made: impl Future<Output = C::Answer>) -> C::Answer {
    AssertUnwindSafe(made).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(subject = call.subject(), gateway, "the adapter panicked; the outcome is looked up");
        call.unknown("the adapter panicked".to_owned())
    })
}

/// Renews the lease of an operation that has waited for long. False: another daemon has the operation, or may have it soon.
pub(crate) async fn keep_lease<L: Leased>(app: &App, row: &L) -> Result<bool> {
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
