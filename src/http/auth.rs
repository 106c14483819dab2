//! Who is asking: bearer keys, found by digest, and how far each reaches. Nothing under `/v1` is answered without one.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::error::Problem;
use crate::{
    billing::{App, api_keys},
    domain::{api_key::Scope, event::Actor, id::ApiKeyId},
    store,
};

/// Who is asking.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Named in the events of the changes that the caller makes.
    pub actor: Actor,
    pub key: ApiKeyId,
    pub scope: Scope,
}

/// Routes that need the scope `admin`.
pub const ADMIN_ONLY: &[(Method, &str)] = &[
    (Method::GET, "/v1/api-keys"),
    (Method::POST, "/v1/api-keys"),
    (Method::DELETE, "/v1/api-keys/{id}"),
    (Method::DELETE, "/v1/clocks/{id}"),
    (Method::POST, "/v1/jobs/{name}/run"),
    (Method::POST, "/v1/payments/{id}/resolve"),
];

/// POST routes for which `read` is enough, because they store nothing.
pub const READ_ONLY: &[(Method, &str)] =
    &[(Method::POST, "/v1/schedules/preview"), (Method::POST, "/v1/installment-plans/preview")];

/// The scope that a request needs.
fn needed(method: &Method, path: &str) -> Scope {
    let among = |routes: &[(Method, &str)]| routes.iter().any(|(known, route)| known == method && *route == path);
    if among(ADMIN_ONLY) {
        Scope::Admin
    } else if matches!(*method, Method::GET | Method::HEAD) || among(READ_ONLY) {
        Scope::Read
    } else {
        Scope::Write
    }
}

/// Lets a request in, with its [`Caller`], or answers 401 or 403.
pub async fn check(State(app): State<Arc<App>>, route: MatchedPath, mut request: Request, next: Next) -> Response {
    if !route.as_str().starts_with("/v1/") {
        return next.run(request).await;
    }
    let caller = match identify(&app, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let needed = needed(request.method(), route.as_str());
    if caller.scope < needed {
        let detail = format!("This needs a key of scope `{needed}`; the one given has `{}`.", caller.scope);
        let mut response = Problem::new(StatusCode::FORBIDDEN, detail).into_response();
        let challenge = format!("Bearer realm=\"rebilld\", error=\"insufficient_scope\", scope=\"{needed}\"");
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        return response;
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let given = headers.get(header::AUTHORIZATION).ok_or_else(|| refused("Send `Authorization: Bearer <key>`."))?;
    let key = given
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim())
        .filter(|key| !key.is_empty())
        .ok_or_else(|| refused("Send `Authorization: Bearer <key>`."))?;
    let digest = api_keys::digest(key);
    // Not cached: a revoked key must stop working at once, on every daemon.
    let known = store::api_keys::by_digest(&app.db, &digest).await?;
    match known {
        Some(known) if known.revoked_at.is_none() && bool::from(known.digest.as_bytes().ct_eq(digest.as_bytes())) => {
            Ok(Caller { actor: Actor::Key(known.id.to_string()), key: known.id, scope: known.scope })
        }
        _ => Err(refused("This key is unknown or revoked.")),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The caller is missing only on a route outside `/v1`. Such a route refuses everybody.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "This needs a key."))
    }
}
