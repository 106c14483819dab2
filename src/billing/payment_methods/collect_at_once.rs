//! A new way to pay is used at once, by whichever door it comes. Open invoices that wait are collected when a change makes another
//! method the one to be charged.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    billing::{App, Result},
    domain::{
        event::{Actor, Event},
        id::{InvoiceId, PaymentMethodId},
        invoice::Invoice,
    },
    store::{self, Tx},
};

/// Open invoices that wait after a decline or are parked, and the method that each would be charged to before a change.
pub(crate) struct WaitingInvoices {
    invoices: Vec<Invoice>,
    before: Vec<(InvoiceId, Option<PaymentMethodId>)>,
}

impl WaitingInvoices {
    /// Of open invoices that the transaction has locked, those that wait: declined, postponed because others were, or parked, and
    /// without an open payment. The change must not be stored yet.
    pub async fn among(tx: &mut Tx, open: Vec<Invoice>) -> Result<Self> {
        let waits = |invoice: &Invoice| {
            invoice.is_parked()
                || invoice.next_attempt_at.is_some() && (invoice.dunning_step > 0 || invoice.postponed_by.is_some())
        };
        let invoices: Vec<Invoice> = open.into_iter().filter(waits).collect();
        let before = methods_of(tx, &invoices).await?;
        Ok(Self { invoices, before })
    }

    pub fn is_empty(&self) -> bool {
        self.invoices.is_empty()
    }

    /// Makes those invoices due that are charged to another method once the change is stored. The steps of the ladder that were taken
    /// still count. True: an invoice is due now.
    pub async fn collect(
        self,
        tx: &mut Tx,
        app: &App,
        actor: &Actor,
        now: DateTime<Utc>,
        events: &mut Vec<Event>,
    ) -> Result<bool> {
        let after = methods_of(tx, &self.invoices).await?;
        let mut due = self.invoices;
        due.retain(|invoice| method_of(&after, invoice).is_some_and(|method| method_of(&self.before, invoice) != Some(method)));
        for invoice in &mut due {
            invoice.collect_now(now);
            let data = json!({
                "payment_method_id": method_of(&after, invoice),
                "subscription_id": invoice.subscription_id,
                "installment_plan_id": invoice.installment_plan_id,
            });
            events.push(app.event(invoice.timeline, now, actor, "invoice.retried", invoice.id, data));
        }
        store::invoices::save(tx, &due).await?;
        Ok(!due.is_empty())
    }
}

async fn methods_of(tx: &mut Tx, invoices: &[Invoice]) -> Result<Vec<(InvoiceId, Option<PaymentMethodId>)>> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let chosen = store::invoices::methods_of(tx, &ids).await?;
    Ok(chosen.iter().map(|chosen| (chosen.invoice_id, chosen.payment_method_id)).collect())
}

fn method_of(chosen: &[(InvoiceId, Option<PaymentMethodId>)], invoice: &Invoice) -> Option<PaymentMethodId> {
    chosen.iter().find(|(id, _)| *id == invoice.id).and_then(|(_, method)| *method)
}
