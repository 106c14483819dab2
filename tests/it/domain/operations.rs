//! Random sequences of what operators do, on random terms: what was foreseen is what is billed, one jump is many, a pause taken back
//! is none, and over a period the money is the sum of its days.

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta};
use proptest::{collection::vec, prelude::*};
use rebilld::domain::{
    calendar::instant,
    frequency::Frequency,
    invoice::{price, subtotal},
    plan::{CatchUp, WhilePastDue},
    proration::{FirstPeriod, Share},
    subscription::{Change, CycleDue, Subscription, SubscriptionStatus, Waiting},
};

mod stage;

use super::config;
use stage::{Billed, Op, Stage, changes, date, ops, rules, stages, subscription};

/// The charges shown up to an instant. Charges are opened in order: one that was moved holds up those after it.
fn shown(sub: &Subscription, to: chrono::DateTime<chrono::Utc>) -> Vec<CycleDue> {
    if sub.next_bill_at.is_none() {
        return Vec::new();
    }
    let held = sub.while_past_due == WhilePastDue::Hold && sub.status == SubscriptionStatus::PastDue;
    if held {
        return Vec::new();
    }
    // What falls due on a day before a pause ends, by a business-day shift, is charged when it ends.
    let goes_on = sub.paused_until.filter(|_| sub.status == SubscriptionStatus::Paused || sub.pause_at_period_end);
    if goes_on.is_some_and(|day| instant(day, rules().bill_at, sub.timezone.0) > to) {
        return Vec::new();
    }
    sub.ahead(&rules()).take(400).take_while(|cycle| cycle.bill_at <= to).collect()
}

/// Whether what was billed reaches over the days to come without a gap. A charge that is moved to long before its period leaves one,
/// and the record of a change then says how many days it is for, but not which.
fn without_gap(stage: &Stage) -> bool {
    stage.billed_ahead().windows(2).all(|pair| pair[0].end == pair[1].start)
}

/// Without what only says when it was done.
fn state(sub: &Subscription) -> Subscription {
    Subscription { cancelled_at: None, ..sub.clone() }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn what_is_shown_after_each_step_is_what_the_bill_run_then_opens(mut stage in stages(), ops in vec(ops(), 1..14)) {
        let mut done = Vec::new();
        for op in ops {
            match op {
                Op::Wait { hours } => {
                    let to = stage.now + TimeDelta::hours(hours);
                    let due = stage.sub.clone();
                    let opened = stage.pass(to);
                    let holds = stage.owing && due.while_past_due == WhilePastDue::Hold;
                    // Without an invoice in sight there is nothing that declines, so debt that holds is left out here.
                    if !holds {
                        let foreseen = shown(&due, to);
                        let early = foreseen.iter().zip(&opened).all(|(a, b)| a == b);
                        prop_assert!(early, "{:#?}\nshown {:#?}\nopened {:#?}", done, foreseen, opened);
                        prop_assert_eq!(&foreseen, &opened, "{:#?}", done);
                    }
                    done.push(format!("{op:?} -> {} {:?}", stage.now, stage.turns.drain(..).collect::<Vec<_>>()));
                }
                op => {
                    let before = stage.bills.len();
                    // A preview is the same code on a copy: it must not know that it is one.
                    let mut preview = stage.clone();
                    prop_assert_eq!(preview.act(&op), stage.act(&op));
                    prop_assert_eq!((&preview.sub, &preview.bills, preview.credit), (&stage.sub, &stage.bills, stage.credit));
                    done.push(format!("{op:?}"));
                    for bill in &stage.bills[before..] {
                        prop_assert!(bill.lines.iter().all(|line| line.days.is_none_or(|days| Some(days) <= line.of_days)));
                    }
                }
            }
            for bill in &stage.bills {
                prop_assert_eq!(subtotal(&bill.lines), bill.amount, "{:#?}", done);
                prop_assert!(bill.amount >= 0 && bill.period.0 <= bill.period.1, "{:?}\n{:#?}", bill, done);
            }
        }
    }

    #[test]
    fn one_jump_equals_many(mut stage in stages(), ops in vec(ops(), 0..6), splits in vec(1i64..24 * 60, 1..8)) {
        for op in &ops {
            stage.act(op);
        }
        let to = stage.now + TimeDelta::hours(splits.iter().sum());
        let (mut instant, mut steps, mut jump) = (stage.clone(), stage.clone(), stage.clone());
        instant.pass(to);
        for hours in splits {
            // A daemon that only looks now and then.
            steps.now += TimeDelta::hours(hours);
            steps.run();
        }
        jump.now = to;
        jump.run();
        prop_assert_eq!(&instant.bills, &jump.bills, "{:?}", ops);
        prop_assert_eq!(&instant.bills, &steps.bills, "{:?}", ops);
        prop_assert_eq!(state(&instant.sub), state(&jump.sub), "{:?}", ops);
        prop_assert_eq!(state(&instant.sub), state(&steps.sub), "{:?}", ops);
    }

    #[test]
    fn with_skip_or_bill_current_a_jump_ends_where_many_steps_end(
        mut stage in stages(), ops in vec(ops(), 0..6), hours in 1i64..24 * 90, current in any::<bool>(),
    ) {
        stage.sub.catch_up = if current { CatchUp::BillCurrent } else { CatchUp::Skip };
        // How many charges were made is what these policies change.
        stage.sub.duration = 0;
        for op in &ops {
            let lasting = |change: &Change| change.duration.is_none() && change.add_ons.is_none() && change.discounts.is_none();
            if !matches!(op, Op::ChangeNow(c) | Op::ChangeAtEnd(c) | Op::Patch(c) if !lasting(c)) {
                stage.act(op);
            }
        }
        let to = stage.now + TimeDelta::hours(hours);
        let (mut instant, mut jump) = (stage.clone(), stage);
        instant.pass(to);
        jump.now = to;
        jump.run();
        let place = |stage: &Stage| {
            let sub = &stage.sub;
            (sub.status == SubscriptionStatus::Trialing || sub.status == SubscriptionStatus::Active, sub.next_slot, sub.anchor_date,
                sub.paused_until, sub.pause_at_period_end, sub.pending_change.clone(), sub.next_bill_at, sub.credited_days.clone())
        };
        prop_assert_eq!(place(&instant), place(&jump), "{:?}", ops);
    }

    #[test]
    fn a_pause_taken_back_at_once_changes_nothing(mut stage in stages(), ops in vec(ops(), 0..8), credit in any::<bool>(), until in prop::option::of(0u64..60)) {
        for op in &ops {
            stage.act(op);
        }
        prop_assume!(without_gap(&stage));
        let before = stage.clone();
        if stage.act(&Op::Pause { until, credit }) {
            prop_assert_eq!(stage.sub.status, SubscriptionStatus::Paused);
            prop_assert!(stage.act(&Op::Resume));
            // A pause that waited has been overtaken by this one.
            let mut expected = before.sub.clone();
            if expected.pause_at_period_end {
                expected.scheduled_last = Some(Waiting::Pause);
                prop_assert_eq!(expected.keep(), Some(Waiting::Pause));
                expected.scheduled_last = before.sub.scheduled_last.filter(|&last| last != Waiting::Pause);
                expected.refresh(&rules());
            }
            // Days charged ahead of their period are given back from today on.
            expected.period_start = expected.period_start.map(|start| if credit && stage.sub.period_end > Some(stage.today()) { start.min(stage.today()) } else { start });
            prop_assert_eq!(&stage.sub, &expected, "{:?}", ops);
            prop_assert_eq!(stage.net(), before.net(), "{:?}", ops);
            prop_assert_eq!(stage.billed_ahead(), before.billed_ahead(), "{:?}", ops);
        }
    }

    #[test]
    fn up_and_back_down_on_a_day_comes_to_nothing(mut stage in stages(), ops in vec(ops(), 0..6), up in vec(changes(false), 1..4)) {
        for op in &ops {
            stage.act(op);
        }
        // From terms that were billed, not from ones that wait for the next cycle.
        stage.act(&Op::ChangeNow(Change { amount: Some(1234), ..Change::default() }));
        prop_assume!(without_gap(&stage));
        let before = stage.clone();
        for change in up {
            // Ends and modifiers come back with the rest only if they are named again.
            let change = Change { ends_on: None, duration: None, add_ons: None, discounts: None, ..change };
            stage.act(&Op::ChangeNow(change));
        }
        let back = Change { amount: Some(before.sub.amount), quantity: Some(before.sub.quantity), ..Change::default() };
        stage.act(&Op::ChangeNow(back));
        prop_assert_eq!(stage.net(), before.net(), "{:?}", ops);
        prop_assert_eq!(&stage.sub, &before.sub, "{:?}", ops);
    }

    #[test]
    fn no_day_is_given_back_twice(mut stage in stages(), ops in vec(ops(), 0..14)) {
        for op in &ops {
            stage.act(op);
            let lines: usize = stage.bills.iter().map(|bill| bill.lines.len()).sum();
            prop_assert!(stage.net() >= -i64::try_from(lines).expect("few"), "{} more was given back than asked for: {:?}", -stage.net(), ops);
        }
        stage.act(&Op::Cancel);
        let lines: usize = stage.bills.iter().map(|bill| bill.lines.len()).sum();
        prop_assert!(stage.net() >= -i64::try_from(lines).expect("few"), "{}: {:?} {:#?}", stage.net(), ops, stage.bills);
    }
}

/// A day of the year that is walked, and what is done on it.
#[derive(Debug, Clone)]
enum Doing {
    Change(Box<Change>),
    Pause,
    Resume,
    End(u64),
}

fn doings() -> impl Strategy<Value = Vec<(u32, Doing)>> {
    let money = changes(false).prop_map(|change| Doing::Change(Box::new(Change { ends_on: None, duration: None, ..change })));
    let doing = prop_oneof![4 => money, 2 => Just(Doing::Pause), 2 => Just(Doing::Resume), 1 => (1u64..40).prop_map(Doing::End)];
    vec((0u32..130, doing), 0..10).prop_map(|mut doings| {
        doings.sort_by_key(|doing| doing.0);
        doings
    })
}

fn days_in_month(day: NaiveDate) -> i64 {
    let next = if day.month() == 12 { (day.year() + 1, 1) } else { (day.year(), day.month() + 1) };
    let first = |(year, month)| NaiveDate::from_ymd_opt(year, month, 1).expect("date");
    (first(next) - first((day.year(), day.month()))).num_days()
}

proptest! {
    #![proptest_config(config(1500))]

    /// Billed on the first of each month from some day in January on, the stub by days: so a day costs a month's price by the terms
    /// of that day over the days of that month, and a day paused with credit nothing.
    #[test]
    fn what_was_billed_less_what_was_given_back_is_the_sum_of_the_days(
        start in 1u32..=31, amount in 0i64..20_000, quantity in 1i64..4, doings in doings(),
    ) {
        let start = NaiveDate::from_ymd_opt(2026, 1, start).expect("date");
        let mut sub = Subscription {
            amount,
            quantity,
            billing_frequency: Frequency::Monthly,
            billing_days: Some("1".to_owned()),
            first_period: FirstPeriod::Prorated,
            ..subscription(start)
        };
        sub.refresh(&rules());
        let noon = NaiveTime::from_hms_opt(12, 0, 0).expect("time");
        let mut stage = Stage { sub, now: start.and_time(NaiveTime::MIN).and_utc(), bills: Vec::<Billed>::new(), credit: 0, owing: false, turns: vec![] };
        // In 10^-9 minor units, so that the sum is near enough to exact.
        let (mut expected, mut changes) = (0i128, 0i64);
        let mut day = start;
        let last = date("2026-06-01");
        while day < last {
            stage.pass(day.and_time(noon).and_utc());
            for (_, doing) in doings.iter().filter(|doing| i64::from(doing.0) == (day - start).num_days()) {
                let done = match doing {
                    Doing::Change(change) => stage.act(&Op::ChangeNow((**change).clone())),
                    Doing::Pause => stage.act(&Op::Pause { until: None, credit: true }),
                    Doing::Resume => stage.act(&Op::Resume),
                    Doing::End(days) => {
                        let end = day.checked_add_days(chrono::Days::new(*days)).expect("date");
                        stage.act(&Op::ChangeNow(Change { ends_on: Some(Some(end)), ..Change::default() }))
                    }
                };
                changes += i64::from(done);
                // What is due by then is done at once: resumed on the day of a charge, its cycle opens.
                stage.run();
            }
            let sub = &stage.sub;
            if !sub.status.is_ended() && sub.status != SubscriptionStatus::Paused && sub.ends_on.is_none_or(|end| day < end) {
                let full = subtotal(&price(&sub.charge(), sub.next_cycle - 1, Share::WHOLE));
                expected += i128::from(full) * 1_000_000_000 / i128::from(days_in_month(day));
            }
            day = day.succ_opt().expect("date");
        }
        let lines: usize = stage.bills.iter().map(|bill| bill.lines.len()).sum();
        let off = (i128::from(stage.net()) * 1_000_000_000 - expected).abs();
        let allowed = i128::from(changes) + i128::try_from(lines).expect("few") ;
        prop_assert!(off <= allowed * 1_000_000_000, "net {} and {} by the days: {:?}\n{:#?}", stage.net(), expected / 1_000_000_000, doings, stage.bills);
    }
}
