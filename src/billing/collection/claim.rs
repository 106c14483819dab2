//! The claim of what is due: how each invoice goes on is decided, and payments are recorded, in one transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    allowance::{Credentials, SuccessTally},
    authorized::{Authorized, AuthorizedStep},
    fallback_method,
    step::{self, CollectionStep},
};
use crate::{
    billing::{App, BillingError, Result, gateways::Admissions, payment_requests::Asking, payments::settle},
    domain::{
        clock::Timeline,
        dunning::Postponement,
        event::Actor,
        id::InvoiceId,
        invoice::Invoice,
        payment::{Payment, PaymentStatus, Reason},
        payment_method::MethodKind,
    },
    store::{self, invoices::ChosenMethod},
};

#[derive(Default)]
pub(super) struct Claimed {
    pub payments: Vec<Payment>,
    pub requests: usize,
    pub without_gateway: usize,
    /// Invoices that were given a later instant.
    pub postponed: usize,
    /// Credentials of which more was due than could be under way.
    pub behind: Vec<String>,
    /// Of what comes after the claim: the payments are claimed all the same, and must be charged.
    pub fault: Option<BillingError>,
}

pub(super) async fn claim(
    app: &App,
    timeline: Timeline,
    now: DateTime<Utc>,
    limit: i64,
    accepted: SuccessTally,
) -> Result<Claimed> {
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
