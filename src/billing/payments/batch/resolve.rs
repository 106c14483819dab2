//! What an operator found out about a parked payment, by the same rules as a gateway's answer.

use serde_json::json;

use super::SettlementBatch;
use crate::{
    billing::BillingError,
    domain::{
        event::Actor,
        id::PaymentId,
        invoice::InvoiceStatus,
        payment::{Decline, DeclineClass, Payment, PaymentStatus, Resolution},
    },
};

impl SettlementBatch<'_> {
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
                self.decline(payment.invoice_id, &decline, None);
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
