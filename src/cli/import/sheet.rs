//! Reads a CSV file row by row. Cells are read by the rules for the values of a query, and every error keeps its line and column.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
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
    let text = text(path)?;
    let mut reader = reader(&text);
    let header = reader.byte_headers().with_context(|| format!("{} cannot be read", path.display()))?;
    if let Some(fault) = separator_fault(header) {
        bail!("{}:{}: {fault}", path.display(), Lines::of(&text).line(header));
    }
    Ok(header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// Every row of a file that can be read, and the errors of cells. A file without the `required` columns is not read.
pub fn read<T: Structure>(sheet: Sheet, path: &Path, required: &[&str]) -> anyhow::Result<(Vec<Read<T>>, Vec<RowError>)> {
    let text = text(path)?;
    let (mut reader, mut lines) = (reader(&text), Lines::of(&text));
    let header = reader.byte_headers().with_context(|| format!("{} cannot be read", path.display()))?.clone();
    let (columns, mut errors) = columns::<T>(sheet, &header, lines.line(&header), required);
    let mut rows = Vec::new();
    if !errors.is_empty() {
        return Ok((rows, errors));
    }
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).with_context(|| format!("{} cannot be read", path.display()))? {
        let line = lines.line(&record);
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

fn reader(text: &[u8]) -> Reader<&[u8]> {
    ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text)
}

const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const NOT_UTF_8: &str = "is not UTF-8: save the file as UTF-8, not as Latin-1 or Windows-1252";

/// The whole file, without a byte-order mark.
fn text(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    // A file begins with the letters of a column's name, so a zero among its first two bytes is half a letter of UTF-16.
    let half_a_letter = text.iter().take(2).any(|byte| *byte == 0);
    if half_a_letter || text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        bail!("{} is UTF-16, which is not read here: save the file as UTF-8, with commas between the cells", path.display());
    }
    if text.starts_with(UTF_8_MARK) {
        text.drain(..UTF_8_MARK.len());
    }
    Ok(text)
}

/// Counts the lines of a text as an editor does: LF, CR LF and the old CR end a line, inside quotes too.
struct Lines<'t> {
    text: &'t [u8],
    counted: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    fn of(text: &'t [u8]) -> Self {
        Self { text, counted: 0, line: 1 }
    }

    /// The line on which a record begins. The records must come in the order of the file.
    fn line(&mut self, record: &ByteRecord) -> u64 {
        let after = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
        // The reader's position lies behind the last record: the LF of a CR LF and empty lines may come before this record.
        let breaks = self.text.iter().skip(after).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = after.saturating_add(breaks).min(self.text.len());
        for i in self.counted..start {
            let ends = match self.text[i] {
                b'\n' => true,
                b'\r' => self.text.get(i + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
        }
        self.counted = self.counted.max(start);
        self.line
    }
}

/// What is wrong where something other than a comma stands between the names of the columns. No column's name has such a sign in it.
fn separator_fault(header: &ByteRecord) -> Option<String> {
    let signs = [(b';', "semicolons"), (b'\t', "tabs"), (b'|', "vertical bars")];
    let (_, found) = signs.into_iter().find(|(sign, _)| header.iter().any(|name| name.contains(sign)))?;
    Some(format!("has {found} between the names of the columns: separate the cells by commas"))
}

fn columns<T: Structure>(sheet: Sheet, header: &ByteRecord, line: u64, required: &[&str]) -> (Vec<String>, Vec<RowError>) {
    let columns: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let mut errors = Vec::new();
    let mut error = |column: &str, message: String| {
        errors.push(RowError { sheet, line, column: shown(column), message, unread: None });
    };
    if let Some(fault) = separator_fault(header) {
        error("", fault);
        return (columns, errors);
    }
    for (i, column) in columns.iter().enumerate() {
        if std::str::from_utf8(&header[i]).is_err() {
            error(column, NOT_UTF_8.to_owned());
        } else if !T::names().contains(&column.as_str()) {
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
            Err(_) => faults.push(column, NOT_UTF_8),
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
