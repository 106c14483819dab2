//! What an answer does to a payment that is on its way, one function for each answer.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Effect, Facts, PaymentEvent, PaymentReply, PaymentStep, Resend, Transition};
use crate::domain::{
    clock::Timeline,
    payment::{Decline, DeclineClass, Other, Outcome, Payment, PaymentStatus, ReturnOutcome},
};

/// How long after a payment was given up the gateway is asked once more: a process or a network that stands still for longer than
/// a lease may have held the call up.
const SECOND_LOOK_AFTER: TimeDelta = TimeDelta::days(1);

pub(super) fn on_answer(payment: Payment, answer: &PaymentReply, facts: &Facts) -> Transition {
    match answer {
        PaymentReply::Outcome(outcome) => on_outcome(payment, outcome, facts),
        PaymentReply::NotFound => on_not_found(payment, facts),
        PaymentReply::NoAnswer(message) => look_up_later(payment, message, facts),
        PaymentReply::Disagrees(message) => park(payment, message),
        PaymentReply::TakenTwice { best, others } => on_taken_twice(payment, best, others),
        PaymentReply::Voided(ReturnOutcome::Returned { .. }) => not_wanted(payment, facts),
        PaymentReply::Voided(_) => look_up_later(payment, "the reserved money could not be given free", facts),
        PaymentReply::Paused(until) => on_paused(payment, *until, facts),
    }
}

fn on_outcome(payment: Payment, outcome: &Outcome, facts: &Facts) -> Transition {
    match outcome {
        Outcome::Succeeded { transaction_id, amount_minor } => on_success(payment, transaction_id, *amount_minor, facts),
        Outcome::Authorized { transaction_id } => on_authorized(payment, transaction_id, facts),
        Outcome::Declined { decline, transaction_id } => on_decline(payment, decline, transaction_id.as_ref(), facts),
        Outcome::GatewayError { message, retry_after } => on_gateway_error(payment, message, *retry_after, facts),
        Outcome::Unknown { message } => on_unknown(payment, message, facts),
    }
}

/// The customer's money is gone, so the payment must say so, even if it had been given up or parked.
fn on_success(mut payment: Payment, transaction_id: &str, amount_minor: i64, facts: &Facts) -> Transition {
    let before = payment.status;
    payment.resolve(PaymentStatus::Succeeded, Some(transaction_id.to_owned()), facts.now);
    payment.amount_captured = amount_minor;
    (payment.decline_class, payment.decline_code, payment.decline_message) = (None, None, None);
    let transition = Transition::to(payment).effect(Effect::Paid);
    if !before.is_closed() {
        return transition;
    }
    let data = json!({ "transaction_id": transaction_id, "amount": amount_minor, "status": before });
    let alarm = "the gateway reports success for a payment that had ended otherwise";
    transition.alarm("payment.unexpected_success", data, alarm)
}

fn on_authorized(mut payment: Payment, transaction_id: &str, facts: &Facts) -> Transition {
    // A lookup found the authorization: the capture is tried again, and after another failure the waits go on growing.
    payment.lookups += i64::from(payment.status == PaymentStatus::Unknown);
    payment.transaction_id = Some(transaction_id.to_owned());
    if facts.is_wanted {
        payment.status = PaymentStatus::Authorized;
        facts.claim(&mut payment);
        return Transition::to(payment).then(PaymentStep::Capture);
    }
    // The payment is not over yet: a capture whose answer was lost may win against the void.
    payment.status = PaymentStatus::Unknown;
    payment.lease_expires_at = None;
    payment.next_lookup_at = Some(facts.wall + facts.lease);
    Transition::to(payment).then(PaymentStep::Void)
}

fn on_decline(payment: Payment, decline: &Decline, transaction_id: Option<&String>, facts: &Facts) -> Transition {
    // The authorization has ended, as everybody wanted. A customer is told of a decline, so this is none.
    let is_voided = !facts.is_wanted && payment.transaction_id.is_some();
    let is_captured_authorization = payment.authorization_id.is_some();
    if is_voided {
        not_wanted(payment, facts)
    } else if is_captured_authorization {
        authorization_failed(payment, decline, facts)
    } else {
        declined(payment, decline, transaction_id, facts)
    }
}

fn declined(mut payment: Payment, decline: &Decline, transaction_id: Option<&String>, facts: &Facts) -> Transition {
    payment.resolve(PaymentStatus::Declined, transaction_id.cloned(), facts.now);
    payment.decline_class = Some(decline.class);
    payment.decline_code = Some(decline.code.clone());
    payment.decline_message = Some(decline.message.clone());
    let data =
        json!({ "invoice_id": payment.invoice_id, "attempt": payment.attempt, "class": decline.class, "code": decline.code });
    let is_by_request = payment.payment_request_id.is_some();
    let mut transition = Transition::to(payment).event("payment.declined", data);
    if decline.class == DeclineClass::StopRecurring {
        transition = transition.effect(Effect::EndMandate);
    }
    // A customer's authorization that cannot be captured is no attempt of ours: the customer is still asked.
    transition.effect(if is_by_request { Effect::PlanNow } else { Effect::Declined(decline.clone()) })
}

/// The authorization made before the bill date has run out, or the gateway does not capture it. No charge to the customer's card
/// was refused: that charge comes now, and no dunning step is spent.
fn authorization_failed(mut payment: Payment, decline: &Decline, facts: &Facts) -> Transition {
    payment.resolve(PaymentStatus::GatewayError, None, facts.now);
    payment.decline_message = Some(format!("what was reserved could not be captured: {} ({})", decline.message, decline.code));
    let data = json!({
        "invoice_id": payment.invoice_id, "authorization_id": payment.authorization_id, "code": decline.code,
        "message": decline.message,
    });
    Transition::to(payment).event("payment.reservation_lost", data).effect(Effect::AuthorizationFailed)
}

fn on_gateway_error(mut payment: Payment, message: &str, retry_after: Option<TimeDelta>, facts: &Facts) -> Transition {
    // This call was not processed; an earlier one, whose answer was lost, may be on its way still.
    if payment.was_sent_before() {
        return look_up_later(payment, message, facts);
    }
    payment.resolve(PaymentStatus::GatewayError, None, facts.now);
    payment.decline_message = Some(message.to_owned());
    Transition::to(payment).effect(Effect::GatewayFault(retry_after))
}

pub(super) fn on_unknown(mut payment: Payment, message: &str, facts: &Facts) -> Transition {
    // The first lookup is immediate. After a resend the waits go on growing.
    let delay = if payment.lookups == 0 { TimeDelta::zero() } else { facts.lookups.delay(payment.lookups) };
    payment.status = PaymentStatus::Unknown;
    // The call may have been sent until now.
    payment.called_at = facts.wall;
    payment.decline_message = Some(message.to_owned());
    payment.release(Some(facts.wall + delay));
    let data = json!({ "invoice_id": payment.invoice_id, "message": message });
    Transition::to(payment).event("payment.unknown", data)
}

fn on_not_found(payment: Payment, facts: &Facts) -> Transition {
    if !facts.is_wanted {
        return give_up(payment, facts);
    }
    match facts.resend {
        // As often as that, it is refused for ever: an operator has to find out why.
        Resend::Allowed if facts.lookups.is_spent(payment.lookups) && !facts.is_outage(&payment) => {
            let last = payment.decline_message.as_deref().unwrap_or("no reason given");
            let message = format!("sent again and again, and never found: {last}");
            park(payment, &message)
        }
        Resend::Allowed => send_again(payment, facts),
        Resend::NotBefore(until) => wait_to_send_again(payment, until, facts),
    }
}

/// Sends the same payment again, with the same reference and the same key.
fn send_again(mut payment: Payment, facts: &Facts) -> Transition {
    payment.status = PaymentStatus::Pending;
    payment.lookups = facts.lookups.count(payment.lookups, facts.is_outage(&payment));
    payment.next_lookup_at = None;
    payment.called_at = facts.wall;
    facts.claim(&mut payment);
    Transition::to(payment).then(PaymentStep::Charge)
}

/// In real time the payment stays unknown, and is sent again as the same payment once the circuit allows that. A test clock does
/// not move for that, so its payment is let go as soon as a late call would have arrived.
fn wait_to_send_again(payment: Payment, until: DateTime<Utc>, facts: &Facts) -> Transition {
    if payment.timeline != Timeline::Wall && facts.has_had_time(&payment) {
        not_processed(payment, until, "never seen by the gateway, which is paused", facts)
    } else {
        stay_unknown(payment, until, facts)
    }
}

/// Gives the payment up: no daemon sends it again.
fn give_up(mut payment: Payment, facts: &Facts) -> Transition {
    let latest_arrival = facts.latest_arrival(&payment);
    // A call that is late must have had the time to arrive.
    if !facts.has_had_time(&payment) {
        payment.lease_owner = None;
        payment.next_lookup_at = Some(latest_arrival);
        return Transition::to(payment);
    }
    let mut transition = not_wanted(payment, facts);
    // The later lookup finds a call that was held up for longer than a lease and whose daemon then died.
    if let Some(payment) = &mut transition.payment {
        payment.next_lookup_at = Some(facts.wall + SECOND_LOOK_AFTER);
    }
    transition
}

fn not_wanted(mut payment: Payment, facts: &Facts) -> Transition {
    payment.resolve(PaymentStatus::GatewayError, None, facts.now);
    payment.decline_message = Some("stopped before any money moved: the invoice is not to be collected any more".to_owned());
    Transition::to(payment).effect(Effect::NotWanted)
}

fn on_paused(payment: Payment, until: DateTime<Utc>, facts: &Facts) -> Transition {
    if payment.was_sent_before() {
        stay_unknown(payment, until, facts)
    } else {
        not_processed(payment, until, "not sent: the gateway is paused", facts)
    }
}

fn stay_unknown(mut payment: Payment, until: DateTime<Utc>, facts: &Facts) -> Transition {
    let at = if payment.timeline == Timeline::Wall { until } else { facts.latest_arrival(&payment) };
    payment.status = PaymentStatus::Unknown;
    payment.release(Some(at));
    Transition::to(payment)
}

/// Ends the payment without a call. The invoice waits for the gateway, and no dunning step is spent.
fn not_processed(mut payment: Payment, until: DateTime<Utc>, message: &str, facts: &Facts) -> Transition {
    payment.resolve(PaymentStatus::GatewayError, None, facts.now);
    payment.decline_message = Some(message.to_owned());
    Transition::to(payment).effect(Effect::WaitForGateway(until))
}

/// Nothing is known yet: the next lookup waits longer than the one before, and in the end an operator decides.
fn look_up_later(mut payment: Payment, message: &str, facts: &Facts) -> Transition {
    let is_outage = facts.is_outage(&payment);
    payment.status = PaymentStatus::Unknown;
    payment.lookups = facts.lookups.count(payment.lookups, is_outage);
    if facts.lookups.is_spent(payment.lookups) && !is_outage {
        return park(payment, message);
    }
    payment.decline_message = Some(message.to_owned());
    payment.release(Some(facts.wall + facts.lookups.delay(payment.lookups)));
    let data = json!({ "lookups": payment.lookups, "message": message });
    Transition::to(payment).event("payment.looked_up", data)
}

/// Only an operator can say what became of the payment.
fn park(mut payment: Payment, message: &str) -> Transition {
    payment.status = PaymentStatus::Parked;
    payment.decline_message = Some(message.to_owned());
    payment.release(None);
    let data = json!({
        "invoice_id": payment.invoice_id, "reference": payment.reference, "sent_at": payment.sent_at, "message": message,
    });
    Transition::to(payment).event("payment.parked", data)
}

/// An operator decides which of several charges stays, and gives the others back at the gateway. The daemon charges and returns
/// nothing by itself.
fn on_taken_twice(mut payment: Payment, best: &Outcome, others: &[Other]) -> Transition {
    let mut taken: Vec<(&str, i64)> =
        others.iter().filter_map(|other| Some((other.transaction_id.as_str(), other.taken_minor?))).collect();
    if let Outcome::Succeeded { transaction_id, amount_minor } = best {
        payment.transaction_id = Some(transaction_id.clone());
        taken.insert(0, (transaction_id.as_str(), *amount_minor));
    }
    let list: Vec<String> = taken.iter().map(|(id, amount)| format!("{id} ({amount})")).collect();
    let message = format!(
        "the gateway took it {} times under one reference: {}; resolve it with the one that stays, and give the others back there",
        taken.len(),
        list.join(", ")
    );
    let transactions: Vec<_> = taken.iter().map(|(id, amount)| json!({ "transaction_id": id, "amount": amount })).collect();
    let data = json!({ "invoice_id": payment.invoice_id, "reference": payment.reference, "transactions": transactions });
    let alarm = Some("taken more than once under one reference");
    let mut transition = park(payment, &message);
    transition.events.insert(0, PaymentEvent { kind: "payment.taken_twice", data, alarm });
    transition
}
