//! `rebilld bench`: how fast this program is on this machine, always beside what the machine itself can do, in one run.
//!
//! Guards "as fast as the gateway". The bill run is the real daemon, a process of its own with its usual durability; the gateway
//! is a second process. Two figures that are compared are measured in turns, so that a busy machine slows down both.

mod advance;
mod bare;
mod bill_run;
mod database;
mod due_scan;
mod figures;
mod population;
mod processes;
mod schedule;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::{daemon::Signals, sandbox::Latency};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(flatten)]
    bill_run: BillRun,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The nth dates of every frequency, for a second
    Schedule {
        #[command(flatten)]
        output: OutputOptions,
    },
    /// How long it takes to find the next 500 due among many, and how long a tick that finds nothing
    DueScan(DueScan),
    /// A test clock taken through years, with and without the pretend gateway
    Advance(Advance),
}

/// The database, and how the result is printed.
#[derive(Debug, Args)]
struct BenchOptions {
    /// `sqlite://` or `postgres://`, with nothing in it, and left full; without it, a temporary SQLite file
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Args)]
struct OutputOptions {
    /// Print the line of JSON alone
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BillRun {
    #[command(flatten)]
    shared: BenchOptions,
    /// How many are due at one instant, in each round
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscriptions: u32,
    /// How many others there are that are not due; with more than 10,000 the first rounds are held with 10,000, to compare
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=20_000_000))]
    stored: u32,
    /// Also bill subscriptions that have been billed so many times before, to compare
    #[arg(long, value_name = "CYCLES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=600))]
    history: u32,
    /// How long the gateway takes over a call, in milliseconds: 300, or 100-500 for anything between
    #[arg(long, value_name = "MS", default_value = "0")]
    latency: Latency,
    /// Gateway calls at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    /// How often all is measured; the figures are medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
}

#[derive(Debug, Args)]
struct DueScan {
    #[command(flatten)]
    shared: BenchOptions,
    /// Subscriptions that are not due
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(..=20_000_000))]
    stored: u32,
}

#[derive(Debug, Args)]
struct Advance {
    #[command(flatten)]
    shared: BenchOptions,
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscriptions: u32,
    /// Simulated time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    years: u32,
    /// Gateway calls at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    // First, so that no signal can leave a folder or a process behind.
    let mut signals = Signals::new()?;
    let measure = async {
        match options.command {
            None => {
                let report = bill_run::measure(&options.bill_run).await?;
                report.print(options.bill_run.shared.output.json)
            }
            Some(Command::Schedule { output }) => schedule::measure()?.print(output.json),
            Some(Command::DueScan(asked)) => due_scan::measure(&asked).await?.print(asked.shared.output.json),
            Some(Command::Advance(asked)) => advance::measure(&asked).await?.print(asked.shared.output.json),
        }
    };
    tokio::select! {
        measured = measure => measured?,
        () = signals.stop() => bail!("stopped before the end"),
    }
    Ok(ExitCode::SUCCESS)
}
