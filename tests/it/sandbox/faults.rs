//! Faults as a client sees them on the wire: a dropped answer must not send a single byte.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{APPROVE, FLUIDPAY_KEY, World, authorization, sale};

/// Sends a sale over a bare socket and returns every byte that comes back until the connection ends.
async fn raw_sale(world: &World, order_id: &str) -> Vec<u8> {
    let mut stream = send_sale(world, order_id).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("a clean end of the connection");
    bytes
}

async fn send_sale(world: &World, order_id: &str) -> TcpStream {
    let body = sale(APPROVE, order_id, 500).to_string();
    let request = format!(
        "POST /api/transaction HTTP/1.1\r\nhost: sandbox\r\nauthorization: {FLUIDPAY_KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(world.running.addr()).await.expect("connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn a_drop_before_processing_sends_no_byte_and_moves_no_money() {
    let world = World::new().await;
    world.switch("POST", "/faults", json!({ "match": { "operation": "charge" }, "fault": "drop_before" })).await;
    assert_eq!(raw_sale(&world, "A1").await, b"");
    assert!(world.ledger().is_empty());
    assert!(raw_sale(&world, "A1").await.starts_with(b"HTTP/1.1 200 OK"), "the fault strikes once");
}

#[tokio::test]
async fn a_drop_after_processing_sends_no_byte_and_the_money_has_moved() {
    let world = World::new().await;
    world.switch("POST", "/faults", json!({ "match": { "reference": "A2" }, "fault": { "kind": "drop_after" } })).await;
    assert_eq!(raw_sale(&world, "A2").await, b"");
    assert_eq!(world.ledger(), ["charge A2 500"]);
    let (_, found) =
        world.fluidpay("POST", "/transaction/search", json!({ "order_id": { "operator": "=", "value": "A2" } })).await;
    assert_eq!(found["data"][0]["status"], "pending_settlement");
}

#[tokio::test]
async fn a_delayed_call_is_processed_after_its_client_has_left() {
    let world = World::new().await;
    world.switch("POST", "/faults", json!({ "match": "/api/transaction", "fault": { "kind": "delay", "ms": 150 } })).await;
    drop(send_sale(&world, "A3").await);
    assert!(world.ledger().is_empty());
    for _ in 0..100 {
        if !world.ledger().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.ledger(), ["charge A3 500"]);
}

#[tokio::test]
async fn a_429_is_not_processed_and_a_late_500_is() {
    let world = World::new().await;
    let fault = json!({ "kind": "status", "status": 429, "retry_after": 7 });
    world.switch("POST", "/faults", json!({ "match": { "token": APPROVE }, "fault": fault })).await;
    world.switch("POST", "/faults", json!({ "match": { "amount": 800 }, "fault": "status_after:500", "times": 1 })).await;
    let url = format!("{}/api/transaction", world.running.url());
    let send = |amount| world.client.post(&url).header("authorization", FLUIDPAY_KEY).json(&sale(APPROVE, "A4", amount)).send();
    let limited = send(700).await.expect("answer");
    assert_eq!(
        (limited.status(), limited.headers()["retry-after"].to_str().expect("text")),
        (StatusCode::TOO_MANY_REQUESTS, "7")
    );
    assert!(world.ledger().is_empty());
    assert_eq!(send(800).await.expect("answer").status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.ledger(), ["charge A4 800"]);
}

#[tokio::test]
async fn paylike_faults_aim_at_captures_by_the_reference_of_their_transaction() {
    let world = World::new().await;
    let id = world.authorize("P1", 300).await;
    let other = world.authorize("P2", 300).await;
    let aim = json!({ "gateway": "paylike", "operation": "capture", "reference": "P1" });
    world.switch("POST", "/faults", json!({ "match": aim, "fault": "500", "times": 0 })).await;
    let capture = |id: &str| {
        let path = format!("/transactions/{id}/captures");
        let world = &world;
        async move { world.paylike("POST", &path, json!({ "amount": 300 })).await.0 }
    };
    assert_eq!(capture(&other).await, StatusCode::CREATED);
    assert_eq!(capture(&id).await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(capture(&id).await, StatusCode::INTERNAL_SERVER_ERROR);
    world.switch("DELETE", "/faults", Value::Null).await;
    assert_eq!(capture(&id).await, StatusCode::CREATED);
    assert_eq!(world.ledger(), ["capture P2 300", "capture P1 300"]);
}

#[tokio::test]
async fn a_decline_fault_speaks_each_gateways_language() {
    let world = World::new().await;
    world.switch("POST", "/faults", json!({ "match": { "gateway": "fluidpay" }, "fault": "decline:251" })).await;
    world.switch("POST", "/faults", json!({ "match": { "gateway": "paylike" }, "fault": "decline:6" })).await;
    let declined = world.sale(APPROVE, "A5", 100).await;
    assert_eq!((&declined["status"], &declined["response_code"]), (&json!("declined"), &json!(251)));
    let path = format!("/merchants/{}/transactions", super::MERCHANT);
    let (status, error) = world.paylike("POST", &path, authorization(super::PRIOR, "P3", 100)).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!(6)));
}

#[tokio::test]
async fn chaos_strikes_at_its_rates_and_never_the_switches() {
    let world = World::new().await;
    let rates = json!({ "drop_before": 200, "drop_after": 200, "status_500_after": 100, "decline": 200 });
    world.switch("POST", "/chaos", json!({ "seed": 11, "rates": rates })).await;
    let mut lost = 0;
    for number in 0..100 {
        let body = sale(APPROVE, &format!("C{number}"), 100);
        let request = world.client.post(format!("{}/api/transaction", world.running.url()));
        lost += i32::from(request.header("authorization", FLUIDPAY_KEY).json(&body).send().await.is_err());
    }
    let struck = world.switch("DELETE", "/chaos", Value::Null).await["struck"].clone();
    let count = |name: &str| struck[name].as_u64().unwrap_or_default();
    assert_eq!(u64::try_from(lost), Ok(count("drop_before") + count("drop_after")));
    assert!(count("drop_before") > 5 && count("drop_after") > 5 && count("decline") > 5, "{struck}");
    let moved = world.running.summary().counts.into_values().sum::<u64>();
    assert_eq!(moved, 100 - count("drop_before") - count("decline"));
    assert!(world.running.summary().charged_twice.is_empty());
}

#[tokio::test]
async fn a_stop_lets_calls_in_flight_finish() {
    let world = World::new().await;
    world.switch("POST", "/faults", json!({ "fault": "delay:200" })).await;
    let mut stream = send_sale(&world, "A6").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sandbox = std::sync::Arc::clone(world.running.sandbox());
    let addr = world.running.addr();
    world.running.stop().await;
    assert_eq!(sandbox.ledger().len(), 1);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the whole answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(TcpStream::connect(addr).await.is_err(), "nothing listens any more");
}
