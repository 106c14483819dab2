//! How often: recurrences and their dates. The nth bill date is computed from the start, never from the date before it.

use std::{fmt, str::FromStr};

use chrono::{Datelike, Days, NaiveDate, TimeDelta};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    calendar::{clamp_day, days_between},
    count,
};

/// The unit of a recurrence (`billing_frequency`). Reads either case and Paysley's `ONE-TIME`; writes `snake_case`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Frequency {
    /// One charge, and no other after it.
    OneTime,
    /// Days; the billing days may say how many.
    Daily,
    /// Weeks; the billing days are ISO weekdays.
    Weekly,
    /// Months with two charges each; the billing days are two days of the month.
    TwiceMonthly,
    /// Months; the billing day is a day of the month.
    #[default]
    Monthly,
    /// Three months; the billing day is a day of the month.
    Quarterly,
    /// Twelve months; the billing day is a day of the month.
    Yearly,
}

/// A text that is no frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of one_time, daily, weekly, twice_monthly, monthly, quarterly, yearly")]
pub struct BadFrequency;

impl Frequency {
    /// Every frequency, in the order of declaration.
    pub const ALL: [Self; 7] =
        [Self::OneTime, Self::Daily, Self::Weekly, Self::TwiceMonthly, Self::Monthly, Self::Quarterly, Self::Yearly];

    /// The text used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "one_time",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::TwiceMonthly => "twice_monthly",
            Self::Monthly => "monthly",
            Self::Quarterly => "quarterly",
            Self::Yearly => "yearly",
        }
    }
}

impl FromStr for Frequency {
    type Err = BadFrequency;

    fn from_str(text: &str) -> Result<Self, BadFrequency> {
        let wanted = text.to_ascii_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|f| f.as_str() == wanted).ok_or(BadFrequency)
    }
}
impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl Serialize for Frequency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Frequency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

/// The largest `billing_cycle_interval`, and the most days between daily charges.
pub const MAX_INTERVAL: u32 = 1000;

/// A validated recurrence: what `billing_frequency`, `billing_cycle_interval` and `billing_days` say together. Keeps the seed
/// gateway's string form of the days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    frequency: Frequency,
    interval: u32,
    billing_days: Option<String>,
    /// The numbers of `billing_days`, ascending; empty when left out. "0", the last day of the month, is read as 31.
    days: Vec<u32>,
}

/// Terms that are no recurrence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct BadRecurrence {
    /// Name of the field that is wrong: `billing_cycle_interval` or `billing_days`.
    pub field: &'static str,
    /// What the field may be, for people: continues a sentence that begins with the field.
    pub message: String,
}

impl Recurrence {
    /// Checks the terms. Billing days that are left out or empty are taken from the first bill date, when a [`Schedule`] is laid.
    /// Terms that do not fit the frequency are an error, which names the field.
    pub fn new(frequency: Frequency, interval: u32, billing_days: Option<&str>) -> Result<Self, BadRecurrence> {
        if !(1..=MAX_INTERVAL).contains(&interval) {
            let message = format!("must be from 1 to {MAX_INTERVAL}");
            return Err(BadRecurrence { field: "billing_cycle_interval", message });
        }
        let text = billing_days.map(str::trim).filter(|text| !text.is_empty());
        let days = match text {
            None => Vec::new(),
            Some(text) => read_days(frequency, text)
                .ok_or_else(|| BadRecurrence { field: "billing_days", message: allowed_days(frequency).to_owned() })?,
        };
        Ok(Self { frequency, interval, billing_days: text.map(str::to_owned), days })
    }

    /// The unit in which the interval is counted.
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// How many days, weeks, months, quarters or years lie between two cycles; at least 1.
    pub fn interval(&self) -> u32 {
        self.interval
    }

    /// The text as somebody gave it, without spaces around it; None when it was left out.
    pub fn billing_days(&self) -> Option<&str> {
        self.billing_days.as_deref()
    }

    /// The days that count for a schedule from `start`: the given days, or else those of this date.
    fn days_from(&self, start: NaiveDate) -> Vec<u32> {
        let day = start.day();
        match self.frequency {
            _ if !self.days.is_empty() => self.days.clone(),
            Frequency::OneTime | Frequency::Daily => vec![1],
            Frequency::Weekly => vec![start.weekday().number_from_monday()],
            // The days lie half a month apart, and the start is one of them: the 3rd and the 18th, the 16th and the 31st.
            Frequency::TwiceMonthly if day <= 15 => vec![day, day + 15],
            Frequency::TwiceMonthly => vec![day - 15, day],
            Frequency::Monthly | Frequency::Quarterly | Frequency::Yearly => vec![day],
        }
    }
}

fn allowed_days(frequency: Frequency) -> &'static str {
    match frequency {
        Frequency::OneTime => "must be left out for one_time",
        Frequency::Daily => "must be the number of days between charges, from 1 to 1000, such as \"7\"",
        Frequency::Weekly => {
            "must be ISO weekdays from 1 (Monday) to 7 (Sunday), ascending and separated by commas, such as \"1\" or \"1,4\""
        }
        Frequency::TwiceMonthly => {
            "must be two ascending days of the month from 1 to 31 (31 or 0 is the last day), such as \"1,15\" or \"15,31\""
        }
        Frequency::Monthly | Frequency::Quarterly | Frequency::Yearly => {
            "must be one day of the month from 1 to 31 (31 or 0 is the last day), such as \"15\""
        }
    }
}

/// The numbers of a `billing_days` text. None when the frequency does not take this text.
fn read_days(frequency: Frequency, text: &str) -> Option<Vec<u32>> {
    let (allowed, count) = match frequency {
        Frequency::OneTime => return None,
        Frequency::Daily => (1..=MAX_INTERVAL, 1..=1),
        Frequency::Weekly => (1..=7, 1..=7),
        Frequency::TwiceMonthly => (1..=31, 2..=2),
        Frequency::Monthly | Frequency::Quarterly | Frequency::Yearly => (1..=31, 1..=1),
    };
    let by_month = *allowed.end() == 31;
    let number = |part: &str| {
        let part = part.trim();
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let day: u32 = if digits { part.parse().ok()? } else { return None };
        let day = if day == 0 && by_month { 31 } else { day };
        allowed.contains(&day).then_some(day)
    };
    let days: Vec<u32> = text.split(',').map(number).collect::<Option<_>>()?;
    (count.contains(&days.len()) && days.is_sorted_by(|a, b| a < b)).then_some(days)
}

/// No schedule goes past this year: four digits are what gateways and databases take.
const LAST_YEAR: i32 = 9999;

/// More slots than any schedule has: one a day for half a million years.
const MAX_SLOTS: u64 = 200_000_000;

/// A recurrence laid from a first bill date. Slot 0 is the start itself, on whatever day; slot n ≥ 1 is the nth anchor strictly
/// after the start. Every answer costs the same, whatever the slot.
#[derive(Clone, Debug)]
pub struct Schedule {
    recurrence: Recurrence,
    start: NaiveDate,
    grid: Grid,
    /// Index in the grid of the first anchor after the start.
    first: i64,
}

/// The anchors of a phase, indexed from the start's own day, week or month: `days.len()` of them every `step` units. The index
/// may be negative: the anchors before the start are what a stub is measured against.
#[derive(Clone, Debug)]
enum Grid {
    Once,
    /// Index 0 is the start.
    Days {
        step: i64,
    },
    /// From the Monday of the start's week; days are ISO weekdays.
    Weeks {
        monday: NaiveDate,
        step: i64,
        days: Vec<u32>,
    },
    /// From the start's month, counted in months from year 0; days clamp to the month's end.
    Months {
        month: i64,
        step: i64,
        days: Vec<u32>,
    },
}

impl Schedule {
    /// Lays a recurrence from this first bill date, a local date.
    pub fn new(recurrence: Recurrence, start: NaiveDate) -> Self {
        let days = recurrence.days_from(start);
        let step = i64::from(recurrence.interval);
        let months = |step| Grid::Months { month: month_number(start), step, days: days.clone() };
        let grid = match recurrence.frequency {
            Frequency::OneTime => Grid::Once,
            Frequency::Daily => Grid::Days { step: step * days.iter().map(|&d| i64::from(d)).sum::<i64>() },
            Frequency::Weekly => Grid::Weeks { monday: monday_of(start), step, days },
            Frequency::TwiceMonthly | Frequency::Monthly => months(step),
            Frequency::Quarterly => months(3 * step),
            Frequency::Yearly => months(12 * step),
        };
        let first = match &grid {
            Grid::Once | Grid::Days { .. } => 1,
            Grid::Weeks { days, .. } => count(days.iter().filter(|&&d| d <= start.weekday().number_from_monday()).count()),
            Grid::Months { days, .. } => {
                count(days.iter().filter(|&&d| clamp_day(start.year(), start.month(), d) <= start).count())
            }
        };
        Self { recurrence, start, grid, first }
    }

    /// The same schedule, where the first anchor after the start is no bill date: the period of the start reaches to the anchor after
    /// that one.
    pub fn without_first_anchor(mut self) -> Self {
        if let Some(next) = self.next_slot(1).and_then(|next| i64::try_from(next).ok()) {
            self.first += next - 1;
        }
        self
    }

    /// Whether the start is no anchor, and the first anchor after it is nearer than half of the period that both lie in.
    pub fn first_anchor_is_near(&self) -> bool {
        let stub = self.period(0).map(|stub| days_between(stub.0, stub.1));
        let whole = self.nominal_first_period().map(|whole| days_between(whole.0, whole.1));
        !self.starts_on_anchor() && stub.zip(whole).is_some_and(|(stub, whole)| 2 * stub < whole)
    }

    /// The recurrence that was laid.
    pub fn recurrence(&self) -> &Recurrence {
        &self.recurrence
    }

    /// The first bill date, which is slot 0.
    pub fn start(&self) -> NaiveDate {
        self.start
    }

    /// The bill date of a slot. None after the end: `one_time` has slot 0 only, and nothing is billed after the year 9999.
    pub fn date(&self, slot: u64) -> Option<NaiveDate> {
        match slot {
            0 => Some(self.start),
            1..MAX_SLOTS => self.anchor(self.first + i64::try_from(slot).ok()? - 1),
            _ => None,
        }
    }

    /// The next slot whose date is later, mostly `slot + 1`. Two days of a month that clamp to one date are one charge, so the
    /// second of these slots is passed over. None after the end.
    pub fn next_slot(&self, slot: u64) -> Option<u64> {
        let date = self.date(slot)?;
        let next = slot + 1;
        if self.date(next)? > date { Some(next) } else { self.date(next + 1).map(|_| next + 1) }
    }

    /// The smallest slot whose date is not before `date`. None when there is no such slot.
    pub fn slot_on_or_after(&self, date: NaiveDate) -> Option<u64> {
        if date <= self.start {
            return Some(0);
        }
        let (unit, per_unit) = match &self.grid {
            Grid::Once => return None,
            Grid::Days { step } => (days_between(self.start, date).div_euclid(*step), 1),
            Grid::Weeks { monday, step, days } => (days_between(*monday, date).div_euclid(7 * step), count(days.len())),
            Grid::Months { month, step, days } => ((month_number(date) - month).div_euclid(*step), count(days.len())),
        };
        // All anchors of the units before this one are earlier, and the next unit begins later than the date.
        let wanted = |&index: &i64| self.anchor(index).is_some_and(|anchor| anchor >= date);
        let index = (unit * per_unit..=(unit + 1) * per_unit).find(wanted)?;
        // An anchor that is passed over is no slot.
        u64::try_from((index - self.first + 1).max(1)).ok()
    }

    /// The half-open period that a slot's charge pays for: from its date to the next one's. `one_time`: that day alone.
    pub fn period(&self, slot: u64) -> Option<(NaiveDate, NaiveDate)> {
        let start = self.date(slot)?;
        let end = match self.grid {
            Grid::Once => start.checked_add_days(Days::new(1))?,
            _ => self.date(self.next_slot(slot)?)?,
        };
        Some((start, end))
    }

    /// The full period of the phase that the start lies in, which a stub is a share of: from the last anchor not after the start
    /// to the first one after it. Equal to `period(0)` when the start is itself an anchor.
    pub fn nominal_first_period(&self) -> Option<(NaiveDate, NaiveDate)> {
        match self.grid {
            Grid::Once => self.period(0),
            _ => Some((self.anchor(self.first - 1)?, self.anchor(self.first)?)),
        }
    }

    /// Whether the start is one of the recurrence's own days, so that its first period is a full one.
    pub fn starts_on_anchor(&self) -> bool {
        matches!(self.grid, Grid::Once) || self.anchor(self.first - 1) == Some(self.start)
    }

    /// The anchor at an index of the grid; nondecreasing in the index.
    fn anchor(&self, index: i64) -> Option<NaiveDate> {
        let date = match &self.grid {
            Grid::Once => None,
            Grid::Days { step } => plus_days(self.start, index * step),
            Grid::Weeks { monday, step, days } => {
                let (week, day) = place(index, days);
                plus_days(*monday, week * step * 7 + i64::from(day) - 1)
            }
            Grid::Months { month, step, days } => {
                let (months, day) = place(index, days);
                let month = month + months * step;
                let year = i32::try_from(month.div_euclid(12)).ok().filter(|&year| year <= LAST_YEAR)?;
                let month = u32::try_from(month.rem_euclid(12)).ok()? + 1;
                Some(clamp_day(year, month, day))
            }
        };
        date.filter(|date| date.year() <= LAST_YEAR)
    }
}

/// Which unit of the grid an index lies in, and the day within that unit.
fn place(index: i64, days: &[u32]) -> (i64, u32) {
    let per_unit = count(days.len());
    // The remainder is below `days.len()`, so it is a place in `days`.
    let within = usize::try_from(index.rem_euclid(per_unit)).unwrap_or(0);
    (index.div_euclid(per_unit), days[within])
}

fn plus_days(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    date.checked_add_signed(TimeDelta::try_days(days)?)
}

fn month_number(date: NaiveDate) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

fn monday_of(date: NaiveDate) -> NaiveDate {
    date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday()))).unwrap_or(date)
}

#[cfg(test)]
mod tests;
