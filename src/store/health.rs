//! What an operator has to know: how much is open, what is stuck, what must never be. Each question is answered from a partial
//! index or a range of recent ids, never from history.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Db, Result};
use crate::domain::{
    id::{CustomerId, Id, InvoiceId, Payment, PaymentId, PaymentRequestId, RefundId, SubscriptionId},
    money::Currency,
};

/// Ids shown for one finding.
const SHOWN: usize = 5;
const LISTED: i64 = 100;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Gauges {
    pub invoices_open: i64,
    pub payments_unknown: i64,
    pub payments_parked: i64,
    pub payment_requests_open: i64,
    pub payment_requests_parked: i64,
    pub subscriptions_parked: i64,
}

pub async fn gauges(db: &Db) -> Result<Gauges> {
    // The `in` list repeats the condition of the partial index, so that SQLite uses it.
    db.query(
        "select (select count(*) from invoices where status = 'open') as invoices_open,
                (select count(*) from payments where status in ('pending', 'authorized', 'unknown') and status = 'unknown') as payments_unknown,
                (select count(*) from payments where status = 'parked') as payments_parked,
                (select count(*) from payment_requests where status in ('pending', 'unknown', 'sent', 'running')) as payment_requests_open,
                (select count(*) from payment_requests where status = 'parked') as payment_requests_parked,
                (select count(*) from subscriptions where status = 'parked') as subscriptions_parked",
    )
    .one()
    .await
}

/// Rows that should not be: how many, and some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    pub count: i64,
    pub ids: Vec<String>,
}

async fn finding(query: super::db::Query<'_>) -> Result<Finding> {
    let rows: Vec<(String,)> = query.all().await?;
    let ids = rows.iter().take(SHOWN).map(|row| row.0.clone()).collect();
    Ok(Finding { count: rows.len() as i64, ids })
}

pub async fn subscriptions_parked(db: &Db) -> Result<Finding> {
    finding(db.query("select id from subscriptions where status = 'parked' order by id")).await
}

pub async fn payments_parked(db: &Db) -> Result<Finding> {
    finding(db.query("select id from payments where status = 'parked' order by id")).await
}

pub async fn refunds_parked(db: &Db) -> Result<Finding> {
    finding(db.query("select id from refunds where status in ('pending', 'unknown', 'parked') and status = 'parked' order by id"))
        .await
}

pub async fn payment_requests_parked(db: &Db) -> Result<Finding> {
    finding(db.query("select id from payment_requests where status = 'parked' order by id")).await
}

/// Payments whose claim ended before this instant, and which nobody has taken up since.
pub async fn payments_beyond_lease(db: &Db, before: DateTime<Utc>) -> Result<Finding> {
    finding(
        db.query(
            "select id from payments where lease_expires_at is not null and lease_expires_at <= $1
             and status in ('pending', 'authorized') order by id",
        )
        .bind(before),
    )
    .await
}

pub async fn payments_long_unknown(db: &Db, before: DateTime<Utc>) -> Result<Finding> {
    finding(
        db.query(
            "select id from payments where status in ('pending', 'authorized', 'unknown') and status = 'unknown'
             and sent_at <= $1 order by id",
        )
        .bind(before),
    )
    .await
}

/// On the wall clock; a test clock's work waits for its next advance.
pub async fn subscriptions_overdue(db: &Db, before: DateTime<Utc>) -> Result<Finding> {
    finding(db.query("select id from subscriptions where timeline = 'wall' and due_at is not null and due_at <= $1").bind(before))
        .await
}

pub async fn installment_plans_overdue(db: &Db, before: DateTime<Utc>) -> Result<Finding> {
    finding(
        db.query("select id from installment_plans where timeline = 'wall' and due_at is not null and due_at <= $1").bind(before),
    )
    .await
}

pub async fn invoices_overdue(db: &Db, before: DateTime<Utc>) -> Result<Finding> {
    finding(
        db.query("select id from invoices where timeline = 'wall' and next_attempt_at is not null and next_attempt_at <= $1")
            .bind(before),
    )
    .await
}

/// Invoices with a payment made since then that have brought more than their total.
pub async fn invoices_overpaid(db: &Db, since: DateTime<Utc>) -> Result<Finding> {
    // Ids begin with their time, so this is a range of the primary key.
    let oldest: Id<Payment> = Id::from_bits((since.timestamp_millis().max(0) as u128) << 80);
    // A statement of its own, in order: SQLite would rather read all payments than a range of them for a mere condition.
    let recent: Vec<(InvoiceId,)> =
        db.query("select invoice_id from payments where id >= $1 order by id").bind(oldest).all().await?;
    let recent: BTreeSet<InvoiceId> = recent.into_iter().map(|row| row.0).collect();
    finding(
        db.query(
            "select i.id from invoices i where i.id in list($1)
             and i.total < (select sum(q.amount_captured - q.amount_refunded) from payments q where q.invoice_id = i.id)",
        )
        .bind_list(recent),
    )
    .await
}

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct ParkedSubscription {
    pub id: SubscriptionId,
    pub customer_id: CustomerId,
    pub parked_reason: Option<String>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct ParkedPayment {
    pub id: PaymentId,
    pub invoice_id: InvoiceId,
    pub gateway: String,
    pub reference: String,
    pub amount: i64,
    pub currency: Currency,
    pub sent_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct ParkedRefund {
    pub id: RefundId,
    pub payment_id: PaymentId,
    pub invoice_id: InvoiceId,
    pub amount: i64,
    pub currency: Currency,
    pub message: Option<String>,
    pub sent_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct ParkedPaymentRequest {
    pub id: PaymentRequestId,
    pub invoice_id: InvoiceId,
    pub gateway: String,
    pub reference: String,
    pub amount: i64,
    pub currency: Currency,
    pub message: Option<String>,
    pub sent_at: DateTime<Utc>,
}

pub async fn parked_payment_requests(db: &Db) -> Result<Vec<ParkedPaymentRequest>> {
    db.query(
        "select id, invoice_id, gateway, reference, amount, currency, message, sent_at from payment_requests
         where status = 'parked' order by id limit $1",
    )
    .bind(LISTED)
    .all()
    .await
}

pub async fn parked_subscriptions(db: &Db) -> Result<Vec<ParkedSubscription>> {
    db.query("select id, customer_id, parked_reason, updated_at from subscriptions where status = 'parked' order by id limit $1")
        .bind(LISTED)
        .all()
        .await
}

pub async fn parked_payments(db: &Db) -> Result<Vec<ParkedPayment>> {
    db.query(
        "select id, invoice_id, gateway, reference, amount, currency, sent_at from payments where status = 'parked' order by id limit $1",
    )
    .bind(LISTED)
    .all()
    .await
}

pub async fn parked_refunds(db: &Db) -> Result<Vec<ParkedRefund>> {
    db.query(
        "select id, payment_id, invoice_id, amount, currency, message, sent_at from refunds
         where status in ('pending', 'unknown', 'parked') and status = 'parked' order by id limit $1",
    )
    .bind(LISTED)
    .all()
    .await
}
