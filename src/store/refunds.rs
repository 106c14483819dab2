//! Refunds and voids: recorded before the call, like payments. `refunds_one_open` lets a payment have one on its way.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    id::{InvoiceId, PaymentId, RefundId},
    refund::Refund,
};

impl Row for Refund {
    const TABLE: &'static str = "refunds";
    const UNSAVED: &'static [&'static str] =
        &["payment_id", "invoice_id", "timeline", "destination", "amount", "returned_before", "currency", "reason", "created_at"];
}

pub async fn insert(tx: &mut Tx, refund: Refund) -> Result<()> {
    tx.insert_rows(&[refund]).await
}

pub async fn save(tx: &mut Tx, refund: Refund) -> Result<()> {
    tx.save_rows(&[refund]).await?;
    Ok(())
}

pub async fn lock(tx: &mut Tx, id: RefundId) -> Result<Option<Refund>> {
    tx.query("select * from refunds where id = $1 for update").bind(id).optional().await
}

pub async fn get(db: &Db, id: RefundId) -> Result<Option<Refund>> {
    db.query("select * from refunds where id = $1").bind(id).optional().await
}

pub async fn of_invoice(db: &Db, invoice: InvoiceId) -> Result<Vec<Refund>> {
    db.query("select * from refunds where invoice_id = $1 order by id").bind(invoice).all().await
}

/// The amount of an invoice that cannot be refunded now, minor units: on its way back, undecided, or in dispute. The caller must hold
/// the invoice.
pub async fn claimed(tx: &mut Tx, invoice: InvoiceId) -> Result<i64> {
    let row: (i64,) = tx
        .query(
            "select cast(
                 (select coalesce(sum(amount), 0) from refunds
                  where invoice_id = $1 and status in ('pending', 'unknown', 'parked'))
                 + (select coalesce(sum(amount_disputed), 0) from payments where invoice_id = $1) as bigint)",
        )
        .bind(invoice)
        .one()
        .await?;
    Ok(row.0)
}

const CLAIMED_OF: &str = "select invoice_id, cast(sum(amount) as bigint) from (
             select invoice_id, amount from refunds where invoice_id in list($1) and status in ('pending', 'unknown', 'parked')
             union all
             select invoice_id, amount_disputed from payments where invoice_id in list($1) and amount_disputed > 0) claims
         group by invoice_id";

/// Like [`claimed`], of each of these invoices of which anything is claimed.
pub async fn claimed_of(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<(InvoiceId, i64)>> {
    tx.query(CLAIMED_OF).bind_list(invoices).all().await
}

/// Like [`claimed_of`], for a look that changes nothing.
pub async fn seen_claimed_of(db: &Db, invoices: &[InvoiceId]) -> Result<Vec<(InvoiceId, i64)>> {
    db.query(CLAIMED_OF).bind_list(invoices).all().await
}

/// How many refunds of a payment the gateway refused or failed to make.
pub async fn failures(tx: &mut Tx, invoice: InvoiceId, payment: PaymentId) -> Result<i64> {
    let row: (i64,) = tx
        .query(
            "select count(*) from refunds where invoice_id = $1 and payment_id = $2 and status in ('refused', 'gateway_error')",
        )
        .bind(invoice)
        .bind(payment)
        .one()
        .await?;
    Ok(row.0)
}
