//! Anchors 28 to 31 over leap and common years, for every frequency and many intervals, against months counted on the fingers:
//! their lengths are written out here, and nothing is asked of a calendar.

use chrono::NaiveDate;
use rebilld::domain::frequency::{Frequency, Recurrence, Schedule};

const COMMON: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const LEAP: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// Of those that the tables below reach; 2100 is none.
const LEAP_YEARS: [i32; 9] = [2024, 2028, 2032, 2036, 2040, 2044, 2096, 2104, 2108];
/// Where the tables start, and how far they go.
const YEARS: [(i32, i32); 5] = [(2023, 2030), (2024, 2031), (2025, 2032), (2096, 2103), (2100, 2107)];

fn months_of(year: i32) -> &'static [u32; 12] {
    if LEAP_YEARS.contains(&year) { &LEAP } else { &COMMON }
}

/// `YYYY-MM-DD`, in order when compared.
fn text(year: i32, month: usize, day: u32) -> String {
    format!("{year:04}-{:02}-{day:02}", month + 1)
}

fn laid(frequency: Frequency, interval: usize, days: &str, start: &str) -> Schedule {
    let recurrence = Recurrence::new(frequency, u32::try_from(interval).expect("interval"), Some(days)).expect("recurrence");
    Schedule::new(recurrence, start.parse().expect("date"))
}

/// The charges before `end`, as they follow one another; each slot says the same whichever way it is asked for.
fn charges(schedule: &Schedule, end: &str) -> Vec<String> {
    let end: NaiveDate = end.parse().expect("date");
    let mut slots = Vec::new();
    let mut next = Some(0);
    while let Some(slot) = next.filter(|&slot| schedule.date(slot).is_some_and(|date| date < end)) {
        slots.push(slot);
        next = schedule.next_slot(slot);
    }
    for (i, &slot) in slots.iter().enumerate() {
        let date = schedule.date(slot).expect("date");
        assert_eq!(schedule.slot_on_or_after(date), Some(slot), "{date}");
        let (start, end) = schedule.period(slot).expect("period");
        assert_eq!((start, slots.get(i + 1).map_or(Some(end), |&after| schedule.date(after))), (date, Some(end)));
    }
    slots.iter().map(|&slot| schedule.date(slot).expect("date").to_string()).collect()
}

/// The start, and then the days in every `step`th month from the start's, each moved back to its month's last when it has no such
/// day; two that meet are one.
fn by_months(start: (i32, usize, u32), step: usize, days: &[u32], end: i32) -> Vec<String> {
    let (first_year, first_month, first_day) = start;
    let mut found = vec![text(first_year, first_month, first_day)];
    let (mut year, mut month) = (first_year, first_month);
    while year < end {
        for &day in days {
            let charge = text(year, month, day.min(months_of(year)[month]));
            if found.last().is_some_and(|last| *last < charge) {
                found.push(charge);
            }
        }
        month += step;
        while month >= 12 {
            (year, month) = (year + 1, month - 12);
        }
    }
    found
}

/// Every `step`th day from the start, counted off one by one.
fn by_days(start: (i32, usize, u32), step: usize, end: i32) -> Vec<String> {
    let (mut year, mut month, mut day) = start;
    let mut found = Vec::new();
    for count in 0.. {
        if year >= end {
            break;
        }
        if count % step == 0 {
            found.push(text(year, month, day));
        }
        day += 1;
        if day > months_of(year)[month] {
            (month, day) = (month + 1, 1);
        }
        if month == 12 {
            (year, month) = (year + 1, 0);
        }
    }
    found
}

#[test]
fn no_anchor_from_the_28th_to_the_31st_ever_drifts() {
    let mut tried = 0;
    for (year, end) in YEARS {
        let starts = (0..12).flat_map(|month| (28..=months_of(year)[month]).map(move |day| (year, month, day)));
        for start in starts {
            let (first, until) = (text(start.0, start.1, start.2), format!("{end}-01-01"));
            for interval in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 24, 36] {
                let mut check = |frequency, days: &str, expected: Vec<String>| {
                    tried += 1;
                    let found = charges(&laid(frequency, interval, days, &first), &until);
                    assert_eq!(found, expected, "{frequency} every {interval} on {days:?} from {first}");
                };
                check(Frequency::OneTime, "", vec![first.clone()]);
                for (frequency, months) in [(Frequency::Monthly, 1), (Frequency::Quarterly, 3), (Frequency::Yearly, 12)] {
                    check(frequency, "", by_months(start, months * interval, &[start.2], end));
                    for (days, day) in [("28", 28), ("29", 29), ("30", 30), ("31", 31), ("0", 31)] {
                        check(frequency, days, by_months(start, months * interval, &[day], end));
                    }
                }
                check(Frequency::TwiceMonthly, "", by_months(start, interval, &[start.2 - 15, start.2], end));
                for (days, both) in [
                    ("1,15", [1, 15]),
                    ("15,31", [15, 31]),
                    ("15,0", [15, 31]),
                    ("14,28", [14, 28]),
                    ("28,29", [28, 29]),
                    ("30,31", [30, 31]),
                ] {
                    check(Frequency::TwiceMonthly, days, by_months(start, interval, &both, end));
                }
                check(Frequency::Weekly, "", by_days(start, 7 * interval, end));
                if start.2 == 28 || interval > 4 {
                    check(Frequency::Daily, "", by_days(start, interval, end));
                    check(Frequency::Daily, "30", by_days(start, 30 * interval, end));
                }
            }
        }
    }
    assert!(tried > 50_000, "{tried}");
}

/// Frequency, interval, days, and the dates themselves.
type Row = (&'static str, usize, &'static str, &'static [&'static str]);

fn check(rows: &[Row]) {
    for (frequency, interval, days, expected) in rows {
        let schedule = laid(frequency.parse().expect("frequency"), *interval, days, expected[0]);
        let mut dates = charges(&schedule, "2120-01-01");
        dates.truncate(expected.len());
        assert_eq!(dates, *expected, "{frequency} every {interval} on {days:?}");
    }
}

#[test]
fn two_days_a_month_go_through_every_kind_of_february() {
    check(&[
        ("twice_monthly", 1, "15,31", &["2023-01-31", "2023-02-15", "2023-02-28", "2023-03-15", "2023-03-31"]),
        (
            "twice_monthly",
            1,
            "15,31",
            &["2024-01-31", "2024-02-15", "2024-02-29", "2024-03-15", "2024-03-31", "2024-04-15", "2024-04-30"],
        ),
        ("twice_monthly", 1, "15,0", &["2096-02-15", "2096-02-29", "2096-03-15", "2096-03-31"]),
        ("twice_monthly", 1, "15,0", &["2100-02-15", "2100-02-28", "2100-03-15", "2100-03-31"]),
        ("twice_monthly", 1, "30,31", &["2024-01-31", "2024-02-29", "2024-03-30", "2024-03-31", "2024-04-30", "2024-05-30"]),
        ("twice_monthly", 1, "30,31", &["2100-01-30", "2100-01-31", "2100-02-28", "2100-03-30", "2100-03-31"]),
        ("twice_monthly", 1, "29,30", &["2100-01-30", "2100-02-28", "2100-03-29", "2100-03-30"]),
        ("twice_monthly", 1, "28,29", &["2096-02-28", "2096-02-29", "2096-03-28", "2096-03-29"]),
        ("twice_monthly", 1, "28,29", &["2100-02-28", "2100-03-28", "2100-03-29"]),
        ("twice_monthly", 1, "1,15", &["2024-02-01", "2024-02-15", "2024-03-01", "2024-03-15"]),
        ("twice_monthly", 1, "1,15", &["2023-02-28", "2023-03-01", "2023-03-15", "2023-04-01"]),
        // Both days of every other month, of every twelfth.
        ("twice_monthly", 2, "15,31", &["2023-12-31", "2024-02-15", "2024-02-29", "2024-04-15", "2024-04-30"]),
        ("twice_monthly", 12, "15,31", &["2023-02-15", "2023-02-28", "2024-02-15", "2024-02-29", "2025-02-15", "2025-02-28"]),
    ]);
}

#[test]
fn quarters_and_years_from_the_last_days_of_a_month() {
    check(&[
        ("quarterly", 1, "", &["2024-02-29", "2024-05-29", "2024-08-29", "2024-11-29", "2025-02-28", "2025-05-29"]),
        ("quarterly", 1, "0", &["2024-02-29", "2024-05-31", "2024-08-31", "2024-11-30", "2025-02-28", "2025-05-31"]),
        ("quarterly", 1, "30", &["2023-11-30", "2024-02-29", "2024-05-30", "2024-08-30", "2024-11-30", "2025-02-28"]),
        ("quarterly", 1, "31", &["2099-11-30", "2100-02-28", "2100-05-31", "2100-08-31"]),
        ("quarterly", 2, "31", &["2023-08-31", "2024-02-29", "2024-08-31", "2025-02-28", "2025-08-31"]),
        ("quarterly", 3, "30", &["2023-05-30", "2024-02-29", "2024-11-30", "2025-08-30", "2026-05-30", "2027-02-28"]),
        ("quarterly", 5, "31", &["2023-11-30", "2025-02-28", "2026-05-31", "2027-08-31", "2028-11-30", "2030-02-28"]),
        ("quarterly", 12, "29", &["2024-02-29", "2027-02-28", "2030-02-28", "2033-02-28", "2036-02-29"]),
        (
            "yearly",
            1,
            "",
            &[
                "2096-02-29",
                "2097-02-28",
                "2098-02-28",
                "2099-02-28",
                "2100-02-28",
                "2101-02-28",
                "2102-02-28",
                "2103-02-28",
                "2104-02-29",
            ],
        ),
        ("yearly", 1, "31", &["2023-04-30", "2024-04-30", "2025-04-30"]),
        ("yearly", 1, "30", &["2023-01-30", "2024-01-30", "2025-01-30"]),
        ("yearly", 2, "29", &["2024-02-29", "2026-02-28", "2028-02-29", "2030-02-28"]),
        ("yearly", 3, "", &["2024-02-29", "2027-02-28", "2030-02-28", "2033-02-28", "2036-02-29"]),
        ("yearly", 4, "", &["2024-02-29", "2028-02-29", "2032-02-29"]),
        ("yearly", 5, "31", &["2023-02-28", "2028-02-29", "2033-02-28"]),
        ("yearly", 12, "29", &["2024-02-29", "2036-02-29", "2048-02-29"]),
        // By months instead: the same dates.
        ("monthly", 3, "", &["2024-02-29", "2024-05-29", "2024-08-29", "2024-11-29", "2025-02-28"]),
        ("monthly", 12, "31", &["2023-02-28", "2024-02-29", "2025-02-28"]),
        ("monthly", 5, "31", &["2023-04-30", "2023-09-30", "2024-02-29", "2024-07-31", "2024-12-31", "2025-05-31"]),
        ("monthly", 2, "30", &["2023-12-30", "2024-02-29", "2024-04-30", "2024-06-30"]),
        // Days and weeks go over 29 February as over any other day.
        ("daily", 1, "", &["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("daily", 1, "", &["2100-02-27", "2100-02-28", "2100-03-01"]),
        ("daily", 12, "30", &["2023-03-06", "2024-02-29", "2025-02-23"]),
        ("weekly", 1, "", &["2024-02-22", "2024-02-29", "2024-03-07"]),
        ("weekly", 5, "", &["2100-01-31", "2100-03-07", "2100-04-11"]),
    ]);
}

#[test]
fn the_phase_is_that_of_the_start_and_the_anchor_that_of_the_days() {
    check(&[
        // api.md's example, and each neighbour of it.
        ("monthly", 3, "15", &["2017-11-21", "2018-02-15", "2018-05-15", "2018-08-15", "2018-11-15"]),
        ("monthly", 3, "15", &["2017-11-14", "2017-11-15", "2018-02-15"]),
        ("monthly", 3, "15", &["2017-11-16", "2018-02-15"]),
        ("monthly", 3, "15", &["2017-12-01", "2017-12-15", "2018-03-15"]),
        ("monthly", 3, "15", &["2017-12-31", "2018-03-15", "2018-06-15"]),
        // Quarters are the start's own, not the calendar's.
        ("quarterly", 1, "15", &["2017-11-21", "2018-02-15", "2018-05-15"]),
        ("quarterly", 1, "1", &["2017-11-21", "2018-02-01", "2018-05-01"]),
        ("quarterly", 2, "15", &["2017-11-10", "2017-11-15", "2018-05-15", "2018-11-15"]),
        ("quarterly", 2, "15", &["2017-11-21", "2018-05-15", "2018-11-15"]),
        // Years keep the start's month.
        ("yearly", 1, "1", &["2017-11-21", "2018-11-01", "2019-11-01"]),
        ("yearly", 1, "30", &["2017-11-21", "2017-11-30", "2018-11-30"]),
        ("yearly", 3, "15", &["2017-11-21", "2020-11-15", "2023-11-15"]),
        // Months are counted from the start's month, over the year's end too.
        ("monthly", 5, "1", &["2017-11-21", "2018-04-01", "2018-09-01", "2019-02-01"]),
        ("monthly", 2, "31", &["2017-11-21", "2017-11-30", "2018-01-31", "2018-03-31"]),
        ("twice_monthly", 3, "1,15", &["2017-11-10", "2017-11-15", "2018-02-01", "2018-02-15", "2018-05-01"]),
        ("twice_monthly", 3, "1,15", &["2017-11-21", "2018-02-01", "2018-02-15"]),
        // Weeks from the start's ISO week: 20 November 2017 is a Monday, and 31 December 2017 the Sunday of the year's last week.
        ("weekly", 2, "1", &["2017-11-20", "2017-12-04", "2017-12-18"]),
        ("weekly", 2, "1", &["2017-11-21", "2017-12-04", "2017-12-18"]),
        ("weekly", 2, "5", &["2017-11-21", "2017-11-24", "2017-12-08"]),
        ("weekly", 3, "1,7", &["2017-11-21", "2017-11-26", "2017-12-11", "2017-12-17", "2018-01-01"]),
        ("weekly", 2, "1", &["2017-12-31", "2018-01-08", "2018-01-22"]),
        ("weekly", 5, "", &["2020-12-31", "2021-02-04", "2021-03-11"]),
        // Days from the start itself.
        ("daily", 2, "7", &["2017-11-21", "2017-12-05", "2017-12-19"]),
        ("daily", 1, "7", &["2017-11-21", "2017-11-28", "2017-12-05"]),
    ]);
}
