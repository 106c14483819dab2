//! A gateway that refuses the merchant's account: it rests, but for one due payment now and then that shows whether it works again. Pure.
//!
//! Guards "nothing is refused for ever in silence": a wrong key must not be tried with every invoice, and must not be waited for in
//! vain once it is right.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    breaker::{Admission, OperationId},
    clock::Timeline,
};

/// How long a test clock waits between two probes, by its own time.
pub const BETWEEN_PROBES: TimeDelta = TimeDelta::days(1);

/// That a gateway refuses the account, as every daemon knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRefusal {
    /// What the gateway said, without secrets.
    pub reason: String,
    /// Since when, wall time, UTC.
    pub refused_at: DateTime<Utc>,
    /// When the next payment goes to the gateway in real time, wall time, UTC.
    pub next_probe_at: DateTime<Utc>,
}

/// When the probe after so many comes in real time. `waits` grow, and the last one repeats.
pub fn next_probe_at(probes: i64, waits: &[TimeDelta], wall: DateTime<Utc>) -> DateTime<Utc> {
    let index = usize::try_from(probes).unwrap_or(0);
    wall + waits.get(index).or(waits.last()).copied().unwrap_or(BETWEEN_PROBES)
}

/// What one daemon lets through to a gateway that refuses the account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probing {
    refusal: Option<AccountRefusal>,
    /// When each test clock may send its next probe, by its own time.
    next: BTreeMap<Timeline, DateTime<Utc>>,
    /// Probes that were granted and have not begun, by timeline.
    granted: BTreeMap<Timeline, usize>,
    under_way: BTreeSet<OperationId>,
}

impl Probing {
    /// What the database says. A refusal that has ended leaves nothing behind.
    pub fn set(&mut self, refusal: Option<AccountRefusal>) {
        match refusal {
            None => *self = Self::default(),
            refusal => self.refusal = refusal,
        }
    }

    /// The refusal. None: the gateway does not refuse the account.
    pub fn refusal(&self) -> Option<&AccountRefusal> {
        self.refusal.as_ref()
    }

    /// What may go to the gateway on a timeline. `now` is by its clock.
    pub fn hold(&self, timeline: Timeline, now: DateTime<Utc>) -> Admission {
        let Some(refusal) = &self.refusal else { return Admission::Free };
        let next = if timeline == Timeline::Wall { Some(refusal.next_probe_at) } else { self.next.get(&timeline).copied() };
        match next {
            Some(next) if now < next => Admission::NotBefore(next),
            _ => Admission::Probes(1),
        }
    }

    /// Grants a probe on a timeline: the next one does not come before `next`.
    pub fn grant(&mut self, timeline: Timeline, next: DateTime<Utc>) {
        *self.granted.entry(timeline).or_default() += 1;
        self.wait(timeline, next);
    }

    /// The gateway has refused on a timeline once more: no probe goes there before `next`.
    pub fn wait(&mut self, timeline: Timeline, next: DateTime<Utc>) {
        if timeline != Timeline::Wall {
            self.next.insert(timeline, next);
        } else if let Some(refusal) = &mut self.refusal {
            refusal.next_probe_at = next;
        }
    }

    /// An operation begins: it is the probe that was granted, if there is one.
    pub fn let_through(&mut self, timeline: Timeline, order: OperationId) {
        if let Some(granted) = self.granted.get_mut(&timeline).filter(|granted| **granted > 0) {
            *granted -= 1;
            self.under_way.insert(order);
        }
    }

    /// Whether the operation is a probe, and has not ended.
    pub fn is_probe(&self, order: OperationId) -> bool {
        self.under_way.contains(&order)
    }

    /// The operation has ended, whatever came of it.
    pub fn leave(&mut self, order: OperationId) {
        self.under_way.remove(&order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Id, Payment};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn order(bits: u128) -> OperationId {
        Id::<Payment>::from_bits(bits).into()
    }

    fn refused() -> Probing {
        let (refused_at, next_probe_at) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:00Z"));
        let mut probing = Probing::default();
        probing.set(Some(AccountRefusal { reason: "bad key (http_401)".to_owned(), refused_at, next_probe_at }));
        probing
    }

    #[test]
    fn one_payment_goes_through_and_the_next_one_waits_longer() {
        let mut probing = refused();
        let (early, due) = (at("2026-01-01T00:00:59Z"), at("2026-01-01T00:01:00Z"));
        assert_eq!(probing.hold(Timeline::Wall, early), Admission::NotBefore(due));
        assert_eq!(probing.hold(Timeline::Wall, due), Admission::Probes(1));
        let waits = [1, 5, 60].map(TimeDelta::minutes);
        probing.grant(Timeline::Wall, next_probe_at(1, &waits, due));
        assert_eq!(probing.hold(Timeline::Wall, due), Admission::NotBefore(at("2026-01-01T00:06:00Z")));
        probing.let_through(Timeline::Wall, order(1));
        probing.let_through(Timeline::Wall, order(2));
        assert_eq!((probing.is_probe(order(1)), probing.is_probe(order(2))), (true, false));
        probing.leave(order(1));
        assert!(!probing.is_probe(order(1)));
        assert_eq!(next_probe_at(9, &waits, due), at("2026-01-01T01:01:00Z"), "the last wait repeats");
    }

    #[test]
    fn each_test_clock_probes_once_a_day_by_its_own_time() {
        let mut probing = refused();
        let [one, two] = [1, 2].map(|bits| Timeline::Test(Id::from_bits(bits)));
        let now = at("2027-05-01T06:00:00Z");
        assert_eq!(probing.hold(one, now), Admission::Probes(1));
        probing.grant(one, now + BETWEEN_PROBES);
        assert_eq!(probing.hold(one, now + TimeDelta::hours(23)), Admission::NotBefore(now + BETWEEN_PROBES));
        assert_eq!(probing.hold(one, now + BETWEEN_PROBES), Admission::Probes(1));
        assert_eq!(probing.hold(two, now), Admission::Probes(1), "another clock has another day");
        // What is let through on one timeline is no probe of another.
        probing.let_through(two, order(1));
        assert!(!probing.is_probe(order(1)));
    }

    #[test]
    fn nothing_is_left_of_a_refusal_that_is_over() {
        let mut probing = refused();
        probing.grant(Timeline::Wall, at("2026-01-02T00:00:00Z"));
        probing.set(None);
        assert_eq!(probing, Probing::default());
        assert_eq!(probing.hold(Timeline::Wall, at("2026-01-01T00:00:00Z")), Admission::Free);
    }
}
