//! What an operator does with an invoice: collect it now, void it, write it off. Never while a payment for it is on its way.

pub(crate) mod apply_balance;
pub mod open;
pub mod void;

use self::apply_balance::apply_balance;
use super::{
    App, BillingError, Result,
    installment_plans::operate::{Operation, operate},
    payments::SettlementBatch,
};
use crate::{
    domain::{
        event::Actor,
        id::InvoiceId,
        invoice::{Invoice, InvoiceStatus},
    },
    store::{self, Tx},
};

/// Charges an open invoice as soon as possible, whatever the ladder says. One that was given up is opened again; that of an installment
/// is collected by its plan.
pub async fn collect(app: &App, actor: &Actor, id: InvoiceId) -> Result<Invoice> {
    let seen = reread(app, id).await?;
    if let (InvoiceStatus::Uncollectible, Some(plan), Some(number)) =
        (seen.status, seen.installment_plan_id, seen.installment_number)
    {
        operate(app, actor, &plan.to_string(), &Operation::Pay { number }).await?;
        return reread(app, id).await;
    }
    let (mut tx, mut batch) = locked(app, id, "collected", &[InvoiceStatus::Open, InvoiceStatus::Uncollectible]).await?;
    batch.collect_now(id, actor);
    batch.save(&mut tx).await?;
    // Credit that came after the invoice was given up is used first.
    apply_balance(&mut tx, app, actor, &[seen.customer_id]).await?;
    tx.commit().await?;
    app.wakeups.collect.notify_one();
    reread(app, id).await
}

/// Cancels an open invoice; credit that it had used goes back to the customer.
pub async fn void(app: &App, actor: &Actor, id: InvoiceId, reason: &str) -> Result<Invoice> {
    let (mut tx, mut batch) = open(app, id, "voided").await?;
    if batch.invoice(id).is_some_and(|invoice| invoice.paid_by_gateways() > 0) {
        return Err(BillingError::WrongState(
            "a part of the invoice is paid: refund that, or mark the rest uncollectible".to_owned(),
        ));
    }
    let payer = batch.invoice(id).map(|invoice| invoice.customer_id);
    batch.void_now(id, reason, actor);
    batch.save(&mut tx).await?;
    // Credit that the invoice had used pays what else is open.
    apply_balance(&mut tx, app, actor, payer.as_slice()).await?;
    tx.commit().await?;
    reread(app, id).await
}

/// Gives up on an open invoice.
pub async fn mark_uncollectible(app: &App, actor: &Actor, id: InvoiceId, reason: &str) -> Result<Invoice> {
    let (mut tx, mut batch) = open(app, id, "written off").await?;
    batch.write_off(id, reason, actor);
    batch.save(&mut tx).await?;
    tx.commit().await?;
    reread(app, id).await
}

/// Locks an open invoice that no payment is on its way for.
async fn open<'a>(app: &'a App, id: InvoiceId, verb: &str) -> Result<(Tx, SettlementBatch<'a>)> {
    locked(app, id, verb, &[InvoiceStatus::Open]).await
}

/// Locks an invoice in one of these states that no payment is on its way for.
async fn locked<'a>(app: &'a App, id: InvoiceId, verb: &str, allowed: &[InvoiceStatus]) -> Result<(Tx, SettlementBatch<'a>)> {
    let Some(seen) = store::invoices::get(&app.db, id).await? else { return Err(BillingError::not_found("invoice", id)) };
    let mut tx = app.db.begin().await?;
    let batch = SettlementBatch::load_invoice(app, &mut tx, &seen).await?;
    let status = batch.invoice(id).map_or(seen.status, |invoice| invoice.status);
    if !allowed.contains(&status) {
        let allowed: Vec<&str> = allowed.iter().map(|status| status.as_str()).collect();
        let allowed = allowed.join(" or ");
        return Err(BillingError::WrongState(format!("the invoice is {status}: only one that is {allowed} can be {verb}")));
    }
    if !store::payments::invoices_in_flight(&mut tx, &[id]).await?.is_empty() {
        return Err(BillingError::WrongState(format!(
            "a payment for the invoice is on its way or undecided: it can be {verb} once that has ended"
        )));
    }
    Ok((tx, batch))
}

async fn reread(app: &App, id: InvoiceId) -> Result<Invoice> {
    store::invoices::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("invoice", id))
}
