//! Invoices: opened by billing, collected by collection. A due scan reads one partial index.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    clock::Timeline,
    id::{CustomerId, InstallmentPlanId, InvoiceId, PaymentMethodId, SubscriptionId},
    invoice::Invoice,
    payment_method::MethodKind,
};

impl Row for Invoice {
    const TABLE: &'static str = "invoices";
    const UNSAVED: &'static [&'static str] = &[
        "number",
        "customer_id",
        "subscription_id",
        "installment_plan_id",
        "installment_number",
        "cycle",
        "timeline",
        "description",
        "currency",
        "timezone",
        "period_start",
        "period_end",
        "lines",
        "subtotal",
        "credit_applied",
        "total",
        "due_at",
        "created_at",
    ];
}

pub async fn insert(tx: &mut Tx, invoices: &[Invoice]) -> Result<()> {
    tx.insert_rows(invoices).await
}

pub async fn save(tx: &mut Tx, invoices: &[Invoice]) -> Result<()> {
    tx.save_rows(invoices).await?;
    Ok(())
}

/// What a claim changes. Few columns, so that few indexes are touched.
const CLAIMED: &[&str] = &[
    "next_attempt_at",
    "next_action",
    "attempts",
    "postponed_by",
    "parked_reason",
    "refused_at",
    "refused_reason",
    "updated_at",
];

/// Saves what a claim changes: when and how the invoice is attempted next.
pub async fn save_claimed(tx: &mut Tx, invoices: &[Invoice]) -> Result<()> {
    tx.update_rows(invoices, CLAIMED).await?;
    Ok(())
}

pub async fn get(db: &Db, id: InvoiceId) -> Result<Option<Invoice>> {
    db.query("select * from invoices where id = $1").bind(id).optional().await
}

pub async fn lock(tx: &mut Tx, id: InvoiceId) -> Result<Option<Invoice>> {
    tx.query("select * from invoices where id = $1 for update").bind(id).optional().await
}

pub async fn lock_many(tx: &mut Tx, ids: &[InvoiceId]) -> Result<Vec<Invoice>> {
    tx.query("select * from invoices where id in list($1) order by id for update").bind_list(ids).batch().await
}

pub async fn lock_open_of_subscription(tx: &mut Tx, subscription: SubscriptionId) -> Result<Vec<Invoice>> {
    tx.query("select * from invoices where subscription_id = $1 and status = 'open' order by id for update")
        .bind(subscription)
        .all()
        .await
}

/// Locks those that were given up, oldest first.
pub async fn lock_uncollectible_of_subscription(tx: &mut Tx, subscription: SubscriptionId) -> Result<Vec<Invoice>> {
    tx.query("select * from invoices where subscription_id = $1 and status = 'uncollectible' order by id for update")
        .bind(subscription)
        .all()
        .await
}

pub async fn lock_open_of_subscriptions(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<Vec<Invoice>> {
    tx.query("select * from invoices where subscription_id in list($1) and status = 'open' order by id for update")
        .bind_list(subscriptions)
        .all()
        .await
}

/// Locks the invoices of an installment plan that may still be collected: open, or given up on.
pub async fn lock_owed_of_installment_plan(tx: &mut Tx, plan: InstallmentPlanId) -> Result<Vec<Invoice>> {
    tx.query(
        "select * from invoices where installment_plan_id = $1 and status in ('open', 'uncollectible') order by id for update",
    )
    .bind(plan)
    .all()
    .await
}

pub async fn lock_open_of_customer(tx: &mut Tx, customer: CustomerId) -> Result<Vec<Invoice>> {
    tx.query("select * from invoices where customer_id = $1 and status = 'open' order by id for update")
        .bind(customer)
        .all()
        .await
}

/// Invoices of these subscriptions for days after a date, oldest first. Locked where they are to be reduced.
pub async fn reaching_past(tx: &mut Tx, subscriptions: &[SubscriptionId], date: NaiveDate, lock: bool) -> Result<Vec<Invoice>> {
    let sql = if lock {
        "select * from invoices where subscription_id in list($1) and period_end > $2 order by id for update"
    } else {
        "select * from invoices where subscription_id in list($1) and period_end > $2 order by id"
    };
    tx.query(sql).bind_list(subscriptions).bind(date).all().await
}

/// What an open invoice belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct OpenInvoice {
    pub id: InvoiceId,
    pub customer_id: CustomerId,
    pub subscription_id: Option<SubscriptionId>,
    pub installment_plan_id: Option<InstallmentPlanId>,
    pub timeline: Timeline,
}

/// Open invoices that the balance of one of these customers could pay, oldest first. Locks nothing.
pub async fn payable_by_balance(tx: &mut Tx, customers: &[CustomerId]) -> Result<Vec<OpenInvoice>> {
    tx.query(
        "select i.id, i.customer_id, i.subscription_id, i.installment_plan_id, i.timeline
         from customers c join invoices i on i.customer_id = c.id and i.currency = c.currency
         where c.id in list($1) and c.balance > 0 and i.status = 'open' order by i.due_at, i.id",
    )
    .bind_list(customers)
    .all()
    .await
}

/// Which of these invoices the balance of their customer could pay.
pub async fn covered_by_balance(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<(InvoiceId, CustomerId)>> {
    tx.query(
        "select i.id, c.id from invoices i join customers c on c.id = i.customer_id and c.currency = i.currency
         where i.id in list($1) and c.balance > 0 order by i.id",
    )
    .bind_list(invoices)
    .all()
    .await
}

/// Locks those of these open invoices that nobody else holds.
pub async fn lock_free(tx: &mut Tx, ids: &[InvoiceId]) -> Result<Vec<InvoiceId>> {
    let rows: Vec<(InvoiceId,)> = tx
        .query("select id from invoices where id in list($1) and status = 'open' order by id for update skip locked")
        .bind_list(ids)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Which of these subscriptions have an open invoice that was declined.
pub async fn subscriptions_behind(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<Vec<SubscriptionId>> {
    let rows: Vec<(SubscriptionId,)> = tx
        .query(
            "select distinct subscription_id from invoices where subscription_id in list($1) and status = 'open' and dunning_step > 0",
        )
        .bind_list(subscriptions)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Which of these subscriptions still have an open invoice.
pub async fn subscriptions_owing(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<Vec<SubscriptionId>> {
    let rows: Vec<(SubscriptionId,)> = tx
        .query("select distinct subscription_id from invoices where subscription_id in list($1) and status = 'open'")
        .bind_list(subscriptions)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The method that an invoice is charged to.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, sqlx::FromRow)]
pub struct ChosenMethod {
    pub invoice_id: InvoiceId,
    pub payment_method_id: Option<PaymentMethodId>,
    pub gateway: Option<String>,
    pub kind: Option<MethodKind>,
    pub customer_token: Option<String>,
    pub payment_method_token: Option<String>,
    pub transaction_id: Option<String>,
    pub mandate_ended_at: Option<DateTime<Utc>>,
    /// Of a method that asks the customer to pay.
    #[sqlx(json(nullable))]
    pub channels: Option<Vec<String>>,
}

/// Open invoices with something due by `now`, locked against other daemons.
pub async fn due(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Result<Vec<Invoice>> {
    tx.query("select * from invoices where timeline = $1 and next_attempt_at <= $2 order by next_attempt_at limit $3 for update skip locked")
        .bind(timeline)
        .bind(now)
        .bind(limit)
        .batch()
        .await
}

/// For each invoice the method of its subscription or installment plan, or the customer's default, or the one of first priority.
pub async fn methods_of(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<ChosenMethod>> {
    tx.query(
        "select i.id as invoice_id, m.id as payment_method_id, m.gateway, m.kind, m.customer_token, m.payment_method_token, m.transaction_id,
                m.mandate_ended_at, m.channels
         from invoices i
         left join subscriptions s on s.id = i.subscription_id
         left join installment_plans a on a.id = i.installment_plan_id
         left join payment_methods m on m.id = coalesce(s.payment_method_id, a.payment_method_id, (
             select p.id from payment_methods p where p.customer_id = i.customer_id
             order by p.is_default desc, p.priority, p.id limit 1))
         where i.id in list($1)",
    )
    .bind_list(invoices)
    .batch()
    .await
}

pub async fn earliest_attempt(db: &Db, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let row: (Option<DateTime<Utc>>,) = db
        .query("select next_attempt_at from invoices where timeline = $1 and next_attempt_at is not null order by next_attempt_at limit 1")
        .bind(timeline)
        .optional()
        .await?
        .unwrap_or((None,));
    Ok(row.0)
}
