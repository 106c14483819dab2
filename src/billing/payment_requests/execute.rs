//! The calls about requests: claimed, made outside any transaction, each answer settled before the next call. By real time on every
//! timeline.

use super::{
    call::{self, begin},
    settle::settle,
};
use crate::{
    billing::{
        App, Result,
        gateway_operations::lookups::{claim, look_up_each},
    },
    domain::{
        clock::Timeline,
        payment_request::{
            PaymentRequest, RequestStatus,
            transition::{RequestReply, RequestStep},
        },
    },
    gateway::requests::{Polled, Withdrawn},
};

/// Does what is due about requests at the gateways; only those of `timeline`, if one is given. Answers how many.
pub async fn work(app: &App, timeline: Option<Timeline>) -> Result<usize> {
    look_up_each(app, timeline, |request| execute(app, request)).await
}

/// Claims what is due, records that the customers are being asked and makes no call, as a daemon does that dies at this very moment.
/// For tests of recovery.
#[doc(hidden)]
pub async fn claim_only(app: &App, timeline: Timeline) -> Result<usize> {
    let claimed: Vec<PaymentRequest> = claim(app, Some(timeline), app.clock.now()).await?;
    for request in &claimed {
        begin(app, request, RequestStep::Ask).await?;
    }
    Ok(claimed.len())
}

/// Takes a request through its calls. Every answer is settled before the next call.
async fn execute(app: &App, mut request: PaymentRequest) -> Result<()> {
    let gateway = app.gateways.get(&request.gateway);
    let Some((gateway, asks)) = gateway.and_then(|gateway| Some((gateway, gateway.adapter.requests()?))) else {
        // It left the configuration: asked again later, and parked for an operator in the end.
        let message = format!("gateway {} is not configured for payment requests", request.gateway);
        settle(app, &request, true, RequestReply::Polled(Polled::NoAnswer { message })).await?;
        return Ok(());
    };
    let mut step = first(&request);
    let mut kept = false;
    while let Some(answer) = call::ask(app, gateway, asks, &request, step).await {
        if !kept && matches!(answer, RequestReply::Withdrawn(Withdrawn::Kept { .. })) {
            // Somebody has tried to pay since we looked, perhaps with success.
            (kept, step) = (true, RequestStep::Poll);
            continue;
        }
        match settle(app, &request, asks.sends(), answer).await? {
            Some((next, fresh)) => (step, request) = (next, fresh),
            None => break,
        }
    }
    Ok(())
}

/// Whatever is to be done, what was paid comes first; unless nobody can have paid.
fn first(request: &PaymentRequest) -> RequestStep {
    let unasked = request.asks == 0 && request.status == RequestStatus::Pending;
    match request.ending {
        Some(_) if unasked => RequestStep::Withdraw,
        None if unasked => RequestStep::Ask,
        _ => RequestStep::Poll,
    }
}
