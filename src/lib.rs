//! rebilld: a recurring billing scheduler daemon.
//!
//! Read in this order: `domain` (the nouns, pure), `input` (how a request is read), `store` (the only SQL), `gateway` (takes money and
//! gives it back), `billing` (the verbs), then the interfaces `jobs`, `http` and `cli`. `daemon` wires them, and `sandbox` stands in for
//! the gateways.
//!
//! The architecture rules, which `tests/it/architecture.rs` checks: interfaces → `billing` → `store`, `gateway` → `domain`. `store` and
//! `gateway` do not know each other. Interfaces may read through `store`, and never write. `sandbox` knows only money and ids.

pub mod billing;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod input;
pub mod jobs;
pub mod sandbox;
pub mod store;
pub mod telemetry;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

/// Command line in, exit code out. Not async: a caller that awaited the commands would compile all of them once more.
pub fn run() -> ExitCode {
    gateway::http::install_tls();
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli.run());
    // What had to be left after its bound must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
