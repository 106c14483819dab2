//! Tables for bill dates: month ends, phases, stubs. An independent day-by-day walk checks the rest in `tests/it/domain`.

use super::*;

fn date(text: &str) -> NaiveDate {
    text.parse().expect("date")
}

fn schedule(frequency: &str, interval: u32, days: &str, start: &str) -> Schedule {
    let recurrence = Recurrence::new(frequency.parse().expect("frequency"), interval, Some(days)).expect("recurrence");
    Schedule::new(recurrence, date(start))
}

/// The first dates, as texts, along `next_slot`.
fn dates(schedule: &Schedule, count: usize) -> Vec<String> {
    let slots = std::iter::successors(Some(0), |&slot| schedule.next_slot(slot));
    slots.take(count).map(|slot| schedule.date(slot).expect("date").to_string()).collect()
}

fn check(frequency: &str, interval: u32, days: &str, expected: &[&str]) {
    let laid = schedule(frequency, interval, days, expected[0]);
    assert_eq!(dates(&laid, expected.len()), expected, "{frequency} every {interval} on {days:?}");
}

#[test]
fn a_month_end_charge_never_drifts_to_the_28th() {
    check("monthly", 1, "31", &["2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"]);
    check("monthly", 1, "0", &["2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"]);
    check("monthly", 1, "", &["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]);
    check("monthly", 1, "30", &["2023-01-30", "2023-02-28", "2023-03-30", "2023-04-30"]);
    check("monthly", 1, "30", &["2024-01-30", "2024-02-29", "2024-03-30"]);
    check("monthly", 1, "29", &["2023-01-29", "2023-02-28", "2023-03-29"]);
    check("monthly", 1, "29", &["2024-01-29", "2024-02-29", "2024-03-29"]);
    check("monthly", 1, "28", &["2024-01-28", "2024-02-28", "2024-03-28"]);
    check("monthly", 12, "29", &["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]);
}

#[test]
fn a_start_on_28_february_bills_on_the_28th() {
    check("monthly", 1, "", &["2023-02-28", "2023-03-28", "2023-04-28"]);
    check("monthly", 1, "31", &["2023-02-28", "2023-03-31", "2023-04-30"]);
    check("monthly", 1, "", &["2024-02-29", "2024-03-29", "2024-04-29", "2024-05-29"]);
    check("yearly", 1, "", &["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29", "2029-02-28"]);
    check("yearly", 1, "31", &["2023-02-28", "2024-02-29", "2025-02-28"]);
    check("yearly", 1, "30", &["2023-02-28", "2024-02-29"]);
    check("yearly", 1, "28", &["2023-02-28", "2024-02-28"]);
    check("yearly", 4, "29", &["2096-02-29", "2100-02-28", "2104-02-29"]);
}

#[test]
fn quarters_keep_their_day_over_short_months() {
    check("quarterly", 1, "31", &["2023-01-31", "2023-04-30", "2023-07-31", "2023-10-31", "2024-01-31"]);
    check("quarterly", 1, "", &["2022-11-30", "2023-02-28", "2023-05-30", "2023-08-30"]);
    check("quarterly", 1, "31", &["2023-11-30", "2024-02-29", "2024-05-31"]);
    check("quarterly", 1, "29", &["2022-11-29", "2023-02-28", "2023-05-29"]);
    check("quarterly", 1, "28", &["2023-11-28", "2024-02-28", "2024-05-28"]);
    check("quarterly", 2, "0", &["2023-08-31", "2024-02-29", "2024-08-31"]);
}

#[test]
fn the_phase_is_counted_from_the_starts_month() {
    // api.md's own example, and its neighbours on either side of the anchor.
    check("monthly", 3, "15", &["2017-11-21", "2018-02-15", "2018-05-15"]);
    check("quarterly", 1, "15", &["2017-11-21", "2018-02-15", "2018-05-15"]);
    check("monthly", 3, "15", &["2017-11-10", "2017-11-15", "2018-02-15"]);
    check("monthly", 3, "15", &["2017-11-15", "2018-02-15", "2018-05-15"]);
    check("monthly", 2, "31", &["2022-12-31", "2023-02-28", "2023-04-30", "2023-06-30", "2023-08-31"]);
    check("yearly", 1, "15", &["2017-11-21", "2018-11-15", "2019-11-15"]);
    check("yearly", 2, "15", &["2017-11-10", "2017-11-15", "2019-11-15"]);
    check("monthly", 1, "15", &["2017-11-21", "2017-12-15", "2018-01-15"]);
}

#[test]
fn two_days_a_month_that_clamp_to_one_are_one_charge() {
    check("twice_monthly", 1, "15,31", &["2023-01-31", "2023-02-15", "2023-02-28", "2023-03-15", "2023-03-31", "2023-04-15"]);
    check("twice_monthly", 1, "15,0", &["2023-01-31", "2023-02-15", "2023-02-28", "2023-03-15"]);
    check(
        "twice_monthly",
        1,
        "30,31",
        &["2023-01-30", "2023-01-31", "2023-02-28", "2023-03-30", "2023-03-31", "2023-04-30", "2023-05-30"],
    );
    check("twice_monthly", 1, "30,31", &["2023-02-28", "2023-03-30", "2023-03-31"]);
    check("twice_monthly", 1, "30,31", &["2023-02-14", "2023-02-28", "2023-03-30"]);
    check("twice_monthly", 1, "29,30", &["2023-01-30", "2023-02-28", "2023-03-29", "2023-03-30"]);
    check("twice_monthly", 1, "29,30", &["2024-01-30", "2024-02-29", "2024-03-29", "2024-03-30"]);
    check("twice_monthly", 1, "28,29", &["2023-01-29", "2023-02-28", "2023-03-28", "2023-03-29"]);
    check("twice_monthly", 1, "28,29", &["2024-01-29", "2024-02-28", "2024-02-29", "2024-03-28"]);
    check("twice_monthly", 1, "1,15", &["2017-11-20", "2017-12-01", "2017-12-15", "2018-01-01"]);
    check("twice_monthly", 2, "1,15", &["2017-11-20", "2018-01-01", "2018-01-15", "2018-03-01"]);
    check("twice_monthly", 2, "30,31", &["2022-12-31", "2023-02-28", "2023-04-30", "2023-06-30", "2023-08-30", "2023-08-31"]);
}

#[test]
fn a_charge_clamped_together_has_one_slot_only() {
    let laid = schedule("twice_monthly", 1, "30,31", "2023-01-31");
    assert_eq!((laid.date(1), laid.date(2)), (Some(date("2023-02-28")), Some(date("2023-02-28"))));
    assert_eq!((laid.next_slot(0), laid.next_slot(1), laid.next_slot(2)), (Some(1), Some(3), Some(3)));
    assert_eq!(laid.slot_on_or_after(date("2023-02-28")), Some(1));
    assert_eq!(laid.period(1), Some((date("2023-02-28"), date("2023-03-30"))));
}

#[test]
fn days_left_out_are_half_a_month_apart() {
    check("twice_monthly", 1, "", &["2023-01-01", "2023-01-16", "2023-02-01"]);
    check("twice_monthly", 1, "", &["2023-01-15", "2023-01-30", "2023-02-15", "2023-02-28", "2023-03-15"]);
    check("twice_monthly", 1, "", &["2023-01-16", "2023-02-01", "2023-02-16"]);
    check("twice_monthly", 1, "", &["2023-01-31", "2023-02-16", "2023-02-28", "2023-03-16", "2023-03-31"]);
}

#[test]
fn weeks_are_counted_from_the_starts_iso_week() {
    // 21 November 2017 is a Tuesday.
    check("weekly", 1, "", &["2017-11-21", "2017-11-28", "2017-12-05"]);
    check("weekly", 1, "1", &["2017-11-21", "2017-11-27", "2017-12-04"]);
    check("weekly", 1, "1,4", &["2017-11-21", "2017-11-23", "2017-11-27", "2017-11-30"]);
    check("weekly", 2, "1,4", &["2017-11-21", "2017-11-23", "2017-12-04", "2017-12-07", "2017-12-18"]);
    check("weekly", 2, "1", &["2017-11-21", "2017-12-04", "2017-12-18"]);
    check("weekly", 2, "7", &["2017-11-26", "2017-12-10", "2017-12-24"]);
    check("weekly", 2, "7", &["2017-11-27", "2017-12-03", "2017-12-17"]);
    check("weekly", 1, "1,2,3,4,5", &["2026-01-01", "2026-01-02", "2026-01-05"]);
}

#[test]
fn daily_intervals_multiply_the_days() {
    check("daily", 2, "7", &["2017-11-21", "2017-12-05", "2017-12-19"]);
    check("daily", 1, "7", &["2017-11-21", "2017-11-28"]);
    check("daily", 1, "", &["2024-02-28", "2024-02-29", "2024-03-01"]);
    check("daily", 30, "", &["2023-01-31", "2023-03-02"]);
}

#[test]
fn one_time_is_one_day_and_then_nothing() {
    let once = schedule("ONE-TIME", 1, "", "2026-05-31");
    assert_eq!((once.date(0), once.date(1), once.next_slot(0)), (Some(date("2026-05-31")), None, None));
    assert_eq!(once.period(0), Some((date("2026-05-31"), date("2026-06-01"))));
    assert_eq!(once.nominal_first_period(), once.period(0));
    assert_eq!((once.slot_on_or_after(date("2026-05-31")), once.slot_on_or_after(date("2026-06-01"))), (Some(0), None));
    assert!(once.starts_on_anchor());
}

#[test]
fn a_stub_is_measured_against_the_period_it_lies_in() {
    for (frequency, interval, days, start, nominal) in [
        ("monthly", 1, "31", "2023-02-14", ("2023-01-31", "2023-02-28")),
        ("monthly", 3, "15", "2017-11-21", ("2017-11-15", "2018-02-15")),
        ("monthly", 3, "15", "2017-11-10", ("2017-08-15", "2017-11-15")),
        ("quarterly", 1, "31", "2023-02-28", ("2023-02-28", "2023-05-31")),
        ("yearly", 1, "1", "2023-02-14", ("2023-02-01", "2024-02-01")),
        ("yearly", 1, "20", "2023-02-14", ("2022-02-20", "2023-02-20")),
        ("twice_monthly", 1, "30,31", "2023-02-14", ("2023-01-31", "2023-02-28")),
        ("twice_monthly", 1, "30,31", "2023-02-28", ("2023-02-28", "2023-03-30")),
        ("twice_monthly", 1, "1,15", "2017-11-20", ("2017-11-15", "2017-12-01")),
        ("weekly", 2, "1", "2017-11-21", ("2017-11-20", "2017-12-04")),
        ("weekly", 2, "4", "2017-11-21", ("2017-11-09", "2017-11-23")),
        ("daily", 2, "7", "2017-11-21", ("2017-11-21", "2017-12-05")),
    ] {
        let laid = schedule(frequency, interval, days, start);
        let expected = Some((date(nominal.0), date(nominal.1)));
        assert_eq!(laid.nominal_first_period(), expected, "{frequency} {interval} {days} {start}");
        assert_eq!(laid.starts_on_anchor(), nominal.0 == start, "{frequency} {interval} {days} {start}");
    }
}

#[test]
fn the_year_9999_ends_a_schedule_quietly() {
    for (frequency, days) in
        [("daily", "1"), ("weekly", "5"), ("twice_monthly", "1,15"), ("monthly", "31"), ("quarterly", "31"), ("yearly", "31")]
    {
        let laid = schedule(frequency, 1, days, "2026-01-30");
        let last = laid.slot_on_or_after(date("9999-01-01")).map_or(0, |slot| slot.max(1));
        assert!(last > 0, "{frequency}");
        assert_eq!((laid.date(u64::MAX), laid.next_slot(u64::MAX), laid.period(u64::MAX)), (None, None, None));
        assert_eq!((laid.date(i64::MAX as u64), laid.date(MAX_SLOTS - 1)), (None, None));
        assert_eq!(laid.slot_on_or_after(NaiveDate::MAX), None, "{frequency}");
        let end = std::iter::successors(Some(last), |&slot| laid.next_slot(slot)).last().expect("a last slot");
        assert_eq!(laid.date(end).expect("date").year(), 9999, "{frequency}");
        assert_eq!((laid.next_slot(end), laid.period(end)), (None, None));
    }
    for start in [NaiveDate::MIN, NaiveDate::MAX] {
        for frequency in Frequency::ALL {
            let laid = Schedule::new(Recurrence::new(frequency, MAX_INTERVAL, None).expect("recurrence"), start);
            let _ = (laid.period(0), laid.period(1), laid.nominal_first_period(), laid.slot_on_or_after(NaiveDate::MAX));
        }
    }
}

/// That they cost no more than near ones is measured in `tests/it/domain/cost.rs`.
#[test]
fn slots_far_away_are_where_they_should_be() {
    let laid = schedule("daily", 1, "1", "0001-01-01");
    assert_eq!(laid.date(3_000_000), Some(date("8214-09-22")));
    assert_eq!(laid.slot_on_or_after(date("8214-09-22")), Some(3_000_000));
    for (frequency, n, expected) in [
        ("daily", 10_000, "2051-06-18"),
        ("weekly", 10_000, "2215-09-27"),
        ("twice_monthly", 10_000, "2440-09-30"),
        ("monthly", 10_000, "2857-05-31"),
        ("quarterly", 10_000, "4524-01-31"),
        ("yearly", 7_900, "9924-01-31"),
    ] {
        let days = if frequency == "twice_monthly" { "15,31" } else { "" };
        let laid = schedule(frequency, 1, days, "2024-01-31");
        assert_eq!(laid.date(n), Some(date(expected)), "{frequency}");
        assert_eq!(laid.slot_on_or_after(date(expected)), Some(n), "{frequency}");
    }
}

#[test]
fn bad_days_are_refused_with_the_field_named() {
    let bad = |frequency: &str, days: &str| {
        let refused = Recurrence::new(frequency.parse().expect("frequency"), 1, Some(days)).expect_err(days);
        assert_eq!(refused.field, "billing_days", "{frequency} {days}");
        assert!(refused.message.starts_with("must be "), "{}", refused.message);
    };
    for (frequencies, days) in [
        (
            &["monthly", "quarterly", "yearly"][..],
            &["x", "-1", "32", "1,15", "1.5", "31,", ",", "+1", "٣", "99999999999999999999", "1 5"][..],
        ),
        (&["twice_monthly"], &["15", "15,1", "15,15", "0,15", "31,0", "1,32", "1,2,3", "1,", "a,b"]),
        (&["weekly"], &["0", "8", "4,1", "1,1", "mon", "1;4"]),
        (&["daily"], &["0", "1001", "1,2", "-7"]),
        (&["one_time"], &["1", "0", "31"]),
    ] {
        for frequency in frequencies {
            for days in days {
                bad(frequency, days);
            }
        }
    }
    for interval in [0, MAX_INTERVAL + 1, u32::MAX] {
        let refused = Recurrence::new(Frequency::Monthly, interval, None).expect_err("interval");
        assert_eq!((refused.field, refused.message.as_str()), ("billing_cycle_interval", "must be from 1 to 1000"));
    }
}

#[test]
fn the_seeds_string_form_is_kept() {
    let kept = |frequency, days| Recurrence::new(frequency, 1, days).expect("recurrence").billing_days().map(str::to_owned);
    assert_eq!(kept(Frequency::Monthly, Some("0")).as_deref(), Some("0"));
    assert_eq!(kept(Frequency::TwiceMonthly, Some(" 1, 15 ")).as_deref(), Some("1, 15"));
    assert_eq!(kept(Frequency::Weekly, Some("1,4")).as_deref(), Some("1,4"));
    assert_eq!(
        [kept(Frequency::Monthly, Some("")), kept(Frequency::OneTime, Some(" ")), kept(Frequency::Daily, None)],
        [None, None, None]
    );
}

#[test]
fn every_spelling_of_a_frequency_is_read_and_one_is_written() {
    for (text, frequency) in [
        ("ONE-TIME", Frequency::OneTime),
        ("one_time", Frequency::OneTime),
        ("Daily", Frequency::Daily),
        ("WEEKLY", Frequency::Weekly),
        ("twice_monthly", Frequency::TwiceMonthly),
        ("MONTHLY", Frequency::Monthly),
        ("QUARTERLY", Frequency::Quarterly),
        ("YEARLY", Frequency::Yearly),
    ] {
        assert_eq!(text.parse(), Ok(frequency));
        assert_eq!(serde_json::from_value::<Frequency>(text.into()).expect("frequency"), frequency);
        assert_eq!(serde_json::to_value(frequency).expect("json"), frequency.to_string());
    }
    for bad in ["", "hourly", "month", "one time", " monthly"] {
        assert_eq!(bad.parse::<Frequency>(), Err(BadFrequency), "{bad}");
    }
}
