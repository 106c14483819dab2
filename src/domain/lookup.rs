//! Lookups: how long to wait before a gateway is asked again what became of a call, and when an operator must decide.

use chrono::{DateTime, TimeDelta, Utc};

/// How long a call may stay unknown because of an outage. After that an operator decides, however long the outage is.
pub const LONGEST_OUTAGE: TimeDelta = TimeDelta::days(30);

/// Whether an outage explains a lookup without an answer: the gateway is down, and the call was sent not too long ago.
pub fn is_outage(is_gateway_down: bool, sent_at: DateTime<Utc>, wall: DateTime<Utc>) -> bool {
    is_gateway_down && wall - sent_at < LONGEST_OUTAGE
}

/// When a call whose outcome is unknown is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupPolicy {
    /// The waits before the first, second, … repeated lookup. The last one repeats.
    pub backoff: Vec<TimeDelta>,
    /// How often the last wait is repeated before an operator must decide.
    pub repeats: i64,
}

impl LookupPolicy {
    /// The wait where the settings name none that can be used.
    pub const DEFAULT_DELAY: TimeDelta = TimeDelta::days(1);

    /// The wait before the next lookup, after `tries` that brought no answer.
    pub fn delay(&self, tries: i64) -> TimeDelta {
        let index = usize::try_from(tries - 1).unwrap_or(0);
        self.backoff.get(index).or(self.backoff.last()).copied().unwrap_or(Self::DEFAULT_DELAY)
    }

    /// Whether `tries` without an answer are more than the policy allows: the last try is counted.
    pub fn is_spent(&self, tries: i64) -> bool {
        tries > self.steps() + self.repeats
    }

    /// The count of tries after one more. During an outage nothing can be learnt, so the count stops at the longest wait.
    pub fn count(&self, tries: i64, is_outage: bool) -> i64 {
        if is_outage { (tries + 1).min(self.steps()).max(tries) } else { tries + 1 }
    }

    fn steps(&self) -> i64 {
        i64::try_from(self.backoff.len()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> LookupPolicy {
        LookupPolicy { backoff: [1, 5, 60].map(TimeDelta::minutes).to_vec(), repeats: 7 }
    }

    #[test]
    fn the_waits_follow_the_backoff_and_the_last_one_repeats() {
        let minutes: Vec<i64> = (0..6).map(|tries| policy().delay(tries).num_minutes()).collect();
        assert_eq!(minutes, [1, 1, 5, 60, 60, 60]);
        assert_eq!(LookupPolicy { backoff: Vec::new(), repeats: 7 }.delay(3), TimeDelta::days(1));
    }

    #[test]
    fn it_is_spent_when_the_last_wait_has_been_repeated_as_often_as_allowed() {
        assert_eq!((0..15).find(|tries| policy().is_spent(*tries)), Some(11));
    }

    #[test]
    fn an_outage_brings_the_count_to_the_longest_wait_and_no_further() {
        let counts: Vec<i64> = [0, 1, 2, 3, 9].map(|tries| policy().count(tries, true)).to_vec();
        assert_eq!(counts, [1, 2, 3, 3, 9]);
        assert_eq!(policy().count(9, false), 10);
    }
}
