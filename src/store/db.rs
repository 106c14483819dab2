//! One SQL text, two databases: the adapter over SQLite and PostgreSQL that every other file of `store` uses.
//!
//! `dialect` says what a statement may write once for both. [`Tx::insert_rows`] and [`Tx::update_rows`] send any number of rows as
//! one statement with one JSON parameter.

mod advisory_lock;
mod bulk;
mod columns;
mod dialect;
mod error;
mod fields;
mod json_rows;
mod maintenance;
mod migrate;
mod observer;
mod query;
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
    Connection, PgConnection, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

pub use advisory_lock::AdvisoryLock;
pub use bulk::Row;
#[doc(hidden)]
pub use dialect::adapt;
pub use dialect::{Dialect, Sql};
pub use error::{Error, Result};
use error::{unanswered, unopened, without_password};
use observer::{ConnectionGuard, Observer, observed};
pub use observer::{DbObserver, DbOperation};
pub use query::{Param, Query, Record};

/// How long PostgreSQL may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection of the pool counts as alive after its last use.
const FRESH: Duration = Duration::from_secs(1);

/// How long PostgreSQL may take over one statement. A connection whose other end has vanished would never answer.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(5);

/// Fails after `timeout`. Without it, a caller would wait for ever for an answer that a lost network never brings.
async fn with_timeout<T>(timeout: Duration, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Unreachable(format!("no answer within {timeout:?}"))),
    }
}

/// Counts what the database was asked to do, for the benchmark.
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
    /// For PostgreSQL only; an SQLite file always answers.
    timeout: Duration,
}

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves no trace.
pub struct Tx {
    connection: ConnectionGuard,
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
            let connect = |error: sqlx::Error| Error::Unreachable(unopened(&error));
            sqlite::pools(options.synchronous(SqliteSynchronous::Full)).await.map_err(connect)?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| Error::BadUrl)?
                // A daemon that freezes or loses its network inside a transaction must not keep its locks.
                .options([("timezone", "UTC"), ("idle_in_transaction_session_timeout", "30s")])
                .application_name("rebilld")
                .statement_cache_capacity(200);
            // A pool would try again and again, and then say only that it took too long. One connection tells the reason.
            let unreachable = |why: &str| Error::Unreachable(without_password(&unanswered(why), url));
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
                        // A ping is another round trip, so a connection that was used a moment ago gets none.
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

    /// Sets how long PostgreSQL may take over one statement.
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

    /// Starts a transaction that writes. On SQLite it waits here for the one writer.
    pub async fn begin(&self) -> Result<Tx> {
        observed(&self.observer, DbOperation::Begin, async {
            let inner = match &self.pools {
                Pools::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("begin immediate").await?),
                Pools::Postgres(pool) => {
                    let pool = pool.clone();
                    // In a task of its own, so that a caller that stops waiting leaves no open transaction on a connection of the pool.
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
    fn new(connection: Inner, db: &Db) -> Self {
        let connection = ConnectionGuard::new(connection, &db.observer);
        Self { connection, tally: db.tally.clone(), observer: db.observer.clone(), timeout: db.timeout }
    }

    fn is_postgres(&mut self) -> bool {
        matches!(self.connection.get(), Inner::Postgres(_))
    }

    pub async fn commit(mut self) -> Result<()> {
        self.tally.commits.fetch_add(1, Ordering::Relaxed);
        let (connection, timeout) = (self.connection.take(), self.timeout);
        observed(&self.observer, DbOperation::Commit, async {
            match connection {
                Inner::Sqlite(tx) => tx.commit().await?,
                Inner::Postgres(tx) => with_timeout(timeout, tx.commit()).await?,
            }
            Ok(())
        })
        .await
    }
}
