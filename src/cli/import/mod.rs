//! `rebilld import`: customers with their tokens and subscriptions from CSV files, all or nothing. Without `--apply` it only shows
//! what would come of them.

mod rows;
mod sheet;

use std::{
    collections::HashSet,
    fmt::Write as _,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;

use super::Settings;
use crate::{
    billing::{
        App,
        import::{self, Prepared, Sheet},
    },
    clock::Clock,
    daemon,
    domain::event::Actor,
};

#[derive(Debug, Args)]
pub struct Options {
    /// Customers and their tokens: see config/examples/customers.csv
    #[arg(long, value_name = "FILE")]
    customers: Option<PathBuf>,
    /// Subscriptions of these or of known customers: see config/examples/subscriptions.csv
    #[arg(long, value_name = "FILE")]
    subscriptions: Option<PathBuf>,
    /// Only show the first three charges of each row and every fault; this is what happens without --apply, too
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    /// Store it
    #[arg(long)]
    apply: bool,
    /// Let first charges lie in the past: the catch-up policy then says what is billed of them
    #[arg(long)]
    backdated: bool,
    #[command(flatten)]
    settings: Settings,
}

/// More faults than this help nobody.
const MAX_FAULTS: usize = 1000;
/// Charges shown for each subscription.
const SHOWN: usize = 3;

/// One fault as it is told: `file:line column name: message`.
struct Told {
    place: (Sheet, u64, usize),
    text: String,
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if options.customers.is_none() && options.subscriptions.is_none() {
        bail!("--customers or --subscriptions must name a file");
    }
    let config = options.settings.load()?;
    let (customers, mut faults) = match &options.customers {
        Some(path) => rows::customers(path)?,
        None => Default::default(),
    };
    let (subscriptions, more) = match &options.subscriptions {
        Some(path) => rows::subscriptions(path, options.backdated)?,
        None => Default::default(),
    };
    faults.extend(more);
    let db = daemon::open_existing(&config).await?;
    let app = daemon::rehearse(config, db, Clock::System, daemon::seed()?)?;
    let done = import(&app, &options, customers, subscriptions, faults).await;
    app.db.close().await;
    done
}

async fn import(
    app: &App,
    options: &Options,
    customers: Vec<import::CustomerRow>,
    subscriptions: Vec<import::SubscriptionRow>,
    read: Vec<rows::Fault>,
) -> anyhow::Result<ExitCode> {
    let of_customers = read.iter().filter(|fault| fault.sheet == Sheet::Customers);
    let unread: HashSet<String> = of_customers.filter_map(|fault| fault.unread.clone()).collect();
    let prepared = import::prepare(app, customers, subscriptions, &unread).await?;
    let key =
        |sheet, line, column: &str| (sheet, line, if rows::is_means(column) { "gateway".to_owned() } else { column.to_owned() });
    let cells: HashSet<_> = read.iter().map(|fault| key(fault.sheet, fault.line, &fault.column)).collect();
    let mut told: Vec<Told> =
        read.iter().map(|fault| tell(options, fault.sheet, fault.line, &fault.column, &fault.message)).collect();
    for fault in &prepared.faults {
        let column = rows::column(&fault.field);
        // A cell that could not be read was left out, and must not be missed.
        if !cells.contains(&key(fault.sheet, fault.line, column)) {
            told.push(tell(options, fault.sheet, fault.line, column, &fault.message));
        }
    }
    if !told.is_empty() {
        return Ok(refuse(told));
    }
    let what = format!(
        "{} customers with {} payment methods, and {} subscriptions",
        prepared.customers.len(),
        prepared.methods.len(),
        prepared.subscriptions.len()
    );
    if !options.apply {
        show(app, options, &prepared)?;
        println!("{what} are without fault. Nothing is stored yet: say --apply for that.");
        return Ok(ExitCode::SUCCESS);
    }
    import::store(app, &Actor::Key("command-line".to_owned()), &prepared).await?;
    println!("{what} are imported.");
    Ok(ExitCode::SUCCESS)
}

fn file(options: &Options, sheet: Sheet) -> &Path {
    let path = if sheet == Sheet::Customers { &options.customers } else { &options.subscriptions };
    path.as_deref().unwrap_or(Path::new("-"))
}

fn tell(options: &Options, sheet: Sheet, line: u64, column: &str, message: &str) -> Told {
    let place = (sheet, line, rows::place(sheet, column));
    let column = if column.is_empty() { String::new() } else { format!(" column {column}") };
    Told { place, text: format!("{}:{line}{column}: {message}", file(options, sheet).display()) }
}

fn refuse(mut told: Vec<Told>) -> ExitCode {
    told.sort_by_key(|fault| fault.place);
    for fault in told.iter().take(MAX_FAULTS) {
        eprintln!("{}", fault.text);
    }
    if told.len() > MAX_FAULTS {
        eprintln!("and {} more", told.len() - MAX_FAULTS);
    }
    eprintln!("error: {} faults; nothing is stored", told.len());
    ExitCode::FAILURE
}

/// The first charges of every row.
fn show(app: &App, options: &Options, prepared: &Prepared) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (line, subscription) in &prepared.subscriptions {
        let mut text = format!("{}:{line} {}:", file(options, Sheet::Subscriptions).display(), subscription.description);
        for (i, cycle) in subscription.upcoming(&app.rules, SHOWN).iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let amount = subscription.currency.major(cycle.amount);
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma} {} {amount} {}", cycle.bill_date, subscription.currency);
        }
        writeln!(out, "{text}")?;
    }
    out.flush()
}
