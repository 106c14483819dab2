//! The command line: one sentence for each fault on stderr, and an exit code that scripts can rely on.

mod bench;
mod check;
mod demo;
mod export;
mod import;
mod keys;
mod simulate;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::{
    clock::Clock,
    config::{self, Config},
    daemon, sandbox,
};

/// Recurring billing: plans, subscriptions, retries, and a ledger that agrees with the gateway's.
#[derive(Debug, Parser)]
#[command(name = "rebilld", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows a year of billing in a few seconds, with an embedded database and pretend gateways
    Demo(demo::Options),
    /// Runs the daemon until SIGTERM
    Serve(Settings),
    /// Brings the database up to date; makes it if it is SQLite and missing
    Migrate(Settings),
    /// Checks configuration and database; names every fault and changes nothing
    Check(Settings),
    /// API keys of the admin endpoint
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Runs a copy of the database forward against pretend gateways, and shows what would be charged; the database itself and
    /// the real gateways are left alone. Customers on test clocks stay where they are
    Simulate(simulate::Options),
    /// Takes over customers and subscriptions from CSV files; shows what would come of it, and with --apply does it
    Import(import::Options),
    /// Writes out every table as CSV or JSON lines
    Export(export::Options),
    /// Runs the pretend gateways alone
    Sandbox {
        /// Where to listen; port 0 takes a free one
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        /// How long every call takes, in milliseconds: 300, or 100-500 for anything between
        #[arg(long, value_name = "MS", default_value = "0")]
        latency: sandbox::Latency,
    },
    /// Measures the bill run on this machine beside the bare gateway calls and the bare rows that it is made of
    Bench(bench::Options),
}

/// Where the settings come from: the defaults, then this file, then the environment (`REBILLD_<SECTION>__<KEY>`).
#[derive(Debug, Args)]
struct Settings {
    /// A file that lies over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn load(&self) -> anyhow::Result<Config> {
        Ok(config::load(self.file())?)
    }
}

impl Cli {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Demo(options) => return demo::run(options).await,
            Command::Serve(settings) => daemon::run(settings.config).await?,
            Command::Migrate(settings) => {
                let config = settings.load()?;
                daemon::open_migrated(&config).await?.close().await;
                println!("{} is up to date", config.database.shown());
            }
            Command::Check(settings) => return Ok(check::run(&settings).await),
            Command::Keys { command } => keys::run(command).await?,
            Command::Simulate(options) => return simulate::run(options).await,
            Command::Import(options) => return import::run(options).await,
            Command::Export(options) => export::run(options).await?,
            Command::Sandbox { listen, latency } => pretend(listen, latency).await?,
            Command::Bench(options) => return bench::run(options).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn pretend(listen: SocketAddr, latency: sandbox::Latency) -> anyhow::Result<()> {
    // First, so that a signal that arrives during the start is not lost.
    let mut signals = daemon::Signals::new()?;
    let now: sandbox::Now = Arc::new(|| Clock::System.now());
    let running = sandbox::start(listen, now, sandbox::Options { latency, ..sandbox::Options::default() })
        .await
        .with_context(|| format!("the sandbox cannot listen on {listen}"))?;
    println!("sandbox listens on {}", running.url());
    println!("FluidPay is at {0}/api, Paylike at {0}; keys and tokens at {0}/_sandbox/fixtures", running.url());
    signals.stop().await;
    running.stop().await;
    Ok(())
}
