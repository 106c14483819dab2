//! Instants in every zone against the definition itself: the first moment when the clocks there read the wanted time or later.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use rebilld::domain::calendar::{instant, local_date};

/// The default `bill_at`, midnight, and the time that most clock changes skip or repeat.
const TIMES: [(u32, u32); 3] = [(6, 0), (0, 0), (2, 30)];

fn time((hour, minute): (u32, u32)) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).expect("time")
}

fn days_of(year: i32) -> impl Iterator<Item = NaiveDate> {
    NaiveDate::from_ymd_opt(year, 1, 1).expect("date").iter_days().take_while(move |date| date.year() == year)
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

/// Every date of a year in every zone: the dates whose instant lies on another local date, by zone. That a date's instant lies
/// on that very date is what keeps any date from being missed or billed twice.
fn dates_that_do_not_exist(year: i32) -> Vec<(&'static str, NaiveDate)> {
    let days: Vec<NaiveDate> = days_of(year).collect();
    assert!(days.len() >= 365 && TZ_VARIANTS.len() > 500);
    let mut missing = Vec::new();
    for zone in TZ_VARIANTS {
        for time in TIMES.map(time) {
            for &date in &days {
                let at = instant(date, time, zone);
                let wanted = date.and_time(time);
                // Either the clocks read just that, for the first time, or they jump over it at this very moment.
                let (read, before) = (reads(at, zone), reads(at - TimeDelta::seconds(1), zone));
                assert!(read >= wanted && before < wanted, "{zone} {wanted}: {at}");
                if local_date(at, zone) != date {
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
    assert_eq!(dates_that_do_not_exist(2011), [("Pacific/Apia", crossed), ("Pacific/Fakaofo", crossed)]);
}

#[test]
fn no_date_of_2026_is_missed_or_doubled() {
    assert_eq!(dates_that_do_not_exist(2026), []);
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
