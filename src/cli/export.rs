//! `rebilld export`: every table as CSV or JSON lines, all as they stood at one moment, with flat memory. Reads only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Settings;
use crate::{
    daemon,
    store::tables::{self, Fields, TABLES, Table},
};

#[derive(Debug, Args)]
pub struct Options {
    /// Only this table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[arg(long)]
    format: Format,
    /// A folder for one file per table, made if it is missing; files of an earlier export in it are replaced. `-`: to stdout, in
    /// JSON lines each row beside the name of its table, in CSV one table only
    #[arg(long, value_name = "DIR", default_value = "-")]
    out: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With a line of column names; null is an empty cell, lists and objects are JSON
    Csv,
    /// One JSON object per line
    Jsonl,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let wanted = chosen(options.table.as_deref())?;
    let to_stdout = options.out == Path::new("-");
    if to_stdout && options.format == Format::Csv && wanted.len() > 1 {
        bail!("CSV to stdout can hold one table only: name it with --table, or give a folder with --out");
    }
    let config = options.settings.load()?;
    let db = daemon::open_existing(&config).await?;
    let mut sheets =
        if to_stdout { Sheets::stdout(options.format, &wanted)? } else { Sheets::folder(&options.out, options.format, &wanted)? };
    let read = tables::read(&db, wanted, |table, row| sheets.write(table, row)).await;
    db.close().await;
    match read.and_then(|()| sheets.close()) {
        // The reader of our stdout has stopped reading: no fault.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => Ok(()),
        done => done,
    }
}

fn chosen(name: Option<&str>) -> anyhow::Result<Vec<&'static Table>> {
    let found: Vec<&Table> = TABLES.iter().filter(|table| name.is_none_or(|name| name == table.name)).collect();
    if found.is_empty() {
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        bail!("--table: there is no such table; there are {}", names.join(", "));
    }
    Ok(found)
}

/// Where rows go: one sheet for each table, or one sheet for all tables.
struct Sheets {
    sheets: Vec<(&'static str, Sheet)>,
    /// Each file by its temporary and its final name.
    files: Vec<(PathBuf, PathBuf)>,
    rows: u64,
}

enum Sheet {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    Lines { out: Box<dyn Write>, named: bool },
}

impl Sheets {
    fn stdout(format: Format, tables: &[&'static Table]) -> anyhow::Result<Self> {
        let out = Box::new(BufWriter::new(io::stdout()));
        let sheet = Sheet::open(out, format, tables[0], tables.len() > 1)?;
        Ok(Self { sheets: vec![("", sheet)], files: Vec::new(), rows: 0 })
    }

    fn folder(folder: &Path, format: Format, tables: &[&'static Table]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let extension = if format == Format::Csv { "csv" } else { "jsonl" };
        let mut sheets = Self { sheets: Vec::new(), files: Vec::new(), rows: 0 };
        for table in tables {
            let path = folder.join(format!("{}.{extension}", table.name));
            let part = path.with_extension(format!("{extension}.part"));
            let file = private(&part).with_context(|| format!("{} cannot be written", part.display()))?;
            sheets.sheets.push((table.name, Sheet::open(Box::new(BufWriter::new(file)), format, table, false)?));
            sheets.files.push((part, path));
        }
        Ok(sheets)
    }

    fn write(&mut self, table: &Table, row: Fields) -> anyhow::Result<()> {
        self.rows += 1;
        let place = self.sheets.iter().position(|(name, _)| *name == table.name).unwrap_or(0);
        self.sheets[place].1.write(table, &row)
    }

    /// Completes every sheet and gives each file its final name.
    fn close(self) -> anyhow::Result<()> {
        for (_, sheet) in self.sheets {
            match sheet {
                Sheet::Csv(mut out) => out.flush()?,
                Sheet::Lines { mut out, .. } => out.flush()?,
            }
        }
        for (part, path) in &self.files {
            fs::rename(part, path).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        if !self.files.is_empty() {
            eprintln!("{} rows in {} files", self.rows, self.files.len());
        }
        Ok(())
    }
}

/// A new file that only its owner can read: it holds names and tokens of customers.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

impl Sheet {
    fn open(out: Box<dyn Write>, format: Format, table: &Table, named: bool) -> anyhow::Result<Self> {
        if format == Format::Jsonl {
            return Ok(Self::Lines { out, named });
        }
        let mut out = csv::Writer::from_writer(out);
        out.write_record((table.columns)()).map_err(io::Error::from)?;
        Ok(Self::Csv(Box::new(out)))
    }

    fn write(&mut self, table: &Table, row: &Fields) -> anyhow::Result<()> {
        match self {
            Self::Csv(out) => out.write_record(row.iter().map(cell)).map_err(io::Error::from)?,
            Self::Lines { out, named } => {
                let fields: Vec<String> =
                    (table.columns)().iter().zip(row).map(|(column, value)| format!("\"{column}\":{value}")).collect();
                let row = format!("{{{}}}", fields.join(","));
                if *named {
                    writeln!(out, "{{\"table\":\"{}\",\"row\":{row}}}", table.name)?;
                } else {
                    writeln!(out, "{row}")?;
                }
            }
        }
        Ok(())
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
