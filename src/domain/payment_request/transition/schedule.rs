//! Money that has come by a schedule that a gateway runs by itself.

use super::{Effect, Facts, RequestStep, Transition};
use crate::domain::{
    count,
    payment_request::{Ending, PaymentRequest, RequestStatus, answer::Received, is_complete},
};

impl Transition {
    /// Takes all payments of a schedule so far: those that are new get their invoices.
    pub(super) fn on_payments_of_schedule(&mut self, received: &[Received], facts: &Facts) -> Option<RequestStep> {
        let new = |money: &&Received| !money.authorized && money.amount_minor > 0 && !facts.is_booked(money);
        let new: Vec<Received> = received.iter().filter(new).cloned().collect();
        let payments = count(facts.booked.len() + new.len());
        if !new.is_empty() {
            self.effects.push(Effect::OpenInvoices { money: new, first: facts.booked.is_empty() });
        }
        if let Some(first) = received.first().filter(|_| self.request.agreement_id.is_none()) {
            self.agree(first);
        }
        if self.request.status == RequestStatus::Running && self.request.is_completed_by(payments, facts) {
            self.request.status = RequestStatus::Paid;
            self.request.ending = None;
            self.request.end(facts);
            self.emit("paid");
        }
        if !self.request.status.is_open() {
            self.request.watch(facts);
            return None;
        }
        if self.request.ending.is_some() {
            return Some(RequestStep::Withdraw);
        }
        self.ask_once(facts)
    }

    /// The customer has agreed by a first payment, perhaps of nothing. A request that had ended before is stopped at once.
    fn agree(&mut self, first: &Received) {
        let request = &mut self.request;
        request.agreement_id = Some(first.transaction_id.clone());
        let ended = matches!(request.status, RequestStatus::Withdrawn | RequestStatus::Expired);
        let withdrawn = ended || request.ending == Some(Ending::Withdrawn);
        if request.status == RequestStatus::Paid {
            return;
        }
        request.status = RequestStatus::Running;
        request.ending = withdrawn.then_some(Ending::Withdrawn);
        request.remind = false;
        request.next_reminder_at = None;
        request.message = None;
        request.resolved_at = None;
        request.checks = 0;
        self.emit("agreed");
    }

    /// Asks the customer only once: a second link might begin a second schedule.
    fn ask_once(&mut self, facts: &Facts) -> Option<RequestStep> {
        match self.request.status {
            RequestStatus::Unknown | RequestStatus::Pending if self.request.asks > 0 => {
                let message = "the customer may have been asked, and a second request might begin a second schedule: withdraw this \
                               one, or wait for the customer";
                self.park(message.to_owned(), facts);
                None
            }
            RequestStatus::Unknown | RequestStatus::Pending => Some(RequestStep::Ask),
            _ => self.remind_or_poll(facts),
        }
    }
}

impl PaymentRequest {
    fn is_completed_by(&self, payments: i64, facts: &Facts) -> bool {
        let Self { payment_frequency, payment_start_at, total_number_of_payments, initial_payment_amount, .. } = *self;
        is_complete(payment_frequency, payment_start_at, total_number_of_payments, initial_payment_amount, payments, facts.wall)
    }
}
