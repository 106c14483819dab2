//! Plans that are paused: all that is to come moves, and nothing drifts.

use super::*;

#[test]
fn a_pause_moves_all_that_is_to_come_and_never_drifts() {
    let rules = rules();
    let moment = Moment { now: at("2026-01-10T00:00:00Z"), rules: &rules };
    let of_the_31st = || {
        let recurrence = Recurrence::new(Frequency::Monthly, 1, None).expect("monthly");
        let dates = InstallmentDates::from_first(recurrence, day("2026-01-31")).first_of(3).expect("dates");
        let parts: Vec<_> = dates.into_iter().zip([100; 3]).collect();
        let monthly = InstallmentPlan { anchor_date: Some(day("2026-01-31")), ..monthly(300, 0, 3).plan };
        InstallmentSchedule::new(monthly, &parts, at("2026-01-01T00:00:00Z"), &rules).expect("sound")
    };
    let dates =
        |schedule: &InstallmentSchedule| schedule.installments.iter().map(|part| part.date.to_string()).collect::<Vec<_>>();
    let mut schedule = of_the_31st();
    schedule.skip(1, moment).expect("skipped");
    assert_eq!(dates(&schedule), ["2026-02-28", "2026-03-31", "2026-04-30"]);
    schedule.skip(1, moment).expect("skipped");
    assert_eq!(dates(&schedule), ["2026-03-31", "2026-04-30", "2026-05-31"]);
    assert_eq!(schedule.plan.due_at, Some(at("2026-03-31T06:00:00Z")));
    // Those that were moved or split off keep their places between the dates.
    schedule.split(4 - 2, &[(day("2026-04-30"), 50), (day("2026-05-10"), 50)], moment).expect("split");
    schedule.change(1, Some(day("2026-04-02")), None, Spread::Last, moment).expect("moved");
    schedule.skip(1, moment).expect("skipped");
    assert_eq!(dates(&schedule), ["2026-05-02", "2026-05-31", "2026-06-30", "2026-06-10"]);
    assert_eq!(amounts(&schedule), [100, 50, 100, 50]);
    schedule.reschedule(day("2026-08-15"), moment).expect("rescheduled");
    assert_eq!(dates(&schedule), ["2026-08-15", "2026-09-15", "2026-10-15", "2026-09-25"]);
    schedule.skip(2, moment).expect("skipped");
    assert_eq!(dates(&schedule), ["2026-10-15", "2026-11-15", "2026-12-15", "2026-11-25"]);
    let before = schedule.clone();
    for refused in [schedule.reschedule(day("2026-01-09"), moment), schedule.skip(i64::MAX, moment), schedule.skip(-1, moment)] {
        assert!(matches!(refused, Err(Refused::Field { .. })), "{refused:?}");
    }
    assert_eq!(schedule, before);

    let parts = [(day("2026-02-01"), 50), (day("2026-02-11"), 20), (day("2026-03-01"), 30)];
    let mut explicit = InstallmentSchedule::new(plan(100, 0), &parts, at("2026-01-01T00:00:00Z"), &rules).expect("sound");
    assert!(matches!(explicit.skip(1, moment), Err(Refused::State(_))));
    explicit.reschedule(day("2026-06-01"), moment).expect("rescheduled");
    assert_eq!(dates(&explicit), ["2026-06-01", "2026-06-11", "2026-06-29"]);
    explicit.invoiced(&[1, 2, 3], InvoiceId::from_bits(1), false, moment.now);
    assert!(matches!(explicit.reschedule(day("2026-07-01"), moment), Err(Refused::State(_))), "nothing is to come");
}
