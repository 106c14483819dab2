//! Payment requests: recorded before the customer is asked. `payment_requests_one_open` keeps collection from asking twice at once.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    clock::Timeline,
    id::{InvoiceId, PaymentRequestId},
    payment_request::PaymentRequest,
};

impl Row for PaymentRequest {
    const TABLE: &'static str = "payment_requests";
    // `claimed_at` is written by a claim.
    const UNSAVED: &'static [&'static str] = &[
        "invoice_id",
        "customer_id",
        "payment_method_id",
        "timeline",
        "gateway",
        "role",
        "reference",
        "channels",
        "name",
        "email",
        "phone",
        "locale",
        "description",
        "amount",
        "currency",
        "payment_frequency",
        "payment_start_at",
        "total_number_of_payments",
        "initial_payment_amount",
        "expires_at",
        "claimed_at",
        "created_at",
    ];
}

pub async fn insert(tx: &mut Tx, requests: &[PaymentRequest]) -> Result<()> {
    tx.insert_rows(requests).await
}

pub async fn save(tx: &mut Tx, requests: &[PaymentRequest]) -> Result<()> {
    tx.save_rows(requests).await?;
    Ok(())
}

pub async fn get(db: &Db, id: PaymentRequestId) -> Result<Option<PaymentRequest>> {
    db.query("select * from payment_requests where id = $1").bind(id).optional().await
}

/// The gateways' own ids of those of these requests that have one.
pub async fn request_ids(db: &Db, ids: &[PaymentRequestId]) -> Result<Vec<(PaymentRequestId, String)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    db.query("select id, request_id from payment_requests where id in list($1) and request_id is not null")
        .bind_list(ids)
        .all()
        .await
}

pub async fn lock(tx: &mut Tx, id: PaymentRequestId) -> Result<Option<PaymentRequest>> {
    tx.query("select * from payment_requests where id = $1 for update").bind(id).optional().await
}

pub async fn of_invoice(db: &Db, invoice: InvoiceId) -> Result<Vec<PaymentRequest>> {
    db.query("select * from payment_requests where invoice_id = $1 order by id").bind(invoice).all().await
}

/// Locks all requests ever made for these invoices, oldest first. The caller must hold the invoices.
pub async fn lock_of_invoices(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<PaymentRequest>> {
    tx.query("select * from payment_requests where invoice_id in list($1) order by id for update").bind_list(invoices).all().await
}

/// Withdraws the open requests of invoices that need no more money. The gateways are called at once.
pub async fn withdraw_of_invoices(tx: &mut Tx, invoices: &[InvoiceId], wall: DateTime<Utc>) -> Result<u64> {
    if invoices.is_empty() {
        return Ok(0);
    }
    tx.query(
        "update payment_requests set ending = 'withdrawn', remind = false, checks = 0, next_reminder_at = null, next_check_at = $2
         where invoice_id in list($1) and status in ('pending', 'unknown', 'sent') and ending is null",
    )
    .bind_list(invoices)
    .bind(wall)
    .run()
    .await
}

/// Marks requests of a timeline that have expired, so that they are closed at the gateway first.
pub async fn expire(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, wall: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "update payment_requests set ending = 'expired', remind = false, checks = 0, next_reminder_at = null, next_check_at = $3
         where timeline = $1 and expires_at <= $2 and status in ('pending', 'unknown', 'sent') and ending is null",
    )
    .bind(timeline)
    .bind(now)
    .bind(wall)
    .run()
    .await
}

/// Locks requests of a timeline whose reminder is due.
pub async fn lock_to_remind(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Result<Vec<PaymentRequest>> {
    tx.query(
        "select * from payment_requests where timeline = $1 and next_reminder_at <= $2 order by next_reminder_at limit $3
         for update skip locked",
    )
    .bind(timeline)
    .bind(now)
    .bind(limit)
    .all()
    .await
}

/// The request that a gateway knows by this reference.
pub async fn named(db: &Db, gateway: &str, reference: &str) -> Result<Option<PaymentRequestId>> {
    let row: Option<(PaymentRequestId,)> = db
        .query("select id from payment_requests where reference = $1 and gateway = $2")
        .bind(reference.to_owned())
        .bind(gateway.to_owned())
        .optional()
        .await?;
    Ok(row.map(|row| row.0))
}

/// For how many requests of a timeline a gateway must still be called before time may go on.
pub async fn busy(db: &Db, timeline: Timeline) -> Result<i64> {
    let row: (i64,) = db
        .query(
            "select count(*) from payment_requests where timeline = $1
             and status in ('pending', 'unknown', 'sent', 'running') and (status in ('pending', 'unknown') or ending is not null or remind)",
        )
        .bind(timeline)
        .one()
        .await?;
    Ok(row.0)
}
