//! The pretend outside world, tested from outside: over TCP, and with a real client of the real gateway.

mod faults;
mod fluidpay;
mod paylike;
mod paylike_client;
mod paysley;
mod switches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rebilld::{
    clock::Clock,
    sandbox::{self, Options, SandboxServer},
};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

pub const FLUIDPAY_KEY: &str = "api_sandboxkey0000000000000";
pub const PAYSLEY_KEY: &str = "py_test_sandboxkey000000000";
pub const PAYLIKE_KEY: &str = "4ff7de37-dddf-4e51-8cc9-48b61a102923";
pub const PAYLIKE_APP: &str = "555eca95ed59804d2cf12b11";
pub const MERCHANT: &str = "55006bdfe0308c4cbfdbd0e1";
pub const PRIOR: &str = "560fd96b7973ff3d2362a78c";
pub const APPROVE: &str = "approve0000000000000";

/// A sandbox on a free port and a client for it.
pub struct World {
    pub running: SandboxServer,
    pub client: Client,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let now = Arc::new(|| Clock::System.now());
        let running = sandbox::start(free, now, options).await.expect("a free port");
        // A second installation fails; the first one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(Duration::from_secs(20)).build().expect("client");
        Self { running, client }
    }

    async fn send(&self, method: Method, path: &str, authorization: &str, body: &Value) -> reqwest::Result<Response> {
        let request = self.client.request(method, format!("{}{path}", self.running.url()));
        let request = request.header("authorization", authorization);
        if body.is_null() { request } else { request.json(body) }.send().await
    }

    /// Makes a FluidPay call that must be answered. Returns status and body.
    pub async fn fluidpay(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let method = method.parse().expect("method");
        read(self.send(method, &format!("/api{path}"), FLUIDPAY_KEY, &body).await.expect("answer")).await
    }

    /// Makes a Paylike call that must be answered. Returns status and body.
    pub async fn paylike(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let method = method.parse().expect("method");
        read(self.send(method, path, &paylike_authorization(), &body).await.expect("answer")).await
    }

    /// Makes a Paysley call that must be answered. Returns status and body. The path includes the prefix, if any.
    pub async fn paysley(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let method = method.parse().expect("method");
        read(self.send(method, path, &format!("Bearer {PAYSLEY_KEY}"), &body).await.expect("answer")).await
    }

    /// Makes a call to the switches that must succeed. Returns its `data`.
    pub async fn switch(&self, method: &str, path: &str, body: Value) -> Value {
        let method = method.parse().expect("method");
        let answer = self.send(method, &format!("/_sandbox{path}"), "", &body).await.expect("answer");
        let (status, body) = read(answer).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body.get("data").cloned().unwrap_or(body)
    }

    /// Makes a sale with this token that must be answered. Returns its `data`.
    pub async fn sale(&self, token: &str, order_id: &str, amount: i64) -> Value {
        let (status, body) = self.fluidpay("POST", "/transaction", sale(token, order_id, amount)).await;
        assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("success")), "{body}");
        body["data"].clone()
    }

    /// Makes a Paylike authorization that must be approved. Returns its id.
    pub async fn authorize(&self, reference: &str, amount: i64) -> String {
        let path = format!("/merchants/{MERCHANT}/transactions");
        let (status, body) = self.paylike("POST", &path, authorization(PRIOR, reference, amount)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["transaction"]["id"].as_str().expect("id").to_owned()
    }

    /// The ledger as lines of `kind reference amount`.
    pub fn ledger(&self) -> Vec<String> {
        let entries = serde_json::to_value(self.running.ledger()).expect("json");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |entry: &Value| format!("{} {} {}", text(&entry["kind"]), text(&entry["reference"]), entry["amount"]);
        entries.as_array().expect("list").iter().map(line).collect()
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.bytes().await.expect("body");
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub fn sale(token: &str, order_id: &str, amount: i64) -> Value {
    json!({ "type": "sale", "amount": amount, "order_id": order_id, "payment_method": { "customer": { "id": token } } })
}

pub fn authorization(prior: &str, reference: &str, amount: i64) -> Value {
    json!({ "transactionId": prior, "currency": "EUR", "amount": amount, "custom": { "reference": reference } })
}

pub fn paylike_authorization() -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(format!(":{PAYLIKE_KEY}")))
}
