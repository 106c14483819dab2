//! What an answer does to a refund, to the payment that the refund gives back and to the invoice that was paid. Pure: the caller
//! has locked all three rows, and saves the rows.
//!
//! Guards "a refund counts once": money is booked only when a refund succeeds, and gateways report what was returned in all.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Refund, RefundStatus};
use crate::domain::{
    invoice::Invoice,
    lookup::{LookupPolicy, is_outage},
    payment::{Payment, PaymentStatus, ReturnOutcome},
};

/// Who says what became of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundReply {
    /// The gateway, to the call or to a lookup.
    Gateway(ReturnOutcome),
    /// An operator, who found out about a parked refund. Never [`ReturnOutcome::Unknown`].
    Operator(ReturnOutcome),
}

impl RefundReply {
    /// What became of the refund, whoever says so.
    pub fn outcome(&self) -> &ReturnOutcome {
        match self {
            Self::Gateway(outcome) | Self::Operator(outcome) => outcome,
        }
    }
}

/// The rows that a refund changes.
#[derive(Debug, Clone, PartialEq)]
pub struct RefundRows {
    /// The refund that the answer is about.
    pub refund: Refund,
    /// The payment whose money goes back.
    pub payment: Payment,
    /// The invoice of the payment.
    pub invoice: Invoice,
}

/// What a decision depends on, besides the rows and the answer.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// By the clock of the refund's timeline.
    pub now: DateTime<Utc>,
    /// Wall time, UTC: leases and lookups count from it.
    pub wall: DateTime<Utc>,
    /// When an unknown outcome is looked up again.
    pub lookups: &'a LookupPolicy,
    /// Whether the gateway is down or paused, so that a lookup without an answer is no surprise.
    pub is_gateway_down: bool,
    /// Whether nothing of the invoice is on its way back, undecided or in dispute. Read only where [`RefundRows::needs_claims`].
    pub nothing_claimed: bool,
}

/// What is left for the caller to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The gateway did not take an overpayment back: plan the next try, or report that the merchant keeps the money.
    RetryOverpayment,
}

/// The rows as the caller is to save them, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The rows, changed.
    pub rows: RefundRows,
    /// What follows from the answer, in this order.
    pub effects: Vec<Effect>,
}

/// Decides what an answer does. None: the refund waits for no answer of this kind, and nothing changes.
pub fn decide(rows: RefundRows, answer: &RefundReply, facts: &Facts) -> Option<Transition> {
    let outcome = answer.outcome();
    let reopens = rows.reopens(outcome, facts);
    let waits = match answer {
        RefundReply::Gateway(_) => reopens || matches!(rows.refund.status, RefundStatus::Pending | RefundStatus::Unknown),
        RefundReply::Operator(_) => rows.refund.status == RefundStatus::Parked,
    };
    if !waits {
        return None;
    }
    let mut rows = rows;
    rows.refund.release(facts.now);
    match outcome {
        ReturnOutcome::Returned { .. } if rows.is_booked() => {
            rows.refund.fail("an earlier refund of this amount came through after all");
        }
        ReturnOutcome::Returned { transaction_id, voided } => rows.on_returned(transaction_id.as_ref(), *voided, facts),
        ReturnOutcome::Refused { code, message } => rows.refund.on_refused(code, message),
        ReturnOutcome::GatewayError { message } => rows.refund.fail(message),
        ReturnOutcome::Unknown { message } => rows.refund.on_unknown(message, reopens, facts),
    }
    let effects = rows.plan_overpayment();
    Some(Transition { rows, effects })
}

impl RefundRows {
    /// Whether the refund was closed without a certain answer, and nothing has gone back since.
    fn was_given_up(&self) -> bool {
        matches!(self.refund.status, RefundStatus::GatewayError | RefundStatus::Parked)
            && self.payment.amount_refunded == self.refund.returned_before
    }

    /// Whether [`Facts::nothing_claimed`] matters for this outcome.
    pub fn needs_claims(&self, outcome: &ReturnOutcome) -> bool {
        self.was_given_up() && matches!(outcome, ReturnOutcome::Unknown { .. })
    }

    /// Whether a daemon that stood still sent the refund after another daemon had found nothing and had given the refund up. The
    /// money has gone back all the same, or may have: in doubt the gateway is asked once more.
    fn reopens(&self, outcome: &ReturnOutcome, facts: &Facts) -> bool {
        let returned = matches!(outcome, ReturnOutcome::Returned { .. });
        self.was_given_up() && (returned || self.needs_claims(outcome) && facts.nothing_claimed)
    }

    /// Whether the payment has this amount already: gateways report what was returned in all, so a refund that had been given up
    /// was the one that came through.
    fn is_booked(&self) -> bool {
        self.payment.amount_refunded == self.refund.returned_before + self.refund.amount
    }

    /// The only place where a refund moves money.
    fn on_returned(&mut self, transaction_id: Option<&String>, voided: bool, facts: &Facts) {
        let Self { refund, payment, invoice } = self;
        refund.status = RefundStatus::Succeeded;
        refund.voided = voided;
        refund.transaction_id = transaction_id.cloned();
        payment.amount_refunded += refund.amount;
        if payment.amount_refunded == payment.amount_captured {
            payment.status = PaymentStatus::Refunded;
        }
        // The invoice never took the overpayment.
        invoice.amount_refunded += refund.amount - payment.overpayment_in(refund.returned_before, refund.amount);
        invoice.updated_at = facts.now;
    }

    /// An overpayment that has gone back is not tried again; one that the gateway did not take back may be.
    fn plan_overpayment(&mut self) -> Vec<Effect> {
        if self.payment.overpayment <= self.payment.amount_refunded {
            self.payment.return_at = None;
            return Vec::new();
        }
        let failed = matches!(self.refund.status, RefundStatus::Refused | RefundStatus::GatewayError);
        failed.then_some(Effect::RetryOverpayment).into_iter().collect()
    }
}

impl Refund {
    /// What a lookup that found nothing means, by when the refund was sent. Refunds carry no key that makes a repeat harmless, so the
    /// request must be given a whole lease to arrive. After that nothing was given back, and an operator may ask again.
    pub fn not_found(&self, wall: DateTime<Utc>, lease: TimeDelta) -> ReturnOutcome {
        if wall - self.sent_at < lease {
            ReturnOutcome::Unknown { message: "the gateway does not know of it yet".to_owned() }
        } else {
            ReturnOutcome::GatewayError { message: "the gateway never received it: nothing was given back".to_owned() }
        }
    }

    fn release(&mut self, now: DateTime<Utc>) {
        self.lease_owner = None;
        self.lease_expires_at = None;
        self.next_lookup_at = None;
        self.resolved_at = Some(now);
    }

    fn on_refused(&mut self, code: &str, message: &str) {
        self.status = RefundStatus::Refused;
        self.message = Some(format!("{message} ({code})"));
    }

    fn fail(&mut self, message: &str) {
        self.status = RefundStatus::GatewayError;
        self.message = Some(message.to_owned());
    }

    fn on_unknown(&mut self, message: &str, reopens: bool, facts: &Facts) {
        self.message = Some(message.to_owned());
        self.resolved_at = None;
        if reopens || self.status == RefundStatus::Pending {
            // The call may have been sent until now.
            self.sent_at = facts.wall;
        } else {
            let is_outage = is_outage(facts.is_gateway_down, self.sent_at, facts.wall);
            self.lookups = facts.lookups.count(self.lookups, is_outage);
            if facts.lookups.is_spent(self.lookups) && !is_outage {
                self.status = RefundStatus::Parked;
                return;
            }
        }
        // The first lookup is immediate.
        let delay = if self.lookups == 0 { TimeDelta::zero() } else { facts.lookups.delay(self.lookups) };
        self.status = RefundStatus::Unknown;
        self.next_lookup_at = Some(facts.wall + delay);
    }
}

#[cfg(test)]
mod tests;
