//! Pay an installment early, pay the plan off, or cancel it. What has failed is collected again by the invoice it has.

use serde_json::json;

use super::{Overview, held::Held};
use crate::{
    billing::{App, Done, Refusal, payment_methods::collect_now, void::void_invoices},
    domain::{
        event::Actor,
        id::InvoiceId,
        installment::InstallmentStatus,
        invoice::{Invoice, InvoiceStatus},
    },
    store,
};

/// Collects one installment now: a scheduled one is invoiced, one that is due or has failed is charged again.
pub async fn pay(app: &App, actor: &Actor, key: &str, number: i64) -> Done<Overview> {
    let mut held = Held::take(app, actor, key).await?;
    let part = held.schedule.payable(number)?.clone();
    let again = match part.invoice_id {
        None => {
            held.open(&[number]).await?;
            Vec::new()
        }
        Some(invoice) => collect_again(&mut held, |owed| owed.id == invoice).await?,
    };
    if part.status != InstallmentStatus::Scheduled && again.is_empty() {
        return Err(on_its_way());
    }
    held.commit("installment_plan.changed", json!({ "number": number, "paid": "early" })).await
}

/// Collects all that is owed now: what is scheduled by one invoice, what is invoiced by the invoices it has.
pub async fn pay_off(app: &App, actor: &Actor, key: &str) -> Done<Overview> {
    let mut held = Held::take(app, actor, key).await?;
    let scheduled = held.schedule.scheduled()?;
    let again = collect_again(&mut held, |_| true).await?;
    if scheduled.is_empty() && again.is_empty() {
        return Err(on_its_way());
    }
    held.open(&scheduled).await?;
    held.commit("installment_plan.changed", json!({ "numbers": scheduled, "paid": "off" })).await
}

fn on_its_way() -> Refusal {
    Refusal::WrongState("a payment for it is on its way or undecided: wait until that has ended".to_owned())
}

/// Makes invoices of the plan due now unless a payment is on its way; those that were given up on are open again.
async fn collect_again(held: &mut Held<'_>, wanted: impl Fn(&Invoice) -> bool) -> Done<Vec<InvoiceId>> {
    let (owed, in_flight) = held.owed().await?;
    let now = held.now;
    let mut due: Vec<Invoice> = owed.into_iter().filter(|invoice| wanted(invoice) && !in_flight.contains(&invoice.id)).collect();
    for invoice in &mut due {
        if invoice.status == InvoiceStatus::Uncollectible {
            // A ladder of its own, as if it were due for the first time.
            invoice.status = InvoiceStatus::Open;
            invoice.dunning_step = 0;
            invoice.first_failed_at = None;
            held.schedule.reopened(invoice.id);
        }
        collect_now(invoice, now);
        let data = json!({ "installment_plan_id": held.schedule.plan.id });
        held.events.push(held.app.event(invoice.timeline, now, held.actor, "invoice.retried", invoice.id, data));
    }
    store::invoices::save(&mut held.tx, &due).await?;
    held.collect |= !due.is_empty();
    Ok(due.iter().map(|invoice| invoice.id).collect())
}

/// Ends the plan. What is paid stays; open invoices are voided, one with a payment under way is left to that payment's settlement.
pub async fn cancel(app: &App, actor: &Actor, key: &str) -> Done<Overview> {
    let mut held = Held::take(app, actor, key).await?;
    let (owed, in_flight) = held.owed().await?;
    let now = held.now;
    held.schedule.cancel(&in_flight, now)?;
    let open = owed.into_iter().filter(|invoice| invoice.status == InvoiceStatus::Open).collect();
    let events = void_invoices(&mut held.tx, app, now, actor, open, "the installment plan was cancelled").await?;
    held.events.extend(events);
    held.commit("installment_plan.cancelled", json!({ "reason": "by the operator" })).await
}
