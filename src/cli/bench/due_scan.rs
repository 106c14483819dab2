//! `bench due-scan`: what the number of subscriptions costs a daemon that looks for work.

#![expect(clippy::float_arithmetic, reason = "measured times; no money")]

use std::{sync::Arc, time::Instant};

use anyhow::ensure;

use super::{
    DueScan,
    database::BenchDatabase,
    figures::{Report, median, percentile},
    population::{self, Due},
};
use crate::{
    billing::{
        App,
        bench::{self, BenchRows},
    },
    domain::clock::Timeline,
    jobs::{JOBS, JobSchedule},
};

/// How many due subscriptions a scan looks for, as the bill run does.
const NEXT: u32 = 500;
const SCANS: usize = 101;
const TICKS: usize = 51;
const CHUNK: u32 = 2000;
/// The number of stored subscriptions that a tick among all of them is compared with.
const FEW: u32 = 10_000;

pub async fn measure(asked: &DueScan) -> anyhow::Result<Report> {
    let database = BenchDatabase::prepare(asked.shared.database.as_deref()).await?;
    let app = Arc::new(database.open().await?);
    let measured = scan(asked, &database, &app).await;
    app.db.close().await;
    measured
}

async fn scan(asked: &DueScan, database: &BenchDatabase, app: &Arc<App>) -> anyhow::Result<Report> {
    let due = Due::before(app.clock.now(), Timeline::Wall, asked.stored + NEXT)?;
    let few = asked.stored.min(FEW);
    load(app, &due, 0, few, |number| 1 + number % 28).await?;
    app.db.run_maintenance().await?;
    let tick_few = median(&idle_ticks(app).await?);
    load(app, &due, few, asked.stored - few, |number| 1 + number % 28).await?;
    app.db.run_maintenance().await?;
    let ticks = idle_ticks(app).await?;
    load(app, &due, asked.stored, NEXT, |_| 0).await?;
    app.db.run_maintenance().await?;
    let mut scans = Vec::new();
    for _ in 0..SCANS {
        let begun = Instant::now();
        let found = bench::next_due(app, app.clock.now(), NEXT.into()).await?;
        scans.push(begun.elapsed().as_secs_f64() * 1000.0);
        ensure!(found == NEXT as usize, "{found} were found instead of {NEXT}");
    }
    let mut report = Report::default();
    report.add("database", database.kind, "");
    report.add("stored", asked.stored, "subscriptions that are not due");
    report.add("found", NEXT, "due, found and locked together");
    report.figure("median_ms", median(&scans), "to find them");
    report.figure("p99_ms", percentile(&scans, 99), "");
    report.figure("idle_tick_ms", median(&ticks), "for all jobs of a tick to find nothing due");
    report.figure("idle_tick_few_ms", tick_few, "the same among 10,000 at most");
    report.figure("idle_tick_ratio", median(&ticks) / tick_few.max(1e-9), "of these two");
    Ok(report)
}

async fn load(app: &App, due: &Due, from: u32, count: u32, in_days: impl Fn(u32) -> u32) -> anyhow::Result<()> {
    let mut rows = BenchRows::default();
    for number in from..from + count {
        population::add(&mut rows, app, due, number, in_days(number), 0)?;
        if rows.subscriptions.len() == CHUNK as usize {
            bench::write(&app.db, &std::mem::take(&mut rows)).await?;
        }
    }
    bench::write(&app.db, &rows).await?;
    Ok(())
}

/// Milliseconds of ticks that find nothing: every job that runs at each tick, and the claim of test clocks.
async fn idle_ticks(app: &Arc<App>) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..TICKS {
        let begun = Instant::now();
        for job in JOBS.iter().filter(|job| job.schedule == JobSchedule::EveryTick) {
            job.run_due(app, Timeline::Wall, app.clock.now()).await?;
        }
        crate::billing::test_clocks::advance::claim(app).await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}
