//! The pretend FluidPay: its paths, its key, and what a fault can be aimed at.

mod account;
mod charge;
mod customers;
mod envelope;
mod instrument;
mod old_customers;
mod recurring;
mod search;
mod settlement;
mod transaction;
mod vault;

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Sandbox, State,
    call::{CallOperation, IncomingCall, Target},
    fixtures,
    reply::Reply,
};
use envelope::{FluidpayRefusal, FluidpayResult, list, one};

pub use instrument::{Behaviour, DECLINED_ROUTING, TEST_CARDS};
pub use settlement::dispute;
pub use transaction::RESPONSE_CODES;

/// Everything FluidPay knows.
#[derive(Debug, Default)]
pub struct FluidpayState {
    transactions: transaction::Transactions,
    customers: customers::Customers,
    recurring: recurring::Recurring,
}

impl FluidpayState {
    /// What is still reserved, oldest first.
    pub fn reserved(&self) -> Vec<(String, i64)> {
        let held = |transaction: &&transaction::FluidpayTransaction| {
            transaction.kind == transaction::TransactionKind::Authorize
                && transaction.status == transaction::TransactionStatus::Authorized
        };
        let all = self.transactions.all.iter().filter(held);
        all.map(|transaction| (transaction.particulars.order_id.clone(), transaction.amount_authorized)).collect()
    }

    pub fn settle_at_once(&mut self, at_once: bool) {
        self.transactions.settle_at_once = at_once;
    }

    pub fn settle(&mut self, now: DateTime<Utc>) -> usize {
        self.transactions.settle(now)
    }
}

/// Answers one call. `decline` is the code of a decline fault.
pub fn answer(sandbox: &Sandbox, call: &IncomingCall, decline: Option<u16>) -> Reply {
    let reply = route(sandbox, call, decline).unwrap_or_else(FluidpayRefusal::into_reply);
    let correlation = { sandbox.state().ids.fluidpay((sandbox.now)()) };
    reply.with_header(envelope::CORRELATION, correlation)
}

fn route(sandbox: &Sandbox, call: &IncomingCall, decline: Option<u16>) -> FluidpayResult {
    authenticate(&call.authorization)?;
    if let Some(reason) = &call.malformed {
        return Err(FluidpayRefusal::bad(reason.clone()));
    }
    let now = (sandbox.now)();
    let segments = call.segments();
    match (&call.method, segments.as_slice()) {
        (&Method::POST, ["transaction"]) => {
            let ask = call.body.read().map_err(FluidpayRefusal::bad)?;
            let transaction = charge::submit(&mut sandbox.state(), ask, decline, now)?;
            one(transaction)
        }
        (&Method::POST, ["transaction", "search"]) => {
            let (found, total) = search::search(&sandbox.state().fluidpay.transactions, &call.body, now)?;
            list(&found, total)
        }
        (&Method::GET, ["transaction", id]) => {
            let found = sandbox.state().fluidpay.transactions.get(id).cloned();
            one(found.ok_or_else(|| FluidpayRefusal::missing("transaction"))?)
        }
        (&Method::POST, ["transaction", id, "capture"]) => {
            let transaction = settlement::capture(&mut sandbox.state(), id, &call.body, now)?;
            one(transaction)
        }
        (&Method::POST, ["transaction", id, "void"]) => {
            let transaction = settlement::void(&mut sandbox.state(), id, now)?;
            one(transaction)
        }
        (&Method::POST, ["transaction", id, "refund"]) => {
            let transaction = settlement::refund(&mut sandbox.state(), id, &call.body, now)?;
            one(transaction)
        }
        (_, ["customer", rest @ ..]) => old_customers::answer(sandbox, call, rest),
        (_, ["vault", rest @ ..]) => vault::answer(sandbox, call, rest),
        (_, ["recurring", rest @ ..]) => recurring::answer(sandbox, call, rest),
        (_, rest) => account::answer(call, rest),
    }
}

/// The key stands in the header as it is; `Bearer` is accepted too.
fn authenticate(header: &str) -> Result<(), FluidpayRefusal> {
    let key = header.strip_prefix("Bearer ").unwrap_or(header);
    if key == fixtures::FLUIDPAY_KEY { Ok(()) } else { Err(FluidpayRefusal::unauthorized()) }
}

/// What this call does, to what.
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

/// Stores a customer under a chosen id with this card.
pub fn make_customer(state: &mut State, id: &str, card_number: &str, behaviour: Option<Behaviour>, now: DateTime<Utc>) {
    let Ok((by_number, face)) = instrument::CardBody::new(card_number, "12/99").read() else { return };
    let mut customer = customers::StoredCustomer::new(id.to_owned(), now);
    let instrument_id = state.ids.fluidpay(now);
    customer.add_instrument(instrument_id, (behaviour.unwrap_or(by_number), face), now);
    // A fixture that is there already stays as it is.
    let _ = state.fluidpay.customers.add(customer);
}

/// Stores `count` customers with this test card under new ids that begin with ten letters and digits of the prefix at most.
pub fn make_tokens(state: &mut State, count: usize, prefix: &str, card_number: &str, now: DateTime<Utc>) -> Vec<String> {
    let lower = prefix.to_ascii_lowercase();
    let prefix: String = lower.chars().filter(char::is_ascii_alphanumeric).take(10).collect();
    let ids = state.fluidpay.customers.new_ids(count, &prefix);
    for id in &ids {
        make_customer(state, id, card_number, None, now);
    }
    ids
}
