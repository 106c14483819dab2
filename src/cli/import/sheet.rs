//! Reads a CSV file row by row. Cells are read by the rules for the values of a query, and every error keeps its line and column.

use std::path::Path;

use anyhow::Context;
use csv::{ByteRecord, ReaderBuilder, Trim};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    billing::import::Sheet,
    input::{Faults, Structure, forbidden::refuse_forbidden, shown},
};

/// What is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    pub sheet: Sheet,
    pub line: u64,
    /// Empty for the row as a whole.
    pub column: String,
    pub message: String,
    /// The reference of a row that could not be read.
    pub unread: Option<String>,
}

/// One row.
pub struct Read<T> {
    pub line: u64,
    pub cells: T,
    /// Digest of all cells: an equal row has an equal digest.
    pub digest: String,
}

/// The names in a file's first line.
pub fn columns_of(path: &Path) -> anyhow::Result<Vec<String>> {
    let unreadable = || format!("{} cannot be read", path.display());
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_path(path).with_context(unreadable)?;
    let header = reader.byte_headers().with_context(unreadable)?;
    Ok(header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// Every row of a file that can be read, and the errors of cells. A file without the `required` columns is not read.
pub fn read<T: Structure>(sheet: Sheet, path: &Path, required: &[&str]) -> anyhow::Result<(Vec<Read<T>>, Vec<RowError>)> {
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .trim(Trim::All)
        .from_path(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let header = reader.byte_headers().with_context(|| format!("{} cannot be read", path.display()))?.clone();
    let (columns, mut errors) = columns::<T>(sheet, &header, required);
    let mut rows = Vec::new();
    if !errors.is_empty() {
        return Ok((rows, errors));
    }
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).with_context(|| format!("{} cannot be read", path.display()))? {
        let line = record.position().map_or(0, csv::Position::line);
        let (cells, found) = row(&columns, &record);
        let place = columns.iter().position(|column| column == "reference").filter(|_| cells.is_none());
        let unread = place.and_then(|place| Some(std::str::from_utf8(record.get(place)?).ok()?.to_owned()));
        errors.extend(found.into_iter().map(|(column, message)| RowError {
            sheet,
            line,
            column,
            message,
            unread: unread.clone(),
        }));
        rows.extend(cells.map(|cells| Read { line, cells, digest: digest(&columns, &record) }));
    }
    Ok((rows, errors))
}

fn columns<T: Structure>(sheet: Sheet, header: &ByteRecord, required: &[&str]) -> (Vec<String>, Vec<RowError>) {
    let columns: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let mut errors = Vec::new();
    let mut error = |column: &str, message: String| {
        errors.push(RowError { sheet, line: 1, column: shown(column), message, unread: None });
    };
    for (i, column) in columns.iter().enumerate() {
        if !T::names().contains(&column.as_str()) {
            error(column, format!("is not a column known here; there are {}", T::names().join(", ")));
        }
        if columns[..i].contains(column) {
            error(column, "stands there twice".to_owned());
        }
    }
    for column in required.iter().filter(|column| !columns.iter().any(|there| there == *column)) {
        error(column, "is missing".to_owned());
    }
    (columns, errors)
}

/// What a row says without the cells that have errors, and those errors as column and message.
fn row<T: Structure>(columns: &[String], record: &ByteRecord) -> (Option<T>, Vec<(String, String)>) {
    if record.len() != columns.len() {
        let message = format!("has {} cells, and the first line has {}", record.len(), columns.len());
        return (None, vec![(String::new(), message)]);
    }
    let mut cells = Map::new();
    let mut faults = Faults::of_query();
    for (column, cell) in columns.iter().zip(record) {
        match std::str::from_utf8(cell) {
            Ok("") => {}
            Ok(text) => {
                cells.insert(column.clone(), Value::String(text.to_owned()));
            }
            Err(_) => faults.push(column, "is not UTF-8"),
        }
    }
    let whole = Value::Object(cells.clone());
    refuse_forbidden(&whole, "", &mut faults);
    let read = T::read(&whole, &(), "", &mut faults);
    let found: Vec<(String, String)> = match faults.done(read) {
        Ok(read) => return (Some(read), Vec::new()),
        Err(errors) => errors.into_iter().map(|error| (error.field, error.message)).collect(),
    };
    // The other cells can still be checked, so that all errors are shown at once.
    for (column, _) in &found {
        cells.remove(column);
    }
    let mut again = Faults::of_query();
    (T::read(&Value::Object(cells), &(), "", &mut again), found)
}

/// Sixteen hexadecimal digits, which do not depend on the order of the columns.
fn digest(columns: &[String], record: &ByteRecord) -> String {
    let mut cells: Vec<(&String, &[u8])> = columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()).collect();
    cells.sort_unstable();
    let mut hash = Sha256::new();
    for (column, cell) in cells {
        hash.update((column.len() as u64).to_le_bytes());
        hash.update(column.as_bytes());
        hash.update((cell.len() as u64).to_le_bytes());
        hash.update(cell);
    }
    hash.finalize().iter().take(8).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
