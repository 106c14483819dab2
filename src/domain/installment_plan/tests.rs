//! Parts to the last minor unit, terms by the calendar, and that a plan adds up after any sequence of operations.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use proptest::prelude::*;

mod life;
mod restore;
mod shift;

use super::{
    change::{Moment, Refused, Spread},
    restore::Arrears,
    terms::{InstallmentDates, TermUnits, equal_parts, installments_in},
    *,
};
use crate::domain::frequency::Recurrence;

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn rules() -> Rules {
    Rules { bill_at: NaiveTime::from_hms_opt(6, 0, 0).expect("time"), holidays: BTreeMap::new(), catch_up_limit: 3 }
}

fn plan(amount: i64, down_payment: i64) -> InstallmentPlan {
    InstallmentPlan {
        id: InstallmentPlanId::from_bits(1),
        reference: None,
        customer_id: CustomerId::from_bits(1),
        payment_method_id: None,
        timeline: Timeline::Wall,
        status: InstallmentPlanStatus::Open,
        description: "Bicycle".into(),
        currency: Currency::USD,
        amount,
        down_payment,
        timezone: "UTC".parse().expect("zone"),
        billing_frequency: None,
        billing_cycle_interval: None,
        billing_days: None,
        anchor_date: None,
        business_day: BusinessDay::None,
        holiday_calendar: None,
        dunning_policy_id: None,
        default_after: 3,
        failed_in_a_row: 0,
        metadata: Metadata::new(),
        due_at: None,
        ended_at: None,
        created_at: at("2026-01-01T00:00:00Z"),
        updated_at: at("2026-01-01T00:00:00Z"),
    }
}

fn monthly(amount: i64, down_payment: i64, count: usize) -> InstallmentSchedule {
    let monthly = Recurrence::new(Frequency::Monthly, 1, None).expect("monthly");
    let dates = InstallmentDates::from_first(monthly, day("2026-02-01")).first_of(count).expect("dates");
    let parts = equal_parts(amount - down_payment, count).expect("parts");
    let parts: Vec<_> = dates.into_iter().zip(parts).collect();
    let plan = InstallmentPlan {
        billing_frequency: Some(Frequency::Monthly),
        billing_cycle_interval: Some(1),
        anchor_date: Some(day("2026-02-01")),
        ..plan(amount, down_payment)
    };
    InstallmentSchedule::new(plan, &parts, at("2026-01-01T00:00:00Z"), &rules()).expect("sound")
}

fn amounts(schedule: &InstallmentSchedule) -> Vec<i64> {
    schedule.installments.iter().map(|part| part.amount).collect()
}

#[test]
fn a_hundred_is_split_to_the_last_minor_unit() {
    // All but the last, how many of them, the last.
    let list = |each: i64, count: usize, last: i64| [vec![each; count], vec![last]].concat();
    for (currency, hundred, plain, eighth, after_it) in [
        (
            "JPY",
            100,
            [list(33, 2, 34), list(14, 6, 16), list(8, 11, 12)],
            13,
            [list(29, 2, 29), list(12, 6, 15), list(7, 11, 10)],
        ),
        (
            "USD",
            10_000,
            [list(3333, 2, 3334), list(1428, 6, 1432), list(833, 11, 837)],
            1250,
            [list(2916, 2, 2918), list(1250, 6, 1250), list(729, 11, 731)],
        ),
        (
            "KWD",
            100_000,
            [list(33_333, 2, 33_334), list(14_285, 6, 14_290), list(8333, 11, 8337)],
            12_500,
            [list(29_166, 2, 29_168), list(12_500, 6, 12_500), list(7291, 11, 7299)],
        ),
    ] {
        let of: Currency = currency.parse().expect("currency");
        assert_eq!(of.major(hundred).split('.').next(), Some("100"), "{currency}");
        let percent = crate::domain::money::Percentage::from_thousandths(12_500).expect("percent");
        assert_eq!(percent.of(hundred), eighth, "12.5 % of 100 {currency}");
        for (count, (plain, after_it)) in [3, 7, 12].into_iter().zip(plain.iter().zip(&after_it)) {
            assert_eq!(equal_parts(hundred, count).as_ref(), Some(plain), "{currency} in {count}");
            let schedule = monthly(hundred, eighth, count);
            assert_eq!(amounts(&schedule), [vec![eighth], after_it.clone()].concat(), "{currency} in {count} after 12.5 %");
            assert_eq!(amounts(&schedule).iter().sum::<i64>(), hundred);
        }
    }
    assert_eq!((equal_parts(11, 12), equal_parts(12, 12).map(|parts| parts[11]), equal_parts(5, 0)), (None, Some(1), None));
}

#[test]
fn dates_follow_the_anchor_and_never_drift() {
    let monthly = |days| Recurrence::new(Frequency::Monthly, 1, days).expect("monthly");
    let list = |recurrence, first, count| {
        InstallmentDates::from_first(recurrence, day(first))
            .first_of(count)
            .map(|dates| dates.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(list(monthly(None), "2026-01-31", 4).expect("dates"), ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]);
    assert_eq!(list(monthly(Some("15")), "2026-01-31", 3).expect("dates"), ["2026-01-31", "2026-02-15", "2026-03-15"]);
    // Two days that clamp to one date are one charge.
    let twice = Recurrence::new(Frequency::TwiceMonthly, 1, Some("29,31")).expect("recurrence");
    assert_eq!(list(twice, "2026-01-31", 4).expect("dates"), ["2026-01-31", "2026-02-28", "2026-03-29", "2026-03-31"]);
    let once = || Recurrence::new(Frequency::OneTime, 1, None).expect("once");
    assert_eq!((list(once(), "2026-01-31", 1).map(|dates| dates.len()), list(once(), "2026-01-31", 2)), (Some(1), None));
    assert_eq!(InstallmentDates::after_down_payment(monthly(None), day("2026-01-31")).first_date(), day("2026-02-28"));
}

#[test]
fn a_term_holds_as_many_installments_as_fit_whole() {
    use Frequency::*;
    use TermUnits::*;
    for (term, units, frequency, interval, days, expected) in [
        (3, Months, Monthly, 1, None, 3),
        (7, Months, Monthly, 2, None, 3),
        (1, Months, Monthly, 2, None, 0),
        (1, Years, Monthly, 1, None, 12),
        (1, Years, Quarterly, 1, None, 4),
        (10, Months, Quarterly, 1, None, 3),
        (30, Months, Yearly, 1, None, 2),
        (3, Months, TwiceMonthly, 1, Some("1,15"), 6),
        (7, Weeks, Weekly, 2, None, 3),
        (4, Weeks, Weekly, 1, Some("1,4"), 8),
        (3, Weeks, Daily, 1, Some("10"), 2),
        (2, Weeks, Daily, 1, None, 14),
        // 31 January to 30 April: 89 days.
        (3, Months, Weekly, 1, None, 12),
        (3, Months, Daily, 1, Some("30"), 2),
        // 31 January plus four weeks is 28 February, a month by the calendar.
        (4, Weeks, Monthly, 1, None, 1),
        (3, Weeks, Monthly, 1, None, 0),
        (8, Weeks, Monthly, 1, None, 1),
        (5, Payments, Weekly, 3, None, 5),
        (3, Months, OneTime, 1, None, 1),
    ] {
        let recurrence = Recurrence::new(frequency, interval, days).expect("recurrence");
        let count = installments_in(term, units, &recurrence, day("2026-01-31"));
        assert_eq!(count, expected, "{term} {units} of {frequency} by {interval} {days:?}");
    }
}

#[test]
fn the_down_payment_is_number_0_and_due_at_once() {
    let schedule = monthly(10_000, 2_500, 3);
    assert_eq!(amounts(&schedule), [2500, 2500, 2500, 2500]);
    let numbers: Vec<i64> = schedule.installments.iter().map(|part| part.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!((schedule.installments[0].date, schedule.due(at("2026-01-01T00:00:00Z"))), (day("2026-01-01"), vec![0]));
    assert_eq!((schedule.plan.due_at, schedule.repay_by()), (Some(at("2026-01-01T00:00:00Z")), Some(day("2026-04-01"))));
}

#[test]
fn what_does_not_add_up_is_no_plan() {
    let parts = [(day("2026-02-01"), 50), (day("2026-03-01"), 49)];
    let made = |amount, down, parts: &[(NaiveDate, i64)]| {
        InstallmentSchedule::new(plan(amount, down), parts, at("2026-01-01T00:00:00Z"), &rules()).is_ok()
    };
    assert!(made(99, 0, &parts) && made(109, 10, &parts));
    assert!(!made(100, 0, &parts) && !made(99, 10, &parts) && !made(99, 0, &[]));
    assert!(!made(99, 0, &[(day("2026-02-01"), 0), (day("2026-03-01"), 99)]));
    assert!(!made(99, 0, &[(day("2026-02-01"), 100), (day("2026-03-01"), -1)]));
}

#[test]
fn another_amount_is_made_up_for_by_the_last_or_by_all() {
    let rules = rules();
    let moment = Moment { now: at("2026-01-10T00:00:00Z"), rules: &rules };
    let mut last = monthly(10_000, 0, 4);
    last.change(1, None, Some(4000), Spread::Last, moment).expect("changed");
    assert_eq!(amounts(&last), [4000, 2500, 2500, 1000]);
    last.change(4, None, Some(1001), Spread::Last, moment).expect("the last other one takes it");
    assert_eq!(amounts(&last), [4000, 2500, 2499, 1001]);
    let refused = last.change(1, None, Some(4000 + 1001), Spread::Last, moment);
    assert_eq!(
        refused,
        Err(Refused::Field {
            field: "amount".into(),
            message: "must be from 1 to 5000, so that something is left for the others".into()
        })
    );

    let mut even = monthly(10_000, 0, 4);
    even.change(2, Some(day("2026-02-20")), Some(3999), Spread::Even, moment).expect("changed");
    assert_eq!(amounts(&even), [2000, 3999, 2000, 2001]);
    even.change(2, None, Some(9997), Spread::Even, moment).expect("one each is enough");
    assert_eq!(amounts(&even), [1, 9997, 1, 1]);
    assert!(even.change(2, None, Some(9998), Spread::Even, moment).is_err());
    assert_eq!((amounts(&even), even.plan.due_at), (vec![1, 9997, 1, 1], Some(at("2026-02-01T06:00:00Z"))));

    let mut only = monthly(100, 0, 1);
    assert!(only.change(1, None, Some(99), Spread::Last, moment).is_err());
    assert!(only.change(1, Some(day("2026-01-09")), None, Spread::Last, moment).is_err(), "yesterday");
    only.change(1, Some(day("2026-01-10")), Some(100), Spread::Last, moment).expect("today, and the same amount");
    assert_eq!(only.change(2, None, Some(99), Spread::Last, moment), Err(Refused::NoSuch(2)));
}

#[test]
fn the_last_is_last_by_date() {
    let rules = rules();
    let moment = Moment { now: at("2026-01-10T00:00:00Z"), rules: &rules };
    let mut schedule = monthly(9000, 0, 3);
    schedule.change(1, Some(day("2026-12-01")), None, Spread::Last, moment).expect("moved");
    schedule.change(2, None, Some(2000), Spread::Last, moment).expect("changed");
    assert_eq!((amounts(&schedule), schedule.repay_by()), (vec![4000, 2000, 3000], Some(day("2026-12-01"))));
}

#[test]
fn a_split_keeps_its_number_and_adds_new_ones() {
    let rules = rules();
    let moment = Moment { now: at("2026-01-10T00:00:00Z"), rules: &rules };
    let mut schedule = monthly(9000, 0, 3);
    schedule.split(2, &[(day("2026-03-01"), 1000), (day("2026-03-15"), 1500), (day("2026-04-15"), 500)], moment).expect("split");
    let parts: Vec<_> = schedule.installments.iter().map(|part| (part.number, part.date.to_string(), part.amount)).collect();
    let expected = [
        (1, "2026-02-01", 3000),
        (2, "2026-03-01", 1000),
        (3, "2026-04-01", 3000),
        (4, "2026-03-15", 1500),
        (5, "2026-04-15", 500),
    ];
    assert_eq!(parts, expected.map(|(number, date, amount)| (number, date.to_owned(), amount)));
    let before = schedule.clone();
    for parts in [
        &[(day("2026-03-01"), 1000)][..],
        &[],
        &[(day("2026-03-01"), 500), (day("2026-03-02"), 499)],
        &[(day("2026-03-01"), 1000), (day("2026-03-02"), 0)],
        &[(day("2026-03-01"), 999), (day("2026-01-09"), 1)],
    ] {
        assert!(schedule.split(2, parts, moment).is_err(), "{parts:?}");
    }
    assert_eq!(schedule, before);
}

#[test]
fn failures_default_a_plan_only_when_in_a_row() {
    let now = at("2026-03-01T06:00:00Z");
    let mut plan = plan(100, 0);
    assert!(!plan.fail(now) && !plan.fail(now));
    plan.succeed(now);
    assert!(!plan.fail(now) && !plan.fail(now) && plan.fail(now));
    assert_eq!((plan.status, plan.due_at, plan.ended_at), (InstallmentPlanStatus::Defaulted, None, Some(now)));
    assert!(!plan.fail(now), "only once");
    assert!(plan.settle(false, true, now));
    assert_eq!(plan.status, InstallmentPlanStatus::Paid);
    let mut never = InstallmentPlan { default_after: 0, ..super::tests::plan(100, 0) };
    assert!((0..100).all(|_| !never.fail(now)));
}

fn lines(schedule: &InstallmentSchedule) -> Vec<String> {
    let line = |part: &Installment| format!("{} {} {} {}", part.number, part.date, part.amount, part.status);
    schedule.installments.iter().map(line).collect()
}

#[test]
fn every_frequency_gives_installments_until_a_date() {
    for (frequency, interval, days, expected) in [
        (Frequency::OneTime, 1, None, 1),
        (Frequency::Daily, 1, Some("10"), 7),
        (Frequency::Weekly, 1, None, 9),
        (Frequency::Weekly, 2, Some("1,5"), 9),
        (Frequency::TwiceMonthly, 1, Some("1,15"), 6),
        (Frequency::Monthly, 1, None, 3),
        (Frequency::Monthly, 1, Some("30"), 3),
        (Frequency::Quarterly, 1, None, 1),
        (Frequency::Yearly, 1, None, 1),
    ] {
        let recurrence = Recurrence::new(frequency, interval, days).expect("recurrence");
        let count = InstallmentDates::from_first(recurrence.clone(), day("2026-01-31")).until(day("2026-04-01"));
        let dates = InstallmentDates::from_first(recurrence, day("2026-01-31"))
            .first_of(usize::try_from(count).expect("count"))
            .expect("dates");
        assert_eq!(
            (count, dates.last().is_some_and(|last| *last <= day("2026-04-01"))),
            (expected, true),
            "{frequency} {days:?}: {dates:?}"
        );
    }
    let monthly = || Recurrence::new(Frequency::Monthly, 1, None).expect("monthly");
    assert_eq!(InstallmentDates::from_first(monthly(), day("2026-01-31")).until(day("2026-02-28")), 2, "the day itself counts");
    assert_eq!(InstallmentDates::from_first(monthly(), day("2026-01-31")).until(day("2026-01-30")), 0);
    let daily = Recurrence::new(Frequency::Daily, 1, None).expect("daily");
    assert_eq!(
        InstallmentDates::from_first(daily, day("2026-01-31")).until(day("2100-01-01")),
        1001,
        "too many is seen, and no more counted"
    );
}
