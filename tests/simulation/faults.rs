//! What can go wrong with one call to a gateway, and how often.

use super::dice::Dice;

/// What a call is about, told from its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A FluidPay sale: takes the money.
    Charge,
    /// A Paylike transaction: reserves it.
    Authorize,
    Capture,
    Refund,
    Void,
    /// A search by our reference, or a list.
    Search,
    /// One transaction by its id.
    Read,
}

impl Call {
    /// Told from method and path, as each gateway has them.
    pub fn of(method: &str, path: &str) -> Self {
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            (_, "search") => Self::Search,
            ("GET", "transactions") => Self::Search,
            ("GET", _) => Self::Read,
            (_, "captures" | "capture") => Self::Capture,
            (_, "refunds" | "refund") => Self::Refund,
            (_, "voids" | "void") => Self::Void,
            (_, "transactions") => Self::Authorize,
            _ => Self::Charge,
        }
    }

    pub fn asks_card(self) -> bool {
        matches!(self, Self::Charge | Self::Authorize)
    }

    pub fn moves_money(self) -> bool {
        !matches!(self, Self::Search | Self::Read)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody is there.
    NotConnected,
    /// The line is cut before anything has happened.
    DropBefore,
    /// It happens, and the answer is lost.
    DropAfter,
    /// It happens at once, and the answer comes after the caller has gone.
    SlowAnswer,
    /// It arrives, and happens, after the caller has gone.
    Late,
    /// 500 to 504, and nothing has happened.
    ServerError,
    /// 500 to 504 although it has happened.
    ServerErrorAfter,
    /// 429, sometimes with a time to wait.
    TooMany,
    /// 200 and something that is no answer, although it has happened.
    Nonsense,
    /// Something in between sends it twice.
    Twice,
    /// The issuer says no.
    Declined,
    /// Only a part is approved.
    Partial,
    /// A search that does not know yet what happened seconds ago.
    StaleSearch,
}

/// How often each strikes, in thousandths of the calls that it can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Calm,
    /// Mostly declines.
    Changeable,
    Storm,
    /// The gateway is as good as gone.
    Outage,
}

impl Weather {
    pub fn strike(self, call: Call, dice: &mut Dice) -> Option<Fault> {
        use Fault::*;
        let (some, declined) = match self {
            Self::Calm => return None,
            Self::Changeable => (8, 250),
            Self::Storm => (50, 150),
            Self::Outage => (230, 0),
        };
        let money = if call.moves_money() { some } else { some / 2 };
        let table: &[(u32, Fault)] = &[
            (money, NotConnected),
            (some, DropBefore),
            (some, DropAfter),
            (money / 2, SlowAnswer),
            (money / 2, Late),
            (some, ServerError),
            (money, ServerErrorAfter),
            (some / 2, TooMany),
            (some / 2, Nonsense),
            (if matches!(call, Call::Refund) { 0 } else { some / 2 }, Twice),
            (if call.asks_card() { declined } else { 0 }, Declined),
            (if call == Call::Charge { declined / 8 } else { 0 }, Partial),
            (if call == Call::Search { some * 3 } else { 0 }, StaleSearch),
        ];
        // What is more than a thousand together always strikes.
        let struck: u32 = table.iter().map(|(weight, _)| weight).sum();
        if dice.below(1000.max(u64::from(struck))) >= u64::from(struck) {
            return None;
        }
        Some(dice.weighted(table))
    }
}

/// Codes of declines: FluidPay's and Paylike's, of each class.
pub const FLUIDPAY_CODES: &[u16] =
    &[200, 201, 202, 203, 204, 220, 221, 222, 223, 225, 240, 250, 251, 253, 261, 262, 263, 300, 301, 320, 400, 430, 440];
pub const PAYLIKE_CODES: &[u16] =
    &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];
