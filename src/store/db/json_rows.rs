//! Many rows read as one JSON value, where that is faster. SQLite hands a row over value by value, each in memory of its own and from
//! one thread to another, which costs several times what finding the row does. PostgreSQL sends rows as they are.

use serde::de::DeserializeOwned;

use super::{
    Error, Query, Record, Result,
    columns::{self, ColumnKind},
};

impl Query<'_> {
    /// The rows that [`Query::all`] reads, of a plain `select`; for those that come by the hundred.
    pub async fn batch<T: Record + DeserializeOwned + 'static>(mut self) -> Result<Vec<T>> {
        let statement = self.prepare()?;
        if self.is_postgres() {
            return self.fetch(statement.text).await;
        }
        let values = || columns::names::<T>().iter().map(|name| value::<T>(name)).collect::<Vec<_>>().join(", ");
        let text = self.sql.json::<T>(values).text;
        let rows: Vec<(String,)> = self.fetch(text).await?;
        // serde's message may quote what the columns hold.
        let unreadable = |_| Error::Database("a row holds what this version cannot read".to_owned());
        rows.first().map_or_else(|| Ok(Vec::new()), |row| serde_json::from_str(&row.0).map_err(unreadable))
    }
}

/// A column as JSON.
fn value<T: DeserializeOwned>(column: &'static str) -> String {
    match columns::kind::<T>(column) {
        ColumnKind::Plain => column.to_owned(),
        ColumnKind::Flag => format!("json(iif({column}, 'true', 'false'))"),
        ColumnKind::Json => format!("json({column})"),
    }
}
