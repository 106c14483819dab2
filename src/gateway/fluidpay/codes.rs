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
    /// The processor behind the gateway was away: doubtful, and a fault that the circuit counts.
    Away,
    Declined(DeclineClass),
}

use CodeVerdict::*;

impl CodeVerdict {
    /// The class of a refusal, and whether a lookup must confirm the refusal first.
    pub fn refusal(self) -> Option<(DeclineClass, bool)> {
        match self {
            Declined(class) => Some((class, false)),
            Doubtful(class) => Some((class, true)),
            Away => Some((GatewayFault, true)),
            Approved | Partial | Pending => None,
        }
    }
}

const TABLE: &[(i64, CodeVerdict, &str)] = &[
    (0, Pending, "unknown"),
    (99, Pending, "pending"),
    (100, Approved, "approved"),
    (101, Approved, "approved, pending"), // the status still has to say that the money moves
    (110, Partial, "partial approval"),
    (200, Declined(Soft), "declined"),
    (201, Declined(Soft), "do not honor"),
    (202, Declined(Soft), "insufficient funds"),
    (203, Declined(Soft), "exceeds withdrawal limit"),
    (204, Declined(Hard), "invalid transaction"),
    (220, Declined(Hard), "invalid amount"),
    (221, Declined(Hard), "no such issuer"),
    (222, Declined(Hard), "no credit account"),
    (223, Declined(NewCardNeeded), "expired card"),
    (225, Declined(Hard), "invalid CVC"),
    (226, Declined(Hard), "cannot verify PIN"),
    // Refer to issuer: nothing changes until the cardholder does something. Not `Hard`, because it is the customer who can
    // help, by calling the bank or with another card, and this class is the one that asks at once instead of waiting.
    (240, Declined(NewCardNeeded), "refer to issuer"),
    (250, Declined(Hard), "pick up card"),
    (251, Declined(Hard), "lost card"),
    (252, Declined(Hard), "stolen card"),
    (253, Declined(Hard), "pick up card, special condition"),
    (261, Declined(StopRecurring), "the issuer stops recurring payments"),
    (262, Declined(StopRecurring), "the issuer stops this recurring payment"),
    // Velocity, block lists, address checks: about this card or this customer, as far as one can know.
    (300, Declined(TryLater), "declined by the gateway"),
    (310, Declined(TryLater), "declined by the gateway's rule engine"),
    // A duplicate of this very charge, perhaps; or another charge of the same amount to the same card, and then it passes in a while.
    (301, Doubtful(GatewayFault), "duplicate, says the gateway"),
    (430, Doubtful(GatewayFault), "duplicate, says the processor"),
    (400, Away, "error at the processor"),
    (421, Away, "the processor did not answer"),
    (410, Declined(ChargeRefused), "the merchant's configuration does not allow this charge"),
    (440, Declined(AccountRefused), "the processor refuses the format of the merchant's account"),
];

/// What a code says. A refusal that is not in the list follows the default strategy, as a soft one.
pub fn verdict(code: i64) -> CodeVerdict {
    match TABLE.iter().find(|(known, ..)| *known == code) {
        Some((_, verdict, _)) => *verdict,
        None => match code {
            100..=199 => Approved,
            200.. => Declined(Soft),
            _ => Pending,
        },
    }
}

/// The code in words. None: the code is not in the list.
pub fn words(code: i64) -> Option<&'static str> {
    TABLE.iter().find(|(known, ..)| *known == code).map(|(_, _, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_that_decides_about_the_customer() {
        // Written out from the gateway's list, so that a slip in the table shows.
        let hard = [204, 220, 221, 222, 225, 226, 250, 251, 252, 253];
        for code in 200..=440 {
            let expected = match code {
                c if hard.contains(&c) => Declined(Hard),
                223 | 240 => Declined(NewCardNeeded),
                261 | 262 => Declined(StopRecurring),
                300 | 310 => Declined(TryLater),
                301 | 430 => Doubtful(GatewayFault),
                400 | 421 => Away,
                410 => Declined(ChargeRefused),
                440 => Declined(AccountRefused),
                _ => Declined(Soft),
            };
            assert_eq!(verdict(code), expected, "code {code}");
        }
        assert_eq!([0, 99, -1].map(verdict), [Pending; 3]);
        assert_eq!([441, 500, 999].map(verdict), [Declined(Soft); 3]);
        assert_eq!([100, 101, 199].map(verdict), [Approved; 3]);
        assert_eq!(verdict(110), Partial);
        assert_eq!((words(202), words(777)), (Some("insufficient funds"), None));
    }
}
