//! What became of a refund: an answer is written down, and what nobody knows is looked up.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{refund::order, resolve::Word};
use crate::{
    billing::{App, Result, gateway_operations::catch_panic},
    domain::{
        event::Actor,
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundStatus},
    },
    gateway::{ReturnFound, ReturnOutcome},
    store,
};

/// Asks the gateway what became of a refund.
pub(crate) async fn look_up(app: &App, refund: Refund) -> Result<()> {
    let Some(payment_id) = refund.payment_id else { return Ok(()) };
    let Some(payment) = store::payments::get(&app.db, payment_id).await? else { return Ok(()) };
    let Some(gateway) = app.gateways.get(&payment.gateway) else {
        // It left the configuration: asked again later, and parked for an operator in the end.
        let message = format!("gateway {} is not configured", payment.gateway);
        settle(app, refund, &ReturnOutcome::Unknown { message }).await?;
        return Ok(());
    };
    let Ok(_permit) = gateway.permits.acquire().await else { return Ok(()) };
    let order = order(&refund, &payment);
    let no_answer = |message| ReturnFound::NoAnswer { message };
    match catch_panic(refund.id, &gateway.name, gateway.adapter.look_up_return(&order), no_answer).await {
        ReturnFound::Returned { voided } => {
            settle(app, refund, &ReturnOutcome::Returned { transaction_id: None, voided }).await?;
        }
        // Refunds carry no key that makes a repeat harmless, so the request must be given time to arrive first.
        ReturnFound::Nothing
            if app.clock.now() - refund.sent_at < TimeDelta::from_std(app.config.collection.lease).unwrap_or_default() =>
        {
            let message = "the gateway does not know of it yet".to_owned();
            settle(app, refund, &ReturnOutcome::Unknown { message }).await?;
        }
        // Nothing was given back; an operator may ask again.
        ReturnFound::Nothing => {
            let message = "the gateway never received it: nothing was given back".to_owned();
            settle(app, refund, &ReturnOutcome::GatewayError { message }).await?;
        }
        ReturnFound::NoAnswer { message } => {
            settle(app, refund, &ReturnOutcome::Unknown { message }).await?;
        }
    }
    Ok(())
}

pub(super) async fn settle(app: &App, refund: Refund, outcome: &ReturnOutcome) -> Result<Refund> {
    let asked = refund.clone();
    // One that has ended meanwhile is left as it was seen.
    Ok(close(app, refund, outcome, None).await?.unwrap_or(asked))
}

/// When a overpayment that the gateway did not take back is tried again; never, once the backoff is used up: an operator sees it among the
/// overpaid invoices.
async fn again(app: &App, tx: &mut store::Tx, payment: &Payment) -> Result<Option<DateTime<Utc>>> {
    let failures = store::refunds::failures(tx, payment.invoice_id, payment.id).await?;
    let wait = usize::try_from(failures).ok().and_then(|index| app.config.collection.gateway_fault_backoff.get(index));
    Ok(wait.and_then(|wait| TimeDelta::from_std(*wait).ok()).map(|wait| app.clock.now() + wait))
}

/// Writes an outcome down. Refused with the status where that waits for no outcome, or for an operator's word alone.
pub(super) async fn close(
    app: &App,
    refund: Refund,
    outcome: &ReturnOutcome,
    word: Option<&Word<'_>>,
) -> Result<Result<Refund, RefundStatus>> {
    let mut tx = app.db.begin().await?;
    let now = app.now_in(&mut tx, refund.timeline).await?;
    // Invoice before payment before refund: the order in which everyone locks.
    let invoice = store::invoices::lock(&mut tx, refund.invoice_id).await?;
    let payment = match refund.payment_id {
        Some(payment) => store::payments::lock(&mut tx, payment).await?,
        None => None,
    };
    let (Some(mut invoice), Some(mut payment), Some(mut refund)) =
        (invoice, payment, store::refunds::lock(&mut tx, refund.id).await?)
    else {
        return Ok(Err(refund.status));
    };
    let returned = matches!(outcome, ReturnOutcome::Returned { .. });
    let given_up = matches!(refund.status, RefundStatus::GatewayError | RefundStatus::Parked);
    // Sent by a daemon that stood still, after another had found nothing and given it up: the money has gone back all the same,
    // or may have, and that is asked once more.
    let after_all = given_up
        && payment.amount_refunded == refund.returned_before
        && (returned
            || matches!(outcome, ReturnOutcome::Unknown { .. }) && store::refunds::claimed(&mut tx, invoice.id).await? == 0);
    let waits = match word {
        None => after_all || matches!(refund.status, RefundStatus::Pending | RefundStatus::Unknown),
        Some(_) => refund.status == RefundStatus::Parked,
    };
    if !waits {
        return Ok(Err(refund.status));
    }
    // Gateways tell what was returned in all. Where that is in the batch already, it was the one that had been given up.
    let booked = returned && payment.amount_refunded == refund.returned_before + refund.amount;
    let elsewhere = ReturnOutcome::GatewayError { message: "an earlier refund of this amount came through after all".to_owned() };
    let outcome = if booked { &elsewhere } else { outcome };
    if matches!(outcome, ReturnOutcome::Unknown { .. }) && (after_all || refund.status == RefundStatus::Pending) {
        // Until now it may have been sent.
        refund.sent_at = app.clock.now();
    }
    refund.lease_owner = None;
    refund.lease_expires_at = None;
    refund.next_lookup_at = None;
    refund.resolved_at = Some(now);
    match outcome {
        ReturnOutcome::Returned { transaction_id, voided } => {
            refund.status = RefundStatus::Succeeded;
            refund.voided = *voided;
            refund.transaction_id.clone_from(transaction_id);
            payment.amount_refunded += refund.amount;
            if payment.amount_refunded == payment.amount_captured {
                payment.status = PaymentStatus::Refunded;
            }
            // The invoice never took the overpayment.
            invoice.amount_refunded += refund.amount - payment.overpayment_in(refund.returned_before, refund.amount);
            invoice.updated_at = now;
        }
        ReturnOutcome::Refused { code, message } => {
            refund.status = RefundStatus::Refused;
            refund.message = Some(format!("{message} ({code})"));
        }
        ReturnOutcome::GatewayError { message } => {
            refund.status = RefundStatus::GatewayError;
            refund.message = Some(message.clone());
        }
        ReturnOutcome::Unknown { message } => wait_for_lookup(app, &mut refund, message),
    }
    let failed = matches!(refund.status, RefundStatus::Refused | RefundStatus::GatewayError);
    let mut kept = None;
    if payment.overpayment <= payment.amount_refunded {
        payment.return_at = None;
    } else if failed {
        payment.return_at = again(app, &mut tx, &payment).await?;
        kept = payment.return_at.is_none().then(|| {
            let data = json!({ "invoice_id": invoice.id, "overpayment": payment.overpayment, "message": refund.message });
            app.event(payment.timeline, now, &Actor::System, "payment.overpayment_kept", payment.id, data)
        });
    }
    let kind = format!("refund.{}", refund.status);
    let data = json!({
        "to": refund.destination, "payment_id": payment.id, "invoice_id": invoice.id, "amount": refund.amount,
        "voided": refund.voided, "message": refund.message,
    });
    let mut events = Vec::with_capacity(2);
    if let Some(word) = word {
        events.push(app.event(refund.timeline, now, word.actor, "refund.resolved", refund.id, word.data.clone()));
    }
    events.push(app.event(refund.timeline, now, &Actor::System, &kind, refund.id, data));
    store::invoices::save(&mut tx, &[invoice]).await?;
    store::payments::save(&mut tx, &[payment]).await?;
    store::refunds::save(&mut tx, refund.clone()).await?;
    events.extend(kept);
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(Ok(refund))
}

fn wait_for_lookup(app: &App, refund: &mut Refund, message: &str) {
    let backoff = &app.config.collection.lookup_backoff;
    refund.message = Some(message.to_owned());
    refund.resolved_at = None;
    if refund.lookups > backoff.len() as i64 + 7 {
        refund.status = RefundStatus::Parked;
        return;
    }
    let index = usize::try_from(refund.lookups - 1).ok();
    let delay = index.map_or(Some(TimeDelta::zero()), |index| {
        backoff.get(index.min(backoff.len() - 1)).and_then(|delay| TimeDelta::from_std(*delay).ok())
    });
    refund.status = RefundStatus::Unknown;
    refund.lookups += 1;
    refund.next_lookup_at = Some(app.clock.now() + delay.unwrap_or(TimeDelta::days(1)));
}
