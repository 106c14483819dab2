//! The admin endpoint as an operator's program would call it.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

pub struct Endpoint {
    client: Client,
    url: String,
    key: String,
}

impl Endpoint {
    pub fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().context("no HTTP client")?;
        Ok(Self { client, url: url.to_owned(), key: key.to_owned() })
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send("POST", path, self.client.post(format!("{}{path}", self.url)).json(body)).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send("GET", path, self.client.get(format!("{}{path}", self.url))).await
    }

    async fn send(&self, method: &str, path: &str, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.bearer_auth(&self.key).send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{method} {path}"))?;
        if !status.is_success() {
            bail!("{method} {path} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path} was answered with something else than JSON"))
    }
}
