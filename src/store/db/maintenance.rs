//! Maintenance that a database does by itself after a while, asked for now: after a bulk load the planner needs statistics.

use super::{Db, Pools, Result};

impl Db {
    /// Collects statistics on PostgreSQL; moves the log into the file on SQLite.
    pub async fn run_maintenance(&self) -> Result<()> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => {
                sqlx::query("pragma wal_checkpoint(truncate)").execute(writer).await?;
            }
            Pools::Postgres(pool) => {
                sqlx::query("vacuum analyze").execute(pool).await?;
            }
        }
        Ok(())
    }

    /// The names of all tables, ours or not, that a statement without a schema would find.
    pub async fn table_names(&self) -> Result<Vec<String>> {
        let names: Vec<(String,)> = match &self.pools {
            Pools::Sqlite { writer, .. } => {
                sqlx::query_as("select name from sqlite_master where type = 'table' order by name").fetch_all(writer).await?
            }
            Pools::Postgres(pool) => {
                sqlx::query_as("select cast(tablename as text) from pg_tables where schemaname = current_schema() order by 1")
                    .fetch_all(pool)
                    .await?
            }
        };
        Ok(names.into_iter().map(|name| name.0).collect())
    }
}
