//! A name that is held for as long as a connection lives: the database itself lets go of it when its holder dies.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{CONNECT_PATIENCE, Db, Inner, Pools, Result, Tx, hang};

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

impl Tx {
    /// Holds those of these names that no other transaction holds, until this one ends. On SQLite, whose writers take turns: all.
    pub async fn hold_free(&mut self, names: Vec<String>) -> Result<Vec<String>> {
        if names.is_empty() || matches!(self.inner, Inner::Sqlite(_)) {
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
