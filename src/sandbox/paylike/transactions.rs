//! Paylike transactions: an authorization from an earlier one or a saved card, then captures, refunds and voids.

use chrono::{DateTime, Utc};

use super::{
    super::{
        State,
        body::Body,
        call::Gateway,
        fixtures,
        ids::{RawId, object_id, parse_object_id},
        ledger,
    },
    refusal::{Decline, Faults, Refusal},
    state::{Action, Line, Trail, Transaction},
};
use crate::domain::money::{Currency, MAX_AMOUNT_MINOR};

/// Reserves money on the card behind an earlier transaction. A declined attempt is kept too, and listed as unsuccessful.
pub fn create(
    state: &mut State,
    merchant_id: RawId,
    body: &Body,
    forced: Option<u16>,
    now: DateTime<Utc>,
) -> Result<RawId, Refusal> {
    let mut faults = Faults::default();
    let currency: Option<Currency> = faults.require("currency", body.text("currency")).parse().ok();
    if currency.is_none() && body.get("currency").is_some() {
        faults.add("currency", "must be a three letter ISO code");
    }
    let amount = faults.require("amount", body.integer("amount"));
    check_amount(&mut faults, amount, body);
    let custom = body.get("custom").cloned();
    if custom.as_ref().is_some_and(|custom| !custom.is_object()) {
        faults.add("custom", "must be an object");
    }
    let descriptor = faults.take("descriptor", body.text("descriptor")).map(str::to_owned);
    if state.scripts.knows_anyone() {
        let named = body.text("transactionId").ok().flatten().filter(|token| token.len() == 24).and_then(parse_object_id);
        if let Some(id) = named.filter(|id| !state.paylike.transactions.contains_key(id)) {
            super::make_prior(state, id, None, now);
        }
    }
    let prior = prior_transaction(state, merchant_id, body, &mut faults);
    faults.check()?;
    let (Some(currency), Some((token, prior_id))) = (currency, prior) else { return Err(Refusal::NotFound) };

    let books = &state.paylike;
    let (Some(merchant), Some(prior)) = (books.merchants.get(&merchant_id), books.transactions.get(&prior_id)) else {
        return Err(Refusal::NotFound);
    };
    let inherited = prior.decline;
    let (test, descriptor) = (merchant.test, descriptor.unwrap_or_else(|| merchant.descriptor.clone()));
    // A fault beats a script, a script beats a magic amount, a magic amount beats the card.
    let code = match forced.or_else(|| state.scripts.next(&token, amount, 7)) {
        Some(0) => None,
        Some(code) => Some(code),
        None => fixtures::paylike_magic(amount).or(inherited),
    };
    let transaction = Transaction {
        merchant: merchant_id,
        test,
        created: now,
        currency,
        amount,
        descriptor,
        captured: 0,
        refunded: 0,
        voided: 0,
        disputed: 0,
        custom,
        recurring: true,
        error: code.map(Decline::of),
        decline: inherited,
        trail: Vec::new(),
    };
    let id = state.ids.next(now);
    insert(state, id, transaction);
    code.map_or(Ok(id), |code| Err(Refusal::Declined(Decline::of(code))))
}

/// Files a transaction under its merchant.
pub fn insert(state: &mut State, id: RawId, transaction: Transaction) {
    if let Some(merchant) = state.paylike.merchants.get_mut(&transaction.merchant) {
        merchant.transactions.insert(id);
    }
    state.paylike.transactions.insert(id, transaction);
}

fn check_amount(faults: &mut Faults, amount: i64, body: &Body) {
    if matches!(body.integer("amount"), Ok(Some(_))) && !(1..=MAX_AMOUNT_MINOR).contains(&amount) {
        faults.add("amount", "must be positive and not too large");
    }
}

/// The token sent and the transaction behind it. `authorizationId` is another name for `transactionId`.
fn prior_transaction(state: &State, merchant: RawId, body: &Body, faults: &mut Faults) -> Option<(String, RawId)> {
    let books = &state.paylike;
    let field = ["transactionId", "authorizationId", "cardId"].into_iter().find(|field| body.get(field).is_some());
    let Some(field) = field else {
        faults.add("transactionId", "is required");
        return None;
    };
    let token = faults.require(field, body.text(field)).to_owned();
    let id = parse_object_id(&token).filter(|_| token.len() == 24);
    let prior = match field {
        "cardId" => id.and_then(|id| books.cards.get(&id)).map(|card| card.transaction),
        _ => id,
    };
    let owned = prior.filter(|prior| books.transactions.get(prior).is_some_and(|found| found.merchant == merchant));
    if owned.is_none() {
        faults.add(field, "is not known at this merchant");
    }
    Some((token, owned?))
}

/// Captures, refunds or voids a part of a transaction. All amounts are settled here, under the caller's lock.
pub fn act(state: &mut State, id: RawId, action: Action, body: &Body, now: DateTime<Utc>) -> Result<(), Refusal> {
    let mut faults = Faults::default();
    let amount = faults.require("amount", body.integer("amount"));
    check_amount(&mut faults, amount, body);
    let descriptor = faults.take("descriptor", body.text("descriptor")).map(str::to_owned);
    let expected = faults.take("currency", body.text("currency")).map(str::to_owned);
    let transaction = state.paylike.transactions.get_mut(&id).ok_or(Refusal::NotFound)?;
    if expected.is_some_and(|expected| action == Action::Capture && expected != transaction.currency.code()) {
        faults.add("currency", "is not the transaction's");
    }
    faults.check()?;
    let (left, nothing_left) = match action {
        Action::Capture => (transaction.pending(), "nothing is left to capture"),
        Action::Refund => (transaction.refundable(), "nothing is left to refund"),
        Action::Void => (transaction.pending(), "nothing is left to void"),
    };
    if left == 0 {
        return Err(Refusal::Conflict(nothing_left));
    }
    if amount > left {
        return Err(Refusal::field("amount", &format!("must be at most {left}")));
    }
    match action {
        Action::Capture => transaction.captured += amount,
        Action::Refund => transaction.refunded += amount,
        Action::Void => transaction.voided += amount,
    }
    let moved = match action {
        Action::Capture => Some(ledger::Kind::Capture),
        Action::Refund => Some(ledger::Kind::Refund),
        // Only a reservation is released.
        Action::Void => None,
    };
    let line_id = moved.map(|_| state.ids.next(now));
    transaction.trail.push(Trail { action, amount, created: now, descriptor, line: line_id });
    let (merchant, test) = (transaction.merchant, transaction.test);
    if let (Some(kind), Some(line_id)) = (moved, line_id) {
        state.ledger.record(ledger::Entry {
            gateway: Gateway::Paylike,
            kind,
            transaction_id: object_id(id),
            reference: transaction.reference(),
            amount,
            currency: transaction.currency,
            at: now,
        });
        state.paylike.lines.insert(line_id, Line { merchant, transaction: id, action, test, created: now, amount });
        if let Some(merchant) = state.paylike.merchants.get_mut(&merchant) {
            merchant.lines.insert(line_id);
        }
    }
    Ok(())
}

/// From now on so much is disputed; 0 ends it.
pub fn dispute(state: &mut State, id: &str, amount: i64, now: DateTime<Utc>) -> bool {
    let Some(id) = parse_object_id(id) else { return false };
    let Some(transaction) = state.paylike.transactions.get_mut(&id) else { return false };
    let more = amount - transaction.disputed;
    if amount < 0 || more > transaction.refundable() || more == 0 {
        return false;
    }
    transaction.disputed = amount;
    let entry = ledger::Entry {
        gateway: Gateway::Paylike,
        kind: if more > 0 { ledger::Kind::Dispute } else { ledger::Kind::DisputeWon },
        transaction_id: object_id(id),
        reference: transaction.reference(),
        amount: more.abs(),
        currency: transaction.currency,
        at: now,
    };
    state.ledger.record(entry);
    true
}
