//! `rebilld import`: customers with their tokens, subscriptions and installment plans from CSV files, all or nothing. Without `--apply` it only shows
//! what would come of them.

mod rows;
mod sheet;

use std::{
    collections::HashSet,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use chrono::NaiveDate;
use clap::Args;

use self::sheet::RowError;
use super::Settings;
use crate::{
    billing::{
        App,
        import::{self, ImportRows, Prepared, Sheet},
    },
    clock::Clock,
    daemon,
    domain::{
        event::Actor,
        installment_plan::{Installment, InstallmentStatus},
        money::Currency,
    },
};

#[derive(Debug, Args)]
pub struct Options {
    /// Any of these files: which is which is told by their columns
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Customers and their tokens: see config/examples/customers.csv
    #[arg(long, value_name = "FILE")]
    customers: Option<PathBuf>,
    /// Subscriptions of these or of known customers: see config/examples/subscriptions.csv
    #[arg(long, value_name = "FILE")]
    subscriptions: Option<PathBuf>,
    /// Installment plans of these or of known customers: see config/examples/installment_plans.csv
    #[arg(long, value_name = "FILE")]
    installment_plans: Option<PathBuf>,
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

/// The most errors that are shown.
const MAX_FAULTS: usize = 1000;
/// Charges shown for each subscription.
const SHOWN: usize = 3;

/// One error as it is shown: `file:line column name: message`.
struct ReportedError {
    place: (Sheet, u64, usize),
    text: String,
}

pub async fn run(mut options: Options) -> anyhow::Result<ExitCode> {
    for file in std::mem::take(&mut options.files) {
        let (place, what) = match rows::sheet_of(&sheet::columns_of(&file)?) {
            Sheet::Customers => (&mut options.customers, "customers"),
            Sheet::Subscriptions => (&mut options.subscriptions, "subscriptions"),
            Sheet::InstallmentPlans => (&mut options.installment_plans, "installment plans"),
        };
        if let Some(other) = place.replace(file.clone()) {
            bail!("{} and {} both have the columns of {what}: import one after the other", other.display(), file.display());
        }
    }
    if [&options.customers, &options.subscriptions, &options.installment_plans].into_iter().all(Option::is_none) {
        bail!("name at least one file, such as subscriptions.csv: config/examples shows what may stand in it");
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
    let (installment_plans, more) = match &options.installment_plans {
        Some(path) => rows::installment_plans(path, options.backdated)?,
        None => Default::default(),
    };
    faults.extend(more);
    let of_customers = faults.iter().filter(|fault| fault.sheet == Sheet::Customers);
    let unread = of_customers.filter_map(|fault| fault.unread.clone()).collect();
    let rows = ImportRows { customers, subscriptions, installment_plans, unread };
    let db = daemon::open_existing(&config).await?;
    let app = daemon::assemble(config, db, Clock::System, daemon::seed()?)?;
    let done = import(&app, &options, rows, faults).await;
    app.db.close().await;
    done
}

async fn import(app: &App, options: &Options, rows: ImportRows, read: Vec<RowError>) -> anyhow::Result<ExitCode> {
    let prepared = import::prepare(app, rows).await?;
    let key = |sheet, line, column: &str| (sheet, line, rows::together(column).to_owned());
    let cells: HashSet<_> = read.iter().map(|fault| key(fault.sheet, fault.line, &fault.column)).collect();
    let mut errors: Vec<ReportedError> =
        read.iter().map(|fault| report(options, fault.sheet, fault.line, &fault.column, &fault.message)).collect();
    for fault in &prepared.faults {
        let column = rows::column(&fault.field);
        // A cell that could not be read was left out, so it must not be reported as missing.
        if !cells.contains(&key(fault.sheet, fault.line, column)) {
            errors.push(report(options, fault.sheet, fault.line, column, &fault.message));
        }
    }
    if !errors.is_empty() {
        return Ok(refuse(errors));
    }
    let (customers, methods) = (prepared.customers.len(), prepared.methods.len());
    let (subscriptions, plans) = (prepared.subscriptions.len(), prepared.installment_plans.len());
    let what = match &options.installment_plans {
        None => format!("{customers} customers with {methods} payment methods, and {subscriptions} subscriptions"),
        Some(_) => format!(
            "{customers} customers with {methods} payment methods, {subscriptions} subscriptions and {plans} installment plans"
        ),
    };
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
    let path = match sheet {
        Sheet::Customers => &options.customers,
        Sheet::Subscriptions => &options.subscriptions,
        Sheet::InstallmentPlans => &options.installment_plans,
    };
    path.as_deref().unwrap_or(Path::new("-"))
}

fn report(options: &Options, sheet: Sheet, line: u64, column: &str, message: &str) -> ReportedError {
    let place = (sheet, line, rows::place(sheet, column));
    let column = if column.is_empty() { String::new() } else { format!(" column {column}") };
    ReportedError { place, text: format!("{}:{line}{column}: {message}", file(options, sheet).display()) }
}

fn refuse(mut errors: Vec<ReportedError>) -> ExitCode {
    errors.sort_by_key(|fault| fault.place);
    for fault in errors.iter().take(MAX_FAULTS) {
        eprintln!("{}", fault.text);
    }
    if errors.len() > MAX_FAULTS {
        eprintln!("and {} more", errors.len() - MAX_FAULTS);
    }
    eprintln!("error: {} faults; nothing is stored", errors.len());
    ExitCode::FAILURE
}

/// The first charges of every row.
fn show(app: &App, options: &Options, prepared: &Prepared) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (line, subscription) in &prepared.subscriptions {
        let charges = subscription.upcoming(&app.rules, SHOWN).into_iter().map(|cycle| (cycle.bill_date, cycle.amount));
        let place = (file(options, Sheet::Subscriptions), *line);
        show_row(&mut out, place, &subscription.description, subscription.currency, charges)?;
    }
    for (line, schedule) in &prepared.installment_plans {
        let mut to_come: Vec<&Installment> =
            schedule.installments.iter().filter(|part| part.status == InstallmentStatus::Scheduled).collect();
        to_come.sort_by_key(|part| (part.date, part.number));
        let charges = to_come.into_iter().take(SHOWN).map(|part| (part.date, part.amount));
        let place = (file(options, Sheet::InstallmentPlans), *line);
        show_row(&mut out, place, &schedule.plan.description, schedule.plan.currency, charges)?;
    }
    out.flush()
}

fn show_row(
    out: &mut impl Write,
    (file, line): (&Path, u64),
    description: &str,
    currency: Currency,
    charges: impl Iterator<Item = (NaiveDate, i64)>,
) -> io::Result<()> {
    let charges: Vec<String> = charges.map(|(date, amount)| format!("{date} {} {currency}", currency.major(amount))).collect();
    writeln!(out, "{}:{line} {description}: {}", file.display(), charges.join(", "))
}
