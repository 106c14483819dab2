//! One statement on its way to either database.

use std::sync::atomic::Ordering;

use sqlx::{
    Arguments, AssertSqlSafe, Encode, FromRow, Postgres, Sqlite, Type,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    Db, Error, Inner, Pools, Result, Tx,
    dialect::{adapt, parameters},
    observer::{DbOperation, Observer, observed},
    with_timeout,
};

/// A value that both databases can bind.
pub trait Param: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}
impl<T> Param for T where T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}

/// A row type that both databases can decode.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

pub(super) enum Args {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

pub(super) enum Target<'t> {
    Db(&'t Db),
    Tx(&'t mut Tx),
}

/// A statement on its way: bind in order, then ask for rows.
#[must_use]
pub struct Query<'t> {
    pub(super) target: Target<'t>,
    pub(super) sql: &'static str,
    pub(super) arguments: Args,
    pub(super) fault: Option<Error>,
}

impl Query<'_> {
    pub fn bind<T: Param>(mut self, value: T) -> Self {
        let added = match &mut self.arguments {
            Args::Sqlite(arguments) => arguments.add(value),
            Args::Postgres(arguments) => arguments.add(value),
        };
        if let Err(error) = added {
            self.fault = Some(Error::Database(error.to_string()));
        }
        self
    }

    /// Binds texts for `in list($n)`.
    pub fn bind_list<T: ToString>(self, values: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        self.bind(serde_json::Value::from(texts).to_string())
    }

    pub async fn all<T: Record>(self) -> Result<Vec<T>> {
        let sql = self.check()?;
        self.fetch(sql).await
    }

    pub(super) async fn fetch<T: Record>(self, sql: String) -> Result<Vec<T>> {
        let (observer, operation) = self.operation();
        observed(&observer, operation, async {
            Ok(match (self.target, self.arguments) {
                (Target::Db(Db { pools: Pools::Sqlite { readers, .. }, .. }), Args::Sqlite(args)) => {
                    sqlx::query_as_with(AssertSqlSafe(sql), args).fetch_all(readers).await?
                }
                (Target::Db(Db { pools: Pools::Postgres(pool), timeout, .. }), Args::Postgres(args)) => {
                    with_timeout(*timeout, sqlx::query_as_with(AssertSqlSafe(sql), args).fetch_all(pool)).await?
                }
                (Target::Tx(Tx { inner: Inner::Sqlite(tx), .. }), Args::Sqlite(args)) => {
                    sqlx::query_as_with(AssertSqlSafe(sql), args).fetch_all(&mut **tx).await?
                }
                (Target::Tx(Tx { inner: Inner::Postgres(tx), timeout, .. }), Args::Postgres(args)) => {
                    with_timeout(*timeout, sqlx::query_as_with(AssertSqlSafe(sql), args).fetch_all(&mut **tx)).await?
                }
                _ => unreachable!("arguments are made by the same database"),
            })
        })
        .await
    }

    pub async fn optional<T: Record>(self) -> Result<Option<T>> {
        Ok(self.all().await?.into_iter().next())
    }

    /// Exactly one row; for counts and `returning`.
    pub async fn one<T: Record>(self) -> Result<T> {
        let sql = self.sql;
        self.optional().await?.ok_or_else(|| Error::Database(format!("no row came back from: {sql}")))
    }

    /// Runs the statement; answers how many rows it changed.
    pub async fn run(self) -> Result<u64> {
        let sql = self.check()?;
        let (observer, operation) = self.operation();
        observed(&observer, operation, async {
            Ok(match (self.target, self.arguments) {
                (Target::Db(Db { pools: Pools::Sqlite { writer, .. }, .. }), Args::Sqlite(args)) => {
                    sqlx::query_with(AssertSqlSafe(sql), args).execute(writer).await?.rows_affected()
                }
                (Target::Db(Db { pools: Pools::Postgres(pool), timeout, .. }), Args::Postgres(args)) => {
                    with_timeout(*timeout, sqlx::query_with(AssertSqlSafe(sql), args).execute(pool)).await?.rows_affected()
                }
                (Target::Tx(Tx { inner: Inner::Sqlite(tx), .. }), Args::Sqlite(args)) => {
                    sqlx::query_with(AssertSqlSafe(sql), args).execute(&mut **tx).await?.rows_affected()
                }
                (Target::Tx(Tx { inner: Inner::Postgres(tx), timeout, .. }), Args::Postgres(args)) => {
                    with_timeout(*timeout, sqlx::query_with(AssertSqlSafe(sql), args).execute(&mut **tx)).await?.rows_affected()
                }
                _ => unreachable!("arguments are made by the same database"),
            })
        })
        .await
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.arguments, Args::Postgres(_))
    }

    fn operation(&self) -> (Observer, DbOperation<'static>) {
        match &self.target {
            Target::Db(db) => (db.observer.clone(), DbOperation::Statement { sql: self.sql, in_transaction: false }),
            Target::Tx(tx) => (tx.observer.clone(), DbOperation::Statement { sql: self.sql, in_transaction: true }),
        }
    }

    /// The text for this database. A missing bind would silently be NULL on SQLite, so the count is checked.
    pub(super) fn check(&self) -> Result<String> {
        if let Some(Error::Database(message)) = &self.fault {
            return Err(Error::Database(message.clone()));
        }
        let (given, postgres, tally) = match (&self.arguments, &self.target) {
            (Args::Sqlite(args), Target::Db(db)) => (args.len(), false, &db.tally),
            (Args::Sqlite(args), Target::Tx(tx)) => (args.len(), false, &tx.tally),
            (Args::Postgres(args), Target::Db(db)) => (args.len(), true, &db.tally),
            (Args::Postgres(args), Target::Tx(tx)) => (args.len(), true, &tx.tally),
        };
        tally.statements.fetch_add(1, Ordering::Relaxed);
        let wanted = parameters(self.sql);
        if wanted != given {
            return Err(Error::Parameters { wanted, given, sql: self.sql.to_owned() });
        }
        Ok(adapt(self.sql, postgres).into_owned())
    }
}
