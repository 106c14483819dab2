//! Tables for dates and zones: gaps, folds and days that never were. Every zone is walked in `tests/it/domain/calendar.rs`.

use super::*;

fn date(text: &str) -> NaiveDate {
    text.parse().expect("date")
}

fn at(day: &str, time: &str, zone: &str) -> String {
    let time = NaiveTime::parse_from_str(time, "%H:%M").expect("time");
    instant(date(day), time, zone.parse().expect("zone")).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[test]
fn a_clock_change_neither_loses_nor_moves_a_bill_time() {
    for (day, time, zone, expected) in [
        ("2026-01-15", "06:00", "UTC", "2026-01-15T06:00:00Z"),
        ("2026-01-15", "06:00", "Europe/Berlin", "2026-01-15T05:00:00Z"),
        ("2026-07-15", "06:00", "Europe/Berlin", "2026-07-15T04:00:00Z"),
        // Six in the morning stays six in the morning on the days the clocks change.
        ("2026-03-29", "06:00", "Europe/Berlin", "2026-03-29T04:00:00Z"),
        ("2026-10-25", "06:00", "Europe/Berlin", "2026-10-25T05:00:00Z"),
        // The gap: every minute of it is the first instant after it.
        ("2026-03-29", "01:59", "Europe/Berlin", "2026-03-29T00:59:00Z"),
        ("2026-03-29", "02:00", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("2026-03-29", "02:30", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("2026-03-29", "02:59", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("2026-03-29", "03:00", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        // The fold: the earlier of the two.
        ("2026-10-25", "02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        ("2026-11-01", "01:30", "America/New_York", "2026-11-01T05:30:00Z"),
        // Midnight itself may be missing.
        ("2026-04-24", "00:00", "Africa/Cairo", "2026-04-23T22:00:00Z"),
        ("2026-03-29", "00:00", "Asia/Beirut", "2026-03-28T22:00:00Z"),
        ("2018-11-04", "00:00", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        // Half an hour only.
        ("2026-10-04", "02:15", "Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        // Apia crossed the date line and had no 30 December at all: what was due that day is due as the 31st begins.
        ("2011-12-29", "06:00", "Pacific/Apia", "2011-12-29T16:00:00Z"),
        ("2011-12-30", "00:00", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2011-12-30", "06:00", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2011-12-30", "23:59", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2011-12-31", "06:00", "Pacific/Apia", "2011-12-30T16:00:00Z"),
        // Kwajalein did the same in 1993.
        ("1993-08-21", "12:00", "Pacific/Kwajalein", "1993-08-21T12:00:00Z"),
    ] {
        assert_eq!(at(day, time, zone), expected, "{day} {time} {zone}");
    }
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for day in [NaiveDate::MIN, NaiveDate::MAX] {
        for zone in ["UTC", "Pacific/Apia", "Pacific/Kiritimati", "America/Adak"] {
            let zone: Tz = zone.parse().expect("zone");
            let at = instant(day, NaiveTime::MIN, zone);
            local_date(at, zone);
        }
    }
    for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        for zone in [Tz::Pacific__Kiritimati, Tz::America__Adak] {
            local_date(at, zone);
        }
    }
    assert_eq!((clamp_day(i32::MAX, 2, 30), clamp_day(i32::MIN, 2, 30)), (NaiveDate::MAX, NaiveDate::MIN));
}

#[test]
fn the_local_date_is_the_customers_and_not_the_servers() {
    let at: DateTime<Utc> = "2026-01-01T03:00:00Z".parse().expect("instant");
    let dates =
        ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"].map(|zone| local_date(at, zone.parse().expect("zone")));
    assert_eq!(dates, ["2026-01-01", "2025-12-31", "2026-01-01", "2026-01-01"].map(date));
    let at: DateTime<Utc> = "2026-01-01T11:00:00Z".parse().expect("instant");
    assert_eq!(local_date(at, Tz::Pacific__Kiritimati), date("2026-01-02"));
}

#[test]
fn days_past_the_months_end_clamp_to_it() {
    for (year, month, last) in
        [(2023, 2, 28), (2024, 2, 29), (1900, 2, 28), (2000, 2, 29), (2026, 4, 30), (2026, 12, 31), (2026, 6, 30)]
    {
        assert_eq!(last_day_of_month(year, month), last, "{year}-{month}");
        assert_eq!(clamp_day(year, month, 31), NaiveDate::from_ymd_opt(year, month, last).expect("date"));
        assert_eq!(clamp_day(year, month, 15), NaiveDate::from_ymd_opt(year, month, 15).expect("date"));
    }
}

#[test]
fn a_charge_leaves_weekends_and_bank_holidays_as_told() {
    use BusinessDay::*;
    // 25 December 2026 is a Friday, the 28th a bank holiday in its place for Boxing Day; 31 January 2026 is a Saturday.
    let holidays: Holidays = ["2026-12-25", "2026-12-28", "2026-01-01"].into_iter().map(date).collect();
    for (rule, day, expected) in [
        (None, "2026-12-26", "2026-12-26"),
        (Following, "2026-12-24", "2026-12-24"),
        (Following, "2026-12-25", "2026-12-29"),
        (Following, "2026-12-26", "2026-12-29"),
        (Preceding, "2026-12-28", "2026-12-24"),
        (Preceding, "2026-01-01", "2025-12-31"),
        (ModifiedFollowing, "2026-12-25", "2026-12-29"),
        (Following, "2026-01-31", "2026-02-02"),
        (ModifiedFollowing, "2026-01-31", "2026-01-30"),
        (ModifiedFollowing, "2026-05-31", "2026-05-29"),
        (ModifiedFollowing, "2026-02-01", "2026-02-02"),
    ] {
        assert_eq!(rule.shift(date(day), &holidays), date(expected), "{} {day}", rule.as_str());
    }
}

#[test]
fn a_calendar_without_business_days_ends_the_search() {
    let all: Holidays = date("2020-01-01").iter_days().take(4000).collect();
    for rule in BusinessDay::ALL {
        assert_eq!(rule.shift(date("2025-06-11"), &all), date("2025-06-11"));
        assert_eq!(rule.shift(NaiveDate::MAX, &Holidays::default()).year(), NaiveDate::MAX.year());
    }
}
