//! A name that is held for as long as a connection lives: the database itself lets go of it when its holder dies.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{CONNECT_PATIENCE, Db, Pools, Result, hang};

/// A held name. On SQLite, which is for one daemon, everybody holds everything.
#[derive(Debug)]
pub struct Hold(Option<PgConnection>);

/// How long a sign of life may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Db {
    /// Holds a name in this database and schema; none if another connection holds it. Takes a connection beside the pool's.
    pub async fn hold(&self, name: &str) -> Result<Option<Hold>> {
        let Pools::Postgres(pool) = &self.pools else { return Ok(Some(Hold(None))) };
        let connecting = async {
            let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
            let (held,): (bool,) =
                sqlx::query_as("select pg_try_advisory_lock(hashtextextended('rebilld ' || current_schema() || ' ' || $1, 0))")
                    .bind(name)
                    .fetch_one(&mut connection)
                    .await?;
            if held {
                return Ok(Some(Hold(Some(connection))));
            }
            connection.close().await?;
            Ok(None)
        };
        hang(CONNECT_PATIENCE, connecting).await
    }
}

impl Hold {
    /// Whether the connection is still there, and the name with it.
    pub async fn is_kept(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(connection) => tokio::time::timeout(PATIENCE, connection.ping()).await.is_ok_and(|pinged| pinged.is_ok()),
        }
    }

    /// Gives the name free.
    pub async fn let_go(self) {
        if let Some(connection) = self.0 {
            // A connection that is dead already has let go.
            let _ = tokio::time::timeout(PATIENCE, connection.close()).await;
        }
    }
}
