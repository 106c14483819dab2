//! What a gateway's answer does: the transition is decided in `domain`, and its effects on the invoice are carried out here.

use chrono::{DateTime, Utc};

use super::SettlementBatch;
use crate::{
    billing::gateways,
    domain::{
        dunning::Postponement,
        id::InvoiceId,
        invoice::NextAction,
        payment::{
            Payment,
            transition::{Effect, Facts, PaymentEvent, PaymentReply, PaymentStep, Resend, Transition, decide},
        },
    },
    telemetry,
};

impl<'a> SettlementBatch<'a> {
    /// Settles one answer. Says what to ask next, and about which payment.
    pub fn settle(&mut self, claimed: &Payment, answer: &PaymentReply) -> Option<(PaymentStep, Payment)> {
        let payment = self.payments.get(claimed.id)?.clone();
        let facts = self.facts(&payment, claimed, answer);
        let transition = decide(&payment, answer, &facts);
        self.apply(&payment, transition)
    }

    fn facts(&self, payment: &Payment, claimed: &Payment, answer: &PaymentReply) -> Facts<'a> {
        let app = self.app;
        let now = self.clocks.now(payment.timeline);
        let is_ours = payment.lease_token == claimed.lease_token;
        let is_wanted = self.invoices.get(payment.invoice_id).is_some_and(|invoice| self.is_wanted(invoice));
        // Asking takes the slot of a probe, so it is only done for a charge that is to be sent again.
        let asks = *answer == PaymentReply::NotFound && is_ours && is_wanted && !payment.status.is_closed();
        let resend = if asks { gateways::send_again(app, payment, now) } else { Resend::NotBefore(now) };
        Facts {
            wall: self.clocks.wall,
            now,
            instance: &app.instance,
            lease: app.config.collection.lease,
            lookups: app.config.collection.lookup_policy(),
            lease_token: claimed.lease_token,
            is_ours,
            is_wanted,
            is_gateway_down: app.gateways.health(&payment.gateway).is_some_and(|health| health.is_down(payment.timeline)),
            resend,
        }
    }

    /// Carries out what was decided about a payment. Says what to ask next.
    fn apply(&mut self, before: &Payment, transition: Transition) -> Option<(PaymentStep, Payment)> {
        for PaymentEvent { kind, data, alarm } in transition.events {
            if let Some(alarm) = alarm {
                tracing::error!(payment = %before.id, %data, "{alarm}");
            }
            self.payment_event(kind, before, data);
        }
        if let Some(mut payment) = transition.payment {
            for effect in &transition.effects {
                self.take_effect(&mut payment, effect);
            }
            if payment.status != before.status {
                count_ended(&payment);
            }
            self.payments.replace(payment.id, payment);
        }
        transition.next
    }

    fn take_effect(&mut self, payment: &mut Payment, effect: &Effect) {
        let invoice = payment.invoice_id;
        match effect {
            Effect::Paid => self.succeed(payment),
            Effect::Declined(decline) => self.decline(invoice, decline, Some(&payment.gateway)),
            Effect::EndMandate => {
                self.follow_ups.end_mandates.extend(payment.payment_method_id.map(|method| (method, payment.timeline)));
            }
            Effect::NotWanted => {
                self.stop_if_cancelled(invoice);
            }
            Effect::AuthorizationFailed => self.charge_anew(payment),
            Effect::GatewayFault(retry_after) => self.gateway_fault(invoice, said(payment), *retry_after),
            Effect::WaitForGateway(until) => self.wait_for_gateway(invoice, *until, said(payment)),
            Effect::PlanNow => self.plan_now(invoice),
        }
    }

    /// What was authorized before the bill date could not be captured: charged now, with no dunning step spent.
    fn charge_anew(&mut self, payment: &Payment) {
        self.follow_ups.void_authorizations.extend(payment.authorization_id);
        if self.stop_if_cancelled(payment.invoice_id) {
            return;
        }
        let now = self.clocks.now(payment.timeline);
        if let Some(invoice) = self.invoices.change_open(payment.invoice_id) {
            invoice.next_attempt_at = Some(now);
            invoice.next_action = NextAction::Charge;
            invoice.updated_at = now;
        }
    }

    pub(super) fn wait_for_gateway(&mut self, id: InvoiceId, until: DateTime<Utc>, reason: &str) {
        let Some(invoice) = self.invoices.change_open(id) else { return };
        (invoice.next_attempt_at, invoice.postponed_by) = (Some(until), Some(Postponement::Gateway));
        invoice.next_action = NextAction::Charge;
        let now = self.clocks.now(invoice.timeline);
        invoice.refused(reason, now);
        invoice.updated_at = now;
        if !self.stop_if_cancelled(id) {
            self.rests_if_defaulted(id);
        }
    }
}

/// What went wrong in the latest call of a payment.
fn said(payment: &Payment) -> &str {
    payment.decline_message.as_deref().unwrap_or("the gateway did not answer")
}

/// Counts a payment that has ended.
pub(super) fn count_ended(payment: &Payment) {
    if !payment.status.is_open() {
        metrics::counter!(telemetry::PAYMENTS, "gateway" => payment.gateway.clone(), "status" => payment.status.as_str())
            .increment(1);
    }
}
