//! `bench schedule`: how many nth dates of a schedule one core computes per second.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::NaiveDate;

use super::figures::{Report, per_second};
use crate::domain::frequency::{Frequency, Recurrence, Schedule};

const FREQUENCIES: [(Frequency, &str); 6] = [
    (Frequency::Daily, "daily_per_s"),
    (Frequency::Weekly, "weekly_per_s"),
    (Frequency::TwiceMonthly, "twice_monthly_per_s"),
    (Frequency::Monthly, "monthly_per_s"),
    (Frequency::Quarterly, "quarterly_per_s"),
    (Frequency::Yearly, "yearly_per_s"),
];
const FOR_EACH: Duration = Duration::from_millis(150);
/// How many dates of a schedule are computed before it starts again: 83 years of months.
const SLOTS: u32 = 1000;

pub fn measure() -> anyhow::Result<Report> {
    let start = NaiveDate::from_ymd_opt(2026, 1, 31).context("a date")?;
    let (mut dates, mut took) = (0, Duration::ZERO);
    let mut each = Vec::new();
    for (frequency, key) in FREQUENCIES {
        let schedule = Schedule::new(Recurrence::new(frequency, 1, None)?, start);
        let (begun, mut count) = (Instant::now(), 0);
        while begun.elapsed() < FOR_EACH {
            for slot in 0..u64::from(SLOTS) {
                black_box(schedule.date(black_box(slot)));
            }
            count += SLOTS as usize;
        }
        let elapsed = begun.elapsed();
        each.push((key, per_second(count, elapsed)));
        dates += count;
        took += elapsed;
    }
    let mut report = Report::default();
    report.figure("dates_per_s", per_second(dates, took), "nth dates a second on one core, all frequencies");
    for (key, rate) in each {
        report.figure(key, rate, "");
    }
    Ok(report)
}
