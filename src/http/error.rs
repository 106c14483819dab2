//! What goes wrong, as RFC 9457 problems. Internals stay in the log; the answer carries the request id that finds them there.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{billing::BillingError, input::FieldError, store};

/// The body of every 4xx and 5xx answer, `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: &'static str,
    #[serde(serialize_with = "number")]
    #[schema(value_type = u16)]
    pub status: StatusCode,
    pub detail: String,
    /// All faults of the request at once; only for 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Finds the cause in the log; only for 5xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem of this status; type and title follow from it.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (kind, title) = match status.as_u16() {
            400 => ("urn:rebilld:problem:not-json", "The body is not JSON"),
            401 => ("urn:rebilld:problem:no-key", "A valid API key is needed"),
            403 => ("urn:rebilld:problem:scope", "The API key does not reach this far"),
            404 => ("urn:rebilld:problem:not-found", "There is no such thing"),
            405 => ("urn:rebilld:problem:method", "This address does not know the method"),
            409 => ("urn:rebilld:problem:state", "The state does not allow it"),
            413 => ("urn:rebilld:problem:too-large", "The body is too large"),
            422 => ("urn:rebilld:problem:invalid", "The request has faults"),
            503 => ("urn:rebilld:problem:unavailable", "Not available just now"),
            _ if status.is_server_error() => ("urn:rebilld:problem:internal", "Something went wrong here"),
            _ => ("about:blank", status.canonical_reason().unwrap_or("Refused")),
        };
        Self { kind, title, status, detail: detail.into(), errors: Vec::new(), request_id: None }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The cause is in the log, under this request id.")
    }

    /// 422 with all its faults.
    pub fn invalid(faults: impl IntoIterator<Item = FieldError>) -> Self {
        let errors: Vec<FieldError> =
            faults.into_iter().map(|fault| FieldError { field: fault.field, message: fault.message }).collect();
        let said = |error: &FieldError| {
            if error.field.is_empty() { error.message.clone() } else { format!("{}: {}", error.field, error.message) }
        };
        let detail = match errors.as_slice() {
            [only] => said(only),
            [first, others @ ..] => format!("{} (and {} more)", said(first), others.len()),
            [] => "The request cannot be accepted.".to_owned(),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl From<BillingError> for Problem {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::NotFound { .. } => Self::not_found(error.to_string()),
            BillingError::WrongState(detail) => Self::conflict(detail),
            BillingError::Invalid(faults) => Self::invalid(faults),
            BillingError::Store(error) => error.into(),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        tracing::error!(%error, "a request failed in the database");
        match error {
            store::Error::Unreachable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "The database cannot be reached."),
            store::Error::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Another change was being made to the same rows; nothing was changed here. Try again.",
            ),
            store::Error::NotMigrated => Self::new(StatusCode::SERVICE_UNAVAILABLE, "The database is not migrated."),
            _ => Self::internal(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"rebilld\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every error answer the one shape, also those that the framework itself makes (404, 405, 413).
pub async fn shape(request: Request, next: Next) -> Response {
    let target = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || response.extensions().get::<Problem>().is_some() {
        return response;
    }
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json") {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => "Nothing answers at this address; /openapi.json lists what does.".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "The Allow header lists the methods of this address.".to_owned(),
        StatusCode::PAYLOAD_TOO_LARGE => "A body may have 1 MiB at most.".to_owned(),
        _ => status.canonical_reason().unwrap_or("The request was refused.").to_owned(),
    };
    tracing::debug!(%target, %status, "shaped");
    let mut shaped = Problem::new(status, detail).into_response();
    for (name, value) in response.headers() {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) {
            shaped.headers_mut().insert(name, value.clone());
        }
    }
    shaped
}
