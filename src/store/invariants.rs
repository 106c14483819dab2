//! Invariants, gauges and what waits for an operator. Each question reads a partial index, a range of recent ids or one page,
//! never all of history.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Db, Result, Tx, clocks, db::Row};
use crate::domain::{
    clock::Timeline,
    count,
    id::{
        AuthorizationId, Credit, CreditNote, CustomerId, Id, InstallmentPlanId, InvoiceId, Payment, PaymentId, PaymentRequestId,
        Refund, RefundId, SubscriptionId,
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
             order by id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
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

/// An invoice's own figures and what payments, refunds and credit notes add up to, minor units.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Sums {
    pub id: InvoiceId,
    pub amount_paid: i64,
    pub credit_paid: i64,
    pub amount_refunded: i64,
    pub amount_credited: i64,
    pub amount_reduced: i64,
    pub credit_given: i64,
    /// What the invoice took of its payments.
    pub taken: i64,
    /// What its payments gave back, without what the invoice never took.
    pub returned: i64,
    /// Of its payments, overpayments and all.
    pub given_back: i64,
    /// Of its refunds that succeeded.
    pub refunded: i64,
    /// Of its refunds that became credit.
    pub credited: i64,
    /// The sum of its credit notes, without those of refunds.
    pub noted: i64,
}

/// The sums of every invoice that has a payment, a refund or a credit note made since then.
pub async fn sums(db: &Db, from: DateTime<Utc>) -> Result<Vec<Sums>> {
    // Statements of their own, in order: as subqueries SQLite would read all of a table instead of a range.
    let paid: Vec<(InvoiceId,)> =
        db.query("select invoice_id from payments where id >= $1 order by id").bind(Id::<Payment>::first_at(from)).all().await?;
    let refunded: Vec<(InvoiceId,)> =
        db.query("select invoice_id from refunds where id >= $1 order by id").bind(Id::<Refund>::first_at(from)).all().await?;
    let noted: Vec<(InvoiceId,)> = db
        .query("select invoice_id from credit_notes where id >= $1 order by id")
        .bind(Id::<CreditNote>::first_at(from))
        .all()
        .await?;
    let recent: BTreeSet<InvoiceId> = paid.into_iter().chain(refunded).chain(noted).map(|row| row.0).collect();
    db.query(
        "select i.id, i.amount_paid, i.credit_paid, i.amount_refunded, i.amount_credited, i.amount_reduced, i.credit_given,
             (select cast(coalesce(sum(p.amount_captured - p.overpayment), 0) as bigint) from payments p where p.invoice_id = i.id) as taken,
             (select cast(coalesce(sum(case when p.amount_refunded > p.overpayment then p.amount_refunded - p.overpayment else 0 end), 0) as bigint)
              from payments p where p.invoice_id = i.id) as returned,
             (select cast(coalesce(sum(p.amount_refunded), 0) as bigint) from payments p where p.invoice_id = i.id) as given_back,
             (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
              where r.invoice_id = i.id and r.destination = 'method' and r.status = 'succeeded') as refunded,
             (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
              where r.invoice_id = i.id and r.destination = 'credit' and r.status = 'succeeded') as credited,
             (select cast(coalesce(sum(n.amount), 0) as bigint) from credit_notes n
              where n.invoice_id = i.id and n.reason <> 'refunded') as noted
         from invoices i where i.id in list($1) order by i.id",
    )
    .bind_list(recent)
    .all()
    .await
}

/// What came from and went back to one customer in one currency, minor units.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CustomerSums {
    pub id: CustomerId,
    /// The customer's credit, if it is kept in that currency.
    pub balance: i64,
    /// Credit that an operator granted or took back.
    pub granted: i64,
    /// Through gateways.
    pub received: i64,
    /// Through gateways.
    pub refunded: i64,
    /// Taken back by the customer's bank, or held by it.
    pub disputed: i64,
}

/// The sums of every customer with a credit booked since then, in the currency of the credit.
pub async fn customer_sums(db: &Db, from: DateTime<Utc>) -> Result<Vec<CustomerSums>> {
    let recent: Vec<(CustomerId,)> =
        db.query("select customer_id from credits where id >= $1 order by id").bind(Id::<Credit>::first_at(from)).all().await?;
    let recent: BTreeSet<CustomerId> = recent.into_iter().map(|row| row.0).collect();
    db.query(
        "select c.id, c.balance,
             (select cast(coalesce(sum(k.amount), 0) as bigint) from credits k where k.customer_id = c.id and k.invoice_id is null) as granted,
             (select cast(coalesce(sum(p.amount_captured), 0) as bigint) from invoices i join payments p on p.invoice_id = i.id
              where i.customer_id = c.id and p.currency = c.currency) as received,
             (select cast(coalesce(sum(p.amount_refunded), 0) as bigint) from invoices i join payments p on p.invoice_id = i.id
              where i.customer_id = c.id and p.currency = c.currency) as refunded,
             (select cast(coalesce(sum(p.amount_disputed), 0) as bigint) from invoices i join payments p on p.invoice_id = i.id
              where i.customer_id = c.id and p.currency = c.currency) as disputed
         from customers c where c.id in list($1) order by c.id",
    )
    .bind_list(recent)
    .all()
    .await
}

/// Payments with a refund made since then that gave back another sum than their refunds.
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
