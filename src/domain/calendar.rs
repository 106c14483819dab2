//! Calendar dates, zones and business days: dates become instants here and nowhere else, so that no DST change moves a charge.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;

use super::{serde_as_text, text_enum};

/// An IANA time zone, kept as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub Tz);

/// A text that names no zone of the tz database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an IANA time zone such as Europe/Berlin")]
pub struct BadZone;

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl FromStr for Zone {
    type Err = BadZone;

    fn from_str(text: &str) -> Result<Self, BadZone> {
        text.parse().map(Self).map_err(|_| BadZone)
    }
}

serde_as_text!(Zone);

/// How far an instant can be from the same reading in UTC, with room to spare: no zone was ever sixteen hours off. The end of a
/// gap is no further, however wide the gap is (Apia had no 30 December 2011 at all).
const SEARCH_S: i64 = 48 * 3600;

/// Local date and local time in a zone as an instant. A time that exists twice is the earlier one; a time that does not exist
/// is the first instant after the gap, were it a whole day long. Never panics and never looks further than two days.
pub fn instant(date: NaiveDate, time: NaiveTime, zone: Tz) -> DateTime<Utc> {
    let local = date.and_time(time);
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => at.to_utc(),
        LocalResult::Ambiguous(earlier, later) => earlier.min(later).to_utc(),
        LocalResult::None => after_gap(local, zone),
    }
}

/// The instant at which the zone's clocks jump over `local`: bisected, as clocks read less before it and more from it on.
fn after_gap(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let wanted_s = local.and_utc().timestamp();
    let jumped = |at_s: i64| match DateTime::from_timestamp(at_s, 0) {
        Some(at) => at_s + offset_s(at, zone) > wanted_s,
        None => at_s > 0, // beyond the years chrono knows
    };
    let (mut before, mut after) = (wanted_s - SEARCH_S, wanted_s + SEARCH_S);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if jumped(middle) { after = middle } else { before = middle }
    }
    DateTime::from_timestamp(after, 0).unwrap_or_else(|| local.and_utc())
}

fn offset_s(at: DateTime<Utc>, zone: Tz) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}

/// The date that a wall calendar in the zone shows at that instant.
pub fn local_date(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    let utc = at.naive_utc();
    utc.checked_add_signed(TimeDelta::seconds(offset_s(at, zone))).unwrap_or(utc).date()
}

/// Local days from `a` to `b`; negative when `b` is earlier.
pub fn days_between(a: NaiveDate, b: NaiveDate) -> i64 {
    (b - a).num_days()
}

/// 28 to 31. `month` is 1–12 (anything else is taken as the nearest of these).
pub fn last_day_of_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if NaiveDate::from_ymd_opt(year, 2, 29).is_some() => 29,
        2 => 28,
        _ => 31,
    }
}

/// That day of the month, or the month's last day when it has no such day. Years outside chrono's range give its first or last
/// date; nothing panics.
pub fn clamp_day(year: i32, month: u32, day: u32) -> NaiveDate {
    let month = month.clamp(1, 12);
    let beyond = if year < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
    NaiveDate::from_ymd_opt(year, month, day.clamp(1, last_day_of_month(year, month))).unwrap_or(beyond)
}

text_enum! {
    /// Where a charge goes when its date is a weekend or a bank holiday. The rule moves the charge, never the anchor.
    #[derive(Default)]
    pub enum BusinessDay {
        /// Charges fall on any day.
        #[default]
        None = "none",
        /// The next business day.
        Following = "following",
        /// The business day before.
        Preceding = "preceding",
        /// The next business day, or the business day before where the next one is in another month.
        ModifiedFollowing = "modified_following",
    }
}

impl BusinessDay {
    /// The day on which a charge dated `date` is made. A calendar without any business day within a year moves nothing.
    pub fn shift(self, date: NaiveDate, holidays: &Holidays) -> NaiveDate {
        let following = || date.iter_days().take(366).find(|&day| holidays.is_business_day(day)).unwrap_or(date);
        let preceding = || date.iter_days().rev().take(366).find(|&day| holidays.is_business_day(day)).unwrap_or(date);
        match self {
            Self::None => date,
            Self::Following => following(),
            Self::Preceding => preceding(),
            Self::ModifiedFollowing => Some(following()).filter(|day| day.month() == date.month()).unwrap_or_else(preceding),
        }
    }

    /// Like [`Self::shift`], and never to a day before `earliest`: where the rule would do that, the charge is made on the next
    /// business day.
    pub fn shift_from(self, date: NaiveDate, earliest: NaiveDate, holidays: &Holidays) -> NaiveDate {
        let day = self.shift(date, holidays);
        if day < earliest && earliest <= date { Self::Following.shift(date, holidays) } else { day }
    }
}

/// Bank holidays of one named calendar. Weekends are never business days and need not be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holidays(BTreeSet<NaiveDate>);

impl Holidays {
    /// Whether the date is one of the listed holidays.
    pub fn contains(&self, date: NaiveDate) -> bool {
        self.0.contains(&date)
    }

    /// Whether the date is neither a listed holiday nor on a weekend.
    pub fn is_business_day(&self, date: NaiveDate) -> bool {
        !matches!(date.weekday(), Weekday::Sat | Weekday::Sun) && !self.contains(date)
    }
}

impl FromIterator<NaiveDate> for Holidays {
    fn from_iter<I: IntoIterator<Item = NaiveDate>>(dates: I) -> Self {
        Self(dates.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
