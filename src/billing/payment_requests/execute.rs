//! The calls about requests: claimed, made outside any transaction, each answer settled before the next call. By real time on every
//! timeline.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use super::{schedule, settle::settle};
use crate::{
    billing::{App, Result, gateway_operations::catch_panic},
    domain::{
        clock::Timeline,
        payment_request::{
            PaymentRequest, RequestStatus,
            transition::{RequestReply, RequestStep},
        },
    },
    gateway::requests::{Ask, Asked, Outstanding, Polled, Requests, Withdrawn},
    store,
};

/// Does what is due about requests at the gateways; only those of `timeline`, if one is given. Answers how many.
pub async fn work(app: &App, timeline: Option<Timeline>) -> Result<usize> {
    let mut worked = 0;
    // What falls due meanwhile is the next run's, so that this one has an end however slow the gateways are.
    let due = app.clock.now();
    while !app.stopping.is_cancelled() {
        let claimed = claim(app, timeline, due).await?;
        if claimed.is_empty() {
            break;
        }
        worked += claimed.len();
        let outcomes: Vec<Result<()>> = stream::iter(claimed)
            .map(|request| execute(app, request))
            .buffer_unordered(app.config.billing.batch as usize)
            .collect()
            .await;
        for outcome in outcomes {
            // What could not be written falls due again when its claim ends.
            outcome?;
        }
    }
    Ok(worked)
}

async fn claim(app: &App, timeline: Option<Timeline>, due: DateTime<Utc>) -> Result<Vec<PaymentRequest>> {
    let mut tx = app.db.begin().await?;
    let until = app.clock.now() + app.config.collection.lease;
    let limit = app.config.billing.batch.into();
    let claimed = store::payment_requests::claim(&mut tx, &app.instance, timeline, due, until, limit).await?;
    if !claimed.is_empty() {
        tx.commit().await?;
    }
    Ok(claimed)
}

/// Claims what is due, records that the customers are being asked and makes no call, as a daemon does that dies at this very moment.
/// For tests of recovery.
#[doc(hidden)]
pub async fn claim_only(app: &App, timeline: Timeline) -> Result<usize> {
    let claimed = claim(app, Some(timeline), app.clock.now()).await?;
    for request in &claimed {
        begin(app, request).await?;
    }
    Ok(claimed.len())
}

async fn execute(app: &App, mut request: PaymentRequest) -> Result<()> {
    let configured = app.gateways.get(&request.gateway).cloned();
    let Some((gateway, asks)) = configured.as_ref().and_then(|gateway| Some((gateway, gateway.adapter.requests()?))) else {
        // It left the configuration: asked again later, and parked for an operator in the end.
        let message = format!("gateway {} is not configured for payment requests", request.gateway);
        settle(app, &request, true, RequestReply::Polled(Polled::NoAnswer { message })).await?;
        return Ok(());
    };
    let Ok(_permit) = gateway.permits.acquire().await else { return Ok(()) };
    let mut step = first(&request);
    let mut kept = false;
    loop {
        let news = match step {
            RequestStep::Ask => match begin(app, &request).await? {
                Some(begun) => {
                    request = begun;
                    let ask = ask(app, &request);
                    let unknown = |message| Asked::Unknown { message };
                    RequestReply::Asked(catch_panic(request.id, &gateway.name, asks.ask(&ask), unknown).await)
                }
                None => return Ok(()),
            },
            RequestStep::Poll => {
                let outstanding = outstanding(&request);
                let no_answer = |message| Polled::NoAnswer { message };
                RequestReply::Polled(catch_panic(request.id, &gateway.name, asks.poll(&outstanding), no_answer).await)
            }
            RequestStep::Remind => {
                let ask = ask(app, &request);
                let unknown = |message| Asked::Unknown { message };
                let remind = asks.remind(request.request_id.as_deref(), &ask);
                RequestReply::Reminded(catch_panic(request.id, &gateway.name, remind, unknown).await)
            }
            RequestStep::Withdraw => {
                let no_answer = |message| Withdrawn::NoAnswer { message };
                match catch_panic(request.id, &gateway.name, withdraw(asks, &request), no_answer).await {
                    // Somebody has tried to pay since we looked, perhaps with success.
                    Withdrawn::Kept { .. } if !kept => {
                        kept = true;
                        step = RequestStep::Poll;
                        continue;
                    }
                    withdrawn => RequestReply::Withdrawn(withdrawn),
                }
            }
        };
        match settle(app, &request, asks.sends(), news).await? {
            Some((next, fresh)) => (step, request) = (next, fresh),
            None => return Ok(()),
        }
    }
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

async fn withdraw(asks: &dyn Requests, request: &PaymentRequest) -> Withdrawn {
    match (&request.agreement_id, &request.request_id) {
        (Some(payment), _) => asks.stop(payment).await,
        (None, Some(id)) => asks.withdraw(id).await,
        (None, None) => Withdrawn::Gone,
    }
}

/// Writes down that the customer is being asked; none if somebody else has the request by now.
async fn begin(app: &App, claimed: &PaymentRequest) -> Result<Option<PaymentRequest>> {
    let wall = app.clock.now();
    let mut tx = app.db.begin().await?;
    let Some(mut request) = store::payment_requests::lock(&mut tx, claimed.id).await? else { return Ok(None) };
    if request.lease_token != claimed.lease_token || !request.status.is_open() || request.ending.is_some() {
        return Ok(None);
    }
    if request.asks == 0 {
        request.sent_at = wall;
    }
    request.asks += 1;
    // By the gateway's clock it runs as long as by ours, whatever clock the customer is on.
    request.gateway_expires_at = wall + app.config.collection.payment_request_expires;
    request.next_check_at = Some(wall + app.config.collection.lease);
    store::payment_requests::save(&mut tx, std::slice::from_ref(&request)).await?;
    tx.commit().await?;
    Ok(Some(request))
}

fn ask(app: &App, request: &PaymentRequest) -> Ask {
    let public = &app.config.admin.public_url;
    Ask {
        reference: request.reference.clone(),
        amount_minor: request.amount,
        currency: request.currency,
        description: request.description.clone(),
        channels: request.channels.clone(),
        name: request.name.clone(),
        email: request.email.clone(),
        phone: request.phone.clone(),
        locale: request.locale.clone(),
        expires_at: request.gateway_expires_at,
        schedule: schedule::asked(request),
        callback_url: (!public.is_empty()).then(|| format!("{public}/hooks/paysley/{}", request.gateway)),
    }
}

fn outstanding(request: &PaymentRequest) -> Outstanding {
    Outstanding {
        reference: request.reference.clone(),
        amount_minor: request.amount,
        currency: request.currency,
        sent_at: request.sent_at,
    }
}
