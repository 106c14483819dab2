//! Customers that are stored without a call to a customer path: fixtures, tokens in bulk, and the vault record of a charge.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{fixtures, state::State},
    customers::StoredCustomer,
    instrument::{Behaviour, CardBody, DECLINED_ROUTING, Face, TEST_CARDS},
    transaction::RESPONSE_CODES,
};

/// Token ids are 20 characters: a word and zeros.
fn token(word: &str) -> String {
    format!("{word:0<20}")
}

fn declines() -> impl Iterator<Item = (u16, &'static str, String)> {
    let declines = RESPONSE_CODES.into_iter().filter(|(code, _)| *code >= 200);
    declines.map(|(code, text)| (code, text, token(&format!("decline{code}"))))
}

/// Stores a customer for each outcome that a charge can have.
pub fn install(state: &mut State, now: DateTime<Utc>) {
    let mut customer = |word: &str, behaviour| {
        make_customer(state, &token(word), fixtures::APPROVED_CARD, Some(behaviour), now);
    };
    customer("approve", Behaviour::Approve);
    customer("partial110", Behaviour::Partial);
    customer("refunddeclines", Behaviour::RefuseRefunds);
    for (code, _, _) in declines() {
        customer(&format!("decline{code}"), Behaviour::Decline(code));
    }
}

/// What `/_sandbox/fixtures` says about FluidPay.
pub fn describe() -> Value {
    let mut tokens = vec![
        json!({ "token": token("approve"), "does": "approved" }),
        json!({ "token": token("partial110"), "does": "half is approved, response code 110" }),
        json!({ "token": token("refunddeclines"), "does": "approved, refunds are declined" }),
    ];
    tokens.extend(declines().map(|(code, text, token)| json!({ "token": token, "does": text, "response_code": code })));
    let cards: Vec<Value> =
        TEST_CARDS.iter().map(|(number, does)| json!({ "number": number, "does": format!("{does:?}") })).collect();
    let (from, to) = fixtures::FLUIDPAY_DECLINED.into_inner();
    json!({
        "base_path": "/api",
        "api_key": fixtures::FLUIDPAY_KEY,
        "merchant_id": fixtures::FLUIDPAY_MERCHANT,
        "terminal_id": fixtures::FLUIDPAY_TERMINAL,
        "tokens": tokens,
        "cards": cards,
        "declined_routing_number": DECLINED_ROUTING,
        "magic_amounts": { "from": from, "to": to, "does": "declined with the last three digits" },
    })
}

/// Stores a customer under a chosen id with this card.
fn make_customer(state: &mut State, id: &str, card_number: &str, behaviour: Option<Behaviour>, now: DateTime<Utc>) {
    let Ok((by_number, face)) = CardBody::new(card_number, "12/99").read() else { return };
    let mut customer = StoredCustomer::new(id.to_owned(), now);
    let instrument_id = state.ids.fluidpay(now);
    customer.add_instrument(instrument_id, (behaviour.unwrap_or(by_number), face), now);
    // A customer of this id that exists already stays as it is.
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

/// Stores a customer with this one payment method and returns its id.
pub fn store(state: &mut State, behaviour: Behaviour, face: Face, now: DateTime<Utc>) -> String {
    let (id, instrument_id) = (state.ids.fluidpay(now), state.ids.fluidpay(now));
    let mut customer = StoredCustomer::new(id.clone(), now);
    customer.add_instrument(instrument_id, (behaviour, face), now);
    // A fresh id is never taken.
    let _ = state.fluidpay.customers.add(customer);
    id
}
