//! Bill dates against a walk through the calendar, day by day, that asks of each day only "is it an anchor?".

use chrono::{Datelike, NaiveDate};
use proptest::{collection::btree_set, prelude::*, sample::select};
use rebilld::domain::{
    frequency::{Frequency, Recurrence, Schedule},
    proration::{FirstPeriod, Share},
};

use super::config;

/// The terms of a schedule in the walk's own words.
#[derive(Clone, Debug)]
struct Terms {
    frequency: Frequency,
    interval: i64,
    /// Empty: left out.
    days: Vec<u32>,
    start: NaiveDate,
}

impl Terms {
    fn schedule(&self) -> Schedule {
        let days = self.days.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let recurrence =
            Recurrence::new(self.frequency, u32::try_from(self.interval).expect("interval"), Some(&days)).expect("recurrence");
        Schedule::new(recurrence, self.start)
    }

    /// Days of the week or month that are anchors.
    fn wanted(&self) -> Vec<u32> {
        let day = self.start.day();
        match self.frequency {
            _ if !self.days.is_empty() => self.days.iter().map(|&day| if day == 0 { 31 } else { day }).collect(),
            Frequency::Weekly => vec![self.start.weekday().number_from_monday()],
            Frequency::TwiceMonthly => vec![day, if day > 15 { day - 15 } else { day + 15 }],
            _ => vec![day],
        }
    }
}

/// A day of the calendar and how many days, Mondays and firsts of a month lie between it and the start. It knows months only by
/// the next day being a first.
#[derive(Clone, Copy)]
struct Day {
    date: NaiveDate,
    days: i64,
    weeks: i64,
    months: i64,
}

impl Day {
    fn next(self) -> Self {
        let date = self.date.succ_opt().expect("tomorrow");
        let (monday, first) = (date.weekday().number_from_monday() == 1, date.day() == 1);
        Self { date, days: self.days + 1, weeks: self.weeks + i64::from(monday), months: self.months + i64::from(first) }
    }

    fn previous(self) -> Self {
        let date = self.date.pred_opt().expect("yesterday");
        let (monday, first) = (self.date.weekday().number_from_monday() == 1, self.date.day() == 1);
        Self { date, days: self.days - 1, weeks: self.weeks - i64::from(monday), months: self.months - i64::from(first) }
    }

    fn is_anchor(self, terms: &Terms, wanted: &[u32]) -> bool {
        let by_month = |months: i64| {
            let last_of_month = self.next().date.day() == 1;
            let day = self.date.day();
            self.months % (months * terms.interval) == 0 && wanted.iter().any(|&w| w == day || (last_of_month && w > day))
        };
        match terms.frequency {
            Frequency::OneTime => self.days == 0,
            Frequency::Daily => self.days % (terms.interval * terms.days.first().map_or(1, |&days| i64::from(days))) == 0,
            Frequency::Weekly => self.weeks % terms.interval == 0 && wanted.contains(&self.date.weekday().number_from_monday()),
            Frequency::TwiceMonthly | Frequency::Monthly => by_month(1),
            Frequency::Quarterly => by_month(3),
            Frequency::Yearly => by_month(12),
        }
    }
}

/// The start and every anchor after it within a stretch of days.
fn walk(terms: &Terms, days: i64) -> Vec<NaiveDate> {
    let wanted = terms.wanted();
    let mut day = Day { date: terms.start, days: 0, weeks: 0, months: 0 };
    let mut found = vec![terms.start];
    while day.days < days {
        day = day.next();
        if day.is_anchor(terms, &wanted) {
            found.push(day.date);
        }
    }
    found
}

/// The latest anchor not after the start.
fn walk_back(terms: &Terms) -> NaiveDate {
    let wanted = terms.wanted();
    let mut day = Day { date: terms.start, days: 0, weeks: 0, months: 0 };
    while !day.is_anchor(terms, &wanted) {
        day = day.previous();
    }
    day.date
}

/// Dates along `next_slot`, up to and with `until`.
fn laid(schedule: &Schedule, until: NaiveDate) -> Vec<NaiveDate> {
    let slots = std::iter::successors(Some(0), |&slot| schedule.next_slot(slot));
    slots.map(|slot| schedule.date(slot).expect("date")).take_while(|&date| date <= until).collect()
}

fn starts() -> impl Strategy<Value = NaiveDate> {
    let any_day =
        (-300i64..60_000).prop_map(|days| NaiveDate::from_ymd_opt(1996, 1, 1).expect("date") + chrono::TimeDelta::days(days));
    // The days on which mistakes are made, over leap years and the century that is none.
    let edges = (select(vec![1999, 2023, 2024, 2096, 2100]), 1u32..=12, select(vec![1u32, 15, 16, 27, 28, 29, 30, 31]))
        .prop_filter_map("no such day", |(year, month, day)| NaiveDate::from_ymd_opt(year, month, day));
    prop_oneof![any_day, edges]
}

fn terms() -> impl Strategy<Value = Terms> {
    let days_of = |frequency| match frequency {
        Frequency::OneTime => Just(Vec::new()).boxed(),
        Frequency::Daily => prop_oneof![Just(Vec::new()), (1u32..40).prop_map(|day| vec![day])].boxed(),
        Frequency::Weekly => btree_set(1u32..=7, 0..=7).prop_map(|days| days.into_iter().collect()).boxed(),
        Frequency::TwiceMonthly => {
            prop_oneof![1 => Just(Vec::new()), 3 => btree_set(1u32..=31, 2).prop_map(|days| days.into_iter().collect::<Vec<_>>()),
                1 => btree_set(27u32..=31, 2).prop_map(|days| days.into_iter().collect())]
            .boxed()
        }
        _ => prop_oneof![1 => Just(Vec::new()), 3 => (0u32..=31).prop_map(|day| vec![day])].boxed(),
    };
    let frequencies = select(Frequency::ALL.to_vec());
    let intervals = prop_oneof![4 => 1i64..=4, 2 => 1i64..=14, 1 => 1i64..=40];
    (frequencies, intervals, starts()).prop_flat_map(move |(frequency, interval, start)| {
        days_of(frequency).prop_map(move |days| Terms { frequency, interval, days, start })
    })
}

/// Long enough for some charges of any interval, short enough to walk.
fn stretch(terms: &Terms) -> i64 {
    let unit = match terms.frequency {
        Frequency::OneTime | Frequency::Daily | Frequency::Weekly => 40,
        Frequency::TwiceMonthly | Frequency::Monthly => 250,
        Frequency::Quarterly => 500,
        Frequency::Yearly => 800,
    };
    (unit * terms.interval).clamp(800, 8000)
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn no_charge_date_is_missed_or_invented(terms in terms()) {
        let days = stretch(&terms);
        let until = terms.start + chrono::TimeDelta::days(days);
        prop_assert_eq!(laid(&terms.schedule(), until), walk(&terms, days));
    }

    #[test]
    fn every_slot_is_found_from_any_date(terms in terms(), from in 0i64..400_000) {
        let schedule = terms.schedule();
        // A window of days near the start, and one far away, each against a scan of the dates themselves.
        for first in [-3, from] {
            let first = terms.start + chrono::TimeDelta::days(first);
            let mut slot = schedule.slot_on_or_after(first).unwrap_or(0);
            prop_assert!(slot == 0 || schedule.date(slot - 1).expect("date") < first);
            for date in first.iter_days().take(70) {
                while schedule.date(slot).is_some_and(|at| at < date) {
                    slot += 1;
                }
                let expected = schedule.date(slot).map(|_| slot);
                prop_assert_eq!(schedule.slot_on_or_after(date), expected, "{}", date);
            }
        }
    }

    #[test]
    fn periods_tile_and_dates_rise(terms in terms(), from in 0u64..3000) {
        let schedule = terms.schedule();
        for first in [0, from] {
            // Begin where `next_slot` could have led: a slot clamped onto the one before is never reached.
            let Some(date) = schedule.date(first) else { continue };
            let mut slot = schedule.slot_on_or_after(date).expect("slot");
            for _ in 0..30 {
                let (Some((start, end)), next) = (schedule.period(slot), schedule.next_slot(slot)) else { break };
                prop_assert_eq!(Some(start), schedule.date(slot));
                prop_assert!(start < end);
                let Some(next) = next else { break };
                prop_assert!(next == slot + 1 || (next == slot + 2 && schedule.date(slot + 1) == Some(start)));
                prop_assert_eq!(schedule.date(next), Some(end));
                slot = next;
            }
        }
    }

    #[test]
    fn a_stub_belongs_to_the_period_around_it(terms in terms()) {
        let schedule = terms.schedule();
        let (nominal, first) = (schedule.nominal_first_period().expect("period"), schedule.period(0).expect("period"));
        let anchor = walk_back(&terms);
        prop_assert_eq!(nominal, (anchor, first.1));
        prop_assert_eq!(schedule.starts_on_anchor(), anchor == terms.start);
        let (stub, whole) = ((first.1 - first.0).num_days(), (first.1 - anchor).num_days());
        let share = if stub == whole { Share::WHOLE } else { Share { days: stub, of: whole } };
        prop_assert_eq!(FirstPeriod::Prorated.share(&schedule, 0), share);
    }

    #[test]
    fn nothing_is_carried_from_date_to_date(terms in terms(), slot in 1u64..5000) {
        // Laid again from one of its own anchors with the same days, the rest of the schedule is the same.
        // (Phase and days left out come from the start, so both are given here.)
        let schedule = terms.schedule();
        let days = if terms.frequency == Frequency::Daily { terms.days.clone() } else { terms.wanted() };
        let mut given = Terms { days, ..terms.clone() };
        given.days.sort_unstable();
        prop_assume!(terms.frequency != Frequency::OneTime);
        let Some(start) = schedule.date(slot) else { return Ok(()) };
        let again = Terms { start, ..given }.schedule();
        let slot = schedule.slot_on_or_after(start).expect("slot");
        let mut pair = (Some(slot), Some(0));
        for _ in 0..20 {
            prop_assert_eq!(pair.0.and_then(|s| schedule.date(s)), pair.1.and_then(|s| again.date(s)));
            pair = (pair.0.and_then(|s| schedule.next_slot(s)), pair.1.and_then(|s| again.next_slot(s)));
        }
    }
}

#[test]
fn every_day_of_the_month_from_every_start_over_a_leap_year() {
    let first = NaiveDate::from_ymd_opt(2023, 1, 1).expect("date");
    for start in first.iter_days().take(731).filter(|date| date.day() % 3 == 0 || date.day() > 26 || date.day() == 1) {
        for day in [0, 1, 14, 15, 28, 29, 30, 31] {
            let terms = Terms { frequency: Frequency::Monthly, interval: 1, days: vec![day], start };
            let until = start + chrono::TimeDelta::days(200);
            assert_eq!(laid(&terms.schedule(), until), walk(&terms, 200), "{terms:?}");
        }
    }
}
