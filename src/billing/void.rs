//! Voids open invoices: nobody collects them any more, and credit that was used for them goes back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{App, Done};
use crate::{
    domain::{
        customer::Credit,
        event::{Actor, Event},
        id::{CustomerId, InvoiceId},
        invoice::{Invoice, InvoiceStatus},
    },
    store::{self, Tx},
};

/// Ends those of these open, locked invoices for which no payment is under way; the settlement of that payment ends the others.
/// One that is paid in part is written off instead: what was paid for stays on the books. The caller appends the events.
pub(super) async fn void_invoices(
    tx: &mut Tx,
    app: &App,
    now: DateTime<Utc>,
    actor: &Actor,
    invoices: Vec<Invoice>,
    reason: &str,
) -> Done<Vec<Event>> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let in_flight = store::payments::invoices_in_flight(tx, &ids).await?;
    let mut ended: Vec<Invoice> = invoices.into_iter().filter(|invoice| !in_flight.contains(&invoice.id)).collect();
    let gives_back = |invoice: &Invoice| invoice.credit_applied > 0 && invoice.amount_paid == 0;
    let payers: Vec<CustomerId> = ended.iter().filter(|invoice| gives_back(invoice)).map(|invoice| invoice.customer_id).collect();
    let locked = store::customers::lock_many(tx, &payers).await?;
    let mut purses: BTreeMap<_, _> = locked.into_iter().map(|customer| (customer.id, customer)).collect();
    let mut credits = Vec::new();
    let mut events = Vec::with_capacity(ended.len());
    for invoice in &mut ended {
        let mut returned = 0;
        if gives_back(invoice)
            && let Some(purse) = purses.get_mut(&invoice.customer_id)
        {
            returned = invoice.credit_applied;
            purse.balance += returned;
            purse.updated_at = now;
            credits.push(Credit {
                id: app.id(),
                customer_id: purse.id,
                amount: returned,
                currency: invoice.currency,
                reason: format!("{} was voided", invoice.number),
                invoice_id: Some(invoice.id),
                created_at: now,
            });
        }
        let (status, kind) = if invoice.amount_paid > 0 {
            (InvoiceStatus::Uncollectible, "invoice.uncollectible")
        } else {
            (InvoiceStatus::Void, "invoice.voided")
        };
        invoice.status = status;
        invoice.next_attempt_at = None;
        invoice.updated_at = now;
        let data = json!({ "reason": reason, "subscription_id": invoice.subscription_id, "credit_returned": returned });
        events.push(app.event(invoice.timeline, now, actor, kind, invoice.id, data));
    }
    store::invoices::save(tx, &ended).await?;
    store::customers::save_balances(tx, &purses.into_values().collect::<Vec<_>>(), &credits).await?;
    Ok(events)
}
