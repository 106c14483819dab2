//! What a gateway's answer does to its payment, and what is asked next.

use chrono::TimeDelta;
use serde_json::json;

use super::SettlementBatch;
use crate::{
    billing::payments::settle::{Answer, Step},
    domain::{
        id::PaymentId,
        invoice::{Invoice, InvoiceStatus},
        payment::{DeclineClass, Outcome, Payment, PaymentStatus},
    },
    gateway::{Other, ReturnOutcome},
    telemetry,
};

/// When the gateway is asked once more about what never arrived and was given up: a process or a network that stands still for
/// longer than a lease may have held the call up.
const ONCE_MORE: TimeDelta = TimeDelta::days(1);

impl SettlementBatch<'_> {
    /// What one answer does. Says what to ask next.
    pub fn settle(&mut self, claimed: &Payment, answer: &Answer) -> Option<(Step, PaymentId)> {
        let mut payment = self.payments.get(&claimed.id)?.clone();
        let ours = payment.lease_token == claimed.lease_token;
        let closed = !payment.status.is_open() || payment.status == PaymentStatus::Parked;
        if closed && ours && payment.next_lookup_at.is_some() && !tells_success(answer) {
            return self.asked_once_more(payment, answer);
        }
        if closed && !self.took_money_after_all(&payment, answer) || !(closed || ours || tells_the_end(answer)) {
            return self.too_late(&payment, claimed, answer);
        }
        let wanted = self.wants(&payment);
        let next = match answer {
            Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor }) => {
                self.resolve(&mut payment, PaymentStatus::Succeeded, Some(transaction_id.clone()));
                payment.amount_captured = *amount_minor;
                (payment.decline_class, payment.decline_code, payment.decline_message) = (None, None, None);
                self.succeed(&mut payment);
                None
            }
            Answer::Outcome(Outcome::Authorized { transaction_id }) => {
                // From a look-up: the capture is tried again, and if it fails again the backoff goes on where it was.
                payment.lookups += i64::from(payment.status == PaymentStatus::Unknown);
                payment.transaction_id = Some(transaction_id.clone());
                if wanted {
                    payment.status = PaymentStatus::Authorized;
                    self.lease(&mut payment);
                    Some(Step::Capture)
                } else {
                    // Not over yet: a capture whose answer was lost may win against the release.
                    payment.status = PaymentStatus::Unknown;
                    payment.lease_expires_at = None;
                    payment.next_lookup_at = Some(self.wall + self.app.config.collection.lease);
                    Some(Step::Void)
                }
            }
            // What was reserved is free again, as it was to be: that is no decline, of which a customer would be told.
            Answer::Outcome(Outcome::Declined { .. }) if !wanted && payment.transaction_id.is_some() => {
                self.not_wanted(&mut payment);
                None
            }
            Answer::Outcome(Outcome::Declined { decline, .. }) if payment.authorization_id.is_some() => {
                self.reservation_failed(&mut payment, decline);
                None
            }
            Answer::Outcome(Outcome::Declined { decline, transaction_id }) => {
                self.resolve(&mut payment, PaymentStatus::Declined, transaction_id.clone());
                payment.decline_class = Some(decline.class);
                payment.decline_code = Some(decline.code.clone());
                payment.decline_message = Some(decline.message.clone());
                let data = json!({ "invoice_id": payment.invoice_id, "attempt": payment.attempt, "class": decline.class, "code": decline.code });
                self.payment_event("payment.declined", &payment, data);
                if decline.class == DeclineClass::StopRecurring {
                    self.mandates_ended.extend(payment.payment_method_id);
                }
                // A reservation that cannot be captured is no attempt of ours: the customer is still asked.
                if payment.payment_request_id.is_none() {
                    self.decline(payment.invoice_id, decline);
                } else {
                    self.plan_now(payment.invoice_id);
                }
                None
            }
            // This call was not processed; an earlier one, whose answer was lost, may be on its way still.
            Answer::Outcome(Outcome::GatewayError { message, .. }) if payment.was_sent_before() => {
                self.ask_later(&mut payment, message);
                None
            }
            Answer::Outcome(Outcome::GatewayError { message, retry_after }) => {
                self.resolve(&mut payment, PaymentStatus::GatewayError, None);
                payment.decline_message = Some(message.clone());
                self.gateway_fault(payment.invoice_id, retry_after.and_then(|wait| TimeDelta::from_std(wait).ok()));
                None
            }
            Answer::Outcome(Outcome::Unknown { message }) => {
                self.unknown(&mut payment, message);
                None
            }
            Answer::Rests(until) => {
                self.rest(&mut payment, *until);
                None
            }
            Answer::Nothing if wanted && !self.may_send_again(&payment) => {
                self.wait_to_send_again(&mut payment);
                None
            }
            Answer::Nothing if wanted => {
                // Sent again as the same payment: same reference, same key.
                payment.status = PaymentStatus::Pending;
                payment.lookups = self.lookups.count(payment.lookups, self.is_outage(&payment));
                payment.next_lookup_at = None;
                payment.called_at = self.wall;
                self.lease(&mut payment);
                Some(Step::Charge)
            }
            Answer::Nothing if !self.has_settled(&payment) => {
                // Nobody will send it again, so a call that is late must have had the time to arrive.
                payment.lease_owner = None;
                payment.next_lookup_at = Some(payment.called_at + self.app.config.collection.lease);
                None
            }
            Answer::Nothing => {
                self.not_wanted(&mut payment);
                // A call that was held up for longer than that, and whose daemon then died, is found by this.
                payment.next_lookup_at = Some(self.wall + ONCE_MORE);
                None
            }
            Answer::Silence(message) => {
                self.ask_later(&mut payment, message);
                None
            }
            Answer::Disagrees(message) => {
                self.park(&mut payment, message);
                None
            }
            Answer::Twice { best, others } => {
                self.taken_twice(&mut payment, best, others);
                None
            }
            Answer::Voided(ReturnOutcome::Returned { .. }) => {
                self.not_wanted(&mut payment);
                None
            }
            Answer::Voided(_) => {
                self.ask_later(&mut payment, "the reserved money could not be given free");
                None
            }
            Answer::LeaseLost => None,
        };
        if !payment.status.is_open() {
            metrics::counter!(telemetry::PAYMENTS, "gateway" => payment.gateway.clone(), "status" => payment.status.as_str())
                .increment(1);
        }
        self.changed_payments.insert(payment.id);
        let id = payment.id;
        self.payments.insert(id, payment);
        next.map(|step| (step, id))
    }

    /// Success for a payment that had been given up as not processed or parked: the money is gone from the customer, so the batch
    /// must say so, whatever else they say.
    fn took_money_after_all(&mut self, payment: &Payment, answer: &Answer) -> bool {
        let Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor }) = answer else { return false };
        if matches!(payment.status, PaymentStatus::Succeeded | PaymentStatus::Refunded) {
            return false;
        }
        let data = json!({ "transaction_id": transaction_id, "amount": amount_minor, "status": payment.status });
        self.payment_event("payment.unexpected_success", payment, data);
        tracing::error!(payment = %payment.id, transaction_id, "the gateway reports success for a payment that had ended otherwise");
        true
    }

    /// What a second look, long after its end, says of one that never arrived: nothing, or it is asked again.
    fn asked_once_more(&mut self, mut payment: Payment, answer: &Answer) -> Option<(Step, PaymentId)> {
        let id = payment.id;
        payment.lease_owner = None;
        payment.next_lookup_at = None;
        let mut next = None;
        match answer {
            Answer::Outcome(Outcome::Authorized { transaction_id }) => {
                self.payment_event("payment.orphaned_authorization", &payment, json!({ "transaction_id": transaction_id }));
                payment.transaction_id = Some(transaction_id.clone());
                next = Some((Step::Void, id));
            }
            Answer::Silence(_) | Answer::Outcome(Outcome::Unknown { .. } | Outcome::GatewayError { .. }) => {
                payment.lookups += 1;
                let again = !self.lookups.is_spent(payment.lookups);
                payment.next_lookup_at = again.then(|| self.wall + self.lookups.delay(payment.lookups));
            }
            Answer::Disagrees(message) => {
                self.payment_event("payment.unexpected_success", &payment, json!({ "message": message }));
                tracing::error!(payment = %id, message, "the gateway has what had been given up, and not as it was asked for");
            }
            Answer::Twice { .. } => {
                self.payment_event("payment.unexpected_success", &payment, json!({ "message": "taken more than once" }));
                tracing::error!(payment = %id, "the gateway has taken what had been given up, more than once");
            }
            _ => {}
        }
        self.changed_payments.insert(id);
        self.payments.insert(id, payment);
        next
    }

    /// An answer that comes after another daemon has taken the payment over, or after its end.
    fn too_late(&mut self, payment: &Payment, claimed: &Payment, answer: &Answer) -> Option<(Step, PaymentId)> {
        match answer {
            Answer::Outcome(Outcome::Authorized { transaction_id })
                if payment.transaction_id.as_ref() != Some(transaction_id) =>
            {
                self.payment_event("payment.orphaned_authorization", payment, json!({ "transaction_id": transaction_id }));
                if payment.status.is_open() && payment.transaction_id.is_none() {
                    // Whoever has the payment now may be about to find and capture this very reservation. It runs out by itself.
                    return None;
                }
                // Reserved twice: the later reservation is given free, no money has moved. Under the claim that was lost, so that
                // what comes of it says nothing about the payment as it is now.
                let mut stray = claimed.clone();
                stray.transaction_id = Some(transaction_id.clone());
                self.payments.insert(stray.id, stray);
                Some((Step::Void, payment.id))
            }
            // Sent after another had found nothing and given it up. Whether it has arrived is asked once more.
            Answer::Outcome(Outcome::Unknown { message })
                if payment.status == PaymentStatus::GatewayError && !self.wants(payment) =>
            {
                let mut again = payment.clone();
                again.resolved_at = None;
                self.unknown(&mut again, message);
                self.changed_payments.insert(again.id);
                self.payments.insert(again.id, again);
                None
            }
            Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor })
                if payment.transaction_id.as_ref() != Some(transaction_id) =>
            {
                let data = json!({ "transaction_id": transaction_id, "amount": amount_minor, "status": payment.status });
                self.payment_event("payment.taken_twice", payment, data);
                tracing::error!(payment = %payment.id, transaction_id, "the gateway reports a second success for one payment");
                None
            }
            _ => None,
        }
    }

    fn wants(&self, payment: &Payment) -> bool {
        self.invoices.get(&payment.invoice_id).is_some_and(|invoice| self.is_wanted(invoice))
    }

    /// Whether the invoice is still to be collected: cancel, void and paid stop everything.
    pub fn is_wanted(&self, invoice: &Invoice) -> bool {
        invoice.status == InvoiceStatus::Open && !self.is_cancelled(invoice)
    }

    fn lease(&self, payment: &mut Payment) {
        payment.lease_owner = Some(self.app.instance.clone());
        payment.lease_expires_at = Some(self.wall + self.app.config.collection.lease);
    }

    pub(crate) fn resolve(&self, payment: &mut Payment, status: PaymentStatus, transaction_id: Option<String>) {
        payment.status = status;
        payment.transaction_id = transaction_id.or_else(|| payment.transaction_id.take());
        payment.resolved_at = Some(self.now_of(payment.timeline));
        payment.lease_owner = None;
        payment.lease_expires_at = None;
        payment.next_lookup_at = None;
    }

    fn not_wanted(&mut self, payment: &mut Payment) {
        self.resolve(payment, PaymentStatus::GatewayError, None);
        payment.decline_message = Some("stopped before any money moved: the invoice is not to be collected any more".to_owned());
        self.stop_if_cancelled(payment.invoice_id);
    }

    fn unknown(&mut self, payment: &mut Payment, message: &str) {
        // The first look-up is immediate; after a resend the backoff goes on where it was.
        let first = payment.lookups == 0;
        payment.status = PaymentStatus::Unknown;
        // Until now it may have been sent.
        payment.called_at = self.wall;
        payment.decline_message = Some(message.to_owned());
        payment.lease_owner = None;
        payment.lease_expires_at = None;
        payment.next_lookup_at = Some(if first { self.wall } else { self.wall + self.lookups.delay(payment.lookups) });
        let data = json!({ "invoice_id": payment.invoice_id, "message": message });
        self.payment_event("payment.unknown", payment, data);
    }

    /// Whether a call that the gateway does not know of would have arrived by now.
    pub(crate) fn has_settled(&self, payment: &Payment) -> bool {
        payment.called_at + self.app.config.collection.lease <= self.wall
    }

    /// Only an operator can say what it comes to.
    fn park(&mut self, payment: &mut Payment, message: &str) {
        payment.status = PaymentStatus::Parked;
        payment.decline_message = Some(message.to_owned());
        payment.lease_owner = None;
        payment.lease_expires_at = None;
        payment.next_lookup_at = None;
        let data = json!({ "invoice_id": payment.invoice_id, "reference": payment.reference, "sent_at": payment.sent_at, "message": message });
        self.payment_event("payment.parked", payment, data);
    }

    /// The gateway took it more than once under one reference. Which of them stays, and that the rest is given back there, is for
    /// an operator: by itself nothing is charged and nothing returned.
    fn taken_twice(&mut self, payment: &mut Payment, best: &Outcome, others: &[Other]) {
        let mut taken: Vec<(String, i64)> =
            others.iter().filter_map(|other| Some((other.transaction_id.clone(), other.taken_minor?))).collect();
        if let Outcome::Succeeded { transaction_id, amount_minor } = best {
            payment.transaction_id = Some(transaction_id.clone());
            taken.insert(0, (transaction_id.clone(), *amount_minor));
        }
        let list: Vec<String> = taken.iter().map(|(id, amount)| format!("{id} ({amount})")).collect();
        let message = format!(
            "the gateway took it {} times under one reference: {}; resolve it with the one that stays, and give the others back there",
            taken.len(),
            list.join(", ")
        );
        tracing::error!(payment = %payment.id, reference = payment.reference, "taken more than once under one reference");
        let transactions: Vec<_> = taken.iter().map(|(id, amount)| json!({ "transaction_id": id, "amount": amount })).collect();
        let data = json!({ "invoice_id": payment.invoice_id, "reference": payment.reference, "transactions": transactions });
        self.payment_event("payment.taken_twice", payment, data);
        self.park(payment, &message);
    }

    /// Nothing is known yet: the next look-up waits longer than the one before, and in the end for a human.
    fn ask_later(&mut self, payment: &mut Payment, message: &str) {
        payment.status = PaymentStatus::Unknown;
        payment.lease_expires_at = None;
        payment.lookups = self.lookups.count(payment.lookups, self.is_outage(payment));
        payment.decline_message = Some(message.to_owned());
        payment.lease_owner = None;
        if self.lookups.is_spent(payment.lookups) && !self.is_outage(payment) {
            self.park(payment, message);
        } else {
            let data = json!({ "lookups": payment.lookups, "message": message });
            self.payment_event("payment.looked_up", payment, data);
            payment.next_lookup_at = Some(self.wall + self.lookups.delay(payment.lookups));
        }
    }
}

fn tells_success(answer: &Answer) -> bool {
    matches!(answer, Answer::Outcome(Outcome::Succeeded { .. }))
}

/// Answers that are true whoever brings them.
fn tells_the_end(answer: &Answer) -> bool {
    matches!(answer, Answer::Outcome(Outcome::Succeeded { .. } | Outcome::Declined { .. }))
}
