//! Cards and bank accounts: how a number behaves, and the masked parts that may be kept. The number itself is dropped here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{super::body::or_default, envelope::FluidpayRefusal};

/// How a payment method behaves when it is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Approve,
    Decline(u16),
    /// Half of the amount is approved.
    Partial,
    /// Charges are approved, refunds are not.
    RefuseRefunds,
}

/// The gateway's test cards; every other number is approved.
pub const TEST_CARDS: [(&str, Behaviour); 6] = [
    ("4111111111111111", Behaviour::Approve),
    ("4000000000000002", Behaviour::Decline(200)),
    ("4000000000009995", Behaviour::Decline(202)),
    ("4000000000000069", Behaviour::Decline(223)),
    ("4000000000000051", Behaviour::Partial),
    ("4000000000000010", Behaviour::RefuseRefunds),
];

/// The routing number that is always declined.
pub const DECLINED_ROUTING: &str = "000000000";

/// The masked parts of a payment method that may be kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Face {
    Card { card_type: &'static str, first_six: String, last_four: String, masked_card: String, expiration_date: String },
    Ach { masked_account_number: String, routing_number: String, account_type: String, sec_code: String },
}

/// A stored payment method.
#[derive(Debug, Clone)]
pub struct Instrument {
    pub id: String,
    pub behaviour: Behaviour,
    pub face: Face,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Instrument {
    pub fn kind(&self) -> &'static str {
        match self.face {
            Face::Card { .. } => "card",
            Face::Ach { .. } => "ach",
        }
    }
}

/// A card as it is sent: `number` in transactions and in the vault, `card_number` at the old customer paths.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct CardBody {
    #[serde(alias = "card_number", deserialize_with = "or_default")]
    number: String,
    #[serde(deserialize_with = "or_default")]
    expiration_date: String,
}

/// A bank account as it is sent.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct AchBody {
    #[serde(deserialize_with = "or_default")]
    routing_number: String,
    #[serde(deserialize_with = "or_default")]
    account_number: String,
    #[serde(deserialize_with = "or_default")]
    account_type: String,
    #[serde(deserialize_with = "or_default")]
    sec_code: String,
}

impl CardBody {
    pub fn new(number: &str, expiration_date: &str) -> Self {
        Self { number: number.to_owned(), expiration_date: expiration_date.to_owned() }
    }

    /// Reads how the card behaves, and the first six and last four digits.
    pub fn read(&self) -> Result<(Behaviour, Face), FluidpayRefusal> {
        let digits: String = self.number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        if !(12..=19).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FluidpayRefusal::bad("card number is invalid"));
        }
        let expiration_date = month_and_year(&self.expiration_date)?;
        let behaviour = TEST_CARDS.iter().find(|(number, _)| *number == digits).map_or(Behaviour::Approve, |(_, does)| *does);
        let (first_six, last_four) = (digits[..6].to_owned(), digits[digits.len() - 4..].to_owned());
        let card_type = match digits.as_bytes()[0] {
            b'4' => "visa",
            b'2' | b'5' => "mastercard",
            b'3' => "amex",
            b'6' => "discover",
            _ => "unknown",
        };
        let masked_card = format!("{first_six}{}{last_four}", "*".repeat(digits.len() - 10));
        Ok((behaviour, Face::Card { card_type, first_six, last_four, masked_card, expiration_date }))
    }
}

impl AchBody {
    pub fn read(&self) -> Result<(Behaviour, Face), FluidpayRefusal> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if self.routing_number.len() != 9 || !digits(&self.routing_number) || !digits(&self.account_number) {
            return Err(FluidpayRefusal::bad("ach routing or account number is invalid"));
        }
        let behaviour = if self.routing_number == DECLINED_ROUTING { Behaviour::Decline(200) } else { Behaviour::Approve };
        let last = &self.account_number[self.account_number.len().saturating_sub(4)..];
        let face = Face::Ach {
            masked_account_number: format!("XXXXX{last}"),
            routing_number: self.routing_number.clone(),
            account_type: self.account_type.clone(),
            sec_code: self.sec_code.clone(),
        };
        Ok((behaviour, face))
    }
}

/// Reads `MM/YY` or `MMYY`; returns `MM/YY`.
fn month_and_year(text: &str) -> Result<String, FluidpayRefusal> {
    let digits: String = text.chars().filter(|c| *c != '/').collect();
    let month: u8 = digits.get(..2).and_then(|month| month.parse().ok()).unwrap_or_default();
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) || !(1..=12).contains(&month) {
        return Err(FluidpayRefusal::bad("expiration date must be MM/YY"));
    }
    Ok(format!("{}/{}", &digits[..2], &digits[2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_card_but_its_ends() {
        let (behaviour, face) = CardBody::new("4000 0000 0000 9995", "1230").read().expect("card");
        assert_eq!(behaviour, Behaviour::Decline(202));
        let kept = format!("{face:?}");
        assert!(kept.contains("400000******9995") && kept.contains("12/30") && !kept.contains("4000000000009995"), "{kept}");
    }

    #[test]
    fn malformed_cards_are_refused() {
        for (number, date) in
            [("", "12/30"), ("41111111x1111111", "12/30"), ("4111111111111111", "13/30"), ("4111111111111111", "")]
        {
            assert!(CardBody::new(number, date).read().is_err(), "{number} {date}");
        }
    }
}
