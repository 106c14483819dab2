//! Disputes, and the payments that the gateways are asked about.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    dispute::Dispute,
    id::{DisputeId, InvoiceId, PaymentId},
    payment::Payment,
};

impl Row for Dispute {
    const TABLE: &'static str = "disputes";
    const UNSAVED: &'static [&'static str] =
        &["payment_id", "invoice_id", "customer_id", "timeline", "gateway", "transaction_id", "currency", "opened_at"];
}

pub async fn insert(tx: &mut Tx, disputes: &[Dispute]) -> Result<()> {
    tx.insert_rows(disputes).await
}

pub async fn save(tx: &mut Tx, dispute: &Dispute) -> Result<()> {
    tx.save_rows(std::slice::from_ref(dispute)).await?;
    Ok(())
}

pub async fn get(db: &Db, id: DisputeId) -> Result<Option<Dispute>> {
    db.query("select * from disputes where id = $1").bind(id).optional().await
}

pub async fn lock_open_of(tx: &mut Tx, payment: PaymentId) -> Result<Option<Dispute>> {
    tx.query("select * from disputes where payment_id = $1 and status = 'open' for update").bind(payment).optional().await
}

/// The disputed amount of an invoice's payments, minor units.
pub async fn amount_of_invoice(db: &Db, invoice: InvoiceId) -> Result<i64> {
    let row: (i64,) = db
        .query("select cast(coalesce(sum(amount_disputed), 0) as bigint) from payments where invoice_id = $1")
        .bind(invoice)
        .one()
        .await?;
    Ok(row.0)
}

/// Payments that took money, from this id on and before that one, in their order.
pub async fn payments_between(db: &Db, from: PaymentId, until: PaymentId, limit: i64) -> Result<Vec<Payment>> {
    db.query("select * from payments where id > $1 and id < $2 and status = 'succeeded' order by id limit $3")
        .bind(from)
        .bind(until)
        .bind(limit)
        .all()
        .await
}

/// Disputed payments, from this id on and before that one, in their order.
pub async fn payments_in_dispute(db: &Db, from: PaymentId, limit: i64) -> Result<Vec<Payment>> {
    db.query(
        "select * from payments where id in (
             select payment_id from disputes where status = 'open' and payment_id > $1 order by payment_id limit $2)
         order by id",
    )
    .bind(from)
    .bind(limit)
    .all()
    .await
}

/// How far the job has come, for payments of this age.
pub async fn reached(db: &Db, days: i64) -> Result<Option<PaymentId>> {
    let row: Option<(PaymentId,)> = db.query("select reached from dispute_rounds where days = $1").bind(days).optional().await?;
    Ok(row.map(|row| row.0))
}

pub async fn reach(tx: &mut Tx, days: i64, reached: PaymentId) -> Result<()> {
    tx.query(
        "insert into dispute_rounds (days, reached) values ($1, $2)
         on conflict (days) do update set reached = excluded.reached",
    )
    .bind(days)
    .bind(reached)
    .run()
    .await?;
    Ok(())
}

/// Saves the disputed amount of a payment.
pub async fn save_payment(tx: &mut Tx, payment: &Payment) -> Result<()> {
    tx.update_rows(std::slice::from_ref(payment), &["amount_disputed"]).await?;
    Ok(())
}
