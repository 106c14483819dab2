//! `/_sandbox`: the ledger and the fixtures as the contract has them, scripts, tokens in bulk.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{APPROVE, World};

#[tokio::test]
async fn the_ledger_speaks_the_contract() {
    let world = World::new().await;
    let sold = world.sale(APPROVE, "L1", 1299).await;
    let id = world.authorize("L2", 500).await;
    world.paylike("POST", &format!("/transactions/{id}/captures"), json!({ "amount": 500 })).await;
    let ledger = world.switch("GET", "/ledger", Value::Null).await;
    let mut first = ledger[0].clone();
    let at = first.as_object_mut().and_then(|entry| entry.remove("at")).expect("at");
    assert!(chrono::DateTime::parse_from_rfc3339(at.as_str().expect("text")).is_ok(), "{at}");
    let expected = json!({
        "gateway": "fluidpay", "kind": "charge", "transaction_id": sold["id"], "reference": "L1", "amount": 1299, "currency": "USD",
    });
    assert_eq!(first, expected);
    assert_eq!((&ledger[1]["gateway"], &ledger[1]["currency"]), (&json!("paylike"), &json!("EUR")));
    let summary = world.switch("GET", "/ledger?summary=true", Value::Null).await;
    assert_eq!(summary["counts"], json!({ "charge": 1, "capture": 1 }));
    assert_eq!(summary["net"], json!({ "EUR": 500, "USD": 1299 }));
    assert_eq!(world.switch("GET", "/ledger?reference=L2", Value::Null).await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn every_fixture_does_what_it_says() {
    let world = World::new().await;
    let fixtures = world.switch("GET", "/fixtures", Value::Null).await;
    let tokens = fixtures["fluidpay"]["tokens"].as_array().expect("tokens");
    assert!(tokens.len() > 20);
    for fixture in tokens {
        let token = fixture["token"].as_str().expect("token");
        assert_eq!(token.len(), 20);
        let code = world.sale(token, "FX", 1000).await["response_code"].clone();
        let expected = match token {
            "partial1100000000000" => json!(110),
            _ => fixture.get("response_code").cloned().unwrap_or(json!(100)),
        };
        assert_eq!(code, expected, "{token}");
    }
    let merchant = fixtures["paylike"]["merchant_id"].as_str().expect("merchant");
    for fixture in fixtures["paylike"]["prior_transactions"].as_array().expect("priors") {
        let prior = fixture["transaction_id"].as_str().expect("id");
        let path = format!("/merchants/{merchant}/transactions");
        let (status, body) = world.paylike("POST", &path, super::authorization(prior, "FX", 100)).await;
        let expected = if fixture.get("code").is_some() { StatusCode::BAD_REQUEST } else { StatusCode::CREATED };
        assert_eq!((status, body.get("code")), (expected, fixture.get("code")), "{fixture}");
    }
}

#[tokio::test]
async fn a_script_declines_as_often_as_it_says_and_then_lets_the_card_pay() {
    let world = World::new().await;
    let tokens = world.switch("POST", "/tokens", json!({ "count": 3, "prefix": "demo" })).await;
    let token = tokens[1].as_str().expect("token");
    assert!(token.len() == 20 && token.starts_with("demo"));
    world.switch("POST", &format!("/tokens/{token}/script"), json!({ "declines": [202, 223] })).await;
    let mut codes = Vec::new();
    for attempt in 0..3 {
        codes.push(world.sale(token, &format!("T{attempt}"), 100).await["response_code"].as_u64());
    }
    assert_eq!(codes, [202, 223, 100].map(Some));
    let scripted = json!({ "gateway": "paylike", "count": 1, "script": { "declines": [7] } });
    let prior = world.switch("POST", "/tokens", scripted).await[0].clone();
    let path = format!("/merchants/{}/transactions", super::MERCHANT);
    let body = super::authorization(prior.as_str().expect("id"), "T9", 100);
    assert_eq!(world.paylike("POST", &path, body.clone()).await.1["code"], 7);
    assert_eq!(world.paylike("POST", &path, body).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn nonsense_at_the_switches_is_refused_with_a_reason() {
    let world = World::new().await;
    for (path, body) in [
        ("/faults", json!({ "fault": "explode" })),
        ("/faults", json!({ "match": { "operatoin": "charge" }, "fault": "drop_after" })),
        ("/chaos", json!({ "rates": { "drop_before": 1001 } })),
        ("/chaos", json!({ "rates": { "sleep": 1 } })),
        ("/tokens", json!({ "count": 1, "card": "5555555555554444" })),
        ("/tokens", json!({})),
        ("/settle", json!({ "now": true })),
    ] {
        let request = world.client.post(format!("{}/_sandbox{path}", world.running.url())).json(&body);
        let (status, answer) = super::read(request.send().await.expect("answer")).await;
        assert_eq!((status, answer["error"].is_string()), (StatusCode::UNPROCESSABLE_ENTITY, true), "{path} {body}");
    }
}
