//! Paylike transactions: an authorization from an earlier one or a saved card, then captures, refunds and voids.

use chrono::{DateTime, Utc};

use super::{
    super::{
        body::WireBody,
        call::SandboxGateway,
        fixtures,
        ids::{RawId, object_id, parse_object_id},
        ledger::{LedgerEntry, Movement},
        state::State,
    },
    refusal::{InvalidFields, PaylikeRefusal, ProcessingError},
    state::{Action, BalanceLine, PaylikeTransaction, Trail},
};
use crate::domain::money::{Currency, MAX_AMOUNT_MINOR};

/// Authorizes money on the card of an earlier transaction. A declined attempt is stored too, and listed as unsuccessful.
pub fn create(
    state: &mut State,
    merchant_id: RawId,
    body: &WireBody,
    forced: Option<u16>,
    now: DateTime<Utc>,
) -> Result<RawId, PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let currency: Option<Currency> = invalid.require("currency", body.text("currency")).parse().ok();
    if currency.is_none() && body.get("currency").is_some() {
        invalid.add("currency", "must be a three letter ISO code");
    }
    let amount = invalid.require("amount", body.integer("amount"));
    check_amount(&mut invalid, amount, body);
    let custom = body.get("custom").cloned();
    if custom.as_ref().is_some_and(|custom| !custom.is_object()) {
        invalid.add("custom", "must be an object");
    }
    let descriptor = invalid.take("descriptor", body.text("descriptor")).map(str::to_owned);
    if state.scripts.knows_anyone() {
        let named = body.text("transactionId").ok().flatten().filter(|token| token.len() == 24).and_then(parse_object_id);
        if let Some(id) = named.filter(|id| !state.paylike.transactions.contains_key(id)) {
            make_prior(state, id, None, now);
        }
    }
    let prior = prior_transaction(state, merchant_id, body, &mut invalid);
    invalid.check()?;
    let (Some(currency), Some((token, prior_id))) = (currency, prior) else { return Err(PaylikeRefusal::NotFound) };

    let paylike = &state.paylike;
    let (Some(merchant), Some(prior)) = (paylike.merchants.get(&merchant_id), paylike.transactions.get(&prior_id)) else {
        return Err(PaylikeRefusal::NotFound);
    };
    let inherited = prior.decline;
    let (test, descriptor) = (merchant.test, descriptor.unwrap_or_else(|| merchant.descriptor.clone()));
    // A decline fault wins over a script, a script over a declined amount, a declined amount over the card.
    let code = match forced.or_else(|| state.scripts.next(&token, amount, 7)) {
        Some(0) => None,
        Some(code) => Some(code),
        None => fixtures::paylike_magic(amount).or(inherited),
    };
    let transaction = PaylikeTransaction {
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
        error: code.map(ProcessingError::of),
        decline: inherited,
        trail: Vec::new(),
    };
    let id = state.ids.next(now);
    insert(state, id, transaction);
    code.map_or(Ok(id), |code| Err(PaylikeRefusal::Declined(ProcessingError::of(code))))
}

/// Stores a transaction and lists it at its merchant.
pub fn insert(state: &mut State, id: RawId, transaction: PaylikeTransaction) {
    if let Some(merchant) = state.paylike.merchants.get_mut(&transaction.merchant) {
        merchant.transactions.insert(id);
    }
    state.paylike.transactions.insert(id, transaction);
}

/// Stores a first payment, made by hand and captured, as a token for later ones.
/// It is not in the ledger: the daemon did not ask for it.
pub fn make_prior(state: &mut State, id: RawId, decline: Option<u16>, now: DateTime<Utc>) {
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
    insert(state, id, transaction);
    let entry = BalanceLine { merchant, transaction: id, action: Action::Capture, test: true, created: now, amount: AMOUNT };
    state.paylike.lines.insert(line, entry);
    if let Some(merchant) = state.paylike.merchants.get_mut(&merchant) {
        merchant.lines.insert(line);
    }
}

fn check_amount(invalid: &mut InvalidFields, amount: i64, body: &WireBody) {
    if matches!(body.integer("amount"), Ok(Some(_))) && !(1..=MAX_AMOUNT_MINOR).contains(&amount) {
        invalid.add("amount", "must be positive and not too large");
    }
}

/// The token that was sent, and the transaction that it names. `authorizationId` is another name for `transactionId`.
fn prior_transaction(state: &State, merchant: RawId, body: &WireBody, invalid: &mut InvalidFields) -> Option<(String, RawId)> {
    let paylike = &state.paylike;
    let field = ["transactionId", "authorizationId", "cardId"].into_iter().find(|field| body.get(field).is_some());
    let Some(field) = field else {
        invalid.add("transactionId", "is required");
        return None;
    };
    let token = invalid.require(field, body.text(field)).to_owned();
    let id = parse_object_id(&token).filter(|_| token.len() == 24);
    let prior = match field {
        "cardId" => id.and_then(|id| paylike.cards.get(&id)).map(|card| card.transaction),
        _ => id,
    };
    let owned = prior.filter(|prior| paylike.transactions.get(prior).is_some_and(|found| found.merchant == merchant));
    if owned.is_none() {
        invalid.add(field, "is not known at this merchant");
    }
    Some((token, owned?))
}

/// Captures, refunds or voids an amount of a transaction.
pub fn act(state: &mut State, id: RawId, action: Action, body: &WireBody, now: DateTime<Utc>) -> Result<(), PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let amount = invalid.require("amount", body.integer("amount"));
    check_amount(&mut invalid, amount, body);
    let descriptor = invalid.take("descriptor", body.text("descriptor")).map(str::to_owned);
    let expected = invalid.take("currency", body.text("currency")).map(str::to_owned);
    let transaction = state.paylike.transactions.get_mut(&id).ok_or(PaylikeRefusal::NotFound)?;
    if expected.is_some_and(|expected| action == Action::Capture && expected != transaction.currency.code()) {
        invalid.add("currency", "is not the transaction's");
    }
    invalid.check()?;
    let (left, nothing_left) = match action {
        Action::Capture => (transaction.pending(), "nothing is left to capture"),
        Action::Refund => (transaction.refundable(), "nothing is left to refund"),
        Action::Void => (transaction.pending(), "nothing is left to void"),
    };
    if left == 0 {
        return Err(PaylikeRefusal::Conflict(nothing_left));
    }
    if amount > left {
        return Err(PaylikeRefusal::field("amount", &format!("must be at most {left}")));
    }
    match action {
        Action::Capture => transaction.captured += amount,
        Action::Refund => transaction.refunded += amount,
        Action::Void => transaction.voided += amount,
    }
    let moved = match action {
        Action::Capture => Some(Movement::Capture),
        Action::Refund => Some(Movement::Refund),
        // A void moves no money: it only ends an authorization.
        Action::Void => None,
    };
    let line_id = moved.map(|_| state.ids.next(now));
    transaction.trail.push(Trail { action, amount, created: now, descriptor, line: line_id });
    let (merchant, test) = (transaction.merchant, transaction.test);
    if let (Some(kind), Some(line_id)) = (moved, line_id) {
        state.ledger.record(LedgerEntry {
            gateway: SandboxGateway::Paylike,
            kind,
            transaction_id: object_id(id),
            reference: transaction.reference(),
            amount,
            currency: transaction.currency,
            at: now,
        });
        state.paylike.lines.insert(line_id, BalanceLine { merchant, transaction: id, action, test, created: now, amount });
        if let Some(merchant) = state.paylike.merchants.get_mut(&merchant) {
            merchant.lines.insert(line_id);
        }
    }
    Ok(())
}

/// Disputes this amount of a transaction; 0 ends the dispute. False if it has not so much that can be disputed.
pub fn dispute(state: &mut State, id: &str, amount: i64, now: DateTime<Utc>) -> bool {
    let Some(id) = parse_object_id(id) else { return false };
    let Some(transaction) = state.paylike.transactions.get_mut(&id) else { return false };
    let more = amount - transaction.disputed;
    if amount < 0 || more > transaction.refundable() || more == 0 {
        return false;
    }
    transaction.disputed = amount;
    let entry = LedgerEntry {
        gateway: SandboxGateway::Paylike,
        kind: if more > 0 { Movement::Dispute } else { Movement::DisputeWon },
        transaction_id: object_id(id),
        reference: transaction.reference(),
        amount: more.abs(),
        currency: transaction.currency,
        at: now,
    };
    state.ledger.record(entry);
    true
}
