//! A copy of what billing may still touch, for a simulation: taken at one moment from either database into an SQLite file.
//!
//! History stays behind: paid invoices, events, job runs, keys. Pauses of gateways stay behind too, since a simulation asks what will
//! be billed. A call that the gateway has not answered counts as never made.

use chrono::{DateTime, Utc};

use super::{
    Db, Result, Tx,
    db::{Record, Row},
    tables::Counter,
};
use crate::domain::{
    clock::TestClock,
    customer::Customer,
    dunning::Policy,
    installment_plan::{Installment, InstallmentPlan},
    invoice::Invoice,
    payment::Payment,
    payment_method::PaymentMethod,
    plan::Plan,
    roll_out::RollOut,
    subscription::Subscription,
};

/// Rows copied at a time.
const PAGE: i64 = 1000;

/// Copies into an empty database. Payments at a gateway that is not in `gateways` are parked: nobody could ask it.
pub async fn living(from: &Db, to: &Db, now: DateTime<Utc>, gateways: &[&str]) -> Result<u64> {
    let mut source = from.snapshot().await?;
    let mut tx = to.begin().await?;
    tx.query("delete from counters").run().await?;
    let mut rows = 0;
    macro_rules! copy {
        ($($row:ty: $key:literal, $sql:literal;)+) => {$(
            rows += table::<$row>(
                &mut source,
                &mut tx,
                concat!($sql, " and ", $key, " > $1 order by ", $key, " limit $2"),
                |row| row.key(),
            )
            .await?;
        )+};
    }
    copy! {
        Counter: "name", "select * from counters where 1 = 1";
        TestClock: "id", "select * from clocks where 1 = 1";
        Policy: "id", "select * from dunning_policies where 1 = 1";
        Plan: "id", "select * from plans where 1 = 1";
        Customer: "id", "select * from customers where 1 = 1";
        PaymentMethod: "id", "select * from payment_methods where 1 = 1";
        Subscription: "id", "select * from subscriptions where (status not in ('completed', 'cancelled')
            or id in (select subscription_id from invoices where status = 'open'))";
        RollOut: "id", "select * from roll_outs where status = 'running'";
        InstallmentPlan: "id", "select * from installment_plans where (ended_at is null
            or id in (select installment_plan_id from invoices where status = 'open'))";
        Installment: "id", "select * from installments where installment_plan_id in (
            select id from installment_plans where ended_at is null
            union select installment_plan_id from invoices where status = 'open')";
        Invoice: "id", "select * from invoices where status = 'open'";
        Payment: "id", "select * from payments where invoice_id in (select id from invoices where status = 'open')";
    }
    tx.query(
        "update payments set status = 'unknown', transaction_id = null, lookups = 0, next_lookup_at = $1, lease_owner = null,
             lease_expires_at = null
         where status in ('pending', 'authorized', 'unknown')",
    )
    .bind(now)
    .run()
    .await?;
    tx.query(
        "update payments set status = 'parked', next_lookup_at = null where status = 'unknown' and not (gateway in list($1))",
    )
    .bind_list(gateways)
    .run()
    .await?;
    tx.commit().await?;
    Ok(rows)
}

/// The names of all gateways that any payment method is of.
pub async fn gateways(copy: &Db) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = copy.query("select distinct gateway from payment_methods order by gateway").all().await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

trait Keyed {
    fn key(&self) -> String;
}

impl Keyed for Counter {
    fn key(&self) -> String {
        self.name.clone()
    }
}

macro_rules! keyed {
    ($($row:ty),+) => {$(
        impl Keyed for $row {
            fn key(&self) -> String {
                self.id.to_string()
            }
        }
    )+};
}
keyed!(TestClock, Policy, Plan, RollOut, Customer, PaymentMethod, Subscription, InstallmentPlan, Installment, Invoice, Payment);

async fn table<R: Row + Record>(from: &mut Tx, to: &mut Tx, sql: &'static str, key: impl Fn(&R) -> String) -> Result<u64> {
    let mut after = String::new();
    let mut count = 0;
    loop {
        let rows: Vec<R> = from.query(sql).bind(after).bind(PAGE).all().await?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = key(last);
        count += rows.len() as u64;
        to.insert_rows(&rows).await?;
    }
}
