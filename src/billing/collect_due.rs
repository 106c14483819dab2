//! Collection: claims what is due, records a payment and commits, calls the gateway outside any transaction, settles in groups.
//!
//! Guards "never twice": a payment is in the database before its first call, and an invoice with a payment on its way is not
//! claimed again.

use std::{collections::HashMap, pin::pin};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    future::{Fuse, FusedFuture},
    stream::FuturesUnordered,
};
use serde_json::json;

mod reserved;
mod way;

use reserved::Reserved;
pub(super) use way::Obstacle;
use way::Way;

use super::{
    App, Done,
    settle::{self, Answer, Settler, Step},
};
use crate::{
    domain::{
        customer::Timeline,
        event::Actor,
        id::InvoiceId,
        invoice::Invoice,
        payment::{MethodKind, Payment, PaymentStatus, Reason},
    },
    store::{self, invoices::ChosenMethod},
};

/// What a collection run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    pub payments: usize,
    /// Invoices settled without any gateway: no usable method, or the ladder ended.
    pub without_gateway: usize,
}

/// Collects everything due on a timeline by `now`, until nothing is.
pub async fn collect_due(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Done<Collected> {
    let (settler, writer) = settle::channel(app);
    let work = async {
        let collected = claim_and_call(app, timeline, now, &settler).await;
        drop(settler);
        collected
    };
    let (worked, written) = tokio::join!(work, writer.run());
    written.and(worked)
}

/// Claims ahead while calls are under way, so that neither the gateway nor the database waits for the other.
async fn claim_and_call(app: &App, timeline: Timeline, now: DateTime<Utc>, settler: &Settler) -> Done<Collected> {
    let mut collected = Collected::default();
    let batch = app.config.billing.batch as usize;
    let mut calls = FuturesUnordered::new();
    let mut claiming = pin!(Fuse::terminated());
    let mut fault = None;
    // More is claimed once no more calls than this are left.
    let mut enough = batch;
    loop {
        // Nothing is claimed whose outcome could not be written down. What is under way must be settled all the same: dropping a
        // call would make its outcome unknown.
        let over = fault.is_some() || app.stopping.is_cancelled() || settler.is_closed();
        if claiming.is_terminated() {
            if !over && calls.len() <= enough {
                claiming.set(claim(app, timeline, now, batch as i64).fuse());
            } else if calls.is_empty() {
                break;
            }
        }
        tokio::select! {
            claimed = &mut claiming, if !claiming.is_terminated() => match claimed {
                Ok(claimed) => {
                    collected.without_gateway += claimed.without_gateway;
                    collected.payments += claimed.payments.len();
                    let count = claimed.payments.len() + claimed.without_gateway;
                    calls.extend(claimed.payments.into_iter().map(|payment| {
                        let reserved = payment.status == PaymentStatus::Authorized;
                        drive(app, payment, if reserved { Step::Capture } else { Step::Charge }, settler)
                    }));
                    if count == 0 && calls.is_empty() {
                        break;
                    }
                    // Where little was due, a good part is finished first, else each claim would be a batch of one.
                    enough = if count == batch { batch } else { calls.len() / 2 };
                }
                Err(error) => fault = Some(error),
            },
            Some(()) = calls.next() => {}
        }
    }
    fault.map_or(Ok(collected), Err)
}

struct Claimed {
    payments: Vec<Payment>,
    without_gateway: usize,
}

async fn claim(app: &App, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Done<Claimed> {
    let wall = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut invoices = store::invoices::due(&mut tx, timeline, now, limit).await?;
    if invoices.is_empty() {
        return Ok(Claimed { payments: Vec::new(), without_gateway: 0 });
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let methods: HashMap<InvoiceId, ChosenMethod> =
        store::invoices::methods_of(&mut tx, &ids).await?.into_iter().map(|method| (method.invoice_id, method)).collect();
    let mut reserved = Reserved::of(&mut tx, &ids).await?;
    let mut payments = Vec::with_capacity(invoices.len());
    let mut local = Vec::new();
    invoices.retain_mut(|invoice| {
        match way::of(app, timeline, invoice, methods.get(&invoice.id)) {
            Way::Charge(method) => match reserved.wait(app, invoice, method, now, wall) {
                Some(until) => invoice.next_attempt_at = Some(until),
                None => {
                    invoice.attempts += 1;
                    invoice.next_attempt_at = None;
                    let mut payment = payment_for(app, invoice, method, now, wall);
                    reserved.capture(invoice.id, &mut payment);
                    payments.push(payment);
                }
            },
            Way::Wait(until) => invoice.next_attempt_at = Some(until),
            Way::Without(obstacle) => {
                local.push((invoice.id, obstacle));
                return false;
            }
        }
        invoice.updated_at = now;
        true
    });
    store::payments::insert(&mut tx, &payments).await?;
    store::invoices::save(&mut tx, &invoices).await?;
    let to_void = reserved.close(&mut tx).await?;
    tx.commit().await?;
    if to_void {
        app.bells.look_up.notify_one();
    }
    let without_gateway = local.len();
    for (invoice, obstacle) in local {
        settle::without_gateway(app, invoice, obstacle).await?;
    }
    Ok(Claimed { payments, without_gateway })
}

/// Claims and records what is due and makes no call, as a daemon does that dies at this very moment. For tests of recovery.
#[doc(hidden)]
pub async fn claim_only(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Done<usize> {
    Ok(claim(app, timeline, now, app.config.billing.batch.into()).await?.payments.len())
}

fn payment_for(app: &App, invoice: &Invoice, method: &ChosenMethod, now: DateTime<Utc>, wall: DateTime<Utc>) -> Payment {
    let id = app.ids.next(wall);
    Payment {
        id,
        invoice_id: invoice.id,
        customer_id: invoice.customer_id,
        payment_method_id: method.payment_method_id,
        timeline: invoice.timeline,
        attempt: invoice.attempts,
        gateway: method.gateway.clone().unwrap_or_default(),
        kind: method.kind.unwrap_or(MethodKind::VaultToken),
        reference: id.short_reference(),
        idempotency_key: id.to_string(),
        customer_token: method.customer_token.clone(),
        payment_method_token: method.payment_method_token.clone(),
        prior_transaction_id: method.transaction_id.clone(),
        reason: if invoice.installment_plan_id.is_some() { Reason::Installment } else { Reason::Recurring },
        description: invoice.description.clone(),
        amount: invoice.balance_due(),
        amount_captured: 0,
        amount_refunded: 0,
        amount_disputed: 0,
        dispute_check_at: None,
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
    }
}

/// Takes one claimed payment through its gateway calls. Every answer is settled before the next call.
pub(super) async fn drive(app: &App, mut payment: Payment, mut step: Step, settler: &Settler) {
    let Some(gateway) = app.gateways.get(&payment.gateway).cloned() else {
        // It left the configuration: asked again later, and parked for an operator in the end.
        let message = format!("gateway {} is not configured", payment.gateway);
        settler.report(payment, Answer::Silence(message)).await;
        return;
    };
    loop {
        let answer = settle::ask(app, &gateway, &payment, step).await;
        match settler.report(payment, answer).await {
            Some((next, claimed)) => (step, payment) = (next, claimed),
            None => return,
        }
    }
}

/// Frees what this daemon's earlier life, or a daemon that has gone silent, was doing. Their payments are looked up next.
pub async fn recover(app: &App, starting: bool) -> Done<u64> {
    let now = app.clock.now();
    let reborn = starting.then_some(app.instance.as_str());
    let mut tx = app.db.begin().await?;
    let mut freed = store::payments::expire_leases(&mut tx, now, reborn).await?;
    freed += store::refunds::expire_leases(&mut tx, now, reborn).await?;
    freed += store::authorizations::expire_leases(&mut tx, now, reborn).await?;
    if starting {
        freed += store::payments::release_look_ups(&mut tx, now, &app.instance).await?;
        freed += store::refunds::release_look_ups(&mut tx, now, &app.instance).await?;
        freed += store::authorizations::release_look_ups(&mut tx, now, &app.instance).await?;
        freed += store::clocks::release_claims(&mut tx, &app.instance).await?;
    }
    if freed > 0 {
        let event = app.event(
            Timeline::Wall,
            now,
            &Actor::System,
            "claims.recovered",
            &app.instance,
            json!({ "freed": freed, "at_start": starting }),
        );
        store::events::append(&mut tx, &[event]).await?;
        tx.commit().await?;
    }
    Ok(freed)
}
