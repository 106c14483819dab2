//! How SQLite is opened: one writer, so that writers queue instead of spinning on a lock; readers see WAL snapshots.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};

use super::{Db, Pools, Result, STATEMENT_TIMEOUT};

pub(super) async fn pools(options: SqliteConnectOptions) -> sqlx::Result<Pools> {
    let options = options
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(30))
        .pragma("cache_size", "-65536")
        .pragma("temp_store", "memory")
        // In pages, 16 MiB. The log is copied into the file less often, and a page that changed several times only once.
        .pragma("wal_autocheckpoint", "4000")
        // Enough that the two threads of a read seldom wait for each other.
        .row_buffer_size(2048)
        .statement_cache_capacity(200);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_mins(1))
        .connect_with(options.clone())
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(4)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.read_only(true).create_if_missing(false))
        .await?;
    Ok(Pools::Sqlite { writer, readers })
}

impl Db {
    /// Opens a database in a file that nobody will miss, and creates the file if it is not there. The database does not wait for the disk,
    /// so a power cut may corrupt it.
    pub async fn scratch(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let db = Self {
            pools: pools(options.synchronous(SqliteSynchronous::Off)).await?,
            tally: Arc::default(),
            observer: None,
            timeout: STATEMENT_TIMEOUT,
        };
        db.migrate().await?;
        Ok(db)
    }
}
