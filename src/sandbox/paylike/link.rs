//! The customer at Paylike's payment page, played by a switch: opens a payment link and authorizes its amount.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    super::{body::WireBody, ids::object_id, state::State},
    refusal::ProcessingError,
    state::PaylikeTransaction,
    transactions,
};
use crate::domain::money::{Currency, MAX_AMOUNT_MINOR};

/// Authorizes the amount of a payment link and returns the transaction's id, or says why the page would refuse. Captures nothing.
pub fn pay(state: &mut State, link: &str, decline: Option<u16>, now: DateTime<Utc>) -> Result<String, String> {
    let query = link.strip_prefix("https://pos.paylike.io/?").ok_or("this is no payment link")?;
    let query = WireBody::form(query.as_bytes());
    let text = |field: &str| query.text(field).ok().flatten().unwrap_or_default().to_owned();
    let key = text("key");
    let merchant = state.paylike.merchants.iter().find(|(id, merchant)| merchant.show(id)["key"] == json!(key));
    let (id, merchant) = merchant.ok_or("no merchant has this public key")?;
    let (id, test, descriptor) = (*id, merchant.test, merchant.descriptor.clone());
    if test != (text("test") == "1") {
        return Err("`test` must be set for test accounts, and for no others".to_owned());
    }
    let currency: Currency = text("currency").parse().map_err(|_| "the currency is not valid".to_owned())?;
    let amount = currency.minor(&text("value")).filter(|amount| (1..=MAX_AMOUNT_MINOR).contains(amount));
    let transaction = PaylikeTransaction {
        merchant: id,
        test,
        created: now,
        currency,
        amount: amount.ok_or("the value is not valid")?,
        descriptor,
        captured: 0,
        refunded: 0,
        voided: 0,
        disputed: 0,
        custom: Some(json!({ "reference": text("reference") })),
        recurring: text("recurring") == "y",
        error: decline.map(ProcessingError::of),
        decline: None,
        trail: Vec::new(),
    };
    let made = state.ids.next(now);
    transactions::insert(state, made, transaction);
    Ok(object_id(made))
}
