//! How each gateway is: what its calls met, whether its circuit is closed, whether an operator has paused it, whether it refuses the
//! merchant's account.
//!
//! An outage happens in real time, and a test clock's customers live through it in theirs: each timeline has a circuit of its own,
//! by its own clock. Memory of this daemon alone, but for an operator's pause and a refusal of
//! the account, which every daemon reads from the database.

use std::{cell::RefCell, collections::HashMap, future::Future};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};

use super::fault::GatewayFault;
use crate::{
    config::GatewayKind,
    domain::{
        account_refusal::{AccountRefusal, Probing},
        breaker::{Admission, Breaker, BreakerRules, CallResult, Circuit, CircuitChange, OperationId},
        clock::Timeline,
    },
};

/// What the calls of one operation met: answers, or a fault.
#[derive(Debug, Default)]
pub struct CallLog {
    answers: u32,
    fault: Option<GatewayFault>,
    refused: Option<String>,
}

tokio::task_local! {
    static CALL_LOG: RefCell<CallLog>;
}

/// Notes what a call met, in the log of the operation, if it has one.
pub(super) fn note(met: Result<(), GatewayFault>) {
    // A call outside [`listening`] has no log.
    let _ = CALL_LOG.try_with(|line| match met {
        Ok(()) => line.borrow_mut().answers += 1,
        Err(fault) => line.borrow_mut().fault = Some(fault),
    });
}

/// Notes that a call was refused because of the merchant's key, in the log of the operation, if it has one.
pub(super) fn note_refused(reason: String) {
    let _ = CALL_LOG.try_with(|line| line.borrow_mut().refused = Some(reason));
}

/// Awaits a call of an adapter, and logs what its HTTP calls meet.
pub async fn listening<T>(call: impl Future<Output = T>) -> (T, CallLog) {
    CALL_LOG
        .scope(RefCell::default(), async {
            let answer = call.await;
            (answer, CALL_LOG.with(RefCell::take))
        })
        .await
}

impl CallLog {
    /// Why a call was refused because of the merchant's key, if one was.
    pub fn refused(&self) -> Option<String> {
        self.refused.clone()
    }

    /// What the log says about the gateway. `fault`: what the answer says, for an adapter that makes no HTTP call.
    pub fn met(self, fault: Option<(String, Option<TimeDelta>)>) -> CallResult {
        match (self.fault, fault) {
            (Some(GatewayFault { message, retry_after }), _) => CallResult::Fault { message, retry_after },
            (None, Some((message, retry_after))) if self.answers == 0 => CallResult::Fault { message, retry_after },
            _ => CallResult::Answer,
        }
    }
}

/// An operator's pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPause {
    /// Why, in the words of the operator.
    pub reason: String,
    /// When the operator paused the gateway, wall time, UTC.
    pub paused_at: DateTime<Utc>,
}

impl OperatorPause {
    /// When what waits for its end is looked at again: the end is not known, and all that waits must wait for one instant, so that
    /// it can be found when the pause ends.
    pub fn look_again(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let step = TimeDelta::minutes(15).num_seconds();
        let past = (now - self.paused_at).num_seconds().max(0) / step;
        self.paused_at + TimeDelta::seconds((past + 1) * step)
    }
}

/// How one gateway is.
pub struct Health {
    rules: BreakerRules,
    /// How long its circuit stays open, longer each time.
    waits: Vec<TimeDelta>,
    /// How many calls the gateway gets at a time.
    pub max_in_flight: usize,
    /// None for an adapter that no settings made.
    pub kind: Option<GatewayKind>,
    circuits: Mutex<HashMap<Timeline, Breaker>>,
    pause: Mutex<Option<OperatorPause>>,
    probing: Mutex<Probing>,
}

impl Health {
    /// Every circuit is closed at first, and no operator has paused the gateway.
    pub fn new(rules: BreakerRules, waits: Vec<TimeDelta>, max_in_flight: usize, kind: Option<GatewayKind>) -> Self {
        Self { rules, waits, max_in_flight, kind, circuits: Mutex::default(), pause: Mutex::default(), probing: Mutex::default() }
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<Timeline, Breaker>> {
        self.circuits.lock()
    }

    /// What may go to it on a timeline. `day`: how long a test clock waits before it looks at an operator's pause again.
    pub fn hold(&self, timeline: Timeline, now: DateTime<Utc>, day: TimeDelta) -> Admission {
        if let Some(pause) = self.paused() {
            return Admission::NotBefore(if timeline == Timeline::Wall { pause.look_again(now) } else { now + day });
        }
        let by_circuit = self.circuits().get_mut(&timeline).map_or(Admission::Free, |breaker| breaker.hold(&self.rules, now));
        match (by_circuit, self.probing.lock().hold(timeline, now)) {
            (by_circuit, Admission::Free) => by_circuit,
            (Admission::NotBefore(one), Admission::NotBefore(other)) => Admission::NotBefore(one.max(other)),
            (by_circuit @ (Admission::NotBefore(_) | Admission::Probes(0)), Admission::Probes(_)) => by_circuit,
            (_, by_refusal) => by_refusal,
        }
    }

    /// Like [`Self::hold`], for an operation that was let through already: a probe is not held back by the refusal that it probes.
    pub fn hold_call(&self, timeline: Timeline, now: DateTime<Utc>, day: TimeDelta, order: OperationId) -> Admission {
        if self.paused().is_none() && self.probing.lock().is_probe(order) {
            return self.circuits().get_mut(&timeline).map_or(Admission::Free, |breaker| breaker.hold(&self.rules, now));
        }
        self.hold(timeline, now, day)
    }

    /// That the gateway refuses the account, as the database last told. None: it does not.
    pub fn refused(&self) -> Option<AccountRefusal> {
        self.probing.lock().refusal().cloned()
    }

    /// What the database says of a refusal of the account.
    pub fn set_refused(&self, refusal: Option<AccountRefusal>) {
        self.probing.lock().set(refusal);
    }

    /// Grants a probe of a refusal: the next one does not come before `next`.
    pub fn grant_probe(&self, timeline: Timeline, next: DateTime<Utc>) {
        self.probing.lock().grant(timeline, next);
    }

    /// No probe of a refusal goes there before `next`.
    pub fn wait_with_probes(&self, timeline: Timeline, next: DateTime<Utc>) {
        self.probing.lock().wait(timeline, next);
    }

    /// Whether the operation was let through to see whether the refusal is over.
    pub fn probes_refusal(&self, order: OperationId) -> bool {
        self.probing.lock().is_probe(order)
    }

    /// Lets an operation through; if the circuit is half open, it is a probe.
    pub fn let_through(&self, timeline: Timeline, order: OperationId) {
        if let Some(breaker) = self.circuits().get_mut(&timeline) {
            breaker.probe(order);
        }
        self.probing.lock().let_through(timeline, order);
    }

    /// Whether the operation was let through as a probe, and has not ended.
    pub fn is_probe(&self, timeline: Timeline, order: OperationId) -> bool {
        self.circuits().get(&timeline).is_some_and(|breaker| breaker.is_probe(order))
    }

    /// The operation has ended, whatever came of it. If it was a probe, its slot is free.
    pub fn leave(&self, timeline: Timeline, order: OperationId) {
        if let Some(breaker) = self.circuits().get_mut(&timeline) {
            breaker.leave(order);
        }
        self.probing.lock().leave(order);
    }

    /// Notes what a call met. `waits`: how long a test clock's circuit stays open.
    pub fn note(
        &self,
        timeline: Timeline,
        now: DateTime<Utc>,
        waits: &[TimeDelta],
        order: OperationId,
        met: &CallResult,
    ) -> Option<CircuitChange> {
        let real = timeline == Timeline::Wall;
        let waits = if real { &self.waits } else { waits };
        let met = match met {
            // Asked for in real time, which a test clock does not go by: there it is a fault like any other.
            CallResult::Fault { message, .. } if !real => &CallResult::Fault { message: message.clone(), retry_after: None },
            met => met,
        };
        let mut circuits = self.circuits();
        if *met == CallResult::Answer && !circuits.contains_key(&timeline) {
            // The window of the last calls only matters where there was a fault.
            return None;
        }
        let breaker = circuits.entry(timeline).or_default();
        let change = breaker.note(&self.rules, waits, now, order, met);
        if !real && breaker.is_fresh() {
            circuits.remove(&timeline);
        }
        change
    }

    /// Whether nothing may be expected of it now.
    pub fn is_down(&self, timeline: Timeline) -> bool {
        self.paused().is_some()
            || self.refused().is_some()
            || self.circuits().get(&timeline).is_some_and(|breaker| breaker.circuit != Circuit::Closed)
    }

    /// The first of the waits of an open circuit.
    pub fn shortest_wait(&self) -> TimeDelta {
        self.waits.first().copied().unwrap_or(TimeDelta::minutes(1))
    }

    /// Where it stands in real time.
    pub fn breaker(&self, now: DateTime<Utc>) -> Breaker {
        let mut circuits = self.circuits();
        let Some(breaker) = circuits.get_mut(&Timeline::Wall) else { return Breaker::default() };
        breaker.hold(&self.rules, now);
        breaker.clone()
    }

    /// The operator's pause, as the database last told. None: the gateway is not paused.
    pub fn paused(&self) -> Option<OperatorPause> {
        self.pause.lock().clone()
    }

    /// What the database says of an operator's pause.
    pub fn set_pause(&self, pause: Option<OperatorPause>) {
        *self.pause.lock() = pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_line_is_heard_and_not_the_words() {
        let fault = |message: &str| GatewayFault { message: message.into(), retry_after: None };
        let said = Some(("unknown".to_owned(), None));
        // An unknown that the gateway put in words of its own is an answer.
        let ((), line) = listening(async { note(Ok(())) }).await;
        assert_eq!(line.met(said.clone()), CallResult::Answer);
        let ((), line) = listening(async {
            note(Ok(()));
            note(Err(fault("status 503")));
        })
        .await;
        assert_eq!(line.met(None), CallResult::Fault { message: "status 503".into(), retry_after: None });
        // Without an HTTP call, the answer of the adapter counts.
        let ((), line) = listening(async {}).await;
        assert_eq!(line.met(said), CallResult::Fault { message: "unknown".into(), retry_after: None });
        note(Err(fault("nobody listens")));
    }

    #[test]
    fn what_waits_for_an_operator_waits_for_one_instant() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("instant");
        let pause = OperatorPause { reason: String::new(), paused_at: at("2026-01-01T00:00:10Z") };
        for (now, again) in [
            ("2026-01-01T00:00:10Z", "2026-01-01T00:15:10Z"),
            ("2026-01-01T00:15:09.9Z", "2026-01-01T00:15:10Z"),
            ("2026-01-01T00:15:10Z", "2026-01-01T00:30:10Z"),
            ("2025-12-31T00:00:00Z", "2026-01-01T00:15:10Z"),
        ] {
            assert_eq!(pause.look_again(at(now)), at(again), "{now}");
        }
    }
}
