//! What becomes of a payment whose gateway rests: nobody is charged, nothing is lost, no patience is spent.

use chrono::{DateTime, TimeDelta, Utc};

use super::SettlementBatch;
use crate::{
    billing::gateways,
    domain::{
        clock::Timeline,
        dunning::Postponement,
        id::InvoiceId,
        invoice::{InvoiceStatus, NextAction},
        payment::{Payment, PaymentStatus},
    },
};

/// However long an outage is, a payment that nobody can say anything about for so long is for an operator to decide.
const LONGEST_OUTAGE: TimeDelta = TimeDelta::days(30);

impl SettlementBatch<'_> {
    /// It was not called. Recorded as that; its invoice waits for the gateway, which is no fault of it.
    pub(crate) fn rest(&mut self, payment: &mut Payment, until: DateTime<Utc>) {
        if payment.was_sent_before() {
            self.stay_unknown(payment, until);
        } else {
            self.not_processed(payment, until, "not sent: the gateway is paused");
        }
    }

    /// Whether a payment that the gateway has never seen may be sent once more. If so, it counts among the probes.
    pub(crate) fn may_send_again(&self, payment: &Payment) -> bool {
        gateways::send_again(self.app, payment, self.now_of(payment.timeline)).is_ok()
    }

    /// In real time it stays what it is, to be sent again as the same payment once that may be. A test clock stands still
    /// for that, and so its payment is let go as soon as a call that is late would have arrived.
    pub(crate) fn wait_to_send_again(&mut self, payment: &mut Payment) {
        let now = self.now_of(payment.timeline);
        let Err(until) = gateways::send_again(self.app, payment, now) else { return };
        if payment.timeline != Timeline::Wall && self.has_settled(payment) {
            self.not_processed(payment, until, "never seen by the gateway, which is paused");
        } else {
            self.stay_unknown(payment, until);
        }
    }

    fn stay_unknown(&mut self, payment: &mut Payment, until: DateTime<Utc>) {
        payment.status = PaymentStatus::Unknown;
        payment.lease_owner = None;
        payment.lease_expires_at = None;
        payment.next_lookup_at =
            Some(if payment.timeline == Timeline::Wall { until } else { payment.called_at + self.app.config.collection.lease });
    }

    fn not_processed(&mut self, payment: &mut Payment, until: DateTime<Utc>, message: &str) {
        self.resolve(payment, PaymentStatus::GatewayError, None);
        payment.decline_message = Some(message.to_owned());
        self.wait_for_gateway(payment.invoice_id, until);
    }

    fn wait_for_gateway(&mut self, id: InvoiceId, until: DateTime<Utc>) {
        let Some(invoice) = self.invoices.get_mut(&id).filter(|invoice| invoice.status == InvoiceStatus::Open) else { return };
        (invoice.next_attempt_at, invoice.postponed_by) = (Some(until), Some(Postponement::Gateway));
        invoice.next_action = NextAction::Charge;
        invoice.updated_at = self.nows.get(&invoice.timeline).copied().unwrap_or(self.wall);
        self.changed_invoices.insert(id);
        self.stop_if_cancelled(id);
    }

    /// Whether a silent look-up is no wonder.
    pub(crate) fn is_outage(&self, payment: &Payment) -> bool {
        let health = self.app.gateways.health(&payment.gateway);
        health.is_some_and(|health| health.is_down(payment.timeline)) && self.wall - payment.sent_at < LONGEST_OUTAGE
    }
}
