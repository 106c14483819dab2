//! Numbers from a seed, so that a story can be told again.

/// A linear congruential generator: its low bits are poor, so only high bits are used.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        dice.below(2);
        dice
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn amount(&mut self) -> i64 {
        i64::try_from(self.below(90)).expect("small") * 100 + 37
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let n = self.below(all.len() as u64);
        &all[usize::try_from(n).expect("small")]
    }
}
