//! What an answer does to an authorization. Pure: the caller has locked the row, saves it, and carries the effects out.
//!
//! Guards "never two authorizations kept": only an answer that the gateway has never seen it leads to a second call, and whatever is
//! found under its reference beside the one that is known is voided.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Authorization, AuthorizationStatus as Status};
use crate::domain::{
    clock::Timeline,
    lookup::LookupPolicy,
    payment::{Decline, DeclineClass, Outcome, ReturnOutcome},
    subscription::Subscription,
};

/// What a call about an authorization brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizationReply {
    Outcome(Outcome),
    /// A lookup found several under one reference. `others_voided`: all but the best were voided.
    Several {
        best: Outcome,
        others_voided: bool,
    },
    /// The gateway has never seen it.
    NotFound,
    /// The gateway could not say.
    NoAnswer(String),
    /// What became of the attempt to void it.
    Voided(ReturnOutcome),
}

/// What a decision depends on, beside the authorization and the answer.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// By the clock of the authorization's timeline.
    pub now: DateTime<Utc>,
    pub wall: DateTime<Utc>,
    pub lease: TimeDelta,
    /// How long the gateway keeps what it has authorized.
    pub lifetime: TimeDelta,
    pub lookups: &'a LookupPolicy,
    /// The daemon that gets the lease of a second call.
    pub owner: &'a str,
    /// The subscription waits for this charge still: see [`Authorization::is_wanted_by`].
    pub is_wanted: bool,
}

/// What the caller is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Emit {
        kind: &'static str,
        data: Value,
    },
    /// The subscription is decided about again, now.
    LookAgain,
    /// The issuer has ended recurring charges to the payment method.
    EndMandate,
}

/// The authorization as it is to be saved, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    pub authorization: Authorization,
    /// The gateway is called again at once: what for, the status says.
    pub calls_again: bool,
    pub effects: Vec<Effect>,
}

/// Decides what an answer does to an authorization that is the caller's by its lease.
pub fn decide(authorization: Authorization, answer: &AuthorizationReply, facts: &Facts) -> Transition {
    let before = authorization.status;
    let mut transition = Transition { authorization, calls_again: false, effects: Vec::new() };
    match before {
        Status::Pending | Status::Unknown => transition.undecided(answer, facts),
        Status::Voiding => transition.voiding(answer, facts),
        _ => transition.verified(answer, facts),
    }
    let Authorization { status, decline_class, .. } = transition.authorization;
    if status != before && status != Status::Pending {
        transition.effects.push(Effect::LookAgain);
    }
    if status != before && status == Status::Declined && decline_class == Some(DeclineClass::StopRecurring) {
        // The issuer's word, whatever it was asked for: nothing more is charged to it by itself.
        transition.effects.push(Effect::EndMandate);
    }
    transition
}

/// Decides about an answer that comes after the lease was lost; `called` is the status in which the call was made. Whoever has the
/// authorization now asks the gateway by its reference, and so finds what this call may have authorized. If nobody has it any more,
/// it is looked up once more.
pub fn decide_late(
    authorization: Authorization,
    called: Status,
    answer: &AuthorizationReply,
    wall: DateTime<Utc>,
) -> Option<Authorization> {
    let closed = !matches!(authorization.status, Status::Pending | Status::Unknown | Status::Voiding);
    let may_have_authorized = called == Status::Pending
        && matches!(answer, AuthorizationReply::Outcome(Outcome::Authorized { .. } | Outcome::Unknown { .. }));
    // A lookup that is under way may have been made before this call arrived: the new token voids its answer.
    (closed && may_have_authorized).then(|| Authorization {
        next_lookup_at: Some(wall),
        lease_token: authorization.lease_token + 1,
        ..authorization
    })
}

impl Transition {
    /// Nobody knows yet whether it was authorized.
    fn undecided(&mut self, answer: &AuthorizationReply, facts: &Facts) {
        use AuthorizationReply as Answer;
        let first = self.authorization.lookups == 0;
        match answer {
            // Taken by hand at the gateway: the capture on the bill date will find it so.
            Answer::Outcome(Outcome::Authorized { transaction_id } | Outcome::Succeeded { transaction_id, .. }) => {
                self.on_authorized(transaction_id, true, facts);
            }
            Answer::Several {
                best: Outcome::Authorized { transaction_id } | Outcome::Succeeded { transaction_id, .. },
                others_voided,
            } => self.on_authorized(transaction_id, *others_voided, facts),
            Answer::Outcome(Outcome::Declined { decline, transaction_id }) => {
                self.on_declined(decline, transaction_id.as_ref(), facts);
            }
            Answer::Outcome(Outcome::GatewayError { message, .. }) if first => self.on_gateway_error(message, facts),
            Answer::Outcome(Outcome::Unknown { message }) if first => self.on_unknown(message, facts),
            Answer::NotFound => self.on_not_found(facts),
            Answer::Outcome(Outcome::GatewayError { message, .. } | Outcome::Unknown { message }) | Answer::NoAnswer(message) => {
                self.look_up_later(message, facts);
            }
            Answer::Several { .. } => {
                self.look_up_later("several transactions were found, and none of them is authorized", facts);
            }
            Answer::Voided(_) => {}
        }
    }

    fn on_authorized(&mut self, transaction_id: &str, others_voided: bool, facts: &Facts) {
        let authorization = &mut self.authorization;
        // At the gateway it lives from when it was asked for, of which a test clock knows nothing.
        let since = if authorization.timeline == Timeline::Wall { authorization.called_at } else { facts.now };
        let sent_twice = authorization.lookups > 0;
        authorization.status = Status::Authorized;
        authorization.transaction_id = Some(transaction_id.to_owned());
        authorization.expires_at = Some(since + facts.lifetime);
        authorization.decline_message = None;
        authorization.release();
        if sent_twice || !others_voided {
            authorization.verify_later(facts);
        }
        authorization.lookups = 0;
        let data = json!({ "transaction_id": transaction_id, "expires_at": authorization.expires_at });
        self.emit("authorization.succeeded", data);
    }

    fn on_declined(&mut self, decline: &Decline, transaction_id: Option<&String>, facts: &Facts) {
        let authorization = &mut self.authorization;
        authorization.transaction_id = transaction_id.cloned();
        authorization.decline_class = Some(decline.class);
        authorization.decline_code = Some(decline.code.clone());
        authorization.decline_message = Some(decline.message.clone());
        if decline.class == DeclineClass::GatewayFault {
            // Not the customer's fault: no word to them, and it is tried again.
            authorization.end(Status::GatewayError, facts);
            return;
        }
        authorization.end(Status::Declined, facts);
        self.emit("authorization.declined", json!({ "class": decline.class, "code": decline.code, "message": decline.message }));
    }

    fn on_gateway_error(&mut self, message: &str, facts: &Facts) {
        self.authorization.end(Status::GatewayError, facts);
        self.authorization.decline_message = Some(message.to_owned());
    }

    /// The first lookup is immediate.
    fn on_unknown(&mut self, message: &str, facts: &Facts) {
        self.authorization.decline_message = Some(message.to_owned());
        self.authorization.status = Status::Unknown;
        self.authorization.release();
        self.authorization.next_lookup_at = Some(facts.wall);
        self.emit("authorization.unknown", json!({ "message": message }));
    }

    /// The gateway has never seen it: sent again as the same one, where it is still wanted.
    fn on_not_found(&mut self, facts: &Facts) {
        let authorization = &mut self.authorization;
        authorization.lookups += 1;
        if !facts.is_wanted {
            self.on_gateway_error("it never arrived, and is not wanted any more", facts);
            return;
        }
        authorization.status = Status::Pending;
        authorization.next_lookup_at = None;
        authorization.called_at = facts.wall;
        authorization.lease_owner = Some(facts.owner.to_owned());
        authorization.lease_expires_at = Some(facts.wall + facts.lease);
        self.calls_again = true;
    }

    /// The gateway was asked to void it.
    fn voiding(&mut self, answer: &AuthorizationReply, facts: &Facts) {
        use AuthorizationReply as Answer;
        match answer {
            Answer::Voided(ReturnOutcome::Returned { .. }) => {
                self.authorization.end(Status::Voided, facts);
                self.emit("authorization.voided", json!({ "reason": self.authorization.void_reason }));
            }
            Answer::Voided(ReturnOutcome::Refused { code, message }) => {
                self.lose(&format!("{message} ({code})"), facts);
                // It may have been taken meanwhile.
                self.authorization.next_lookup_at = Some(facts.wall);
            }
            Answer::Voided(ReturnOutcome::GatewayError { message } | ReturnOutcome::Unknown { message })
            | Answer::Outcome(Outcome::Unknown { message })
            | Answer::NoAnswer(message) => self.look_up_later(message, facts),
            _ => {}
        }
    }

    /// Another lookup of one that was sent twice, or whose void failed: the gateway must know only the transaction that we know.
    fn verified(&mut self, answer: &AuthorizationReply, facts: &Facts) {
        use AuthorizationReply as Answer;
        self.authorization.release();
        self.authorization.next_lookup_at = None;
        let closed = !matches!(self.authorization.status, Status::Authorized | Status::Used);
        match answer {
            Answer::Outcome(Outcome::Authorized { transaction_id })
            | Answer::Several { best: Outcome::Authorized { transaction_id }, .. }
                if closed =>
            {
                self.on_orphaned(transaction_id, facts);
            }
            Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor })
            | Answer::Several { best: Outcome::Succeeded { transaction_id, amount_minor }, .. }
                if closed && self.authorization.amount_taken.is_none() =>
            {
                self.on_taken(transaction_id, *amount_minor);
            }
            Answer::Several { others_voided: false, .. } | Answer::NoAnswer(_) | Answer::Outcome(Outcome::Unknown { .. }) => {
                self.authorization.lookups += 1;
                let again = !facts.lookups.is_spent(self.authorization.lookups);
                let delay = facts.lookups.delay(self.authorization.lookups);
                self.authorization.next_lookup_at = again.then(|| facts.wall + delay);
            }
            _ => {}
        }
    }

    /// It was authorized after all, and nobody wants it: it is voided at once.
    fn on_orphaned(&mut self, transaction_id: &str, facts: &Facts) {
        self.authorization.transaction_id = Some(transaction_id.to_owned());
        self.emit("authorization.orphaned", json!({ "transaction_id": transaction_id }));
        self.authorization.void("it arrived after it was given up", facts.wall, facts.lease);
        self.calls_again = true;
    }

    /// The gateway has taken money of it that no invoice knows of: for an operator.
    fn on_taken(&mut self, transaction_id: &str, amount_minor: i64) {
        self.authorization.transaction_id = Some(transaction_id.to_owned());
        self.authorization.amount_taken = Some(amount_minor);
        self.emit("authorization.taken", json!({ "transaction_id": transaction_id, "amount_taken": amount_minor }));
    }

    /// Nothing is known yet: the next lookup waits longer than the one before.
    fn look_up_later(&mut self, message: &str, facts: &Facts) {
        let authorization = &mut self.authorization;
        if authorization.status == Status::Pending {
            authorization.status = Status::Unknown;
        }
        authorization.release();
        authorization.lookups = facts.lookups.count(authorization.lookups, false);
        authorization.decline_message = Some(message.to_owned());
        // An outage counts: what is authorized runs out meanwhile.
        if facts.lookups.is_spent(authorization.lookups) {
            self.lose(message, facts);
        } else {
            authorization.next_lookup_at = Some(facts.wall + facts.lookups.delay(authorization.lookups));
        }
    }

    /// No money moves by it, so no operator is needed: it runs out by itself.
    fn lose(&mut self, message: &str, facts: &Facts) {
        let authorization = &mut self.authorization;
        let was = authorization.status;
        if was == Status::Voiding {
            // What is there is known: there is nothing to be found by another lookup.
            authorization.lookups = 0;
        }
        authorization.end(Status::Lost, facts);
        authorization.decline_message = Some(message.to_owned());
        let data = json!({ "was": was, "reference": authorization.reference, "message": message,
            "transaction_id": authorization.transaction_id });
        self.emit("authorization.lost", data);
    }

    fn emit(&mut self, kind: &'static str, data: Value) {
        self.effects.push(Effect::Emit { kind, data });
    }
}

impl Authorization {
    /// Whether the subscription waits for this charge still.
    pub fn is_wanted_by(&self, subscription: &Subscription, now: DateTime<Utc>) -> bool {
        subscription.next_cycle == self.cycle && subscription.next_bill_at.is_some() && now < self.bill_at
    }

    /// Marks it for voiding. If the void call never happens, the lookup job picks it up when the lease ends.
    pub fn void(&mut self, reason: &str, wall: DateTime<Utc>, lease: TimeDelta) {
        self.status = Status::Voiding;
        self.void_reason = Some(reason.to_owned());
        self.lease_token += 1;
        self.lookups = 0;
        self.called_at = wall;
        self.next_lookup_at = Some(wall + lease);
    }

    fn end(&mut self, status: Status, facts: &Facts) {
        self.status = status;
        self.resolved_at = Some(facts.now);
        self.next_lookup_at = None;
        if self.lookups > 0 || status == Status::Voided {
            self.verify_later(facts);
        }
        self.release();
    }

    /// An earlier call that is late may authorize it once more: that is looked for when the call would have arrived.
    fn verify_later(&mut self, facts: &Facts) {
        self.next_lookup_at = Some((self.called_at + facts.lease).max(facts.wall));
    }

    fn release(&mut self) {
        self.lease_owner = None;
        self.lease_expires_at = None;
    }
}

#[cfg(test)]
mod tests;
