//! Proration in numbers written out by hand: stubs at both ends, changes on the first, a middle and the last day, pauses with credit;
//! for currencies of 0, 2 and 3 decimals.

use super::*;
use crate::domain::{
    invoice::{Adjustment, Modifier},
    subscription::change::Changed,
};

/// A subscription with the invoices that it was sent.
struct Case {
    sub: Subscription,
    bills: Vec<((NaiveDate, NaiveDate), Vec<Line>)>,
}

impl Case {
    fn new(currency: &str, amount: i64, start: &str, terms: impl FnOnce(&mut Subscription)) -> Self {
        let mut sub = Subscription { amount, currency: currency.parse().expect("currency"), ..monthly(start) };
        terms(&mut sub);
        sub.refresh(&rules());
        Self { sub, bills: Vec::new() }
    }

    /// Monthly on the first from April 2026 on, which has 30 days and is billed.
    fn april(currency: &str, amount: i64) -> Self {
        let mut case = Self::new(currency, amount, "2026-04-01", |_| ());
        case.go("2026-04-01");
        case
    }

    /// Billed at 6:00 up to and with a day: what each charge came to.
    fn go(&mut self, day: &str) -> Vec<i64> {
        let mut amounts = Vec::new();
        while let Some(due) = self.sub.due_at.filter(|&due| due <= at(&format!("{day}T06:00:00Z"))) {
            for cycle in self.sub.run(due, &rules()).0 {
                amounts.push(cycle.amount);
                self.bills.push(((cycle.period_start, cycle.period_end), cycle.lines));
            }
        }
        amounts
    }

    /// All of them paid.
    fn days(&self, day: &str) -> Vec<UnusedDays> {
        let until = self.sub.running_period(date(day)).map_or(date(day), |period| period.1);
        let bills = self.bills.iter().filter(|bill| bill.0.1 > date(day));
        let bills =
            bills.map(|(period, lines)| billed::Bill { period: *period, lines, invoice_id: Id::from_bits(1), counts: i64::MAX });
        billed::billed_ahead(bills, date(day), until).into_iter().map(UnusedDays::paid).collect()
    }

    fn record(&mut self, changed: &Changed) -> (i64, i64) {
        if let Some(period) = changed.period.filter(|_| !changed.lines.is_empty()) {
            self.bills.push((period, changed.lines.clone()));
        }
        assert_eq!(subtotal(&changed.lines), changed.amount);
        (changed.amount, changed.credit)
    }

    /// Charged and credited for a change at nine o'clock.
    fn change(&mut self, day: &str, change: Change) -> (i64, i64) {
        let billed = self.days(day);
        let changed = self.sub.change_now(change, billed, at(&format!("{day}T09:00:00Z")), &rules());
        self.record(&changed)
    }

    fn amount(&mut self, day: &str, amount: i64) -> (i64, i64) {
        self.change(day, Change { amount: Some(amount), ..Change::default() })
    }

    /// What is credited for a pause.
    fn pause(&mut self, day: &str, until: Option<&str>) -> i64 {
        let billed = self.days(day);
        let changed = self.sub.pause_with_credit(until.map(date), billed, at(&format!("{day}T09:00:00Z")), &rules());
        self.record(&changed).1
    }

    /// What is charged when it goes on: amount, days n of m; none where nothing is.
    fn resume(&mut self, day: &str) -> Option<(i64, i64, i64)> {
        let stub = self.sub.resume(date(day), &rules());
        self.sub.refresh(&rules());
        let stub = stub?;
        let line = stub.lines[0].clone();
        assert_eq!((stub.cycle, stub.lines.len(), line.kind, line.amount), (None, 1, LineKind::Proration, stub.amount));
        self.bills.push(((stub.period_start, stub.period_end), stub.lines));
        Some((stub.amount, line.days.expect("days"), line.of_days.expect("of days")))
    }
}

fn modifier(adjustment: Adjustment) -> Modifier {
    Modifier { id: "m".into(), name: "M".into(), description: String::new(), adjustment, duration: 0, applied_from: 0 }
}

fn percent(text: &str) -> Modifier {
    modifier(Adjustment::Percentage(text.parse().expect("percentage")))
}

#[test]
fn a_change_on_the_first_a_middle_and_the_last_day_in_three_currencies() {
    for (currency, from, day, to, charged, credited) in [
        // 30, 15 and 1 of 30 days.
        ("USD", 3000, "2026-04-01", 6000, 3000, 0),
        ("USD", 3000, "2026-04-16", 6000, 1500, 0),
        ("USD", 3000, "2026-04-30", 6000, 100, 0),
        ("USD", 3000, "2026-04-01", 1000, 0, 2000),
        ("USD", 3000, "2026-04-16", 1000, 0, 1000),
        // 100 less 33.33.
        ("USD", 3000, "2026-04-30", 1000, 0, 67),
        ("JPY", 1000, "2026-04-01", 2500, 1500, 0),
        // 20 of 30 days: 1666.67 less 666.67.
        ("JPY", 1000, "2026-04-11", 2500, 1000, 0),
        // 83.33 less 33.33.
        ("JPY", 1000, "2026-04-30", 2500, 50, 0),
        ("JPY", 1000, "2026-04-30", 999, 0, 0),
        ("KWD", 12_345, "2026-04-01", 23_456, 11_111, 0),
        // 11728 less 6172.5, which is 6173.
        ("KWD", 12_345, "2026-04-16", 23_456, 5555, 0),
        // 781.87 less 411.5.
        ("KWD", 12_345, "2026-04-30", 23_456, 370, 0),
        // 4115 less 7818.67.
        ("KWD", 23_456, "2026-04-21", 12_345, 0, 3704),
    ] {
        let done = Case::april(currency, from).amount(day, to);
        assert_eq!(done, (charged, credited), "{currency} {from} to {to} on {day}");
    }
}

#[test]
fn quantities_and_modifiers_are_part_of_the_price_of_a_day() {
    let with = |day: &str, change: Change| {
        let mut case = Case::new("USD", 1000, "2026-04-01", |sub| {
            sub.quantity = 3;
            sub.add_ons = vec![percent("10")];
            sub.discounts = vec![percent("12.5")];
        });
        // 3000 and 300 less 375.
        assert_eq!(case.go("2026-04-01"), [2925]);
        case.change(day, change)
    };
    let quantity = |n| Change { quantity: Some(n), ..Change::default() };
    // 2000 and 200 less 250: half of 1950 is 975, half of 2925 is 1462.5.
    assert_eq!(with("2026-04-16", quantity(2)), (0, 488));
    // Two thirds of 4875 and of 2925.
    assert_eq!(with("2026-04-11", quantity(5)), (1300, 0));
    // Without the discount: two thirds of 3300, which is 2200, and of 2925.
    assert_eq!(with("2026-04-11", Change { discounts: Some(vec![]), ..Change::default() }), (250, 0));

    let mut case = Case::new("USD", 999, "2026-04-01", |sub| {
        sub.add_ons = vec![modifier(Adjustment::Amount(250))];
        sub.discounts = vec![percent("33.333")];
    });
    // 999 and 250 less 333.
    assert_eq!(case.go("2026-04-01"), [916]);
    // 11 of 30 days: 335.87 of 916; 1999 and 250 less 666.33 are 1583, of which 580.43.
    assert_eq!(case.amount("2026-04-20", 1999), (244, 0));
}

#[test]
fn stubs_at_both_ends_are_charged_by_the_days_of_their_months() {
    for (currency, amount, first, last) in [("USD", 3100, 1500, 1000), ("JPY", 1000, 484, 323), ("KWD", 12_345, 5973, 3982)] {
        let mut case = Case::new(currency, amount, "2026-01-17", |sub| {
            sub.billing_days = Some("1".into());
            sub.first_period = FirstPeriod::Prorated;
            sub.ends_on = Some(date("2026-03-11"));
        });
        // 15 of 31 days, a whole February, 10 of 31 days.
        assert_eq!(case.go("2026-12-31"), [first, amount, last], "{currency}");
        assert_eq!(case.sub.status, SubscriptionStatus::Completed);
    }
    let stub = |ends_on: &str| {
        Case::new("USD", 3100, "2026-01-17", |sub| {
            sub.billing_days = Some("1".into());
            sub.first_period = FirstPeriod::Prorated;
            sub.ends_on = Some(date(ends_on));
        })
    };
    let mut both = stub("2026-01-25");
    assert_eq!(both.go("2026-01-20"), [800], "8 of 31 days");
    // 5 of 31 days are left.
    assert_eq!(both.amount("2026-01-20", 6200), (500, 0));
    let mut first = stub("2026-03-11");
    first.go("2026-01-25");
    assert_eq!(first.amount("2026-01-25", 6200), (700, 0), "7 of 31 days");
    let mut last = stub("2026-03-11");
    last.go("2026-03-04");
    assert_eq!(last.amount("2026-03-04", 6200), (700, 0), "7 of 31 days up to the end");
}

#[test]
fn an_end_inside_the_period_gives_back_what_lies_behind_it() {
    let mut case = Case::new("USD", 2800, "2026-02-01", |_| ());
    case.go("2026-02-01");
    let ends_on = |end: Option<&str>| Change { ends_on: Some(end.map(date)), ..Change::default() };
    // 18 of 28 days were paid, 10 are left.
    assert_eq!(case.change("2026-02-11", ends_on(Some("2026-02-21"))), (0, 800));
    assert_eq!((case.sub.period_end, case.sub.next_bill_date), (Some(date("2026-02-21")), None));
    // And without the end they are charged after all.
    assert_eq!(case.change("2026-02-11", ends_on(None)), (800, 0));
    assert_eq!((case.sub.period_end, case.sub.next_bill_date), (Some(date("2026-03-01")), Some(date("2026-03-01"))));
}

#[test]
fn changes_on_one_day_each_start_from_the_one_before() {
    let mut case = Case::april("USD", 3000);
    assert_eq!(case.amount("2026-04-16", 6000), (1500, 0));
    assert_eq!(case.amount("2026-04-16", 3000), (0, 1500));
    assert_eq!(case.amount("2026-04-16", 6000), (1500, 0));
    let add_on = Change { add_ons: Some(vec![Modifier { duration: 1, ..percent("50") }]), ..Change::default() };
    assert_eq!(case.change("2026-04-16", add_on), (1500, 0), "half of 3000");
    assert_eq!(case.change("2026-04-16", Change { add_ons: Some(vec![]), ..Change::default() }), (0, 1500));
    assert_eq!(case.change("2026-04-16", Change { quantity: Some(2), ..Change::default() }), (3000, 0));
    assert_eq!(case.change("2026-04-16", Change { quantity: Some(1), ..Change::default() }), (0, 3000));
    // What costs nothing leaves no line.
    assert_eq!(case.change("2026-04-16", Change { description: Some("Pool".into()), ..Change::default() }), (0, 0));
    assert_eq!(case.bills.len(), 8);
    // 5 of 30 days of 6000.
    assert_eq!(case.pause("2026-04-26", None), 1000);
}

#[test]
fn charges_to_come_do_not_say_what_the_running_days_cost() {
    // Skipped or moved, July has 31 days and June 30.
    let touches: [fn(&mut Subscription); 2] =
        [|sub| sub.skip(1, &rules()), |sub| sub.reschedule(date("2026-07-20"), false, &rules())];
    for touch in touches {
        let mut case = Case::new("USD", 3000, "2026-06-01", |_| ());
        case.go("2026-06-01");
        touch(&mut case.sub);
        assert_eq!(case.amount("2026-06-16", 6000), (1500, 0));
    }
}

#[test]
fn a_new_interval_with_the_old_anchor_is_charged_up_to_its_next_bill_date() {
    let mut case = Case::new("USD", 3000, "2026-06-01", |_| ());
    case.go("2026-06-01");
    let yearly = |frequency, amount| Change {
        billing_frequency: Some(frequency),
        amount: Some(amount),
        keep_anchor: Some(true),
        ..Change::default()
    };
    // 350 of 365 days for 36500, less half of 3000.
    assert_eq!(case.change("2026-06-16", yearly(Frequency::Yearly, 36_500)), (33_500, 0));
    assert_eq!((case.sub.period_end, case.sub.next_bill_date), (Some(date("2027-06-01")), Some(date("2027-06-01"))));
    // And back: all 350 days come back, and 15 of 30 are charged.
    assert_eq!(case.change("2026-06-16", yearly(Frequency::Monthly, 3000)), (0, 33_500));
    assert_eq!(case.sub.next_bill_date, Some(date("2026-07-01")));
    // On the very day of an anchor nothing is charged twice.
    let mut first = Case::new("USD", 3000, "2026-06-01", |_| ());
    first.go("2026-06-01");
    assert_eq!(first.change("2026-06-01", yearly(Frequency::Yearly, 36_500)), (33_500, 0));
    assert_eq!(first.sub.next_bill_date, Some(date("2027-06-01")));
}

#[test]
fn two_new_intervals_on_a_day_give_back_the_first_of_them() {
    let mut case = Case::april("USD", 3000);
    let to = |frequency, amount| Change { billing_frequency: Some(frequency), amount: Some(amount), ..Change::default() };
    assert_eq!(case.change("2026-04-16", to(Frequency::Yearly, 30_000)), (28_500, 0));
    // All of the year, and a month from today.
    assert_eq!(case.change("2026-04-16", to(Frequency::Monthly, 3000)), (0, 27_000));
    assert_eq!((case.sub.anchor_date, case.sub.next_bill_date), (date("2026-04-16"), Some(date("2026-05-16"))));
}

#[test]
fn a_pause_with_credit_charges_from_the_day_it_ends() {
    let paused = || {
        let mut case = Case::april("USD", 1000);
        assert_eq!(case.pause("2026-04-16", None), 500, "15 of 30 days");
        assert_eq!((case.sub.period_end, case.sub.due_at), (Some(date("2026-04-16")), None));
        assert_eq!(case.days("2026-04-16"), [], "nothing is left to be given back");
        case
    };
    let mut same_day = paused();
    assert_eq!(same_day.resume("2026-04-16"), Some((500, 15, 30)));
    assert_eq!((same_day.sub.period_end, same_day.sub.next_bill_date), (Some(date("2026-05-01")), Some(date("2026-05-01"))));
    assert_eq!(same_day.pause("2026-04-21", None), 333, "10 of 30 days, once");
    let mut same_period = paused();
    assert_eq!(same_period.resume("2026-04-21"), Some((333, 10, 30)));
    // Over several periods only the days up to the next anchor are charged: 21 of the 31 of May.
    let mut later = paused();
    assert_eq!(later.resume("2026-05-11"), Some((677, 21, 31)));
    assert_eq!((later.sub.cycles_billed, later.sub.next_bill_date), (1, Some(date("2026-06-01"))));
    // On an anchor the cycle itself is.
    let mut anchor = paused();
    assert_eq!(anchor.resume("2026-06-01"), None);
    assert_eq!((anchor.sub.next_bill_date, anchor.go("2026-06-01")), (Some(date("2026-06-01")), vec![1000]));
}

#[test]
fn a_pause_with_credit_minds_ends_durations_and_terms_that_changed() {
    let april = |terms: fn(&mut Subscription)| {
        let mut case = Case::new("USD", 1000, "2026-04-01", terms);
        case.go("2026-04-01");
        case.pause("2026-04-16", None);
        case
    };
    // Up to the end at most: 5 of the 31 days of May, 161.29.
    assert_eq!(april(|sub| sub.ends_on = Some(date("2026-05-16"))).resume("2026-05-11"), Some((161, 5, 31)));
    assert_eq!(april(|sub| sub.ends_on = Some(date("2026-05-11"))).resume("2026-05-11"), None);
    // All charges are made: what was given back can be had again, and no more.
    assert_eq!(april(|sub| sub.duration = 1).resume("2026-04-21"), Some((333, 10, 30)));
    let mut over = april(|sub| sub.duration = 1);
    assert_eq!((over.resume("2026-05-11"), over.sub.is_exhausted()), (None, true));
    // A discount of one cycle goes on in the days that stand for those given back.
    let half = |sub: &mut Subscription| sub.discounts = vec![Modifier { duration: 1, ..percent("50") }];
    assert_eq!(april(half).resume("2026-04-16"), Some((250, 15, 30)));
    let mut discounted = april(half);
    assert_eq!(discounted.resume("2026-05-11"), Some((339, 21, 31)));
    assert_eq!(discounted.go("2026-06-01"), [1000]);
    // Terms from the next cycle on do not touch the days of this one.
    let mut patched = april(|_| ());
    patched.sub.change_terms(Change { amount: Some(9000), ..Change::default() }, at("2026-04-17T00:00:00Z"), &rules());
    assert_eq!(patched.resume("2026-04-21"), Some((333, 10, 30)));
    // A charge that was skipped before is not made up for.
    let mut skipped = Case::april("USD", 1000);
    skipped.sub.skip(1, &rules());
    skipped.pause("2026-04-16", None);
    assert_eq!((skipped.resume("2026-05-11"), skipped.sub.next_bill_date), (None, Some(date("2026-06-01"))));
    // A charge moved beyond the pause pays for its whole period.
    let mut moved = Case::april("USD", 1000);
    moved.sub.reschedule(date("2026-05-20"), true, &rules());
    moved.pause("2026-04-16", None);
    assert_eq!((moved.resume("2026-05-11"), moved.sub.next_bill_date), (None, Some(date("2026-05-20"))));
    // In a trial nothing was billed; after it the days up to the first anchor are.
    let mut trial = Case::new("USD", 1000, "2026-05-01", |sub| {
        (sub.status, sub.trial_ends_on) = (SubscriptionStatus::Trialing, Some(date("2026-05-01")));
    });
    assert_eq!(trial.pause("2026-04-16", None), 0);
    assert_eq!((trial.resume("2026-04-30"), trial.sub.status), (None, SubscriptionStatus::Trialing));
    trial.pause("2026-04-30", None);
    assert_eq!(trial.resume("2026-05-11"), Some((677, 21, 31)));
}

#[test]
fn a_late_bill_run_takes_up_from_the_day_that_was_said() {
    let paused = || {
        let mut case = Case::april("USD", 1000);
        case.pause("2026-04-16", Some("2026-05-11"));
        case
    };
    let (mut in_time, mut late) = (paused(), paused());
    assert_eq!(in_time.sub.next_bill_date, Some(date("2026-05-11")));
    assert_eq!(in_time.go("2026-06-15"), [677, 1000]);
    let (cycles, turns) = late.sub.run(at("2026-06-15T06:00:00Z"), &rules());
    assert_eq!(
        (cycles.iter().map(|cycle| cycle.amount).collect::<Vec<_>>(), turns),
        (vec![677, 1000], vec![ScheduleEvent::Resumed])
    );
    assert_eq!(late.sub, in_time.sub);
}

#[test]
fn refunded_or_voided_days_are_not_given_back_again() {
    let mut case = Case::april("USD", 3000);
    let (period, lines) = case.bills.remove(0);
    let given = |counts| {
        let bill = billed::Bill { invoice_id: Id::from_bits(1), period, lines: &lines, counts };
        billed::billed_ahead([bill], date("2026-04-16"), date("2026-05-01")).iter().map(BilledDays::amount).sum::<i64>()
    };
    assert_eq!([given(3000), given(2000), given(0)], [1500, 1000, 0]);
}
