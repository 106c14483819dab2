//! Ids: a readable prefix and a time-ordered UUID (TypeID text), so that one string is the same in API, log and database.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an id names; its prefix is part of the text.
pub trait Kind: 'static {
    /// What the text of such an id begins with, before the `_`.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $alias:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[doc = concat!("Names the ids that begin with `", $prefix, "_`.")]
        #[derive(Debug)]
        pub enum $name {}
        impl Kind for $name {
            const PREFIX: &'static str = $prefix;
        }
        #[doc = concat!("`", $prefix, "_` and 26 characters.")]
        pub type $alias = Id<$name>;
    )*};
}

kinds! {
    Plan, PlanId, "plan";
    AddOn, AddOnId, "addon";
    Discount, DiscountId, "disc";
    Customer, CustomerId, "cus";
    PaymentMethod, PaymentMethodId, "pm";
    Subscription, SubscriptionId, "sub";
    InstallmentPlan, InstallmentPlanId, "inst";
    Invoice, InvoiceId, "inv";
    Payment, PaymentId, "pay";
    PaymentRequest, PaymentRequestId, "preq";
    Refund, RefundId, "ref";
    Authorization, AuthorizationId, "auth";
    Dispute, DisputeId, "dsp";
    TestClock, ClockId, "clk";
    Event, EventId, "evt";
    ApiKey, ApiKeyId, "key";
    Run, RunId, "run";
    Credit, CreditId, "cred";
    CreditNote, CreditNoteId, "cn";
    RollOut, RollOutId, "roll";
    DunningPolicy, DunningPolicyId, "dun";
}

/// `prefix_` and 26 characters of Crockford base 32 over a UUIDv7. Sorts by time of creation.
pub struct Id<K> {
    bits: u128,
    kind: PhantomData<fn() -> K>,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The value of each byte as a digit; [`NO_DIGIT`] for all others.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value: u8 = 0;
    while (value as usize) < ALPHABET.len() {
        digits[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    digits
};
const NO_DIGIT: u8 = 32;

/// A text that is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an id such as {prefix}_01h455vb4pex5vsknk084sn02q")]
pub struct BadId {
    prefix: &'static str,
}

impl<K: Kind> Id<K> {
    /// An id of these bits of a UUID.
    pub const fn from_bits(bits: u128) -> Self {
        Self { bits, kind: PhantomData }
    }

    /// The bits of the UUID.
    pub const fn bits(self) -> u128 {
        self.bits
    }

    /// The first id that was made at this instant or later: ids begin with their time, so this bounds a range of them.
    pub fn first_at(instant: DateTime<Utc>) -> Self {
        // Nothing was made before 1970.
        Self::from_bits(u128::try_from(instant.timestamp_millis()).unwrap_or(0) << 80)
    }

    /// Seventeen upper-case letters and digits made from the random part and the time: FluidPay's `order_id` holds no more.
    pub fn short_reference(self) -> String {
        // 85 bits: 48 of time, 37 of randomness.
        let mixed = ((self.bits >> 80) << 37) | (self.bits & ((1 << 37) - 1));
        (0..17).rev().map(|i| char::from(ALPHABET[((mixed >> (i * 5)) & 31) as usize]).to_ascii_uppercase()).collect()
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 26];
        for (i, slot) in text.iter_mut().enumerate() {
            *slot = ALPHABET[((self.bits >> (125 - 5 * i)) & 31) as usize];
        }
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { prefix: K::PREFIX };
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or_else(|| bad.clone())?;
        if digits.len() != 26 || digits.as_bytes()[0] > b'7' {
            return Err(bad);
        }
        let mut bits = 0u128;
        for byte in digits.bytes() {
            let digit = DIGITS[usize::from(byte)];
            if digit == NO_DIGIT {
                return Err(bad);
            }
            bits = (bits << 5) | u128::from(digit);
        }
        Ok(Self::from_bits(bits))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits.cmp(&other.bits)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

/// Makes ids. Within one process they only rise, even when the wall clock stands still or steps back.
pub struct IdSource {
    state: Mutex<(u64, StdRng)>,
}

impl IdSource {
    /// The same seed makes the same ids at the same instants.
    pub fn seeded(seed: [u8; 32]) -> Self {
        Self { state: Mutex::new((0, StdRng::from_seed(seed))) }
    }

    /// The next id. `now` is wall time; 12 bits below the millisecond keep the order of ids made together.
    pub fn next<K: Kind>(&self, now: DateTime<Utc>) -> Id<K> {
        let micros = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        let ticks = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
        let mut state = self.state.lock();
        let ticks = ticks.max(state.0 + 1);
        state.0 = ticks;
        let random = state.1.next_u64();
        drop(state);
        let high = (u128::from(ticks >> 12) << 80) | (0x7 << 76) | (u128::from(ticks & 0xfff) << 64);
        Id::from_bits(high | (0b10 << 62) | u128::from(random >> 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_follows_the_typeid_vectors() {
        // Valid vectors of the TypeID specification 0.3.
        for (bits, text) in [
            (0u128, "00000000000000000000000000"),
            (1, "00000000000000000000000001"),
            (0xa, "0000000000000000000000000a"),
            (0x0189_0a5d_ac96_774b_bcce_b302_099a_8057, "01h455vb4pex5vsknk084sn02q"),
        ] {
            let id: PlanId = Id::from_bits(bits);
            assert_eq!(id.to_string(), format!("plan_{text}"));
            assert_eq!(id.to_string().parse::<PlanId>().expect("round trip"), id);
        }
    }

    #[test]
    fn foreign_texts_are_refused() {
        for bad in [
            "",
            "plan_",
            "cus_01h455vb4pex5vsknk084sn02q",
            "plan_81h455vb4pex5vsknk084sn02q",
            "plan_01h455vb4pex5vsknk084sn02u",
            "plan_01H455VB4PEX5VSKNK084SN02Q",
        ] {
            assert!(bad.parse::<PlanId>().is_err(), "{bad} must be refused");
        }
    }

    #[test]
    fn ids_rise_while_the_clock_stands_still() {
        let source = IdSource::seeded([7; 32]);
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("valid");
        let ids: Vec<PlanId> = (0..10_000).map(|_| source.next(now)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        let references: std::collections::HashSet<_> = ids.iter().map(|id| id.short_reference()).collect();
        assert_eq!(references.len(), ids.len());
        assert!(references.iter().all(|r| r.len() == 17 && r.chars().all(|c| c.is_ascii_alphanumeric())));
    }
}
