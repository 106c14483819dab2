//! A payment whose money was reserved before the bill date and could not be captured: charged anew, with no dunning step spent.

use serde_json::json;

use super::SettlementBatch;
use crate::domain::{
    invoice::{InvoiceStatus, NextAction},
    payment::{Decline, Payment, PaymentStatus},
};

impl SettlementBatch<'_> {
    /// The reservation has run out, or the gateway will not capture it. The customer's card was not refused a charge: that comes now.
    pub(crate) fn reservation_failed(&mut self, payment: &mut Payment, decline: &Decline) {
        self.resolve(payment, PaymentStatus::GatewayError, None);
        payment.decline_message =
            Some(format!("what was reserved could not be captured: {} ({})", decline.message, decline.code));
        self.void_used.extend(payment.authorization_id);
        let data = json!({
            "invoice_id": payment.invoice_id, "authorization_id": payment.authorization_id, "code": decline.code,
            "message": decline.message,
        });
        self.payment_event("payment.reservation_lost", payment, data);
        if self.stop_if_cancelled(payment.invoice_id) {
            return;
        }
        let now = self.now_of(payment.timeline);
        if let Some(invoice) = self.invoices.get_mut(&payment.invoice_id).filter(|it| it.status == InvoiceStatus::Open) {
            invoice.next_attempt_at = Some(now);
            invoice.next_action = NextAction::Charge;
            invoice.updated_at = now;
            self.changed_invoices.insert(invoice.id);
        }
    }
}
