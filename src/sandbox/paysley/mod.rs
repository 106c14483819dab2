//! The pretend Paysley (and Kurv, its other name, without the `/v2`):
//! customers are asked by e-mail, SMS or link, and pay by hand.

mod callback;
mod payments;
mod refusal;
mod requests;
pub(super) mod state;

use axum::http::{Method, StatusCode};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    call::{CallOperation, IncomingCall, Target},
    fixtures,
    reply::Reply,
    state::State,
};
use refusal::PaysleyRefusal;
use state::PaysleyState;

pub use callback::Callback;
pub use payments::{Pay, dispute, pay, run_schedules};
pub use state::AskedPayment;

/// Whether a path without `/v2` belongs to Paysley.
pub fn owns(path: &str) -> bool {
    let first = path.split('/').find(|part| !part.is_empty());
    matches!(first, Some("payment-requests" | "payments" | "refunds" | "captures"))
}

/// What `/_sandbox/fixtures` says about Paysley, which keeps nothing from the start.
pub fn describe() -> Value {
    json!({
        "base_path": "/v2",
        "api_key": fixtures::PAYSLEY_KEY,
        "asked": "GET /_sandbox/paysley lists what customers were asked for",
        "pay": "POST /_sandbox/paysley/pay {transaction_id | reference, outcome?: approve | decline} plays the customer",
        "clock": "POST /_sandbox/paysley/clock {now} makes the recurring payments due by then",
    })
}

/// Answers one call.
pub fn answer(state: &mut State, call: &IncomingCall, now: DateTime<Utc>) -> Reply {
    match route(state, call, now) {
        Ok(mut body) => {
            // Paysley's plugins look for either word.
            for (field, word) in [("result", "success"), ("status", "success")] {
                if body.get(field).is_none() {
                    body[field] = json!(word);
                }
            }
            Reply::json(StatusCode::OK, &body)
        }
        Err(refusal) => refusal.into_reply(),
    }
}

fn route(state: &mut State, call: &IncomingCall, now: DateTime<Utc>) -> Result<Value, PaysleyRefusal> {
    let key = call.authorization.strip_prefix("Bearer ").unwrap_or_default();
    if key != fixtures::PAYSLEY_KEY {
        return Err(PaysleyRefusal::Forbidden);
    }
    if let Some(reason) = &call.malformed {
        return Err(PaysleyRefusal::field("", reason));
    }
    match (&call.method, call.segments().as_slice()) {
        (&Method::POST, ["payment-requests"]) => create(state, call, now),
        (&Method::PUT, ["payment-requests"]) => requests::update(&mut state.paysley, &call.body, now),
        (&Method::GET, ["payment-requests", id]) => requests::get(&state.paysley, id),
        (&Method::DELETE, ["payment-requests", id]) => requests::delete(&mut state.paysley, id),
        (&Method::GET, ["payments"]) => payments::list(&state.paysley, &call.query),
        (&Method::GET, ["payments", id]) => payments::get(&state.paysley, id),
        (&Method::DELETE, ["payments", "subscription", id]) => payments::stop_schedule(&mut state.paysley, id),
        (&Method::POST, ["refunds", id]) => payments::refund(state, id, &call.body, now),
        (&Method::POST, ["captures", id]) => payments::capture(state, id, &call.body, now),
        _ => Err(PaysleyRefusal::missing("Not found.")),
    }
}

fn create(state: &mut State, call: &IncomingCall, now: DateTime<Utc>) -> Result<Value, PaysleyRefusal> {
    let shown = requests::create(&mut state.paysley, &call.body, now)?;
    if state.scripts.knows_anyone() {
        payments::pay_by_itself(state, now);
    }
    Ok(shown)
}

/// What this call does, and which transaction and reference it is about.
pub fn aim(state: &PaysleyState, call: &IncomingCall) -> (CallOperation, Target) {
    let text = |body: &super::body::WireBody, name: &str| body.text(name).ok().flatten().map(str::to_owned);
    let mut target = Target { reference: text(&call.body, "reference_number"), ..Target::default() };
    let operation = match (&call.method, call.segments().as_slice()) {
        (&Method::POST | &Method::PUT, ["payment-requests"]) => {
            target.transaction_id = text(&call.body, "transaction_id");
            CallOperation::Request
        }
        (method, ["payment-requests", id]) => {
            target.reference = state.request(id).map(|request| request.reference.clone());
            target.transaction_id = Some((*id).to_owned());
            if *method == Method::GET { CallOperation::Lookup } else { CallOperation::Request }
        }
        (&Method::GET, ["payments"]) => {
            target.reference = text(&call.query, "keywords");
            CallOperation::Lookup
        }
        (method, [kind, .., id]) => {
            target.transaction_id = Some((*id).to_owned());
            target.reference = state.payment(id).map(|payment| payment.reference.clone());
            match (method, *kind) {
                (_, "refunds") => CallOperation::Refund,
                (_, "captures") => CallOperation::Capture,
                (&Method::GET, _) => CallOperation::Lookup,
                _ => CallOperation::Request,
            }
        }
        _ => CallOperation::Account,
    };
    (operation, target)
}
