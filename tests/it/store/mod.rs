//! The storage suite, on both databases: every public function of `src/store/`, and what the tables themselves refuse.

mod adapter;
mod ahead;
mod authorizations;
mod awaited;
mod claims;
mod cluster;
mod constraints;
mod coverage;
mod disputes;
mod dunning;
mod gateways;
mod installments;
mod invariants;
mod leases;
mod migrations;
mod money;
mod payment_requests;
mod people;
mod query_plans;
mod reports;
mod roll_outs;
mod round_trips;
mod samples;
mod scans;

use rebilld::store::{Db, Error, Result, Tx};
use tempfile::TempDir;

use crate::{postgres, world::On};

/// A migrated database of its own.
pub struct Ground {
    pub db: Db,
    pub url: String,
    _folder: TempDir,
}

impl Ground {
    /// Nothing in it, not even tables. None where PostgreSQL is left out.
    pub async fn bare(on: On) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match on {
            On::Sqlite => format!("sqlite://{}", folder.path().join("rebilld.db").display()),
            On::Postgres => postgres::fresh_database().await?,
        };
        let db = Db::open(&url, 12, true).await.expect("database");
        Some(Self { db, url, _folder: folder })
    }

    pub async fn new(on: On) -> Option<Self> {
        let ground = Self::bare(on).await?;
        ground.db.migrate().await.expect("migrated");
        Some(ground)
    }

    /// One transaction, committed.
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> T {
        let mut tx = self.db.begin().await.expect("begun");
        let done = work(&mut tx).await.expect("written");
        tx.commit().await.expect("committed");
        done
    }

    /// One transaction that is refused, and why.
    pub async fn refused<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Error {
        let mut tx = self.db.begin().await.expect("begun");
        match work(&mut tx).await {
            Ok(_) => panic!("accepted"),
            Err(error) => error,
        }
    }

    /// A statement that only this test knows; its text lives as long as the process.
    pub async fn run(&self, sql: impl Into<String>) -> Result<u64> {
        let sql: &'static str = Box::leak(sql.into().into_boxed_str());
        self.db.query(sql).run().await
    }

    pub async fn count(&self, table: &str) -> i64 {
        let sql: &'static str = Box::leak(format!("select count(*) from {table}").into_boxed_str());
        let row: (i64,) = self.db.query(sql).one().await.expect("count");
        row.0
    }
}

/// Two tests of one body, one for each database.
macro_rules! on_both {
    ($(async fn $name:ident($ground:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn proof($ground: &crate::store::Ground) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                if let Some(ground) = crate::store::Ground::new(crate::world::On::Sqlite).await {
                    proof(&ground).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(ground) = crate::store::Ground::new(crate::world::On::Postgres).await {
                    proof(&ground).await;
                }
            }
        }
    )+};
}
pub(crate) use on_both;
