//! Paylike's failures: the two forms of a 400, and failures with a message only.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::super::{body::WrongType, reply::Reply};

/// Why a call was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum PaylikeRefusal {
    /// 400 with an array: each field that is wrong.
    Invalid(Vec<InvalidField>),
    /// 400 with an object: the card was declined.
    Declined(ProcessingError),
    Unauthorized,
    Forbidden,
    NotFound,
    /// The call asks for something that has already happened.
    Conflict(&'static str),
}

/// One field that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct InvalidField {
    pub field: String,
    pub message: String,
}

impl InvalidField {
    fn new(field: &str, message: &str) -> Self {
        Self { field: field.to_owned(), message: message.to_owned() }
    }
}

/// Why a card was declined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProcessingError {
    pub code: u16,
    pub message: &'static str,
    /// Whether the payer can solve it.
    pub client: bool,
    /// Whether the merchant can solve it.
    pub merchant: bool,
}

/// Processing errors: code, text, and who can solve it (`c` the payer, `m` the merchant).
pub const CODES: [(u16, &str, char); 31] = [
    (1, "Invalid card details", 'c'),
    (2, "Invalid card number", 'c'),
    (3, "Invalid card code", 'c'),
    (4, "Invalid expiry", 'c'),
    (5, "Invalid currency", 'm'),
    (6, "Card expired", 'c'),
    (7, "Insufficient funds", 'c'),
    (8, "Declined by the card's bank", 'c'),
    (9, "Card restricted", 'c'),
    (10, "Rejected", 'c'),
    (11, "Transaction rejected", 'c'),
    (12, "Declined", 'c'),
    (13, "Invalid descriptor", 'm'),
    (14, "Invalid amount", 'm'),
    (15, "Missing field", 'm'),
    (16, "Missing card number", 'm'),
    (17, "Missing card code", 'm'),
    (18, "Missing expiry", 'm'),
    (19, "Missing amount", 'm'),
    (20, "Missing currency", 'm'),
    (21, "HTTPS required", 'm'),
    (22, "Amount too large", 'm'),
    (23, "Invalid custom data", 'm'),
    (24, "Invalid request", 'm'),
    (25, "Card limit reached", 'c'),
    (26, "Invalid key", 'm'),
    (27, "Merchant may not make transactions", 'm'),
    (28, "Merchant may not use saved cards", 'm'),
    (29, "Card not supported", 'c'),
    (30, "3-D Secure required", 'c'),
    (31, "3-D Secure failed", 'c'),
];

impl ProcessingError {
    pub fn of(code: u16) -> Self {
        let (message, side) = CODES.iter().find(|known| known.0 == code).map_or(("Declined", 'c'), |known| (known.1, known.2));
        Self { code, message, client: side == 'c', merchant: side == 'm' }
    }
}

impl PaylikeRefusal {
    pub fn field(field: &str, message: &str) -> Self {
        Self::Invalid(vec![InvalidField::new(field, message)])
    }

    pub fn into_reply(self) -> Reply {
        let plain = |status, message: &str| Reply::json(status, &json!({ "message": message }));
        match self {
            Self::Invalid(fields) => Reply::json(StatusCode::BAD_REQUEST, &fields),
            Self::Declined(decline) => Reply::json(StatusCode::BAD_REQUEST, &decline),
            Self::Unauthorized => plain(StatusCode::UNAUTHORIZED, "a key is required"),
            Self::Forbidden => plain(StatusCode::FORBIDDEN, "not yours"),
            Self::NotFound => plain(StatusCode::NOT_FOUND, "not found"),
            Self::Conflict(message) => plain(StatusCode::CONFLICT, message),
        }
    }
}

/// Collects every wrong field of a body, so that one answer names them all.
#[derive(Debug, Default)]
pub struct InvalidFields(Vec<InvalidField>);

impl InvalidFields {
    pub fn add(&mut self, field: &str, message: &str) {
        self.0.push(InvalidField::new(field, message));
    }

    /// The value of a field. If its type is wrong, notes that and returns the default.
    pub fn take<T: Default>(&mut self, field: &str, read: Result<Option<T>, WrongType>) -> Option<T> {
        read.unwrap_or_else(|wrong| {
            self.add(field, wrong.0);
            Some(T::default())
        })
    }

    /// Like [`InvalidFields::take`], for a field that must not be missing.
    pub fn require<T: Default>(&mut self, field: &str, read: Result<Option<T>, WrongType>) -> T {
        self.take(field, read).unwrap_or_else(|| {
            self.add(field, "is required");
            T::default()
        })
    }

    pub fn check(self) -> Result<(), PaylikeRefusal> {
        if self.0.is_empty() { Ok(()) } else { Err(PaylikeRefusal::Invalid(self.0)) }
    }
}
