//! Customers and the ledger of their credit.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    customer::{Credit, Customer},
    id::CustomerId,
};

impl Row for Customer {
    const TABLE: &'static str = "customers";
    // `balance` is written by `save_balances`, with the credits that explain it.
    const UNSAVED: &'static [&'static str] = &["timeline", "balance", "created_at"];
    const CASELESS: &'static [&'static str] = &["email"];
}

impl Row for Credit {
    const TABLE: &'static str = "credits";
}

pub async fn insert(tx: &mut Tx, customer: &Customer) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(customer)).await
}

pub async fn insert_many(tx: &mut Tx, customers: &[Customer]) -> Result<()> {
    tx.insert_rows(customers).await
}

/// All customers that the keys name, by id or reference.
pub async fn find_many(db: &Db, keys: &[&str]) -> Result<Vec<Customer>> {
    // Two searches: with `or` between them SQLite reads the whole table.
    db.query("select * from customers where id in list($1) union all select * from customers where reference in list($2)")
        .bind_list(keys)
        .bind_list(keys)
        .all()
        .await
}

/// Saves everything that can change, except the balance.
pub async fn save(tx: &mut Tx, customer: &Customer) -> Result<()> {
    tx.save_rows(std::slice::from_ref(customer)).await?;
    Ok(())
}

/// By id or reference.
pub async fn find(db: &Db, key: &str) -> Result<Option<Customer>> {
    db.query("select * from customers where id = coalesce((select r.id from customers r where r.reference = $1), $1)")
        .bind(key.to_owned())
        .optional()
        .await
}

/// Finds a customer by id or reference inside a transaction.
pub async fn find_in(tx: &mut Tx, key: &str) -> Result<Option<Customer>> {
    tx.query("select * from customers where id = coalesce((select r.id from customers r where r.reference = $1), $1)")
        .bind(key.to_owned())
        .optional()
        .await
}

/// Locks a customer, by id or reference, so that nobody else changes it or its payment methods.
pub async fn lock(tx: &mut Tx, key: &str) -> Result<Option<Customer>> {
    tx.query("select * from customers where id = coalesce((select r.id from customers r where r.reference = $1), $1) for update")
        .bind(key.to_owned())
        .optional()
        .await
}

/// Locks those of these customers who have credit. Most have none, and their rows stay unlocked.
pub async fn lock_with_credit(tx: &mut Tx, ids: &[CustomerId]) -> Result<Vec<Customer>> {
    tx.query("select * from customers where id in list($1) and balance > 0 order by id for update").bind_list(ids).all().await
}

pub async fn lock_many(tx: &mut Tx, ids: &[CustomerId]) -> Result<Vec<Customer>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    tx.query("select * from customers where id in list($1) order by id for update").bind_list(ids).all().await
}

/// Those of these customers that exist.
pub async fn get_many(tx: &mut Tx, ids: &[CustomerId]) -> Result<Vec<Customer>> {
    tx.query("select * from customers where id in list($1)").bind_list(ids).all().await
}

/// Saves balances together with the credits that explain them.
pub async fn save_balances(tx: &mut Tx, customers: &[Customer], credits: &[Credit]) -> Result<()> {
    tx.update_rows(customers, &["balance", "updated_at"]).await?;
    tx.insert_rows(credits).await
}

/// Removes a customer and everything that belongs to it.
pub async fn delete(tx: &mut Tx, id: CustomerId) -> Result<()> {
    tx.query("delete from customers where id = $1").bind(id).run().await?;
    Ok(())
}

/// Whether anything was ever invoiced.
pub async fn has_invoices(tx: &mut Tx, id: CustomerId) -> Result<bool> {
    let found: Option<(String,)> = tx.query("select id from invoices where customer_id = $1 limit 1").bind(id).optional().await?;
    Ok(found.is_some())
}

/// A subscription or installment plan of the customer that has not ended.
pub async fn running(tx: &mut Tx, id: CustomerId) -> Result<Option<String>> {
    let found: Option<(String,)> = tx
        .query(
            "select id from subscriptions where customer_id = $1 and status not in ('cancelled', 'completed')
             union all
             select id from installment_plans where customer_id = $1 and status in ('open', 'defaulted') limit 1",
        )
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|row| row.0))
}

/// Whether credit was ever given or used.
pub async fn has_credits(tx: &mut Tx, id: CustomerId) -> Result<bool> {
    let found: Option<(String,)> = tx.query("select id from credits where customer_id = $1 limit 1").bind(id).optional().await?;
    Ok(found.is_some())
}
