//! Payment methods. Writers hold the customer's lock, so that there is one default at most.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    id::{CustomerId, PaymentMethodId},
    payment_method::PaymentMethod,
};

impl Row for PaymentMethod {
    const TABLE: &'static str = "payment_methods";
    const UNSAVED: &'static [&'static str] =
        &["customer_id", "gateway", "kind", "customer_token", "payment_method_token", "transaction_id", "channels", "created_at"];
}

pub async fn insert(tx: &mut Tx, method: &PaymentMethod) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(method)).await
}

pub async fn insert_many(tx: &mut Tx, methods: &[PaymentMethod]) -> Result<()> {
    tx.insert_rows(methods).await
}

pub async fn save(tx: &mut Tx, method: &PaymentMethod) -> Result<()> {
    tx.save_rows(std::slice::from_ref(method)).await?;
    Ok(())
}

pub async fn get(db: &Db, id: PaymentMethodId) -> Result<Option<PaymentMethod>> {
    db.query("select * from payment_methods where id = $1").bind(id).optional().await
}

pub async fn lock(tx: &mut Tx, id: PaymentMethodId) -> Result<Option<PaymentMethod>> {
    tx.query("select * from payment_methods where id = $1 for update").bind(id).optional().await
}

pub async fn of_customer(tx: &mut Tx, customer: CustomerId) -> Result<Vec<PaymentMethod>> {
    tx.query("select * from payment_methods where customer_id = $1 order by is_default desc, priority, id")
        .bind(customer)
        .all()
        .await
}

/// All methods of these customers, each customer's in the order in which they are tried.
pub async fn of_customers(tx: &mut Tx, customers: &[CustomerId]) -> Result<Vec<PaymentMethod>> {
    tx.query("select * from payment_methods where customer_id in list($1) order by customer_id, is_default desc, priority, id")
        .bind_list(customers)
        .all()
        .await
}

/// Marks methods whose issuer stopped recurring charges, unless they are marked already.
pub async fn end_mandates(tx: &mut Tx, ids: &[PaymentMethodId], now: DateTime<Utc>) -> Result<Vec<PaymentMethod>> {
    tx.query(
        "update payment_methods set mandate_ended_at = $2, updated_at = $2
         where id in list($1) and mandate_ended_at is null returning *",
    )
    .bind_list(ids)
    .bind(now)
    .all()
    .await
}

/// The methods that ask these customers to pay, each customer's first choice first.
pub async fn that_ask(tx: &mut Tx, customers: &[CustomerId]) -> Result<Vec<PaymentMethod>> {
    tx.query(
        "select * from payment_methods where customer_id in list($1) and kind = 'payment_request'
         order by is_default desc, priority, id",
    )
    .bind_list(customers)
    .all()
    .await
}

pub async fn clear_default(tx: &mut Tx, customer: CustomerId) -> Result<()> {
    tx.query("update payment_methods set is_default = false where customer_id = $1 and is_default").bind(customer).run().await?;
    Ok(())
}

/// A subscription or installment plan that has not ended and names this method.
pub async fn named_by(tx: &mut Tx, id: PaymentMethodId) -> Result<Option<String>> {
    let found: Option<(String,)> = tx
        .query(
            "select s.id from subscriptions s join payment_methods m on m.customer_id = s.customer_id
             where m.id = $1 and s.payment_method_id = $1 and s.status not in ('cancelled', 'completed')
             union all
             select a.id from installment_plans a join payment_methods m on m.customer_id = a.customer_id
             where m.id = $1 and a.payment_method_id = $1 and a.status in ('open', 'defaulted') limit 1",
        )
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|row| row.0))
}

pub async fn delete(tx: &mut Tx, id: PaymentMethodId) -> Result<()> {
    tx.query("delete from payment_methods where id = $1").bind(id).run().await?;
    Ok(())
}

/// The customer that a method belongs to.
pub async fn owner(tx: &mut Tx, id: PaymentMethodId) -> Result<Option<CustomerId>> {
    let found: Option<(CustomerId,)> =
        tx.query("select customer_id from payment_methods where id = $1").bind(id).optional().await?;
    Ok(found.map(|row| row.0))
}
