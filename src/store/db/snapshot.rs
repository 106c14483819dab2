//! Reading a whole database as it stood at one moment.

use super::{Db, Inner, Pools, Result, Tx};

impl Db {
    /// A transaction that only reads, and sees one moment for as long as it lasts.
    pub async fn snapshot(&self) -> Result<Tx> {
        let inner = match &self.pools {
            Pools::Sqlite { readers, .. } => Inner::Sqlite(readers.begin().await?),
            Pools::Postgres(pool) => Inner::Postgres(pool.begin_with("begin isolation level repeatable read read only").await?),
        };
        Ok(Tx::new(inner, self))
    }
}
