//! Parts to the last minor unit, terms by the calendar, and that a plan adds up after any sequence of operations.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use proptest::prelude::*;

use super::{
    change::{Moment, Refused, Spread},
    terms::{TermUnits, dates, equal_parts, installments_in, next_date},
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
        business_day: BusinessDay::None,
        holiday_calendar: None,
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
    let dates = dates(Recurrence::new(Frequency::Monthly, 1, None).expect("monthly"), day("2026-02-01"), count).expect("dates");
    let parts = equal_parts(amount - down_payment, count).expect("parts");
    let parts: Vec<_> = dates.into_iter().zip(parts).collect();
    InstallmentSchedule::new(plan(amount, down_payment), &parts, at("2026-01-01T00:00:00Z"), &rules()).expect("sound")
}

fn amounts(schedule: &InstallmentSchedule) -> Vec<i64> {
    schedule.installments.iter().map(|part| part.amount).collect()
}

#[test]
fn a_hundred_is_split_to_the_last_minor_unit() {
    for (currency, minor, count, each, last) in [
        ("JPY", 100, 3, 33, 34),
        ("JPY", 100, 7, 14, 16),
        ("JPY", 100, 12, 8, 12),
        ("USD", 10_000, 3, 3333, 3334),
        ("USD", 10_000, 7, 1428, 1432),
        ("USD", 10_000, 12, 833, 837),
        ("BHD", 100_000, 3, 33_333, 33_334),
        ("BHD", 100_000, 7, 14_285, 14_290),
        ("BHD", 100_000, 12, 8333, 8337),
    ] {
        let of: Currency = currency.parse().expect("currency");
        assert_eq!(of.major(minor).trim_end_matches(".000").trim_end_matches(".00"), "100", "{currency}");
        let parts = equal_parts(minor, count).expect("parts");
        assert_eq!((parts.len(), parts[0], parts[count - 1]), (count, each, last), "{currency} in {count}");
        assert_eq!(parts.iter().sum::<i64>(), minor);
        assert!(parts[..count - 1].iter().all(|part| *part == each));
    }
    assert_eq!((equal_parts(11, 12), equal_parts(12, 12).map(|parts| parts[11]), equal_parts(5, 0)), (None, Some(1), None));
}

#[test]
fn dates_follow_the_anchor_and_never_drift() {
    let monthly = |days| Recurrence::new(Frequency::Monthly, 1, days).expect("monthly");
    let list = |recurrence, first, count| {
        dates(recurrence, day(first), count).map(|dates| dates.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(list(monthly(None), "2026-01-31", 4).expect("dates"), ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]);
    assert_eq!(list(monthly(Some("15")), "2026-01-31", 3).expect("dates"), ["2026-01-31", "2026-02-15", "2026-03-15"]);
    // Two days that clamp to one date are one charge.
    let twice = Recurrence::new(Frequency::TwiceMonthly, 1, Some("29,31")).expect("recurrence");
    assert_eq!(list(twice, "2026-01-31", 4).expect("dates"), ["2026-01-31", "2026-02-28", "2026-03-29", "2026-03-31"]);
    let once = || Recurrence::new(Frequency::OneTime, 1, None).expect("once");
    assert_eq!((list(once(), "2026-01-31", 1).map(|dates| dates.len()), list(once(), "2026-01-31", 2)), (Some(1), None));
    assert_eq!(next_date(monthly(None), day("2026-01-31")), day("2026-02-28"));
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

/// What an operator, the bill run or a gateway does; the numbers are folded onto what is there.
#[derive(Debug, Clone)]
enum Operation {
    Pass { days: u64 },
    Change { number: i64, days: Option<i64>, amount: Option<i64>, even: bool },
    Split { number: i64, shares: Vec<i64>, days: i64 },
    PayEarly { number: i64 },
    PayOff,
    Pay { invoice: usize },
    Fail { invoice: usize },
    Cancel,
}

fn operation() -> impl Strategy<Value = Operation> {
    let days = proptest::option::of(-5i64..400);
    let amount = proptest::option::of(-10i64..20_000);
    prop_oneof![
        3 => (1u64..60).prop_map(|days| Operation::Pass { days }),
        6 => (0i64..15, days, amount, any::<bool>()).prop_map(|(number, days, amount, even)| Operation::Change { number, days, amount, even }),
        4 => (0i64..15, proptest::collection::vec(0i64..500, 0..5), -2i64..90)
            .prop_map(|(number, shares, days)| Operation::Split { number, shares, days }),
        2 => (0i64..15).prop_map(|number| Operation::PayEarly { number }),
        1 => Just(Operation::PayOff),
        3 => (0usize..10).prop_map(|invoice| Operation::Pay { invoice }),
        2 => (0usize..10).prop_map(|invoice| Operation::Fail { invoice }),
        1 => Just(Operation::Cancel),
    ]
}

struct Life {
    schedule: InstallmentSchedule,
    now: DateTime<Utc>,
    invoices: Vec<InvoiceId>,
}

impl Life {
    fn invoice(&mut self, numbers: &[i64]) {
        if !numbers.is_empty() {
            let id = InvoiceId::from_bits(self.invoices.len() as u128 + 1);
            self.invoices.push(id);
            self.schedule.invoiced(numbers, id, false, self.now);
        }
    }

    fn end(&mut self, invoice: usize, status: InstallmentStatus) {
        let Some(&id) = self.invoices.get(invoice) else { return };
        let mut ended = false;
        for part in self
            .schedule
            .installments
            .iter_mut()
            .filter(|part| part.invoice_id == Some(id) && part.status == InstallmentStatus::Due)
        {
            part.status = status;
            ended = true;
        }
        if ended {
            if status == InstallmentStatus::Paid {
                self.schedule.plan.succeed(self.now);
            } else {
                self.schedule.plan.fail(self.now);
            }
            let (owed, paid) = self.schedule.standing();
            self.schedule.plan.settle(owed, paid, self.now);
        }
    }

    fn go(&mut self, operation: &Operation, rules: &Rules) {
        let moment = Moment { now: self.now, rules };
        let today = self.schedule.plan.today(self.now);
        let in_days = |days: i64| if days < 0 { today - Days::new(days.unsigned_abs()) } else { today + Days::new(days as u64) };
        match operation {
            Operation::Pass { days } => {
                self.now = self.now + Days::new(*days);
                for number in self.schedule.due(self.now) {
                    self.invoice(&[number]);
                }
            }
            Operation::Change { number, days, amount, even } => {
                let spread = if *even { Spread::Even } else { Spread::Last };
                let _ = self.schedule.change(*number, days.map(in_days), *amount, spread, moment);
            }
            Operation::Split { number, shares, days } => {
                let whole = self.schedule.installments.iter().find(|part| part.number == *number).map_or(0, |part| part.amount);
                let mut parts: Vec<_> = shares.iter().map(|share| (in_days(*days), *share)).collect();
                parts.push((in_days(days + 1), whole - shares.iter().sum::<i64>()));
                let _ = self.schedule.split(*number, &parts, moment);
            }
            Operation::PayEarly { number } => {
                if self.schedule.payable(*number).is_ok_and(|part| part.status == InstallmentStatus::Scheduled) {
                    self.invoice(&[*number]);
                }
            }
            Operation::PayOff => {
                let scheduled = self.schedule.scheduled().unwrap_or_default();
                self.invoice(&scheduled);
            }
            Operation::Pay { invoice } => self.end(*invoice, InstallmentStatus::Paid),
            Operation::Fail { invoice } => self.end(*invoice, InstallmentStatus::Failed),
            Operation::Cancel => {
                let _ = self.schedule.cancel(&[], self.now);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_plan_adds_up_after_any_sequence_of_operations(
        amount in 20i64..100_000, down in 0i64..10, count in 1usize..12, operations in proptest::collection::vec(operation(), 1..40),
    ) {
        let rules = rules();
        let mut life = Life { schedule: monthly(amount, down, count), now: at("2026-01-01T00:00:00Z"), invoices: Vec::new() };
        for operation in &operations {
            let before = life.schedule.clone();
            life.go(operation, &rules);
            let schedule = &life.schedule;
            prop_assert_eq!(schedule.check(), Ok(()), "{:?}", operation);
            let totals = schedule.totals();
            prop_assert_eq!(totals.scheduled + totals.due + totals.paid + totals.failed + totals.cancelled, amount);
            prop_assert!(schedule.plan.status == InstallmentPlanStatus::Cancelled || totals.cancelled == 0);
            prop_assert_eq!(schedule.plan.due_at.is_some(), schedule.plan.status == InstallmentPlanStatus::Open && totals.scheduled > 0);
            // What is invoiced is out of reach.
            for old in before.installments.iter().filter(|part| part.invoice_id.is_some()) {
                let new = schedule.installments.iter().find(|part| part.number == old.number).expect("never removed");
                prop_assert_eq!((new.invoice_id, new.amount, new.date), (old.invoice_id, old.amount, old.date));
            }
            prop_assert!(schedule.plan.status != InstallmentPlanStatus::Paid || totals.paid == amount);
        }
    }

    #[test]
    fn equal_parts_differ_by_less_than_their_number(amount in 1i64..1_000_000, count in 1usize..200) {
        match equal_parts(amount, count) {
            None => prop_assert!((amount as usize) < count),
            Some(parts) => {
                prop_assert_eq!(parts.iter().sum::<i64>(), amount);
                prop_assert!(parts.iter().all(|part| *part >= 1));
                prop_assert!(parts[count - 1] - parts[0] < count as i64);
            }
        }
    }

    #[test]
    fn a_down_payment_by_percent_and_the_rest_are_the_total(amount in 2i64..1_000_000, thousandths in 0i64..99_000, count in 1usize..13) {
        let down = crate::domain::money::Percentage::from_thousandths(thousandths).expect("percent").of(amount);
        if let Some(parts) = equal_parts(amount - down, count) {
            prop_assert_eq!(down + parts.iter().sum::<i64>(), amount);
        }
    }
}
