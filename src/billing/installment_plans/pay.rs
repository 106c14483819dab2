//! What an operator does about the money of a plan: collect early, pay off, restore, cancel. Failed installments are collected
//! again by the invoices that they have.

use serde_json::json;

use super::edit::InstallmentPlanEdit;
use crate::{
    billing::{BillingError, Result, invoices::void::void_invoices},
    domain::{
        id::InvoiceId,
        installment_plan::{InstallmentStatus, restore::Arrears},
        invoice::{Invoice, InvoiceStatus},
    },
    store,
};

pub(crate) async fn pay(edit: &mut InstallmentPlanEdit<'_>, number: i64) -> Result<()> {
    let part = edit.schedule.payable(number)?.clone();
    let again = match part.invoice_id {
        None => {
            edit.open(&[number]).await?;
            Vec::new()
        }
        Some(invoice) => collect_again(edit, |owed| owed.id == invoice).await?,
    };
    if part.status != InstallmentStatus::Scheduled && again.is_empty() {
        return Err(on_its_way());
    }
    Ok(())
}

/// Answers the numbers of the installments that were scheduled.
pub(crate) async fn pay_off(edit: &mut InstallmentPlanEdit<'_>) -> Result<Vec<i64>> {
    let scheduled = edit.schedule.scheduled()?;
    let again = collect_again(edit, |_| true).await?;
    if scheduled.is_empty() && again.is_empty() {
        return Err(on_its_way());
    }
    edit.open(&scheduled).await?;
    Ok(scheduled)
}

fn on_its_way() -> BillingError {
    BillingError::WrongState("a payment for it is on its way or undecided: wait until that has ended".to_owned())
}

/// Makes invoices of the plan due now unless a payment is on its way; those that were given up on are open again.
async fn collect_again(edit: &mut InstallmentPlanEdit<'_>, wanted: impl Fn(&Invoice) -> bool) -> Result<Vec<InvoiceId>> {
    let (owed, in_flight) = edit.owed().await?;
    let now = edit.now;
    let mut due: Vec<Invoice> = owed.into_iter().filter(|invoice| wanted(invoice) && !in_flight.contains(&invoice.id)).collect();
    for invoice in &mut due {
        if invoice.status == InvoiceStatus::Uncollectible {
            invoice.reopen(now);
            edit.schedule.reopened(invoice.id);
        }
        invoice.collect_now(now);
        let data = json!({ "installment_plan_id": edit.schedule.plan.id });
        edit.events.push(edit.app.event(invoice.timeline, now, edit.actor, "invoice.retried", invoice.id, data));
    }
    store::invoices::save(&mut edit.tx, &due).await?;
    edit.collect |= !due.is_empty();
    Ok(due.iter().map(|invoice| invoice.id).collect())
}

/// Opens a defaulted plan again, and collects or voids the invoices of the failed installments, as asked.
pub(crate) async fn restore(edit: &mut InstallmentPlanEdit<'_>, arrears: Arrears) -> Result<()> {
    let moment = edit.moment();
    edit.schedule.restore(arrears, moment)?;
    // What was still open when the plan defaulted is due, whatever becomes of what failed.
    let again = |invoice: &Invoice| arrears == Arrears::Collect || invoice.status == InvoiceStatus::Open;
    collect_again(edit, again).await?;
    if arrears == Arrears::Collect {
        return Ok(());
    }
    let moved = |invoice: &Invoice| {
        let of = |id: Option<InvoiceId>| id == Some(invoice.id);
        edit.schedule.installments.iter().any(|part| part.status == InstallmentStatus::Moved && of(part.invoice_id))
    };
    let owed = store::invoices::lock_owed_of_installment_plan(&mut edit.tx, edit.schedule.plan.id).await?;
    let moved: Vec<Invoice> =
        owed.into_iter().filter(|invoice| invoice.status == InvoiceStatus::Uncollectible && moved(invoice)).collect();
    if let Some(part_paid) = moved.iter().find(|invoice| invoice.amount_paid > 0) {
        let message =
            format!("{} is paid in part, so its rest cannot be owed elsewhere: say collect, or leave the plan", part_paid.number);
        return Err(BillingError::WrongState(message));
    }
    let reason = "others of the plan took its installments over";
    let events = void_invoices(&mut edit.tx, edit.app, edit.now, edit.actor, moved, reason).await?;
    edit.events.extend(events);
    Ok(())
}

pub(crate) async fn cancel(edit: &mut InstallmentPlanEdit<'_>) -> Result<()> {
    let (owed, in_flight) = edit.owed().await?;
    edit.schedule.cancel(&in_flight, edit.now)?;
    let open = owed.into_iter().filter(|invoice| invoice.status == InvoiceStatus::Open).collect();
    let reason = "the installment plan was cancelled";
    let events = void_invoices(&mut edit.tx, edit.app, edit.now, edit.actor, open, reason).await?;
    edit.events.extend(events);
    Ok(())
}
