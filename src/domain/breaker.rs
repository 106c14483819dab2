//! The circuit breaker of one gateway on one timeline: when calls that move money pause, and how they begin again. Pure.
//!
//! Only what such calls met counts: never connected, time-outs, lost or unreadable answers, 5xx and 429 are faults; whatever the
//! gateway itself said, a decline or a 4xx, is an answer.

use std::collections::{BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    id::{Id, Kind},
    text_enum,
};

text_enum! {
    /// What a gateway is asked to do.
    #[derive(Default)]
    pub enum Circuit {
        /// Every call that is due goes to the gateway.
        #[default]
        Closed = "closed",
        /// No call goes to the gateway before a certain instant.
        Open = "open",
        /// A few payments go to the gateway, to see whether the gateway works again.
        HalfOpen = "half_open",
    }
}

text_enum! {
    /// Whether a gateway is charged, as an operator sees it.
    pub enum GatewayState {
        /// Its circuit is closed.
        Closed = "closed",
        /// Its circuit is open.
        Open = "open",
        /// Its circuit is half open.
        HalfOpen = "half_open",
        /// The gateway refuses the merchant's account, and rests until that is mended.
        Refused = "refused",
    }
}

impl From<Circuit> for GatewayState {
    fn from(circuit: Circuit) -> Self {
        match circuit {
            Circuit::Closed => Self::Closed,
            Circuit::Open => Self::Open,
            Circuit::HalfOpen => Self::HalfOpen,
        }
    }
}

/// The shortest wait that follows a 429.
const SHORTEST_RETRY_AFTER: TimeDelta = TimeDelta::seconds(1);

/// When a circuit opens and how it closes. A number of 0 switches that rule off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerRules {
    /// So many faults in a row open the circuit.
    pub faults: u32,
    /// Faults in this part of the last `window` calls open the circuit, percent.
    pub ratio: u32,
    /// How many of the last calls `ratio` is a part of.
    pub window: u32,
    /// How many payments are let through after the wait, at least 1. Answers to most of these payments close the circuit.
    pub probes: u32,
    /// The longest wait that a 429 may ask for.
    pub longest_retry_after: TimeDelta,
}

/// The result of a call that moves money, as the circuit counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallResult {
    /// The gateway's own word, whatever it was.
    Answer,
    /// No answer, or one that tells of trouble: nobody there, too slow, 5xx or 429.
    Fault {
        /// What went wrong, without secrets.
        message: String,
        /// How long a 429 asked to be left alone.
        retry_after: Option<TimeDelta>,
    },
}

/// What a gateway is asked for, a payment or an authorization, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(u128);

impl<K: Kind> From<Id<K>> for OperationId {
    fn from(id: Id<K>) -> Self {
        Self(id.bits())
    }
}

/// What may go to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everything.
    Free,
    /// So many more payments may go, until their answers have told how the gateway is.
    Probes(usize),
    /// Nothing before this instant of the timeline.
    NotBefore(DateTime<Utc>),
}

/// What a call has changed, once for each outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitChange {
    /// Calls stop for a while: an outage begins.
    Opened,
    /// Calls go on as usual: the outage is over.
    Closed,
}

/// Where a gateway stands on one timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Whether calls go to the gateway.
    pub circuit: Circuit,
    /// When the circuit came to this state, by the timeline. None before the first fault.
    pub since: Option<DateTime<Utc>>,
    /// When an open circuit lets the first payment through, by the timeline. None for other states.
    pub until: Option<DateTime<Utc>>,
    /// The fault that opened the circuit.
    pub reason: Option<String>,
    /// Faults since the last answer.
    pub faults_in_a_row: u32,
    /// The last calls, newest last: whether each was a fault.
    recent: VecDeque<bool>,
    /// How often the circuit has opened since the last time it was closed: each wait is longer than the wait before.
    openings: usize,
    /// Payments that went through the half-open circuit, and their results.
    probing: BTreeSet<OperationId>,
    answered: u32,
    failed: u32,
}

impl Breaker {
    /// Says what may go now. An open circuit whose time has come is half open from here on.
    pub fn hold(&mut self, rules: &BreakerRules, now: DateTime<Utc>) -> Admission {
        if self.circuit == Circuit::Open {
            match self.until {
                Some(until) if now < until => return Admission::NotBefore(until),
                _ => self.turn(Circuit::HalfOpen, now),
            }
        }
        match self.circuit {
            Circuit::HalfOpen => Admission::Probes((rules.probes.max(1) as usize).saturating_sub(self.probing.len())),
            Circuit::Closed | Circuit::Open => Admission::Free,
        }
    }

    /// Lets a payment through as a probe.
    pub fn probe(&mut self, order: OperationId) {
        if self.circuit == Circuit::HalfOpen {
            self.probing.insert(order);
        }
    }

    /// Whether the operation was let through as a probe, and has not ended.
    pub fn is_probe(&self, order: OperationId) -> bool {
        self.probing.contains(&order)
    }

    /// A payment that was let through has come to its end, whatever that was.
    pub fn leave(&mut self, order: OperationId) {
        self.probing.remove(&order);
    }

    /// Whether calls go to the gateway as usual.
    pub fn is_closed(&self) -> bool {
        self.circuit == Circuit::Closed
    }

    /// Nothing is amiss and nothing is under way: as good as new.
    pub fn is_fresh(&self) -> bool {
        self.circuit == Circuit::Closed && self.faults_in_a_row == 0 && self.recent.iter().all(|fault| !fault)
    }

    /// Notes the result of a call. `waits` says how long the circuit stays open each time; the last wait repeats.
    pub fn note(
        &mut self,
        rules: &BreakerRules,
        waits: &[TimeDelta],
        now: DateTime<Utc>,
        order: OperationId,
        met: &CallResult,
    ) -> Option<CircuitChange> {
        match met {
            CallResult::Answer => self.faults_in_a_row = 0,
            CallResult::Fault { .. } => self.faults_in_a_row = self.faults_in_a_row.saturating_add(1),
        }
        match self.circuit {
            Circuit::Closed => self.note_closed(rules, waits, now, met),
            // Calls from before the circuit opened come back late and say nothing new.
            Circuit::Open => None,
            Circuit::HalfOpen if !self.probing.contains(&order) => None,
            Circuit::HalfOpen => self.note_probe(rules, waits, now, met),
        }
    }

    fn note_closed(
        &mut self,
        rules: &BreakerRules,
        waits: &[TimeDelta],
        now: DateTime<Utc>,
        met: &CallResult,
    ) -> Option<CircuitChange> {
        self.recent.push_back(matches!(met, CallResult::Fault { .. }));
        while self.recent.len() > rules.window as usize {
            self.recent.pop_front();
        }
        let CallResult::Fault { message, retry_after } = met else { return None };
        let in_a_row = rules.faults > 0 && self.faults_in_a_row >= rules.faults;
        let part = self.recent.iter().filter(|fault| **fault).count() * 100;
        let whole = rules.window > 0 && self.recent.len() >= rules.window as usize;
        let by_part = rules.ratio > 0 && whole && part >= rules.ratio as usize * self.recent.len();
        let switched_off = rules.faults == 0 && rules.ratio == 0;
        if in_a_row || by_part || (retry_after.is_some() && !switched_off) {
            self.open(rules, waits, now, message, *retry_after);
            return Some(CircuitChange::Opened);
        }
        None
    }

    /// Most of the probes decide: one payment that the gateway always chokes on must not hold up all others.
    fn note_probe(
        &mut self,
        rules: &BreakerRules,
        waits: &[TimeDelta],
        now: DateTime<Utc>,
        met: &CallResult,
    ) -> Option<CircuitChange> {
        match met {
            CallResult::Answer => self.answered += 1,
            CallResult::Fault { .. } => self.failed += 1,
        }
        let told = self.answered + self.failed >= rules.probes.max(1);
        match met {
            CallResult::Fault { message, retry_after } if retry_after.is_some() || (told && self.failed >= self.answered) => {
                self.open(rules, waits, now, message, *retry_after);
                None
            }
            _ if told && self.answered > self.failed => {
                *self = Self { circuit: Circuit::Closed, since: Some(now), ..Self::default() };
                Some(CircuitChange::Closed)
            }
            _ => None,
        }
    }

    fn open(
        &mut self,
        rules: &BreakerRules,
        waits: &[TimeDelta],
        now: DateTime<Utc>,
        reason: &str,
        retry_after: Option<TimeDelta>,
    ) {
        let wait = waits.get(self.openings).or(waits.last()).copied().unwrap_or(TimeDelta::minutes(1));
        let wait = retry_after.map_or(wait, |asked| asked.max(SHORTEST_RETRY_AFTER).min(rules.longest_retry_after));
        self.openings += 1;
        self.turn(Circuit::Open, now);
        self.until = Some(now + wait);
        self.reason = Some(reason.to_owned());
        self.recent.clear();
    }

    fn turn(&mut self, circuit: Circuit, now: DateTime<Utc>) {
        (self.circuit, self.since, self.until) = (circuit, Some(now), None);
        (self.answered, self.failed) = (0, 0);
        self.probing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> BreakerRules {
        BreakerRules { faults: 3, ratio: 50, window: 6, probes: 3, longest_retry_after: TimeDelta::hours(1) }
    }

    fn waits() -> Vec<TimeDelta> {
        [30, 60, 120].map(TimeDelta::seconds).to_vec()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("instant")
    }

    fn fault() -> CallResult {
        CallResult::Fault { message: "status 503".into(), retry_after: None }
    }

    fn asked(seconds: i64) -> CallResult {
        CallResult::Fault { message: "429".into(), retry_after: Some(TimeDelta::seconds(seconds)) }
    }

    /// What these payments meet, each let through if it has to be.
    fn meet(breaker: &mut Breaker, second: i64, met: &[CallResult]) -> Vec<Option<CircuitChange>> {
        met.iter()
            .enumerate()
            .map(|(i, met)| {
                let id = OperationId(i as u128);
                breaker.hold(&rules(), at(second));
                breaker.probe(id);
                let change = breaker.note(&rules(), &waits(), at(second), id, met);
                breaker.leave(id);
                change
            })
            .collect()
    }

    #[test]
    fn faults_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let mut breaker = Breaker::default();
        assert_eq!(meet(&mut breaker, 0, &[fault(), CallResult::Answer, CallResult::Answer, fault(), fault()]), [None; 5]);
        assert_eq!((breaker.hold(&rules(), at(0)), breaker.faults_in_a_row), (Admission::Free, 2));
        assert_eq!(meet(&mut breaker, 1, &[fault()]), [Some(CircuitChange::Opened)]);
        assert_eq!(breaker.hold(&rules(), at(2)), Admission::NotBefore(at(31)));
        assert_eq!((breaker.circuit, breaker.reason.as_deref()), (Circuit::Open, Some("status 503")));
    }

    #[test]
    fn half_of_the_last_calls_open_it_without_a_row() {
        let mut breaker = Breaker::default();
        let mixed = [fault(), CallResult::Answer, fault(), CallResult::Answer, CallResult::Answer];
        assert_eq!(meet(&mut breaker, 0, &mixed), [None; 5], "a window that is not full says nothing");
        assert_eq!(meet(&mut breaker, 1, &[fault()]), [Some(CircuitChange::Opened)]);
    }

    #[test]
    fn declines_never_open_it() {
        let mut breaker = Breaker::default();
        assert_eq!(meet(&mut breaker, 0, &vec![CallResult::Answer; 1000]), vec![None; 1000]);
        assert!(breaker.is_fresh());
    }

    #[test]
    fn each_wait_is_longer_and_few_calls_are_made_meanwhile() {
        let mut breaker = Breaker::default();
        meet(&mut breaker, 0, &[fault(), fault(), fault()]);
        for (second, until) in [(30, 90), (90, 210), (210, 330)] {
            assert_eq!(breaker.hold(&rules(), at(second)), Admission::Probes(3));
            assert_eq!(meet(&mut breaker, second, &[fault(), fault(), fault()]), [None; 3], "an outage is told once");
            assert_eq!(breaker.hold(&rules(), at(second + 1)), Admission::NotBefore(at(until)));
        }
    }

    #[test]
    fn probes_take_their_places_and_most_of_them_decide() {
        let mut breaker = Breaker::default();
        meet(&mut breaker, 0, &[fault(), fault(), fault()]);
        let ids: Vec<OperationId> = (10..14).map(OperationId).collect();
        assert_eq!(breaker.hold(&rules(), at(30)), Admission::Probes(3));
        for (id, left) in ids.iter().zip([2, 1, 0]) {
            breaker.probe(*id);
            assert_eq!(breaker.hold(&rules(), at(30)), Admission::Probes(left));
        }
        // One that was not let through came back late: it says nothing.
        assert_eq!(breaker.note(&rules(), &waits(), at(31), ids[3], &fault()), None);
        assert_eq!(breaker.note(&rules(), &waits(), at(31), ids[0], &fault()), None);
        assert_eq!(breaker.note(&rules(), &waits(), at(31), ids[1], &CallResult::Answer), None);
        assert_eq!(breaker.note(&rules(), &waits(), at(31), ids[2], &CallResult::Answer), Some(CircuitChange::Closed));
        assert_eq!(breaker.hold(&rules(), at(31)), Admission::Free);
        meet(&mut breaker, 40, &[fault(), fault(), fault()]);
        assert_eq!(breaker.hold(&rules(), at(41)), Admission::NotBefore(at(70)), "waits begin anew");
    }

    #[test]
    fn a_429_is_obeyed_at_once_within_bounds() {
        for (asks, until) in [(300, 300), (0, 1), (1_000_000, 3600)] {
            let mut breaker = Breaker::default();
            assert_eq!(meet(&mut breaker, 0, &[asked(asks)]), [Some(CircuitChange::Opened)]);
            assert_eq!(breaker.hold(&rules(), at(0)), Admission::NotBefore(at(until)), "asked for {asks} s");
        }
        let mut breaker = Breaker::default();
        meet(&mut breaker, 0, &[asked(40)]);
        assert_eq!(meet(&mut breaker, 40, &[asked(500)]), [None]);
        assert_eq!(breaker.hold(&rules(), at(41)), Admission::NotBefore(at(540)), "a probe that is told to wait waits");
    }

    #[test]
    fn switched_off_it_never_opens() {
        let off = BreakerRules { faults: 0, ratio: 0, ..rules() };
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert_eq!(breaker.note(&off, &waits(), at(0), OperationId(1), &asked(9)), None);
        }
        assert_eq!(breaker.hold(&off, at(1)), Admission::Free);
    }
}
