//! `rebilld simulate`: a copy of the database taken through time against pretend gateways. Guards that neither the database nor a
//! real gateway is touched: the copy is made by reading, and every configured gateway is replaced before anything can call it.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use clap::Args;

use super::{
    Settings,
    demo::{ledgers, picture},
};
use crate::{
    billing::{App, jobs::runs::Counts},
    clock::Clock,
    config::{Config, DEFAULT_AUTHORIZATION_LIFETIME, GatewayConfig, GatewayKind, Mode},
    daemon::{self, Signals},
    domain::{clock::Timeline, money::Percentage},
    jobs::simulate,
    sandbox::{self, Anyone, SandboxServer},
    store::{self, Db},
    telemetry,
};

#[derive(Debug, Args)]
pub struct Options {
    /// The day (UTC) at whose beginning it ends, at most ten years from now
    #[arg(long, value_name = "DATE", value_parser = date)]
    until: NaiveDate,
    /// How many of a hundred charges are declined, with one decimal at most: 2.5 is one in forty
    #[arg(long, value_name = "PERCENT", value_parser = per_mille, default_value = "0")]
    decline_rate: u16,
    /// Of the declines: the same seed declines the same charges
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    settings: Settings,
}

const MAX_YEARS: u32 = 10;

fn date(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| "must be a day of the calendar such as 2027-12-31".to_owned())
}

fn per_mille(text: &str) -> Result<u16, String> {
    let rate: Option<Percentage> = text.strip_suffix('%').unwrap_or(text).parse().ok();
    let rate = rate.map(Percentage::thousandths).filter(|rate| *rate <= 100_000 && rate % 100 == 0);
    rate.and_then(|rate| u16::try_from(rate / 100).ok())
        .ok_or_else(|| "must be a percentage from 0 to 100 with at most one decimal".to_owned())
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let now = Clock::System.now();
    let until = end(options.until, now)?;
    let anyone = Anyone { decline_per_mille: options.decline_rate, seed: options.seed };
    let mut config = options.settings.load()?;
    "error".clone_into(&mut config.log.level);
    telemetry::init(&config.log)?;
    // First, so that no signal can leave the copy behind.
    let mut signals = Signals::new()?;
    // Dropping the folder removes it, however this function ends.
    let folder = tempfile::Builder::new().prefix("rebilld-simulate-").tempdir()?;
    tokio::select! {
        shown = simulate(config, folder.path(), anyone, now, until) => shown,
        () = signals.stop() => Err(anyhow::anyhow!("stopped before the end")),
    }
}

async fn simulate(
    mut config: Config,
    folder: &Path,
    anyone: Anyone,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> anyhow::Result<ExitCode> {
    let copy = copy(&config, &folder.join("copy.db"), now).await?;
    let clock = Clock::manual(now);
    // The gateways use the same clock: a lookup must find its transaction within the time that a search covers.
    let gateways_clock = clock.clone();
    let options = sandbox::Options { anyone: Some(anyone), ..sandbox::Options::default() };
    let sandbox = sandbox::start(([127, 0, 0, 1], 0).into(), Arc::new(move || gateways_clock.now()), options)
        .await
        .context("the sandbox cannot listen on this machine")?;
    replace_gateways(&mut config, &sandbox);
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&anyone.seed.to_le_bytes());
    let app = Arc::new(daemon::assemble(config, copy, clock, seed)?);
    println!("Decline rate {}.{} %, seed {}.", anyone.decline_per_mille / 10, anyone.decline_per_mille % 10, anyone.seed);
    let shown = show(&app, &sandbox, now, until).await;
    app.db.close().await;
    sandbox.stop().await;
    shown
}

fn end(until: NaiveDate, now: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    let today = now.date_naive();
    let last = today.checked_add_months(Months::new(12 * MAX_YEARS)).unwrap_or(NaiveDate::MAX);
    if until <= today || until > last {
        bail!("--until must be after today, {today}, and not after {last}");
    }
    Ok(midnight(until))
}

/// Copies the rows that can still lead to a charge into a file of its own.
async fn copy(config: &Config, file: &Path, now: DateTime<Utc>) -> anyhow::Result<Db> {
    let source = daemon::open_existing(config).await?;
    let copied = async {
        let copy = Db::scratch(file).await?;
        let names: Vec<&str> = config.gateways.keys().map(String::as_str).collect();
        let rows = store::simulation_copy::living(&source, &copy, now, &names).await?;
        for name in store::simulation_copy::gateways(&copy).await?.iter().filter(|name| !names.contains(&name.as_str())) {
            eprintln!("warning: no gateway {name} is configured, so its payment methods cannot be charged");
        }
        Ok::<_, store::Error>((copy, rows))
    }
    .await;
    source.close().await;
    let (copy, rows) = copied.with_context(|| format!("{} could not be copied", config.database.shown()))?;
    let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    println!("{rows} copied from {} at {}.", config.database.shown(), now.format("%F %T UTC"));
    Ok(copy)
}

/// Points every gateway at the sandbox. Name, kind and caps stay; no address and no key of a real gateway is left.
fn replace_gateways(config: &mut Config, sandbox: &SandboxServer) {
    for gateway in config.gateways.values_mut() {
        let (base_url, api_key, merchant_id) = match gateway.kind {
            GatewayKind::Paylike => (sandbox.url(), sandbox::PAYLIKE_KEY, sandbox::PAYLIKE_MERCHANT),
            GatewayKind::Paysley => (format!("{}/v2", sandbox.url()), sandbox::PAYSLEY_KEY, ""),
            _ => (format!("{}/api", sandbox.url()), sandbox::FLUIDPAY_KEY, ""),
        };
        *gateway = GatewayConfig {
            kind: gateway.kind,
            mode: Mode::Test,
            base_url,
            api_key: api_key.to_owned().into(),
            api_key_file: String::new(),
            merchant_id: merchant_id.to_owned(),
            timeout: Duration::from_secs(30),
            max_in_flight: 64,
            authorization_lifetime: DEFAULT_AUTHORIZATION_LIFETIME,
            caps: gateway.caps.clone(),
            breaker: Default::default(),
        };
    }
}

async fn show(app: &Arc<App>, sandbox: &SandboxServer, from: DateTime<Utc>, until: DateTime<Utc>) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(from.date_naive(), until.date_naive());
    simulate::simulate(app, until, |now, counts| progress.arrived(now, counts)).await?;
    progress.done();

    let mut months = Vec::new();
    let mut start = from;
    while start < until {
        let first = start.date_naive().with_day(1).unwrap_or_default();
        let end = first.checked_add_months(Months::new(1)).map_or(until, midnight).min(until);
        months.push((first, store::reports::between(&app.db, Timeline::Wall, start, end).await?));
        start = end;
    }
    println!("\n{}", picture::table(&months, app.config.billing.currency, "all"));
    // Test clocks stand still in a simulation, so what is open on them says nothing about it.
    let left = store::reports::unfinished(&app.db, Timeline::Wall).await?;
    println!(
        "\nat the end: {} invoices open, {} payments and {} subscriptions parked",
        left.invoices_open, left.payments_parked, left.subscriptions_parked
    );
    let ours = store::reports::taken_since(&app.db, Timeline::Wall, from).await?;
    let comparison = ledgers::compare(&ours, &sandbox.ledger());
    println!("{comparison}");
    Ok(if comparison.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bar on a terminal, a line for each month elsewhere; on stderr, so that stdout is the result alone.
struct Progress {
    from: NaiveDate,
    to: NaiveDate,
    terminal: bool,
    said: Option<NaiveDate>,
}

impl Progress {
    fn new(from: NaiveDate, to: NaiveDate) -> Self {
        Self { from, to, terminal: std::io::stderr().is_terminal(), said: None }
    }

    fn arrived(&mut self, now: DateTime<Utc>, counts: &Counts) {
        let date = now.date_naive();
        let step = if self.terminal { date } else { date.with_day(1).unwrap_or(date) };
        if self.said == Some(step) {
            return;
        }
        self.said = Some(step);
        let payments = counts.get("payments").and_then(serde_json::Value::as_i64).unwrap_or(0);
        // A closed stderr is no reason to stop.
        let mut err = std::io::stderr();
        let _ = if self.terminal {
            write!(err, "\r{}", picture::bar(self.from, date, self.to, payments))
        } else {
            writeln!(err, "{} … {payments} payments so far", date.format("%B %Y"))
        };
    }

    fn done(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}
