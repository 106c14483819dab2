//! A defaulted plan that goes on owes what it owed, whatever becomes of its arrears.

use super::*;

/// 90.00 in six from 1 February, the first three of which failed, on 10 April.
fn defaulted() -> InstallmentSchedule {
    let mut schedule = monthly(9000, 0, 6);
    for (i, number) in (1..=3_u32).enumerate() {
        let now = schedule.installments[i].due_at;
        schedule.invoiced(&[i64::from(number)], InvoiceId::from_bits(u128::from(number)), false, now);
        schedule.installments[i].status = InstallmentStatus::Failed;
        schedule.plan.fail(now);
    }
    assert_eq!((schedule.plan.status, schedule.plan.due_at), (InstallmentPlanStatus::Defaulted, None));
    schedule
}

#[test]
fn a_restored_plan_owes_what_it_owed() {
    let rules = rules();
    let moment = Moment { now: at("2026-04-10T00:00:00Z"), rules: &rules };
    let failed = ["1 2026-02-01 1500 failed", "2 2026-03-01 1500 failed", "3 2026-04-01 1500 failed"];
    let moved = ["1 2026-02-01 1500 moved", "2 2026-03-01 1500 moved", "3 2026-04-01 1500 moved"];
    let to_come = ["4 2026-05-01 1500 scheduled", "5 2026-06-01 1500 scheduled", "6 2026-07-01 1500 scheduled"];
    for (arrears, expected) in [
        (Arrears::Collect, [failed, to_come].concat()),
        (
            Arrears::Spread,
            [moved, ["4 2026-05-01 3000 scheduled", "5 2026-06-01 3000 scheduled", "6 2026-07-01 3000 scheduled"]].concat(),
        ),
        (
            Arrears::End,
            [moved, to_come, ["7 2026-08-01 1500 scheduled", "8 2026-09-01 1500 scheduled", "9 2026-10-01 1500 scheduled"]]
                .concat(),
        ),
    ] {
        let mut schedule = defaulted();
        schedule.restore(arrears, moment).expect("restored");
        assert_eq!(lines(&schedule), expected, "{arrears}");
        let plan = &schedule.plan;
        assert_eq!((plan.status, plan.failed_in_a_row, plan.ended_at), (InstallmentPlanStatus::Open, 0, None));
        assert_eq!((plan.due_at, schedule.check()), (Some(at("2026-05-01T06:00:00Z")), Ok(())));
        assert!(matches!(schedule.restore(arrears, moment), Err(Refused::State(_))), "only what is defaulted");
    }
}

#[test]
fn what_fell_due_while_a_plan_stood_still_is_in_arrears_too() {
    let rules = rules();
    let moment = Moment { now: at("2026-06-10T00:00:00Z"), rules: &rules };
    let mut end = defaulted();
    end.restore(Arrears::End, moment).expect("restored");
    // The first two were never invoiced and keep their numbers; the order of the dates is the order in which they were owed.
    assert_eq!(
        lines(&end)[3..],
        [
            "4 2026-11-01 1500 scheduled",
            "5 2026-12-01 1500 scheduled",
            "6 2026-07-01 1500 scheduled",
            "7 2026-08-01 1500 scheduled",
            "8 2026-09-01 1500 scheduled",
            "9 2026-10-01 1500 scheduled",
        ]
    );
    let mut spread = defaulted();
    spread.restore(Arrears::Spread, moment).expect("restored");
    assert_eq!(lines(&spread)[3..], ["4 2026-05-01 1500 moved", "5 2026-06-01 1500 moved", "6 2026-07-01 9000 scheduled"]);
    let late = Moment { now: at("2026-07-01T06:00:00Z"), rules: &rules };
    let mut none = defaulted();
    assert!(matches!(none.restore(Arrears::Spread, late), Err(Refused::Field { field, .. }) if field == "arrears"));
    assert_eq!(none, defaulted(), "a refusal changes nothing");
    none.restore(Arrears::Collect, late).expect("restored");
    assert_eq!(none.due(late.now), [4, 5, 6]);
}

#[test]
fn too_little_to_spread_goes_to_the_last_and_explicit_dates_go_on_monthly() {
    let rules = rules();
    let moment = Moment { now: at("2026-02-10T00:00:00Z"), rules: &rules };
    let made = || {
        let parts = [(day("2026-02-01"), 2), (day("2026-03-20"), 10), (day("2026-03-31"), 20), (day("2026-04-10"), 30)];
        let mut schedule = InstallmentSchedule::new(plan(62, 0), &parts, at("2026-01-01T00:00:00Z"), &rules).expect("sound");
        schedule.invoiced(&[1], InvoiceId::from_bits(1), false, moment.now);
        schedule.installments[0].status = InstallmentStatus::Failed;
        schedule.plan.end(InstallmentPlanStatus::Defaulted, moment.now);
        schedule
    };
    let mut spread = made();
    spread.restore(Arrears::Spread, moment).expect("restored");
    assert_eq!(amounts(&spread), [2, 10, 20, 32]);
    let mut end = made();
    end.restore(Arrears::End, moment).expect("restored");
    assert_eq!(lines(&end)[4], "5 2026-05-10 2 scheduled");
}
