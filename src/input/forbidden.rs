//! What no field of any request may hold: card numbers, and the one character that PostgreSQL cannot keep.

use serde_json::{Number, Value};

use super::{Faults, join, shown};
use crate::domain::card_number::looks_like_card_number;

/// Refuses card numbers and U+0000 in any text, name or number.
pub fn refuse_forbidden(value: &Value, at: &str, faults: &mut Faults) {
    const CARD: &str = "looks like a card number; only tokens are accepted here";
    const NUL: &str = "must not contain the character U+0000";
    match value {
        Value::String(text) => {
            if looks_like_card_number(text) && !is_phone(at, text) {
                faults.push(at, CARD);
            }
            if text.contains('\0') {
                faults.push(at, NUL);
            }
        }
        Value::Number(number) if looks_like_card_number(&digits(number)) => faults.push(at, CARD),
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                refuse_forbidden(element, &format!("{at}[{i}]"), faults);
            }
        }
        Value::Object(object) => {
            for (name, value) in object {
                if looks_like_card_number(name) {
                    faults.push(at, "has a field whose name looks like a card number; only tokens are accepted here");
                }
                if name.contains('\0') {
                    faults.push(at, NUL);
                }
                refuse_forbidden(value, &join(at, &shown(name)), faults);
            }
        }
        _ => {}
    }
}

/// Every tenth long phone number passes the card check. In international form, in its own field, it is a phone number.
fn is_phone(at: &str, text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    at.rsplit('.').next() == Some("phone") && text.starts_with('+') && digits <= 14
}

/// A number's digits as a person would write them; what is too long for 64 bits arrives as a float.
fn digits(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => format!("{float:.0}"),
        _ => number.to_string(),
    }
}
