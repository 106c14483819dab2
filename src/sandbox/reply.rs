//! How a call ends: with a finished answer, or with a closed connection.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use serde::Serialize;

/// A finished HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    body: Vec<u8>,
    headers: Vec<(HeaderName, String)>,
}

impl Reply {
    /// JSON on a single line: Paylike's node client reads answers line by line.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::bytes(status, body),
            Err(error) => Self::bytes(StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
        }
    }

    pub fn bytes(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body, headers: vec![(header::CONTENT_TYPE, "application/json".to_owned())] }
    }

    /// An empty answer that also closes the connection: the node client never reads an empty answer to its end, and its process
    /// exits only after the connection is closed.
    pub fn no_content() -> Self {
        let headers = vec![(header::CONNECTION, "close".to_owned())];
        Self { status: StatusCode::NO_CONTENT, body: Vec::new(), headers }
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// How one gateway call ends.
#[derive(Debug)]
pub enum CallEnding {
    Answer(Reply),
    /// The connection is closed without a single byte.
    Dropped,
}

/// Marks a response that must never be sent: the server closes the connection instead.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("connection dropped on purpose")]
pub struct Dropped;

impl From<CallEnding> for Response<Body> {
    fn from(ending: CallEnding) -> Self {
        match ending {
            CallEnding::Answer(reply) => {
                let mut response = Response::new(Body::from(reply.body));
                *response.status_mut() = reply.status;
                for (name, value) in reply.headers {
                    if let Ok(value) = HeaderValue::try_from(value) {
                        response.headers_mut().insert(name, value);
                    }
                }
                response
            }
            CallEnding::Dropped => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response.extensions_mut().insert(Dropped);
                response
            }
        }
    }
}
