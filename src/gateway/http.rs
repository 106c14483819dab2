//! One HTTP call to a gateway, and the question that decides everything after a bad one: can it have been processed?
//!
//! Never connected and 429 are certainly not processed. A time-out, an answer lost after sending, any 5xx and a 2xx that cannot be
//! read are unknown. A 4xx is the gateway's own word. Nothing is ever sent twice by this file: redirects and retries are off, and
//! the HTTP/1 client repeats a request by itself only while not one byte of it was written to a connection.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, TimeDelta};
use reqwest::{
    Client, Method, Request, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    Found, ReturnFound, ReturnOutcome, circuit,
    fault::GatewayFault,
    json::{parse, text},
    mask,
};
use crate::{
    domain::payment::Outcome,
    telemetry::{GATEWAY_CALL_SECONDS, GATEWAY_FAULTS},
};

/// When a read that failed is tried again.
const READ_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(200)];
/// The largest answer that is read.
const MAX_BODY_BYTES: usize = 1 << 20;
/// The longest wait that a gateway may ask for.
const MAX_RETRY_AFTER: TimeDelta = TimeDelta::hours(24);
/// Gateway texts are cut to this many characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// Installs `ring` as the TLS provider of this process. May be called any number of times.
pub fn install_tls() {
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// One account at one gateway, as its adapter needs it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured name: a metric label.
    pub name: String,
    /// With or without a slash at the end, with or without a path.
    pub base_url: String,
    /// Sent with every call, as [`Auth`] says. Never logged.
    pub api_key: SecretString,
    /// Empty where the gateway has none.
    pub merchant_id: String,
    /// For one whole call, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// How many calls the gateway gets at a time. As many connections are kept open.
    pub max_in_flight: usize,
}

/// How a gateway wants the key.
#[derive(Debug, Clone, Copy)]
pub enum Auth {
    /// `Authorization: <key>`, no scheme.
    Raw,
    /// HTTP Basic, empty user, the key as password.
    BasicPassword,
    /// `Authorization: Bearer <key>`.
    Bearer,
}

/// An answer that the gateway gave and that could be read.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpAnswer {
    /// 2xx and its JSON; `Null` when there was no body.
    Done(Value),
    /// 4xx, with the gateway's own error body where that is JSON.
    Refused {
        /// The HTTP status, from 400 to 499.
        status: u16,
        /// The error body. None: it was no JSON.
        body: Option<Value>,
    },
}

/// No answer, or none that can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Certainly not processed.
    NotProcessed {
        /// What went wrong, without secrets.
        message: String,
        /// How long a 429 asked to be left alone, at most a day.
        retry_after: Option<TimeDelta>,
    },
    /// May have been processed.
    Unknown {
        /// What went wrong, without secrets.
        message: String,
    },
}

impl NoAnswer {
    /// No answer to a call that may have been processed.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::Unknown { message: message.into() }
    }

    /// What went wrong, without secrets.
    pub fn message(self) -> String {
        match self {
            Self::NotProcessed { message, .. } | Self::Unknown { message } => message,
        }
    }
}

impl From<NoAnswer> for Outcome {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::NotProcessed { message, retry_after } => Self::GatewayError { message, retry_after },
            NoAnswer::Unknown { message } => Self::Unknown { message },
        }
    }
}

impl From<NoAnswer> for ReturnOutcome {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::NotProcessed { message, .. } => Self::GatewayError { message },
            NoAnswer::Unknown { message } => Self::Unknown { message },
        }
    }
}

impl From<NoAnswer> for Found {
    fn from(no_answer: NoAnswer) -> Self {
        Self::NoAnswer { message: no_answer.message() }
    }
}

impl From<NoAnswer> for ReturnFound {
    fn from(no_answer: NoAnswer) -> Self {
        Self::NoAnswer { message: no_answer.message() }
    }
}

/// A way to a gateway that is no network, for the simulation.
#[doc(hidden)]
#[async_trait]
pub trait Wire: Send + Sync {
    /// Takes the request there and brings the answer, within this time.
    async fn send(&self, request: Request, timeout: Duration) -> Result<Response, NoAnswer>;
}

enum Line {
    Network(Client),
    Wire(Arc<dyn Wire>),
}

/// A gateway's address, key and connections.
pub struct Http {
    line: Line,
    base: Url,
    gateway: String,
    key: SecretString,
    timeout: Duration,
    fields: Option<&'static [&'static str]>,
}

/// The connections to a gateway: kept alive, as many as calls may be under way. Sends nothing twice and follows nothing.
pub fn client(settings: &Settings, auth: Auth) -> Result<Client, String> {
    install_tls();
    let key = settings.api_key.expose_secret();
    let text = match auth {
        Auth::Raw => key.to_owned(),
        Auth::Bearer => format!("Bearer {key}"),
        Auth::BasicPassword => format!("Basic {}", BASE64_STANDARD.encode(format!(":{key}"))),
    };
    let mut authorization =
        HeaderValue::from_str(&text).map_err(|_| "api_key: must be printable ASCII on one line".to_owned())?;
    authorization.set_sensitive(true);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization), (ACCEPT, HeaderValue::from_static("application/json"))]);
    Client::builder()
        .user_agent(concat!("rebilld/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .timeout(settings.timeout)
        // Shorter than the whole, so that a connection that never came about is told apart from a lost answer.
        .connect_timeout(Duration::from_secs(5).min(settings.timeout / 2))
        .pool_max_idle_per_host(settings.max_in_flight.max(1))
        // Shorter than what servers usually allow: a connection closed under a request costs a lookup.
        .pool_idle_timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| format!("HTTP client: {error}"))
}

impl Http {
    /// Opens no connection. The error is a sentence without the key.
    pub fn new(settings: &Settings, auth: Auth) -> Result<Self, String> {
        Self::over(settings, Line::Network(client(settings, auth)?))
    }

    /// Its calls travel by this instead of a network.
    pub(super) fn through(settings: &Settings, wire: Arc<dyn Wire>) -> Result<Self, String> {
        Self::over(settings, Line::Wire(wire))
    }

    fn over(settings: &Settings, line: Line) -> Result<Self, String> {
        let base = Url::parse(&settings.base_url).map_err(|error| format!("base_url: {error}"))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err("base_url: must be an http or https address".into());
        }
        Ok(Self {
            line,
            base,
            gateway: settings.name.clone(),
            key: settings.api_key.clone(),
            timeout: settings.timeout,
            fields: None,
        })
    }

    /// Of its answers only these fields are kept, by their names, whatever they stand in.
    pub(super) fn reading(self, fields: &'static [&'static str]) -> Self {
        Self { fields: Some(fields), ..self }
    }

    /// The address of a resource. Each segment is escaped, so an id can never leave its place in the path.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A read. It moves no money, so a passing fault is met by asking again at once.
    pub async fn get(&self, operation: &'static str, url: Url) -> Result<HttpAnswer, NoAnswer> {
        self.ask(operation, Method::GET, url, None).await
    }

    /// A read that has to be posted, such as a search.
    pub async fn search(&self, operation: &'static str, url: Url, body: &Value) -> Result<HttpAnswer, NoAnswer> {
        self.ask(operation, Method::POST, url, Some(body)).await
    }

    async fn ask(&self, operation: &'static str, method: Method, url: Url, body: Option<&Value>) -> Result<HttpAnswer, NoAnswer> {
        let mut waits = READ_AGAIN_AFTER.iter();
        loop {
            match (self.call(operation, method.clone(), url.clone(), body).await, waits.next()) {
                // Who asks for fewer requests gets fewer.
                (Err(NoAnswer::NotProcessed { retry_after: Some(wait), message }), _) => {
                    return Err(NoAnswer::NotProcessed { retry_after: Some(wait), message });
                }
                (Err(_), Some(wait)) => tokio::time::sleep(*wait).await,
                (answer, _) => return answer,
            }
        }
    }

    /// Sends a call that may move money, once. An answer that cannot be believed is [`NoAnswer::Unknown`].
    pub async fn post(&self, operation: &'static str, url: Url, body: Option<&Value>) -> Result<HttpAnswer, NoAnswer> {
        self.call(operation, Method::POST, url, body).await
    }

    /// Like [`Self::post`], with `PUT`.
    pub async fn put(&self, operation: &'static str, url: Url, body: &Value) -> Result<HttpAnswer, NoAnswer> {
        self.call(operation, Method::PUT, url, Some(body)).await
    }

    /// Like [`Self::post`], with `DELETE` and without a body.
    pub async fn delete(&self, operation: &'static str, url: Url) -> Result<HttpAnswer, NoAnswer> {
        self.call(operation, Method::DELETE, url, None).await
    }

    /// One call, timed.
    async fn call(
        &self,
        operation: &'static str,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<HttpAnswer, NoAnswer> {
        let started = Instant::now();
        let answer = self.exchange(method, url, body).await;
        metrics::histogram!(GATEWAY_CALL_SECONDS, "gateway" => self.gateway.clone(), "operation" => operation)
            .record(started.elapsed());
        answer
    }

    /// Counts a fault of the gateway, and notes it in the log of the call.
    fn fault(&self, kind: &'static str, no_answer: NoAnswer) -> NoAnswer {
        metrics::counter!(GATEWAY_FAULTS, "gateway" => self.gateway.clone(), "kind" => kind).increment(1);
        let retry_after = match &no_answer {
            NoAnswer::NotProcessed { retry_after, .. } => *retry_after,
            NoAnswer::Unknown { .. } => None,
        };
        circuit::note(Err(GatewayFault { message: no_answer.clone().message(), retry_after }));
        no_answer
    }

    async fn exchange(&self, method: Method, url: Url, body: Option<&Value>) -> Result<HttpAnswer, NoAnswer> {
        let mut request = Request::new(method, url);
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.to_string().into());
        }
        let response = match &self.line {
            Line::Network(client) => client.execute(request).await.map_err(|error| self.transport(&error))?,
            Line::Wire(wire) => wire.send(request, self.timeout).await.map_err(|fault| self.fault("cut_off", fault))?,
        };
        let status = response.status();
        if status.as_u16() == 429 {
            let message = "the gateway asks for fewer requests (429)".into();
            let told = NoAnswer::NotProcessed { message, retry_after: retry_after(response.headers()) };
            return Err(self.fault("status_429", told));
        }
        if status.is_success() {
            let bytes = self.read(response).await?;
            let body = if bytes.is_empty() { Some(Value::Null) } else { parse(&bytes, self.fields) };
            let unreadable = || NoAnswer::unknown(format!("the answer ({}) is not JSON", status.as_u16()));
            let body = body.ok_or_else(|| self.fault("unreadable", unreadable()))?;
            circuit::note(Ok(()));
            return Ok(HttpAnswer::Done(body));
        }
        if status.is_client_error() {
            // The status alone says that it was refused; a lost body only loses the reason.
            let body = self.read(response).await.ok().and_then(|bytes| parse(&bytes, self.fields)).filter(|body| !body.is_null());
            let status = status.as_u16();
            circuit::note(Ok(()));
            if status == 401 {
                circuit::note_refused(self.refused_key(body.as_ref()));
            }
            // Without a word from the gateway these may come from something in between, or after the fact.
            if body.is_none() && matches!(status, 408 | 409 | 425 | 499) {
                return Err(NoAnswer::unknown(format!("status {status} without a reason")));
            }
            return Ok(HttpAnswer::Refused { status, body });
        }
        let broken = NoAnswer::unknown(format!("the gateway answered with status {}", status.as_u16()));
        Err(self.fault(if status.is_server_error() { "status_5xx" } else { "unreadable" }, broken))
    }

    /// What an operator is told of a key that the gateway does not take.
    fn refused_key(&self, body: Option<&Value>) -> String {
        let said = ["msg", "message", "error_message", "text", "error"].iter().find_map(|field| text(body?, field));
        format!("{} (http_401)", self.clean(said.unwrap_or("no reason given"), &[]))
    }

    /// The whole body, or why it cannot be had.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>, NoAnswer> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(&error))? {
            if bytes.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(self.fault("unreadable", NoAnswer::unknown("the answer is larger than 1 MiB")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// What a transport error means. The message is ours: the library's own may show addresses.
    fn transport(&self, error: &reqwest::Error) -> NoAnswer {
        if error.is_builder() {
            return NoAnswer::NotProcessed { message: "the request could not be built".into(), retry_after: None };
        }
        if error.is_connect() {
            let message = format!("could not connect: {}", self.clean(&innermost(error), &[]));
            return self.fault("not_connected", NoAnswer::NotProcessed { message, retry_after: None });
        }
        if error.is_timeout() {
            return self.fault("timed_out", NoAnswer::unknown(format!("no answer within {} ms", self.timeout.as_millis())));
        }
        let lost = NoAnswer::unknown(format!("the connection was lost: {}", self.clean(&innermost(error), &[])));
        self.fault("cut_off", lost)
    }

    /// A text of the gateway made fit for logs: no key, none of `secrets`, no card number, not long.
    pub fn clean(&self, text: &str, secrets: &[&str]) -> String {
        let mut text = text.to_owned();
        for secret in std::iter::once(self.key.expose_secret()).chain(secrets.iter().copied()) {
            if secret.len() >= 4 {
                text = text.replace(secret, "***");
            }
        }
        let masked = mask::card_numbers(&text);
        let one_line: String = masked.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        one_line.trim().chars().take(MAX_MESSAGE_CHARS).collect()
    }
}

fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// `Retry-After` in seconds or as a date. A date is read against the answer's own `Date`: no clock is needed, and none can be wrong.
fn retry_after(headers: &HeaderMap) -> Option<TimeDelta> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(MAX_RETRY_AFTER),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?;
            let now = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?;
            (until - now).max(TimeDelta::zero())
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(base_url: &str) -> Http {
        let settings = Settings {
            name: "test".into(),
            base_url: base_url.into(),
            api_key: "api_secret_key".into(),
            merchant_id: String::new(),
            timeout: Duration::from_secs(1),
            max_in_flight: 1,
        };
        Http::new(&settings, Auth::Raw).expect("usable settings")
    }

    #[test]
    fn addresses_keep_their_prefix_and_ids_stay_in_their_place() {
        for base in ["http://host/api", "http://host/api/"] {
            assert_eq!(http(base).url(&["transaction", "a/../b?c"]).as_str(), "http://host/api/transaction/a%2F..%2Fb%3Fc");
        }
        assert_eq!(http("https://api.paylike.io").url(&["me"]).as_str(), "https://api.paylike.io/me");
    }

    #[test]
    fn a_bad_address_or_key_is_told_without_the_key() {
        let settings = |base_url: &str, key: &str| Settings {
            name: "test".into(),
            base_url: base_url.into(),
            api_key: key.into(),
            merchant_id: String::new(),
            timeout: Duration::from_secs(1),
            max_in_flight: 1,
        };
        for (base_url, key) in [("nowhere", "k"), ("ftp://host", "k"), ("mailto:a@b", "k"), ("http://host", "se\ncret")] {
            let error = Http::new(&settings(base_url, key), Auth::Raw).err().expect("must be refused");
            assert!(!error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn messages_never_show_keys_tokens_or_card_numbers() {
        let http = http("http://host");
        let dirty = "key api_secret_key for cus_1234 card 4111111111111111, 4111 1111-1111 1111 on 2026-01-02\nline";
        let clean = http.clean(dirty, &["cus_1234", ""]);
        assert_eq!(clean, "key *** for *** card ****, **** on 2026-01-02 line");
        assert_eq!(http.clean(&"é".repeat(500), &[]).chars().count(), 200);
    }

    #[test]
    fn waits_are_read_in_seconds_or_as_a_date() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().expect("name"), HeaderValue::from_static(value))).collect()
        };
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let after = |pairs: &[(&'static str, &'static str)]| retry_after(&headers(pairs));
        assert_eq!(after(&[("retry-after", "7")]), Some(TimeDelta::seconds(7)));
        assert_eq!(after(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date]), Some(TimeDelta::seconds(30)));
        assert_eq!(after(&[("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT"), date]), Some(TimeDelta::zero()));
        assert_eq!(after(&[("retry-after", "99999999999")]), Some(MAX_RETRY_AFTER));
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[]), None);
    }
}
