//! Disputes: asks the gateways about payments of the last months, a few times each, and records what was taken back.
//!
//! A walk along the payments of each age, in the order of their ids: nothing is written for payments that are not disputed, and the
//! cost does not grow with history.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{
    App, Result,
    gateway_operations::{
        retry,
        run::{GatewayCall, Purpose, make},
    },
};
use crate::{
    domain::{
        dispute::{ASKED_AFTER_DAYS, Dispute, DisputeStatus},
        event::Actor,
        id::{Id, PaymentId, PaymentRequestId},
        payment::Payment,
    },
    gateway::{Configured, Disputed},
    store,
};

/// Payments that are asked about side by side, and how many times as many of each age in one run; the next run goes on.
const BATCH: i64 = 200;
const BATCHES: usize = 50;
/// An age that was never asked about begins so far back.
const FIRST_ROUND: TimeDelta = TimeDelta::days(1);

/// Asks about every payment that has come to one of the ages by `now`, and about those that are in dispute. Answers how many.
pub async fn check(app: &App, now: DateTime<Utc>) -> Result<usize> {
    let mut asked = disputed(app).await?;
    for days in ASKED_AFTER_DAYS {
        asked += round(app, days, now - TimeDelta::days(days)).await?;
    }
    Ok(asked)
}

/// Those of one age: made before `until`, and not asked about at this age yet.
async fn round(app: &App, days: i64, until: DateTime<Utc>) -> Result<usize> {
    let begin = Id::first_at(until - FIRST_ROUND);
    let mut reached = store::disputes::reached(&app.db, days).await?.unwrap_or(begin);
    let mut asked = 0;
    for _ in 0..BATCHES {
        let payments = store::disputes::payments_between(&app.db, reached, Id::first_at(until), BATCH).await?;
        let Some(last) = payments.last().filter(|_| !app.stopping.is_cancelled()) else { break };
        reached = last.id;
        asked += payments.len();
        ask_all(app, payments).await?;
        // Whoever dies before this asks once more.
        let mut tx = app.db.begin().await?;
        store::disputes::reach(&mut tx, days, reached).await?;
        tx.commit().await?;
    }
    Ok(asked)
}

/// A dispute is followed to its end, however late that is.
async fn disputed(app: &App) -> Result<usize> {
    let (mut from, mut asked) = (PaymentId::from_bits(0), 0);
    for _ in 0..BATCHES {
        let payments = store::disputes::payments_in_dispute(&app.db, from, BATCH).await?;
        let Some(last) = payments.last().filter(|_| !app.stopping.is_cancelled()) else { break };
        from = last.id;
        asked += payments.len();
        ask_all(app, payments).await?;
    }
    Ok(asked)
}

async fn ask_all(app: &App, payments: Vec<Payment>) -> Result<()> {
    let by_request: Vec<PaymentRequestId> = payments.iter().filter_map(|payment| payment.payment_request_id).collect();
    let requests = store::payment_requests::request_ids(&app.db, &by_request).await?;
    let requests: HashMap<PaymentRequestId, String> = requests.into_iter().collect();
    let ask = |payment: Payment| {
        let request = payment.payment_request_id.and_then(|id| requests.get(&id)).cloned();
        ask(app, payment, request)
    };
    let outcomes: Vec<Result<()>> = stream::iter(payments).map(ask).buffer_unordered(16).collect().await;
    outcomes.into_iter().collect()
}

async fn ask(app: &App, payment: Payment, request: Option<String>) -> Result<()> {
    let Some(gateway) = app.gateways.get(&payment.gateway) else { return Ok(()) };
    let Some(id) = payment.transaction_id.clone() else { return Ok(()) };
    match make(app, gateway, DisputeQuestion { payment: payment.id, transaction_id: id, request }).await {
        Some(Ok(Some(disputed))) if disputed.amount_minor != payment.amount_disputed => {
            retry::settle(app, payment.id, || settle(app, &payment, &disputed)).await
        }
        Some(Ok(_)) | None => Ok(()),
        Some(Err(message)) => {
            // Asked again at its next age: a gateway that is away changes nothing about a dispute.
            tracing::warn!(payment = %payment.id, message, "whether it is disputed could not be found out");
            Ok(())
        }
    }
}

/// Asked without a lease: nothing is claimed for it, and whoever asks once more does no harm.
struct DisputeQuestion {
    payment: PaymentId,
    transaction_id: String,
    /// The gateway's id of the request by which the customer paid.
    request: Option<String>,
}

impl GatewayCall for DisputeQuestion {
    type Answer = std::result::Result<Option<Disputed>, String>;

    fn subject(&self) -> String {
        self.payment.to_string()
    }

    fn purpose(&self) -> Purpose {
        Purpose::LookUp
    }

    async fn call(&self, gateway: &Configured) -> Self::Answer {
        gateway.adapter.disputed(&self.transaction_id, self.request.as_deref()).await
    }

    fn unknown(&self, message: String) -> Self::Answer {
        Err(message)
    }
}

async fn settle(app: &App, seen: &Payment, disputed: &Disputed) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let now = app.now_in(&mut tx, seen.timeline).await?;
    let Some(mut payment) = store::payments::lock(&mut tx, seen.id).await? else { return Ok(()) };
    let Disputed { amount_minor, reason } = disputed.clone();
    let amount = amount_minor.clamp(0, payment.amount_captured);
    let open = store::disputes::lock_open_of(&mut tx, payment.id).await?;
    let kind = match &open {
        None if amount > 0 => Some("dispute.opened"),
        Some(_) if amount == 0 => Some("dispute.closed"),
        Some(dispute) if dispute.amount != amount => Some("dispute.changed"),
        _ => None,
    };
    if let Some(kind) = kind {
        payment.amount_disputed = amount;
        let dispute = match open {
            None => {
                let dispute = Dispute {
                    id: app.id(),
                    payment_id: payment.id,
                    invoice_id: payment.invoice_id,
                    customer_id: payment.customer_id,
                    timeline: payment.timeline,
                    gateway: payment.gateway.clone(),
                    transaction_id: payment.transaction_id.clone().unwrap_or_default(),
                    amount,
                    currency: payment.currency,
                    status: DisputeStatus::Open,
                    reason,
                    opened_at: now,
                    closed_at: None,
                };
                store::disputes::insert(&mut tx, std::slice::from_ref(&dispute)).await?;
                dispute
            }
            Some(mut dispute) => {
                if amount > 0 {
                    (dispute.amount, dispute.reason) = (amount, reason);
                } else {
                    (dispute.status, dispute.closed_at) = (DisputeStatus::Closed, Some(now));
                }
                store::disputes::save(&mut tx, &dispute).await?;
                dispute
            }
        };
        let data = json!({
            "payment_id": dispute.payment_id, "invoice_id": dispute.invoice_id, "customer_id": dispute.customer_id,
            "amount": dispute.amount, "currency": dispute.currency, "reason": dispute.reason,
        });
        let event = app.event(dispute.timeline, now, &Actor::System, kind, dispute.id, data);
        store::events::append(&mut tx, &[event]).await?;
    }
    store::disputes::save_payment(&mut tx, &payment).await?;
    tx.commit().await?;
    Ok(())
}
