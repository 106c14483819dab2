//! The spans that a forecast sums over: days, weeks from Monday, calendar months, cut to the range that was asked for.

use chrono::{Datelike, Days, Months, NaiveDate};
use serde::Serialize;

use super::text_enum;

text_enum! {
    /// How finely a forecast tells apart what is to come.
    #[derive(Default)]
    pub enum Interval {
        /// Each date alone.
        #[default]
        Day = "day",
        /// From Monday.
        Week = "week",
        /// From the first of the month.
        Month = "month",
    }
}

impl Interval {
    /// The whole day, week or month that a date lies in, half-open.
    fn around(self, date: NaiveDate) -> (NaiveDate, NaiveDate) {
        let start = match self {
            Self::Day => Some(date),
            Self::Week => date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday()))),
            Self::Month => date.with_day(1),
        };
        let start = start.unwrap_or(date);
        let end = match self {
            Self::Day => start.checked_add_days(Days::new(1)),
            Self::Week => start.checked_add_days(Days::new(7)),
            Self::Month => start.checked_add_months(Months::new(1)),
        };
        (start, end.unwrap_or(NaiveDate::MAX))
    }
}

/// A half-open range of local dates and how it is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first date of the range.
    pub from: NaiveDate,
    /// The first date after the range.
    pub to: NaiveDate,
    /// How long each part of the range is.
    pub interval: Interval,
}

impl Range {
    /// The part of the range that a date lies in. None for a date outside the range.
    pub fn part(&self, date: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        if !(self.from..self.to).contains(&date) {
            return None;
        }
        let (start, end) = self.interval.around(date);
        Some((start.max(self.from), end.min(self.to)))
    }

    /// How many parts there are, counted no further than `limit`.
    pub fn parts(&self, limit: usize) -> usize {
        let next = |start: &NaiveDate| self.part(*start).map(|(_, end)| end).filter(|end| *end < self.to);
        std::iter::successors(Some(self.from).filter(|from| *from < self.to), next).take(limit).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("date")
    }

    #[test]
    fn parts_cover_the_range_without_gap_or_overlap() {
        for (interval, count) in [(Interval::Day, 400), (Interval::Week, 58), (Interval::Month, 14)] {
            // A Wednesday in the middle of a month.
            let range = Range { from: date("2025-12-17"), to: date("2027-01-21"), interval };
            let mut day = range.from;
            let mut seen = Vec::new();
            while let Some(part) = range.part(day) {
                assert!(part.0 <= day && day < part.1, "{interval} {day} {part:?}");
                seen.push(part);
                day = day.succ_opt().expect("a next day");
            }
            assert_eq!(day, range.to);
            seen.dedup();
            assert_eq!((seen[0].0, seen[seen.len() - 1].1), (range.from, range.to));
            assert!(seen.windows(2).all(|pair| pair[0].1 == pair[1].0), "{interval}: {seen:?}");
            assert_eq!((seen.len(), range.parts(5000), range.parts(3)), (count, count, 3));
        }
    }

    #[test]
    fn weeks_start_on_monday_and_months_on_the_first() {
        let range = |interval| Range { from: date("2026-01-01"), to: date("2027-01-01"), interval };
        assert_eq!(range(Interval::Week).part(date("2026-03-01")), Some((date("2026-02-23"), date("2026-03-02"))));
        assert_eq!(range(Interval::Month).part(date("2026-02-28")), Some((date("2026-02-01"), date("2026-03-01"))));
        assert_eq!(range(Interval::Week).part(date("2027-01-01")), None);
        assert_eq!(Range { from: date("2026-01-01"), to: date("2026-01-01"), interval: Interval::Day }.parts(9), 0);
    }
}
