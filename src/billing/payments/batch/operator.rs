//! What an operator decides about an invoice, by the same rules as a gateway's answer.

use serde_json::json;

use super::SettlementBatch;
use crate::domain::{event::Actor, id::InvoiceId, installment_plan::InstallmentStatus, invoice::InvoiceStatus};

impl SettlementBatch<'_> {
    /// Collects now what would be collected later, or what was given up.
    pub fn collect_now(&mut self, id: InvoiceId, actor: &Actor) {
        let now = self.now();
        if let Some(invoice) = self.invoices.change(id) {
            let was_given_up = invoice.status == InvoiceStatus::Uncollectible;
            if was_given_up {
                invoice.reopen(now);
            }
            invoice.collect_now(now);
            self.event("invoice.collection_asked", id, json!({ "reopened": was_given_up }), actor);
        }
    }

    /// Voids an open invoice.
    pub fn void_now(&mut self, id: InvoiceId, reason: &str, actor: &Actor) {
        // A subscription that owes nothing else is active again.
        self.follow_ups.paid.extend(self.invoices.get(id).and_then(|invoice| invoice.subscription_id));
        self.follow_ups.void_invoices.insert(id, (reason.to_owned(), actor.clone()));
        self.end_installments(id, InstallmentStatus::Cancelled, actor);
    }

    /// Gives up on an open invoice.
    pub fn write_off(&mut self, id: InvoiceId, reason: &str, actor: &Actor) {
        let now = self.now();
        if let Some(invoice) = self.invoices.change(id) {
            invoice.status = InvoiceStatus::Uncollectible;
            invoice.next_attempt_at = None;
            invoice.updated_at = now;
            self.follow_ups.paid.extend(invoice.subscription_id);
            self.event("invoice.uncollectible", id, json!({ "reason": reason }), actor);
            self.end_installments(id, InstallmentStatus::Failed, actor);
        }
    }
}
