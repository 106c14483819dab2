//! `rebilld demo`: a year of billing in a few seconds.
use std::{path::PathBuf, process::ExitCode};
#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    exit: bool,
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    println!("{options:?}");
    Ok(ExitCode::SUCCESS)
}
