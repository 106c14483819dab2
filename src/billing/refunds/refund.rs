//! Gives money back to the method it came from: recorded first, called next, settled in the end.

use serde_json::json;

use super::call::give_back;
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        event::Actor,
        id::InvoiceId,
        invoice::Invoice,
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundStatus, RefundTo},
    },
    store,
};

/// Gives back `amount` (minor units; all that is left if none) of what an invoice was paid. Answers the refunds made, one for
/// each payment that the amount had to be taken from.
pub async fn refund(app: &App, actor: &Actor, invoice_id: InvoiceId, amount: Option<i64>, reason: &str) -> Result<Vec<Refund>> {
    let Some(seen) = store::invoices::get(&app.db, invoice_id).await? else {
        return Err(BillingError::not_found("invoice", invoice_id));
    };
    // A refund that is on its way is refused below, where its payment is locked.
    let disputed = store::disputes::amount_of_invoice(&app.db, invoice_id).await?;
    let mut wanted = wanted(&seen, RefundTo::Method, disputed, amount)?;
    let mut refunds = Vec::new();
    for payment in store::payments::of_invoice(&app.db, invoice_id).await? {
        let part = wanted.min(payment.returnable());
        if wanted > 0 && part > 0 && payment.status == PaymentStatus::Succeeded {
            let (refund, payment) = record(app, actor, &payment, part, reason).await?;
            let refund = give_back(app, refund, &payment).await?;
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
pub(super) fn wanted(invoice: &Invoice, to: RefundTo, claimed: i64, amount: Option<i64>) -> Result<i64> {
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

/// Writes the refund down before the gateway is called; checks again under lock what is left.
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
        Ok((refund, payment)) => give_back(app, refund, &payment).await.map(|_| ()),
        // Another refund of it is under way: this one is tried again when its claim ends.
        Err(BillingError::WrongState(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
