//! Payments: recorded before the call, resolved after it. `payments_one_open` keeps an invoice from having two on their way.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    clock::Timeline,
    id::{InstallmentPlanId, InvoiceId, PaymentId, PaymentRequestId, SubscriptionId},
    payment::{DeclineClass, Payment, PaymentStatus},
};

impl Row for Payment {
    const TABLE: &'static str = "payments";
    // `amount_disputed` is written by `disputes::save_payment`.
    const UNSAVED: &'static [&'static str] = &[
        "invoice_id",
        "customer_id",
        "payment_method_id",
        "payment_request_id",
        "timeline",
        "attempt",
        "gateway",
        "kind",
        "reference",
        "idempotency_key",
        "customer_token",
        "payment_method_token",
        "prior_transaction_id",
        "credential",
        "reason",
        "description",
        "amount",
        "amount_disputed",
        "currency",
        "authorization_id",
        "sent_at",
        "created_at",
    ];
}

pub async fn insert(tx: &mut Tx, payments: &[Payment]) -> Result<()> {
    tx.insert_rows(payments).await
}

pub async fn save(tx: &mut Tx, payments: &[Payment]) -> Result<()> {
    tx.save_rows(payments).await?;
    Ok(())
}

pub async fn get(db: &Db, id: PaymentId) -> Result<Option<Payment>> {
    db.query("select * from payments where id = $1").bind(id).optional().await
}

pub async fn lock(tx: &mut Tx, id: PaymentId) -> Result<Option<Payment>> {
    tx.query("select * from payments where id = $1 for update").bind(id).optional().await
}

pub async fn lock_many(tx: &mut Tx, ids: &[PaymentId]) -> Result<Vec<Payment>> {
    tx.query("select * from payments where id in list($1) order by id for update").bind_list(ids).all().await
}

/// Locks claimed payments. Those that are as their claimer knows them are returned from its memory, without being read.
pub async fn lock_claimed(tx: &mut Tx, claimed: &[&Payment]) -> Result<Vec<Payment>> {
    let found: Vec<LeaseState> = tx
        .query(
            "select id, status, lease_token, lease_expires_at, called_at from payments where id in list($1) order by id for update",
        )
        .bind_list(claimed.iter().map(|payment| payment.id))
        .all()
        .await?;
    let known: BTreeMap<PaymentId, &Payment> = claimed.iter().map(|payment| (payment.id, *payment)).collect();
    let (same, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| {
        known.get(&row.id).is_some_and(|known| known.status == row.status && known.lease_token == row.lease_token)
    });
    let mut payments = match others.as_slice() {
        [] => Vec::new(),
        others => lock_many(tx, &others.iter().map(|row| row.id).collect::<Vec<_>>()).await?,
    };
    // Nobody but the claimer changes a claimed payment, and it renews its lease without reading the row.
    payments.extend(same.into_iter().filter_map(|LeaseState { id, lease_expires_at, called_at, .. }| {
        known.get(&id).map(|known| Payment { lease_expires_at, called_at, ..(*known).clone() })
    }));
    Ok(payments)
}

/// The part of a payment that its claimer needs to know whether the claim still holds.
#[derive(sqlx::FromRow)]
struct LeaseState {
    id: PaymentId,
    status: PaymentStatus,
    lease_token: i64,
    lease_expires_at: Option<DateTime<Utc>>,
    called_at: DateTime<Utc>,
}

pub async fn of_invoice(db: &Db, invoice: InvoiceId) -> Result<Vec<Payment>> {
    db.query("select * from payments where invoice_id = $1 order by id").bind(invoice).all().await
}

pub async fn lock_of_invoice(tx: &mut Tx, invoice: InvoiceId) -> Result<Vec<Payment>> {
    tx.query("select * from payments where invoice_id = $1 order by id for update").bind(invoice).all().await
}

/// An attempt at a credential that was declined, or may yet be.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Attempt {
    pub credential: String,
    pub status: PaymentStatus,
    pub created_at: DateTime<Utc>,
}

/// Attempts at these credentials since an instant of a timeline that were declined, or that are under way and may yet be. What is not the customer's
/// fault is no decline.
pub async fn attempts_at(tx: &mut Tx, credentials: &[String], timeline: Timeline, since: DateTime<Utc>) -> Result<Vec<Attempt>> {
    let credentials: Vec<&str> = credentials.iter().map(String::as_str).collect();
    tx.query(
        "select credential, status, created_at from payments
         where credential in list($1) and status = 'declined' and created_at > $3 and timeline = $2
           and coalesce(decline_class, '') not in ('gateway_fault', 'account_refused', 'charge_refused')
         union all
         select credential, status, created_at from payments
         where credential in list($1) and status in ('pending', 'authorized', 'unknown', 'parked') and status <> 'authorized'
           and timeline = $2 and created_at > $3
         union all
         select credential, status, created_at from authorizations
         where credential in list($1) and status in ('pending', 'unknown', 'declined') and timeline = $2 and created_at > $3",
    )
    .bind_list(&credentials)
    .bind(timeline)
    .bind(since)
    .all()
    .await
}

/// A declined payment of an invoice, and what it was charged to.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Tried {
    pub invoice_id: InvoiceId,
    pub credential: Option<String>,
    pub decline_class: Option<DeclineClass>,
}

/// Declined payments of these invoices, oldest first; what is not the customer's fault says nothing about the method.
pub async fn declined_of(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<Tried>> {
    tx.query(
        "select invoice_id, credential, decline_class from payments
         where invoice_id in list($1) and status = 'declined' and coalesce(decline_class, '') not in ('gateway_fault', 'account_refused', 'charge_refused')
         order by id",
    )
    .bind_list(invoices)
    .all()
    .await
}

/// Which of these invoices have a payment whose outcome is not known.
pub async fn invoices_in_flight(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<InvoiceId>> {
    let rows: Vec<(InvoiceId,)> = tx
        .query("select invoice_id from payments where invoice_id in list($1) and status in ('pending', 'authorized', 'unknown', 'parked')")
        .bind_list(invoices)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// An invoice, and the subscription or installment plan that it belongs to.
pub type Owner = (InvoiceId, Option<SubscriptionId>, Option<InstallmentPlanId>);

/// What these invoices belong to.
pub async fn owners_of(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<Owner>> {
    tx.query("select id, subscription_id, installment_plan_id from invoices where id in list($1)").bind_list(invoices).all().await
}

/// How many payments of a timeline have no known outcome.
pub async fn undecided(db: &Db, timeline: Timeline) -> Result<i64> {
    let row: (i64,) = db
        .query("select count(*) from payments where timeline = $1 and status in ('pending', 'authorized', 'unknown')")
        .bind(timeline)
        .one()
        .await?;
    Ok(row.0)
}

/// Payments received so far for a payment request, in the order of their ids.
pub async fn of_request(tx: &mut Tx, request: PaymentRequestId) -> Result<Vec<Payment>> {
    tx.query("select * from payments where payment_request_id = $1 order by id").bind(request).all().await
}

/// Claims payments whose overpayment must go back by now. If the claimer dies, they fall due again at `until`.
pub async fn claim_returns(tx: &mut Tx, now: DateTime<Utc>, until: DateTime<Utc>, limit: i64) -> Result<Vec<Payment>> {
    let mut claimed: Vec<Payment> = tx
        .query("select * from payments where return_at <= $1 order by return_at limit $2 for update skip locked")
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    for payment in &mut claimed {
        payment.return_at = Some(until);
    }
    tx.update_rows(&claimed, &["return_at"]).await?;
    Ok(claimed)
}

/// The gateway of each invoice's latest payment, for those that have one.
pub async fn last_gateways(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<(InvoiceId, String)>> {
    tx.query(
        "select p.invoice_id, p.gateway from payments p
         where p.id in (select max(q.id) from payments q where q.invoice_id in list($1) group by q.invoice_id)",
    )
    .bind_list(invoices)
    .all()
    .await
}

/// When the next overpayment of a timeline must go back, wall time.
pub async fn earliest_return(db: &Db, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let row: (Option<DateTime<Utc>>,) = db
        .query("select min(return_at) from payments where timeline = $1 and return_at is not null")
        .bind(timeline)
        .one()
        .await?;
    Ok(row.0)
}
