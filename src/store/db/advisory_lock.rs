//! Locks on names. PostgreSQL releases a lock when the connection or the transaction that holds it ends, also when its daemon dies.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{CONNECT_TIMEOUT, Db, Pools, Result, Tx, with_timeout};

/// A locked name. SQLite serves one daemon only, so there every name counts as locked by everybody.
#[derive(Debug)]
pub struct AdvisoryLock(Option<PgConnection>);

/// How long PostgreSQL may take to answer a ping, or to close a connection.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

impl Db {
    /// Locks a name in this database and schema, unless another connection has locked it. The lock takes a connection of its own,
    /// beside the pool.
    pub async fn try_lock_name(&self, name: &str) -> Result<Option<AdvisoryLock>> {
        let Pools::Postgres(pool) = &self.pools else { return Ok(Some(AdvisoryLock(None))) };
        let connecting = async {
            let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
            let (held,): (bool,) =
                sqlx::query_as("select pg_try_advisory_lock(hashtextextended('rebilld ' || current_schema() || ' ' || $1, 0))")
                    .bind(name)
                    .fetch_one(&mut connection)
                    .await?;
            if held {
                return Ok(Some(AdvisoryLock(Some(connection))));
            }
            connection.close().await?;
            Ok(None)
        };
        with_timeout(CONNECT_TIMEOUT, connecting).await
    }
}

impl Tx {
    /// Locks those of these names that no other transaction has locked, until this transaction ends. On SQLite writers take turns,
    /// so it locks all names.
    pub async fn try_lock_names(&mut self, names: Vec<String>) -> Result<Vec<String>> {
        if names.is_empty() || !self.is_postgres() {
            return Ok(names);
        }
        let rows: Vec<(String,)> = self
            .query(
                "select name from json_array_elements_text(cast(cast($1 as text) as json)) as asked (name)
                 where pg_try_advisory_xact_lock(hashtextextended('rebilld name ' || current_schema() || ' ' || name, 0))",
            )
            .bind_list(names)
            .all()
            .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }
}

impl AdvisoryLock {
    /// Whether the connection, and with it the lock, is still there.
    pub async fn is_kept(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(connection) => tokio::time::timeout(PING_TIMEOUT, connection.ping()).await.is_ok_and(|pinged| pinged.is_ok()),
        }
    }

    /// Releases the name. When this returns, another connection can lock the name at once.
    pub async fn unlock(self) {
        let Some(mut connection) = self.0 else { return };
        let unlocking = async {
            // A server releases the locks of a closed connection only after the client has stopped waiting.
            sqlx::query("select pg_advisory_unlock_all()").execute(&mut connection).await?;
            connection.close().await
        };
        // A dead connection has released its lock already.
        let _ = tokio::time::timeout(PING_TIMEOUT, unlocking).await;
    }
}
