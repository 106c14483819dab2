//! Collection: claims what is due, records a payment and commits, calls the gateway outside any transaction, settles in groups.
//!
//! Guards "never twice": a payment is in the database before its first call, and an invoice with a payment on its way is not
//! claimed again.

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    future::{Fuse, FusedFuture},
    stream::FuturesUnordered,
};
use serde_json::json;

use super::{
    allowance::{Credentials, SuccessTally},
    authorized::{Authorized, AuthorizedStep},
    fallback_method,
    step::{self, CollectionStep},
};
use crate::{
    billing::{
        App, BillingError, Result,
        gateways::{Admissions, Call, ProbeSlot},
        payment_requests::Asking,
        payments::settle::{self, Answer, Settler, Step},
        task::offload,
    },
    domain::{
        clock::Timeline,
        dunning::Postponement,
        event::Actor,
        id::InvoiceId,
        invoice::Invoice,
        payment::{Outcome, Payment, PaymentStatus, Reason},
        payment_method::MethodKind,
    },
    store::{self, invoices::ChosenMethod},
};

/// What a collection run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    pub payments: usize,
    /// Invoices whose customers are asked to pay, or asked again.
    pub requests: usize,
    /// Invoices settled without any gateway: no usable method, or the ladder ended.
    pub without_gateway: usize,
    /// Invoices that wait, for a gateway that rests or a credential that must.
    pub postponed: usize,
}

/// Collects everything due on a timeline by `now`, until nothing is. Claims ahead while calls are under way, so that neither the
/// gateway nor the database waits for the other.
pub async fn collect_due(app: &Arc<App>, timeline: Timeline, now: DateTime<Utc>) -> Result<Collected> {
    let (settler, writer) = settle::channel(app.clone());
    let mut writing = pin!(offload(writer.run()).fuse());
    let mut written = Ok(());
    let mut collected = Collected::default();
    let batch = app.config.billing.batch as usize;
    let mut calls = FuturesUnordered::new();
    let mut claiming = pin!(Fuse::terminated());
    let mut fault = None;
    let mut accepted = SuccessTally::default();
    // More is claimed once no more calls than this are left.
    let mut enough = batch;
    loop {
        // Nothing is claimed whose outcome could not be written down. What is under way must be settled all the same: dropping a
        // call would make its outcome unknown.
        let over = fault.is_some() || app.stopping.is_cancelled() || settler.is_closed();
        if claiming.is_terminated() {
            if !over && calls.len() <= enough {
                let (app, accepted) = (app.clone(), accepted.clone());
                claiming.set(offload(async move { claim(&app, timeline, now, batch as i64, accepted).await }).fuse());
            } else if calls.is_empty() {
                break;
            }
        }
        tokio::select! {
            // In this order and not at random, so that the simulation can run the same again.
            biased;
            claimed = &mut claiming, if !claiming.is_terminated() => match claimed {
                Ok(claimed) => {
                    collected.without_gateway += claimed.without_gateway;
                    collected.payments += claimed.payments.len();
                    collected.requests += claimed.requests;
                    collected.postponed += claimed.postponed;
                    fault = claimed.fault;
                    let count = claimed.payments.len() + claimed.requests + claimed.without_gateway + claimed.postponed;
                    claimed.behind.into_iter().for_each(|credential| accepted.watch(credential));
                    calls.extend(claimed.payments.into_iter().map(|payment| {
                        let reserved = payment.status == PaymentStatus::Authorized;
                        execute(app, payment, if reserved { Step::Capture } else { Step::Charge }, &settler)
                    }));
                    if count == 0 && calls.is_empty() {
                        break;
                    }
                    // Where little was due, a good part is finished first, else each claim would be a batch of one.
                    enough = if count == batch { batch } else { calls.len() / 2 };
                }
                Err(error) => fault = Some(error),
            },
            // Before the calls: others wait for the transaction that it has begun.
            ended = &mut writing, if !writing.is_terminated() => written = ended,
            Some(charged) = calls.next() => charged.iter().for_each(|credential| accepted.count(credential)),
        }
    }
    drop(calls);
    drop(settler);
    if !writing.is_terminated() {
        written = writing.await;
    }
    written.and(fault.map_or(Ok(collected), Err))
}

#[derive(Default)]
struct Claimed {
    payments: Vec<Payment>,
    requests: usize,
    without_gateway: usize,
    /// Invoices that were given a later instant.
    postponed: usize,
    /// Credentials of which more was due than could be under way.
    behind: Vec<String>,
    /// Of what comes after the claim: the payments are claimed all the same, and must be charged.
    fault: Option<BillingError>,
}

async fn claim(app: &App, timeline: Timeline, now: DateTime<Utc>, limit: i64, accepted: SuccessTally) -> Result<Claimed> {
    let wall = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut invoices = store::invoices::due(&mut tx, timeline, now, limit).await?;
    if invoices.is_empty() {
        return Ok(Claimed::default());
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let mut methods: BTreeMap<InvoiceId, ChosenMethod> =
        store::invoices::methods_of(&mut tx, &ids).await?.into_iter().map(|method| (method.invoice_id, method)).collect();
    fallback_method::choose(app, &mut tx, now, &invoices, &mut methods).await?;
    let mut admissions = Admissions::read(app, &mut tx, timeline, now).await?;
    let mut credentials = Credentials::read(app, &mut tx, timeline, now, &methods, &accepted).await?;
    let mut reserved = Authorized::of(&mut tx, &ids).await?;
    let mut payments = Vec::with_capacity(invoices.len());
    let mut local = Vec::new();
    let mut events = Vec::new();
    let mut postponed = 0;
    let asks =
        |invoice: &&Invoice| methods.get(&invoice.id).is_some_and(|method| method.kind == Some(MethodKind::PaymentRequest));
    let asked: Vec<&Invoice> = invoices.iter().filter(asks).collect();
    let mut asking = Asking::load(app, &mut tx, &asked, now, wall).await?;
    invoices.retain_mut(|invoice| {
        let method = methods.get(&invoice.id);
        let way = match (reserved.held(app, invoice, method, now, wall), method) {
            (Some(AuthorizedStep::Wait(until)), _) => CollectionStep::Wait(until, Postponement::Reservation),
            // What is captured was approved before: no cap stands in its way.
            (Some(AuthorizedStep::Capture), Some(method)) => step::approved(method, &mut admissions),
            _ => step::of(app, timeline, invoice, method, &mut credentials, &mut admissions),
        };
        match way {
            CollectionStep::Charge(method) => {
                invoice.attempts += 1;
                invoice.next_attempt_at = None;
                // `next_method` stays until the outcome: after a fault of the gateway the same attempt is made again.
                invoice.postponed_by = None;
                let mut payment = payment_for(app, invoice, method, now, wall);
                reserved.capture(invoice.id, &mut payment);
                payments.push(payment);
            }
            CollectionStep::Ask(method) => return asking.next(invoice, method),
            CollectionStep::Wait(until, why) => {
                (invoice.next_attempt_at, invoice.postponed_by) = (Some(until), Some(why));
                postponed += 1;
                // A gateway that rests is told of once, not once for each invoice that waits for it.
                if why != Postponement::Gateway {
                    let data = json!({ "reason": why, "until": until, "subscription_id": invoice.subscription_id });
                    events.push(app.event(timeline, now, &Actor::System, "invoice.postponed", invoice.id, data));
                }
            }
            CollectionStep::Behind => return false,
            CollectionStep::Without(obstacle) => {
                local.push((invoice.id, obstacle));
                return false;
            }
        }
        invoice.updated_at = now;
        true
    });
    store::payments::insert(&mut tx, &payments).await?;
    store::invoices::save_claimed(&mut tx, &invoices).await?;
    store::events::append(&mut tx, &events).await?;
    let behind = credentials.behind;
    let requests = asking.close(&mut tx).await?;
    let to_void = reserved.close(&mut tx).await?;
    tx.commit().await?;
    if to_void {
        app.wakeups.look_up.notify_one();
    }
    let without_gateway = local.len();
    let mut fault = None;
    for (invoice, obstacle) in local {
        if let Err(error) = settle::without_gateway(app, invoice, obstacle).await {
            fault = Some(error);
            break;
        }
    }
    Ok(Claimed { payments, requests, without_gateway, postponed, behind, fault })
}

/// Claims and records what is due and makes no call, as a daemon does that dies at this very moment. For tests of recovery.
#[doc(hidden)]
pub async fn claim_only(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<usize> {
    Ok(claim(app, timeline, now, app.config.billing.batch.into(), SuccessTally::default()).await?.payments.len())
}

fn payment_for(app: &App, invoice: &Invoice, method: &ChosenMethod, now: DateTime<Utc>, wall: DateTime<Utc>) -> Payment {
    let id = app.ids.next(wall);
    Payment {
        id,
        invoice_id: invoice.id,
        customer_id: invoice.customer_id,
        payment_method_id: method.payment_method_id,
        payment_request_id: None,
        timeline: invoice.timeline,
        attempt: invoice.attempts,
        gateway: method.gateway.clone().unwrap_or_default(),
        kind: method.kind.unwrap_or(MethodKind::VaultToken),
        reference: id.short_reference(),
        idempotency_key: id.to_string(),
        customer_token: method.customer_token.clone(),
        payment_method_token: method.payment_method_token.clone(),
        prior_transaction_id: method.transaction_id.clone(),
        credential: method.credential(),
        reason: if invoice.installment_plan_id.is_some() { Reason::Installment } else { Reason::Recurring },
        description: invoice.description.clone(),
        amount: invoice.balance_due(),
        amount_captured: 0,
        amount_refunded: 0,
        amount_disputed: 0,
        overpayment: 0,
        currency: invoice.currency,
        status: PaymentStatus::Pending,
        transaction_id: None,
        authorization_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        lease_owner: Some(app.instance.clone()),
        lease_token: 1,
        lease_expires_at: Some(wall + app.config.collection.lease),
        lookups: 0,
        next_lookup_at: None,
        sent_at: wall,
        called_at: wall,
        created_at: now,
        resolved_at: None,
        return_at: None,
    }
}

/// Takes one claimed payment through its gateway calls. Every answer is settled before the next call. Answers the credential if
/// money moved.
pub(crate) fn execute<'a>(
    app: &'a App,
    payment: Payment,
    step: Step,
    settler: &'a Settler,
) -> impl Future<Output = Option<String>> + 'a {
    // Made now, so that a execute that never begins gives it back, too.
    let place = ProbeSlot::of(app, Call::of(app, &payment), step != Step::LookUp);
    async move {
        let _place = place;
        call_by_call(app, payment, step, settler).await
    }
}

async fn call_by_call(app: &App, mut payment: Payment, mut step: Step, settler: &Settler) -> Option<String> {
    let Some(gateway) = app.gateways.get(&payment.gateway).cloned() else {
        // It left the configuration: asked again later, and parked for an operator in the end.
        let message = format!("gateway {} is not configured", payment.gateway);
        settler.report(payment, Answer::Silence(message)).await;
        return None;
    };
    loop {
        let answer = settle::ask(app, &gateway, &payment, step).await;
        let accepted = matches!(answer, Answer::Outcome(Outcome::Succeeded { .. }));
        let credential = payment.credential.clone().filter(|_| accepted);
        match settler.report(payment, answer).await {
            Some((next, claimed)) => (step, payment) = (next, claimed),
            None => return credential,
        }
    }
}
