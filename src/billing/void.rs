//! Voids what a cancelled subscription still owes: nobody collects it any more, and credit that was used for it goes back.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{App, Done, invoices::give_credit_back};
use crate::{
    domain::{
        event::{Actor, Event},
        id::InvoiceId,
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
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let in_flight = store::payments::invoices_in_flight(tx, &ids).await?;
    let mut ended: Vec<Invoice> = invoices.into_iter().filter(|invoice| !in_flight.contains(&invoice.id)).collect();
    let mut events = Vec::with_capacity(ended.len());
    for invoice in &mut ended {
        invoice.next_attempt_at = None;
        invoice.updated_at = now;
        let kind = if invoice.amount_paid > 0 {
            invoice.status = InvoiceStatus::Uncollectible;
            "invoice.uncollectible"
        } else {
            invoice.status = InvoiceStatus::Void;
            give_credit_back(app, tx, invoice).await?;
            "invoice.voided"
        };
        let data = json!({ "reason": reason, "subscription_id": invoice.subscription_id });
        events.push(app.event(invoice.timeline, now, actor, kind, invoice.id, data));
    }
    store::invoices::save(tx, &ended).await?;
    Ok(events)
}
