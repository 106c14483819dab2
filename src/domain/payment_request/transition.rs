//! What an answer does to a payment request. Pure: the caller has locked the request and its invoice, carries the effects out in their
//! order, and saves the request.
//!
//! Guards "what was paid is looked up before asking again": only a poll that found nothing leads to a second request.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    Ending, PaymentRequest, RequestStatus, Role,
    answer::{Asked, Polled, Received, Withdrawn},
};
use crate::domain::{
    invoice::{Invoice, InvoiceStatus},
    lookup::LookupPolicy,
    payment::{Decline, DeclineClass, Payment},
};

mod received;
mod schedule;

/// What is asked of a gateway next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStep {
    /// The gateway is to send the request to the customer.
    Ask,
    /// The gateway is to say what was paid.
    Poll,
    /// The gateway is to send the request once more.
    Remind,
    /// The gateway is to take the request back.
    Withdraw,
}

/// The answer to a call about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestReply {
    /// The answer to [`RequestStep::Ask`].
    Asked(Asked),
    /// The answer to [`RequestStep::Remind`].
    Reminded(Asked),
    /// The answer to [`RequestStep::Poll`].
    Polled(Polled),
    /// The answer to [`RequestStep::Withdraw`].
    Withdrawn(Withdrawn),
}

impl RequestReply {
    /// Whether money has come. Such an answer is true even after the lease was lost; about everything else the new owner of the
    /// request asks the gateway again.
    pub fn brings_money(&self) -> bool {
        matches!(self, Self::Polled(Polled::Payments(received)) if !received.is_empty())
    }
}

/// What a decision depends on, besides the request and the answer.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// UTC, by the clock of the request's timeline.
    pub now: DateTime<Utc>,
    /// Wall time, UTC: polls and leases count from it.
    pub wall: DateTime<Utc>,
    /// When a call that brought no answer is tried again, and when an operator must decide.
    pub lookups: &'a LookupPolicy,
    /// How often the gateway is asked what was paid; polls never run out.
    pub polls: &'a LookupPolicy,
    /// Whether the gateway keeps requests and sends them, so that there may be copies that the daemon does not know.
    pub sends: bool,
    /// The invoice that the request collects. None for a schedule.
    pub invoice: Option<&'a Invoice>,
    /// Whether the invoice is still to be collected. A schedule is wanted until somebody takes it back.
    pub is_wanted: bool,
    /// Whether another payment of the invoice is on its way or undecided.
    pub in_flight: bool,
    /// The payments that the request has brought so far. The decision reads them only where the answer has payments.
    pub booked: &'a [Payment],
}

impl Facts<'_> {
    fn is_booked(&self, money: &Received) -> bool {
        self.booked.iter().any(|payment| payment.transaction_id.as_ref() == Some(&money.transaction_id))
    }
}

/// What the caller is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An event about the request is written.
    Emit {
        /// The verb alone: `payment_request.` is put before it.
        kind: &'static str,
        /// What the event tells: no e-mail address and no phone number.
        data: Value,
    },
    /// Money has come for the invoice, and a payment is recorded.
    Receive {
        /// What the customer paid.
        money: Received,
        /// Whether the payment gets the reference of the request.
        first: bool,
    },
    /// The gateway holds money for the invoice. A payment is recorded as unknown, so that a lookup finds the money and captures
    /// it.
    Capture {
        /// What the gateway holds.
        money: Received,
        /// Whether the payment gets the reference of the request.
        first: bool,
    },
    /// Money of a schedule has come, and each payment gets an invoice of its own.
    OpenInvoices {
        /// The payments that are new, oldest first.
        money: Vec<Received>,
        /// Whether the first of the payments gets the reference of the request.
        first: bool,
    },
    /// Collection looks at the invoice now, whatever is planned.
    PlanAtOnce,
    /// Collection looks at the invoice now, if nothing else is planned.
    PlanIfUnplanned,
    /// The attempt has failed: the next step of the dunning ladder follows, or its end.
    Decline(Decline),
    /// The gateway could not ask, by no fault of the customer: the attempt is repeated soon. The value is how long a 429 asked to
    /// be left alone.
    GatewayFault(Option<TimeDelta>),
    /// The gateway could not send the request that ends the ladder: the request is tried again soon.
    LastRequestFault,
    /// The daemon gives the invoice up, since the ladder and its last request have ended.
    GiveUpForGood,
}

/// The request as the caller is to save it, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The changed row.
    pub request: PaymentRequest,
    /// The next call to the gateway, made under the same claim. None means that no call follows.
    pub next: Option<RequestStep>,
    /// What follows, in this order.
    pub effects: Vec<Effect>,
}

/// Decides what an answer does to a request.
pub fn decide(request: PaymentRequest, answer: &RequestReply, facts: &Facts) -> Transition {
    let mut transition = Transition { request, next: None, effects: Vec::new() };
    transition.next = match answer {
        RequestReply::Asked(asked) => transition.on_asked(asked, facts),
        RequestReply::Reminded(asked) => transition.on_reminded(asked, facts),
        RequestReply::Polled(Polled::Payments(received)) if transition.request.invoice_id.is_some() => {
            transition.on_payments(received, facts)
        }
        RequestReply::Polled(Polled::Payments(received)) => transition.on_payments_of_schedule(received, facts),
        RequestReply::Polled(Polled::NoAnswer { message }) => transition.on_no_answer(message, facts),
        RequestReply::Withdrawn(withdrawn) => transition.on_withdrawn(withdrawn, facts),
    };
    if transition.next.is_none() {
        // Otherwise the request stays claimed for the next call, however long that call waits for its turn.
        transition.request.lease_owner = None;
        if transition.request.needs_poll() {
            let soonest = transition.request.soonest_poll(facts.polls, facts.wall);
            transition.request.look_by(soonest);
        }
    }
    transition
}

impl Transition {
    fn on_asked(&mut self, asked: &Asked, facts: &Facts) -> Option<RequestStep> {
        match asked {
            Asked::Sent { request_id, link } => return self.on_sent(request_id.as_ref(), link.as_ref(), facts),
            Asked::Refused(decline) => {
                self.request.message = Some(format!("{} ({})", decline.message, decline.code));
                self.refuse(decline, None, facts);
            }
            Asked::GatewayError { message, retry_after } => {
                self.on_gateway_error(message, *retry_after, facts);
            }
            Asked::Unknown { message } => {
                if self.request.status != RequestStatus::Unknown {
                    self.request.message = Some(message.clone());
                    self.emit("unknown");
                }
                self.request.status = RequestStatus::Unknown;
                self.try_later(message, facts);
            }
        }
        None
    }

    fn on_sent(&mut self, request_id: Option<&String>, link: Option<&String>, facts: &Facts) -> Option<RequestStep> {
        self.request.status = RequestStatus::Sent;
        self.request.request_id = request_id.cloned();
        self.request.link = link.cloned();
        self.request.message = None;
        // Whoever is asked now needs no reminder now.
        self.request.remind = false;
        self.request.checks = 0;
        self.request.poll_later(facts);
        self.emit("sent");
        if self.request.ending.is_none() && !facts.is_wanted {
            self.request.ending = Some(Ending::Withdrawn);
        }
        self.request.ending.map(|_| RequestStep::Withdraw)
    }

    fn on_gateway_error(&mut self, message: &str, retry_after: Option<TimeDelta>, facts: &Facts) {
        self.request.message = Some(message.to_owned());
        if self.request.asks > 1 {
            // This call was not processed; an earlier call, whose answer was lost, may be on its way still.
            self.request.status = RequestStatus::Unknown;
            self.try_later(message, facts);
            return;
        }
        self.request.asks = 0;
        if matches!(self.request.role, Role::Extra | Role::Schedule) {
            // Nobody else would ask again.
            self.try_later(message, facts);
            return;
        }
        let class = DeclineClass::GatewayFault;
        let decline = Decline { class, code: "gateway_error".to_owned(), message: message.to_owned() };
        self.refuse(&decline, retry_after, facts);
    }

    /// Nobody was asked. The invoice goes on with the next step of the ladder, with a short wait, or to its end.
    fn refuse(&mut self, decline: &Decline, retry_after: Option<TimeDelta>, facts: &Facts) {
        let ending = self.request.ending.take();
        self.request.status = RequestStatus::Refused;
        self.request.end(facts);
        self.emit("refused");
        if !self.request.decides_for_invoice(facts) || ending == Some(Ending::Withdrawn) {
            return;
        }
        let fault = decline.class == DeclineClass::GatewayFault;
        self.effects.extend(match self.request.role {
            Role::Attempt if fault => Some(Effect::GatewayFault(retry_after)),
            Role::Attempt => Some(Effect::Decline(decline.clone())),
            // Refused for other reasons than the customer, it is no end of the ladder.
            Role::Last if fault || decline.class == DeclineClass::AccountRefused => Some(Effect::LastRequestFault),
            Role::Last if decline.class == DeclineClass::ChargeRefused => Some(Effect::Decline(decline.clone())),
            Role::Last => Some(Effect::GiveUpForGood),
            Role::Extra | Role::Schedule => None,
        });
    }

    fn on_reminded(&mut self, asked: &Asked, facts: &Facts) -> Option<RequestStep> {
        match asked {
            Asked::Sent { link, .. } => {
                self.request.link = link.clone().or_else(|| self.request.link.take());
                self.reminder_went_out(facts);
            }
            // A reminder that may have gone out is not sent again: the customer is reminded once.
            Asked::Unknown { message } => {
                self.request.message = Some(message.clone());
                self.reminder_went_out(facts);
            }
            // Gateways refuse to remind after an attempt to pay, and the next poll finds what came.
            Asked::Refused(decline) => {
                self.request.message = Some(format!("{} ({})", decline.message, decline.code));
                self.request.remind = false;
                self.request.checks = 0;
                self.request.poll_later(facts);
            }
            Asked::GatewayError { message, .. } => self.try_later(message, facts),
        }
        None
    }

    fn reminder_went_out(&mut self, facts: &Facts) {
        self.request.remind = false;
        self.request.reminders += 1;
        self.request.checks = 0;
        self.request.poll_later(facts);
        self.emit("reminded");
    }

    fn remind_or_poll(&mut self, facts: &Facts) -> Option<RequestStep> {
        if self.request.remind {
            return Some(RequestStep::Remind);
        }
        self.request.poll_later(facts);
        None
    }

    fn on_no_answer(&mut self, message: &str, facts: &Facts) -> Option<RequestStep> {
        let request = &mut self.request;
        if !request.status.is_open() {
            request.watch(facts);
        } else if request.status == RequestStatus::Sent && request.ending.is_none() && !request.remind {
            request.poll_later(facts);
        } else {
            self.try_later(message, facts);
        }
        None
    }

    fn on_withdrawn(&mut self, withdrawn: &Withdrawn, facts: &Facts) -> Option<RequestStep> {
        let ending = self.request.ending?;
        match withdrawn {
            Withdrawn::NoAnswer { message } => {
                self.try_later(message, facts);
                return None;
            }
            // Somebody has tried to pay, and may try again until the gateway lets the request run out.
            Withdrawn::Kept { message } => self.request.message = Some(message.clone()),
            Withdrawn::Gone => {}
        }
        let request = &mut self.request;
        request.ending = None;
        request.status = if ending == Ending::Expired { RequestStatus::Expired } else { RequestStatus::Withdrawn };
        request.end(facts);
        request.kept = matches!(withdrawn, Withdrawn::Kept { .. });
        if request.agreement_id.is_some() {
            // A payment of the schedule may have been on its way.
            request.kept = true;
            request.gateway_expires_at = facts.wall + TimeDelta::days(1);
        }
        request.watch(facts);
        self.emit(self.request.status.as_str());
        self.effects.extend(self.request.after_end(ending, facts));
        None
    }

    fn park(&mut self, message: String, facts: &Facts) {
        self.request.status = RequestStatus::Parked;
        self.request.ending = None;
        self.request.message = Some(message);
        self.request.end(facts);
        self.emit("parked");
    }

    /// Something is to be done and the gateway does not answer. The waits grow longer, and in the end an operator decides.
    fn try_later(&mut self, message: &str, facts: &Facts) {
        // No outage is known of here: the circuit hears only of calls that move money. A call that asks counts as a try of its own,
        // so that a customer is not asked for ever.
        if !facts.lookups.is_spent(facts.lookups.count(self.request.checks, false)) {
            self.request.message = Some(message.to_owned());
            self.request.wait(facts);
        } else if self.request.status == RequestStatus::Sent && self.request.ending.is_none() {
            // A reminder alone is not worth an operator's time.
            self.request.remind = false;
            self.request.checks = 0;
            self.request.poll_later(facts);
        } else {
            self.park(message.to_owned(), facts);
        }
    }

    fn emit(&mut self, kind: &'static str) {
        self.effects.push(Effect::Emit { kind, data: self.request.event_data() });
    }
}

impl PaymentRequest {
    /// Whether the invoice depends on how this request ends: the invoice is open, nothing is under way and nothing else is
    /// planned.
    fn decides_for_invoice(&self, facts: &Facts) -> bool {
        let planned = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at != self.expires_at);
        self.role != Role::Extra
            && !facts.in_flight
            && facts.invoice.is_some_and(|invoice| invoice.status == InvoiceStatus::Open && !planned(invoice.next_attempt_at))
    }

    /// What the end of the request means for the invoice.
    fn after_end(&self, ending: Ending, facts: &Facts) -> Option<Effect> {
        if !self.decides_for_invoice(facts) {
            return None;
        }
        match (ending, self.role) {
            (Ending::Expired, Role::Attempt) => {
                let message = "the payment request expired unpaid".to_owned();
                Some(Effect::Decline(Decline { class: DeclineClass::Soft, code: "request_expired".to_owned(), message }))
            }
            (Ending::Expired, Role::Last) => Some(Effect::GiveUpForGood),
            (Ending::Withdrawn, _) => Some(Effect::PlanIfUnplanned),
            (Ending::Expired, Role::Extra | Role::Schedule) => None,
        }
    }

    fn end(&mut self, facts: &Facts) {
        self.remind = false;
        self.next_reminder_at = None;
        self.next_check_at = None;
        self.resolved_at = Some(facts.now);
        self.checks = 0;
        self.watch(facts);
    }

    /// Plans the next poll of a closed request. A customer may still pay by a link that the daemon does not know or that the
    /// gateway kept, so polls go on until no link is valid.
    fn watch(&mut self, facts: &Facts) {
        let orphaned = facts.sends && self.may_be_orphaned();
        let over = facts.wall >= self.gateway_expires_at + TimeDelta::hours(1);
        self.next_check_at = (orphaned && !over).then(|| facts.wall + facts.polls.delay(self.checks + 1));
        self.checks += i64::from(orphaned);
    }

    /// Plans the next poll of an open request: often at first, then seldom.
    fn poll_later(&mut self, facts: &Facts) {
        self.next_check_at = Some(facts.wall + facts.polls.delay(self.checks + 1));
        self.checks += 1;
    }

    /// Plans the next call for later, since something else has to end first.
    fn wait(&mut self, facts: &Facts) {
        self.next_check_at = Some(facts.wall + facts.lookups.delay(self.checks + 1));
        self.checks += 1;
    }
}

#[cfg(test)]
mod tests;
