//! Paysley's answers: payments with amounts in major units, and its several shapes of a refusal.

use serde_json::{Number, Value};

use super::super::{json::text, statuses};
use crate::domain::{money::Currency, payment::DeclineClass};

/// Minor units as the JSON number in major units that the live system insists on. Written from its decimal text, no arithmetic.
pub fn amount(minor: i64, currency: Currency) -> Value {
    currency.major(minor).parse::<Number>().map_or(Value::Null, Value::Number)
}

/// Whether an answer says that it worked: `result` or `status`, of which either may be missing.
pub fn succeeded(body: &Value) -> bool {
    let word = |field: &str| text(body, field).map(str::to_ascii_lowercase);
    let fine = |word: &str| matches!(word, "success" | "ack");
    match (word("result"), word("status")) {
        (Some(result), _) => fine(&result),
        // A refund's or capture's status says what it is.
        (None, Some(status)) => fine(&status) || matches!(status.as_str(), "refund" | "capture" | "end_subscription"),
        (None, None) => body.get("is_valid") != Some(&Value::Bool(false)) && text(body, "transaction_id").is_some(),
    }
}

/// One entry of the payment history. Read liberally: only the id must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    pub id: String,
    pub reference: Option<String>,
    /// `CC.DB` a charge, `CC.RF` a refund, `CC.RV` a reversal, and others before the dot.
    pub kind: String,
    pub succeeded: bool,
    pub currency: Option<Currency>,
    /// The payment that a refund or reversal is of.
    pub of: Option<String>,
    amount: Option<String>,
    /// What was taken of a reservation.
    captured: Option<String>,
}

impl Payment {
    /// Takes the payment itself or wrapped in `{payment}`.
    pub fn read(value: &Value) -> Option<Self> {
        let object = value.get("payment").filter(|inner| inner.is_object()).unwrap_or(value);
        let amount = |field: &str| match object.get(field) {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => None,
        };
        let status = text(object, "status").map(str::to_ascii_lowercase);
        Some(Self {
            id: text(object, "payment_id")?.to_owned(),
            reference: text(object, "reference_number").map(str::to_owned),
            kind: text(object, "payment_type").unwrap_or_default().to_owned(),
            succeeded: matches!(status.as_deref(), Some("success" | "ack")),
            currency: text(object, "currency").and_then(|code| code.parse().ok()),
            of: text(object, "reference_payment_id").map(str::to_owned),
            amount: amount("amount"),
            captured: amount("captured_amount"),
        })
    }

    fn is(&self, suffixes: &[&str]) -> bool {
        self.kind.rsplit('.').next().is_some_and(|suffix| suffixes.contains(&suffix))
    }

    /// Money that came: a direct debit, or a reservation that was captured.
    pub fn is_charge(&self) -> bool {
        self.of.is_none() && (self.is(&["DB", "CP"]) || self.is(&["PA"]) && self.captured.is_some())
    }

    /// Money that has still to be captured.
    pub fn is_authorized(&self) -> bool {
        self.of.is_none() && self.is(&["PA"]) && self.captured.is_none()
    }

    pub fn is_return(&self) -> bool {
        self.is(&["RF", "RV"])
    }

    /// None if it is no amount of its currency.
    pub fn amount_minor(&self) -> Option<i64> {
        self.currency?.minor(self.captured.as_deref().or(self.amount.as_deref())?)
    }
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// `{error_field, error_message}`, `{message}`, or `{errors: [{field, message}]}`.
    pub fn read(status: u16, body: Option<&Value>) -> Self {
        let none = || Self { status, code: format!("http_{status}"), message: "no reason given".to_owned() };
        let Some(body) = body else { return none() };
        let list = body.get("errors").and_then(Value::as_array).and_then(|errors| errors.first());
        let field = text(body, "error_field").or_else(|| text(list?, "field"));
        let message = ["error_message", "message"].iter().find_map(|name| text(body, name)).or_else(|| text(list?, "message"));
        match (field, message) {
            (None, None) => none(),
            (field, message) => Self {
                status,
                code: field.map_or_else(|| format!("http_{status}"), str::to_owned),
                message: message.unwrap_or("no reason given").to_owned(),
            },
        }
    }

    /// What is wrong with the customer's data only another way to pay mends; the rest is the operator's business.
    pub fn class(&self) -> DeclineClass {
        if matches!(self.code.as_str(), "email" | "mobile_number") && matches!(self.status, 400 | 422) {
            DeclineClass::NewCardNeeded
        } else {
            statuses::class(self.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("known")
    }

    #[test]
    fn money_is_written_and_read_to_the_last_place() {
        for (minor, code, written) in [
            (150_012, "USD", "1500.12"),
            (1, "USD", "0.01"),
            (1500, "JPY", "1500"),
            (1, "BHD", "0.001"),
            (999_999_999_999, "USD", "9999999999.99"),
            (999_999_999_999, "BHD", "999999999.999"),
            (999_999_999_999, "JPY", "999999999999"),
        ] {
            let number = amount(minor, currency(code));
            assert!(number.is_number());
            assert_eq!(serde_json::to_string(&number).expect("JSON"), written);
            let value: Value =
                serde_json::from_str(&json!({ "payment_id": "p", "amount": number, "currency": code }).to_string())
                    .expect("JSON");
            assert_eq!(Payment::read(&value).expect("readable").amount_minor(), Some(minor), "{code} {written}");
        }
        for (amount, code, read) in [
            (json!(15), "USD", Some(1500)),
            (json!("15.10"), "USD", Some(1510)),
            (json!("15.100"), "USD", Some(1510)),
            (json!("15.101"), "USD", None),
            (json!("1,500.00"), "USD", None),
            (json!(-1), "USD", None),
            (json!(null), "USD", None),
            (json!(15.5), "JPY", None),
            (json!(15.0), "JPY", Some(15)),
        ] {
            let value = json!({ "payment_id": "p", "amount": amount, "currency": code });
            assert_eq!(Payment::read(&value).expect("readable").amount_minor(), read, "{value}");
        }
    }

    #[test]
    fn either_word_of_success_will_do_and_no_word_is_none() {
        for fine in [
            json!({"result": "success"}),
            json!({"status": "ACK"}),
            json!({"status": "refund"}),
            json!({"transaction_id": "1OO"}),
        ] {
            assert!(succeeded(&fine), "{fine}");
        }
        for bad in [
            json!({"result": "failed", "status": "success"}),
            json!({"is_valid": false, "transaction_id": "1OO"}),
            json!({}),
            json!(null),
        ] {
            assert!(!succeeded(&bad), "{bad}");
        }
    }

    #[test]
    fn every_shape_of_a_refusal_is_read() {
        let read = |status, body: Value| {
            let refusal = Refusal::read(status, Some(&body));
            (refusal.class(), refusal.code, refusal.message)
        };
        let field =
            json!({ "is_valid": false, "error_field": "email", "error_message": "email is not valid.", "result": "failed" });
        assert_eq!(read(400, field), (DeclineClass::NewCardNeeded, "email".into(), "email is not valid.".into()));
        let many = json!({ "response_code": 422, "is_valid": false, "errors": [{ "message": "no", "field": "currency" }] });
        assert_eq!(read(422, many), (DeclineClass::ChargeRefused, "currency".into(), "no".into()));
        assert_eq!(
            read(403, json!({ "message": "Forbidden" })),
            (DeclineClass::AccountRefused, "http_403".into(), "Forbidden".into())
        );
        assert_eq!(Refusal::read(500, None).code, "http_500");
    }

    #[test]
    fn a_refund_in_the_history_is_no_charge() {
        let of = |kind: &str, of: Value| {
            let value = json!({ "payment_id": "p", "payment_type": kind, "reference_payment_id": of, "status": "success" });
            let payment = Payment::read(&value).expect("readable");
            (payment.is_charge(), payment.is_return())
        };
        assert_eq!(of("CC.DB", json!(null)), (true, false));
        assert_eq!(of("CC.RF", json!("q")), (false, true));
        assert_eq!(of("CC.RV", json!("q")), (false, true));
        assert_eq!(of("CC.PA", json!(null)), (false, false), "a reservation is no money");
    }
}
