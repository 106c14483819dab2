//! Credit in the batch: what reduces an invoice, and what the balance of its customer pays.

use serde_json::{Value, json};

use super::SettlementBatch;
use crate::domain::{event::Actor, id::InvoiceId, installment_plan::InstallmentStatus, invoice::InvoiceStatus};

impl SettlementBatch<'_> {
    /// Takes an amount off what is due, and counts what was given out of what had been paid. An invoice with nothing left to pay is
    /// closed: paid if anything was ever paid for it, else void.
    pub(crate) fn reduce(&mut self, id: InvoiceId, pre_payment: i64, given: i64, actor: &Actor) {
        let Some(invoice) = self.invoices.change(id) else { return };
        let now = self.clocks.now(invoice.timeline);
        invoice.amount_reduced += pre_payment;
        invoice.credit_given += given;
        invoice.updated_at = now;
        if pre_payment == 0 || invoice.status == InvoiceStatus::Void {
            return;
        }
        // A payment request asks for what was due before.
        self.follow_ups.funded.insert(id);
        if invoice.amount_due() > 0 {
            return;
        }
        let was_paid = invoice.amount_kept() > 0;
        if was_paid {
            self.close_as_paid(id, json!({ "reduced": pre_payment }), actor);
        } else if let Some(invoice) = self.invoices.change(id) {
            invoice.status = InvoiceStatus::Void;
            invoice.next_attempt_at = None;
            self.follow_ups.paid.extend(invoice.subscription_id);
            self.event("invoice.voided", id, json!({ "reason": "nothing is left to pay", "reduced": pre_payment }), actor);
            self.end_installments(id, InstallmentStatus::Cancelled, actor);
        }
    }

    /// Pays an open invoice out of what its customer has. Answers how much was used, minor units.
    pub(crate) fn pay_from_balance(&mut self, id: InvoiceId, balance: i64, actor: &Actor) -> i64 {
        let Some(invoice) = self.invoices.change_open(id) else { return 0 };
        let used = balance.min(invoice.amount_due());
        if used <= 0 {
            return 0;
        }
        let now = self.clocks.now(invoice.timeline);
        invoice.amount_paid += used;
        invoice.credit_paid += used;
        invoice.updated_at = now;
        let rest = invoice.amount_due();
        self.follow_ups.funded.insert(id);
        self.event("invoice.credit_used", id, json!({ "amount": used, "amount_due": rest }), actor);
        if rest == 0 {
            self.close_as_paid(id, json!({ "amount": used, "credit": true }), actor);
        }
        used
    }

    /// Nothing is owed any more.
    pub(super) fn close_as_paid(&mut self, id: InvoiceId, data: Value, actor: &Actor) {
        let Some(invoice) = self.invoices.change(id) else { return };
        invoice.status = InvoiceStatus::Paid;
        invoice.next_attempt_at = None;
        self.follow_ups.paid.extend(invoice.subscription_id);
        self.event("invoice.paid", id, data, actor);
        self.end_installments(id, InstallmentStatus::Paid, actor);
    }
}
