//! What the books must agree on, asked of what changed lately or page by page, never of all history; and which of it does not hold.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Db, Result, Tx, db::Row};
use crate::domain::id::{
    AuthorizationId, Credit, CustomerId, Id, InvoiceId, Payment, PaymentId, PaymentRequestId, Refund, RefundId, SubscriptionId,
};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Violation {
    pub name: String,
    pub count: i64,
    pub broken_at: DateTime<Utc>,
}

impl Row for Violation {
    const TABLE: &'static str = "invariant_violations";
    const COLUMNS: &'static [&'static str] = &["name", "count", "broken_at"];
}

/// Those that did not hold when last looked at, locked: who looks at the same time waits.
pub async fn violations(tx: &mut Tx) -> Result<Vec<Violation>> {
    tx.query("select * from invariant_violations order by name for update").all().await
}

/// Fails with [`super::Error::Conflict`] if one is known already.
pub async fn broken(tx: &mut Tx, violations: &[Violation]) -> Result<()> {
    tx.insert_rows(violations).await
}

/// The same for whoever only looks.
pub async fn known(db: &Db) -> Result<Vec<Violation>> {
    db.query("select * from invariant_violations order by name").all().await
}

/// As many break it now.
pub async fn recount(tx: &mut Tx, violations: &[Violation]) -> Result<u64> {
    tx.update_rows(violations, &["count"]).await
}

pub async fn restored(tx: &mut Tx, names: &[&str]) -> Result<u64> {
    tx.query("delete from invariant_violations where name in list($1)").bind_list(names).run().await
}

/// Subscriptions that are to be billed and that no bill run will ever find.
pub async fn subscriptions_adrift(db: &Db) -> Result<Vec<SubscriptionId>> {
    let rows: Vec<(SubscriptionId,)> = db
        .query(
            "select id from subscriptions where due_at is null and next_bill_at is not null and status in ('trialing', 'active')
             order by id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Open invoices that nothing will ever collect: no attempt to come, no payment on its way or undecided, nobody asked to pay.
pub async fn invoices_stuck(db: &Db) -> Result<Vec<InvoiceId>> {
    let rows: Vec<(InvoiceId,)> = db
        .query(
            "select id from invoices where status = 'open' and next_attempt_at is null and not exists (
                 select 1 from payments p where p.invoice_id = invoices.id
                 and p.status in ('pending', 'authorized', 'unknown', 'parked'))
             and not exists (
                 select 1 from payment_requests r where r.invoice_id = invoices.id
                 and r.status in ('pending', 'unknown', 'sent', 'running', 'parked'))
             order by id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Refunds whose claim ended before this instant, and which nobody has taken up since.
pub async fn refunds_beyond_lease(db: &Db, before: DateTime<Utc>) -> Result<Vec<RefundId>> {
    let rows: Vec<(RefundId,)> = db
        .query(
            "select id from refunds where lease_expires_at is not null and lease_expires_at <= $1 and status = 'pending' order by id",
        )
        .bind(before)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Authorizations whose claim ended before this instant, and which nobody has taken up since.
pub async fn authorizations_beyond_lease(db: &Db, before: DateTime<Utc>) -> Result<Vec<AuthorizationId>> {
    let rows: Vec<(AuthorizationId,)> =
        db.query("select id from authorizations where lease_expires_at <= $1 order by id").bind(before).all().await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Authorizations of which a gateway took money that no invoice knows of, and which were to end since then.
pub async fn authorizations_taken(db: &Db, from: DateTime<Utc>) -> Result<Vec<AuthorizationId>> {
    let rows: Vec<(AuthorizationId,)> = db
        .query("select id from authorizations where amount_taken is not null and called_at >= $1 order by id")
        .bind(from)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Payment requests that should have been looked at before this instant.
pub async fn payment_requests_overdue(db: &Db, before: DateTime<Utc>) -> Result<Vec<PaymentRequestId>> {
    let rows: Vec<(PaymentRequestId,)> =
        db.query("select id from payment_requests where next_check_at <= $1 order by id").bind(before).all().await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The ids of a page of all subscriptions, in order.
pub async fn subscriptions_after(db: &Db, id: SubscriptionId, limit: i64) -> Result<Vec<SubscriptionId>> {
    let rows: Vec<(SubscriptionId,)> =
        db.query("select id from subscriptions where id > $1 order by id limit $2").bind(id).bind(limit).all().await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Which of these subscriptions do not have exactly one invoice for each of their last three cycles.
pub async fn cycles_without_invoice(db: &Db, subscriptions: &[SubscriptionId]) -> Result<Vec<SubscriptionId>> {
    let rows: Vec<(SubscriptionId,)> = db
        .query(
            "select s.id from subscriptions s where s.id in list($1)
             and (case when s.next_cycle < 3 then s.next_cycle else 3 end) <> (
                 select count(*) from invoices i where i.subscription_id = s.id and i.cycle >= s.next_cycle - 3)
             order by s.id",
        )
        .bind_list(subscriptions)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// An invoice's own figures and what payments and refunds add up to, minor units.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Sums {
    pub id: InvoiceId,
    pub total: i64,
    pub amount_paid: i64,
    pub amount_refunded: i64,
    pub amount_credited: i64,
    /// Of its payments.
    pub captured: i64,
    /// Of its payments.
    pub returned: i64,
    /// Of its refunds that succeeded.
    pub refunded: i64,
    /// Of its refunds that became credit.
    pub credited: i64,
}

/// The sums of every invoice that has a payment or a refund made since then.
pub async fn sums(db: &Db, from: DateTime<Utc>) -> Result<Vec<Sums>> {
    // Statements of their own, in order: SQLite would rather read all of a table than a range of it for a mere condition.
    let paid: Vec<(InvoiceId,)> =
        db.query("select invoice_id from payments where id >= $1 order by id").bind(Id::<Payment>::first_at(from)).all().await?;
    let refunded: Vec<(InvoiceId,)> =
        db.query("select invoice_id from refunds where id >= $1 order by id").bind(Id::<Refund>::first_at(from)).all().await?;
    let recent: BTreeSet<InvoiceId> = paid.into_iter().chain(refunded).map(|row| row.0).collect();
    db.query(
        "select i.id, i.total, i.amount_paid, i.amount_refunded, i.amount_credited,
             (select cast(coalesce(sum(p.amount_captured), 0) as bigint) from payments p where p.invoice_id = i.id) as captured,
             (select cast(coalesce(sum(p.amount_refunded), 0) as bigint) from payments p where p.invoice_id = i.id) as returned,
             (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
              where r.invoice_id = i.id and r.destination = 'method' and r.status = 'succeeded') as refunded,
             (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
              where r.invoice_id = i.id and r.destination = 'credit' and r.status = 'succeeded') as credited
         from invoices i where i.id in list($1) order by i.id",
    )
    .bind_list(recent)
    .all()
    .await
}

/// Which invoices brought more than their total is told by [`super::health::invoices_overpaid`]; this tells which payments gave
/// back another sum than their refunds, of those with a refund made since then.
pub async fn payments_misreturned(db: &Db, from: DateTime<Utc>) -> Result<Vec<PaymentId>> {
    let recent: Vec<(Option<PaymentId>,)> =
        db.query("select payment_id from refunds where id >= $1 order by id").bind(Id::<Refund>::first_at(from)).all().await?;
    let recent: BTreeSet<PaymentId> = recent.into_iter().filter_map(|row| row.0).collect();
    let rows: Vec<(PaymentId,)> = db
        .query(
            "select p.id from payments p where p.id in list($1) and p.amount_refunded <> (
                 select coalesce(sum(r.amount), 0) from refunds r
                 where r.invoice_id = p.invoice_id and r.payment_id = p.id and r.status = 'succeeded')
             order by p.id",
        )
        .bind_list(recent)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Customers with a credit booked since then whose balance is not the sum of their credits.
pub async fn balances_off(db: &Db, from: DateTime<Utc>) -> Result<Vec<CustomerId>> {
    let recent: Vec<(CustomerId,)> =
        db.query("select customer_id from credits where id >= $1 order by id").bind(Id::<Credit>::first_at(from)).all().await?;
    let recent: BTreeSet<CustomerId> = recent.into_iter().map(|row| row.0).collect();
    let rows: Vec<(CustomerId,)> = db
        .query(
            "select c.id from customers c where c.id in list($1)
             and c.balance <> (select coalesce(sum(k.amount), 0) from credits k where k.customer_id = c.id) order by c.id",
        )
        .bind_list(recent)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
