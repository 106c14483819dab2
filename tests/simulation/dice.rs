//! The one source of chance: everything that happens in a run follows from its seed.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

pub struct Dice(StdRng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// True in so many of a thousand throws.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.0.random_range(0..1000) < per_mille
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end.max(1))
    }

    /// An amount or a number of things, from 0 to below `end`.
    pub fn number(&mut self, end: u32) -> i64 {
        i64::try_from(self.below(u64::from(end))).expect("below an u32")
    }

    /// A place in something of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below an usize")
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// One of these, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, from: &[(u32, T)]) -> T {
        let mut draw = self.below(from.iter().map(|(weight, _)| u64::from(*weight)).sum());
        for (weight, what) in from {
            if draw < u64::from(*weight) {
                return *what;
            }
            draw -= u64::from(*weight);
        }
        from[0].1
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
