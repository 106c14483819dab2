//! The storage suite, on both databases: every public function of `src/store/`, and what the tables themselves refuse.

mod adapter;
mod ahead;
mod authorizations;
mod claims;
mod cluster;
mod constraints;
mod coverage;
mod credit_notes;
mod disputes;
mod dunning;
mod gateways;
mod installments;
mod invariants;
mod leases;
mod migrations;
mod money;
mod next_due;
mod payment_requests;
mod people;
mod query_plans;
mod reports;
mod roll_outs;
mod round_trips;
mod samples;
mod scans;

use rebilld::store::{Error, Result, Tx};

use crate::database::TestDatabase;
pub(crate) use crate::database::on_both;

impl TestDatabase {
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
