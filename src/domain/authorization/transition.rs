//! What an answer does to an authorization. Pure: the caller has locked the row, saves the row, and carries the effects out.
//!
//! Guards "never two authorizations kept": only the answer that the gateway has never seen the authorization leads to a second
//! call. Whatever else is found under the reference of the authorization is voided.

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
    /// The gateway's answer to the call, or the one transaction that a lookup found.
    Outcome(Outcome),
    /// A lookup found several transactions under one reference.
    Several {
        /// The outcome of the transaction that is kept.
        best: Outcome,
        /// Whether all the others were voided.
        others_voided: bool,
    },
    /// The gateway has never seen the authorization.
    NotFound,
    /// The gateway could not say, for this reason.
    NoAnswer(String),
    /// The outcome of the attempt to void the authorization.
    Voided(ReturnOutcome),
}

/// What a decision depends on, besides the authorization and the answer.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// UTC, by the clock of the authorization's timeline.
    pub now: DateTime<Utc>,
    /// Wall time, UTC: leases and lookups count from it.
    pub wall: DateTime<Utc>,
    /// How long a daemon may work on the authorization before another may take it over.
    pub lease: TimeDelta,
    /// How long the gateway holds what was authorized.
    pub lifetime: TimeDelta,
    /// When a lookup without an answer is repeated, and how often.
    pub lookups: &'a LookupPolicy,
    /// The daemon that gets the lease of a second call.
    pub owner: &'a str,
    /// Whether the subscription still waits for this charge: see [`Authorization::is_wanted_by`].
    pub is_wanted: bool,
}

/// What the caller is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An event about the authorization is written.
    Emit {
        /// `noun.verb`, such as `authorization.voided`.
        kind: &'static str,
        /// What the event tells. Never card data.
        data: Value,
    },
    /// Somebody decides about the subscription's authorization again, now.
    LookAgain,
    /// The issuer has ended recurring charges to the payment method.
    EndMandate,
}

/// The authorization as the caller is to save it, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The changed row.
    pub authorization: Authorization,
    /// Whether the gateway is called again at once. The status says what for.
    pub calls_again: bool,
    /// What follows, in this order.
    pub effects: Vec<Effect>,
}

/// Decides what an answer does to an authorization that the caller holds the lease of.
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
        // The issuer has the last word: no job charges the payment method again.
        transition.effects.push(Effect::EndMandate);
    }
    transition
}

/// Decides about an answer that comes after the lease was lost; `called` is the status in which the call was made. Whoever has
/// the authorization now asks the gateway by the reference, and so finds what this call may have authorized. If nobody has the
/// authorization any more, one more lookup is planned. None means that nothing changes.
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
    /// Takes an answer while nobody knows yet whether money was authorized.
    fn undecided(&mut self, answer: &AuthorizationReply, facts: &Facts) {
        use AuthorizationReply as Answer;
        let first = self.authorization.lookups == 0;
        match answer {
            // Somebody took the money by hand at the gateway: the capture on the bill date will find that.
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
        // At the gateway the authorization lives from the call on, of which a test clock knows nothing.
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
        if !decline.class.is_customers() {
            // The fault is not the customer's: the customer hears nothing, and the authorization is tried again.
            authorization.end(Status::GatewayError, facts);
            return;
        }
        authorization.end(Status::Declined, facts);
        if authorization.attempt > 1 && decline.class == DeclineClass::TryLater {
            // The customer can be warned once, not at each repeat.
            return;
        }
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

    /// The gateway has never seen the authorization. The same call is sent again, if a charge still needs the authorization.
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

    /// Takes an answer after the gateway was asked to void the authorization.
    fn voiding(&mut self, answer: &AuthorizationReply, facts: &Facts) {
        use AuthorizationReply as Answer;
        match answer {
            Answer::Voided(ReturnOutcome::Returned { .. }) => {
                self.authorization.end(Status::Voided, facts);
                self.emit("authorization.voided", json!({ "reason": self.authorization.void_reason }));
            }
            Answer::Voided(ReturnOutcome::Refused { code, message }) => {
                self.lose(&format!("{message} ({code})"), facts);
                // The money may have been taken meanwhile.
                self.authorization.next_lookup_at = Some(facts.wall);
            }
            Answer::Voided(ReturnOutcome::GatewayError { message } | ReturnOutcome::Unknown { message })
            | Answer::Outcome(Outcome::Unknown { message })
            | Answer::NoAnswer(message) => self.look_up_later(message, facts),
            _ => {}
        }
    }

    /// Takes another lookup of an authorization that was sent twice, or whose void failed: the gateway must know only the
    /// transaction that the row names.
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

    /// The gateway holds money after all, and no charge needs it: the authorization is voided at once.
    fn on_orphaned(&mut self, transaction_id: &str, facts: &Facts) {
        self.authorization.transaction_id = Some(transaction_id.to_owned());
        self.emit("authorization.orphaned", json!({ "transaction_id": transaction_id }));
        self.authorization.void("it arrived after it was given up", facts.wall, facts.lease);
        self.calls_again = true;
    }

    /// The gateway has taken money that no invoice knows of. An operator must decide.
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

    /// No money moves by the authorization, so no operator is needed: the authorization runs out by itself.
    fn lose(&mut self, message: &str, facts: &Facts) {
        let authorization = &mut self.authorization;
        let was = authorization.status;
        if was == Status::Voiding {
            // The transaction is known, so another lookup would find nothing new.
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
    /// Whether the subscription still waits for this charge. `now` is by the clock of its timeline.
    pub fn is_wanted_by(&self, subscription: &Subscription, now: DateTime<Utc>) -> bool {
        subscription.next_cycle == self.cycle && subscription.next_bill_at.is_some() && now < self.bill_at
    }

    /// Marks the authorization for voiding. If the void call never happens, the lookup job takes over when the lease ends.
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

    /// An earlier call that is late may authorize the money once more, so a lookup is planned for when that call would have
    /// arrived.
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
