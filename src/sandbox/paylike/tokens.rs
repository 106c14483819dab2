//! What exists at Paylike from the start: an app, two merchants, and earlier transactions that can be charged again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{
        fixtures,
        ids::{object_id, parse_object_id},
        state::State,
    },
    accounts,
    refusal::CODES,
    state::Merchant,
    transactions,
};
use crate::domain::money::Currency;

/// Stores the app, the two test merchants and their earlier transactions.
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
    transactions::make_prior(state, id(fixtures::PAYLIKE_TRANSACTION), None, now);
    for (code, _, _) in CODES {
        transactions::make_prior(state, id(&fixtures::paylike_prior(code)), Some(code), now);
    }
}

/// What `/_sandbox/fixtures` says about Paylike.
pub fn describe() -> Value {
    let mut priors = vec![json!({ "transaction_id": fixtures::PAYLIKE_TRANSACTION, "does": "approved" })];
    priors.extend(
        CODES
            .iter()
            .map(|(code, text, _)| json!({ "transaction_id": fixtures::paylike_prior(*code), "does": text, "code": code })),
    );
    let (from, to) = fixtures::PAYLIKE_DECLINED.into_inner();
    json!({
        "base_path": "/",
        "api_key": fixtures::PAYLIKE_KEY,
        "app_id": fixtures::PAYLIKE_APP,
        "merchant_id": fixtures::PAYLIKE_MERCHANT,
        "other_merchant_id": fixtures::PAYLIKE_OTHER_MERCHANT,
        "prior_transactions": priors,
        "pay": "POST /_sandbox/paylike/pay {link, decline?} plays the customer who opens a payment link",
        "magic_amounts": { "from": from, "to": to, "does": "declined with the last two digits" },
    })
}

/// Stores `count` earlier transactions of the fixture merchant that can be charged again.
pub fn make_tokens(state: &mut State, count: usize, now: DateTime<Utc>) -> Vec<String> {
    (0..count)
        .map(|_| {
            let id = state.ids.next(now);
            transactions::make_prior(state, id, None, now);
            object_id(id)
        })
        .collect()
}
