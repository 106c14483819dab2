//! FluidPay's response codes as data: what each means for the payment now and for the next attempt.
//!
//! The code list is the seed's (`003`, Response Codes); it gives no advice about retries, so the classes are our judgement.

use crate::domain::payment::DeclineClass::{self, *};

/// What a response code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeVerdict {
    Approved,
    /// Approved for less than was asked: the amount is in the answer.
    Partial,
    /// No verdict yet.
    Pending,
    /// A refusal that may hide a charge. A lookup must confirm it; the class holds once it has.
    Doubtful(DeclineClass),
    Declined(DeclineClass),
}

use CodeVerdict::*;

const TABLE: &[(i64, CodeVerdict)] = &[
    (0, Pending),  // unknown
    (99, Pending), // pending
    (100, Approved),
    (101, Approved), // the status still has to say that the money moves
    (110, Partial),
    (200, Declined(Soft)),          // decline
    (201, Declined(Soft)),          // do not honor
    (202, Declined(Soft)),          // insufficient funds
    (203, Declined(Soft)),          // exceeds withdrawal limit
    (204, Declined(Hard)),          // invalid transaction
    (220, Declined(Hard)),          // invalid amount
    (221, Declined(Hard)),          // no such issuer
    (222, Declined(Hard)),          // no credit account
    (223, Declined(NewCardNeeded)), // expired card
    (225, Declined(Hard)),          // invalid CVC
    (226, Declined(Hard)),          // cannot verify PIN
    // Refer to issuer: nothing changes until the cardholder does something. Not `Hard`, because it is the customer who can
    // help, by calling the bank or with another card, and this class is the one that asks at once instead of waiting.
    (240, Declined(NewCardNeeded)),
    (250, Declined(Hard)),          // pick up card
    (251, Declined(Hard)),          // lost card
    (252, Declined(Hard)),          // stolen card
    (253, Declined(Hard)),          // pick up card, special condition
    (261, Declined(StopRecurring)), // the issuer ended the mandate
    (262, Declined(StopRecurring)),
    (300, Declined(GatewayFault)), // gateway decline
    (301, Doubtful(TryLater)),     // duplicate, says the gateway: of this very charge, perhaps
    (310, Declined(GatewayFault)), // the merchant's own rule engine
    (400, Doubtful(TryLater)),     // the processor reported an error
    (410, Declined(GatewayFault)), // merchant configuration
    (421, Doubtful(TryLater)),     // the processor did not answer
    (430, Doubtful(TryLater)),     // duplicate, says the processor
    (440, Declined(GatewayFault)), // processor format error
];

/// What a code says. A refusal that is not in the list follows the default strategy, as a soft one.
pub fn verdict(code: i64) -> CodeVerdict {
    match TABLE.iter().find(|(known, _)| *known == code) {
        Some((_, verdict)) => *verdict,
        None => match code {
            100..=199 => Approved,
            200.. => Declined(Soft),
            _ => Pending,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_that_decides_about_the_customer() {
        // Written out from the gateway's list, so that a slip in the table shows.
        let hard = [204, 220, 221, 222, 225, 226, 250, 251, 252, 253];
        let doubtful = [301, 400, 421, 430];
        for code in 200..=440 {
            let expected = match code {
                c if hard.contains(&c) => Declined(Hard),
                c if doubtful.contains(&c) => Doubtful(TryLater),
                223 | 240 => Declined(NewCardNeeded),
                261 | 262 => Declined(StopRecurring),
                300 | 310 | 410 | 440 => Declined(GatewayFault),
                _ => Declined(Soft),
            };
            assert_eq!(verdict(code), expected, "code {code}");
        }
        assert_eq!([0, 99, -1].map(verdict), [Pending; 3]);
        assert_eq!([441, 500, 999].map(verdict), [Declined(Soft); 3]);
        assert_eq!([100, 101, 199].map(verdict), [Approved; 3]);
        assert_eq!(verdict(110), Partial);
    }
}
