//! What happened, in order: a number that is the same exactly when all of it is the same, and the words for a person who asks.

use std::{
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

#[derive(Default)]
pub struct Trace {
    hasher: DefaultHasher,
    pub steps: u64,
    /// Words, kept only where somebody will read them.
    words: Option<Vec<String>>,
}

impl Trace {
    pub fn new(told: bool) -> Self {
        Self { words: told.then(Vec::new), ..Self::default() }
    }

    pub fn add(&mut self, at: Duration, who: &str, what: &str) {
        self.steps += 1;
        self.hasher.write_u128(at.as_micros());
        self.hasher.write(who.as_bytes());
        self.hasher.write_u8(0xff);
        self.hasher.write(what.as_bytes());
        self.hasher.write_u8(0xff);
        if let Some(words) = &mut self.words {
            let (days, seconds) = (at.as_secs() / 86400, at.as_secs() % 86400);
            let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let line = what.split_whitespace().collect::<Vec<_>>().join(" ");
            words.push(format!("{days:>3}d {h:02}:{m:02}:{s:02}.{:03} {who:<8} {line}", at.subsec_millis()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub fn words(&self) -> String {
        self.words.as_deref().unwrap_or_default().join("\n")
    }
}
