//! Payments through payment links: by customers, whom the switches play, and
//! by the gateway's own schedules; refunds and captures.

use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        body::WireBody,
        call::SandboxGateway,
        ledger::{Ledger, LedgerEntry, Movement},
        state::State,
    },
    callback::Callback,
    refusal::PaysleyRefusal,
    state::{PaysleyPayment, PaysleySchedule, PaysleyState, date, major},
};
use crate::domain::money::Currency;

/// The customer opens a link and pays, as posted to `/_sandbox/paysley/pay`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pay {
    pub transaction_id: Option<String>,
    /// Names the newest link with this reference that was not deleted.
    pub reference: Option<String>,
    /// `approve` if left out, or `decline`.
    pub outcome: Option<PayOutcome>,
    /// Minor units, if the customer pays another amount than the link asks for.
    pub amount: Option<i64>,
    pub currency: Option<Currency>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayOutcome {
    Approve,
    Decline,
}

/// Pays a link, or says why it cannot be paid. Returns the payment's id and the call to the merchant, if one is wanted.
pub fn pay(state: &mut State, pay: &Pay, now: DateTime<Utc>) -> Result<(String, Option<Callback>), String> {
    let paysley = &state.paysley;
    let number = match (&pay.transaction_id, &pay.reference) {
        (Some(id), _) => paysley.number(id),
        (None, Some(reference)) => {
            let there = paysley.requests.iter().rev().find(|(_, request)| request.reference == *reference && !request.deleted);
            there.map(|(number, _)| *number)
        }
        (None, None) => return Err("name a transaction_id or a reference".to_owned()),
    };
    let number = number.ok_or("there is no such link, or it was withdrawn")?;
    let request = &paysley.requests[&number];
    if request.expires.is_some_and(|expires| expires <= now) {
        return Err("the link has expired".to_owned());
    }
    if paysley.is_paid(number) || request.schedule.as_ref().is_some_and(|schedule| schedule.running) {
        return Err("the link is paid".to_owned());
    }
    let approved = pay.outcome != Some(PayOutcome::Decline);
    let asked = match &request.schedule {
        Some(schedule) => schedule.initial.unwrap_or(0),
        None => request.amount,
    };
    let (amount, currency) = (pay.amount.unwrap_or(asked), pay.currency.unwrap_or(request.currency));
    let scheduled = request.schedule.is_some();
    let kind = if request.preauthorized { "CC.PA" } else { "CC.DB" };
    if approved && let Some(schedule) = state.paysley.requests.get_mut(&number).and_then(|request| request.schedule.as_mut()) {
        schedule.running = true;
    }
    Ok(record(state, number, kind, amount, currency, approved, scheduled, now))
}

/// In a simulation every customer pays a new link at once, or is declined at the simulation's rate. The merchant is not called.
pub fn pay_by_itself(state: &mut State, now: DateTime<Utc>) {
    let Some((number, request)) = state.paysley.requests.last_key_value() else { return };
    let token = request.fields.get("email").and_then(Value::as_str).unwrap_or_default().to_owned();
    let declined = state.scripts.next(&format!("{token} {}", request.reference), request.amount, 202) != Some(0);
    let outcome = Some(if declined { PayOutcome::Decline } else { PayOutcome::Approve });
    let chosen = Pay { transaction_id: Some(super::state::transaction_id(*number)), outcome, ..Pay::default() };
    // Cannot fail: the link is new, so it is neither paid nor expired.
    let _ = pay(state, &chosen, now);
}

#[expect(clippy::too_many_arguments, reason = "the fields of one payment")]
fn record(
    state: &mut State,
    number: u64,
    kind: &'static str,
    amount: i64,
    currency: Currency,
    approved: bool,
    scheduled: bool,
    at: DateTime<Utc>,
) -> (String, Option<Callback>) {
    let id = state.ids.fluidpay(at);
    let request = &state.paysley.requests[&number];
    let reference = request.reference.clone();
    let captured = if approved && kind == "CC.DB" { amount } else { 0 };
    let payment = PaysleyPayment {
        id: id.clone(),
        request: number,
        reference,
        kind,
        amount,
        currency,
        approved,
        captured,
        refunded: 0,
        charged_back: 0,
        of: None,
        scheduled,
        at,
    };
    if captured > 0 {
        write_entry(&mut state.ledger, Movement::Charge, &payment, captured, at);
    }
    let callback = Callback::about(&payment, request);
    state.paysley.payments.push(payment);
    (id, callback)
}

fn write_entry(ledger: &mut Ledger, kind: Movement, payment: &PaysleyPayment, amount: i64, at: DateTime<Utc>) {
    ledger.record(LedgerEntry {
        gateway: SandboxGateway::Paysley,
        kind,
        transaction_id: payment.id.clone(),
        reference: payment.reference.clone(),
        amount,
        currency: payment.currency,
        at,
    });
}

/// Makes the recurring payments that fall due by an instant. Returns their ids and the calls to the merchants.
pub fn run_schedules(state: &mut State, until: DateTime<Utc>) -> Vec<(String, Option<Callback>)> {
    let mut due = Vec::new();
    for (number, request) in &mut state.paysley.requests {
        let Some(schedule) = request.schedule.as_mut().filter(|schedule| schedule.running) else { continue };
        while let Some(at) = next(schedule).filter(|at| *at <= until) {
            schedule.made += 1;
            schedule.running = schedule.total.is_none_or(|total| schedule.made < total);
            due.push((*number, request.amount, request.currency, at));
        }
    }
    due.sort_by_key(|(_, _, _, at)| *at);
    due.into_iter()
        .map(|(number, amount, currency, at)| record(state, number, "CC.DB", amount, currency, true, true, at))
        .collect()
}

fn next(schedule: &PaysleySchedule) -> Option<DateTime<Utc>> {
    if !schedule.running {
        return None;
    }
    let months = match schedule.frequency.as_str() {
        "MONTHLY" => 1,
        "QUARTERLY" => 3,
        "YEARLY" => 12,
        _ => return schedule.start.checked_add_signed(TimeDelta::weeks(schedule.made.into())),
    };
    schedule.start.checked_add_months(Months::new(months * schedule.made))
}

/// The payment history, newest first. Keywords match anywhere in reference, e-mail and mobile number.
pub fn list(state: &PaysleyState, query: &WireBody) -> Result<Value, PaysleyRefusal> {
    let text = |field: &str| query.text(field).ok().flatten().filter(|text| !text.is_empty());
    let number = |field: &str, default: usize| match text(field) {
        None => Ok(default),
        Some(text) => {
            text.parse().ok().filter(|n| *n > 0).ok_or_else(|| PaysleyRefusal::field(field, format!("{field} is not valid.")))
        }
    };
    let (limit, page) = (number("limit", 10)?, number("page", 1)?);
    if text("start_date").is_some() && text("end_date").is_none() {
        return Err(PaysleyRefusal::field("end_date", "end_date is required."));
    }
    let keywords = text("keywords").map(str::to_lowercase);
    let matches = |payment: &&PaysleyPayment| {
        let Some(request) = state.requests.get(&payment.request) else { return false };
        let day = payment.at.date_naive().to_string();
        let inside = text("start_date").is_none_or(|start| start <= &*day) && text("end_date").is_none_or(|end| &*day <= end);
        let said = [&payment.reference, request.text("email"), request.text("mobile_number")];
        inside && keywords.as_ref().is_none_or(|word| said.iter().any(|text| text.to_lowercase().contains(word)))
    };
    let found: Vec<&PaysleyPayment> = state.payments.iter().rev().filter(matches).collect();
    let shown: Vec<Value> = found
        .iter()
        .skip((page - 1) * limit)
        .take(limit)
        .filter_map(|payment| Some(payment.show(state.requests.get(&payment.request)?)))
        .collect();
    Ok(
        json!({ "limit": limit.to_string(), "page": page.to_string(), "page_count": found.len().div_ceil(limit), "payments": shown }),
    )
}

pub fn get(state: &PaysleyState, id: &str) -> Result<Value, PaysleyRefusal> {
    let payment = state.payment(id).ok_or_else(|| PaysleyRefusal::missing("Your Payment history data not found"))?;
    Ok(json!({ "payment": payment.show(&state.requests[&payment.request]) }))
}

/// The amount that a refund or capture asks for: a number, at most `left`.
fn amount_of(body: &WireBody, payment: &PaysleyPayment, left: i64) -> Result<i64, PaysleyRefusal> {
    let Some(Value::Number(number)) = body.get("amount") else {
        return Err(PaysleyRefusal::field("amount", "amount is required."));
    };
    let amount = payment.currency.minor(&number.to_string()).filter(|amount| (1..=left).contains(amount));
    amount.ok_or_else(|| PaysleyRefusal::field("amount", format!("amount must be at most {}.", payment.currency.major(left))))
}

pub fn refund(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaysleyRefusal> {
    let missing = || PaysleyRefusal::missing("Payment not found.");
    let refund_id = state.ids.fluidpay(now);
    let payment = state.paysley.payment_mut(id).filter(|payment| payment.approved && payment.of.is_none()).ok_or_else(missing)?;
    let amount = amount_of(body, payment, payment.captured - payment.refunded - payment.charged_back)?;
    payment.refunded += amount;
    let payment = payment.clone();
    write_entry(&mut state.ledger, Movement::Refund, &payment, amount, now);
    let refund = PaysleyPayment {
        id: refund_id,
        kind: "CC.RF",
        amount,
        captured: 0,
        refunded: 0,
        charged_back: 0,
        of: Some(id.to_owned()),
        at: now,
        ..payment.clone()
    };
    state.paysley.payments.push(refund);
    Ok(json!({
        "payment_id": id,
        "amount": major(payment.amount, payment.currency),
        "balance": major(payment.captured - payment.refunded, payment.currency),
        "refunded_amount": major(amount, payment.currency),
        "currency": payment.currency,
        "ref_number": payment.reference,
        "refund_date": date(now),
        "transaction_id": payment.request,
        "transaction_type": "once-off",
        "status": "refund",
    }))
}

/// Charges this amount of a payment back; 0 ends the dispute. False if it has not so much that can be disputed.
pub fn dispute(state: &mut State, id: &str, amount: i64, now: DateTime<Utc>) -> bool {
    let Some(payment) = state.paysley.payment_mut(id).filter(|payment| payment.approved && payment.of.is_none()) else {
        return false;
    };
    let more = amount - payment.charged_back;
    if amount < 0 || more == 0 || more > payment.captured - payment.refunded - payment.charged_back {
        return false;
    }
    payment.charged_back = amount;
    let payment = payment.clone();
    let kind = if more > 0 { Movement::Dispute } else { Movement::DisputeWon };
    write_entry(&mut state.ledger, kind, &payment, more.abs(), now);
    true
}

/// Captures a preauthorized payment, once.
pub fn capture(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaysleyRefusal> {
    let payment = state.paysley.payment_mut(id).filter(|payment| payment.approved && payment.kind == "CC.PA");
    let payment = payment.ok_or_else(|| PaysleyRefusal::missing("Payment not found."))?;
    let left = if payment.captured > 0 { 0 } else { payment.amount };
    payment.captured = amount_of(body, payment, left)?;
    let payment = payment.clone();
    write_entry(&mut state.ledger, Movement::Capture, &payment, payment.captured, now);
    Ok(json!({
        "payment_id": id,
        "captured_amount": major(payment.captured, payment.currency),
        "amount": major(payment.amount, payment.currency),
        "currency": payment.currency,
        "ref_number": payment.reference,
        "capture_date": date(now),
        "transaction_type": "once-off",
        "status": "capture",
    }))
}

pub fn stop_schedule(state: &mut PaysleyState, id: &str) -> Result<Value, PaysleyRefusal> {
    let missing = || PaysleyRefusal::missing("Payment is not found.");
    let payment = state.payment(id).filter(|payment| payment.scheduled).cloned().ok_or_else(missing)?;
    if let Some(schedule) = state.requests.get_mut(&payment.request).and_then(|request| request.schedule.as_mut()) {
        schedule.running = false;
    }
    Ok(json!({
        "payment_id": id,
        "amount": major(payment.amount, payment.currency),
        "currency": payment.currency,
        "ref_number": "Paysley End Subscription",
        "transaction_type": "scheduled",
        "status": "end_subscription",
    }))
}
