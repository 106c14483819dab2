//! Ids in the gateways' own formats. They always rise, so that lists can be paged by id.

use chrono::{DateTime, Utc};

/// Four bytes of seconds and eight of a counter, big-endian, so that sorting by text sorts by creation.
pub type RawId = [u8; 12];

/// Hands out ids. They rise even when the clock stands still or steps back.
#[derive(Debug, Default)]
pub struct Ids {
    seconds: u32,
    count: u64,
}

impl Ids {
    pub fn next(&mut self, now: DateTime<Utc>) -> RawId {
        self.seconds = self.seconds.max(u32::try_from(now.timestamp()).unwrap_or_default());
        self.count += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.seconds.to_be_bytes());
        id[4..].copy_from_slice(&self.count.to_be_bytes());
        id
    }

    /// A FluidPay id: 20 characters of `0-9a-v`.
    pub fn fluidpay(&mut self, now: DateTime<Utc>) -> String {
        base32(self.next(now))
    }
}

fn base32(id: RawId) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let bits = id.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    (0..20).rev().map(|place| char::from(DIGITS[(bits >> (place * 5) & 31) as usize])).collect()
}

/// A Paylike id: the 24 hexadecimal digits of a Mongo ObjectId.
pub fn object_id(id: RawId) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    id.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads an ObjectId. A shorter hexadecimal text is a cursor, and is filled up with zeros.
pub fn parse_object_id(text: &str) -> Option<RawId> {
    if text.is_empty() || text.len() > 24 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let padded = format!("{text:0<24}");
    let mut id = [0; 12];
    for (place, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&padded[place * 2..place * 2 + 2], 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_when_the_clock_steps_back() {
        let mut ids = Ids::default();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("valid");
        let texts: Vec<String> = [2_000, 1_000, 1_000, 3_000].map(|seconds| object_id(ids.next(at(seconds)))).into();
        assert!(texts.windows(2).all(|pair| pair[0] < pair[1]), "{texts:?}");
        assert!(texts.iter().all(|text| text.len() == 24 && parse_object_id(text).map(object_id).as_ref() == Some(text)));
        let (first, second) = (ids.fluidpay(at(3_000)), ids.fluidpay(at(3_000)));
        assert!(first.len() == 20 && first < second);
    }

    #[test]
    fn only_hexadecimal_texts_are_object_ids() {
        for bad in ["", "xyz", "560fd96b7973ff3d2362a78c0", "560fd96b7973ff3d2362a78g", "é60fd96b7973ff3d2362a78"] {
            assert!(parse_object_id(bad).is_none(), "{bad}");
        }
    }
}
