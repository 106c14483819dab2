//! Migrations: applied at start, and refused where a newer program has been.

use std::time::Duration;

use super::{Db, Error, Pools, Result};

const MIGRATION_PAUSE: Duration = Duration::from_millis(200);
/// How often a migration that failed is tried again.
const FAILURES: u32 = 3;
/// How often a file that another process holds is tried again: for 30 seconds, as long as a statement waits for a lock.
const WAITS: u32 = 150;

impl Db {
    /// Applies what is missing of the migrations. A database that is ahead of this program is left alone.
    pub async fn migrate(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let done = self.migrate_once().await;
            // PostgreSQL lets one daemon migrate at a time. On SQLite another process may have applied the same migration first, or
            // holds the file for as long as it changes the mode: SQLite does not wait for that by itself.
            let most = match &done {
                Err(Error::Migration(_)) if !self.is_postgres() => FAILURES,
                Err(Error::Busy) if !self.is_postgres() => WAITS,
                _ => 0,
            };
            if tries >= most {
                return done;
            }
            tries += 1;
            tokio::time::sleep(MIGRATION_PAUSE).await;
        }
    }

    async fn migrate_once(&self) -> Result<()> {
        self.check_not_newer().await?;
        let done = match &self.pools {
            Pools::Sqlite { writer, .. } => {
                // The mode is stored in the header of the file, so it is set only once the file is known to be ours to change.
                sqlx::query("pragma journal_mode = wal").execute(writer).await?;
                sqlx::migrate!("migrations/sqlite").run(writer).await
            }
            Pools::Postgres(pool) => sqlx::migrate!("migrations/postgres").run(pool).await,
        };
        done.map_err(|error| Error::Migration(error.to_string()))
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
}
