//! The pretend FluidPay: its paths, its key, and what a call is about, so that faults can be limited to it.

mod account;
mod charge;
mod customers;
mod envelope;
mod instrument;
mod old_customers;
mod recurring;
mod recurring_paths;
mod search;
mod settlement;
pub(super) mod state;
mod tokens;
mod transaction;
mod vault;

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    call::{CallOperation, IncomingCall, Target},
    fixtures,
    reply::Reply,
    state::State,
};
use envelope::{FluidpayRefusal, FluidpayResult, list, one};
use state::FluidpayState;

pub use instrument::TEST_CARDS;
pub use settlement::dispute;
pub use tokens::{describe, install, make_tokens};

/// Answers one call. `decline` is the code of a decline fault.
pub fn answer(state: &mut State, call: &IncomingCall, decline: Option<u16>, now: DateTime<Utc>) -> Reply {
    let reply = route(state, call, decline, now).unwrap_or_else(FluidpayRefusal::into_reply);
    let correlation = state.ids.fluidpay(now);
    reply.with_header(envelope::CORRELATION, correlation)
}

fn route(state: &mut State, call: &IncomingCall, decline: Option<u16>, now: DateTime<Utc>) -> FluidpayResult {
    authenticate(&call.authorization)?;
    if let Some(reason) = &call.malformed {
        return Err(FluidpayRefusal::bad(reason.clone()));
    }
    let segments = call.segments();
    match (&call.method, segments.as_slice()) {
        (&Method::POST, ["transaction"]) => one(charge::submit(state, &call.body, decline, now)?),
        (&Method::POST, ["transaction", "search"]) => {
            let (found, total) = search::search(&state.fluidpay.transactions, &call.body, now)?;
            list(&found, total)
        }
        (&Method::GET, ["transaction", id]) => {
            one(state.fluidpay.transactions.get(id).ok_or_else(|| FluidpayRefusal::missing("transaction"))?)
        }
        (&Method::POST, ["transaction", id, "capture"]) => one(settlement::capture(state, id, &call.body, now)?),
        (&Method::POST, ["transaction", id, "void"]) => one(settlement::void(state, id, now)?),
        (&Method::POST, ["transaction", id, "refund"]) => one(settlement::refund(state, id, &call.body, now)?),
        (_, ["customer", rest @ ..]) => old_customers::answer(state, call, rest, now),
        (_, ["vault", rest @ ..]) => vault::answer(state, call, rest, now),
        (_, ["recurring", rest @ ..]) => recurring_paths::answer(state, call, rest, now),
        (_, rest) => account::answer(call, rest),
    }
}

/// The header holds the bare key; `Bearer` before it is accepted too.
fn authenticate(header: &str) -> Result<(), FluidpayRefusal> {
    let key = header.strip_prefix("Bearer ").unwrap_or(header);
    if key == fixtures::FLUIDPAY_KEY { Ok(()) } else { Err(FluidpayRefusal::unauthorized()) }
}

/// What this call does, and which token, transaction, reference and amount it is about.
pub fn aim(state: &FluidpayState, call: &IncomingCall) -> (CallOperation, Target) {
    let mut target = Target { amount: call.body.integer("amount").ok().flatten(), ..Target::default() };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let segments = call.segments();
    let operation = match (&call.method, segments.as_slice()) {
        (&Method::POST, ["transaction"]) => {
            target.reference = call.body.get("order_id").and_then(text);
            target.token = call.body.get("payment_method").and_then(|method| text(&method["customer"]["id"]));
            match call.body.get("type").and_then(Value::as_str) {
                Some("sale") => CallOperation::Charge,
                Some("authorize") => CallOperation::Authorize,
                _ => CallOperation::Account,
            }
        }
        (&Method::POST, ["transaction", "search"]) => {
            target.reference = call.body.get("order_id").and_then(|test| text(&test["value"]));
            target.transaction_id = call.body.get("transaction_id").and_then(|test| text(&test["value"]));
            CallOperation::Lookup
        }
        (method, ["transaction", id, action @ ..]) => {
            target.transaction_id = Some((*id).to_owned());
            if let Some(transaction) = state.transactions.get(id) {
                target.reference = Some(transaction.particulars.order_id.clone());
                target.token = Some(transaction.customer_id.clone());
            }
            match (method, action) {
                (&Method::GET, []) => CallOperation::Lookup,
                (_, ["capture"]) => CallOperation::Capture,
                (_, ["void"]) => CallOperation::Void,
                (_, ["refund"]) => CallOperation::Refund,
                _ => CallOperation::Account,
            }
        }
        _ => CallOperation::Account,
    };
    (operation, target)
}
