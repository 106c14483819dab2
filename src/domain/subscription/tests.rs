//! Dates and amounts that a subscription bills: catch-up, changes, ends; previews must equal bills.

use super::*;
use crate::domain::{frequency::Frequency, id::Id, invoice::LineKind, money::Currency};

mod proration;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("instant")
}

fn date(text: &str) -> NaiveDate {
    text.parse().expect("date")
}

fn rules() -> Rules {
    Rules { bill_at: NaiveTime::from_hms_opt(6, 0, 0).expect("time"), holidays: BTreeMap::new(), catch_up_limit: 3 }
}

/// Monthly on the day of `start`, 10.00 USD, UTC.
fn monthly(start: &str) -> Subscription {
    let mut sub = Subscription {
        description: "Gym".into(),
        amount: 1000,
        ..Subscription::beginning(
            Id::from_bits(1),
            Id::from_bits(2),
            Currency::USD,
            "UTC".parse().expect("zone"),
            Frequency::Monthly,
            date(start),
            at("2026-01-01T00:00:00Z"),
        )
    };
    sub.refresh(&rules());
    sub
}

/// The days from then on as this invoice, the only one, says they were billed. All of them are paid.
fn billed(sub: &Subscription, cycle: &CycleDue, today: &str) -> Vec<UnusedDays> {
    let period = (cycle.period_start, cycle.period_end);
    let bill = billed::Bill { invoice_id: Id::from_bits(1), period, lines: &cycle.lines, counts: i64::MAX };
    let until = sub.running_period(date(today)).map_or(date(today), |period| period.1);
    billed::billed_ahead([bill], date(today), until).into_iter().map(UnusedDays::paid).collect()
}

fn dates(cycles: &[CycleDue]) -> Vec<String> {
    cycles.iter().map(|cycle| cycle.bill_date.to_string()).collect()
}

#[test]
fn the_preview_is_what_the_bill_run_opens() {
    let mut sub = monthly("2026-01-31");
    let preview = sub.upcoming(&rules(), 14);
    let mut billed = Vec::new();
    while billed.len() < 14 {
        let due = sub.due_at.expect("goes on");
        billed.extend(sub.run(due, &rules()).0);
    }
    assert_eq!(preview, billed);
    assert_eq!(dates(&billed)[..4], ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]);
}

#[test]
fn a_second_run_at_the_same_instant_does_nothing() {
    let mut sub = monthly("2026-01-31");
    assert_eq!(sub.run(at("2026-01-31T06:00:00Z"), &rules()).0.len(), 1);
    let before = sub.clone();
    assert_eq!(sub.run(at("2026-01-31T06:00:00Z"), &rules()), (vec![], vec![]));
    assert_eq!(sub, before);
}

#[test]
fn missed_cycles_follow_the_policy_and_the_limit_parks() {
    let run = |catch_up, now: &str| {
        let mut sub = Subscription { catch_up, ..monthly("2026-01-15") };
        let (cycles, turns) = sub.run(at(now), &rules());
        (dates(&cycles), turns, sub.status, sub.next_bill_date.map(|d| d.to_string()))
    };
    let next = Some("2026-05-15".to_owned());
    assert_eq!(
        run(CatchUp::BillAll, "2026-04-20T00:00:00Z"),
        (
            vec!["2026-01-15".into(), "2026-02-15".into(), "2026-03-15".into(), "2026-04-15".into()],
            vec![],
            SubscriptionStatus::Active,
            next.clone()
        )
    );
    assert_eq!(
        run(CatchUp::BillCurrent, "2026-04-20T00:00:00Z"),
        (vec!["2026-04-15".into()], vec![ScheduleEvent::Skipped(3)], SubscriptionStatus::Active, next.clone())
    );
    assert_eq!(
        run(CatchUp::Skip, "2026-04-20T00:00:00Z"),
        (vec![], vec![ScheduleEvent::Skipped(4)], SubscriptionStatus::Active, next)
    );
    let parked = run(CatchUp::BillAll, "2026-05-20T00:00:00Z");
    assert_eq!((parked.0.len(), parked.2, parked.3), (0, SubscriptionStatus::Parked, None));
}

#[test]
fn an_end_date_cuts_and_prorates_the_last_period() {
    let mut sub = Subscription { ends_on: Some(date("2026-03-11")), ..monthly("2026-02-01") };
    sub.refresh(&rules());
    let cycles = sub.upcoming(&rules(), 10);
    assert_eq!(dates(&cycles), ["2026-02-01", "2026-03-01"]);
    assert_eq!((cycles[1].period_end, cycles[1].amount), (date("2026-03-11"), 323), "10 of 31 days of 10.00");
    sub.run(at("2026-02-01T06:00:00Z"), &rules());
    sub.run(at("2026-03-01T06:00:00Z"), &rules());
    assert_eq!((sub.status, sub.due_at), (SubscriptionStatus::Active, Some(at("2026-03-11T06:00:00Z"))));
    assert_eq!(sub.run(at("2026-03-11T06:00:00Z"), &rules()).1, [ScheduleEvent::Completed]);
}

#[test]
fn duration_counts_charges_and_skipped_ones_do_not_count() {
    let mut sub = Subscription { duration: 2, ..monthly("2026-01-10") };
    sub.skip(1, &rules());
    assert_eq!(dates(&sub.upcoming(&rules(), 9)), ["2026-02-10", "2026-03-10"]);
    sub.run(at("2026-02-10T06:00:00Z"), &rules());
    sub.run(at("2026-03-10T06:00:00Z"), &rules());
    assert!(sub.is_exhausted());
}

#[test]
fn a_change_now_credits_unused_days_and_charges_the_rest() {
    let mut sub = monthly("2026-04-01");
    let april = sub.run(at("2026-04-01T06:00:00Z"), &rules()).0.remove(0);
    let billed = billed(&sub, &april, "2026-04-16");
    let done = sub.change_now(Change { amount: Some(2000), ..Change::default() }, billed, at("2026-04-16T09:00:00Z"), &rules());
    let shown: Vec<_> = done.lines.iter().map(|line| (line.kind, line.amount, line.days, line.of_days)).collect();
    assert_eq!(shown, [(LineKind::Credit, -500, Some(15), Some(30)), (LineKind::Proration, 1000, Some(15), Some(30))]);
    assert_eq!((done.amount, sub.next_bill_date, sub.upcoming(&rules(), 1)[0].amount), (500, Some(date("2026-05-01")), 2000));
}

#[test]
fn a_downgrade_leaves_credit_and_never_a_negative_charge() {
    let mut sub = monthly("2026-04-01");
    let april = sub.run(at("2026-04-01T06:00:00Z"), &rules()).0.remove(0);
    let billed = billed(&sub, &april, "2026-04-16");
    let done = sub.change_now(Change { amount: Some(200), ..Change::default() }, billed, at("2026-04-16T09:00:00Z"), &rules());
    assert_eq!((done.amount, done.credit, subtotal(&done.lines)), (0, 400, 0));
}

#[test]
fn a_new_interval_starts_a_new_schedule_today() {
    let mut sub = monthly("2026-04-01");
    let april = sub.run(at("2026-04-01T06:00:00Z"), &rules()).0.remove(0);
    let change = Change { billing_frequency: Some(Frequency::Yearly), amount: Some(10_000), ..Change::default() };
    let billed = billed(&sub, &april, "2026-04-16");
    let done = sub.change_now(change, billed, at("2026-04-16T09:00:00Z"), &rules());
    assert_eq!((done.amount, done.cycle.as_ref().and_then(|c| c.cycle)), (9500, Some(1)));
    assert_eq!((sub.anchor_date, sub.next_bill_date), (date("2026-04-16"), Some(date("2027-04-16"))));
}

#[test]
fn a_change_at_period_end_waits_for_the_next_cycle() {
    let mut sub = monthly("2026-04-01");
    sub.run(at("2026-04-01T06:00:00Z"), &rules());
    let preview =
        sub.change_at_period_end(Change { amount: Some(3000), ..Change::default() }, at("2026-04-16T09:00:00Z"), &rules());
    assert_eq!((preview.amount, preview.effective_date, sub.amount), (3000, date("2026-05-01"), 1000));
    let (cycles, turns) = sub.run(at("2026-05-01T06:00:00Z"), &rules());
    assert_eq!((cycles[0].amount, turns), (3000, vec![ScheduleEvent::ChangeApplied]));
}

#[test]
fn terms_that_turn_out_invalid_park_it_and_what_was_done_before_is_told() {
    let invalid = Change { billing_days: Some(Some("no days".into())), ..Change::default() };
    let parked = || ScheduleEvent::Parked("its billing terms are not valid".into());
    let mut changed = Subscription { pending_change: Some(invalid.clone()), ..monthly("2026-04-01") };
    assert_eq!(changed.run(at("2026-04-01T06:00:00Z"), &rules()).1, [ScheduleEvent::ChangeApplied, parked()]);
    let mut resumed = monthly("2026-04-01");
    resumed.run(at("2026-04-01T06:00:00Z"), &rules());
    resumed.pause(date("2026-04-02"), Some(date("2026-05-01")));
    resumed.refresh(&rules());
    resumed.pending_change = Some(invalid);
    let turns = resumed.run(at("2026-05-01T06:00:00Z"), &rules()).1;
    assert_eq!(turns, [ScheduleEvent::Resumed, ScheduleEvent::ChangeApplied, parked()]);
}

#[test]
fn pausing_and_resuming_at_once_changes_nothing() {
    let mut sub = monthly("2026-04-01");
    sub.run(at("2026-04-01T06:00:00Z"), &rules());
    let before = sub.clone();
    sub.pause(date("2026-04-01"), None);
    sub.refresh(&rules());
    assert_eq!((sub.next_bill_at, sub.due_at), (None, None));
    assert_eq!(sub.resume(date("2026-04-01"), &rules()), None);
    sub.refresh(&rules());
    assert_eq!(sub, before);
}

#[test]
fn what_falls_into_a_pause_is_not_billed() {
    let mut sub = monthly("2026-04-01");
    sub.run(at("2026-04-01T06:00:00Z"), &rules());
    sub.pause(date("2026-04-02"), Some(date("2026-07-10")));
    sub.refresh(&rules());
    assert_eq!(sub.next_bill_date, Some(date("2026-08-01")));
    let (cycles, turns) = sub.run(at("2026-07-10T06:00:00Z"), &rules());
    assert_eq!((cycles.len(), turns, sub.next_bill_date), (0, vec![ScheduleEvent::Resumed], Some(date("2026-08-01"))));
}

#[test]
fn rescheduling_moves_one_charge_or_the_anchor() {
    let mut one = monthly("2026-04-01");
    one.reschedule(date("2026-04-05"), true, &rules());
    assert_eq!(dates(&one.upcoming(&rules(), 3)), ["2026-04-05", "2026-05-01", "2026-06-01"]);
    let mut all = monthly("2026-04-01");
    all.reschedule(date("2026-04-05"), false, &rules());
    assert_eq!(dates(&all.upcoming(&rules(), 3)), ["2026-04-05", "2026-05-05", "2026-06-05"]);
}
