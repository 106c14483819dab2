//! The pretend Paylike: its paths at the root, its keys, and what a fault can be aimed at.

mod accounts;
mod link;
mod list;
mod refusal;
mod state;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Sandbox, State,
    call::{CallOperation, IncomingCall, Target},
    fixtures,
    ids::{RawId, object_id, parse_object_id},
    reply::Reply,
};
use crate::domain::money::Currency;
use list::{Window, lines};
use refusal::{InvalidFields, PaylikeRefusal};
use state::{Action, BalanceLine, Merchant, PaylikeTransaction, SavedCard, Trail};

pub use link::pay;
pub use refusal::CODES;
pub use state::PaylikeState;
pub use transactions::dispute;

/// Answers one call. `decline` is the code of a decline fault.
pub fn answer(sandbox: &Sandbox, call: &IncomingCall, decline: Option<u16>) -> Reply {
    route(sandbox, call, decline).unwrap_or_else(PaylikeRefusal::into_reply)
}

fn route(sandbox: &Sandbox, call: &IncomingCall, decline: Option<u16>) -> Result<Reply, PaylikeRefusal> {
    if let Some(reason) = &call.malformed {
        return Err(PaylikeRefusal::field("", reason));
    }
    let now = (sandbox.now)();
    let mut guard = sandbox.state();
    let state = &mut *guard;
    let segments = call.segments();
    if let (&Method::POST, ["apps"]) = (&call.method, segments.as_slice()) {
        return Ok(created(&accounts::create_app(state, &call.body, now)?));
    }
    let app_id = authenticate(&state.paylike, &call.authorization)?;
    match (&call.method, segments.as_slice()) {
        (&Method::GET, ["me"]) => {
            let app = state.paylike.apps.get(&app_id).ok_or(PaylikeRefusal::Unauthorized)?;
            Ok(shown(&json!({ "identity": app.show(&app_id) })))
        }
        (&Method::GET, ["identities", id, "merchants"]) => {
            if read_id(id)? != app_id {
                return Err(PaylikeRefusal::Forbidden);
            }
            let app = state.paylike.apps.get(&app_id).ok_or(PaylikeRefusal::Unauthorized)?;
            let show = |id: &RawId| state.paylike.merchants.get(id).map(|merchant| merchant.show(id));
            Ok(Window::read(&call.query)?.page(&app.merchants, show))
        }
        (&Method::POST, ["merchants"]) => Ok(created(&accounts::create_merchant(state, app_id, &call.body, now)?)),
        (_, ["merchants", id, rest @ ..]) => {
            let id = read_id(id)?;
            allowed(&state.paylike, app_id, id)?;
            of_merchant(state, call, id, rest, decline, now)
        }
        (method, ["transactions", id, rest @ ..]) => {
            let id = read_id(id)?;
            let transaction = state.paylike.transactions.get(&id).ok_or(PaylikeRefusal::NotFound)?;
            allowed(&state.paylike, app_id, transaction.merchant)?;
            let action = match (method, rest) {
                (&Method::GET, []) => return Ok(shown(&json!({ "transaction": transaction.show(&id) }))),
                (&Method::POST, ["captures"]) => Action::Capture,
                (&Method::POST, ["refunds"]) => Action::Refund,
                (&Method::POST, ["voids"]) => Action::Void,
                _ => return Err(PaylikeRefusal::NotFound),
            };
            transactions::act(state, id, action, &call.body, now)?;
            let transaction = state.paylike.transactions.get(&id).ok_or(PaylikeRefusal::NotFound)?;
            Ok(created(&json!({ "transaction": transaction.show(&id) })))
        }
        (&Method::GET, ["cards", id]) => {
            let id = read_id(id)?;
            let card = state.paylike.cards.get(&id).ok_or(PaylikeRefusal::NotFound)?;
            allowed(&state.paylike, app_id, card.merchant)?;
            Ok(shown(&json!({ "card": card.show(&id) })))
        }
        (&Method::GET, ["lines", id]) => {
            let id = read_id(id)?;
            let line = state.paylike.lines.get(&id).ok_or(PaylikeRefusal::NotFound)?;
            allowed(&state.paylike, app_id, line.merchant)?;
            Ok(shown(&line.show(&id)))
        }
        // Nobody disputes anything in the sandbox.
        (&Method::GET, ["disputes" | "frauds"]) => {
            let window = Window::read(&call.query)?;
            let merchant =
                window.filter("merchantId").ok_or_else(|| PaylikeRefusal::field("filter.merchantId", "is required"))?;
            allowed(&state.paylike, app_id, read_id(merchant)?)?;
            Ok(lines(&[]))
        }
        _ => Err(PaylikeRefusal::NotFound),
    }
}

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
        (&Method::PUT, []) => {
            accounts::update_merchant(merchant, &call.body)?;
            Ok(Reply::no_content())
        }
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
        (&Method::POST, ["apps"]) => {
            let mut invalid = InvalidFields::default();
            let app = invalid.require("appId", call.body.text("appId")).to_owned();
            invalid.check()?;
            let app = read_id(&app).ok().filter(|app| state.paylike.apps.contains_key(app));
            accounts::link(state, app.ok_or_else(|| PaylikeRefusal::field("appId", "is not known"))?, id);
            Ok(created(&json!({})))
        }
        (&Method::DELETE, ["apps", app]) => {
            accounts::unlink(state, read_id(app)?, id)?;
            Ok(Reply::no_content())
        }
        (&Method::GET, ["users"]) => {
            let show = |id: &RawId| merchant.users.get(id).map(|email| json!({ "id": object_id(*id), "email": email }));
            Ok(Window::read(&call.query)?.page(&merchant.user_ids, show))
        }
        (&Method::POST, ["users"]) => Ok(created(&accounts::add_user(state, id, &call.body, now)?)),
        (&Method::DELETE, ["users", user]) => {
            accounts::remove_user(merchant, read_id(user)?)?;
            Ok(Reply::no_content())
        }
        (&Method::POST, ["cards"]) => save_card(state, id, call, now),
        _ => Err(PaylikeRefusal::NotFound),
    }
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

/// What this call does, to what.
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

/// Installs the app, the two test merchants and their earlier transactions.
pub fn install(state: &mut State, now: DateTime<Utc>) {
    let id = |text: &str| parse_object_id(text).unwrap_or_default();
    let app = id(fixtures::PAYLIKE_APP);
    accounts::add_app(state, app, fixtures::PAYLIKE_KEY.to_owned(), Some("Sandbox".to_owned()), now);
    for (text, name) in [(fixtures::PAYLIKE_MERCHANT, "Sandbox"), (fixtures::PAYLIKE_OTHER_MERCHANT, "Other sandbox")] {
        let merchant = Merchant {
            name: Some(name.to_owned()),
            currency: "DKK".parse().unwrap_or(Currency::USD),
            test: true,
            email: "merchant@example.com".to_owned(),
            website: "https://example.com".to_owned(),
            descriptor: name.to_owned(),
            company: json!({ "country": "DK" }),
            bank: json!({}),
            created: now,
            apps: BTreeSet::new(),
            users: BTreeMap::new(),
            user_ids: BTreeSet::new(),
            transactions: BTreeSet::new(),
            lines: BTreeSet::new(),
        };
        state.paylike.merchants.insert(id(text), merchant);
        accounts::link(state, app, id(text));
    }
    make_prior(state, id(fixtures::PAYLIKE_TRANSACTION), None, now);
    for (code, _, _) in CODES {
        make_prior(state, id(&fixtures::paylike_prior(code)), Some(code), now);
    }
}

/// A first payment the customer made by hand, captured long ago: a token for later ones. It is no entry in the ledger.
fn make_prior(state: &mut State, id: RawId, decline: Option<u16>, now: DateTime<Utc>) {
    const AMOUNT: i64 = 100;
    let merchant = parse_object_id(fixtures::PAYLIKE_MERCHANT).unwrap_or_default();
    let line = state.ids.next(now);
    let trail = Trail { action: Action::Capture, amount: AMOUNT, created: now, descriptor: None, line: Some(line) };
    let transaction = PaylikeTransaction {
        merchant,
        test: true,
        created: now,
        currency: "EUR".parse().unwrap_or(Currency::USD),
        amount: AMOUNT,
        descriptor: "Sandbox".to_owned(),
        captured: AMOUNT,
        refunded: 0,
        voided: 0,
        disputed: 0,
        custom: None,
        recurring: false,
        error: None,
        decline,
        trail: vec![trail],
    };
    transactions::insert(state, id, transaction);
    let entry = BalanceLine { merchant, transaction: id, action: Action::Capture, test: true, created: now, amount: AMOUNT };
    state.paylike.lines.insert(line, entry);
    if let Some(merchant) = state.paylike.merchants.get_mut(&merchant) {
        merchant.lines.insert(line);
    }
}

/// Stores `count` earlier transactions of the fixture merchant that can be charged again.
pub fn make_tokens(state: &mut State, count: usize, now: DateTime<Utc>) -> Vec<String> {
    (0..count)
        .map(|_| {
            let id = state.ids.next(now);
            make_prior(state, id, None, now);
            object_id(id)
        })
        .collect()
}
