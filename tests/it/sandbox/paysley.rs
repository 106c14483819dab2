//! The pretend Paysley: both styles of path, its format of amounts, the customer who pays, the unsigned callback.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use super::World;

const OK: StatusCode = StatusCode::OK;

fn request(reference: &str, more: Value) -> Value {
    let mut body = json!({
        "request_methods": ["EMAIL"], "reference_number": reference, "email": "ada@example.com", "customer_first_name": "Ada",
        "fixed_amount": true, "currency": "USD", "amount": 1500.12,
    });
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    body
}

async fn asked(world: &World, reference: &str, more: Value) -> String {
    let (status, body) = world.paysley("POST", "/v2/payment-requests/", request(reference, more)).await;
    assert_eq!(status, OK, "{body}");
    body["transaction_id"].as_str().expect("id").to_owned()
}

/// A merchant's own server, which records the calls that it gets.
async fn merchant() -> (String, mpsc::UnboundedReceiver<String>) {
    let (sender, heard) = mpsc::unbounded_channel();
    let hear = async |State(sender): State<mpsc::UnboundedSender<String>>, body: String| sender.send(body).expect("heard");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/callback", listener.local_addr().expect("address"));
    let router = Router::new().route("/callback", post(hear)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

#[tokio::test]
async fn both_styles_of_path_answer_with_status_200_and_both_words() {
    let world = World::new().await;
    for (number, path) in
        ["/v2/payment-requests/", "/v2/payment-requests", "/payment-requests/", "/payment-requests"].iter().enumerate()
    {
        let reference = format!("R{number}");
        let (status, made) = world.paysley("POST", path, request(&reference, json!({}))).await;
        assert_eq!((status, &made["result"], &made["status"]), (OK, &json!("success"), &json!("success")), "{path}: {made}");
        assert_eq!((&made["amount"], &made["reference_number"]), (&json!("1500.12"), &json!(reference)));
        for link in ["short_url", "long_url", "qrcode_link"] {
            assert!(made[link].as_str().is_some_and(|link| link.starts_with("https://")), "{made}");
        }
        let id = made["transaction_id"].as_str().expect("id");
        assert!(id.ends_with("OO"), "{id}");
        let (status, shown) = world.paysley("GET", &format!("{}/{id}", path.trim_end_matches('/')), Value::Null).await;
        assert_eq!((status, &shown["transactions"][0]["amount"]), (OK, &json!(1500.12)), "a number when read: {shown}");
    }
    let (status, body) = world.paylike("GET", "/payment-requests/1OO", Value::Null).await;
    assert_eq!((status, &body["message"]), (StatusCode::FORBIDDEN, &json!("Forbidden")), "another gateway's key");
    assert_eq!(world.paylike("GET", "/me", Value::Null).await.0, OK, "Paylike is still at the root");
}

#[tokio::test]
async fn wrong_fields_are_named_and_amounts_as_text_are_wrong() {
    let world = World::new().await;
    for (more, field) in [
        (json!({"amount": "1500.12"}), "amount"),
        (json!({"amount": 0}), "amount"),
        (json!({"amount": 1.005}), "amount"),
        (json!({"amount": 1.5, "currency": "JPY"}), "amount"),
        (json!({"currency": "ZZZ"}), "currency"),
        (json!({"request_methods": []}), "request_methods"),
        (json!({"request_methods": ["FAX"]}), "request_methods"),
        (json!({"email": ""}), "email"),
        (json!({"request_methods": ["SMS"]}), "mobile_number"),
        (json!({"request_methods": ["WEB"], "email": ""}), "email"),
        (json!({"fixed_amount": "yes"}), "fixed_amount"),
        (json!({"customer_first_name": ""}), "customer_first_name"),
        (json!({"customer_id": "h3xDi8"}), "customer_id"),
        (json!({"expiry_date": "2026-12-01 10:00"}), "expiry_date"),
        (json!({"payment_frequency": "MONTHLY"}), "payment_start_date"),
        (json!({"payment_frequency": "DAILY"}), "payment_frequency"),
    ] {
        let (status, body) = world.paysley("POST", "/v2/payment-requests", request("R", more.clone())).await;
        assert_eq!(
            (status.as_u16(), &body["error_field"], &body["result"]),
            (400, &json!(field), &json!("failed")),
            "{more}: {body}"
        );
    }
    assert_eq!(world.switch("GET", "/paysley", Value::Null).await, json!([]));
}

#[tokio::test]
async fn a_link_is_paid_once_and_then_stays_as_it_is() {
    let world = World::new().await;
    let id = asked(&world, "R1", json!({})).await;
    let (status, changed) =
        world.paysley("PUT", "/v2/payment-requests/", request("R1", json!({"transaction_id": id, "amount": 20}))).await;
    assert_eq!((status, &changed["amount"]), (OK, &json!("20.00")));
    let declined = world.switch("POST", "/paysley/pay", json!({"transaction_id": id, "outcome": "decline"})).await;
    assert!(declined["payment_id"].is_string() && world.ledger().is_empty());
    let paid = world.switch("POST", "/paysley/pay", json!({"reference": "R1"})).await["payment_id"].clone();
    assert_eq!(world.ledger(), ["charge R1 2000"]);
    assert!(world.running.sandbox().pay(serde_json::from_value(json!({"reference": "R1"})).expect("pay")).await.is_err());
    for (method, path, body) in [
        ("PUT", "/v2/payment-requests".to_owned(), request("R1", json!({"transaction_id": id}))),
        ("DELETE", format!("/v2/payment-requests/{id}"), Value::Null),
    ] {
        let (status, body) = world.paysley(method, &path, body).await;
        assert_eq!((status.as_u16(), &body["error_field"]), (400, &json!("transaction_id")), "{method}: {body}");
    }
    let (_, shown) = world.paysley("GET", &format!("/v2/payment-requests/{id}/"), Value::Null).await;
    assert_eq!((&shown["transactions"][0]["status"], &shown["transactions"][0]["payment_id"]), (&json!("success"), &paid));
    let other = asked(&world, "R2", json!({})).await;
    assert_eq!(world.paysley("DELETE", &format!("/v2/payment-requests/{other}"), Value::Null).await.0, OK);
    assert_eq!(world.paysley("DELETE", &format!("/v2/payment-requests/{other}"), Value::Null).await.0, StatusCode::NOT_FOUND);
    assert!(world.running.sandbox().pay(serde_json::from_value(json!({"transaction_id": other})).expect("pay")).await.is_err());
    let expired = asked(&world, "R3", json!({"expiry_date": "2020-01-01T00:00:00.000Z"})).await;
    assert!(world.running.sandbox().pay(serde_json::from_value(json!({"transaction_id": expired})).expect("pay")).await.is_err());
}

#[tokio::test]
async fn the_history_is_paged_and_its_keywords_are_fuzzy() {
    let world = World::new().await;
    for reference in ["REF1", "REF12", "OTHER"] {
        asked(&world, reference, json!({"email": "ref1@example.com"})).await;
        world.switch("POST", "/paysley/pay", json!({"reference": reference})).await;
    }
    let references = async |query: &str| {
        let (status, body) = world.paysley("GET", &format!("/v2/payments/?{query}"), Value::Null).await;
        assert_eq!(status, OK, "{body}");
        let found: Vec<Value> =
            body["payments"].as_array().expect("list").iter().map(|payment| payment["reference_number"].clone()).collect();
        (found, body["page_count"].clone())
    };
    assert_eq!(
        references("keywords=ref1").await,
        (vec![json!("OTHER"), json!("REF12"), json!("REF1")], json!(1)),
        "the e-mail has it too"
    );
    assert_eq!(references("keywords=REF12&limit=5").await, (vec![json!("REF12")], json!(1)));
    assert_eq!(references("limit=2&page=2").await, (vec![json!("REF1")], json!(2)));
    assert_eq!(references("start_date=2020-01-01&end_date=2020-12-31").await, (vec![], json!(0)));
    assert_eq!(world.paysley("GET", "/v2/payments?start_date=2020-01-01", Value::Null).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn refunds_never_exceed_the_payment_and_an_authorization_is_captured_once() {
    let world = World::new().await;
    asked(&world, "R1", json!({"amount": 10})).await;
    let id =
        world.switch("POST", "/paysley/pay", json!({"reference": "R1"})).await["payment_id"].as_str().expect("id").to_owned();
    let act = async |kind: &str, id: &str, amount: Value| {
        let (status, body) = world.paysley("POST", &format!("/v2/{kind}/{id}"), json!({ "amount": amount })).await;
        (status.as_u16(), body)
    };
    let (status, first) = act("refunds", &id, json!(4)).await;
    assert_eq!(
        (status, &first["status"], &first["balance"], &first["result"]),
        (200, &json!("refund"), &json!(6.0), &json!("success"))
    );
    for (amount, status) in [(json!(6.01), 400), (json!("6"), 400), (json!(null), 400), (json!(6), 200), (json!(0.01), 400)] {
        assert_eq!(act("refunds", &id, amount.clone()).await.0, status, "{amount}");
    }
    let (_, history) = world.paysley("GET", "/v2/payments?keywords=R1", Value::Null).await;
    assert_eq!(
        (&history["payments"][0]["payment_type"], &history["payments"][0]["reference_payment_id"]),
        (&json!("CC.RF"), &json!(id))
    );
    asked(&world, "R2", json!({"payment_type": "PA", "amount": 10})).await;
    let id =
        world.switch("POST", "/paysley/pay", json!({"reference": "R2"})).await["payment_id"].as_str().expect("id").to_owned();
    assert_eq!(world.ledger(), ["charge R1 1000", "refund R1 400", "refund R1 600"], "an authorization moves no money");
    assert_eq!(act("captures", &id, json!(10)).await.1["status"], "capture");
    assert_eq!(act("captures", &id, json!(10)).await.0, 400);
    assert_eq!(world.ledger()[3..], ["capture R2 1000".to_owned()]);
    assert_eq!(act("refunds", "nobody", json!(1)).await.0, 404);
}

#[tokio::test]
async fn a_schedule_runs_by_its_own_clock_until_it_is_stopped() {
    let world = World::new().await;
    let monthly = json!({"amount": 10, "payment_frequency": "monthly", "payment_start_date": "2030-01-31T00:00:00.000Z", "initial_payment_amount": 3, "total_number_of_payments": 3});
    let id = asked(&world, "R1", monthly.clone()).await;
    let ran = async |now: &str| {
        world.switch("POST", "/paysley/clock", json!({ "now": now })).await["payments"].as_array().map(Vec::len)
    };
    assert_eq!(ran("2030-06-01T00:00:00Z").await, Some(0), "nobody has agreed");
    world.switch("POST", "/paysley/pay", json!({"transaction_id": id})).await;
    assert_eq!(ran("2030-02-28T00:00:00Z").await, Some(2));
    assert_eq!(ran("2030-12-01T00:00:00Z").await, Some(1), "three and no more");
    assert_eq!(world.ledger(), ["charge R1 300", "charge R1 1000", "charge R1 1000", "charge R1 1000"]);
    let mut weekly = monthly;
    weekly["payment_frequency"] = json!("WEEKLY");
    weekly["total_number_of_payments"] = json!("");
    asked(&world, "R2", weekly).await;
    let first =
        world.switch("POST", "/paysley/pay", json!({"reference": "R2"})).await["payment_id"].as_str().expect("id").to_owned();
    assert_eq!(ran("2030-02-14T00:00:00Z").await, Some(3));
    let (status, stopped) = world.paysley("DELETE", &format!("/v2/payments/subscription/{first}"), Value::Null).await;
    assert_eq!((status, &stopped["status"]), (OK, &json!("end_subscription")));
    assert_eq!(ran("2031-01-01T00:00:00Z").await, Some(0));
}

#[tokio::test]
async fn the_callback_is_an_unsigned_form_and_may_come_twice_or_not_at_all() {
    let world = World::new().await;
    let (url, mut heard) = merchant().await;
    for (fault, times) in [(None, 1), (Some("duplicate"), 2), (Some("drop_before"), 0)] {
        let reference = format!("R{times}");
        asked(&world, &reference, json!({"response_url": url, "amount": 15})).await;
        if let Some(fault) = fault {
            world.switch("POST", "/faults", json!({"match": {"operation": "callback"}, "fault": fault})).await;
        }
        let id = world.switch("POST", "/paysley/pay", json!({"reference": reference})).await["payment_id"].clone();
        for _ in 0..times {
            let body = tokio::time::timeout(Duration::from_secs(5), heard.recv()).await.expect("called").expect("a body");
            let (_, response) = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "response").expect("the field");
            let said: Value = serde_json::from_str(response.trim_matches('\'')).expect("JSON");
            assert_eq!(
                (&said["status"], &said["payment_id"], &said["reference_number"]),
                (&json!("ACK"), &id, &json!(reference))
            );
            assert_eq!((&said["amount"], &said["result_code"]), (&json!(15.0), &json!(100)));
        }
        assert!(heard.try_recv().is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn faults_hit_requests_look_ups_and_refunds() {
    let world = World::new().await;
    for (operation, method, path) in [
        ("request", "POST", "/v2/payment-requests"),
        ("lookup", "GET", "/payments"),
        ("refund", "POST", "/v2/refunds/x"),
        ("request", "DELETE", "/payment-requests/1OO"),
    ] {
        world.switch("POST", "/faults", json!({"match": {"gateway": "paysley", "operation": operation}, "fault": "429"})).await;
        let (status, body) = world.paysley(method, path, request("R", json!({}))).await;
        assert_eq!((status.as_u16(), &body["result"]), (429, &json!("failed")), "{method} {path}");
    }
    assert_eq!(world.switch("GET", "/faults", Value::Null).await, json!([]));
}
