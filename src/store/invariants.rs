//! Invariants, gauges and what waits for an operator. Each question reads a partial index, a range of recent ids or one page,
//! never all of history.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Db, Result, Tx, clocks, db::Row};
use crate::domain::{
    clock::Timeline,
    count,
    id::{
        AuthorizationId, CustomerId, Id, InstallmentPlanId, InvoiceId, Payment, PaymentId, PaymentRequestId, RefundId,
        SubscriptionId,
    },
    money::Currency,
};

/// Ids shown for one finding.
const SHOWN: usize = 5;
const LISTED: i64 = 100;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Violation {
    pub name: String,
    pub count: i64,
    pub broken_at: DateTime<Utc>,
}

impl Row for Violation {
    const TABLE: &'static str = "invariant_violations";
}

/// Locks the violations that are known, so that a daemon that checks at the same time waits.
pub async fn violations(tx: &mut Tx) -> Result<Vec<Violation>> {
    tx.query("select * from invariant_violations order by name for update").all().await
}

/// Records violations. Fails with [`super::Error::Conflict`] if one is known already.
pub async fn broken(tx: &mut Tx, violations: &[Violation]) -> Result<()> {
    tx.insert_rows(violations).await
}

/// The violations that are known.
pub async fn known(db: &Db) -> Result<Vec<Violation>> {
    db.query("select * from invariant_violations order by name").all().await
}

/// Saves how many rows break each invariant now.
pub async fn recount(tx: &mut Tx, violations: &[Violation]) -> Result<u64> {
    tx.update_rows(violations, &["count"]).await
}

pub async fn restored(tx: &mut Tx, names: &[&str]) -> Result<u64> {
    tx.query("delete from invariant_violations where name in list($1)").bind_list(names).run().await
}

/// Subscriptions that must be billed but that no bill run will ever find.
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
            "select id from invoices where status = 'open' and next_attempt_at is null and parked_reason is null and not exists (
                 select 1 from payments p where p.invoice_id = invoices.id
                 and p.status in ('pending', 'authorized', 'unknown', 'parked'))
             and not exists (
                 select 1 from payment_requests r where r.invoice_id = invoices.id
                 and r.status in ('pending', 'unknown', 'sent', 'running', 'parked'))
             and not exists (
                 select 1 from installment_plans a where a.id = invoices.installment_plan_id and a.status = 'defaulted')
             order by id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Installment plans that failed too often: nothing is charged until an operator decides.
pub async fn installment_plans_defaulted(db: &Db) -> Result<Finding> {
    finding(db.query("select id from installment_plans where status = 'defaulted' order by id")).await
}

/// Installment plans that are not paid, and of which nothing is to come or to be collected.
pub async fn installment_plans_stalled(db: &Db) -> Result<Finding> {
    finding(db.query(
        "select id from installment_plans where status = 'open' and due_at is null and not exists (
             select 1 from invoices i where i.installment_plan_id = installment_plans.id and i.status = 'open')
         order by id",
    ))
    .await
}

/// Open invoices that wait for an operator, since their gateway refuses the very charge.
pub async fn invoices_parked(db: &Db) -> Result<Finding> {
    finding(db.query(
        "select id from invoices where status = 'open' and parked_reason is not null and next_attempt_at is null order by id",
    ))
    .await
}

/// Open invoices that have met nothing but refusals for at least so long, each by its own clock, with the latest reason. Whoever was
/// asked to pay is waited for.
pub async fn invoices_refused(db: &Db, wall: DateTime<Utc>, longer_than: TimeDelta) -> Result<Vec<(InvoiceId, String)>> {
    let timelines: Vec<(Timeline,)> = db
        .query("select distinct timeline from invoices where status = 'open' and refused_at is not null order by timeline")
        .all()
        .await?;
    let mut found = Vec::new();
    for (timeline,) in timelines {
        let now = match timeline {
            Timeline::Wall => Some(wall),
            Timeline::Test(clock) => clocks::get(db, clock).await?.map(|clock| clock.now_at),
        };
        let Some(now) = now else { continue };
        let rows: Vec<(InvoiceId, Option<String>)> = db
            .query(
                "select id, refused_reason from invoices where timeline = $1 and status = 'open' and refused_at <= $2 and not exists (
                     select 1 from payment_requests r where r.invoice_id = invoices.id and r.status in ('sent', 'running'))
                 order by id",
            )
            .bind(timeline)
            .bind(now - longer_than)
            .all()
            .await?;
        found.extend(rows.into_iter().map(|(id, reason)| (id, reason.unwrap_or_default())));
    }
    Ok(found)
}

/// Refunds whose claim ended before this instant, and which no daemon has taken up since.
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

/// Authorizations whose claim ended before this instant, and which no daemon has taken up since.
pub async fn authorizations_beyond_lease(db: &Db, before: DateTime<Utc>) -> Result<Vec<AuthorizationId>> {
    let rows: Vec<(AuthorizationId,)> =
        db.query("select id from authorizations where lease_expires_at <= $1 order by id").bind(before).all().await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Authorizations, last called about since then, of which a gateway took money that no invoice knows of.
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
    Ok(Finding { count: count(rows.len()), ids })
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

/// Payments whose claim ended before this instant, and which no daemon has taken up since.
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

/// Overdue by the wall clock. The work of a test clock waits for its next advance.
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

/// Invoices with a payment made since then that they did not need, and that does not go back by itself.
pub async fn invoices_overpaid(db: &Db, since: DateTime<Utc>) -> Result<Finding> {
    // Ids begin with their time, so this is a range of the primary key.
    let oldest: Id<Payment> = Id::first_at(since);
    finding(
        db.query(
            "select invoice_id from payments where id >= $1 and overpayment > amount_refunded + amount_disputed and return_at is null
             order by id",
        )
        .bind(oldest),
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
pub struct ParkedInvoice {
    pub id: InvoiceId,
    pub number: String,
    pub customer_id: CustomerId,
    pub subscription_id: Option<SubscriptionId>,
    pub installment_plan_id: Option<InstallmentPlanId>,
    pub total: i64,
    pub amount_paid: i64,
    pub currency: Currency,
    pub parked_reason: Option<String>,
    pub refused_at: Option<DateTime<Utc>>,
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

pub async fn parked_invoices(db: &Db) -> Result<Vec<ParkedInvoice>> {
    db.query(
        "select id, number, customer_id, subscription_id, installment_plan_id, total, amount_paid, currency, parked_reason, refused_at
         from invoices where status = 'open' and parked_reason is not null and next_attempt_at is null order by id limit $1",
    )
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
