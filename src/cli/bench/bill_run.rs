//! `bench`: the bill run of a real daemon, in rounds. Each round also measures the bare calls and the bare rows of a bill run.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and ratios of measured times; no money"
)]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    BillRun,
    bare::{self, Marker, Written},
    database::{BenchDatabase, gateway},
    figures::{Report, efficiency, median, per_second, percentile},
    population::{self, Due},
    processes::{Effort, Process},
};
use crate::{
    billing::{
        App,
        bench::{self, BenchRows},
    },
    domain::{clock::Timeline, id::SubscriptionId, subscription::Subscription},
};

/// Rows of one kind in one commit while loading.
const CHUNK: u32 = 1000;
/// The number of stored subscriptions that a larger number is compared with.
const FEW: u32 = 10_000;
/// For how long due instants are spread when lateness is measured.
const STEADY: Duration = Duration::from_secs(10);

pub async fn measure(asked: &BillRun) -> anyhow::Result<Report> {
    let database = BenchDatabase::prepare(asked.shared.database.as_deref()).await?;
    let app = database.open().await?;
    let measured = Bench { asked, database: &database, app: &app, loaded: 0, load_time: Duration::ZERO }.run().await;
    app.db.close().await;
    measured
}

struct Bench<'a> {
    asked: &'a BillRun,
    database: &'a BenchDatabase,
    app: &'a App,
    /// How many subscriptions were stored so far; their numbers are below this one.
    loaded: u32,
    /// How long storing one subscription takes on this machine.
    load_time: Duration,
}

/// One bill run of everything due at one instant.
struct Burst {
    renewals_per_s: f64,
    /// Whether our payments and the gateway's ledger agree.
    agrees: bool,
    effort: Effort,
}

struct Round {
    burst: Burst,
    bare_http_per_s: f64,
    bare_db_per_s: f64,
}

impl Bench<'_> {
    async fn run(mut self) -> anyhow::Result<Report> {
        let asked = self.asked;
        let mut few = Vec::new();
        if asked.stored > FEW {
            self.load_others(FEW).await?;
            for _ in 0..asked.rounds {
                few.push(self.burst(0).await?.0.renewals_per_s);
            }
        }
        self.load_others(if asked.stored > FEW { asked.stored - FEW } else { asked.stored }).await?;
        let (mut rounds, mut aged) = (Vec::new(), Vec::new());
        for number in 1..=asked.rounds {
            rounds.push(self.round().await?);
            if asked.history > 0 {
                aged.push(self.burst(asked.history).await?.0.renewals_per_s);
            }
            eprintln!("round {number} of {} done", asked.rounds);
        }
        let rate = median_of(&rounds, |round| round.burst.renewals_per_s);
        let (steady_per_s, lateness) = self.steady(rate / 2.0).await?;
        let mut report = self.report(&rounds, &lateness, steady_per_s);
        if !few.is_empty() {
            report.figure("stored_ratio", median(&few) / rate, "time for each with all stored over that with 10,000 stored");
        }
        if !aged.is_empty() {
            report.figure("history_ratio", rate / median(&aged), "time for each after that history over the first cycle");
        }
        Ok(report)
    }

    fn report(&self, rounds: &[Round], lateness: &[f64], steady_per_s: f64) -> Report {
        let asked = self.asked;
        let count = f64::from(asked.subscriptions);
        let each = |of: fn(&Effort) -> u64| median_of(rounds, |round| of(&round.burst.effort) as f64) / count;
        let mut report = Report::default();
        report.add("database", self.database.kind, "with its full durability");
        report.add("subscriptions", asked.subscriptions, "due at one instant, in each round");
        report.add("stored", asked.stored, "others, not due");
        report.add("history", asked.history, "cycles billed before, where that is compared");
        report.add("rounds", asked.rounds, "the figures are their medians");
        report.figure("latency_ms", asked.latency.mean().as_secs_f64() * 1000.0, "of the gateway, in the mean");
        report.add("in_flight", asked.in_flight, "gateway calls at a time");
        report.figure("renewals_per_s", median_of(rounds, |round| round.burst.renewals_per_s), "billed and recorded");
        report.figure("bare_http_per_s", median_of(rounds, |round| round.bare_http_per_s), "the same calls with nothing else");
        report.figure(
            "bare_db_per_s",
            median_of(rounds, |round| round.bare_db_per_s),
            "the same rows, each once, 500 sets to a commit",
        );
        report.figure(
            "efficiency",
            median_of(rounds, Round::efficiency),
            "time of one call and one row set over time of one renewal",
        );
        report.figure("commits_per_renewal", each(|effort| effort.commits), "");
        report.figure("statements_per_renewal", each(|effort| effort.statements), "");
        report.figure("rows_per_renewal", each(|effort| effort.rows), "written, some of them more than once");
        report.figure(
            "peak_rss_mib",
            median_of(rounds, |round| round.burst.effort.peak_rss_kib as f64) / 1024.0,
            "of the daemon alone",
        );
        report.figure("lateness_at_per_s", steady_per_s, "falling due steadily, at half the rate above:");
        report.figure("lateness_p50_ms", percentile(lateness, 50), "from the due instant until it is recorded");
        report.figure("lateness_p99_ms", percentile(lateness, 99), "");
        report.add(
            "ledger_agrees",
            rounds.iter().all(|round| round.burst.agrees),
            "every payment once at the gateway, to the cent",
        );
        report
    }

    /// A due instant of now, and a card for each subscription.
    fn due(&self) -> anyhow::Result<Due> {
        Due::before(self.app.clock.now(), Timeline::Wall, self.asked.subscriptions)
    }

    /// One round: bare calls, a bill run, bare rows, bare calls again.
    async fn round(&mut self) -> anyhow::Result<Round> {
        let asked = self.asked;
        let count = asked.subscriptions.min(bare::MOST);
        let twins = self.load(count, &self.due()?, 20, 0).await?;
        let calls = || bare::http_per_s(self.app, asked.latency, asked.in_flight, count as usize);
        let before = calls().await?;
        let (burst, written) = self.burst(0).await?;
        let bare_db_per_s = bare::db_per_s(self.app, &written, &twins).await?;
        let bare_http_per_s = f64::midpoint(before, calls().await?);
        Ok(Round { burst, bare_http_per_s, bare_db_per_s })
    }

    async fn burst(&mut self, history: u32) -> anyhow::Result<(Burst, Written)> {
        let asked = self.asked;
        let due = self.due()?;
        self.load(asked.subscriptions, &due, 0, history).await?;
        self.app.db.run_maintenance().await?;
        let marker = Marker::now(self.app);
        let sandbox = Process::sandbox(asked.latency, asked.subscriptions).await?;
        let mut daemon = Process::daemon(&self.database.config, &gateway(sandbox.url(), asked.in_flight), due.at).await?;
        let ended = self.quiet(&mut daemon).await?;
        let effort = daemon.effort().await?;
        daemon.kill().await?;
        let written = Written::since(&self.app.db, &marker, asked.subscriptions as usize + 1).await?;
        written.refuse_unpaid()?;
        if written.invoices.len() != asked.subscriptions as usize {
            bail!("{} invoices were made for {} subscriptions", written.invoices.len(), asked.subscriptions);
        }
        let begun = written.invoices.iter().map(|invoice| invoice.created_at).min().context("a bill run")?;
        let took = (ended - begun).to_std().context("time went back")?;
        let agrees = agrees(&sandbox, &written).await?;
        sandbox.kill().await?;
        Ok((Burst { renewals_per_s: per_second(asked.subscriptions as usize, took), agrees, effort }, written))
    }

    /// Waits until nothing is due and nothing is in flight; returns when that was.
    async fn quiet(&self, daemon: &mut Process) -> anyhow::Result<DateTime<Utc>> {
        loop {
            let now = self.app.clock.now();
            if bench::is_quiet(&self.app.db, now).await? {
                return Ok(now);
            }
            if daemon.has_ended()? {
                bail!("the daemon ended before everything was billed: see what it says above");
            }
            tokio::time::sleep(bench::LOOK_EVERY).await;
        }
    }

    /// Bills subscriptions whose due instants are spread evenly over some seconds. Returns the rate, and how many milliseconds
    /// after its due instant each payment was recorded.
    async fn steady(&mut self, per_s: f64) -> anyhow::Result<(f64, Vec<f64>)> {
        let count = ((per_s * STEADY.as_secs_f64()) as u32).clamp(1, self.asked.subscriptions);
        let due = self.due()?;
        let mut rows = Vec::new();
        for number in 0..count {
            if number % CHUNK == 0 {
                rows.push(BenchRows::default());
            }
            if let Some(chunk) = rows.last_mut() {
                population::add(chunk, self.app, &due, self.loaded + number, 0, 0)?;
            }
        }
        self.loaded += count;
        let settling = Instant::now();
        self.app.db.run_maintenance().await?;
        // Far enough away that all of them are stored before the first is due, and the daemon is up.
        let loading = 3 * (self.load_time * count + settling.elapsed()) + Duration::from_secs(3);
        let first = self.app.clock.now() + loading;
        let apart = STEADY.as_secs_f64().min(f64::from(count) / per_s) / f64::from(count);
        let mut instants: HashMap<SubscriptionId, DateTime<Utc>> = HashMap::new();
        for (number, subscription) in rows.iter_mut().flat_map(|chunk| &mut chunk.subscriptions).enumerate() {
            let at = first + TimeDelta::microseconds((number as f64 * apart * 1e6) as i64);
            subscription.due_at = Some(at);
            instants.insert(subscription.id, at);
        }
        for chunk in &rows {
            bench::write(&self.app.db, chunk).await?;
        }
        self.app.db.run_maintenance().await?;
        let marker = Marker::now(self.app);
        let sandbox = Process::sandbox(self.asked.latency, self.asked.subscriptions).await?;
        let mut daemon = Process::daemon(&self.database.config, &gateway(sandbox.url(), self.asked.in_flight), due.at).await?;
        if self.app.clock.now() > first {
            bail!("loading took longer than foreseen, so lateness cannot be measured: try again on a quieter machine");
        }
        let last = instants.values().max().copied().unwrap_or(first);
        tokio::time::sleep((last - self.app.clock.now()).to_std().unwrap_or_default()).await;
        self.quiet(&mut daemon).await?;
        daemon.kill().await?;
        sandbox.kill().await?;
        let written = Written::since(&self.app.db, &marker, count as usize + 1).await?;
        written.refuse_unpaid()?;
        let of: HashMap<_, _> = written.invoices.iter().map(|invoice| (invoice.id, invoice.subscription_id)).collect();
        let late = |payment: &crate::domain::payment::Payment| {
            let due_at = instants.get(&of.get(&payment.invoice_id).copied().flatten()?)?;
            Some((payment.resolved_at? - due_at).num_microseconds()? as f64 / 1000.0)
        };
        let lateness: Vec<f64> = written.payments.iter().filter_map(late).collect();
        if lateness.len() != count as usize {
            bail!("{} of {count} steady charges are recorded", lateness.len());
        }
        Ok((1.0 / apart, lateness))
    }

    async fn load_others(&mut self, count: u32) -> anyhow::Result<()> {
        let due = self.due()?;
        let mut left = count;
        while left > 0 {
            let some = left.min(50_000);
            // Spread over four weeks, one day after another.
            self.load(some, &due, 1 + (left / 50_000) % 28, 0).await?;
            left -= some;
        }
        Ok(())
    }

    /// Stores `count` subscriptions that fall due in `in_days` days and were billed `billed` times before.
    async fn load(&mut self, count: u32, due: &Due, in_days: u32, billed: u32) -> anyhow::Result<Vec<Subscription>> {
        let mut all = Vec::new();
        let chunk = (CHUNK / (billed + 1)).max(10);
        let mut left = count;
        let begun = Instant::now();
        while left > 0 {
            let some = left.min(chunk);
            let mut rows = BenchRows::default();
            for _ in 0..some {
                population::add(&mut rows, self.app, due, self.loaded, in_days, billed)?;
                self.loaded += 1;
            }
            for subscription in rows.subscriptions.clone() {
                for cycle in 0..billed {
                    population::add_cycle(&mut rows, self.app, due, &subscription, cycle)?;
                }
                all.push(subscription);
            }
            bench::write(&self.app.db, &rows).await?;
            left -= some;
        }
        self.load_time = self.load_time.max(begun.elapsed() / count.max(1));
        Ok(all)
    }
}

impl Round {
    fn efficiency(&self) -> f64 {
        efficiency(self.bare_http_per_s, self.bare_db_per_s, self.burst.renewals_per_s)
    }
}

fn median_of(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(of).collect::<Vec<_>>())
}

/// Whether the gateway charged exactly our payments, and nobody twice.
async fn agrees(sandbox: &Process, written: &Written) -> anyhow::Result<bool> {
    let answer: Value = serde_json::from_str(&sandbox.get("/_sandbox/ledger?summary=true").await?)?;
    let summary = answer.get("data").context("a ledger")?;
    let ours: i64 = written.payments.iter().map(|payment| payment.amount_captured).sum();
    let twice = summary["charged_twice"].as_array().context("a ledger")?;
    let count = summary["counts"]["charge"].as_u64();
    Ok(twice.is_empty() && count == Some(written.payments.len() as u64) && summary["net"]["USD"].as_i64() == Some(ours))
}
