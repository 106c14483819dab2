//! What an outcome does to the invoice and to what it belongs to: paid, the next step of the dunning ladder, or its end.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::SettlementBatch;
use crate::{
    billing::gateways,
    domain::{
        dunning::{FinalAction, Next},
        event::Actor,
        id::InvoiceId,
        installment_plan::InstallmentStatus,
        invoice::{InvoiceStatus, NextAction},
        payment::{Decline, DeclineClass, Payment},
        subscription::{Subscription, SubscriptionStatus},
    },
};

const MANDATE_ENDED: &str = "the issuer ended the mandate";
const LADDER_ENDED: &str = "the dunning ladder ended without payment";

impl SettlementBatch<'_> {
    /// Money arrived.
    pub fn succeed(&mut self, payment: &mut Payment) {
        let data = json!({ "invoice_id": payment.invoice_id, "amount": payment.amount_captured, "currency": payment.currency, "transaction_id": payment.transaction_id });
        self.payment_event("payment.succeeded", payment, data);
        let now = self.clocks.now(payment.timeline);
        let rest = self.take(payment);
        let Some(invoice) = self.invoices.change(payment.invoice_id) else { return };
        if invoice.status != InvoiceStatus::Open {
            // It stays closed, but what came in must be there to be given back.
            invoice.updated_at = now;
            self.payment_event("payment.on_closed_invoice", payment, json!({ "invoice_id": payment.invoice_id }));
            return;
        }
        invoice.gateway_faults = 0;
        invoice.updated_at = now;
        if payment.overpayment > 0 || rest > 0 && payment.payment_request_id.is_some() {
            let data = json!({ "invoice_id": payment.invoice_id, "asked": payment.amount, "captured": payment.amount_captured });
            self.payment_event("payment.amount_differs", payment, data);
        }
        if rest > 0 && payment.payment_request_id.is_none() {
            let decline =
                Decline { class: DeclineClass::Soft, code: "partial".to_owned(), message: "only a part was approved".to_owned() };
            self.decline(payment.invoice_id, &decline, None);
        }
        if rest > 0 {
            return;
        }
        let data = json!({ "payment_id": payment.id, "amount": payment.amount_captured });
        self.close_as_paid(payment.invoice_id, data, &Actor::System);
    }

    /// The invoice was refused: the next step of the ladder, or its end. What is not the customer's fault spends no step.
    pub fn decline(&mut self, id: InvoiceId, decline: &Decline, gateway: Option<&str>) {
        if decline.class == DeclineClass::GatewayFault {
            self.gateway_fault(id, &decline.reason(), None);
            return;
        }
        match decline.class {
            DeclineClass::AccountRefused => self.account_refused(id, decline, gateway),
            DeclineClass::ChargeRefused => self.park(id, decline.class, Some(&decline.code), &decline.reason()),
            _ => self.count_decline(id, decline),
        }
    }

    /// The next step of the ladder, or its end.
    fn count_decline(&mut self, id: InvoiceId, decline: &Decline) {
        let Some(invoice) = self.invoices.change_open(id) else { return };
        let now = self.clocks.now(invoice.timeline);
        invoice.dunning_step += 1;
        invoice.updated_at = now;
        invoice.first_failed_at.get_or_insert(now);
        (invoice.decline_class, invoice.decline_code) = (Some(decline.class), Some(decline.code.clone()));
        (invoice.next_method, invoice.postponed_by) = (false, None);
        if decline.class == DeclineClass::TryLater {
            // A rule of the merchant's own may be the reason, and then an operator is to know.
            invoice.refused(&decline.reason(), now);
        } else {
            (invoice.refused_at, invoice.refused_reason) = (None, None);
        }
        let failed = invoice.clone();
        let next = self.next_step(&failed, decline, now);
        let Some(invoice) = self.invoices.change(id) else { return };
        match next {
            Next::RetryAt { at, next_method } => {
                (invoice.next_attempt_at, invoice.next_action) = (Some(at), NextAction::Charge);
                invoice.next_method = next_method;
            }
            Next::GiveUpAt(at) => (invoice.next_attempt_at, invoice.next_action) = (Some(at), NextAction::GiveUp),
            Next::GiveUp | Next::Stop => {}
        }
        if self.stop_if_cancelled(id) || self.rests_if_defaulted(id) {
            return;
        }
        self.tell_failure(id, decline, next);
        match next {
            Next::GiveUp => self.give_up(id),
            Next::Stop => {
                self.cancel(id, MANDATE_ENDED);
                self.default_plan(id, MANDATE_ENDED);
            }
            Next::RetryAt { .. } | Next::GiveUpAt(_) => self.past_due(id),
        }
    }

    /// Nobody's money moved and nobody is to blame but the way there: a short wait, no dunning step, no word to the customer.
    pub fn gateway_fault(&mut self, id: InvoiceId, reason: &str, retry_after: Option<TimeDelta>) {
        let backoff = &self.app.config.collection.gateway_fault_backoff;
        let Some(invoice) = self.invoices.change_open(id) else { return };
        let now = self.clocks.now(invoice.timeline);
        let index = usize::try_from(invoice.gateway_faults).unwrap_or(0).min(backoff.len().saturating_sub(1));
        let wait = backoff.get(index).copied().unwrap_or(TimeDelta::minutes(1));
        invoice.gateway_faults += 1;
        invoice.next_attempt_at = Some(now + retry_after.map_or(wait, |asked| asked.max(wait)));
        invoice.next_action = NextAction::Charge;
        invoice.refused(reason, now);
        invoice.updated_at = now;
        if !self.stop_if_cancelled(id) {
            self.rests_if_defaulted(id);
        }
    }

    /// The gateway refuses the merchant's account: the invoice waits until that is mended, as all that is due at the gateway.
    fn account_refused(&mut self, id: InvoiceId, decline: &Decline, gateway: Option<&str>) {
        let Some(invoice) = self.invoices.change_open(id) else { return };
        let now = self.clocks.now(invoice.timeline);
        match gateway.and_then(|gateway| gateways::rests_until(self.app, gateway, invoice.timeline, now)) {
            // Behind the others, so that the next probe is another invoice.
            Some(until) => self.wait_for_gateway(id, until + gateways::refusals::BEHIND, &decline.reason()),
            None => self.gateway_fault(id, &decline.reason(), None),
        }
    }

    /// No waiting helps: an operator decides, and the customer hears nothing.
    fn park(&mut self, id: InvoiceId, class: DeclineClass, code: Option<&str>, reason: &str) {
        let Some(invoice) = self.invoices.change_open(id) else { return };
        let now = self.clocks.now(invoice.timeline);
        invoice.park(reason, now);
        if !self.stop_if_cancelled(id) {
            tracing::warn!(invoice = %id, reason, "the invoice is parked: mend what the gateway refuses, and collect");
            self.event("invoice.parked", id, json!({ "class": class, "code": code, "reason": reason }), &Actor::System);
        }
    }

    /// An invoice whose subscription or installment plan was cancelled while a payment was on its way is void now.
    pub(super) fn stop_if_cancelled(&mut self, id: InvoiceId) -> bool {
        if !self.invoices.get(id).is_some_and(|invoice| self.is_cancelled(invoice)) {
            return false;
        }
        if let Some(invoice) = self.invoices.change_open(id) {
            let what = if invoice.installment_plan_id.is_some() { "installment plan" } else { "subscription" };
            invoice.next_attempt_at = None;
            self.follow_ups.void_invoices.insert(id, (format!("the {what} was cancelled"), Actor::System));
            self.end_installments(id, InstallmentStatus::Cancelled, &Actor::System);
        }
        true
    }

    pub(super) fn past_due(&mut self, id: InvoiceId) {
        let Some(subscription_id) = self.invoices.get(id).and_then(|invoice| invoice.subscription_id) else { return };
        let is_running = |it: &Subscription| matches!(it.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing);
        if let Some(subscription) = self.subscriptions.change_if(subscription_id, is_running) {
            subscription.status = SubscriptionStatus::PastDue;
            subscription.refresh(&self.app.rules);
            self.subscription_event("subscription.past_due", subscription_id, json!({ "invoice_id": id }));
        }
    }

    /// The ladder is used up: its final action.
    pub fn give_up(&mut self, id: InvoiceId) {
        match self.final_action(id) {
            Some(FinalAction::Cancel) => self.cancel(id, LADDER_ENDED),
            Some(FinalAction::Pause) => self.pause(id, LADDER_ENDED),
            Some(FinalAction::MarkUncollectible) => self.give_up_for_good(id),
            Some(FinalAction::PaymentRequest) => {
                self.follow_ups.last_requests.insert(id);
            }
            None => self.park_at_the_end(id),
        }
    }

    /// The ladder ended, and nobody knows whether the customer is to blame.
    fn park_at_the_end(&mut self, id: InvoiceId) {
        let Some(invoice) = self.invoices.get(id) else { return };
        let (class, code) = (invoice.decline_class.unwrap_or(DeclineClass::TryLater), invoice.decline_code.clone());
        let reason = invoice.refused_reason.clone().unwrap_or_else(|| LADDER_ENDED.to_owned());
        self.past_due(id);
        self.park(id, class, code.as_deref(), &reason);
    }

    /// The subscription of an invoice, if it has not ended, and now by its clock.
    fn running_subscription(&mut self, id: InvoiceId) -> Option<(&mut Subscription, DateTime<Utc>)> {
        let subscription_id = self.invoices.get(id)?.subscription_id?;
        let subscription = self.subscriptions.change_if(subscription_id, |it| !it.status.is_ended())?;
        let now = self.clocks.now(subscription.timeline);
        Some((subscription, now))
    }

    fn pause(&mut self, id: InvoiceId, reason: &str) {
        self.uncollectible(id);
        let app = self.app;
        let Some((subscription, now)) = self.running_subscription(id) else { return };
        let subscription_id = subscription.id;
        subscription.pause(subscription.today(now), None);
        subscription.refresh(&app.rules);
        self.subscription_event("subscription.paused", subscription_id, json!({ "reason": reason }));
    }

    fn cancel(&mut self, id: InvoiceId, reason: &str) {
        self.uncollectible(id);
        let Some((subscription, now)) = self.running_subscription(id) else { return };
        let subscription_id = subscription.id;
        subscription.end(SubscriptionStatus::Cancelled, now);
        subscription.updated_at = now;
        self.follow_ups.given_up.insert(subscription_id);
        self.subscription_event("subscription.cancelled", subscription_id, json!({ "reason": reason, "invoice_id": id }));
    }

    pub(super) fn uncollectible(&mut self, id: InvoiceId) {
        if let Some(invoice) = self.invoices.change_open(id) {
            invoice.status = InvoiceStatus::Uncollectible;
            invoice.next_attempt_at = None;
            self.event("invoice.uncollectible", id, json!({}), &Actor::System);
            self.end_installments(id, InstallmentStatus::Failed, &Actor::System);
        }
    }
}
