//! Authorizations: recorded before the call, like payments. `authorizations_one_open` lets a subscription keep one.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    authorization::Authorization,
    clock::Timeline,
    id::{AuthorizationId, CustomerId, InvoiceId, PaymentMethodId, SubscriptionId},
    invoice::InvoiceStatus,
    money::Currency,
    payment_method::MethodKind,
    subscription::Subscription,
};

impl Row for Authorization {
    const TABLE: &'static str = "authorizations";
    const UNSAVED: &'static [&'static str] = &[
        "subscription_id",
        "customer_id",
        "cycle",
        "attempt",
        "payment_method_id",
        "timeline",
        "gateway",
        "kind",
        "reference",
        "idempotency_key",
        "customer_token",
        "payment_method_token",
        "prior_transaction_id",
        "credential",
        "description",
        "amount",
        "currency",
        "sent_at",
        "created_at",
    ];
}

pub async fn insert(tx: &mut Tx, authorizations: &[Authorization]) -> Result<()> {
    tx.insert_rows(authorizations).await
}

pub async fn save(tx: &mut Tx, authorizations: &[Authorization]) -> Result<()> {
    tx.save_rows(authorizations).await?;
    Ok(())
}

pub async fn get(db: &Db, id: AuthorizationId) -> Result<Option<Authorization>> {
    db.query("select * from authorizations where id = $1").bind(id).optional().await
}

pub async fn lock(tx: &mut Tx, id: AuthorizationId) -> Result<Option<Authorization>> {
    tx.query("select * from authorizations where id = $1 for update").bind(id).optional().await
}

/// The latest authorization of a subscription.
pub async fn latest_of(db: &Db, subscription: SubscriptionId) -> Result<Option<Authorization>> {
    db.query("select * from authorizations where subscription_id = $1 order by cycle desc, id desc limit 1")
        .bind(subscription)
        .optional()
        .await
}

/// The latest authorization for a cycle.
pub async fn of_cycle(db: &Db, subscription: SubscriptionId, cycle: i64) -> Result<Option<Authorization>> {
    db.query("select * from authorizations where subscription_id = $1 and cycle = $2 order by id desc limit 1")
        .bind(subscription)
        .bind(cycle)
        .optional()
        .await
}

/// Subscriptions whose authorization must be looked at by `now`, locked against other daemons.
pub async fn due(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Result<Vec<Subscription>> {
    tx.query("select * from subscriptions where timeline = $1 and authorize_at <= $2 order by authorize_at limit $3 for update skip locked")
        .bind(timeline)
        .bind(now)
        .bind(limit)
        .all()
        .await
}

pub async fn earliest_due(db: &Db, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let row: (Option<DateTime<Utc>>,) = db
        .query("select authorize_at from subscriptions where timeline = $1 and authorize_at is not null order by authorize_at limit 1")
        .bind(timeline)
        .optional()
        .await?
        .unwrap_or((None,));
    Ok(row.0)
}

/// Saves when these subscriptions are looked at next, and nothing else.
pub async fn save_next_look(tx: &mut Tx, subscriptions: &[Subscription]) -> Result<()> {
    tx.update_rows(subscriptions, &["authorize_at"]).await?;
    Ok(())
}

/// Makes a customer's subscriptions due to be looked at: another card may have to authorize now.
pub async fn look_at_customer(tx: &mut Tx, customer: CustomerId) -> Result<u64> {
    // `updated_at` lies in the past by every clock, so they are due at once.
    tx.query("update subscriptions set authorize_at = updated_at where customer_id = $1 and authorize_days_before is not null")
        .bind(customer)
        .run()
        .await
}

/// Locks the open authorizations of these subscriptions.
pub async fn lock_open_of(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<Vec<Authorization>> {
    tx.query(
        "select * from authorizations where subscription_id in list($1) and status in ('pending', 'authorized', 'unknown', 'voiding')
         order by id for update",
    )
    .bind_list(subscriptions)
    .all()
    .await
}

/// Ended authorizations for the coming cycles of these subscriptions, oldest first.
pub async fn over_of(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<Vec<Authorization>> {
    tx.query(
        "select a.* from subscriptions s join authorizations a on a.subscription_id = s.id and a.cycle = s.next_cycle
         where s.id in list($1) and a.status in ('declined', 'gateway_error', 'voided', 'lost') order by a.id",
    )
    .bind_list(subscriptions)
    .all()
    .await
}

/// The invoice of the cycle that an authorization is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct InvoiceState {
    pub id: AuthorizationId,
    pub status: InvoiceStatus,
    pub attempts: i64,
}

pub async fn invoices_of(tx: &mut Tx, authorizations: &[AuthorizationId]) -> Result<Vec<InvoiceState>> {
    tx.query(
        "select a.id, i.status, i.attempts from authorizations a
         join invoices i on i.subscription_id = a.subscription_id and i.cycle = a.cycle where a.id in list($1)",
    )
    .bind_list(authorizations)
    .all()
    .await
}

/// Who is charged for a subscription, and the credit that is used first.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Payer {
    pub subscription_id: SubscriptionId,
    pub payment_method_id: Option<PaymentMethodId>,
    pub gateway: Option<String>,
    pub kind: Option<MethodKind>,
    pub customer_token: Option<String>,
    pub payment_method_token: Option<String>,
    pub transaction_id: Option<String>,
    pub balance: i64,
    pub currency: Currency,
}

/// For each subscription its own method, or the customer's default, or the one of first priority. Invoices choose in the same way.
pub async fn payers_of(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<Vec<Payer>> {
    tx.query(
        "select s.id as subscription_id, m.id as payment_method_id, m.gateway, m.kind, m.customer_token, m.payment_method_token,
             m.transaction_id, c.balance, c.currency
         from subscriptions s
         join customers c on c.id = s.customer_id
         left join payment_methods m on m.mandate_ended_at is null and m.id = coalesce(s.payment_method_id, (
             select p.id from payment_methods p where p.customer_id = s.customer_id
             order by p.is_default desc, p.priority, p.id limit 1))
         where s.id in list($1)",
    )
    .bind_list(subscriptions)
    .all()
    .await
}

/// An authorization with the invoice that it is for.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ForInvoice {
    pub invoice_id: InvoiceId,
    #[sqlx(flatten)]
    pub authorization: Authorization,
}

/// Locks the open authorizations for these invoices. The caller must hold the invoices.
pub async fn lock_of_invoices(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<ForInvoice>> {
    tx.query(
        "select i.id as invoice_id, a.* from invoices i
         join authorizations a on a.subscription_id = i.subscription_id and a.cycle = i.cycle
             and a.status in ('pending', 'authorized', 'unknown', 'voiding')
         where i.id in list($1) for update of a",
    )
    .bind_list(invoices)
    .all()
    .await
}

/// Marks for voiding what was handed to a payment that could not capture it.
pub async fn void_used(tx: &mut Tx, authorizations: &[AuthorizationId], reason: &str, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update authorizations set status = 'voiding', void_reason = $2, next_lookup_at = $3, called_at = $3, lookups = 0
         where id in list($1) and status = 'used'",
    )
    .bind_list(authorizations)
    .bind(reason.to_owned())
    .bind(now)
    .run()
    .await?;
    Ok(())
}

/// How many authorizations of a timeline are being asked for or voided.
pub async fn undecided(db: &Db, timeline: Timeline) -> Result<i64> {
    let row: (i64,) = db
        .query("select count(*) from authorizations where timeline = $1 and status in ('pending', 'unknown', 'voiding')")
        .bind(timeline)
        .one()
        .await?;
    Ok(row.0)
}
