//! `rebilld check`: every fault of configuration and database, each in one sentence. Changes nothing.

use std::process::ExitCode;

use super::Settings;
use crate::{
    config::{self, Config, Severity},
    daemon,
};

/// Prints `ok`, or the faults to stderr.
pub async fn run(settings: &Settings) -> ExitCode {
    let config = match config::load(settings.file()) {
        Ok(config) => config,
        Err(error) => return report(&error.sentences),
    };
    for warning in config.validate().iter().filter(|fault| fault.severity == Severity::Warning) {
        eprintln!("warning: {warning}");
    }
    report(&faults(&config).await)
}

async fn faults(config: &Config) -> Vec<String> {
    let mut faults: Vec<String> = daemon::gateway_faults(config);
    match daemon::open_existing(config).await {
        Ok(db) => db.close().await,
        Err(error) => faults.push(format!("{error:#}")),
    }
    faults
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
