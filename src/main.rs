//! The program: command line in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use rebilld::{cli::Cli, gateway};

/// A bill run is many small texts, made on one thread and dropped on another: where that is a good part of the work, jemalloc is faster
/// than glibc's allocator. SQLite's memory comes from it, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    gateway::http::install_tls();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli.run());
    // What had to be left after its bound must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
