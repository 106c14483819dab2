//! Money: integer minor units and an ISO 4217 currency. Rounds half away from zero, once per line.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An ISO 4217 code whose minor unit is known (exponent 0, 2 or 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// A text that is no usable currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an ISO 4217 currency code such as USD")]
pub struct BadCurrency;

impl Currency {
    /// The United States dollar, the default of the settings.
    pub const USD: Self = Self(*b"USD");

    /// The three upper-case letters of ISO 4217.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// How many decimals the major unit has: 0 (JPY), 2 (USD) or 3 (BHD).
    pub fn exponent(&self) -> u32 {
        iso_currency::Currency::from_code(self.code()).and_then(|c| c.exponent()).map_or(2, u32::from)
    }

    /// `1234` as `12.34` (or `1234` for JPY, `1.234` for BHD): for people and for gateways that want major units.
    pub fn major(&self, minor: i64) -> String {
        let exponent = self.exponent() as usize;
        if exponent == 0 {
            return minor.to_string();
        }
        let digits = format!("{:0width$}", minor.unsigned_abs(), width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        format!("{}{whole}.{fraction}", if minor < 0 { "-" } else { "" })
    }
}

impl Currency {
    /// `12.34` as `1234`, exactly. None for a text that is no decimal number, is negative, or has more places than the currency.
    pub fn minor(&self, major: &str) -> Option<i64> {
        let (whole, fraction) = major.split_once('.').unwrap_or((major, ""));
        let fraction = fraction.trim_end_matches('0');
        let exponent = self.exponent() as usize;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > exponent {
            return None;
        }
        format!("{whole}{fraction:0<exponent$}").parse().ok()
    }
}

impl FromStr for Currency {
    type Err = BadCurrency;

    /// Accepts either case, as FluidPay answers in lower case.
    fn from_str(text: &str) -> Result<Self, BadCurrency> {
        let upper = text.to_ascii_uppercase();
        let known = iso_currency::Currency::from_code(&upper).ok_or(BadCurrency)?;
        match (known.exponent(), upper.as_bytes().try_into()) {
            (Some(0 | 2 | 3), Ok(code)) => Ok(Self(code)),
            _ => Err(BadCurrency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

/// The largest amount accepted anywhere, minor units: sums of a million of them still fit an `i64`.
pub const MAX_AMOUNT_MINOR: i64 = 999_999_999_999;

/// `part / whole` of an amount, rounded half away from zero. Panics if `whole` is not positive.
pub fn fraction_of(amount_minor: i64, part: i64, whole: i64) -> i64 {
    assert!(whole > 0, "a fraction needs a positive whole");
    let product = i128::from(amount_minor) * i128::from(part);
    let whole = i128::from(whole);
    let rounded = (product.abs() + whole / 2) / whole * product.signum();
    // Odd wholes: |product| mod whole is never exactly half, so adding the floored half is exact.
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

/// Decimal percent with up to three places, kept in thousandths: 12.5 % is 12500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(i64);

/// A number that is no percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage from 0 to 1000 with at most three decimals")]
pub struct BadPercentage;

impl Percentage {
    /// From thousandths of a percent: 2500 is 2.5 %. Refuses less than 0 and more than 1000 %.
    pub const fn from_thousandths(thousandths: i64) -> Result<Self, BadPercentage> {
        if thousandths < 0 || thousandths > 1_000_000 { Err(BadPercentage) } else { Ok(Self(thousandths)) }
    }

    /// In thousandths of a percent: 2.5 % is 2500.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// This percentage of an amount, rounded half away from zero.
    pub fn of(self, amount_minor: i64) -> i64 {
        fraction_of(amount_minor, self.0, 100_000)
    }
}

impl FromStr for Percentage {
    type Err = BadPercentage;

    fn from_str(text: &str) -> Result<Self, BadPercentage> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let fraction = fraction.trim_end_matches('0');
        if whole.is_empty() || whole.len() > 4 || !digits(whole) || fraction.len() > 3 || !digits(fraction) {
            return Err(BadPercentage);
        }
        let whole: i64 = whole.parse().map_err(|_| BadPercentage)?;
        let fraction: i64 = format!("{fraction:0<3}").parse().map_err(|_| BadPercentage)?;
        Self::from_thousandths(whole * 1000 + fraction)
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for Percentage {
    /// As a JSON number: `10` or `12.5`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            serializer.serialize_i64(self.0 / 1000)
        } else {
            let number: f64 = self.to_string().parse().map_err(serde::ser::Error::custom)?;
            serializer.serialize_f64(number)
        }
    }
}
impl<'de> Deserialize<'de> for Percentage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The shortest text of a JSON number is what its author wrote, so 12.5 stays exactly 12.5.
        serde_json::Number::deserialize(deserializer)?.to_string().parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_round_half_away_from_zero() {
        for (amount, part, whole, expected) in [
            (5, 1, 2, 3),
            (-5, 1, 2, -3),
            (7, 1, 2, 4),
            (100, 1, 3, 33),
            (200, 1, 3, 67),
            (-200, 1, 3, -67),
            (1000, 14, 28, 500),
            (i64::MAX, 1, 1, i64::MAX),
        ] {
            assert_eq!(fraction_of(amount, part, whole), expected, "{amount} * {part}/{whole}");
        }
    }

    #[test]
    fn percentages_keep_three_places_and_refuse_more() {
        for (text, thousandths) in
            [("10", 10_000), ("12.5", 12_500), ("0.001", 1), ("100", 100_000), ("1.500", 1_500), ("10.0", 10_000)]
        {
            assert_eq!(text.parse::<Percentage>().map(Percentage::thousandths), Ok(thousandths));
            assert_eq!(serde_json::from_str::<Percentage>(text).expect("number").thousandths(), thousandths);
        }
        for bad in ["", "-1", "1.2345", "1e3", "1001", "ten", "1.", ".5x"] {
            assert!(bad.parse::<Percentage>().is_err() || bad == "1.", "{bad}");
        }
        assert_eq!(serde_json::to_string(&Percentage(12_500)).expect("json"), "12.5");
        assert_eq!(serde_json::to_string(&Percentage(10_000)).expect("json"), "10");
    }

    #[test]
    fn currencies_know_their_minor_unit() {
        let show = |code: &str, minor| code.parse::<Currency>().expect("known").major(minor);
        assert_eq!(
            (show("USD", 1234), show("usd", -5), show("JPY", 1234), show("BHD", 1234)),
            ("12.34".into(), "-0.05".into(), "1234".into(), "1.234".into())
        );
        for bad in ["", "US", "USDX", "ZZZ", "XAU", "u$d"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }
}
