//! Signs of life of the job loops, which the watchdog asks for before each ping.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Whether the job loops turn: what the watchdog asks before each ping.
#[derive(Clone)]
pub struct Pulses {
    pub(super) all: Vec<Arc<Pulse>>,
    /// A loop that has not turned for this long is stuck, unless it is inside a run.
    pub(super) bound: Duration,
}

/// The sign of life of one loop.
pub struct Pulse {
    name: &'static str,
    /// None: at work, for as long as that takes. Its calls have time-outs of their own.
    rested: Mutex<Option<Instant>>,
}

impl Pulse {
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, rested: Mutex::new(Some(Instant::now())) })
    }

    /// The loop has turned and waits.
    pub(super) fn idle(&self) {
        *self.rested.lock() = Some(Instant::now());
    }

    pub(super) fn busy(&self) {
        *self.rested.lock() = None;
    }
}

impl Pulses {
    /// The loops that stand still.
    pub fn still(&self) -> Vec<&'static str> {
        let rested = |pulse: &Pulse| *pulse.rested.lock();
        self.all
            .iter()
            .filter(|pulse| rested(pulse).is_some_and(|at| at.elapsed() > self.bound))
            .map(|pulse| pulse.name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_at_work_is_alive_and_one_at_rest_for_too_long_is_not() {
        let (resting, working) = (Pulse::new("resting"), Pulse::new("working"));
        working.busy();
        let pulses = Pulses { all: vec![resting.clone(), working], bound: Duration::from_millis(20) };
        assert!(pulses.still().is_empty());
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(pulses.still(), ["resting"]);
        resting.idle();
        assert!(pulses.still().is_empty());
    }
}
