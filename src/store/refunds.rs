//! Refunds and voids: recorded before the call, like payments. `refunds_one_open` lets a payment have one on its way.

use chrono::{DateTime, Utc};

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

/// What of an invoice is not there to be given back, minor units: on its way by refunds, undecided, or in dispute. The caller holds
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

/// How many refunds of a payment the gateway did not make.
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

/// Claims unknown refunds whose look-up is due.
pub async fn claim_lookups(
    tx: &mut Tx,
    owner: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Refund>> {
    tx.query(
        "update refunds set lease_owner = $1, lease_token = lease_token + 1, next_lookup_at = $3
         where id in once(select id from refunds where next_lookup_at <= $2 and status = 'unknown' order by next_lookup_at limit $4 for update skip locked)
         returning *",
    )
    .bind(owner.to_owned())
    .bind(now)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// Prolongs those of these claimed look-ups that are still this claimer's. Locks them in the order in which all do.
pub async fn keep_lookups(tx: &mut Tx, owner: &str, refunds: &[RefundId], until: DateTime<Utc>) -> Result<u64> {
    let held: Vec<(RefundId,)> = tx
        .query(
            "select id from refunds where id in list($1) and lease_owner = $2 and status = 'unknown' and next_lookup_at is not null
             order by id for update",
        )
        .bind_list(refunds)
        .bind(owner.to_owned())
        .all()
        .await?;
    tx.query("update refunds set next_lookup_at = $1 where id in list($2)")
        .bind(until)
        .bind_list(held.into_iter().map(|row| row.0))
        .run()
        .await
}

/// Marks as unknown the refunds whose daemon has gone silent. `restarted_as`: and those of this daemon's previous run.
pub async fn expire_leases(tx: &mut Tx, now: DateTime<Utc>, restarted_as: Option<&str>) -> Result<u64> {
    tx.query(
        "update refunds set status = 'unknown', next_lookup_at = $1, lease_owner = null, lease_expires_at = null, lease_token = lease_token + 1, sent_at = $1
         where id in once(
             select id from refunds where lease_expires_at is not null and status = 'pending'
             and (lease_expires_at <= $1 or lease_owner = $2) limit 500 for update skip locked)",
    )
    .bind(now)
    .bind(restarted_as.map(str::to_owned))
    .run()
    .await
}

/// Makes the lookups that the previous run of this daemon had claimed due at once.
pub async fn release_lookups(tx: &mut Tx, now: DateTime<Utc>, owner: &str) -> Result<u64> {
    tx.query("update refunds set next_lookup_at = $1, lease_owner = null where lease_owner = $2 and next_lookup_at is not null and status = 'unknown'")
        .bind(now)
        .bind(owner.to_owned())
        .run()
        .await
}
