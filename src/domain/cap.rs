//! Caps on declined attempts: card networks fine a merchant who goes on trying. Pure: attempts, windows, and when there is room.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

/// So many declined attempts within so long a time, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// The length of the window: a cap counts the attempts of so long a time before now.
    pub within: TimeDelta,
    /// How many declined attempts the window may hold, at least 1.
    pub declines: usize,
}

/// Whether a credential may be charged once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// There is room: the credential may be charged.
    Now,
    /// What is under way decides.
    Blocked,
    /// The first instant at which there is room again.
    At(DateTime<Utc>),
}

/// Allowance for one more attempt among those made. `declined` and `under_way` are instants of attempts in any order. An attempt has
/// left a window once it is as old as the window is long.
pub fn room(caps: &[Cap], declined: &[DateTime<Utc>], under_way: &[DateTime<Utc>], now: DateTime<Utc>) -> Allowance {
    let mut opens = None;
    let mut behind = false;
    for cap in caps {
        let counts = |at: &&DateTime<Utc>| **at > now - cap.within;
        let mut inside: Vec<DateTime<Utc>> = declined.iter().filter(counts).copied().collect();
        if let Some(over) = inside.len().checked_sub(cap.declines) {
            inside.sort_unstable();
            opens = opens.max(inside.get(over).map(|&at| at + cap.within));
        }
        behind |= inside.len() + under_way.iter().filter(counts).count() >= cap.declines;
    }
    match opens {
        Some(at) => Allowance::At(at),
        None if behind => Allowance::Blocked,
        None => Allowance::Now,
    }
}

/// Digest of what is charged at a gateway. Every customer, method and subscription that uses the same token has the same digest.
pub fn credential(gateway: &str, tokens: [Option<&str>; 3]) -> String {
    let mut digest = Sha256::new();
    for part in [Some(gateway)].into_iter().chain(tokens) {
        // Lengths keep `a`, `bc` and `ab`, `c` apart.
        digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        digest.update(part.unwrap_or_default());
    }
    digest.finalize().iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().expect("instant") + TimeDelta::hours(hours)
    }

    #[test]
    fn a_window_opens_to_the_second_and_the_narrowest_one_decides() {
        let caps = [Cap { within: TimeDelta::hours(24), declines: 2 }, Cap { within: TimeDelta::days(30), declines: 4 }];
        let room = |declined: &[i64], under_way: &[i64], now| {
            let at = |hours: &[i64]| hours.iter().map(|&hours| at(hours)).collect::<Vec<_>>();
            super::room(&caps, &at(declined), &at(under_way), now)
        };
        assert_eq!(room(&[], &[], at(0)), Allowance::Now);
        assert_eq!(room(&[0], &[], at(1)), Allowance::Now);
        assert_eq!(room(&[5, 0], &[], at(6)), Allowance::At(at(24)));
        assert_eq!(room(&[0, 5], &[], at(24) - TimeDelta::microseconds(1)), Allowance::At(at(24)));
        assert_eq!(room(&[0, 5], &[], at(24)), Allowance::Now);
        assert_eq!(room(&[0, 5, 6], &[], at(7)), Allowance::At(at(29)), "two of three must leave");
        assert_eq!(room(&[0, 30, 60, 90], &[], at(100)), Allowance::At(at(720)), "the long window");
        assert_eq!(room(&[0], &[1], at(2)), Allowance::Blocked);
        assert_eq!(room(&[], &[1, 1], at(2)), Allowance::Blocked);
        assert_eq!(room(&[], &[1, 1], at(26)), Allowance::Now);
        assert_eq!(super::room(&[], &[at(0); 100], &[], at(0)), Allowance::Now);
    }

    #[test]
    fn a_credential_is_the_gateway_and_every_token() {
        let all = [
            credential("a", [Some("b"), None, None]),
            credential("a", [None, Some("b"), None]),
            credential("a", [None, None, Some("b")]),
            credential("a", [Some("b"), Some(""), None]),
            credential("ab", [Some(""), None, None]),
            credential("b", [Some("b"), None, None]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(all[0], credential("a", [Some("b"), None, None]));
        assert_eq!(all[0].len(), 32);
    }
}
