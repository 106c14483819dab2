//! FluidPay without a network: what is sent, and what answers are taken for.

use chrono::{DateTime, Utc};

use super::{
    super::{Mandate, http::HttpAnswer},
    *,
};
use crate::domain::money::Currency;

fn adapter() -> FluidPay {
    let settings = Settings {
        name: "fluid".into(),
        base_url: "http://127.0.0.1:9/api".into(),
        api_key: "api_secret_key".into(),
        merchant_id: String::new(),
        timeout: Duration::from_secs(1),
        max_in_flight: 1,
    };
    FluidPay::new(&settings).expect("usable settings")
}

fn charge() -> Charge {
    Charge {
        reference: "0ABCDEFGHJKMNPQRS".into(),
        idempotency_key: "key-1".into(),
        source: Source::VaultToken { customer_token: "cust_token".into(), payment_method_token: None },
        amount_minor: 2500,
        currency: Currency::USD,
        description: "x".repeat(300),
        mandate: Mandate::default(),
    }
}

fn sent() -> Sent {
    let sent_at: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().expect("instant");
    Sent { reference: charge().reference, amount_minor: 2500, currency: Currency::USD, transaction_id: None, sent_at }
}

fn transaction(id: &str, status: &str, code: i64, created_at: &str) -> Value {
    json!({
        "id": id, "type": "sale", "amount": 2500, "currency": "usd", "order_id": "0ABCDEFGHJKMNPQRS",
        "status": status, "response_code": code, "created_at": created_at,
    })
}

fn charged(data: Value) -> Outcome {
    let body = json!({ "status": "success", "msg": "success", "data": data });
    adapter().charged(&charge(), "cust_token", open(HttpAnswer::Done(body)))
}

#[test]
fn a_sale_carries_reference_idempotency_and_stored_credential_marks() {
    let mut charge = charge();
    let body = sale(&charge);
    assert_eq!(body["payment_method"], json!({ "customer": { "id": "cust_token" } }));
    assert_eq!((&body["type"], &body["amount"], &body["currency"]), (&json!("sale"), &json!(2500), &json!("USD")));
    assert_eq!((&body["order_id"], &body["idempotency_key"]), (&json!("0ABCDEFGHJKMNPQRS"), &json!("key-1")));
    assert_eq!(body["idempotency_time"], json!(86_400));
    assert_eq!(body["description"].as_str().map(str::len), Some(255));
    assert_eq!((&body["initiated_by"], &body["card_on_file_indicator"]), (&json!("merchant"), &json!("R")));
    assert_eq!(body.get("initial_transaction_id"), None);

    charge.source = Source::VaultToken { customer_token: "c".into(), payment_method_token: Some("card_1".into()) };
    charge.mandate = Mandate { reason: Reason::Installment, initial_transaction_id: Some("first".into()) };
    let body = sale(&charge);
    let customer = json!({ "id": "c", "payment_method_type": "card", "payment_method_id": "card_1" });
    assert_eq!(body["payment_method"]["customer"], customer);
    assert_eq!((&body["card_on_file_indicator"], &body["initial_transaction_id"]), (&json!("I"), &json!("first")));
}

#[test]
fn a_search_names_its_dates_so_that_four_months_hide_nothing() {
    let body = search(&sent());
    assert_eq!(body["order_id"], json!({ "operator": "=", "value": "0ABCDEFGHJKMNPQRS" }));
    assert_eq!(body["created_at"], json!({ "start_date": "2026-02-28T06:00:00Z", "end_date": "2027-03-02T06:00:00Z" }));
}

#[test]
fn answers_to_a_charge_are_judged_on_their_data() {
    let at = "2026-03-01T06:00:01Z";
    assert!(matches!(charged(transaction("t", "pending_settlement", 100, at)), Outcome::Succeeded { amount_minor: 2500, .. }));
    assert!(matches!(charged(transaction("t", "authorized", 100, at)), Outcome::Authorized { .. }));
    let Outcome::Declined { decline, transaction_id } = charged(transaction("t", "declined", 261, at)) else {
        panic!("a decline")
    };
    assert_eq!((decline.class, decline.code.as_str()), (DeclineClass::StopRecurring, "261"));
    assert_eq!(transaction_id.as_deref(), Some("t"));
    for (status, code) in [
        ("declined", 301),
        ("declined", 400),
        ("declined", 421),
        ("declined", 430),
        ("pending", 99),
        ("unknown", 0),
        ("voided", 100),
    ] {
        assert!(matches!(charged(transaction("t", status, code, at)), Outcome::Unknown { .. }), "{status} {code} needs a lookup");
    }
    assert!(matches!(charged(Value::Null), Outcome::Unknown { .. }));
    let mut other = transaction("t", "pending_settlement", 100, at);
    other["order_id"] = json!("another");
    assert!(matches!(charged(other), Outcome::Unknown { .. }), "another order's answer proves nothing about this one");
    let mut other = transaction("t", "pending_settlement", 100, at);
    other["amount"] = json!(9900);
    assert!(matches!(charged(other), Outcome::Unknown { message } if message.contains("9900") && message.contains("2500")));
}

#[test]
fn a_refused_request_is_the_operators_business_not_the_customers() {
    let refuse = |status: u16, msg: &str| {
        let body = json!({ "status": "failed", "msg": msg, "data": null });
        let answer = if status == 200 { HttpAnswer::Done(body) } else { HttpAnswer::Refused { status, body: Some(body) } };
        adapter().charged(&charge(), "cust_token", open(answer))
    };
    for status in [200, 400, 401, 403, 404, 422] {
        let Outcome::Declined { decline, transaction_id: None } = refuse(status, "no customer cust_token for api_secret_key")
        else {
            panic!("{status} is a refusal")
        };
        let class = if matches!(status, 401 | 403) { DeclineClass::AccountRefused } else { DeclineClass::ChargeRefused };
        assert_eq!(decline.class, class, "{status}");
        assert_eq!(decline.message, "no customer *** for ***");
    }
    for (status, msg) in [(400, "Duplicate transaction"), (400, "idempotency key in use"), (409, "conflict")] {
        assert!(matches!(refuse(status, msg), Outcome::Unknown { .. }), "{msg} may hide a charge");
    }
    let html = adapter().charged(&charge(), "", open(HttpAnswer::Refused { status: 404, body: None }));
    assert!(matches!(html, Outcome::Declined { decline, .. } if decline.class == DeclineClass::ChargeRefused));
}

#[test]
fn of_several_matches_the_one_that_took_money_counts() {
    let pick = |items: Value| adapter().pick(&sent(), &items);
    let old = "2026-03-01T06:00:01Z";
    let new = "2026-03-01T06:05:01.5Z";
    assert_eq!(pick(Value::Null), Found::Nothing);
    assert_eq!(pick(json!([])), Found::Nothing);
    let declined = transaction("declined", "declined", 430, new);
    let both = pick(json!([declined, transaction("paid", "settled", 100, old)]));
    assert!(matches!(both, Found::Outcome(Outcome::Succeeded { transaction_id, .. }) if transaction_id == "paid"));
    let older = transaction("older", "declined", 202, old);
    let newest = pick(json!([older, declined]));
    let Found::Outcome(Outcome::Declined { decline, transaction_id }) = newest else { panic!("a decline") };
    assert_eq!((decline.class, transaction_id.as_deref()), (DeclineClass::GatewayFault, Some("declined")));
    assert!(matches!(pick(json!([declined, transaction("p", "pending", 99, old)])), Found::NoAnswer { .. }));
    assert!(matches!(pick(json!([transaction("v", "voided", 100, old)])), Found::NoAnswer { .. }));
    let mut refund = transaction("r", "settled", 100, new);
    refund["type"] = json!("refund");
    assert_eq!(pick(json!([refund])), Found::Nothing);
}

#[test]
fn a_search_that_answers_about_others_proves_nothing() {
    let mut other = transaction("t", "settled", 100, "2026-03-01T06:00:01Z");
    other["order_id"] = json!("another");
    assert!(matches!(adapter().pick(&sent(), &json!([other])), Found::NoAnswer { .. }));
    let mut dear = transaction("t", "settled", 100, "2026-03-01T06:00:01Z");
    dear["amount"] = json!(9900);
    assert!(matches!(adapter().pick(&sent(), &json!([dear])), Found::Disagrees { message } if message.contains("9900")));
}
