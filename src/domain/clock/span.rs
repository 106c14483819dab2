//! How far a test clock is to go: ISO 8601 (`P1M`, `PT36H`) or in units (`30d`, `1h 30m`, `12mo`). Months and years are calendar
//! steps, so `1mo` from 31 January is the last of February.

use std::str::FromStr;

use chrono::{DateTime, Months, TimeDelta, Utc};

/// A positive time: calendar months, and then an exact duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    months: u32,
    seconds: i64,
}

/// A text that is no positive duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as 30d, 12mo, 1h 30m, P1M or PT36H")]
pub struct BadSpan;

impl Span {
    /// The instant that lies so long after another. None beyond what a calendar can hold.
    pub fn after(self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        from.checked_add_months(Months::new(self.months))?.checked_add_signed(TimeDelta::try_seconds(self.seconds)?)
    }

    fn add(&mut self, count: u32, unit: Unit) -> Option<()> {
        match unit {
            Unit::Months(each) => self.months = self.months.checked_add(count.checked_mul(each)?)?,
            Unit::Seconds(each) => self.seconds = self.seconds.checked_add(i64::from(count).checked_mul(each)?)?,
        }
        Some(())
    }
}

enum Unit {
    Months(u32),
    Seconds(i64),
}

impl FromStr for Span {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let text = text.trim();
        let span = match text.strip_prefix('P') {
            Some(rest) => iso(rest),
            None => parts(text).and_then(|parts| sum(parts, unit)),
        };
        span.filter(|span| *span != Self::default()).ok_or(BadSpan)
    }
}

fn iso(text: &str) -> Option<Span> {
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    let day = |unit: &str| match unit {
        "Y" => Some(Unit::Months(12)),
        "M" => Some(Unit::Months(1)),
        "W" => Some(Unit::Seconds(7 * 86_400)),
        "D" => Some(Unit::Seconds(86_400)),
        _ => None,
    };
    let hour = |unit: &str| match unit {
        "H" => Some(Unit::Seconds(3600)),
        "M" => Some(Unit::Seconds(60)),
        "S" => Some(Unit::Seconds(1)),
        _ => None,
    };
    let (date, time) = (sum(parts(date)?, day)?, sum(parts(time)?, hour)?);
    Some(Span { months: date.months, seconds: date.seconds.checked_add(time.seconds)? })
}

fn unit(text: &str) -> Option<Unit> {
    Some(match text {
        "y" | "year" | "years" => Unit::Months(12),
        "mo" | "M" | "month" | "months" => Unit::Months(1),
        "w" | "week" | "weeks" => Unit::Seconds(7 * 86_400),
        "d" | "day" | "days" => Unit::Seconds(86_400),
        "h" | "hour" | "hours" => Unit::Seconds(3600),
        "m" | "min" | "minute" | "minutes" => Unit::Seconds(60),
        "s" | "sec" | "second" | "seconds" => Unit::Seconds(1),
        _ => return None,
    })
}

/// Numbers, each with the letters after it.
fn parts(mut text: &str) -> Option<Vec<(u32, &str)>> {
    let mut parts = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Some(parts);
        }
        let letters = text.find(|c: char| !c.is_ascii_digit())?;
        let count = text[..letters].parse().ok()?;
        text = text[letters..].trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        parts.push((count, &text[..end]));
        // Whoever reads the unit refuses an empty run of letters. In ISO text each unit is one letter.
        text = &text[end..];
    }
}

fn sum(parts: Vec<(u32, &str)>, unit: impl Fn(&str) -> Option<Unit>) -> Option<Span> {
    let mut span = Span::default();
    for (count, name) in parts {
        span.add(count, unit(name)?)?;
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_calendar_steps_or_exact() {
        let from: DateTime<Utc> = "2026-01-31T10:00:00Z".parse().expect("instant");
        for (text, expected) in [
            ("30d", "2026-03-02T10:00:00Z"),
            ("P30D", "2026-03-02T10:00:00Z"),
            ("1mo", "2026-02-28T10:00:00Z"),
            ("P1M", "2026-02-28T10:00:00Z"),
            ("12mo", "2027-01-31T10:00:00Z"),
            ("P1Y", "2027-01-31T10:00:00Z"),
            ("P1Y2M3DT4H5M6S", "2027-04-03T14:05:06Z"),
            ("1h 30m", "2026-01-31T11:30:00Z"),
            ("2 weeks", "2026-02-14T10:00:00Z"),
            ("PT36H", "2026-02-01T22:00:00Z"),
            ("PT1M", "2026-01-31T10:01:00Z"),
        ] {
            let span: Span = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(
                span.after(from).expect("in range").to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "P",
            "PT",
            "P1",
            "1",
            "d",
            "30 fortnights",
            "-1d",
            "1.5h",
            "P1H",
            "PT1D",
            "0d",
            "P0D",
            "99999999999d",
            "1d,",
            "P-1D",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        let far: Span = "4000000000y".parse().unwrap_or_default();
        assert!(far == Span::default(), "too large for a count of months");
    }
}
