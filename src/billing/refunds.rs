//! Refunds: money back to the method it came from, recorded before the call and looked up when the answer is lost. Never more
//! than was captured, and with what became credit never more than was paid.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

mod credit;
pub mod look_up;

pub use credit::to_credit;

use super::{
    App, BillingError, Result,
    gateway_operations::catch_panic,
    gateways::{self, Call},
};
use crate::{
    domain::{
        event::Actor,
        id::{InvoiceId, RefundId},
        invoice::Invoice,
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundFinding, RefundStatus, RefundTo},
    },
    gateway::{Return, ReturnFound, ReturnOutcome, circuit::listening},
    store,
};

/// Gives back `amount` (minor units; all that is left if none) of what an invoice was paid. Answers the refunds made, one for
/// each payment that the amount had to be taken from.
pub async fn refund(app: &App, actor: &Actor, invoice_id: InvoiceId, amount: Option<i64>, reason: &str) -> Result<Vec<Refund>> {
    let Some(seen) = store::invoices::get(&app.db, invoice_id).await? else {
        return Err(BillingError::not_found("invoice", invoice_id));
    };
    // One of these that is on its way is told of below, by the payment that it is of.
    let disputed = store::disputes::amount_of_invoice(&app.db, invoice_id).await?;
    let mut wanted = wanted(&seen, RefundTo::Method, disputed, amount)?;
    let mut refunds = Vec::new();
    for payment in store::payments::of_invoice(&app.db, invoice_id).await? {
        let part = wanted.min(payment.returnable());
        if wanted > 0 && part > 0 && payment.status == PaymentStatus::Succeeded {
            let (refund, payment) = record(app, actor, &payment, part, reason).await?;
            let refund = call(app, refund, &payment).await?;
            wanted -= part;
            let went_wrong = refund.status != RefundStatus::Succeeded;
            refunds.push(refund);
            if went_wrong {
                break;
            }
        }
    }
    match refunds.first() {
        None => Err(BillingError::WrongState("no succeeded payment of this invoice has anything left to give back".to_owned())),
        Some(refund) if matches!(refund.status, RefundStatus::Refused | RefundStatus::GatewayError) => {
            Err(BillingError::WrongState(format!(
                "the gateway did not give the money back: {}",
                refund.message.as_deref().unwrap_or("no reason given")
            )))
        }
        Some(_) => Ok(refunds),
    }
}

/// How much is to be given back, if that can be.
fn wanted(invoice: &Invoice, to: RefundTo, claimed: i64, amount: Option<i64>) -> Result<i64> {
    let left = invoice.refundable(to, claimed);
    let wanted = amount.unwrap_or(left);
    if (1..=left).contains(&wanted) {
        return Ok(wanted);
    }
    let waiting = if claimed > 0 { format!("; {claimed} is on its way back or in dispute already") } else { String::new() };
    let message = format!("at most {left} of this invoice can be given back, in minor units{waiting}");
    // Where nothing is left no amount would do.
    let fits_none = amount.is_none() || left <= 0;
    Err(if fits_none { BillingError::WrongState(message) } else { BillingError::invalid("amount", message) })
}

/// Writes the refund down before the gateway hears of it; checks again under lock what is left.
async fn record(app: &App, actor: &Actor, payment: &Payment, amount: i64, reason: &str) -> Result<(Refund, Payment)> {
    let mut tx = app.db.begin().await?;
    let wall = app.clock.now();
    let now = app.now_in(&mut tx, payment.timeline).await?;
    // The invoice first, as everyone locks: it is what all its refunds together must not exceed.
    let Some(invoice) = store::invoices::lock(&mut tx, payment.invoice_id).await? else {
        return Err(BillingError::not_found("invoice", payment.invoice_id));
    };
    let Some(payment) = store::payments::lock(&mut tx, payment.id).await? else {
        return Err(BillingError::not_found("payment", payment.id));
    };
    let claimed = store::refunds::claimed(&mut tx, invoice.id).await?;
    let left = payment.amount_captured - payment.amount_refunded - payment.amount_disputed;
    let overpayment = payment.overpayment_in(payment.amount_refunded, amount);
    if overpayment > 0 && overpayment < amount {
        return Err(BillingError::WrongState("money that came twice is being given back first: try again later".to_owned()));
    }
    if payment.status != PaymentStatus::Succeeded || amount > left {
        return Err(BillingError::WrongState("the payment has changed meanwhile: look at it and try again".to_owned()));
    }
    let refund = Refund {
        id: app.id(),
        payment_id: Some(payment.id),
        invoice_id: payment.invoice_id,
        timeline: payment.timeline,
        destination: RefundTo::Method,
        amount,
        returned_before: payment.amount_refunded,
        currency: payment.currency,
        reason: reason.to_owned(),
        status: RefundStatus::Pending,
        voided: false,
        transaction_id: None,
        message: None,
        lease_owner: Some(app.instance.clone()),
        lease_token: 1,
        lease_expires_at: Some(wall + app.config.collection.lease),
        lookups: 0,
        next_lookup_at: None,
        sent_at: wall,
        created_at: now,
        resolved_at: None,
    };
    match store::refunds::insert(&mut tx, refund.clone()).await {
        Err(store::Error::Conflict) => {
            return Err(BillingError::WrongState("another refund of this payment is on its way".to_owned()));
        }
        done => done?,
    }
    if amount - overpayment > invoice.refundable(RefundTo::Method, claimed) {
        return Err(BillingError::WrongState("the invoice has changed meanwhile: look at it and try again".to_owned()));
    }
    let data = json!({ "to": RefundTo::Method, "payment_id": payment.id, "invoice_id": payment.invoice_id, "amount": amount, "reason": reason });
    let event = app.event(payment.timeline, now, actor, "refund.created", refund.id, data);
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok((refund, payment))
}

/// Gives back what an invoice did not need of a payment.
pub(crate) async fn overpayment(app: &App, payment: &Payment) -> Result<()> {
    let amount = payment.overpayment - payment.amount_refunded;
    match record(app, &Actor::System, payment, amount, "the invoice was paid already").await {
        Ok((refund, payment)) => call(app, refund, &payment).await.map(|_| ()),
        // Another refund of it is under way: this one is tried again when its claim ends.
        Err(BillingError::WrongState(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// When a overpayment that the gateway did not take back is tried again; never, once the backoff is used up: an operator sees it among the
/// overpaid invoices.
async fn again(app: &App, tx: &mut store::Tx, payment: &Payment) -> Result<Option<DateTime<Utc>>> {
    let failures = store::refunds::failures(tx, payment.invoice_id, payment.id).await?;
    let wait = usize::try_from(failures).ok().and_then(|index| app.config.collection.gateway_fault_backoff.get(index));
    Ok(wait.and_then(|wait| TimeDelta::from_std(*wait).ok()).map(|wait| app.clock.now() + wait))
}

fn order(refund: &Refund, payment: &Payment) -> Return {
    Return {
        transaction_id: payment.transaction_id.clone().unwrap_or_default(),
        amount_minor: refund.amount,
        captured_minor: payment.amount_captured,
        returned_minor: refund.returned_before,
        currency: refund.currency,
    }
}

async fn call(app: &App, refund: Refund, payment: &Payment) -> Result<Refund> {
    let Some(gateway) = app.gateways.get(&payment.gateway) else {
        return settle(
            app,
            refund,
            &ReturnOutcome::GatewayError { message: format!("gateway {} is not configured", payment.gateway) },
        )
        .await;
    };
    let Ok(_permit) = gateway.permits.acquire().await else { return Ok(refund) };
    if refund.lease_expires_at.is_some_and(|expires| expires <= app.clock.now()) {
        // It waited too long for its turn: whether it was sent is being looked up, and it may be given up as never sent.
        return Ok(refund);
    }
    let order = order(&refund, payment);
    let unknown = |message| ReturnOutcome::Unknown { message };
    let (outcome, line) = listening(catch_panic(refund.id, &gateway.name, gateway.adapter.give_back(&order), unknown)).await;
    gateways::note(app, &Call::of(app, payment), line.met(outcome.gateway_fault())).await;
    settle(app, refund, &outcome).await
}

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

/// Closes a refund that no gateway could say anything about.
pub async fn resolve(
    app: &App,
    actor: &Actor,
    id: RefundId,
    finding: RefundFinding,
    transaction_id: Option<String>,
    note: &str,
) -> Result<Refund> {
    let refund = store::refunds::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("refund", id))?;
    let outcome = match finding {
        RefundFinding::Succeeded => ReturnOutcome::Returned { transaction_id, voided: false },
        RefundFinding::NotProcessed if transaction_id.is_some() => {
            return Err(BillingError::invalid("transaction_id", "only goes with the outcome succeeded"));
        }
        RefundFinding::NotProcessed => ReturnOutcome::GatewayError { message: note.to_owned() },
    };
    let word = Word { actor, data: json!({ "outcome": finding, "note": note }) };
    match close(app, refund, &outcome, Some(&word)).await? {
        Ok(refund) => Ok(refund),
        Err(status) => Err(BillingError::WrongState(format!("the refund is {status}: only a parked one is resolved by hand"))),
    }
}

/// What an operator says.
struct Word<'a> {
    actor: &'a Actor,
    data: Value,
}

async fn settle(app: &App, refund: Refund, outcome: &ReturnOutcome) -> Result<Refund> {
    let asked = refund.clone();
    // One that has ended meanwhile is left as it was seen.
    Ok(close(app, refund, outcome, None).await?.unwrap_or(asked))
}

/// Writes an outcome down. Refused with the status where that waits for no outcome, or for an operator's word alone.
async fn close(
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
