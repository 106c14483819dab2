//! How long a pretend gateway takes to answer a call: a fixed time, or a random time between two bounds.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    time::Duration,
};

/// The bounds. Every time between them is equally likely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    shortest: Duration,
    longest: Duration,
}

impl Latency {
    /// How long the call with this number waits. A number waits equally long in every run.
    pub fn of(self, call: u64) -> Duration {
        let span = self.longest.saturating_sub(self.shortest).as_micros();
        let mut hasher = DefaultHasher::new();
        call.hash(&mut hasher);
        self.shortest + Duration::from_micros(hasher.finish() % u64::try_from(span).unwrap_or(u64::MAX).saturating_add(1))
    }

    pub fn mean(self) -> Duration {
        (self.shortest + self.longest) / 2
    }
}

impl From<Duration> for Latency {
    fn from(always: Duration) -> Self {
        Self { shortest: always, longest: always }
    }
}

impl FromStr for Latency {
    type Err = &'static str;

    /// Milliseconds: `300`, or `100-500`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "must be milliseconds such as 300, or a span of them such as 100-500, at most 30000";
        let bound = |digits: &str| match digits.parse::<u64>() {
            Ok(ms) if ms <= 30_000 => Ok(Duration::from_millis(ms)),
            _ => Err(WANTED),
        };
        let (shortest, longest) = text.split_once('-').unwrap_or((text, text));
        let latency = Self { shortest: bound(shortest)?, longest: bound(longest)? };
        if latency.shortest <= latency.longest { Ok(latency) } else { Err(WANTED) }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.shortest.as_millis())?;
        if self.longest > self.shortest { write!(f, "-{}", self.longest.as_millis()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_kept_to_and_used() {
        let latency: Latency = "100-500".parse().expect("a span");
        let waits: Vec<u128> = (0..1000).map(|call| latency.of(call).as_millis()).collect();
        assert!(waits.iter().all(|wait| (100..=500).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 150) && waits.iter().any(|wait| *wait > 450));
        assert_eq!((latency.mean(), latency.to_string()), (Duration::from_millis(300), "100-500".to_owned()));
    }

    #[test]
    fn one_number_is_always_that_long() {
        let latency: Latency = "300".parse().expect("a number");
        assert!((0..100).all(|call| latency.of(call) == Duration::from_millis(300)));
        assert_eq!((latency.to_string(), Latency::default().to_string()), ("300".to_owned(), "0".to_owned()));
        for bad in ["", "-", "5-", "-5", "500-100", "1s", "30001", "1-2-3"] {
            assert!(bad.parse::<Latency>().is_err(), "{bad} must be refused");
        }
    }
}
