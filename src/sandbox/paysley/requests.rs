//! Payment requests: create, update and send again, show, delete. Wrong fields are refused as the live system refuses them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{
    super::body::WireBody,
    refusal::PaysleyRefusal,
    state::{PaysleyPayment, PaysleyRequest, PaysleySchedule, PaysleyState, date, major, transaction_id},
};
use crate::domain::money::Currency;

const CHANNELS: [&str; 3] = ["EMAIL", "SMS", "WEB"];

pub fn create(state: &mut PaysleyState, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaysleyRefusal> {
    let request = read(body, now)?;
    state.last += 1;
    let number = 145_000 + state.last;
    let shown = request.show_created(number);
    state.requests.insert(number, request);
    Ok(shown)
}

pub fn update(state: &mut PaysleyState, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaysleyRefusal> {
    let id = body.text("transaction_id").ok().flatten().unwrap_or_default();
    let number = state.number(id).ok_or_else(|| PaysleyRefusal::field("transaction_id", "transaction_id not valid"))?;
    unpaid(state, number)?;
    let mut changed = read(body, now)?;
    if let Some(before) = state.requests.get(&number) {
        changed.created = before.created;
        changed.messages += before.messages;
        changed.modified = Some(now);
    }
    let shown = changed.show_created(number);
    state.requests.insert(number, changed);
    Ok(shown)
}

pub fn delete(state: &mut PaysleyState, id: &str) -> Result<Value, PaysleyRefusal> {
    let number = state.number(id).ok_or_else(|| PaysleyRefusal::missing("Transaction not found."))?;
    unpaid(state, number)?;
    if let Some(request) = state.requests.get_mut(&number) {
        request.deleted = true;
    }
    Ok(json!({ "transaction_id": id }))
}

/// Refuses to change a request that somebody has tried to pay.
fn unpaid(state: &PaysleyState, number: u64) -> Result<(), PaysleyRefusal> {
    if state.of_request(number).next().is_none() {
        return Ok(());
    }
    Err(PaysleyRefusal::field("transaction_id", "The transaction already has a payment history."))
}

pub fn get(state: &PaysleyState, id: &str) -> Result<Value, PaysleyRefusal> {
    let number = state.number(id).ok_or_else(|| PaysleyRefusal::missing("Transaction not found."))?;
    let request = &state.requests[&number];
    let last = state.of_request(number).rfind(|payment| payment.of.is_none());
    let refunds: Vec<Value> =
        state.of_request(number).filter(|payment| payment.of.is_some()).map(|refund| refund.show(request)).collect();
    let back: Vec<Value> = state.of_request(number).filter(|payment| payment.charged_back > 0).map(chargeback).collect();
    let status = match last {
        Some(payment) if payment.approved => "success",
        Some(_) => "failed",
        None => "open",
    };
    let shown = json!({
        "transaction_id": transaction_id(number),
        "reference_number": request.reference,
        "amount": major(request.amount, request.currency),
        "currency": request.currency,
        "fixed_amount": true,
        "request_methods": request.channels().collect::<Vec<_>>(),
        "email": request.text("email"),
        "mobile_number": request.text("mobile_number"),
        "created_at": date(request.created),
        "modified_at": request.modified.map(date),
        "expiration_date": request.expires.map(date),
        "payment_id": last.map(|payment| payment.id.clone()),
        "payment_date": last.map(|payment| date(payment.at)),
        "payment_type": if request.preauthorized { "PA" } else { "DB" },
        "status": status,
        "status_description": "",
        "refund": refunds,
        "reversal": [],
        "chargeback": back,
    });
    Ok(json!({ "limit": "1", "page": "1", "page_count": 1, "total_count": 1, "transactions": [shown] }))
}

fn chargeback(payment: &PaysleyPayment) -> Value {
    json!({
        "payment_id": format!("{}-cb", payment.id),
        "reference_payment_id": payment.id,
        "payment_type": "CC.CB",
        "amount": major(payment.charged_back, payment.currency),
        "currency": payment.currency,
        "status": "success",
    })
}

fn read(body: &WireBody, now: DateTime<Utc>) -> Result<PaysleyRequest, PaysleyRefusal> {
    let text =
        |field: &str| body.text(field).map(Option::unwrap_or_default).map_err(|wrong| PaysleyRefusal::field(field, wrong.0));
    let methods = body.get("request_methods").and_then(Value::as_array).filter(|methods| !methods.is_empty());
    let methods = methods.ok_or_else(|| PaysleyRefusal::field("request_methods", "request_methods is required."))?;
    let channels: Vec<&str> = methods.iter().filter_map(Value::as_str).collect();
    if channels.len() != methods.len() || !channels.iter().all(|channel| CHANNELS.contains(channel)) {
        return Err(PaysleyRefusal::field("request_methods", "request_methods must be EMAIL, SMS or WEB."));
    }
    let (email, phone) = (text("email")?, text("mobile_number")?);
    if channels.contains(&"EMAIL") && !email.contains('@') {
        return Err(PaysleyRefusal::field("email", "email is not valid."));
    }
    if channels.contains(&"SMS") && !phone.starts_with('+') {
        return Err(PaysleyRefusal::field("mobile_number", "mobile_number is not valid."));
    }
    if email.is_empty() && phone.is_empty() {
        return Err(PaysleyRefusal::field("email", "email or mobile_number is required."));
    }
    let currency: Currency =
        text("currency")?.parse().map_err(|_| PaysleyRefusal::field("currency", "currency is not valid."))?;
    let amount = money(body, "amount", currency)?.ok_or_else(|| PaysleyRefusal::field("amount", "amount is required."))?;
    if !matches!(body.get("fixed_amount"), Some(Value::Bool(_))) {
        return Err(PaysleyRefusal::field("fixed_amount", "fixed_amount is required."));
    }
    if text("customer_first_name")?.is_empty() {
        return Err(PaysleyRefusal::field("customer_first_name", "customer_first_name is required."));
    }
    if !text("customer_id")?.is_empty() {
        return Err(PaysleyRefusal::field("customer_id", "customer_id not found."));
    }
    let payment_type = text("payment_type")?;
    if !["", "DB", "PA"].contains(&payment_type) {
        return Err(PaysleyRefusal::field("payment_type", "payment_type must be DB or PA."));
    }
    let expires = instant(body, "expiry_date")?;
    Ok(PaysleyRequest {
        fields: body.fields().iter().filter(|(name, _)| *name != "transaction_id").map(clone).collect::<Map<_, _>>(),
        reference: text("reference_number")?.to_owned(),
        amount,
        currency,
        preauthorized: payment_type == "PA",
        response_url: text("response_url")?.to_owned(),
        expires,
        created: now,
        modified: None,
        messages: channels.iter().filter(|channel| **channel != "WEB").count() as u64,
        schedule: schedule(body, currency, now)?,
        deleted: false,
    })
}

fn clone((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Reads an amount. Only a JSON number is one; the live system refuses texts too.
fn money(body: &WireBody, field: &str, currency: Currency) -> Result<Option<i64>, PaysleyRefusal> {
    match body.get(field) {
        None => Ok(None),
        Some(Value::Number(number)) => match currency.minor(&number.to_string()) {
            Some(amount) if amount > 0 => Ok(Some(amount)),
            _ => Err(PaysleyRefusal::field(field, format!("{field} is not valid."))),
        },
        Some(_) => Err(PaysleyRefusal::field(field, format!("{field} must be a number."))),
    }
}

fn instant(body: &WireBody, field: &str) -> Result<Option<DateTime<Utc>>, PaysleyRefusal> {
    let wrong = || PaysleyRefusal::field(field, format!("{field} must follow the ISO 8601 standard."));
    match body.text(field).map_err(|_| wrong())?.unwrap_or_default() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| wrong()),
    }
}

fn schedule(body: &WireBody, currency: Currency, now: DateTime<Utc>) -> Result<Option<PaysleySchedule>, PaysleyRefusal> {
    let frequency = body.text("payment_frequency").ok().flatten().unwrap_or_default().to_ascii_uppercase();
    if matches!(frequency.as_str(), "" | "ONE-TIME") {
        return Ok(None);
    }
    if !["WEEKLY", "MONTHLY", "QUARTERLY", "YEARLY"].contains(&frequency.as_str()) {
        return Err(PaysleyRefusal::field("payment_frequency", "payment_frequency is not valid."));
    }
    let start = instant(body, "payment_start_date")?.filter(|start| *start > now);
    let start = start.ok_or_else(|| PaysleyRefusal::field("payment_start_date", "payment_start_date must be in the future."))?;
    let blank = |field: &str| matches!(body.get(field), Some(Value::String(text)) if text.is_empty());
    let initial = if blank("initial_payment_amount") { None } else { money(body, "initial_payment_amount", currency)? };
    let total =
        if blank("total_number_of_payments") { None } else { body.get("total_number_of_payments").and_then(Value::as_u64) };
    let total = total.and_then(|total| u32::try_from(total).ok());
    Ok(Some(PaysleySchedule { frequency, start, initial, total, made: 0, running: false }))
}
