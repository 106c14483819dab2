//! `rebilld demo`: a year of billing in a few seconds. Daemon, database and gateways are in one process, and speak real HTTP.
//!
//! Every run is alike: dates, customers and declines follow from constants. Only ids and keys differ.

mod cast;
mod endpoint;
pub(super) mod ledgers;
pub(super) mod picture;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;

use crate::{
    clock::Clock,
    config::{Caps, Config, DEFAULT_AUTHORIZATION_LIFETIME, GatewayConfig, GatewayKind, Mode},
    daemon::{self, Daemon, Signals},
    domain::{clock::Timeline, id::ClockId},
    sandbox::{self, SandboxServer},
    telemetry,
};

use endpoint::Endpoint;

#[derive(Debug, Args)]
pub struct Options {
    /// End after the summary instead of staying up
    #[arg(long)]
    exit: bool,
    /// Keep the database in this folder, which must not hold one yet; without it, in a temporary one that is removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The first day of the year that is shown.
const START: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
const MONTHS: u32 = 12;

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    // First, so that no signal can leave the folder behind.
    let mut signals = Signals::new()?;
    // Dropping the folder removes it, however this function ends.
    let temporary = options.data.is_none().then(|| tempfile::Builder::new().prefix("rebilld-demo-").tempdir()).transpose()?;
    let folder = match (&options.data, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => bail!("no folder for the database"),
    };
    let database = prepare(&folder)?;
    let now: sandbox::Now = Arc::new(|| Clock::System.now());
    let sandbox = sandbox::start(([127, 0, 0, 1], 0).into(), now, sandbox::Options::default())
        .await
        .context("the sandbox cannot listen on this machine")?;
    let key = format!("rk_demo_{}", hex(&daemon::seed()?[..16]));
    let config = settings(&database, &sandbox, &key);
    telemetry::init(&config.log)?;
    let daemon = daemon::start(config, daemon::seed()?).await?;
    let shown = tokio::select! {
        shown = show(&daemon, &sandbox, &key) => shown,
        () = signals.stop() => Err(anyhow::anyhow!("stopped before the year was over")),
    };
    if let Ok(DemoResult { agrees: true, next_steps }) = &shown
        && !options.exit
    {
        print!("{next_steps}");
        signals.stop().await;
        println!("\nStopping.");
    }
    daemon.stop().await;
    sandbox.stop().await;
    Ok(if shown?.agrees { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The path of the database file. Creates the folder; refuses a folder that has a database.
fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let database = folder.join("rebilld.db");
    if database.exists() {
        bail!("{} exists already: the demo wants a folder without a database", database.display());
    }
    Ok(database)
}

/// The defaults, with an embedded database, free ports, and both gateways in test mode.
fn settings(database: &Path, sandbox: &SandboxServer, key: &str) -> Config {
    let mut config = Config::defaults();
    config.database.url = format!("sqlite://{}", database.display()).into();
    config.admin.listen = ([127, 0, 0, 1], 0).into();
    config.admin.bootstrap_key = key.to_owned().into();
    "warn".clone_into(&mut config.log.level);
    let gateway = |kind, base_url: String, api_key: &str, merchant_id: &str| GatewayConfig {
        kind,
        mode: Mode::Test,
        base_url,
        api_key: api_key.to_owned().into(),
        api_key_file: String::new(),
        merchant_id: merchant_id.to_owned(),
        timeout: std::time::Duration::from_secs(30),
        max_in_flight: 64,
        authorization_lifetime: DEFAULT_AUTHORIZATION_LIFETIME,
        caps: Caps::default(),
        breaker: Default::default(),
    };
    let fluid = gateway(GatewayKind::Fluidpay, format!("{}/api", sandbox.url()), sandbox::FLUIDPAY_KEY, "");
    let paylike = gateway(GatewayKind::Paylike, sandbox.url(), sandbox::PAYLIKE_KEY, sandbox::PAYLIKE_MERCHANT);
    config.gateways = [(cast::FLUID.to_owned(), fluid), (cast::PAYLIKE.to_owned(), paylike)].into();
    config
}

/// How the year ended.
struct DemoResult {
    agrees: bool,
    next_steps: String,
}

async fn show(daemon: &Daemon, sandbox: &SandboxServer, key: &str) -> anyhow::Result<DemoResult> {
    let url = format!("http://{}", daemon.addr);
    let api = Endpoint::new(&url, key)?;
    println!("A daemon is up at {url}, with an embedded database and two pretend gateways at {}.", sandbox.url());
    println!("It will bill sixty customers for a year, which takes about ten seconds.\n");

    let clock = api.post("/v1/clocks", &serde_json::json!({ "name": "demo", "now": midnight(month_start(0)) })).await?;
    let clock = clock["id"].as_str().context("a clock has an id")?.to_owned();
    let customer = cast::create(&api, sandbox, &clock).await?;

    println!("\nNow a year passes on the test clock {clock}.\n");
    let last = month_start(MONTHS);
    api.post(&format!("/v1/clocks/{clock}/advance"), &serde_json::json!({ "to": midnight(last) })).await?;
    picture::watch(&api, &clock, START, last).await?;

    let timeline = Timeline::Test(clock.parse::<ClockId>()?);
    let db = &daemon.app.db;
    let mut months = Vec::new();
    for month in 0..MONTHS {
        let (from, to) = (month_start(month), month_start(month + 1));
        months.push((from, crate::store::reports::between(db, timeline, midnight(from), midnight(to)).await?));
    }
    println!("{}", picture::table(&months, daemon.app.config.billing.currency, "year"));
    let ours = crate::store::reports::taken(db, timeline).await?;
    let comparison = ledgers::compare(&ours, &sandbox.ledger());
    println!("\n{comparison}");
    let next_steps = picture::next_steps(&url, key, &sandbox.url(), &clock, &customer);
    Ok(DemoResult { agrees: comparison.agrees(), next_steps })
}

fn month_start(months: u32) -> NaiveDate {
    START.checked_add_months(chrono::Months::new(months)).unwrap_or(NaiveDate::MAX)
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(chrono::NaiveTime::MIN).and_utc()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
