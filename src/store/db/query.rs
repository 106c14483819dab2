//! One statement on its way to either database.

use std::{sync::atomic::Ordering, time::Duration};

use sqlx::{
    Arguments, Database, Encode, FromRow, Pool, Postgres, SqlStr, Sqlite, Type,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    Db, Error, Inner, Pools, Result, Tally, Tx,
    dialect::{Dialect, Sql, Statement},
    observer::{DbOperation, Observer, observed},
    with_timeout,
};

/// A value that both databases can bind.
pub trait Param: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}
impl<T> Param for T where T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}

/// A row type that both databases can decode.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// A statement: bind its parameters in order, then ask for rows.
#[must_use]
pub struct Query<'t> {
    on: On<'t>,
    pub(super) sql: Sql,
    /// The first value that could not be bound.
    fault: Option<Error>,
    in_transaction: bool,
    tally: &'t Tally,
    observer: &'t Observer,
}

/// The database, and the arguments as it takes them.
enum On<'t> {
    Sqlite { target: Target<'t, Sqlite>, arguments: SqliteArguments },
    Postgres { target: Target<'t, Postgres>, arguments: PgArguments, timeout: Duration },
}

enum Target<'t, D: Database> {
    Pools { readers: &'t Pool<D>, writer: &'t Pool<D> },
    Transaction(&'t mut D::Connection),
}

/// The one connection that a statement runs on.
enum Connection<'t, D: Database> {
    Pooled(PoolConnection<D>),
    Transaction(&'t mut D::Connection),
}

impl<'t, D: Database> Target<'t, D> {
    async fn reader(self) -> sqlx::Result<Connection<'t, D>> {
        Ok(match self {
            // On the heap: the future is large, and every caller's future would hold copies of it.
            Self::Pools { readers, .. } => Connection::Pooled(Box::pin(readers.acquire()).await?),
            Self::Transaction(connection) => Connection::Transaction(connection),
        })
    }

    async fn writer(self) -> sqlx::Result<Connection<'t, D>> {
        Ok(match self {
            Self::Pools { writer, .. } => Connection::Pooled(Box::pin(writer.acquire()).await?),
            Self::Transaction(connection) => Connection::Transaction(connection),
        })
    }
}

impl<D: Database> Connection<'_, D> {
    fn get(&mut self) -> &mut D::Connection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Transaction(connection) => connection,
        }
    }
}

impl Db {
    /// A read outside any transaction.
    pub fn query(&self, sql: impl Into<Sql>) -> Query<'_> {
        let on = match &self.pools {
            Pools::Sqlite { writer, readers } => {
                On::Sqlite { target: Target::Pools { readers, writer }, arguments: SqliteArguments::default() }
            }
            Pools::Postgres(pool) => On::Postgres {
                target: Target::Pools { readers: pool, writer: pool },
                arguments: PgArguments::default(),
                timeout: self.timeout,
            },
        };
        Query { on, sql: sql.into(), fault: None, in_transaction: false, tally: &self.tally, observer: &self.observer }
    }
}

impl Tx {
    pub fn query(&mut self, sql: impl Into<Sql>) -> Query<'_> {
        let on = match self.connection.get() {
            Inner::Sqlite(tx) => On::Sqlite { target: Target::Transaction(&mut **tx), arguments: SqliteArguments::default() },
            Inner::Postgres(tx) => {
                On::Postgres { target: Target::Transaction(&mut **tx), arguments: PgArguments::default(), timeout: self.timeout }
            }
        };
        Query { on, sql: sql.into(), fault: None, in_transaction: true, tally: &self.tally, observer: &self.observer }
    }
}

impl Query<'_> {
    pub fn bind<T: Param>(mut self, value: T) -> Self {
        let added = match &mut self.on {
            On::Sqlite { arguments, .. } => arguments.add(value),
            On::Postgres { arguments, .. } => arguments.add(value),
        };
        if let Err(error) = added {
            self.fault.get_or_insert(Error::Database(error.to_string()));
        }
        self
    }

    /// Binds texts for `in list($n)`.
    pub fn bind_list<T: ToString>(self, values: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        self.bind(serde_json::Value::from(texts).to_string())
    }

    pub async fn all<T: Record>(mut self) -> Result<Vec<T>> {
        let statement = self.prepare()?;
        self.fetch(statement.text).await
    }

    pub(super) async fn fetch<T: Record>(self, text: SqlStr) -> Result<Vec<T>> {
        let operation = DbOperation::Statement { sql: self.sql.as_str(), in_transaction: self.in_transaction };
        observed(self.observer, operation, async {
            match self.on {
                On::Sqlite { target, arguments } => {
                    let mut connection = target.reader().await?;
                    Ok(sqlx::query_as_with(text, arguments).fetch_all(connection.get()).await?)
                }
                On::Postgres { target, arguments, timeout } => {
                    let rows = async {
                        let mut connection = target.reader().await?;
                        sqlx::query_as_with(text, arguments).fetch_all(connection.get()).await
                    };
                    with_timeout(timeout, rows).await
                }
            }
        })
        .await
    }

    pub async fn optional<T: Record>(self) -> Result<Option<T>> {
        Ok(self.all().await?.into_iter().next())
    }

    /// Exactly one row; for counts and `returning`.
    pub async fn one<T: Record>(self) -> Result<T> {
        let sql = self.sql.clone();
        self.optional().await?.ok_or_else(|| Error::Database(format!("no row came back from: {}", sql.as_str())))
    }

    /// Runs the statement; answers how many rows it changed.
    pub async fn run(mut self) -> Result<u64> {
        let text = self.prepare()?.text;
        let operation = DbOperation::Statement { sql: self.sql.as_str(), in_transaction: self.in_transaction };
        observed(self.observer, operation, async {
            match self.on {
                On::Sqlite { target, arguments } => {
                    let mut connection = target.writer().await?;
                    Ok(sqlx::query_with(text, arguments).execute(connection.get()).await?.rows_affected())
                }
                On::Postgres { target, arguments, timeout } => {
                    let done = async {
                        let mut connection = target.writer().await?;
                        sqlx::query_with(text, arguments).execute(connection.get()).await
                    };
                    Ok(with_timeout(timeout, done).await?.rows_affected())
                }
            }
        })
        .await
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.on, On::Postgres { .. })
    }

    /// The text for this database. A missing bind would silently be NULL on SQLite, so the number is checked.
    pub(super) fn prepare(&mut self) -> Result<Statement> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        self.tally.statements.fetch_add(1, Ordering::Relaxed);
        let (dialect, given) = match &self.on {
            On::Sqlite { arguments, .. } => (Dialect::Sqlite, arguments.len()),
            On::Postgres { arguments, .. } => (Dialect::Postgres, arguments.len()),
        };
        let statement = self.sql.adapted(dialect);
        if statement.parameters == given {
            return Ok(statement);
        }
        Err(Error::Parameters { wanted: statement.parameters, given, sql: self.sql.as_str().to_owned() })
    }
}
