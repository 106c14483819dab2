//! The HTTP door over real HTTP, on both databases: the contract that programs and people rely on.

mod bad_input;
mod clocks;
mod idempotency;
mod keys;
mod lists;
mod system;

use std::{sync::Arc, time::Duration};

use rebilld::{
    billing::{self, App},
    clock::Clock,
    config::Config,
    domain::{api_key::Scope, event::Actor},
    gateway::Gateways,
    http,
    store::Db,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{postgres, world::On};

const BOOTSTRAP_KEY: &str = "the key of the settings";

/// A listening door and its keys.
pub struct Door {
    pub app: Arc<App>,
    pub base: String,
    pub admin: String,
    pub write: String,
    pub read: String,
    pub client: reqwest::Client,
    pub wall: Clock,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    _folder: TempDir,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Asserts the shape of a problem and answers its body.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {self:?}");
        }
        problem
    }

    /// The fields that a 422 names.
    pub fn faults(&self) -> Vec<String> {
        let problem = self.problem(422);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self:?}"));
        errors.iter().map(|error| error["field"].as_str().expect("a field").to_owned()).collect()
    }

    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

impl Door {
    pub async fn open(on: On) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match on {
            On::Sqlite => format!("sqlite://{}", folder.path().join("rebilld.db").display()),
            On::Postgres => postgres::fresh_database().await?,
        };
        rebilld::gateway::http::install_tls();
        let db = Db::open(&url, 8, true).await.expect("database");
        db.migrate().await.expect("migrated");
        let mut config = Config::defaults();
        config.admin.bootstrap_key = BOOTSTRAP_KEY.into();
        let wall = Clock::manual("2026-06-01T12:00:00Z".parse().expect("instant"));
        let app = Arc::new(App::new(db, wall.clone(), config, Gateways::default(), [3; 32]));
        billing::keys::bootstrap(&app).await.expect("bootstrap key");
        let mut made = Vec::new();
        for scope in [Scope::Write, Scope::Read] {
            made.push(billing::keys::create(&app, &Actor::System, scope.as_str(), scope).await.expect("key").1);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(http::serve(listener, app.clone(), stop.clone()));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("client");
        let (write, read) = (made.remove(0), made.remove(0));
        Some(Self { app, base, admin: BOOTSTRAP_KEY.to_owned(), write, read, client, wall, stop, serving, _folder: folder })
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.serving.await.expect("joined").expect("served");
    }

    pub async fn send(&self, method: &str, path: &str, key: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Answer {
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).expect("method"), format!("{}{path}", self.base));
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("text") }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &self.admin, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &self.admin, &[], Some(body.to_string().into_bytes())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &self.admin, &[], None).await
    }

    pub async fn post_with_key(&self, path: &str, idempotency_key: &str, body: Value) -> Answer {
        self.send("POST", path, &self.admin, &[("idempotency-key", idempotency_key)], Some(body.to_string().into_bytes())).await
    }

    pub async fn clock(&self, now: &str) -> String {
        let clock = self.post("/v1/clocks", serde_json::json!({"name": "c", "now": now})).await.ok(StatusCode::CREATED.as_u16());
        clock["id"].as_str().expect("id").to_owned()
    }
}

/// Two tests of one body, one for each database.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($door:ident) $body:block)+) => {$(
        async fn $name($door: &crate::http::Door) $body

        mod $name {
            async fn on(on: crate::world::On) {
                if let Some(door) = crate::http::Door::open(on).await {
                    super::$name(&door).await;
                    door.close().await;
                }
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                on(crate::world::On::Sqlite).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                on(crate::world::On::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both;
