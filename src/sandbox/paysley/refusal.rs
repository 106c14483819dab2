//! Paysley's failures: a field that is wrong, or a message only.

use axum::http::StatusCode;
use serde_json::json;

use super::super::reply::Reply;

/// Why a call was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum PaysleyRefusal {
    Forbidden,
    /// 400 with the name of the field.
    Field {
        field: String,
        message: String,
    },
    /// 404.
    Missing(&'static str),
}

impl PaysleyRefusal {
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), message: message.into() }
    }

    pub fn missing(message: &'static str) -> Self {
        Self::Missing(message)
    }

    pub fn into_reply(self) -> Reply {
        match self {
            Self::Forbidden => Reply::json(StatusCode::FORBIDDEN, &json!({ "message": "Forbidden" })),
            Self::Field { field, message } => {
                let body = json!({ "is_valid": false, "error_field": field, "error_message": message, "result": "failed" });
                Reply::json(StatusCode::BAD_REQUEST, &body)
            }
            Self::Missing(message) => Reply::json(StatusCode::NOT_FOUND, &json!({ "message": message, "result": "failed" })),
        }
    }
}
