//! Collection: claims what is due, records a payment and commits, calls the gateway outside any transaction, settles in groups.
//!
//! Guards "never twice": a payment is in the database before its first call, and an invoice with a payment on its way is not
//! claimed again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;

use super::{
    App, Done,
    requests::Asking,
    settle::{self, Answer, Settler, Step},
};
use crate::{
    domain::{
        customer::Timeline,
        event::Actor,
        id::InvoiceId,
        invoice::{Invoice, NextAction},
        payment::{DeclineClass, MethodKind, Payment, PaymentStatus, Reason},
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
}

/// Collects everything due on a timeline by `now`, until nothing is.
pub async fn collect_due(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Done<Collected> {
    let mut collected = Collected::default();
    let (settler, writer) = settle::channel(app);
    let work = async {
        let mut calls = FuturesUnordered::new();
        let batch = app.config.billing.batch as usize;
        loop {
            // Nothing is claimed whose outcome could not be written down.
            if app.stopping.is_cancelled() || settler.is_closed() {
                while calls.next().await.is_some() {}
                break;
            }
            // Claim ahead while calls are under way, so that the gateway never waits for the database.
            if calls.len() < batch {
                let claimed = match claim(app, timeline, now, batch as i64).await {
                    Ok(claimed) => claimed,
                    Err(error) => {
                        // Calls under way must still be settled: dropping them would make their outcomes unknown.
                        while calls.next().await.is_some() {}
                        drop(calls);
                        drop(settler);
                        return Err(error);
                    }
                };
                collected.without_gateway += claimed.without_gateway;
                collected.payments += claimed.payments.len();
                collected.requests += claimed.requests;
                let nothing_due = claimed.payments.is_empty() && claimed.requests == 0 && claimed.without_gateway == 0;
                calls.extend(claimed.payments.into_iter().map(|payment| drive(app, payment, Step::Charge, &settler)));
                if nothing_due && calls.is_empty() {
                    break;
                }
            }
            // Let a good part finish before claiming again, else each claim would be a batch of one.
            let wait_until = calls.len().saturating_sub(batch / 2).min(batch / 2);
            while calls.len() > wait_until && calls.next().await.is_some() {}
        }
        drop(calls);
        drop(settler);
        Ok(())
    };
    let (worked, written) = tokio::join!(work, writer.run());
    worked.and(written).map(|()| collected)
}

struct Claimed {
    payments: Vec<Payment>,
    requests: usize,
    without_gateway: usize,
}

async fn claim(app: &App, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Done<Claimed> {
    let wall = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut invoices = store::invoices::due(&mut tx, timeline, now, limit).await?;
    if invoices.is_empty() {
        return Ok(Claimed { payments: Vec::new(), requests: 0, without_gateway: 0 });
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let methods: HashMap<InvoiceId, ChosenMethod> =
        store::invoices::methods_of(&mut tx, &ids).await?.into_iter().map(|method| (method.invoice_id, method)).collect();
    let mut payments = Vec::with_capacity(invoices.len());
    let mut local = Vec::new();
    let asks =
        |invoice: &&Invoice| methods.get(&invoice.id).is_some_and(|method| method.kind == Some(MethodKind::PaymentRequest));
    let asked: Vec<&Invoice> = invoices.iter().filter(asks).collect();
    let mut asking = Asking::load(app, &mut tx, &asked, now, wall).await?;
    invoices.retain_mut(|invoice| match usable(app, timeline, invoice, methods.get(&invoice.id)) {
        Ok(method) if method.kind == Some(MethodKind::PaymentRequest) => asking.next(invoice, method),
        Ok(method) => {
            invoice.attempts += 1;
            invoice.next_attempt_at = None;
            invoice.updated_at = now;
            payments.push(payment_for(app, invoice, method, now, wall));
            true
        }
        Err(obstacle) => {
            local.push((invoice.id, obstacle));
            false
        }
    });
    store::payments::insert(&mut tx, &payments).await?;
    store::invoices::save(&mut tx, &invoices).await?;
    let requests = asking.close(&mut tx).await?;
    tx.commit().await?;
    let without_gateway = local.len();
    for (invoice, obstacle) in local {
        settle::without_gateway(app, invoice, obstacle).await?;
    }
    Ok(Claimed { payments, requests, without_gateway })
}

/// Claims and records what is due and makes no call, as a daemon does that dies at this very moment. For tests of recovery.
#[doc(hidden)]
pub async fn claim_only(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Done<usize> {
    Ok(claim(app, timeline, now, app.config.billing.batch.into()).await?.payments.len())
}

/// Why an invoice that is due is not sent to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    LadderEnded,
    NoMethod,
    GatewayNotConfigured,
    /// A test clock's customer must never be charged for real.
    LiveGateway,
}

impl Obstacle {
    pub(super) fn class(self) -> DeclineClass {
        match self {
            Self::LadderEnded | Self::NoMethod => DeclineClass::NewCardNeeded,
            Self::GatewayNotConfigured | Self::LiveGateway => DeclineClass::GatewayFault,
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::LadderEnded => "ladder_ended",
            Self::NoMethod => "no_payment_method",
            Self::GatewayNotConfigured => "gateway_not_configured",
            Self::LiveGateway => "live_gateway_on_test_clock",
        }
    }
}

fn usable<'m>(
    app: &App,
    timeline: Timeline,
    invoice: &Invoice,
    method: Option<&'m ChosenMethod>,
) -> Result<&'m ChosenMethod, Obstacle> {
    if invoice.next_action == NextAction::GiveUp {
        return Err(Obstacle::LadderEnded);
    }
    let method = method.filter(|method| method.payment_method_id.is_some()).ok_or(Obstacle::NoMethod)?;
    let gateway = method.gateway.as_deref().and_then(|name| app.gateways.get(name)).ok_or(Obstacle::GatewayNotConfigured)?;
    if gateway.live && timeline != Timeline::Wall {
        return Err(Obstacle::LiveGateway);
    }
    Ok(method)
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
        reason: if invoice.installment_plan_id.is_some() { Reason::Installment } else { Reason::Recurring },
        description: invoice.description.clone(),
        amount: invoice.balance_due(),
        amount_captured: 0,
        amount_refunded: 0,
        surplus: 0,
        currency: invoice.currency,
        status: PaymentStatus::Pending,
        transaction_id: None,
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
    if starting {
        freed += store::payment_requests::release(&mut tx, now, &app.instance).await?;
        freed += store::payments::release_look_ups(&mut tx, now, &app.instance).await?;
        freed += store::refunds::release_look_ups(&mut tx, now, &app.instance).await?;
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
