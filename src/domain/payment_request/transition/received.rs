//! Money that has come by a request for one invoice.

use super::{Effect, Facts, RequestStep, Transition};
use crate::domain::{
    payment::{Payment, PaymentStatus},
    payment_request::{Ending, RequestStatus, Role, answer::Received},
};

impl Transition {
    pub(super) fn on_payments(&mut self, received: &[Received], facts: &Facts) -> Option<RequestStep> {
        let new = received.iter().filter(|money| !facts.is_booked(money));
        let (authorized, taken): (Vec<&Received>, Vec<&Received>) = new.partition(|money| money.authorized);
        self.receive(&taken, facts);
        self.end_by_money(&taken, facts);
        if !self.request.status.is_open() {
            self.request.watch(facts);
            return None;
        }
        let wanted = facts.is_wanted && self.request.ending != Some(Ending::Withdrawn);
        if wanted && let Some(money) = authorized.first() {
            self.capture(money, taken.is_empty() && facts.booked.is_empty(), facts);
            return None;
        }
        if let Some(payment) = facts.booked.iter().find(|payment| payment.status.is_open()) {
            self.wait_for(payment, facts);
            return None;
        }
        self.after_nothing_came(facts)
    }

    fn receive(&mut self, taken: &[&Received], facts: &Facts) {
        for (number, money) in taken.iter().enumerate() {
            let part = money.currency == self.request.currency && money.amount_minor < self.request.amount;
            if part && self.request.role == Role::Attempt {
                // Another request asks for the rest.
                self.effects.push(Effect::PlanAtOnce);
            }
            let first = number == 0 && facts.booked.is_empty();
            self.effects.push(Effect::Receive { money: (*money).clone(), first });
        }
    }

    /// Ends the request as paid, or parks the request where all that came is in another currency.
    fn end_by_money(&mut self, taken: &[&Received], facts: &Facts) {
        let currency = self.request.currency;
        let paid = taken.iter().any(|money| money.amount_minor > 0 && money.currency == currency)
            || facts.booked.iter().any(|payment| payment.amount_captured > 0 && payment.currency == currency);
        let foreign = taken.iter().rfind(|money| money.currency != currency);
        if paid && self.request.status != RequestStatus::Paid {
            self.request.status = RequestStatus::Paid;
            self.request.ending = None;
            self.request.message = None;
            self.request.end(facts);
            self.emit("paid");
        } else if let Some(money) = foreign.filter(|_| self.request.status.is_open()) {
            let (asked, sum) = (currency.major(self.request.amount), money.currency.major(money.amount_minor));
            self.park(format!("{sum} {} was paid, not {asked} {currency}: it goes back", money.currency), facts);
        }
    }

    /// Takes authorized money as any other payment: a row first, then a lookup that finds the authorization, then the capture.
    /// While another payment of the invoice is under way, the money has to wait.
    fn capture(&mut self, money: &Received, first: bool, facts: &Facts) {
        if facts.in_flight {
            self.try_later("another payment of the invoice is under way", facts);
            return;
        }
        self.request.checks = 0;
        self.request.wait(facts);
        self.effects.push(Effect::Capture { money: money.clone(), first });
        self.emit("authorized");
    }

    /// Waits for the capture, whose outcome decides.
    fn wait_for(&mut self, payment: &Payment, facts: &Facts) {
        if payment.status == PaymentStatus::Parked {
            self.park(format!("payment {} waits for an operator: resolve it, then check this request", payment.id), facts);
        } else {
            self.request.wait(facts);
        }
    }

    fn after_nothing_came(&mut self, facts: &Facts) -> Option<RequestStep> {
        if self.request.ending.is_none() && !facts.is_wanted {
            self.request.ending = Some(Ending::Withdrawn);
        }
        if self.request.ending.is_some() {
            return Some(RequestStep::Withdraw);
        }
        match self.request.status {
            // Nothing was paid, so asking again cannot cost anybody anything.
            RequestStatus::Pending | RequestStatus::Unknown => Some(RequestStep::Ask),
            _ => self.remind_or_poll(facts),
        }
    }
}
