//! Disputes, and the payments that are to be asked about.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    dispute::Dispute,
    id::{DisputeId, InvoiceId, PaymentId},
    payment::Payment,
};

impl Row for Dispute {
    const TABLE: &'static str = "disputes";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "payment_id",
        "invoice_id",
        "customer_id",
        "timeline",
        "gateway",
        "transaction_id",
        "amount",
        "currency",
        "status",
        "reason",
        "opened_at",
        "closed_at",
    ];
}

pub async fn insert(tx: &mut Tx, disputes: &[Dispute]) -> Result<()> {
    tx.insert_rows(disputes).await
}

pub async fn save(tx: &mut Tx, dispute: &Dispute) -> Result<()> {
    tx.update_rows(std::slice::from_ref(dispute), &["amount", "status", "reason", "closed_at"]).await?;
    Ok(())
}

pub async fn get(db: &Db, id: DisputeId) -> Result<Option<Dispute>> {
    db.query("select * from disputes where id = $1").bind(id).optional().await
}

pub async fn lock_open_of(tx: &mut Tx, payment: PaymentId) -> Result<Option<Dispute>> {
    tx.query("select * from disputes where payment_id = $1 and status = 'open' for update").bind(payment).optional().await
}

/// What is disputed of an invoice's payments, minor units.
pub async fn amount_of_invoice(db: &Db, invoice: InvoiceId) -> Result<i64> {
    let row: (i64,) = db
        .query("select cast(coalesce(sum(amount_disputed), 0) as bigint) from payments where invoice_id = $1")
        .bind(invoice)
        .one()
        .await?;
    Ok(row.0)
}

/// Claims payments that are to be asked about, the longest due first. If the claimer dies, they fall due again at `until`.
pub async fn claim_checks(tx: &mut Tx, now: DateTime<Utc>, until: DateTime<Utc>, limit: i64) -> Result<Vec<Payment>> {
    tx.query(
        "update payments set dispute_check_at = $2
         where id in (
             select id from payments where dispute_check_at <= $1 order by dispute_check_at limit $3 for update skip locked)
         returning *",
    )
    .bind(now)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// Writes what is disputed of a payment, and when it is asked about next.
pub async fn save_payment(tx: &mut Tx, payment: &Payment) -> Result<()> {
    tx.update_rows(std::slice::from_ref(payment), &["amount_disputed", "dispute_check_at"]).await?;
    Ok(())
}
