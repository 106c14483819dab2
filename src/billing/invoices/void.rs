//! Voids open invoices: nobody collects them any more, and credit that was used for them goes back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    billing::{
        App, Result,
        credit_notes::{NewCreditNote, issue},
    },
    domain::{
        credit_note::CreditReason,
        customer::Credit,
        event::{Actor, Event},
        id::InvoiceId,
        invoice::{Invoice, InvoiceStatus, Line, LineKind},
    },
    store::{self, Tx},
};

/// Voids those of these open, locked invoices for which no payment is under way; the settlement of that payment ends the
/// others. One that is paid in part is written off instead: what was paid stays recorded. The caller appends the events.
pub(crate) async fn void_invoices(
    tx: &mut Tx,
    app: &App,
    now: DateTime<Utc>,
    actor: &Actor,
    invoices: Vec<Invoice>,
    reason: &str,
) -> Result<Vec<Event>> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let in_flight = store::payments::invoices_in_flight(tx, &ids).await?;
    let mut voided: Vec<Invoice> = invoices.into_iter().filter(|invoice| !in_flight.contains(&invoice.id)).collect();
    let payers: Vec<_> =
        voided.iter().filter(|invoice| invoice.account(0).to_balance > 0).map(|invoice| invoice.customer_id).collect();
    let mut customers: BTreeMap<_, _> =
        store::customers::lock_many(tx, &payers).await?.into_iter().map(|customer| (customer.id, customer)).collect();
    let mut credits = Vec::new();
    let mut credit_notes = Vec::new();
    let mut events = Vec::with_capacity(voided.len());
    for invoice in &mut voided {
        invoice.next_attempt_at = None;
        invoice.updated_at = now;
        if invoice.paid_by_gateways() > 0 {
            invoice.status = InvoiceStatus::Uncollectible;
            let data = json!({ "reason": reason, "subscription_id": invoice.subscription_id });
            events.push(app.event(invoice.timeline, now, actor, "invoice.uncollectible", invoice.id, data));
            continue;
        }
        let (due, paid) = (invoice.amount_due(), invoice.account(0).to_balance);
        invoice.status = InvoiceStatus::Void;
        let mut returned = 0;
        if let Some(customer) = customers.get_mut(&invoice.customer_id)
            && customer.currency == invoice.currency
            && paid > 0
        {
            returned = paid;
            customer.balance += returned;
            customer.updated_at = now;
            credits.push(Credit {
                id: app.id(),
                customer_id: invoice.customer_id,
                amount: returned,
                currency: invoice.currency,
                reason: format!("Returned from {}, which was voided", invoice.number),
                invoice_id: Some(invoice.id),
                created_at: now,
            });
        }
        invoice.amount_reduced += due;
        invoice.credit_given += returned;
        credit_notes.push(NewCreditNote {
            lines: vec![Line::new(LineKind::Credit, invoice.description.clone(), due + returned)],
            pre_payment_amount: due,
            to_balance: returned,
            ..NewCreditNote::of(invoice, CreditReason::Void, reason)
        });
        let data = json!({ "reason": reason, "subscription_id": invoice.subscription_id, "credit_returned": returned });
        events.push(app.event(invoice.timeline, now, actor, "invoice.voided", invoice.id, data));
    }
    store::invoices::save(tx, &voided).await?;
    let closed: Vec<InvoiceId> = voided.iter().map(|invoice| invoice.id).collect();
    if store::payment_requests::withdraw_of_invoices(tx, &closed, app.clock.now()).await? > 0 {
        app.wakeups.requests.notify_one();
    }
    store::customers::save_balances(tx, &customers.into_values().collect::<Vec<_>>(), &credits).await?;
    let (_, issued) = issue(tx, app, now, actor, credit_notes).await?;
    events.extend(issued);
    Ok(events)
}
