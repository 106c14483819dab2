//! What an answer does to an authorization. Whatever it is, the subscription is looked at again, which finds what is to be done next.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{ask::Answer, event};
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        authorization::{Authorization, AuthorizationStatus as Status},
        clock::Timeline,
        event::{Actor, Event},
        payment::{Decline, DeclineClass, Outcome},
        subscription::Subscription,
    },
    gateway::ReturnOutcome,
    store,
};

/// How often the last step of the look-up backoff is repeated before it is left to run out.
const LAST_STEP_REPEATS: i64 = 7;

/// Writes an answer down; says what to ask next, if anything. Tries again where the database was in the way: money may be reserved.
pub(crate) async fn settle(app: &App, claimed: &Authorization, answer: &Answer) -> Result<Option<Authorization>> {
    let mut tries = 0;
    loop {
        match once(app, claimed, answer).await {
            Err(BillingError::Store(error)) if tries < 5 => {
                tries += 1;
                tracing::warn!(%error, tries, "settling an authorization failed, trying again");
                tokio::time::sleep(std::time::Duration::from_millis(50 << tries)).await;
            }
            done => return done,
        }
    }
}

async fn once(app: &App, claimed: &Authorization, answer: &Answer) -> Result<Option<Authorization>> {
    if matches!(answer, Answer::LeaseLost) {
        return Ok(None);
    }
    let mut tx = app.db.begin().await?;
    // The subscription first, as everyone locks.
    let Some(mut subscription) = store::subscriptions::lock(&mut tx, claimed.subscription_id).await? else { return Ok(None) };
    let Some(authorization) = store::authorizations::lock(&mut tx, claimed.id).await? else { return Ok(None) };
    if authorization.lease_token != claimed.lease_token {
        // Whoever has it now asks the gateway by its reference, and so finds what this call may have reserved. If nobody has it
        // any more, it is asked about once more.
        let over = !matches!(authorization.status, Status::Pending | Status::Unknown | Status::Voiding);
        let asked = claimed.status == Status::Pending;
        if asked && over && matches!(answer, Answer::Outcome(Outcome::Authorized { .. } | Outcome::Unknown { .. })) {
            // A look that is under way may have been made before this arrived: it does not count any more.
            let lease_token = authorization.lease_token + 1;
            let again = Authorization { next_lookup_at: Some(app.clock.now()), lease_token, ..authorization };
            store::authorizations::save(&mut tx, &[again]).await?;
            tx.commit().await?;
            app.wakeups.look_up.notify_one();
        }
        return Ok(None);
    }
    let now = app.now_in(&mut tx, authorization.timeline).await?;
    let mut settling = Settling { app, now, wall: app.clock.now(), authorization, events: Vec::new() };
    let before = settling.authorization.status;
    let again = settling.take(answer, &subscription);
    let Settling { authorization, mut events, .. } = settling;
    if authorization.status != before && authorization.status != Status::Pending {
        subscription.authorize_at = subscription.authorize_days_before.map(|_| now);
        store::authorizations::save_next_look(&mut tx, &[subscription]).await?;
    }
    store::authorizations::save(&mut tx, std::slice::from_ref(&authorization)).await?;
    if authorization.status == Status::Declined && authorization.decline_class == Some(DeclineClass::StopRecurring) {
        // The issuer's word, whatever it was asked for: nothing more is charged to it by itself.
        let methods: Vec<_> = authorization.payment_method_id.into_iter().collect();
        for method in store::payment_methods::end_mandates(&mut tx, &methods, app.clock.now()).await? {
            let data = json!({ "customer_id": method.customer_id, "gateway": method.gateway });
            let kind = "payment_method.mandate_ended";
            events.push(app.event(Timeline::Wall, app.clock.now(), &Actor::System, kind, method.id, data));
        }
    }
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    if authorization.status != before {
        app.wakeups.authorize.notify_one();
    }
    Ok(again.then_some(authorization))
}

struct Settling<'a> {
    app: &'a App,
    now: DateTime<Utc>,
    wall: DateTime<Utc>,
    authorization: Authorization,
    events: Vec<Event>,
}

impl Settling<'_> {
    /// Whether something is to be asked at once.
    fn take(&mut self, answer: &Answer, subscription: &Subscription) -> bool {
        match self.authorization.status {
            Status::Pending | Status::Unknown => self.decided(answer, subscription),
            Status::Voiding => {
                self.voided(answer);
                false
            }
            _ => self.verified(answer),
        }
    }

    fn decided(&mut self, answer: &Answer, subscription: &Subscription) -> bool {
        match answer {
            // Taken by hand at the gateway: the capture on the bill date will find it so.
            Answer::Outcome(Outcome::Authorized { transaction_id } | Outcome::Succeeded { transaction_id, .. }) => {
                self.authorized(transaction_id, true);
            }
            Answer::Cleared(Outcome::Authorized { transaction_id } | Outcome::Succeeded { transaction_id, .. }, all) => {
                self.authorized(transaction_id, *all);
            }
            Answer::Outcome(Outcome::Declined { decline, transaction_id }) => self.declined(decline, transaction_id.as_ref()),
            Answer::Outcome(Outcome::GatewayError { message, .. }) if self.authorization.lookups == 0 => {
                self.end(Status::GatewayError);
                self.authorization.decline_message = Some(message.clone());
            }
            Answer::Outcome(Outcome::Unknown { message }) if self.authorization.lookups == 0 => {
                self.authorization.decline_message = Some(message.clone());
                self.authorization.status = Status::Unknown;
                self.let_go();
                // The first look-up is immediate.
                self.authorization.next_lookup_at = Some(self.wall);
                self.tell("authorization.unknown", json!({ "message": message }));
            }
            Answer::Nothing => return self.never_arrived(subscription),
            Answer::Outcome(Outcome::GatewayError { message, .. } | Outcome::Unknown { message }) | Answer::Silence(message) => {
                self.ask_later(message);
            }
            Answer::Cleared(..) => self.ask_later("several transactions were found, and none of them is reserved"),
            Answer::Voided(_) | Answer::LeaseLost => {}
        }
        false
    }

    fn authorized(&mut self, transaction_id: &str, cleared: bool) {
        let lifetime = self.app.config.gateways.get(&self.authorization.gateway).map(|gateway| gateway.authorization_lifetime);
        let lifetime = lifetime.and_then(|lifetime| TimeDelta::from_std(lifetime).ok()).unwrap_or(TimeDelta::days(7));
        // At the gateway it lives from when it was asked for, of which a test clock knows nothing.
        let since = if self.authorization.timeline == Timeline::Wall { self.authorization.called_at } else { self.now };
        let sent_twice = self.authorization.lookups > 0;
        self.authorization.status = Status::Authorized;
        self.authorization.transaction_id = Some(transaction_id.to_owned());
        self.authorization.expires_at = Some(since + lifetime);
        self.authorization.decline_message = None;
        self.let_go();
        if sent_twice || !cleared {
            self.verify_later();
        }
        self.authorization.lookups = 0;
        let data = json!({ "transaction_id": transaction_id, "expires_at": self.authorization.expires_at });
        self.tell("authorization.succeeded", data);
    }

    fn declined(&mut self, decline: &Decline, transaction_id: Option<&String>) {
        self.authorization.transaction_id = transaction_id.cloned();
        self.authorization.decline_class = Some(decline.class);
        self.authorization.decline_code = Some(decline.code.clone());
        self.authorization.decline_message = Some(decline.message.clone());
        if decline.class == DeclineClass::GatewayFault {
            // Not the customer's fault: no word to them, and it is tried again.
            self.end(Status::GatewayError);
            return;
        }
        self.end(Status::Declined);
        self.tell("authorization.declined", json!({ "class": decline.class, "code": decline.code, "message": decline.message }));
    }

    /// The gateway has never seen it: sent again as the same one, where it is still wanted.
    fn never_arrived(&mut self, subscription: &Subscription) -> bool {
        let wanted = subscription.next_cycle == self.authorization.cycle
            && subscription.next_bill_at.is_some()
            && self.now < self.authorization.bill_at;
        let lease = self.app.config.collection.lease;
        if !wanted {
            self.authorization.lookups += 1;
            self.end(Status::GatewayError);
            self.authorization.decline_message = Some("it never arrived, and is not wanted any more".to_owned());
            return false;
        }
        self.authorization.status = Status::Pending;
        self.authorization.lookups += 1;
        self.authorization.next_lookup_at = None;
        self.authorization.called_at = self.wall;
        self.authorization.lease_owner = Some(self.app.instance.clone());
        self.authorization.lease_expires_at = Some(self.wall + lease);
        true
    }

    fn voided(&mut self, answer: &Answer) {
        match answer {
            Answer::Voided(ReturnOutcome::Returned { .. }) => {
                self.end(Status::Voided);
                self.tell("authorization.voided", json!({ "reason": self.authorization.void_reason }));
            }
            Answer::Voided(ReturnOutcome::Refused { code, message }) => {
                self.lose(&format!("{message} ({code})"));
                // It may have been taken meanwhile.
                self.authorization.next_lookup_at = Some(self.wall);
            }
            Answer::Voided(ReturnOutcome::GatewayError { message } | ReturnOutcome::Unknown { message })
            | Answer::Outcome(Outcome::Unknown { message })
            | Answer::Silence(message) => self.ask_later(message),
            _ => {}
        }
    }

    /// A second look at one that was sent twice or not given free: all that is under its reference must be the one that we know of.
    fn verified(&mut self, answer: &Answer) -> bool {
        self.let_go();
        self.authorization.next_lookup_at = None;
        let closed = !matches!(self.authorization.status, Status::Authorized | Status::Used);
        match answer {
            Answer::Outcome(Outcome::Authorized { transaction_id })
            | Answer::Cleared(Outcome::Authorized { transaction_id }, _)
                if closed =>
            {
                self.authorization.transaction_id = Some(transaction_id.clone());
                self.tell("authorization.orphaned", json!({ "transaction_id": transaction_id }));
                self.authorization =
                    super::to_void(self.app, self.authorization.clone(), "it arrived after it was given up", self.wall);
                return true;
            }
            Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor })
            | Answer::Cleared(Outcome::Succeeded { transaction_id, amount_minor }, _)
                if closed && self.authorization.amount_taken.is_none() =>
            {
                self.authorization.transaction_id = Some(transaction_id.clone());
                self.authorization.amount_taken = Some(*amount_minor);
                self.tell("authorization.taken", json!({ "transaction_id": transaction_id, "amount_taken": amount_minor }));
            }
            Answer::Cleared(_, false) | Answer::Silence(_) | Answer::Outcome(Outcome::Unknown { .. }) => {
                self.authorization.lookups += 1;
                let again = self.authorization.lookups <= self.patience();
                self.authorization.next_lookup_at = again.then(|| self.wall + self.delay());
            }
            _ => {}
        }
        false
    }

    /// Nothing is known yet: the next look-up waits longer than the one before.
    fn ask_later(&mut self, message: &str) {
        if self.authorization.status == Status::Pending {
            self.authorization.status = Status::Unknown;
        }
        self.let_go();
        self.authorization.lookups += 1;
        self.authorization.decline_message = Some(message.to_owned());
        if self.authorization.lookups > self.patience() {
            self.lose(message);
        } else {
            self.authorization.next_lookup_at = Some(self.wall + self.delay());
        }
    }

    /// No money moves by it, so no operator is needed: it runs out by itself.
    fn lose(&mut self, message: &str) {
        let was = self.authorization.status;
        if was == Status::Voiding {
            // What is there is known: there is nothing to be found by another look.
            self.authorization.lookups = 0;
        }
        self.end(Status::Lost);
        self.authorization.decline_message = Some(message.to_owned());
        let data = json!({ "was": was, "reference": self.authorization.reference, "message": message,
            "transaction_id": self.authorization.transaction_id });
        self.tell("authorization.lost", data);
    }

    fn patience(&self) -> i64 {
        self.app.config.collection.lookup_backoff.len() as i64 + LAST_STEP_REPEATS
    }

    fn delay(&self) -> TimeDelta {
        let backoff = &self.app.config.collection.lookup_backoff;
        let index = usize::try_from(self.authorization.lookups - 1).unwrap_or(0).min(backoff.len().saturating_sub(1));
        backoff.get(index).and_then(|delay| TimeDelta::from_std(*delay).ok()).unwrap_or(TimeDelta::days(1))
    }

    fn end(&mut self, status: Status) {
        self.authorization.status = status;
        self.authorization.resolved_at = Some(self.now);
        self.authorization.next_lookup_at = None;
        if self.authorization.lookups > 0 || status == Status::Voided {
            self.verify_later();
        }
        self.let_go();
    }

    /// An earlier call that is late may reserve it once more: that is looked for when it would have arrived.
    fn verify_later(&mut self) {
        let lease = self.app.config.collection.lease;
        self.authorization.next_lookup_at = Some((self.authorization.called_at + lease).max(self.wall));
    }

    fn let_go(&mut self) {
        self.authorization.lease_owner = None;
        self.authorization.lease_expires_at = None;
    }

    fn tell(&mut self, kind: &str, more: serde_json::Value) {
        self.events.push(event(self.app, &self.authorization, self.now, kind, more));
    }
}
