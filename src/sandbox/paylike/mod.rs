//! The pretend Paylike: its paths at the root, its keys, and what a call is about, so that faults can be limited to it.

mod accounts;
mod link;
mod list;
mod refusal;
pub(super) mod state;
mod tokens;
mod transactions;

use axum::http::{Method, StatusCode};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    body::WireBody,
    call::{CallOperation, IncomingCall, Target},
    ids::{RawId, object_id, parse_object_id},
    reply::Reply,
    state::State,
};
use list::{Window, lines};
use refusal::{InvalidFields, PaylikeRefusal};
use state::{Action, PaylikeState, PaylikeTransaction, SavedCard};

pub use link::pay;
pub use tokens::{describe, install, make_tokens};
pub use transactions::dispute;

/// Answers one call. `decline` is the code of a decline fault.
pub fn answer(state: &mut State, call: &IncomingCall, decline: Option<u16>, now: DateTime<Utc>) -> Reply {
    route(state, call, decline, now).unwrap_or_else(PaylikeRefusal::into_reply)
}

fn route(state: &mut State, call: &IncomingCall, decline: Option<u16>, now: DateTime<Utc>) -> Result<Reply, PaylikeRefusal> {
    if let Some(reason) = &call.malformed {
        return Err(PaylikeRefusal::field("", reason));
    }
    let segments = call.segments();
    let path = segments.as_slice();
    if let (&Method::POST, ["apps"]) = (&call.method, path) {
        // The only call without a key: it makes the key.
        return Ok(created(&accounts::create_app(state, &call.body, now)?));
    }
    let app = authenticate(&state.paylike, &call.authorization)?;
    match (&call.method, path) {
        (&Method::GET, ["me"]) => identity(&state.paylike, app),
        (&Method::GET, ["identities", id, "merchants"]) => merchants_of(&state.paylike, app, id, &call.query),
        (&Method::POST, ["merchants"]) => Ok(created(&accounts::create_merchant(state, app, &call.body, now)?)),
        (_, ["merchants", id, rest @ ..]) => {
            let id = read_id(id)?;
            allowed(&state.paylike, app, id)?;
            of_merchant(state, call, id, rest, decline, now)
        }
        (_, ["transactions", id, rest @ ..]) => {
            let id = read_id(id)?;
            let transaction = state.paylike.transactions.get(&id).ok_or(PaylikeRefusal::NotFound)?;
            allowed(&state.paylike, app, transaction.merchant)?;
            of_transaction(state, call, id, rest, now)
        }
        (&Method::GET, ["cards", id]) => card(&state.paylike, app, id),
        (&Method::GET, ["lines", id]) => line(&state.paylike, app, id),
        (&Method::GET, ["disputes" | "frauds"]) => no_disputes(&state.paylike, app, &call.query),
        _ => Err(PaylikeRefusal::NotFound),
    }
}

/// The paths below a merchant that the app may use.
fn of_merchant(
    state: &mut State,
    call: &IncomingCall,
    id: RawId,
    rest: &[&str],
    decline: Option<u16>,
    now: DateTime<Utc>,
) -> Result<Reply, PaylikeRefusal> {
    let merchant = state.paylike.merchants.get_mut(&id).ok_or(PaylikeRefusal::NotFound)?;
    match (&call.method, rest) {
        (&Method::GET, []) => Ok(shown(&json!({ "merchant": merchant.show(&id) }))),
        (&Method::PUT, []) => accounts::update_merchant(merchant, &call.body).map(|()| Reply::no_content()),
        (&Method::POST, ["transactions"]) => {
            let made = transactions::create(state, id, &call.body, decline, now)?;
            Ok(created(&json!({ "transaction": { "id": object_id(made) } })))
        }
        (&Method::GET, ["transactions"]) => {
            let show = |id: &RawId| state.paylike.transactions.get(id).map(|found| found.show(id));
            Ok(Window::read(&call.query)?.page(&state.paylike.merchants[&id].transactions, show))
        }
        (&Method::GET, ["lines"]) => {
            let show = |id: &RawId| state.paylike.lines.get(id).map(|line| line.show(id));
            Ok(Window::read(&call.query)?.page(&state.paylike.merchants[&id].lines, show))
        }
        (&Method::GET, ["apps"]) => {
            let show = |id: &RawId| state.paylike.apps.get(id).map(|app| app.show(id));
            Ok(Window::read(&call.query)?.page(&state.paylike.merchants[&id].apps, show))
        }
        (&Method::POST, ["apps"]) => add_app(state, id, call),
        (&Method::DELETE, ["apps", app]) => accounts::unlink(state, read_id(app)?, id).map(|()| Reply::no_content()),
        (&Method::GET, ["users"]) => {
            let show = |id: &RawId| merchant.users.get(id).map(|email| json!({ "id": object_id(*id), "email": email }));
            Ok(Window::read(&call.query)?.page(&merchant.user_ids, show))
        }
        (&Method::POST, ["users"]) => Ok(created(&accounts::add_user(state, id, &call.body, now)?)),
        (&Method::DELETE, ["users", user]) => accounts::remove_user(merchant, read_id(user)?).map(|()| Reply::no_content()),
        (&Method::POST, ["cards"]) => save_card(state, id, call, now),
        _ => Err(PaylikeRefusal::NotFound),
    }
}

/// The paths below a transaction of a merchant that the app may use.
fn of_transaction(
    state: &mut State,
    call: &IncomingCall,
    id: RawId,
    rest: &[&str],
    now: DateTime<Utc>,
) -> Result<Reply, PaylikeRefusal> {
    let action = match (&call.method, rest) {
        (&Method::GET, []) => return show_transaction(&state.paylike, id).map(|body| shown(&body)),
        (&Method::POST, ["captures"]) => Action::Capture,
        (&Method::POST, ["refunds"]) => Action::Refund,
        (&Method::POST, ["voids"]) => Action::Void,
        _ => return Err(PaylikeRefusal::NotFound),
    };
    transactions::act(state, id, action, &call.body, now)?;
    show_transaction(&state.paylike, id).map(|body| created(&body))
}

fn show_transaction(paylike: &PaylikeState, id: RawId) -> Result<Value, PaylikeRefusal> {
    let transaction = paylike.transactions.get(&id).ok_or(PaylikeRefusal::NotFound)?;
    Ok(json!({ "transaction": transaction.show(&id) }))
}

fn identity(paylike: &PaylikeState, app: RawId) -> Result<Reply, PaylikeRefusal> {
    let found = paylike.apps.get(&app).ok_or(PaylikeRefusal::Unauthorized)?;
    Ok(shown(&json!({ "identity": found.show(&app) })))
}

fn merchants_of(paylike: &PaylikeState, app: RawId, id: &str, query: &WireBody) -> Result<Reply, PaylikeRefusal> {
    if read_id(id)? != app {
        return Err(PaylikeRefusal::Forbidden);
    }
    let app = paylike.apps.get(&app).ok_or(PaylikeRefusal::Unauthorized)?;
    let show = |id: &RawId| paylike.merchants.get(id).map(|merchant| merchant.show(id));
    Ok(Window::read(query)?.page(&app.merchants, show))
}

fn card(paylike: &PaylikeState, app: RawId, id: &str) -> Result<Reply, PaylikeRefusal> {
    let id = read_id(id)?;
    let card = paylike.cards.get(&id).ok_or(PaylikeRefusal::NotFound)?;
    allowed(paylike, app, card.merchant)?;
    Ok(shown(&json!({ "card": card.show(&id) })))
}

fn line(paylike: &PaylikeState, app: RawId, id: &str) -> Result<Reply, PaylikeRefusal> {
    let id = read_id(id)?;
    let line = paylike.lines.get(&id).ok_or(PaylikeRefusal::NotFound)?;
    allowed(paylike, app, line.merchant)?;
    Ok(shown(&line.show(&id)))
}

/// An empty list: a dispute shows in the transaction's `disputedAmount` only.
fn no_disputes(paylike: &PaylikeState, app: RawId, query: &WireBody) -> Result<Reply, PaylikeRefusal> {
    let window = Window::read(query)?;
    let merchant = window.filter("merchantId").ok_or_else(|| PaylikeRefusal::field("filter.merchantId", "is required"))?;
    allowed(paylike, app, read_id(merchant)?)?;
    Ok(lines(&[]))
}

fn add_app(state: &mut State, merchant: RawId, call: &IncomingCall) -> Result<Reply, PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let app = invalid.require("appId", call.body.text("appId")).to_owned();
    invalid.check()?;
    let app = read_id(&app).ok().filter(|app| state.paylike.apps.contains_key(app));
    accounts::link(state, app.ok_or_else(|| PaylikeRefusal::field("appId", "is not known"))?, merchant);
    Ok(created(&json!({})))
}

fn save_card(state: &mut State, merchant: RawId, call: &IncomingCall, now: DateTime<Utc>) -> Result<Reply, PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let token = invalid.require("transactionId", call.body.text("transactionId"));
    let notes = invalid.take("notes", call.body.text("notes")).map(str::to_owned);
    let transaction = parse_object_id(token)
        .filter(|id| state.paylike.transactions.get(id).is_some_and(|transaction| transaction.merchant == merchant));
    if !token.is_empty() && transaction.is_none() {
        invalid.add("transactionId", "is not known at this merchant");
    }
    invalid.check()?;
    let id = state.ids.next(now);
    let transaction = transaction.ok_or(PaylikeRefusal::NotFound)?;
    state.paylike.cards.insert(id, SavedCard { merchant, transaction, notes });
    Ok(created(&json!({ "card": { "id": object_id(id) } })))
}

fn shown(body: &Value) -> Reply {
    Reply::json(StatusCode::OK, body)
}

fn created(body: &Value) -> Reply {
    Reply::json(StatusCode::CREATED, body)
}

fn read_id(text: &str) -> Result<RawId, PaylikeRefusal> {
    parse_object_id(text).filter(|_| text.len() == 24).ok_or(PaylikeRefusal::NotFound)
}

/// Basic authentication with an empty user; the key is the password.
fn authenticate(paylike: &PaylikeState, header: &str) -> Result<RawId, PaylikeRefusal> {
    let credentials = header.strip_prefix("Basic ").and_then(|encoded| BASE64_STANDARD.decode(encoded.trim()).ok());
    let credentials = credentials.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(PaylikeRefusal::Unauthorized)?;
    let key = credentials.strip_prefix(':').ok_or(PaylikeRefusal::Unauthorized)?;
    paylike.keys.get(key).copied().ok_or(PaylikeRefusal::Unauthorized)
}

fn allowed(paylike: &PaylikeState, app: RawId, merchant: RawId) -> Result<(), PaylikeRefusal> {
    let merchant = paylike.merchants.get(&merchant).ok_or(PaylikeRefusal::NotFound)?;
    if merchant.apps.contains(&app) { Ok(()) } else { Err(PaylikeRefusal::Forbidden) }
}

/// What this call does, and which token, transaction, reference and amount it is about.
pub fn aim(paylike: &PaylikeState, call: &IncomingCall) -> (CallOperation, Target) {
    let mut target = Target { amount: call.body.integer("amount").ok().flatten(), ..Target::default() };
    let segments = call.segments();
    let operation = match (&call.method, segments.as_slice()) {
        (&Method::POST, ["merchants", _, "transactions"]) => {
            let token = ["transactionId", "authorizationId", "cardId"].into_iter().find_map(|field| call.body.get(field));
            target.token = token.and_then(Value::as_str).map(str::to_owned);
            target.reference = call.body.nested("custom").text("reference").ok().flatten().map(str::to_owned);
            CallOperation::Authorize
        }
        (&Method::GET, ["merchants", _, "transactions"]) => CallOperation::Lookup,
        (method, ["transactions", id, action @ ..]) => {
            target.transaction_id = Some((*id).to_owned());
            let known = parse_object_id(id).and_then(|id| paylike.transactions.get(&id));
            target.reference = known.map(PaylikeTransaction::reference);
            match (method, action) {
                (&Method::GET, []) => CallOperation::Lookup,
                (_, ["captures"]) => CallOperation::Capture,
                (_, ["refunds"]) => CallOperation::Refund,
                (_, ["voids"]) => CallOperation::Void,
                _ => CallOperation::Account,
            }
        }
        _ => CallOperation::Account,
    };
    (operation, target)
}
