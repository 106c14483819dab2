//! Any number of rows written by one statement, from one JSON parameter.

use std::sync::atomic::Ordering;

use serde::{Serialize, de::DeserializeOwned};
use sqlx::AssertSqlSafe;

use super::{DbOperation, Error, Inner, Result, Tx, columns, fields::Part, observer::observed, with_timeout};

/// A row as the bulk statements write it. Its columns are its fields, under the names that serde gives them; the first is its key.
pub trait Row: Serialize + DeserializeOwned {
    const TABLE: &'static str;

    /// Columns that [`Tx::save_rows`] leaves alone: those that are written once, and those that only another statement writes. A column
    /// that is forgotten here is saved, which does no harm to a row that its saver holds.
    const UNSAVED: &'static [&'static str] = &[];

    /// Text columns that a list compares without case. Each needs an index on `lower(column)`.
    const CASELESS: &'static [&'static str] = &[];

    fn columns() -> &'static [&'static str] {
        columns::names::<Self>()
    }
}

impl Tx {
    /// Inserts all rows by one statement. Fails with [`Error::Conflict`] if any clashes.
    pub async fn insert_rows<R: Row>(&mut self, rows: &[R]) -> Result<()> {
        let columns = R::columns();
        self.write_rows(rows, columns, |values, source| {
            format!("insert into {} ({}) select {} from {source}", R::TABLE, columns.join(", "), values.join(", "))
        })
        .await?;
        Ok(())
    }

    /// Writes all columns of all rows that a save may change, by one statement.
    pub async fn save_rows<R: Row>(&mut self, rows: &[R]) -> Result<u64> {
        let saved: Vec<&'static str> = R::columns()[1..].iter().copied().filter(|name| !R::UNSAVED.contains(name)).collect();
        self.update_rows(rows, &saved).await
    }

    /// Writes these columns of all rows, found by their keys, by one statement.
    pub async fn update_rows<R: Row>(&mut self, rows: &[R], columns: &[&'static str]) -> Result<u64> {
        let key = R::columns()[0];
        let sent: Vec<&'static str> = std::iter::once(&key).chain(columns).copied().collect();
        self.write_rows(rows, &sent, |values, source| {
            let named: Vec<String> = values.iter().zip(&sent).map(|(value, name)| format!("{value} as {name}")).collect();
            let sets: Vec<String> = columns.iter().map(|name| format!("{name} = new.{name}")).collect();
            format!(
                "update {table} set {} from (select {} from {source}) as new where {table}.{key} = new.{key}",
                sets.join(", "),
                named.join(", "),
                table = R::TABLE
            )
        })
        .await
    }

    /// One statement over rows of which these columns are sent.
    async fn write_rows<R: Row>(
        &mut self,
        rows: &[R],
        sent: &[&'static str],
        statement: impl FnOnce(&[String], &str) -> String + Send,
    ) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        self.tally.statements.fetch_add(1, Ordering::Relaxed);
        self.tally.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        let named = self.is_postgres();
        let part = Part { fields: R::columns().iter().map(|name| (*name, sent.contains(name))).collect(), named };
        let sql = if named {
            let columns: Vec<String> = sent.iter().map(|name| (*name).to_owned()).collect();
            statement(&columns, &format!("json_populate_recordset(null::{}, cast($1 as json))", R::TABLE))
        } else {
            let columns: Result<Vec<String>> = sent.iter().map(|name| at_its_place(name, &part)).collect();
            // Each entry is parsed once, and not once more for each of its columns.
            let entries = "(with entries as materialized (select value as entry from jsonb_each($1)) select entry from entries)";
            statement(&columns?, entries)
        };
        let json = without_nul(part.of(rows)?);
        let operation = DbOperation::Statement { sql: R::TABLE, in_transaction: true };
        observed(&self.observer, operation, async {
            Ok(match self.connection.get() {
                Inner::Sqlite(tx) => sqlx::query(AssertSqlSafe(sql)).bind(json).execute(&mut **tx).await?.rows_affected(),
                Inner::Postgres(tx) => with_timeout(self.timeout, sqlx::query(AssertSqlSafe(sql)).bind(json).execute(&mut **tx))
                    .await?
                    .rows_affected(),
            })
        })
        .await
    }
}

/// A column's value in an entry that lists the values of this part.
fn at_its_place(column: &str, part: &Part) -> Result<String> {
    let place = part.fields.iter().filter(|(_, sent)| *sent).position(|(name, _)| *name == column);
    let place = place.ok_or_else(|| Error::Database(format!("a row has no field for the column {column}")))?;
    // serde writes instants with Z, sqlx with +00:00; one form must win, or texts would not sort. That instants, and they alone, end in
    // _at is tested on the schema.
    let instant = column.ends_with("_at");
    Ok(if instant { format!("replace(entry ->> {place}, 'Z', '+00:00')") } else { format!("entry ->> {place}") })
}

/// A JSON text in which U+FFFD stands for U+0000, which PostgreSQL cannot keep. The interface refuses U+0000, but a gateway's message
/// may hold it, and its outcome must be recorded all the same.
fn without_nul(json: String) -> String {
    const NUL: &str = "\\u0000";
    if !json.contains(NUL) {
        return json;
    }
    let mut kept = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        kept.push_str(&rest[..at]);
        // Two characters at a time, so that an escaped backslash before `u0000` is not taken for the escape.
        let length = if rest[at..].starts_with(NUL) { NUL.len() } else { 2 };
        kept.push_str(if length == 2 { &rest[at..at + 2] } else { "\u{fffd}" });
        rest = &rest[at + length..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_replaced_and_nothing_else() {
        for text in ["a\0b", "\0\0", "\\u0000", "\\\0", "\\\\u0000\0", "\"\u{1}\u{7f}", "😀\0é", "plain"] {
            let json = serde_json::to_string(&text).expect("json");
            let kept: String = serde_json::from_str(&without_nul(json)).expect("still JSON");
            assert_eq!(kept, text.replace('\0', "\u{fffd}"), "{text:?}");
        }
    }
}
