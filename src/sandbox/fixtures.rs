//! What exists from the start: keys, tokens for every outcome, magic amounts. `/_sandbox/fixtures` shows it all.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{State, fluidpay, paylike};

pub const FLUIDPAY_KEY: &str = "api_sandboxkey0000000000000";
pub const FLUIDPAY_MERCHANT: &str = "aucio551tlv85l7moe5g";
pub const FLUIDPAY_TERMINAL: &str = "1ucio551tlv85l7moe5s";
pub const APPROVED_CARD: &str = "4111111111111111";

/// The fixed key and ids that the node client's own test suite uses.
pub const PAYLIKE_KEY: &str = "4ff7de37-dddf-4e51-8cc9-48b61a102923";
pub const PAYLIKE_APP: &str = "555eca95ed59804d2cf12b11";
pub const PAYLIKE_MERCHANT: &str = "55006bdfe0308c4cbfdbd0e1";
pub const PAYLIKE_OTHER_MERCHANT: &str = "55006bdfe0308c4cbfdbd0e2";
pub const PAYLIKE_TRANSACTION: &str = "560fd96b7973ff3d2362a78c";

pub const PAYSLEY_KEY: &str = "py_test_sandboxkey000000000";

const FLUIDPAY_MAGIC: i64 = 2_000_000;
const PAYLIKE_MAGIC: i64 = 3_000_000;

/// A FluidPay amount from 20,002.00 to 20,004.99 is declined with its last three digits.
pub fn fluidpay_magic(amount: i64) -> Option<u16> {
    let code = amount - FLUIDPAY_MAGIC;
    (200..=499).contains(&code).then_some(code as u16)
}

/// A Paylike amount from 3000001 to 3000031 is declined with its last two digits.
pub fn paylike_magic(amount: i64) -> Option<u16> {
    let code = amount - PAYLIKE_MAGIC;
    (1..=31).contains(&code).then_some(code as u16)
}

/// The earlier transaction whose card is declined with this code: its last four digits are the code.
pub fn paylike_prior(code: u16) -> String {
    format!("560fd96b7973ff3d2362{code:04}")
}

/// Token ids are 20 characters: a word and zeros.
fn fluidpay_token(word: &str) -> String {
    format!("{word:0<20}")
}

fn fluidpay_declines() -> impl Iterator<Item = (u16, &'static str, String)> {
    let declines = fluidpay::RESPONSE_CODES.into_iter().filter(|(code, _)| *code >= 200);
    declines.map(|(code, text)| (code, text, fluidpay_token(&format!("decline{code}"))))
}

pub fn install(state: &mut State, now: DateTime<Utc>) {
    use fluidpay::Behaviour;
    let mut customer = |word: &str, behaviour| {
        fluidpay::make_customer(state, &fluidpay_token(word), APPROVED_CARD, Some(behaviour), now);
    };
    customer("approve", Behaviour::Approve);
    customer("partial110", Behaviour::Partial);
    customer("refunddeclines", Behaviour::RefuseRefunds);
    for (code, _, _) in fluidpay_declines() {
        customer(&format!("decline{code}"), Behaviour::Decline(code));
    }
    paylike::install(state, now);
}

/// Everything a test or a person needs to know to use the sandbox.
pub fn describe() -> Value {
    let mut tokens = vec![
        json!({ "token": fluidpay_token("approve"), "does": "approved" }),
        json!({ "token": fluidpay_token("partial110"), "does": "half is approved, response code 110" }),
        json!({ "token": fluidpay_token("refunddeclines"), "does": "approved, refunds are declined" }),
    ];
    tokens.extend(fluidpay_declines().map(|(code, text, token)| json!({ "token": token, "does": text, "response_code": code })));
    let cards: Vec<Value> =
        fluidpay::TEST_CARDS.iter().map(|(number, does)| json!({ "number": number, "does": format!("{does:?}") })).collect();
    let mut priors = vec![json!({ "transaction_id": PAYLIKE_TRANSACTION, "does": "approved" })];
    priors.extend(
        paylike::CODES
            .iter()
            .map(|(code, text, _)| json!({ "transaction_id": paylike_prior(*code), "does": text, "code": code })),
    );
    json!({
        "fluidpay": {
            "base_path": "/api",
            "api_key": FLUIDPAY_KEY,
            "merchant_id": FLUIDPAY_MERCHANT,
            "terminal_id": FLUIDPAY_TERMINAL,
            "tokens": tokens,
            "cards": cards,
            "declined_routing_number": fluidpay::DECLINED_ROUTING,
            "magic_amounts": { "from": FLUIDPAY_MAGIC + 200, "to": FLUIDPAY_MAGIC + 499, "does": "declined with the last three digits" },
        },
        "paylike": {
            "base_path": "/",
            "api_key": PAYLIKE_KEY,
            "app_id": PAYLIKE_APP,
            "merchant_id": PAYLIKE_MERCHANT,
            "other_merchant_id": PAYLIKE_OTHER_MERCHANT,
            "prior_transactions": priors,
            "pay": "POST /_sandbox/paylike/pay {link, decline?} plays the customer who opens a payment link",
            "magic_amounts": { "from": PAYLIKE_MAGIC + 1, "to": PAYLIKE_MAGIC + 31, "does": "declined with the last two digits" },
        },
        "paysley": {
            "base_path": "/v2",
            "api_key": PAYSLEY_KEY,
            "asked": "GET /_sandbox/paysley lists what customers were asked for",
            "pay": "POST /_sandbox/paysley/pay {transaction_id | reference, outcome?: approve | decline} plays the customer",
            "clock": "POST /_sandbox/paysley/clock {now} makes the recurring payments due by then",
        },
    })
}
