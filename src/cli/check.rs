//! `rebilld check`: every fault of configuration and database, each in one sentence. Changes nothing.

use std::process::ExitCode;

use super::Settings;
use crate::{
    config::{self, Config, Severity},
    daemon,
    store::{self, Db},
};

/// Prints `ok`, or the faults to stderr.
pub async fn run(settings: &Settings) -> ExitCode {
    let config = match config::load(settings.file()) {
        Ok(config) => config,
        Err(error) => return report(&error.sentences),
    };
    for warning in config.validate().iter().filter(|problem| problem.severity == Severity::Warning) {
        eprintln!("warning: {warning}");
    }
    report(&faults(&config).await)
}

async fn faults(config: &Config) -> Vec<String> {
    let mut faults: Vec<String> = daemon::gateway_faults(config);
    match daemon::open_existing(config).await {
        Ok(db) => {
            faults.extend(missing_calendars(config, &db).await.unwrap_or_else(|error| vec![error.to_string()]));
            db.close().await;
        }
        Err(error) => faults.push(format!("{error:#}")),
    }
    faults
}

/// Calendars that the database names and the settings lack: without them, subscriptions would be charged on bank holidays.
async fn missing_calendars(config: &Config, db: &Db) -> store::Result<Vec<String>> {
    let mut named = store::calendars::in_use(db).await?;
    named.retain(|name| !config.billing.holidays.contains_key(name));
    let fault =
        |name| format!("billing.holidays.{name} is missing: plans or subscriptions in the database are dated by this calendar");
    Ok(named.into_iter().map(fault).collect())
}

fn report(faults: &[String]) -> ExitCode {
    for fault in faults {
        eprintln!("error: {fault}");
    }
    if faults.is_empty() {
        println!("ok");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
