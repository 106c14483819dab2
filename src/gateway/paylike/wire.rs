//! Paylike's answers: a transaction with its amounts, and the two shapes of a refusal.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    super::{
        json::{integer, text},
        remote_state::{RemoteState, agrees},
        statuses,
    },
    codes::class,
};
use crate::domain::{
    money::Currency,
    payment::{Decline, DeclineClass},
};

/// One transaction. Read liberally: only the id must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    pub id: String,
    pub amount: Option<i64>,
    pub currency: Option<String>,
    /// From `created`, or from the time inside the id.
    pub created: Option<DateTime<Utc>>,
    /// Our own mark in `custom`.
    pub reference: Option<String>,
    /// Still reserved.
    pub pending: Option<i64>,
    /// All that was ever captured, whether or not it was given back later; never less than that.
    pub captured: i64,
    pub refunded: i64,
    pub voided: i64,
    pub disputed: Option<i64>,
    /// The processing error of an attempt that failed.
    pub error: Option<Decline>,
}

impl Transaction {
    /// Takes the transaction itself or wrapped in `{transaction}`.
    pub fn read(value: &Value) -> Option<Self> {
        let object = value.get("transaction").filter(|inner| inner.is_object()).unwrap_or(value);
        let id = text(object, "id")?.to_owned();
        let number = |field: &str| object.get(field).and_then(integer);
        let custom = object.get("custom");
        let reference = custom.and_then(|custom| text(custom, "reference").or_else(|| custom.as_str())).map(str::to_owned);
        let refunded = number("refundedAmount").unwrap_or(0);
        // The trail tells what was ever captured. `capturedAmount` is "available for refund" and may sink with refunds: without
        // a trail, the sum is right if it does and too much if it does not, and what was asked for caps it.
        let trail: i64 = object.get("trail").and_then(Value::as_array).map_or(0, |trail| {
            let captures = trail.iter().filter(|entry| entry.get("capture") == Some(&Value::Bool(true)));
            captures.filter_map(|entry| entry.get("amount").and_then(integer)).sum()
        });
        let captured = if trail > 0 { trail } else { number("capturedAmount").unwrap_or(0) + refunded };
        let failed = object.get("successful") == Some(&Value::Bool(false));
        let error = object.get("error").filter(|error| error.is_object());
        Some(Self {
            created: text(object, "created").and_then(|at| at.parse().ok()).or_else(|| time_in(&id)),
            amount: number("amount"),
            currency: text(object, "currency").map(str::to_owned),
            reference,
            pending: number("pendingAmount"),
            captured,
            refunded,
            voided: number("voidedAmount").unwrap_or(0),
            disputed: number("disputedAmount"),
            error: (failed || error.is_some()).then(|| processing_error(error.unwrap_or(&Value::Null))),
            id,
        })
    }

    pub fn state(&self, asked_minor: i64) -> RemoteState {
        if self.captured > 0 {
            return RemoteState::Taken { amount_minor: self.captured.min(asked_minor) };
        }
        if let Some(decline) = &self.error {
            return RemoteState::Declined(decline.clone());
        }
        match self.pending {
            Some(pending) if pending >= asked_minor => RemoteState::Authorized,
            Some(0) if self.voided > 0 => RemoteState::Voided,
            Some(pending) => RemoteState::Unclear(format!("{pending} of {asked_minor} is reserved (transaction {})", self.id)),
            None => RemoteState::Unclear(format!("the gateway gives no amounts (transaction {})", self.id)),
        }
    }

    /// Whether it is the payment that was asked for; the error names both sides.
    pub fn agrees(&self, amount_minor: i64, currency: Currency) -> Result<(), String> {
        agrees(&self.id, self.amount.as_slice(), self.currency.as_deref(), amount_minor, currency)
    }
}

/// Ids are time-ordered: 24 hex digits, of which the first eight are seconds since 1970.
fn time_in(id: &str) -> Option<DateTime<Utc>> {
    if id.len() != 24 || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    DateTime::from_timestamp(i64::from_str_radix(&id[..8], 16).ok()?, 0)
}

/// `{code, message | text, client, merchant}`.
fn processing_error(error: &Value) -> Decline {
    let code = error.get("code").and_then(integer);
    let ours = error.get("merchant") == Some(&Value::Bool(true));
    let message = ["message", "text"].iter().find_map(|field| text(error, field)).unwrap_or("declined").to_owned();
    Decline {
        class: code.map_or(DeclineClass::Soft, |code| class(code, ours)),
        code: code.map_or_else(|| "declined".to_owned(), |code| code.to_string()),
        message,
    }
}

/// What a 4xx says about a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The card was refused, or the gateway named a fault by its code.
    Processing(Decline),
    /// The request was refused: nothing was processed. `fields` are the ones named as wrong.
    Request { status: u16, code: String, message: String, fields: Vec<String> },
}

impl Refusal {
    pub fn read(status: u16, body: Option<&Value>) -> Self {
        let code = format!("http_{status}");
        match body {
            Some(error) if status == 400 && error.get("code").and_then(integer).is_some() => {
                Self::Processing(processing_error(error))
            }
            Some(Value::Array(faults)) => {
                let one = |fault: &Value| {
                    let field = text(fault, "field").unwrap_or("request");
                    format!("{field}: {}", text(fault, "message").unwrap_or("is wrong"))
                };
                let message = faults.iter().map(one).collect::<Vec<_>>().join("; ");
                let fields = faults.iter().filter_map(|fault| text(fault, "field").map(str::to_owned)).collect();
                Self::Request { status, code: "validation".into(), message, fields }
            }
            Some(error) => {
                let message = ["message", "text", "error"].iter().find_map(|field| text(error, field));
                Self::Request { status, code, message: message.unwrap_or("no reason given").to_owned(), fields: Vec::new() }
            }
            None => Self::Request { status, code, message: "no reason given".into(), fields: Vec::new() },
        }
    }

    /// Whether this field, and no other, was named as wrong.
    pub fn is_about(&self, field: &str) -> bool {
        matches!(self, Self::Request { fields, .. } if !fields.is_empty() && fields.iter().all(|named| named == field))
    }

    /// As a decline: a refused request is the operator's business.
    pub fn decline(self) -> Decline {
        match self {
            Self::Processing(decline) => decline,
            Self::Request { status, code, message, .. } => Decline { class: statuses::class(status), code, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn transaction(pending: i64, captured: i64, refunded: i64, voided: i64) -> Value {
        json!({ "transaction": {
            "id": "560fd96b7973ff3d2362a78c", "created": "2026-03-01T06:00:01.000Z", "currency": "EUR", "amount": 2500,
            "pendingAmount": pending, "capturedAmount": captured, "refundedAmount": refunded, "voidedAmount": voided,
            "custom": { "reference": "REF1" }, "successful": true, "error": false, "trail": [],
        }})
    }
    fn state(value: &Value) -> RemoteState {
        Transaction::read(value).expect("readable").state(2500)
    }

    #[test]
    fn the_amounts_say_where_the_money_is() {
        assert_eq!(state(&transaction(2500, 0, 0, 0)), RemoteState::Authorized);
        assert_eq!(state(&transaction(0, 2500, 0, 0)), RemoteState::Taken { amount_minor: 2500 });
        assert_eq!(state(&transaction(0, 0, 0, 2500)), RemoteState::Voided);
        assert_eq!(state(&transaction(1500, 1000, 0, 0)), RemoteState::Taken { amount_minor: 1000 });
        assert!(matches!(state(&transaction(1000, 0, 0, 1500)), RemoteState::Unclear(_)));
        assert!(matches!(state(&json!({ "id": "x" })), RemoteState::Unclear(_)), "no amounts prove nothing");
    }

    #[test]
    fn money_given_back_was_still_taken_once() {
        // Whether the captured amount sinks with refunds is not documented: both readings must end the same.
        for (captured, refunded) in [(0, 2500), (2500, 2500), (1500, 1000), (2500, 1000)] {
            assert_eq!(state(&transaction(0, captured, refunded, 0)), RemoteState::Taken { amount_minor: 2500 });
        }
        let mut partly = transaction(0, 1000, 500, 1500);
        partly["transaction"]["trail"] = json!([{ "capture": true, "amount": 1000 }, { "refund": true, "amount": 500 }]);
        assert_eq!(state(&partly), RemoteState::Taken { amount_minor: 1000 });
    }

    #[test]
    fn a_failed_attempt_is_a_decline_with_its_code() {
        let failed = json!({ "id": "x", "successful": false, "error": { "code": 6, "message": "Card expired", "client": true } });
        let RemoteState::Declined(decline) = state(&failed) else { panic!("a decline") };
        assert_eq!((decline.class, decline.code.as_str()), (DeclineClass::NewCardNeeded, "6"));
        assert!(matches!(state(&json!({ "id": "x", "successful": false })), RemoteState::Declined(_)));
    }

    #[test]
    fn both_shapes_of_a_refusal_are_told_apart() {
        let card = json!({ "code": 7, "text": "Insufficient funds", "client": true, "merchant": false });
        let Refusal::Processing(decline) = Refusal::read(400, Some(&card)) else { panic!("the card") };
        assert_eq!((decline.class, decline.message.as_str()), (DeclineClass::Soft, "Insufficient funds"));
        let input = json!([{ "field": "amount", "message": "must be a number" }, { "field": "currency" }]);
        let decline = Refusal::read(400, Some(&input)).decline();
        assert_eq!((decline.class, decline.code.as_str()), (DeclineClass::ChargeRefused, "validation"));
        assert_eq!(decline.message, "amount: must be a number; currency: is wrong");
        assert_eq!(Refusal::read(401, None).decline().class, DeclineClass::AccountRefused);
        assert_eq!(Refusal::read(403, Some(&json!({ "message": "no" }))).decline().message, "no");
    }

    #[test]
    fn time_and_reference_are_read_wherever_they_stand() {
        let read = Transaction::read(&transaction(0, 0, 0, 0)).expect("readable");
        assert_eq!(read.reference.as_deref(), Some("REF1"));
        let bare = Transaction::read(&json!({ "id": "560fd96b7973ff3d2362a78c", "custom": "REF1" })).expect("readable");
        assert_eq!(bare.reference.as_deref(), Some("REF1"));
        assert_eq!(bare.created.map(|at| at.timestamp()), Some(0x560f_d96b));
        assert_eq!(Transaction::read(&json!({ "id": "short" })).expect("readable").created, None);
    }
}
