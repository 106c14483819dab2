//! Paylike's processing errors as data: what each code means for the next attempt.
//!
//! Paylike advises one default strategy (a try every 24 h, five at most) and calls 6 and 10 pointless; the rest is our judgement.

use crate::domain::payment::DeclineClass::{self, *};

/// Something in our request: wrong currency, amount, descriptor, missing field. The error says whether the merchant is to blame.
const INPUT: &[i64] = &[1, 2, 3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 20, 22];

const TABLE: &[(i64, DeclineClass)] = &[
    (6, NewCardNeeded), // expired
    (7, Soft),          // insufficient funds
    (8, Soft),          // declined
    (9, Soft),          // restricted
    (10, Hard),         // rejected
    (11, Soft),         // rejected transaction
    (12, Soft),         // generic
    (21, GatewayFault), // no HTTPS
    (25, Soft),         // card limit
    (26, GatewayFault), // bad key
    (27, GatewayFault), // merchant may not do transactions
    (28, GatewayFault), // merchant may not use saved cards
    (29, Hard),         // card not supported
    // 3-D Secure: only the customer can do that, with a new first transaction.
    (30, NewCardNeeded),
    (31, NewCardNeeded),
];

/// The class of a processing error. `merchants_fault` is the error's own `merchant` mark.
pub fn class(code: i64, merchants_fault: bool) -> DeclineClass {
    if INPUT.contains(&code) {
        return if merchants_fault { GatewayFault } else { Hard };
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
                1..=5 | 13..=20 | 22 | 10 | 29 => Hard,
                6 | 30 | 31 => NewCardNeeded,
                21 | 26 | 27 | 28 => GatewayFault,
                // 23 and 24 are not documented: unknown codes follow the default strategy.
                7 | 8 | 9 | 11 | 12 | 25 | 23 | 24 => Soft,
                _ => unreachable!("outside the list"),
            };
            assert_eq!(class(code, false), expected, "code {code}");
            let ours = if INPUT.contains(&code) { GatewayFault } else { expected };
            assert_eq!(class(code, true), ours, "code {code}, merchant's fault");
        }
        assert_eq!([0, 32, -1].map(|code| class(code, true)), [Soft; 3]);
    }
}
