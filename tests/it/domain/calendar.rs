//! Instants in every zone against the definition itself: the first moment when the clocks there read the wanted time or later.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use rebilld::domain::{
    calendar::{instant, local_date},
    frequency::{Frequency, Recurrence, Schedule},
};

/// The default `bill_at`, midnight, and the time that most clock changes skip or repeat.
const TIMES: [(u32, u32); 3] = [(6, 0), (0, 0), (2, 30)];

fn time((hour, minute): (u32, u32)) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).expect("time")
}

fn reads(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// By stepping through a quarter of an hour at a time, on which all offsets and changes of recent decades lie.
fn first_moment(wanted: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let mut at = wanted.and_utc() - TimeDelta::hours(26);
    while reads(at, zone) < wanted {
        at += TimeDelta::minutes(15);
    }
    at
}

/// What a zone's clocks show from one change to the next: `(from, offset)` in seconds, found by asking for the offset at instants
/// alone, never for the instant of a local time.
fn offsets(zone: Tz, first: NaiveDate, last: NaiveDate) -> Vec<(i64, i64)> {
    let seconds = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp();
    let offset = |at: i64| {
        let at = DateTime::from_timestamp(at, 0).expect("an instant");
        (reads(at, zone) - at.naive_utc()).num_seconds()
    };
    let (mut before, end) = (seconds(first) - 2 * DAY_S, seconds(last) + 2 * DAY_S);
    let mut found = vec![(before, offset(before))];
    while before < end {
        let after = before + DAY_S;
        if offset(after) != offset(before) {
            let (mut low, mut high) = (before, after);
            while high - low > 1 {
                let middle = low.midpoint(high);
                if offset(middle) == offset(before) { low = middle } else { high = middle }
            }
            found.push((high, offset(high)));
        }
        before = after;
    }
    found
}

const DAY_S: i64 = 24 * 3600;

/// A daily schedule over these years in every zone, against [`offsets`]: each date's instant is the first moment at which the clocks
/// read the bill time or later, instants rise, and each lies on its own date, so that none is missed or billed twice. Answers
/// the zones and dates whose instant lies on another date.
fn dates_that_do_not_exist(years: RangeInclusive<i32>) -> Vec<(&'static str, NaiveDate)> {
    let first = NaiveDate::from_ymd_opt(*years.start(), 1, 1).expect("date");
    let last = NaiveDate::from_ymd_opt(*years.end(), 12, 31).expect("date");
    let daily = Schedule::new(Recurrence::new(Frequency::Daily, 1, None).expect("recurrence"), first);
    let days: Vec<NaiveDate> = (0..).map_while(|slot| daily.date(slot)).take_while(|&date| date <= last).collect();
    assert!(days.iter().copied().eq(first.iter_days().take_while(|&date| date <= last)), "the schedule itself");
    assert!(days.len() >= 365 && TZ_VARIANTS.len() > 500);
    let midnights: Vec<i64> = days.iter().map(|date| date.and_time(NaiveTime::MIN).and_utc().timestamp()).collect();
    let mut missing = Vec::new();
    for zone in TZ_VARIANTS {
        let offsets = offsets(zone, first, last);
        for (time, after_midnight) in TIMES.map(|(hour, minute)| (time((hour, minute)), i64::from(hour * 60 + minute) * 60)) {
            let (mut span, mut previous) = (0, i64::MIN);
            for (&date, midnight) in days.iter().zip(&midnights) {
                let wanted = midnight + after_midnight;
                // The first span that lasts until the clocks read this; before it began, they read less.
                while offsets.get(span + 1).is_some_and(|&(next, _)| next + offsets[span].1 <= wanted) {
                    span += 1;
                }
                let (from, offset) = offsets[span];
                let (expected, at) = ((wanted - offset).max(from), instant(date, time, zone));
                assert_eq!(at.timestamp(), expected, "{zone} {date} {time}");
                let exists = (expected + offset).div_euclid(DAY_S) == midnight / DAY_S;
                assert_eq!(local_date(at, zone) == date, exists, "{zone} {date} {time}");
                if exists {
                    assert!(expected > previous, "{zone} {date} {time}: not after the day before");
                    previous = expected;
                } else {
                    missing.push((zone.name(), date));
                }
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

#[test]
fn no_date_of_2011_is_missed_or_doubled_but_the_one_that_never_was() {
    let crossed = NaiveDate::from_ymd_opt(2011, 12, 30).expect("date");
    assert_eq!(dates_that_do_not_exist(2011..=2011), [("Pacific/Apia", crossed), ("Pacific/Fakaofo", crossed)]);
}

#[test]
fn no_date_of_ten_years_is_missed_or_doubled() {
    assert_eq!(dates_that_do_not_exist(2021..=2030), []);
}

#[test]
fn every_clock_change_of_forty_years_obeys_the_definition() {
    let first = NaiveDate::from_ymd_opt(1992, 1, 5).expect("date");
    let zones = [
        "Africa/Cairo",
        "Africa/Casablanca",
        "America/Havana",
        "America/New_York",
        "America/Sao_Paulo",
        "Antarctica/Troll",
        "Asia/Beirut",
        "Asia/Gaza",
        "Asia/Pyongyang",
        "Asia/Tehran",
        "Australia/Lord_Howe",
        "Europe/Dublin",
        "Europe/Moscow",
        "Pacific/Apia",
        "Pacific/Kwajalein",
    ];
    let mut changes = 0;
    for zone in zones.map(|name| name.parse::<Tz>().expect("zone")) {
        let mut weeks = first.iter_weeks().take(52 * 40);
        let offset = |date: NaiveDate| {
            let at = date.and_time(NaiveTime::MIN).and_utc();
            reads(at, zone) - at.naive_utc()
        };
        let mut last = weeks.next().expect("week");
        for week in weeks {
            if offset(last) != offset(week) {
                changes += 1;
                for date in last.iter_days().take(9) {
                    for time in TIMES.map(time) {
                        assert_eq!(instant(date, time, zone), first_moment(date.and_time(time), zone), "{zone} {date} {time}");
                    }
                }
            }
            last = week;
        }
    }
    assert!(changes > 500, "{changes} clock changes tried");
}
