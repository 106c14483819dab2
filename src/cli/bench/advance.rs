//! `bench advance`: how fast a test clock goes through years of billing, with the pretend gateway behind HTTP and without.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use chrono::Months;
use serde_json::Value;

use super::{
    Advance,
    database::{BenchDatabase, GATEWAY, gateway},
    figures::{Report, per_second},
    population::{self, Due},
    processes::Process,
};
use crate::{
    billing::{
        App,
        bench::{self, BenchRows},
        test_clocks::{
            advance as steps,
            create::{self, Goal},
        },
    },
    domain::{clock::Timeline, event::Actor},
    jobs::advance,
    sandbox::Latency,
    store,
};

const CHUNK: usize = 500;

struct AdvanceRun {
    renewals: usize,
    took: Duration,
}

pub async fn measure(asked: &Advance) -> anyhow::Result<Report> {
    let mut database = BenchDatabase::prepare(asked.shared.database.as_deref()).await?;
    let sandbox = Process::sandbox(Latency::default(), asked.subscriptions).await?;
    database.config.gateways = [(GATEWAY.to_owned(), gateway(sandbox.url(), asked.in_flight))].into();
    let due = Due::before(crate::clock::Clock::System.now(), Timeline::Wall, asked.subscriptions)?;
    database.config.billing.bill_at = due.at.time();
    let mut app = Arc::new(database.open().await?);
    let with_http = advance(asked, &app).await?;
    bench::without_http(Arc::get_mut(&mut app).context("the app is still in use")?, GATEWAY);
    let without = advance(asked, &app).await?;
    app.db.close().await;
    sandbox.kill().await?;

    let years = asked.subscriptions as usize * asked.years as usize;
    let mut report = Report::default();
    report.add("database", database.kind, "with its full durability");
    report.add("subscriptions", asked.subscriptions, "of mixed frequencies, on one clock");
    report.add("years", asked.years, "of simulated time");
    report.add("renewals", without.renewals, "in them");
    report.figure("renewals_per_s", per_second(without.renewals, without.took), "without HTTP");
    report.figure("subscription_years_per_s", per_second(years, without.took), "");
    report.figure("http_renewals_per_s", per_second(with_http.renewals, with_http.took), "with the sandbox behind HTTP");
    report.figure("http_subscription_years_per_s", per_second(years, with_http.took), "");
    Ok(report)
}

/// Stores new subscriptions on a new clock, then advances the clock by the years.
async fn advance(asked: &Advance, app: &Arc<App>) -> anyhow::Result<AdvanceRun> {
    let wall = Due::before(app.clock.now(), Timeline::Wall, asked.subscriptions)?;
    let clock = create::create(app, &Actor::System, "bench", wall.at).await?;
    let timeline = Timeline::Test(clock.id);
    let due = Due { timeline, ..wall };
    let mut rows = BenchRows::default();
    for number in 0..asked.subscriptions {
        // Spread evenly over four weeks.
        population::add(&mut rows, app, &due, number, 1 + number % 28, 0)?;
        if rows.subscriptions.len() == CHUNK {
            bench::write(&app.db, &std::mem::take(&mut rows)).await?;
        }
    }
    bench::write(&app.db, &rows).await?;
    app.db.run_maintenance().await?;
    let target = due.at.checked_add_months(Months::new(12 * asked.years)).context("years to come")?;
    create::start_advance(app, &Actor::System, clock.id, Goal::To(target)).await?;
    let begun = Instant::now();
    for claimed in steps::claim(app).await? {
        let id = claimed.id;
        tokio::select! {
            done = advance::advance(app, claimed) => done?,
            () = steps::keep(app, id) => {}
        }
    }
    let took = begun.elapsed();
    let arrived = store::clocks::get(&app.db, clock.id).await?.context("the clock")?;
    ensure!(arrived.now_at == target, "the clock stopped at {} before {target}", arrived.now_at);
    let renewals = arrived.counts.get("payments").and_then(Value::as_u64).map(usize::try_from).transpose()?.unwrap_or(0);
    Ok(AdvanceRun { renewals, took })
}
