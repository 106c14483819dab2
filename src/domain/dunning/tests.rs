//! Tables of dunning_rules: when each step stands, what falls through to another method, how policies are refused.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("instant")
}

fn six() -> NaiveTime {
    NaiveTime::from_hms_opt(6, 0, 0).expect("time")
}

fn step(after_days: u32, hour: Option<&str>, next_method: bool) -> Step {
    Step { after_days, at: hour.map(|hour| hour.parse().expect("hour")), channels: vec![], next_method }
}

fn failed(class: DeclineClass, count: i64, first: &str, now: &str) -> Failure {
    let zone = "Europe/Berlin".parse().expect("zone");
    Failure { class, count, first_failed_at: at(first), now: at(now), zone, another_method: true }
}

fn retry(text: &str) -> Next {
    Next::RetryAt { at: at(text), next_method: false }
}

#[test]
fn retries_stand_at_days_after_the_first_failure_in_local_time() {
    let dunning_rules = DunningRules::of_days(&[1, 3, 5, 7], FinalAction::Cancel);
    let first = "2026-10-23T04:00:00Z";
    let next = |class, count| dunning_rules.after(&failed(class, count, first, first), six());
    // Summer time ends on 25 October: local six o'clock moves from 04:00 to 05:00 UTC.
    assert_eq!(next(DeclineClass::Soft, 1), retry("2026-10-24T04:00:00Z"));
    assert_eq!(next(DeclineClass::Soft, 2), retry("2026-10-26T05:00:00Z"));
    assert_eq!(next(DeclineClass::Soft, 4), retry("2026-10-30T05:00:00Z"));
    assert_eq!(next(DeclineClass::Soft, 5), Next::GiveUp);
    assert_eq!(next(DeclineClass::Hard, 1), Next::GiveUpAt(at("2026-10-30T05:00:00Z")));
    assert_eq!(next(DeclineClass::StopRecurring, 1), Next::Stop);
}

#[test]
fn each_step_has_its_own_hour() {
    let steps = vec![step(0, Some("18:30"), false), step(1, None, false), step(1, Some("20:00"), false)];
    let dunning_rules = DunningRules { steps, ..DunningRules::of_days(&[], FinalAction::Cancel) };
    let first = "2026-01-10T05:00:00Z";
    let next = |count, now| dunning_rules.after(&failed(DeclineClass::Soft, count, first, now), six());
    assert_eq!(next(1, first), retry("2026-01-10T17:30:00Z"));
    assert_eq!(next(1, "2026-01-10T17:30:00Z"), retry("2026-01-11T17:30:00Z"), "that hour has passed");
    assert_eq!(next(2, "2026-01-10T17:30:00Z"), retry("2026-01-11T05:00:00Z"));
    assert_eq!(next(3, "2026-01-11T05:00:00Z"), retry("2026-01-11T19:00:00Z"));
}

#[test]
fn a_ladder_that_is_late_goes_on_a_day_at_a_time() {
    let dunning_rules = DunningRules::of_days(&[1, 3, 5, 7], FinalAction::Cancel);
    let late = failed(DeclineClass::Soft, 2, "2026-01-10T05:00:00Z", "2026-02-20T11:22:33Z");
    assert_eq!(dunning_rules.after(&late, six()), retry("2026-02-21T05:00:00Z"));
}

#[test]
fn a_method_that_will_not_pay_falls_through_at_once_where_a_step_ahead_says_so() {
    let of_steps = |steps| DunningRules { steps, ..DunningRules::of_days(&[], FinalAction::Cancel) };
    let first = "2026-01-10T05:00:00Z";
    let hard = |count, another_method| Failure { another_method, ..failed(DeclineClass::Hard, count, first, first) };
    let through = of_steps(vec![step(1, None, false), step(3, None, true), step(5, None, false)]);
    assert_eq!(through.after(&hard(1, true), six()), Next::RetryAt { at: at(first), next_method: true });
    assert_eq!(through.after(&hard(1, false), six()), Next::GiveUpAt(at("2026-01-15T05:00:00Z")), "none is left");
    assert_eq!(through.after(&hard(3, true), six()), Next::GiveUpAt(at("2026-01-15T05:00:00Z")), "that step is behind");
    let soft = |count, another_method| Failure { another_method, ..failed(DeclineClass::Soft, count, first, first) };
    assert_eq!(through.after(&soft(2, true), six()), Next::RetryAt { at: at("2026-01-13T05:00:00Z"), next_method: true });
    assert_eq!(through.after(&soft(2, false), six()), retry("2026-01-13T05:00:00Z"));
}

#[test]
fn what_is_written_for_a_class_holds_for_it_alone() {
    let own = Override { steps: vec![step(0, None, true), step(2, None, false)], final_action: Some(FinalAction::Pause) };
    let by_class = ByClass { hard: Some(own), ..ByClass::default() };
    let dunning_rules = DunningRules { by_class, ..DunningRules::of_days(&[1], FinalAction::Cancel) };
    let now = "2026-01-10T05:00:00Z";
    let next = |class, count| dunning_rules.after(&failed(class, count, now, now), six());
    assert_eq!(next(DeclineClass::Hard, 1), Next::RetryAt { at: at(now), next_method: true });
    assert_eq!(next(DeclineClass::Hard, 2), retry("2026-01-12T05:00:00Z"));
    assert_eq!(next(DeclineClass::Hard, 3), Next::GiveUp);
    assert_eq!(next(DeclineClass::Soft, 1), retry("2026-01-11T05:00:00Z"));
    assert_eq!(next(DeclineClass::NewCardNeeded, 1), Next::GiveUpAt(at("2026-01-11T05:00:00Z")));
    assert_eq!(dunning_rules.ladder(Some(DeclineClass::Hard)).final_action, Some(FinalAction::Pause));
    assert_eq!(dunning_rules.ladder(Some(DeclineClass::Soft)).final_action, Some(FinalAction::Cancel));
    assert_eq!(dunning_rules.ladder(Some(DeclineClass::TryLater)).final_action, None, "an operator decides");
}

#[test]
fn every_fault_of_a_policy_is_named() {
    let twice = Step { channels: vec![Channel::Email, Channel::Sms, Channel::Email], ..step(9, None, false) };
    let hard = Override { steps: vec![step(0, Some("01:00"), false), step(0, None, false)], final_action: None };
    let dunning_rules = DunningRules {
        steps: vec![step(3, None, false), step(3, Some("06:00"), false), step(2, None, false), step(400, None, false), twice],
        by_class: ByClass { hard: Some(hard), ..ByClass::default() },
        final_action: FinalAction::Cancel,
    };
    let named: Vec<String> = dunning_rules.faults(six()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        named,
        [
            "steps[1].after_days",
            "steps[2].after_days",
            "steps[3].after_days",
            "steps[4].after_days",
            "steps[4].channels[2]",
            "by_class.hard.steps[1].after_days",
        ]
    );
    let long = DunningRules {
        steps: (0..=30).map(|day| step(day, None, false)).collect(),
        ..DunningRules::of_days(&[], FinalAction::Cancel)
    };
    assert_eq!(long.faults(six()).len(), 1);
    let fine = [step(0, None, false), step(0, Some("05:00"), false), step(1, None, false), step(1, Some("06:01"), true)];
    assert!(DunningRules { steps: fine.to_vec(), ..DunningRules::of_days(&[], FinalAction::Cancel) }.faults(six()).is_empty());
}

#[test]
fn hours_are_two_digits_each() {
    for bad in ["6:00", "24:00", "06:60", "06:00:00", "", "six", "06.00"] {
        assert!(bad.parse::<LocalTime>().is_err(), "{bad}");
    }
    assert_eq!("06:05".parse::<LocalTime>().expect("hour").to_string(), "06:05");
}
