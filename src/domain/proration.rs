//! Parts of a period: proration counts local days, n of m, and rounds once, half away from zero.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

pub use super::calendar::days_between;
use super::{frequency::Schedule, money::fraction_of, text_enum};

/// A part of a period, n of m days: 0 ≤ `days` ≤ `of` and `of` > 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many days of the period count.
    pub days: i64,
    /// How many days the whole period has.
    pub of: i64,
}

impl Share {
    /// A whole period, without a number of days.
    pub const WHOLE: Self = Self { days: 1, of: 1 };

    /// A share within bounds: `days` is no more than `of`, and `of` is at least 1.
    pub fn new(days: i64, of: i64) -> Self {
        let of = of.max(1);
        Self { days: days.clamp(0, of), of }
    }

    /// Whether nothing is left out, whatever the number of days.
    pub const fn is_whole(self) -> bool {
        self.days >= self.of
    }

    /// This part of an amount, rounded half away from zero.
    pub fn of_amount(self, minor: i64) -> i64 {
        if self.is_whole() { minor } else { fraction_of(minor, self.days, self.of) }
    }

    /// The rest of the period: both shares together are the whole.
    pub fn rest(self) -> Self {
        Self { days: self.of - self.days, of: self.of }
    }
}

/// The share of a half-open period that lies before `cut`.
pub fn used(period: (NaiveDate, NaiveDate), cut: NaiveDate) -> Share {
    Share::new(days_between(period.0, cut), days_between(period.0, period.1))
}

/// The share of a half-open period from `cut` on.
pub fn unused(period: (NaiveDate, NaiveDate), cut: NaiveDate) -> Share {
    used(period, cut).rest()
}

text_enum! {
    /// What is charged between a start that is no anchor and the first anchor.
    #[derive(Default)]
    pub enum FirstPeriod {
        /// A whole charge at the start, as the seed gateways do.
        #[default]
        Full = "full",
        /// A charge at the start for the days up to the first anchor.
        Prorated = "prorated",
        /// Nothing: no cycle is opened before the first anchor.
        Free = "free",
    }
}

impl FirstPeriod {
    /// The slot of the first charge: 0, or the slot of the first anchor when the stub before the anchor is free. None when no
    /// charge has a date.
    pub fn first_slot(self, schedule: &Schedule) -> Option<u64> {
        if self == Self::Free && !schedule.starts_on_anchor() { schedule.next_slot(0) } else { Some(0) }
    }

    /// The share of the terms that a slot's charge is for: a whole share, except for slot 0 of a start that is no anchor.
    pub fn share(self, schedule: &Schedule, slot: u64) -> Share {
        if slot > 0 || self == Self::Full || schedule.starts_on_anchor() {
            return Share::WHOLE;
        }
        match (self, schedule.nominal_first_period()) {
            (Self::Prorated, Some(period)) => unused(period, schedule.start()),
            (Self::Free, Some(period)) => Share::new(0, days_between(period.0, period.1)),
            _ => Share::WHOLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::frequency::{Frequency, Recurrence};

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("date")
    }

    fn monthly(days: &str, start: &str) -> Schedule {
        Schedule::new(Recurrence::new(Frequency::Monthly, 1, Some(days)).expect("recurrence"), date(start))
    }

    #[test]
    fn a_stub_is_charged_by_the_days_of_its_own_period() {
        // A start on 14 February with anchor 31 pays for 14 of 28 days.
        let stub = monthly("31", "2023-02-14");
        assert_eq!(FirstPeriod::Prorated.share(&stub, 0), Share { days: 14, of: 28 });
        assert_eq!(FirstPeriod::Prorated.share(&monthly("31", "2023-02-10"), 0), Share { days: 18, of: 28 });
        assert_eq!(FirstPeriod::Full.share(&stub, 0), Share::WHOLE);
        assert_eq!(FirstPeriod::Free.share(&stub, 0), Share { days: 0, of: 28 });
        let slots = FirstPeriod::ALL.iter().map(|first| first.first_slot(&stub)).collect::<Vec<_>>();
        assert_eq!(slots, [Some(0), Some(0), Some(1)]);
        for &first in FirstPeriod::ALL {
            assert_eq!(first.share(&stub, 1), Share::WHOLE, "{first}");
        }
    }

    #[test]
    fn a_start_on_the_anchor_has_no_stub() {
        for &first in FirstPeriod::ALL {
            for whole in [monthly("31", "2023-02-28"), monthly("", "2023-02-14")] {
                assert_eq!((first.share(&whole, 0), first.first_slot(&whole)), (Share::WHOLE, Some(0)), "{first}");
            }
        }
    }

    #[test]
    fn a_cut_splits_a_period_without_a_day_lost_or_counted_twice() {
        let period = (date("2026-03-01"), date("2026-04-01"));
        for (cut, days) in
            [("2026-03-01", 0), ("2026-03-02", 1), ("2026-03-31", 30), ("2026-04-01", 31), ("2026-05-01", 31), ("2026-02-01", 0)]
        {
            assert_eq!(used(period, date(cut)), Share { days, of: 31 }, "{cut}");
            assert_eq!(unused(period, date(cut)), Share { days: 31 - days, of: 31 }, "{cut}");
        }
        let nothing = (period.0, period.0);
        assert_eq!((used(nothing, period.0), unused(nothing, period.0)), (Share { days: 0, of: 1 }, Share::WHOLE));
        assert_eq!(days_between(date("2024-03-01"), date("2024-02-28")), -2);
    }

    #[test]
    fn shares_round_half_away_from_zero() {
        for (days, of, minor, expected) in
            [(14, 28, 1001, 501), (14, 28, -1001, -501), (1, 3, 100, 33), (2, 3, 100, 67), (0, 3, 100, 0)]
        {
            assert_eq!(Share { days, of }.of_amount(minor), expected);
        }
        assert_eq!((Share::WHOLE.of_amount(i64::MIN), Share { days: 0, of: 0 }.of_amount(7)), (i64::MIN, 7));
    }
}
