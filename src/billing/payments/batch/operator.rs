//! What an operator decides about an invoice or a payment, by the same rules as a gateway's answer.

use serde_json::json;

use super::SettlementBatch;
use crate::{
    billing::BillingError,
    domain::{
        event::Actor,
        id::{InvoiceId, PaymentId},
        installment_plan::InstallmentStatus,
        invoice::{InvoiceStatus, NextAction},
        payment::{Decline, DeclineClass, Payment, PaymentStatus, Resolution},
    },
};

impl SettlementBatch<'_> {
    /// Collects now what would be collected later.
    pub fn collect_now(&mut self, id: InvoiceId, actor: &Actor) {
        let now = self.now();
        if let Some(invoice) = self.invoices.change(id) {
            invoice.next_attempt_at = Some(now);
            invoice.next_action = NextAction::Charge;
            (invoice.next_method, invoice.postponed_by) = (false, None);
            invoice.gateway_faults = 0;
            invoice.updated_at = now;
            self.event("invoice.collection_asked", id, json!({}), actor);
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

    /// Closes a parked payment by what an operator found out.
    pub fn resolve_parked(
        &mut self,
        id: PaymentId,
        resolution: Resolution,
        transaction_id: Option<String>,
        amount: Option<i64>,
        note: &str,
        actor: &Actor,
    ) -> Result<Payment, BillingError> {
        let Some(mut payment) = self.payments.get(id).cloned() else { return Err(BillingError::not_found("payment", id)) };
        if payment.status != PaymentStatus::Parked {
            return Err(BillingError::WrongState(format!(
                "the payment is {}: only a parked one is resolved by hand",
                payment.status
            )));
        }
        let taken = resolution == Resolution::Succeeded;
        if !taken && (amount.is_some() || transaction_id.is_some()) {
            let field = if amount.is_some() { "amount" } else { "transaction_id" };
            return Err(BillingError::invalid(field, "only goes with the outcome succeeded"));
        }
        if amount.is_some_and(|amount| !(1..=payment.amount).contains(&amount)) {
            let asked = payment.amount;
            return Err(BillingError::invalid(
                "amount",
                format!("must be at most what was asked for, {asked}: give back more at the gateway"),
            ));
        }
        let now = self.now();
        let before = json!({ "status": payment.status });
        let status = match resolution {
            Resolution::Succeeded => PaymentStatus::Succeeded,
            Resolution::Declined => PaymentStatus::Declined,
            Resolution::NotProcessed => PaymentStatus::GatewayError,
        };
        payment.resolve(status, transaction_id, self.clocks.now(payment.timeline));
        if resolution == Resolution::Succeeded {
            payment.amount_captured = amount.unwrap_or(payment.amount);
        }
        let data = json!({ "outcome": resolution, "amount": payment.amount_captured, "note": note, "before": before });
        self.events.push(self.app.event(payment.timeline, now, actor, "payment.resolved", id, data));
        match resolution {
            Resolution::Succeeded => self.succeed(&mut payment),
            Resolution::Declined => {
                let decline = Decline { class: DeclineClass::Soft, code: "resolved".to_owned(), message: note.to_owned() };
                self.decline(payment.invoice_id, &decline);
            }
            Resolution::NotProcessed => {
                if self.invoices.get(payment.invoice_id).is_some_and(|invoice| invoice.status == InvoiceStatus::Open)
                    && !self.stop_if_cancelled(payment.invoice_id)
                {
                    self.collect_now(payment.invoice_id, actor);
                }
            }
        }
        self.payments.replace(id, payment.clone());
        Ok(payment)
    }
}
