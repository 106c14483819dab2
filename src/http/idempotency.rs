//! `Idempotency-Key` on any POST: the same key and request get the same answer for 24 hours, another request gets 409.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{auth::Caller, error::Problem};
use crate::{
    billing::{
        App,
        idempotency::{self, Begun},
    },
    domain::{card_number::looks_like_card_number, id::ApiKeyId},
    input::FieldError,
};

const HEADER: &str = "idempotency-key";
const REPLAYED: &str = "idempotent-replayed";
const MAX_CHARACTERS: usize = 255;

/// Marks an answer that holds a secret, and holds what a repeat gets in its place.
#[derive(Debug, Clone)]
pub struct KeepInstead(pub String);

/// The requests with a key that this process is answering.
#[derive(Default)]
pub struct Running(Mutex<HashSet<(ApiKeyId, String)>>);

/// Takes a request out of [`Running`] however it ends.
struct Turn<'r> {
    running: &'r Running,
    key: (ApiKeyId, String),
}

impl Running {
    fn enter(&self, owner: ApiKeyId, key: &str) -> Option<Turn<'_>> {
        let key = (owner, key.to_owned());
        let fresh = self.0.lock().insert(key.clone());
        fresh.then_some(Turn { running: self, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.running.0.lock().remove(&self.key);
    }
}

/// Answers repeats from what was kept, and keeps what is answered first.
pub async fn replay(State((app, running)): State<(Arc<App>, Arc<Running>)>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let given = request.headers().get(HEADER).cloned();
    match (request.method() == Method::POST, caller, given) {
        (true, Some(caller), Some(given)) => {
            answer(&app, &running, caller.key, &given, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        _ => next.run(request).await,
    }
}

/// A preview stores nothing, so each preview is answered anew and leaves its key free for the real request.
fn is_preview(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct PreviewFlag {
        preview: bool,
    }
    serde_json::from_slice::<PreviewFlag>(body).is_ok_and(|asked| asked.preview)
}

async fn answer(
    app: &Arc<App>,
    running: &Running,
    owner: ApiKeyId,
    given: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key_text(given)?;
    let (parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), app)
        .await
        .map_err(|rejection| Problem::new(rejection.status(), "The body could not be read, or is larger than 1 MiB."))?;
    if is_preview(&body) {
        return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
    }
    let digest = digest(&parts.method, &parts.uri.to_string(), &body);
    let Some(_turn) = running.enter(owner, key) else {
        return Err(Problem::conflict("A request with this Idempotency-Key is being answered right now."));
    };
    match idempotency::begin(app, owner, key, &digest).await? {
        Begun::First => {}
        Begun::Answered { status, body } => return Ok(replayed(status, body)),
        Begun::OtherRequest => {
            return Err(Problem::conflict("This Idempotency-Key belongs to another request: use a new key for this one."));
        }
        Begun::Unfinished => {
            return Err(Problem::conflict(
                "An earlier request with this Idempotency-Key did not finish: it was cut off, or another daemon is answering it. \
                 Look whether it took effect, and use a new key if it did not.",
            ));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    Ok(keep(app, owner, key, response).await)
}

async fn keep(app: &App, owner: ApiKeyId, key: &str, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Problem::internal().into_response();
    };
    let status = parts.status.as_u16();
    let kept = if parts.status.is_server_error() {
        // The request failed, or its outcome is unknown: a repeat must be able to try again.
        idempotency::free(app, owner, key).await
    } else {
        let text = parts.extensions.get::<KeepInstead>().map(|instead| instead.0.clone());
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
        idempotency::keep(app, owner, key, status, &text).await
    };
    if let Err(error) = kept {
        // The request was carried out, so its answer must reach the caller.
        tracing::error!(%error, "the answer could not be kept for repeats");
    }
    Response::from_parts(parts, Body::from(body))
}

fn key_text(given: &HeaderValue) -> Result<&str, Problem> {
    let refused = |message: &str| Problem::invalid([FieldError::new("Idempotency-Key", message)]);
    let key = given.to_str().map_err(|_| refused("must be visible ASCII"))?.trim();
    if key.is_empty() || key.len() > MAX_CHARACTERS {
        return Err(refused("must have from 1 to 255 characters"));
    }
    if looks_like_card_number(key) {
        return Err(refused("looks like a card number"));
    }
    Ok(key)
}

fn digest(method: &Method, address: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{method} {address}\n"));
    hash.update(body);
    hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn replayed(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_client_error() { "application/problem+json" } else { "application/json" };
    let mut response = (status, [(REPLAYED, "true")], body).into_response();
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
