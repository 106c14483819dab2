//! The payment state machine: what a gateway's answer does to a payment, and what is asked of the gateway next.
//!
//! Guards "unknown is never charged again": only "not found" sends a charge again, as the same payment.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Decline, Other, Outcome, Payment, PaymentStatus, ReturnOutcome};
use crate::domain::lookup::{LookupPolicy, is_outage};

mod closed;
mod late;
mod open;
#[cfg(test)]
mod tests;

/// What is asked of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStep {
    /// The gateway is to take the money, or to authorize it first.
    Charge,
    /// The gateway is to take the money that it holds.
    Capture,
    /// The gateway is to say what became of the payment.
    LookUp,
    /// The gateway is to let go of the money that it holds, since nobody wants the payment any more.
    Void,
}

/// What came back from a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentReply {
    /// The answer to a call, or the one transaction that a lookup found.
    Outcome(Outcome),
    /// The gateway has never seen the payment.
    NotFound,
    /// The gateway could not say, for this reason.
    NoAnswer(String),
    /// The gateway has the payment with another amount or currency than was asked for.
    Disagrees(String),
    /// The gateway took the money more than once under one reference.
    TakenTwice {
        /// The outcome of the transaction that counts as the payment.
        best: Outcome,
        /// The other transactions under the reference.
        others: Vec<Other>,
    },
    /// The outcome of the attempt to void the authorization.
    Voided(ReturnOutcome),
    /// The gateway went down while the payment waited for its turn, so no call was made. No call goes to the gateway before this
    /// instant, by the payment's own clock.
    Paused(DateTime<Utc>),
}

impl PaymentReply {
    /// Whether all the money has come, and nothing else has happened.
    pub fn is_plain_success(&self, payment: &Payment) -> bool {
        matches!(self, Self::Outcome(Outcome::Succeeded { amount_minor, .. }) if *amount_minor == payment.amount)
    }

    /// Whether money has come, all of it or a part.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Outcome(Outcome::Succeeded { .. }))
    }

    /// The fault of the gateway that this answer tells of.
    pub fn gateway_fault(&self) -> Option<(String, Option<TimeDelta>)> {
        match self {
            Self::Outcome(outcome) => outcome.gateway_fault(),
            Self::Voided(outcome) => outcome.gateway_fault(),
            _ => None,
        }
    }

    /// What the gateway said if it refuses the merchant's account.
    pub fn account_refusal(&self) -> Option<String> {
        if let Self::Outcome(outcome) = self { outcome.account_refusal() } else { None }
    }

    /// Whether the answer shows that the gateway takes the merchant's account.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Outcome(outcome) if outcome.is_accepted())
    }

    fn is_decline(&self) -> bool {
        matches!(self, Self::Outcome(Outcome::Declined { .. }))
    }
}

/// All that a decision may depend on, besides the payment and the answer.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Wall time, UTC: leases and lookups count from it.
    pub wall: DateTime<Utc>,
    /// UTC, by the clock of the payment's timeline.
    pub now: DateTime<Utc>,
    /// The daemon that decides.
    pub instance: &'a str,
    /// How long a claim holds, and how long a call may take to arrive.
    pub lease: TimeDelta,
    /// When a lookup without an answer is repeated, and how often.
    pub lookups: LookupPolicy,
    /// The token of the claim under which the gateway was asked.
    pub lease_token: i64,
    /// Whether that claim still holds: no other daemon has taken the payment over.
    pub is_ours: bool,
    /// Whether the invoice is still to be collected.
    pub is_wanted: bool,
    /// Whether the gateway is down or paused, so that a lookup without an answer is no surprise.
    pub is_gateway_down: bool,
    /// Whether a charge may be sent again. Callers find this out only where it matters.
    pub resend: Resend,
}

/// Whether the circuit of the gateway lets a charge that is sent again through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// The charge may be sent now.
    Allowed,
    /// The charge must wait until this instant, by the payment's own clock.
    NotBefore(DateTime<Utc>),
}

impl Facts<'_> {
    /// When a call that the gateway does not know of would have arrived at the latest.
    fn latest_arrival(&self, payment: &Payment) -> DateTime<Utc> {
        payment.called_at + self.lease
    }

    /// Whether a call that the gateway does not know of would have arrived by now.
    fn has_had_time(&self, payment: &Payment) -> bool {
        self.latest_arrival(payment) <= self.wall
    }

    /// Whether an outage explains a lookup without an answer.
    fn is_outage(&self, payment: &Payment) -> bool {
        is_outage(self.is_gateway_down, payment.sent_at, self.wall)
    }

    /// Claims a payment for the call that comes next.
    fn claim(&self, payment: &mut Payment) {
        payment.lease_owner = Some(self.instance.to_owned());
        payment.lease_expires_at = Some(self.wall + self.lease);
    }
}

/// What a transition means for the invoice and for the subscription or installment plan behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The money came.
    Paid,
    /// The issuer refused: the next step of the dunning ladder follows, or its end.
    Declined(Decline),
    /// The issuer stopped recurring charges to the method.
    EndMandate,
    /// No money moved, and nobody wants any more.
    NotWanted,
    /// The authorization could not be captured: the authorization is voided, and the invoice is charged anew.
    AuthorizationFailed,
    /// No money moved, by no fault of the customer. The value is how long a 429 asked to be left alone.
    GatewayFault(Option<TimeDelta>),
    /// The invoice waits for the gateway until this instant, by its own clock.
    WaitForGateway(DateTime<Utc>),
    /// Collection looks at the invoice again if nothing else is planned for it.
    PlanNow,
}

/// An event about the payment, which is written together with the transition.
#[derive(Debug, Clone, PartialEq)]
pub struct PaymentEvent {
    /// `noun.verb`, such as `payment.declined`.
    pub kind: &'static str,
    /// What the event tells. Never card data.
    pub data: Value,
    /// What the log says where an operator must look. None means that the log says nothing.
    pub alarm: Option<&'static str>,
}

/// What an answer does. The caller writes the events before the effects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transition {
    /// The changed payment. None where the answer does not change the payment.
    pub payment: Option<Payment>,
    /// What is written to the record, in this order.
    pub events: Vec<PaymentEvent>,
    /// What follows for the invoice, in this order.
    pub effects: Vec<Effect>,
    /// The next call to the gateway, and the payment that the call is about. None means that no call follows.
    pub next: Option<(PaymentStep, Payment)>,
}

impl Transition {
    fn to(payment: Payment) -> Self {
        Self { payment: Some(payment), ..Self::default() }
    }

    fn event(mut self, kind: &'static str, data: Value) -> Self {
        self.events.push(PaymentEvent { kind, data, alarm: None });
        self
    }

    fn alarm(mut self, kind: &'static str, data: Value, alarm: &'static str) -> Self {
        self.events.push(PaymentEvent { kind, data, alarm: Some(alarm) });
        self
    }

    fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    fn then(mut self, step: PaymentStep) -> Self {
        self.next = self.payment.clone().map(|payment| (step, payment));
        self
    }
}

/// Decides what an answer does to a payment.
pub fn decide(payment: &Payment, answer: &PaymentReply, facts: &Facts) -> Transition {
    let has_money = matches!(payment.status, PaymentStatus::Succeeded | PaymentStatus::Refunded);
    // Such an answer is true, whichever daemon brings it.
    let is_news = answer.is_success() && !has_money || answer.is_decline() && !payment.status.is_closed();
    if is_news || facts.is_ours && !payment.status.is_closed() {
        open::on_answer(payment.clone(), answer, facts)
    } else if facts.is_ours && payment.next_lookup_at.is_some() && !answer.is_success() {
        closed::on_second_look(payment.clone(), answer, facts)
    } else {
        late::on_late_answer(payment, answer, facts)
    }
}
