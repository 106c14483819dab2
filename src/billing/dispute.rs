//! Disputes: asks the gateways about payments of the last months, a few times each, and records what was taken back.
//!
//! Only what falls due is asked about, and only so many in one run: the cost does not grow with history.

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{App, Done};
use crate::{
    domain::{
        dispute::{Dispute, DisputeStatus, next_check},
        event::Actor,
        payment::Payment,
    },
    gateway::Disputed,
    store,
};

/// The most payments that one run asks about, beside those that it left for the next.
const BATCH: i64 = 200;
const BATCHES: usize = 10;

/// Asks about every payment whose turn it is. Answers how many were asked about.
pub async fn check(app: &App) -> Done<usize> {
    let mut asked = 0;
    for _ in 0..BATCHES {
        let now = app.clock.now();
        let mut tx = app.db.begin().await?;
        let claimed = store::disputes::claim_checks(&mut tx, now, now + app.config.collection.lease, BATCH).await?;
        if claimed.is_empty() || app.stopping.is_cancelled() {
            break;
        }
        tx.commit().await?;
        asked += claimed.len();
        let outcomes: Vec<Done<()>> = stream::iter(claimed).map(|payment| ask(app, payment)).buffer_unordered(16).collect().await;
        outcomes.into_iter().collect::<Done<()>>()?;
    }
    Ok(asked)
}

async fn ask(app: &App, payment: Payment) -> Done<()> {
    let Some(gateway) = app.gateways.get(&payment.gateway) else { return settle(app, payment, None).await };
    let Some(id) = payment.transaction_id.clone() else { return settle(app, payment, None).await };
    let Ok(_permit) = gateway.permits.acquire().await else { return Ok(()) };
    match gateway.adapter.disputed(&id).await {
        Ok(disputed) => settle(app, payment, disputed).await,
        Err(message) => {
            // Asked again at its next turn: a gateway that is away changes nothing about a dispute.
            tracing::warn!(payment = %payment.id, message, "whether it is disputed could not be found out");
            settle(app, payment, None).await
        }
    }
}

async fn settle(app: &App, seen: Payment, disputed: Option<Disputed>) -> Done<()> {
    let mut tx = app.db.begin().await?;
    let now = app.now_in(&mut tx, seen.timeline).await?;
    let Some(mut payment) = store::payments::lock(&mut tx, seen.id).await? else { return Ok(()) };
    payment.dispute_check_at = next_check(payment.sent_at, app.clock.now());
    if let Some(Disputed { amount_minor, reason }) = disputed {
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
    }
    store::disputes::save_payment(&mut tx, &payment).await?;
    tx.commit().await?;
    Ok(())
}
