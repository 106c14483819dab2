//! The pretend FluidPay: idempotency, lookups, settlement rules, stored customers, recurring objects.

use std::sync::Arc;

use rebilld::sandbox::Options;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{APPROVE, FLUIDPAY_KEY, World, sale};

const OK: StatusCode = StatusCode::OK;
const BAD: StatusCode = StatusCode::BAD_REQUEST;

fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    body[field] = value.into();
    body
}

#[tokio::test]
async fn fifty_requests_with_one_key_make_one_charge() {
    let world = Arc::new(World::new().await);
    // One of the calls is delayed before it is processed: it must see what the others did.
    world.switch("POST", "/faults", json!({ "fault": "delay:100" })).await;
    let body = with(sale(APPROVE, "IDEM", 900), "idempotency_key", "5e0c6b5e-8f4e-4d7c-9a53-2f1c3f7a0b11");
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (world, body) = (Arc::clone(&world), body.clone());
            tokio::spawn(async move { world.fluidpay("POST", "/transaction", body).await.1["data"]["id"].clone() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.expect("answered"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(world.ledger(), ["charge IDEM 900"]);
}

#[tokio::test]
async fn a_key_charges_again_after_its_window() {
    let world = World::new().await;
    let body = with(with(sale(APPROVE, "W1", 900), "idempotency_key", "k"), "idempotency_time", 1);
    world.fluidpay("POST", "/transaction", body.clone()).await;
    world.fluidpay("POST", "/transaction", body.clone()).await;
    assert_eq!(world.ledger().len(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.fluidpay("POST", "/transaction", body).await;
    assert_eq!(world.ledger().len(), 2);
    assert_eq!(world.running.summary().charged_twice, ["W1"]);
}

#[tokio::test]
async fn a_decline_is_a_success_with_a_code() {
    let world = World::new().await;
    for (token, code) in [("decline2020000000000", 202), ("decline2230000000000", 223), ("decline2610000000000", 261)] {
        let declined = world.sale(token, "D", 100).await;
        assert_eq!((&declined["response"], &declined["response_code"]), (&json!("declined"), &json!(code)));
        assert_eq!((&declined["status"], &declined["amount_captured"]), (&json!("declined"), &json!(0)));
        assert_eq!(declined["response_body"]["card"]["response_code"], code);
    }
    assert_eq!(world.sale(APPROVE, "D", 2_000_421).await["response_code"], 421);
    let partial = world.sale("partial1100000000000", "P", 1001).await;
    assert_eq!((&partial["response_code"], &partial["amount_authorized"]), (&json!(110), &json!(500)));
    assert_eq!(world.ledger(), ["charge P 500"]);
}

#[tokio::test]
async fn bad_requests_are_failed_and_move_nothing() {
    let world = World::new().await;
    let good = sale(APPROVE, "B", 100);
    for (body, status) in [
        (with(good.clone(), "amount", "100"), BAD),
        (with(good.clone(), "amount", 0), BAD),
        (with(good.clone(), "amount", Value::Null), BAD),
        (with(good.clone(), "type", "steal"), BAD),
        (with(good.clone(), "currency", "ZZZ"), BAD),
        (with(good.clone(), "order_id", "EIGHTEENCHARACTERS"), BAD),
        (with(good.clone(), "order_id", "with-dash"), BAD),
        (with(good.clone(), "payment_method", json!({})), BAD),
        (with(good.clone(), "payment_method", json!({ "token": "t", "customer": { "id": APPROVE } })), BAD),
        (sale("nobody00000000000000", "B", 100), StatusCode::NOT_FOUND),
    ] {
        let (answered, answer) = world.fluidpay("POST", "/transaction", body.clone()).await;
        assert_eq!((answered, &answer["status"], &answer["data"]), (status, &json!("failed"), &Value::Null), "{body}");
    }
    let url = format!("{}/api/transaction", world.running.url());
    let broken = world.client.post(&url).header("authorization", FLUIDPAY_KEY).body("{").send().await.expect("answer");
    assert_eq!(broken.status(), BAD);
    let stranger = world.client.post(&url).header("authorization", "api_other").json(&good).send().await.expect("answer");
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert!(world.ledger().is_empty());
    let bearer = world.client.post(&url).bearer_auth(FLUIDPAY_KEY).json(&good).send().await.expect("answer");
    assert!(bearer.headers().contains_key("x-correlation-id"));
    assert_eq!(bearer.status(), OK);
}

#[tokio::test]
async fn search_finds_by_operators_and_ignores_empty_ones() {
    let world = World::new().await;
    for (order, amount) in [("S1", 100), ("S2", 200), ("S3", 300), ("S3", 400)] {
        world.sale(APPROVE, order, amount).await;
    }
    let empty = json!({ "operator": "", "value": "" });
    let found = async |body: Value| {
        let (status, answer) = world.fluidpay("POST", "/transaction/search", body).await;
        assert_eq!(status, OK, "{answer}");
        let amounts = answer["data"].as_array().map(|list| list.iter().map(|found| found["amount"].as_i64()).collect());
        (amounts.map(|amounts: Vec<_>| amounts.into_iter().flatten().collect::<Vec<i64>>()), answer["total_count"].as_u64())
    };
    let is = |operator: &str, value: Value| json!({ "operator": operator, "value": value });
    assert_eq!(found(json!({ "order_id": is("=", "S3".into()) })).await, (Some(vec![400, 300]), Some(2)));
    assert_eq!(found(json!({ "order_id": is("=", "S9".into()) })).await, (None, Some(0)));
    assert_eq!(found(json!({ "order_id": is("!=", "S3".into()) })).await, (Some(vec![200, 100]), Some(2)));
    assert_eq!(found(json!({ "amount": is(">", 150.into()), "order_id": empty })).await.1, Some(3));
    assert_eq!(found(json!({ "amount": is("<", 150.into()), "nonsense": is("=", "x".into()) })).await.0, Some(vec![100]));
    assert_eq!(found(json!({ "limit": 1, "offset": 1 })).await, (Some(vec![300]), Some(4)));
    assert_eq!(found(json!({ "limit": 0 })).await.0.map(|all| all.len()), Some(4));
    assert_eq!(found(json!({ "customer_id": is("=", APPROVE.into()) })).await.1, Some(4));
    let past = json!({ "start_date": "2017-11-01T00:00:00Z", "end_date": "2017-11-30T00:00:00Z" });
    assert_eq!(found(json!({ "created_at": past, "order_id": is("=", "S1".into()) })).await.0, None);
    assert_eq!(found(json!({ "settled_at": past })).await.0, None);
    for bad in [json!({ "limit": 101 }), json!({ "offset": -1 }), json!({ "order_id": is("<", "S1".into()) })] {
        assert_eq!(world.fluidpay("POST", "/transaction/search", bad.clone()).await.0, BAD, "{bad}");
    }
}

#[tokio::test]
async fn voids_come_before_settlement_and_refunds_after_it() {
    let world = World::new().await;
    let act = async |id: &Value, action: &str, body: Value| {
        let path = format!("/transaction/{}/{action}", id.as_str().expect("id"));
        world.fluidpay("POST", &path, body).await
    };
    let first = world.sale(APPROVE, "V1", 1000).await["id"].clone();
    assert_eq!(act(&first, "refund", json!({})).await.0, BAD);
    assert_eq!(act(&first, "void", Value::Null).await.1["data"]["status"], "voided");
    assert_eq!(act(&first, "void", Value::Null).await.0, BAD);

    let second = world.sale(APPROVE, "V2", 1000).await["id"].clone();
    assert_eq!(world.switch("POST", "/settle", Value::Null).await["settled"], 1);
    assert_eq!(act(&second, "void", Value::Null).await.0, BAD);
    let (_, refund) = act(&second, "refund", json!({ "amount": 400 })).await;
    assert_eq!((&refund["data"]["type"], &refund["data"]["referenced_transaction_id"]), (&json!("refund"), &second));
    assert_eq!(act(&second, "refund", json!({ "amount": 601 })).await.0, BAD);
    assert_eq!(act(&second, "refund", Value::Null).await.1["data"]["amount"], 600);
    assert_eq!(act(&second, "refund", json!({ "amount": 1 })).await.0, BAD);
    let path = format!("/transaction/{}", second.as_str().expect("id"));
    let shown = world.fluidpay("GET", &path, Value::Null).await.1["data"].clone();
    assert_eq!((&shown["status"], &shown["amount_refunded"]), (&json!("refunded"), &json!(1000)));
    assert_eq!(world.ledger(), ["charge V1 1000", "void V1 1000", "charge V2 1000", "refund V2 400", "refund V2 600"]);
}

#[tokio::test]
async fn an_authorization_moves_no_money_until_it_is_captured() {
    let world = World::with(Options { settle_at_once: true, ..Options::default() }).await;
    let authorize = with(sale(APPROVE, "AU", 1000), "type", "authorize");
    let id = world.fluidpay("POST", "/transaction", authorize.clone()).await.1["data"]["id"].clone();
    let other = world.fluidpay("POST", "/transaction", authorize).await.1["data"]["id"].clone();
    let path = |id: &Value, action: &str| format!("/transaction/{}/{action}", id.as_str().expect("id"));
    assert_eq!(world.fluidpay("POST", &path(&other, "void"), Value::Null).await.0, OK);
    assert!(world.ledger().is_empty());
    assert_eq!(world.fluidpay("POST", &path(&id, "capture"), json!({ "amount": 1001 })).await.0, BAD);
    let captured = world.fluidpay("POST", &path(&id, "capture"), json!({ "amount": 700 })).await.1;
    assert_eq!(captured["data"]["status"], "settled");
    assert_eq!(world.fluidpay("POST", &path(&id, "capture"), json!({ "amount": 100 })).await.0, BAD);
    assert_eq!(world.ledger(), ["capture AU 700"]);
}

#[tokio::test]
async fn customers_behave_by_their_test_card_and_their_number_is_forgotten() {
    let world = World::new().await;
    let card = |number: &str| json!({ "card": { "card_number": number, "expiration_date": "12/30" } });
    let (_, old) = world.fluidpay("POST", "/customer", json!({ "payment_method": card("4000000000009995") })).await;
    assert!(!old.to_string().contains("4000000000009995"));
    assert_eq!(old["data"]["payment_method"]["card"]["masked_card"], "400000******9995");
    let id = old["data"]["id"].as_str().expect("id").to_owned();
    assert_eq!(world.sale(&id, "C1", 100).await["response_code"], 202);

    // A second card becomes the default and pays from then on.
    let (_, added) =
        world.fluidpay("POST", &format!("/customer/{id}/paymentmethod/card"), card("4111111111111111")["card"].clone()).await;
    let update = json!({ "payment_method_id": added["data"]["card"]["id"] });
    assert_eq!(world.fluidpay("POST", &format!("/customer/{id}"), update).await.0, OK);
    assert_eq!(world.sale(&id, "C2", 100).await["response_code"], 100);
    let (_, cards) = world.fluidpay("GET", &format!("/customer/{id}/paymentmethod/card"), Value::Null).await;
    assert_eq!((&cards["count"], &cards["total_count"]), (&json!(2), &json!(2)));

    let vault = json!({
        "description": "vault",
        "default_payment": { "card": { "number": "4000000000000010", "expiration_date": "12/30" } },
        "default_billing_address": { "first_name": "John", "line_1": "123 Some St" },
    });
    let (_, made) = world.fluidpay("POST", "/vault/customer", vault).await;
    let id = made["data"]["id"].as_str().expect("id").to_owned();
    let inner = &made["data"]["data"]["customer"];
    assert_eq!((&inner["addresses"][0]["line_1"], &inner["payments"]["ach"]), (&json!("123 Some St"), &Value::Null));
    let sold = world.sale(&id, "C3", 100).await["id"].clone();
    world.switch("POST", "/settle", Value::Null).await;
    let path = format!("/transaction/{}/refund", sold.as_str().expect("id"));
    let (status, refused) = world.fluidpay("POST", &path, Value::Null).await;
    assert_eq!((status, &refused["data"]["status"]), (OK, &json!("declined")));
    assert_eq!(world.fluidpay("DELETE", &format!("/vault/{id}"), Value::Null).await.0, OK);
    assert_eq!(world.fluidpay("GET", &format!("/vault/{id}"), Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ledger(), ["charge C2 100", "charge C3 100"]);
}

#[tokio::test]
async fn recurring_objects_are_kept_with_their_overrides() {
    let world = World::new().await;
    let discount = json!({ "name": "d", "description": "d", "amount": 80, "duration": 0 });
    let (_, discount) = world.fluidpay("POST", "/recurring/discount", discount).await;
    let discount_id = discount["data"]["id"].clone();
    assert_eq!(discount["data"]["percentage"], Value::Null);
    let subscription = json!({
        "plan_id": null, "description": "s", "customer": { "id": APPROVE }, "amount": 100, "billing_cycle_interval": 1,
        "billing_frequency": "twice_monthly", "billing_days": "1,15", "duration": 0, "next_bill_date": "2019-11-21",
        "add_ons": [], "discounts": [{ "id": discount_id, "amount": 50 }],
    });
    let (status, made) = world.fluidpay("POST", "/recurring/subscription", subscription.clone()).await;
    assert_eq!(status, OK, "{made}");
    let made = &made["data"];
    assert_eq!((&made["total_discounts"], &made["total_adds"], &made["add_ons"]), (&json!(50), &json!(0), &Value::Null));
    let path = format!("/recurring/subscription/{}", made["id"].as_str().expect("id"));
    assert_eq!(world.fluidpay("GET", &format!("{path}/status/paused"), Value::Null).await.1["data"]["status"], "paused");
    assert_eq!(world.fluidpay("GET", &path, Value::Null).await.1["data"]["status"], "paused");
    assert_eq!(world.fluidpay("DELETE", &path, Value::Null).await.0, OK);
    assert_eq!(world.fluidpay("GET", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
    let path = format!("/recurring/discount/{}", discount_id.as_str().expect("id"));
    assert_eq!(world.fluidpay("GET", &path, Value::Null).await.1["data"][0]["amount"], 80);
    assert_eq!(world.fluidpay("GET", "/recurring/discounts", Value::Null).await.1["total_count"], 1);
    let weekly = with(subscription, "billing_frequency", "weekly");
    assert_eq!(world.fluidpay("POST", "/recurring/subscription", weekly).await.0, BAD);
    let both = json!({ "name": "x", "amount": 1, "percentage": 1 });
    assert_eq!(world.fluidpay("POST", "/recurring/addon", both).await.0, BAD);
    assert_eq!(world.fluidpay("GET", "/user", Value::Null).await.1["data"]["status"], "active");
    assert_eq!(world.fluidpay("GET", "/terminals", Value::Null).await.1["total_count"], 1);
}
