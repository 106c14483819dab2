//! Charges that leave weekends and bank holidays, over month ends, Easter, Christmas and the new year, by calendars of two countries.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use rebilld::domain::calendar::{BusinessDay, Holidays};

fn date(text: &str) -> NaiveDate {
    text.parse().expect("date")
}

/// Days on which no bank of the country works, as their banks announce them.
fn calendars() -> BTreeMap<&'static str, Holidays> {
    let england = [
        "2024-03-29",
        "2024-04-01",
        "2026-08-31",
        "2026-12-25",
        "2026-12-28",
        "2027-01-01",
        "2027-12-27",
        "2027-12-28",
        "2028-01-03",
    ];
    let denmark = ["2024-03-28", "2024-03-29", "2024-04-01", "2026-12-24", "2026-12-25", "2026-12-31", "2027-01-01"];
    let named = |dates: &[&str]| dates.iter().map(|day| date(day)).collect();
    BTreeMap::from([("england", named(&england)), ("denmark", named(&denmark)), ("weekends", Holidays::default())])
}

#[test]
fn each_rule_leaves_closed_days_its_own_way() {
    let calendars = calendars();
    for (calendar, day, following, preceding, modified) in [
        // Month ends on a Saturday and on a Sunday; the following Monday is in the next month.
        ("weekends", "2026-01-31", "2026-02-02", "2026-01-30", "2026-01-30"),
        ("weekends", "2026-02-28", "2026-03-02", "2026-02-27", "2026-02-27"),
        ("weekends", "2026-05-31", "2026-06-01", "2026-05-29", "2026-05-29"),
        ("weekends", "2024-06-30", "2024-07-01", "2024-06-28", "2024-06-28"),
        // A leap day on a Saturday.
        ("weekends", "2048-02-29", "2048-03-02", "2048-02-28", "2048-02-28"),
        // Weekends within a month, and its first days: preceding leaves the month, the modified rule never does.
        ("weekends", "2026-05-16", "2026-05-18", "2026-05-15", "2026-05-18"),
        ("weekends", "2026-02-01", "2026-02-02", "2026-01-30", "2026-02-02"),
        ("weekends", "2026-08-01", "2026-08-03", "2026-07-31", "2026-08-03"),
        // Open days stay.
        ("weekends", "2026-03-31", "2026-03-31", "2026-03-31", "2026-03-31"),
        ("weekends", "2026-08-31", "2026-08-31", "2026-08-31", "2026-08-31"),
        // A bank holiday on a Monday that ends the month.
        ("england", "2026-08-31", "2026-09-01", "2026-08-28", "2026-08-28"),
        ("england", "2026-08-29", "2026-09-01", "2026-08-28", "2026-08-28"),
        // Easter 2024 lay across the end of March, from Good Friday, in Denmark from Thursday, to Monday.
        ("england", "2024-03-28", "2024-03-28", "2024-03-28", "2024-03-28"),
        ("england", "2024-03-29", "2024-04-02", "2024-03-28", "2024-03-28"),
        ("england", "2024-03-31", "2024-04-02", "2024-03-28", "2024-03-28"),
        ("england", "2024-04-01", "2024-04-02", "2024-03-28", "2024-04-02"),
        ("denmark", "2024-03-28", "2024-04-02", "2024-03-27", "2024-03-27"),
        ("denmark", "2024-03-31", "2024-04-02", "2024-03-27", "2024-03-27"),
        ("weekends", "2024-03-31", "2024-04-01", "2024-03-29", "2024-03-29"),
        // Christmas to the new year.
        ("england", "2026-12-24", "2026-12-24", "2026-12-24", "2026-12-24"),
        ("england", "2026-12-25", "2026-12-29", "2026-12-24", "2026-12-29"),
        ("denmark", "2026-12-24", "2026-12-28", "2026-12-23", "2026-12-28"),
        ("denmark", "2026-12-26", "2026-12-28", "2026-12-23", "2026-12-28"),
        // The year's end: following leaves the year.
        ("england", "2026-12-31", "2026-12-31", "2026-12-31", "2026-12-31"),
        ("denmark", "2026-12-31", "2027-01-04", "2026-12-30", "2026-12-30"),
        ("denmark", "2027-01-01", "2027-01-04", "2026-12-30", "2027-01-04"),
        ("england", "2027-01-01", "2027-01-04", "2026-12-31", "2027-01-04"),
        ("england", "2027-12-25", "2027-12-29", "2027-12-24", "2027-12-29"),
        ("england", "2028-01-01", "2028-01-04", "2027-12-31", "2028-01-04"),
        ("england", "2028-01-03", "2028-01-04", "2027-12-31", "2028-01-04"),
    ] {
        let (holidays, day) = (&calendars[calendar], date(day));
        let expected = [day, date(following), date(preceding), date(modified)];
        let rules = [BusinessDay::None, BusinessDay::Following, BusinessDay::Preceding, BusinessDay::ModifiedFollowing];
        assert_eq!(rules.map(|rule| rule.shift(day, holidays)), expected, "{calendar} {day}");
    }
}

/// What each rule promises, of every day of three years: an open day, none passed over, and the same month where that is said.
#[test]
fn no_open_day_is_passed_over_on_the_way() {
    for (name, holidays) in calendars() {
        for day in date("2024-01-01").iter_days().take(1200) {
            let (following, preceding) =
                (BusinessDay::Following.shift(day, &holidays), BusinessDay::Preceding.shift(day, &holidays));
            assert!(holidays.is_business_day(following) && holidays.is_business_day(preceding), "{name} {day}");
            let passed = |from: NaiveDate, to: NaiveDate| {
                from.iter_days().take_while(|&day| day < to).filter(|&day| holidays.is_business_day(day)).count()
            };
            assert_eq!((passed(day, following), passed(preceding, day)), (0, usize::from(preceding < day)), "{name} {day}");
            let modified = BusinessDay::ModifiedFollowing.shift(day, &holidays);
            let expected = if following.month() == day.month() { following } else { preceding };
            assert_eq!((modified, modified.month()), (expected, day.month()), "{name} {day}");
        }
    }
}
