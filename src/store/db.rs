//! One SQL text, two databases: the enum adapter over SQLite and PostgreSQL that every other file of `store` speaks through.
//!
//! Four seams are written once in the text and adapted here:
//! - `for update [of x] [skip locked]` and `for share` are dropped on SQLite, where `BEGIN IMMEDIATE` already keeps other writers out;
//! - `in list($n)` takes a JSON array of texts;
//! - `in once(select … limit … for update skip locked)` is evaluated once: as a mere `in (…)` PostgreSQL may do so for each row of the
//!   statement around it, and each time lock other rows, beyond the limit;
//! - [`Tx::insert_rows`] and [`Tx::update_rows`] send any number of rows as one statement with one JSON parameter.

mod advisory_lock;
mod bulk;
mod dialect;
mod fields;
mod json_rows;
mod maintenance;
mod observer;
mod snapshot;
mod sqlite;

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Arguments, AssertSqlSafe, Connection, Encode, FromRow, PgConnection, PgPool, Postgres, Sqlite, SqlitePool, Transaction, Type,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow, SqliteSynchronous},
};

pub use advisory_lock::AdvisoryLock;
pub use bulk::Row;
use dialect::{adapt, is_away, is_missing_table, parameters, told, without_password};
pub use json_rows::Batched;
use observer::{ConnectionGuard, Observer, observed};
pub use observer::{DbObserver, DbOperation};

/// A fault of the database, in words for an operator. Values never appear in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database.url must start with sqlite:// or postgres://")]
    BadUrl,
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    #[error(
        "the database was migrated by a newer rebilld (migration {0} is unknown here): install that version, or restore a backup"
    )]
    Newer(i64),
    #[error("the database is not migrated: run `rebilld migrate` (or `rebilld serve`, which does it at start)")]
    NotMigrated,
    #[error("migration failed: {0}")]
    Migration(String),
    #[error("a row with the same unique value exists already")]
    Conflict,
    /// Two transactions stood in each other's way and this one was undone: trying again is safe.
    #[error("the database was busy with the same rows: try again")]
    Busy,
    #[error("database: {0}")]
    Database(String),
    #[error("a row could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("statement has {wanted} parameters and was given {given}: {sql}")]
    Parameters { wanted: usize, given: usize, sql: String },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => Self::Conflict,
            sqlx::Error::Database(inner) if is_missing_table(inner.message(), inner.code().as_deref()) => Self::NotMigrated,
            // PostgreSQL: deadlock, serialization failure, lock not available. SQLite: busy, locked, stale snapshot.
            sqlx::Error::Database(inner)
                if inner.code().is_some_and(|code| matches!(&*code, "40P01" | "40001" | "55P03" | "5" | "6" | "517")) =>
            {
                Self::Busy
            }
            sqlx::Error::Database(inner) if inner.code().is_some_and(|code| is_away(&code)) => {
                Self::Unreachable(inner.message().to_owned())
            }
            sqlx::Error::Database(inner) => Self::Database(told(inner.message(), inner.code().as_deref())),
            // The cause may quote what the column holds.
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::Database(format!("column {index} holds what this version cannot read"))
            }
            sqlx::Error::Decode(_) => Self::Database("a row holds what this version cannot read".to_owned()),
            sqlx::Error::Encode(_) => Self::Database("a value could not be sent".to_owned()),
            // A line that is cut amid the greeting is told as a greeting that makes no sense.
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::Database(error.to_string()),
        }
    }
}

/// How long PostgreSQL may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long after its last use a connection of the pool counts as alive.
const FRESH: Duration = Duration::from_secs(1);

/// How long PostgreSQL may take over one statement. A connection whose other end has vanished would never answer.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(5);

pub type Result<T> = std::result::Result<T, Error>;

const MIGRATION_PAUSE: Duration = Duration::from_millis(200);

/// Fails after `timeout`. Without it, a caller would wait for ever for an answer that a lost network never brings.
async fn with_timeout<T>(timeout: Duration, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Unreachable(format!("no answer within {timeout:?}"))),
    }
}

/// A value that both databases can bind.
pub trait Param: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}
impl<T> Param for T where T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}

/// A row type that both databases can decode.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// How much the database was asked to do; the benchmark reads it.
#[derive(Debug, Default)]
pub struct Tally {
    pub statements: AtomicU64,
    pub commits: AtomicU64,
    pub rows: AtomicU64,
}

#[derive(Clone)]
enum Pools {
    /// One writer, so that writers queue instead of spinning on a lock; readers see WAL snapshots.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// An open database.
#[derive(Clone)]
pub struct Db {
    pools: Pools,
    tally: Arc<Tally>,
    observer: Observer,
    /// Of PostgreSQL; an SQLite file is always there.
    timeout: Duration,
}

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves no trace.
pub struct Tx {
    _leaving: ConnectionGuard,
    inner: Inner,
    _left: ConnectionGuard,
    tally: Arc<Tally>,
    observer: Observer,
    timeout: Duration,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Db {
    /// Opens the database without changing anything in it. Creates a missing SQLite file only if `create`.
    pub async fn open(url: &str, max_connections: u32, create: bool) -> Result<Self> {
        let pools = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(|_| Error::BadUrl)?.create_if_missing(create);
            let connect = |error: sqlx::Error| Error::Unreachable(dialect::unopened(&error));
            sqlite::pools(options.synchronous(SqliteSynchronous::Full)).await.map_err(connect)?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| Error::BadUrl)?
                // A daemon that freezes or loses its network amid a transaction must not keep its locks from the others.
                .options([("timezone", "UTC"), ("idle_in_transaction_session_timeout", "30s")])
                .application_name("rebilld")
                .statement_cache_capacity(200);
            // The pool would try again and again, and then only say that it took too long: one connection has the reason.
            let unreachable = |why: &str| Error::Unreachable(without_password(&dialect::unanswered(why), url));
            match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
                Ok(Ok(connection)) => drop(connection.close().await),
                Ok(Err(error)) => return Err(unreachable(&error.to_string())),
                Err(_) => return Err(unreachable("no answer within 10 s")),
            }
            let pool = PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(CONNECT_TIMEOUT)
                .test_before_acquire(false)
                .before_acquire(|connection, used| {
                    Box::pin(async move {
                        // What was used a moment ago need not be asked whether it lives: that is another round trip.
                        if used.idle_for > FRESH {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .connect_with(options)
                .await
                .map_err(|error| unreachable(&error.to_string()))?;
            Pools::Postgres(pool)
        } else {
            return Err(Error::BadUrl);
        };
        Ok(Self { pools, tally: Arc::default(), observer: None, timeout: STATEMENT_TIMEOUT })
    }

    /// With another bound to how long PostgreSQL may take over one statement.
    #[must_use]
    pub fn with_statement_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.pools, Pools::Postgres(_))
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// Applies what is missing of the migrations. A database that is ahead of this program is left alone.
    pub async fn migrate(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            self.check_not_newer().await?;
            let done = match &self.pools {
                Pools::Sqlite { writer, .. } => {
                    // It stands in the file's header, so it must not be set before it is known that this file is ours to change.
                    sqlx::query("pragma journal_mode = wal").execute(writer).await?;
                    sqlx::migrate!("migrations/sqlite").run(writer).await
                }
                Pools::Postgres(pool) => sqlx::migrate!("migrations/postgres").run(pool).await,
            };
            let Err(error) = done else { return Ok(()) };
            // PostgreSQL lets one migrate at a time; on SQLite another process may have been faster with the same one.
            tries += 1;
            if self.is_postgres() || tries > 3 {
                return Err(Error::Migration(error.to_string()));
            }
            tokio::time::sleep(MIGRATION_PAUSE).await;
        }
    }

    /// Fails unless every migration of this program, and no other, has been applied. Changes nothing.
    pub async fn check_migrated(&self) -> Result<()> {
        self.check_not_newer().await?;
        let applied = self.applied_migrations().await?;
        let known = sqlx::migrate!("migrations/sqlite");
        if known.iter().all(|migration| applied.contains(&migration.version)) { Ok(()) } else { Err(Error::NotMigrated) }
    }

    async fn check_not_newer(&self) -> Result<()> {
        let known = sqlx::migrate!("migrations/sqlite");
        for version in self.applied_migrations().await? {
            if !known.iter().any(|migration| migration.version == version) {
                return Err(Error::Newer(version));
            }
        }
        Ok(())
    }

    async fn applied_migrations(&self) -> Result<Vec<i64>> {
        let exists: Option<(i64,)> = match &self.pools {
            Pools::Sqlite { writer, .. } => {
                sqlx::query_as("select 1 from sqlite_master where name = '_sqlx_migrations'").fetch_optional(writer).await?
            }
            Pools::Postgres(pool) => {
                sqlx::query_as("select cast(1 as bigint) where to_regclass('_sqlx_migrations') is not null")
                    .fetch_optional(pool)
                    .await?
            }
        };
        if exists.is_none() {
            return Ok(Vec::new());
        }
        let rows: Vec<(i64,)> = self.query("select version from _sqlx_migrations").all().await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// A read outside any transaction.
    pub fn query(&self, sql: &'static str) -> Query<'_> {
        let arguments = match &self.pools {
            Pools::Sqlite { .. } => Args::Sqlite(SqliteArguments::default()),
            Pools::Postgres(_) => Args::Postgres(PgArguments::default()),
        };
        Query { target: Target::Db(self), sql, arguments, fault: None }
    }

    /// Starts a transaction that writes. On SQLite it waits here for the one writer.
    pub async fn begin(&self) -> Result<Tx> {
        observed(&self.observer, DbOperation::Begin, async {
            let inner = match &self.pools {
                Pools::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("begin immediate").await?),
                Pools::Postgres(pool) => {
                    let pool = pool.clone();
                    // In a task of its own: whoever stops waiting must not leave a transaction open on a connection of the pool.
                    let begun = tokio::spawn(async move { pool.begin().await });
                    Inner::Postgres(
                        with_timeout(self.timeout, async { begun.await.map_err(|_| sqlx::Error::WorkerCrashed)? }).await?,
                    )
                }
            };
            Ok(Tx::new(inner, self))
        })
        .await
    }
}

impl Tx {
    fn new(inner: Inner, db: &Db) -> Self {
        let (observer, tally) = (db.observer.clone(), db.tally.clone());
        Self {
            _leaving: ConnectionGuard::leaving(&observer),
            inner,
            _left: ConnectionGuard::left(&observer),
            tally,
            observer,
            timeout: db.timeout,
        }
    }

    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        let arguments = match &self.inner {
            Inner::Sqlite(_) => Args::Sqlite(SqliteArguments::default()),
            Inner::Postgres(_) => Args::Postgres(PgArguments::default()),
        };
        Query { target: Target::Tx(self), sql, arguments, fault: None }
    }

    pub async fn commit(self) -> Result<()> {
        self.tally.commits.fetch_add(1, Ordering::Relaxed);
        let (inner, timeout) = (self.inner, self.timeout);
        observed(&self.observer, DbOperation::Commit, async {
            match inner {
                Inner::Sqlite(tx) => tx.commit().await?,
                Inner::Postgres(tx) => with_timeout(timeout, tx.commit()).await?,
            }
            Ok(())
        })
        .await
    }
}

enum Args {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

enum Target<'t> {
    Db(&'t Db),
    Tx(&'t mut Tx),
}

/// A statement on its way: bind in order, then ask for rows.
#[must_use]
pub struct Query<'t> {
    target: Target<'t>,
    sql: &'static str,
    arguments: Args,
    fault: Option<Error>,
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

    async fn fetch<T: Record>(self, sql: String) -> Result<Vec<T>> {
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

    fn is_postgres(&self) -> bool {
        matches!(self.arguments, Args::Postgres(_))
    }

    fn operation(&self) -> (Observer, DbOperation<'static>) {
        match &self.target {
            Target::Db(db) => (db.observer.clone(), DbOperation::Statement { sql: self.sql, in_transaction: false }),
            Target::Tx(tx) => (tx.observer.clone(), DbOperation::Statement { sql: self.sql, in_transaction: true }),
        }
    }

    /// The text for this database. A missing bind would silently be NULL on SQLite, so the count is checked.
    fn check(&self) -> Result<String> {
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
