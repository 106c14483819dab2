//! Every table as rows of text, for exports. The list is in an order in which rows find what they refer to.
//!
//! Rows are read through their types, so that both databases give the same text.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Db, Error, Result, Tx, db::Row};
use crate::domain::{
    api_key::ApiKey,
    authorization::Authorization,
    catalog::{AddOnEntry, DiscountEntry},
    clock::TestClock,
    count,
    credit_note::CreditNote,
    customer::{Credit, Customer},
    dispute::Dispute,
    dunning::Policy,
    event::Event,
    installment_plan::{Installment, InstallmentPlan},
    invoice::Invoice,
    payment::Payment,
    payment_method::PaymentMethod,
    payment_request::PaymentRequest,
    plan::Plan,
    refund::Refund,
    roll_out::RollOut,
    subscription::Subscription,
};

/// Rows read at a time.
const PAGE: i64 = 1000;

type Page = for<'a> fn(&'a mut Tx, String, &'static [&'static str]) -> BoxFuture<'a, Result<Vec<Fields>>>;

/// One row: its values in the order of the table's columns.
pub type Fields = Vec<Value>;

pub struct Table {
    pub name: &'static str,
    pub columns: fn() -> &'static [&'static str],
    page: Page,
}

/// The last number given out, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Counter {
    pub name: String,
    pub value: i64,
}

impl Row for Counter {
    const TABLE: &'static str = "counters";
}

/// Tables that are not exported: (name, why).
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("dispute_rounds", "how far asking about disputes has come"),
    ("idempotency_keys", "answers kept for a day, which may hold the text of an API key"),
    ("instances", "which daemons run just now"),
    ("occurrences", "whose turn it is just now"),
];

macro_rules! tables {
    ($($name:literal by $key:literal: $row:ty $(, only $columns:expr)?;)+) => {
        /// Every table that is exported.
        pub const TABLES: &[Table] = &[$(Table {
            name: $name,
            columns: || [$($columns,)? <$row as Row>::columns()][0],
            page: |tx, after, columns| Box::pin(async move {
                let sql = concat!("select * from ", $name, " where ", $key, " > $1 order by ", $key, " limit $2");
                let rows: Vec<$row> = tx.query(sql).bind(after).bind(PAGE).all().await?;
                rows.iter().map(|row| fields(row, columns)).collect()
            }),
        },)+];
    };
}

tables! {
    "counters" by "name": Counter;
    "clocks" by "id": TestClock;
    // Without the digest: whoever has it can look for the key behind it.
    "api_keys" by "id": ApiKey, only &["id", "name", "last_four", "scope", "created_at", "revoked_at"];
    "add_ons" by "id": AddOnEntry;
    "discounts" by "id": DiscountEntry;
    "dunning_policies" by "id": Policy;
    "plans" by "id": Plan;
    "customers" by "id": Customer;
    "credits" by "id": Credit;
    "payment_methods" by "id": PaymentMethod;
    "subscriptions" by "id": Subscription;
    "installment_plans" by "id": InstallmentPlan;
    "installments" by "id": Installment;
    "invoices" by "id": Invoice;
    "payment_requests" by "id": PaymentRequest;
    "payments" by "id": Payment;
    "refunds" by "id": Refund;
    "credit_notes" by "id": CreditNote;
    "authorizations" by "id": Authorization;
    "disputes" by "id": Dispute;
    "roll_outs" by "id": RollOut;
    "events" by "id": Event;
    "job_runs" by "id": super::runs::JobRun;
    "invariant_violations" by "name": super::invariants::Violation;
    "gateway_pauses" by "gateway": super::gateways::GatewayPause;
    // Without the digest of the key.
    "gateway_refusals" by "gateway": super::gateways::GatewayRefusal, only &["gateway", "reason", "probes", "refused_at", "next_probe_at"];
}

/// Gives every row of these tables to `sink`, table by table and in the order of their keys, all as they stood at one moment. It keeps
/// one page of rows in memory. A sink that fails ends it.
pub async fn read<E>(
    db: &Db,
    tables: impl IntoIterator<Item = &'static Table>,
    mut sink: impl FnMut(&'static Table, Fields) -> std::result::Result<(), E>,
) -> std::result::Result<(), E>
where
    E: From<Error>,
{
    let mut tx = db.snapshot().await?;
    for table in tables {
        let mut after = String::new();
        loop {
            let rows = (table.page)(&mut tx, after.clone(), (table.columns)()).await?;
            let full = count(rows.len()) == PAGE;
            for row in rows {
                // The key is the first column of every table.
                if let Some(Value::String(key)) = row.first() {
                    after.clone_from(key);
                }
                sink(table, row)?;
            }
            if !full {
                break;
            }
        }
    }
    Ok(())
}

fn fields<T: Serialize>(row: &T, columns: &[&str]) -> Result<Fields> {
    let mut object = match serde_json::to_value(row)? {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    Ok(columns.iter().map(|column| object.remove(*column).unwrap_or(Value::Null)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_table_is_forgotten() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
        let files = std::fs::read_dir(folder).expect("folder").flatten();
        let migrations: String = files.map(|file| std::fs::read_to_string(file.path()).expect("text")).collect();
        let there: BTreeSet<&str> =
            migrations.lines().filter_map(|line| line.strip_prefix("create table ")?.split_whitespace().next()).collect();
        let known: BTreeSet<&str> = TABLES.iter().map(|table| table.name).chain(LEFT_OUT.iter().map(|left| left.0)).collect();
        assert_eq!(known, there);
    }
}
