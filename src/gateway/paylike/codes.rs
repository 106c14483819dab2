//! Paylike's processing errors as data: what each code means for the next attempt.
//!
//! Paylike advises one default strategy (a try every 24 h, five at most) and calls 6 and 10 pointless; the rest is our judgement.

use crate::domain::payment::DeclineClass::{self, *};

/// Something in the request that may be the card's or the charge's: the error itself says whether the merchant is to blame.
const INPUT: &[i64] = &[1, 2, 3, 4, 5, 13];

const TABLE: &[(i64, DeclineClass)] = &[
    (6, NewCardNeeded), // expired
    (7, Soft),          // insufficient funds
    (8, Soft),          // declined
    (9, Soft),          // restricted
    (10, Hard),         // rejected
    (11, Soft),         // rejected transaction
    (12, Soft),         // generic
    // A request that is malformed, or asks for what the account cannot do: descriptor, amount, missing field, no HTTPS, too large.
    (14, ChargeRefused),
    (15, ChargeRefused),
    (16, ChargeRefused),
    (17, ChargeRefused),
    (18, ChargeRefused),
    (19, ChargeRefused),
    (20, ChargeRefused),
    (21, ChargeRefused),
    (22, ChargeRefused),
    (23, ChargeRefused),
    (24, ChargeRefused),
    (25, Soft),           // card limit
    (26, AccountRefused), // bad key
    (27, AccountRefused), // merchant may not do transactions
    (28, AccountRefused), // merchant may not use saved cards
    (29, Hard),           // card not supported
    // 3-D Secure: only the customer can do that, with a new first transaction.
    (30, NewCardNeeded),
    (31, NewCardNeeded),
];

/// The class of a processing error. `merchants_fault` is the error's own `merchant` mark.
pub fn class(code: i64, merchants_fault: bool) -> DeclineClass {
    if INPUT.contains(&code) {
        return if merchants_fault { ChargeRefused } else { Hard };
    }
    TABLE.iter().find(|(known, _)| *known == code).map_or(Soft, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_that_decides_about_the_customer() {
        for code in 1..=31 {
            let expected = match code {
                1..=5 | 13 | 10 | 29 => Hard,
                6 | 30 | 31 => NewCardNeeded,
                14..=24 => ChargeRefused,
                26..=28 => AccountRefused,
                7 | 8 | 9 | 11 | 12 | 25 => Soft,
                _ => unreachable!("outside the list"),
            };
            assert_eq!(class(code, false), expected, "code {code}");
            let ours = if INPUT.contains(&code) { ChargeRefused } else { expected };
            assert_eq!(class(code, true), ours, "code {code}, merchant's fault");
        }
        assert_eq!([0, 32, -1].map(|code| class(code, true)), [Soft; 3]);
    }
}
