//! Subscriptions. The due scan reads one partial index and never history.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    clock::Timeline,
    id::{CustomerId, PlanId, SubscriptionId},
    subscription::Subscription,
};

impl Row for Subscription {
    const TABLE: &'static str = "subscriptions";
    const UNSAVED: &'static [&'static str] =
        &["customer_id", "timeline", "currency", "first_period", "initial_payment_amount", "created_at"];
}

/// What the bill run changes. Few columns, since it writes thousands of rows.
const PROGRESS: &[&str] = &[
    "status",
    "next_slot",
    "next_cycle",
    "cycles_billed",
    "next_bill_date",
    "next_bill_at",
    "due_at",
    "authorize_at",
    "period_start",
    "period_end",
    "moved_to",
    "updated_at",
];

pub async fn insert(tx: &mut Tx, subscriptions: &[Subscription]) -> Result<()> {
    tx.insert_rows(subscriptions).await
}

/// Saves everything that can change.
pub async fn save(tx: &mut Tx, subscriptions: &[Subscription]) -> Result<()> {
    tx.save_rows(subscriptions).await?;
    Ok(())
}

/// Saves where subscriptions stand in their schedules, but not their terms.
pub async fn save_progress(tx: &mut Tx, subscriptions: &[Subscription]) -> Result<()> {
    tx.update_rows(subscriptions, PROGRESS).await?;
    Ok(())
}

pub async fn get(db: &Db, id: SubscriptionId) -> Result<Option<Subscription>> {
    db.query("select * from subscriptions where id = $1").bind(id).optional().await
}

pub async fn lock(tx: &mut Tx, id: SubscriptionId) -> Result<Option<Subscription>> {
    tx.query("select * from subscriptions where id = $1 for update").bind(id).optional().await
}

pub async fn lock_many(tx: &mut Tx, ids: &[SubscriptionId]) -> Result<Vec<Subscription>> {
    tx.query("select * from subscriptions where id in list($1) order by id for update").bind_list(ids).batch().await
}

/// Locks all of these subscriptions, in the order of their ids. Reads `whole`, and those of `paid` that the success of a payment may
/// change: all but the active ones with more to come.
pub async fn lock_settling(tx: &mut Tx, whole: &[SubscriptionId], paid: &[SubscriptionId]) -> Result<Vec<Subscription>> {
    if paid.is_empty() {
        return if whole.is_empty() { Ok(Vec::new()) } else { lock_many(tx, whole).await };
    }
    let standing: Vec<(SubscriptionId, bool)> = tx
        .query("select id, status <> 'active' or due_at is null from subscriptions where id in list($1) order by id for update")
        .bind_list(whole.iter().chain(paid))
        .all()
        .await?;
    let changing = standing.into_iter().filter(|(id, changes)| *changes || whole.binary_search(id).is_ok());
    let changing: Vec<SubscriptionId> = changing.map(|row| row.0).collect();
    if changing.is_empty() { Ok(Vec::new()) } else { lock_many(tx, &changing).await }
}

/// Locks those of these subscriptions that nobody else holds.
pub async fn lock_free(tx: &mut Tx, ids: &[SubscriptionId]) -> Result<Vec<SubscriptionId>> {
    let rows: Vec<(SubscriptionId,)> = tx
        .query("select id from subscriptions where id in list($1) order by id for update skip locked")
        .bind_list(ids)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Locks the next subscriptions that have something due by `now`, against other daemons.
pub async fn due(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Result<Vec<Subscription>> {
    tx.query("select * from subscriptions where timeline = $1 and due_at <= $2 order by due_at limit $3 for update skip locked")
        .bind(timeline)
        .bind(now)
        .bind(limit)
        .batch()
        .await
}

pub async fn of_customer(db: &Db, customer: CustomerId) -> Result<Vec<Subscription>> {
    db.query("select * from subscriptions where customer_id = $1 order by id").bind(customer).all().await
}

/// Subscriptions with something planned before an instant, by id and after `after`; of one timeline, if it is given.
pub async fn planned(
    db: &Db,
    timeline: Option<Timeline>,
    before: DateTime<Utc>,
    after: &str,
    limit: i64,
) -> Result<Vec<Subscription>> {
    // By id, which no charge changes. By due instant, a subscription that is billed meanwhile would come twice. The empty text keeps
    // SQLite from reading and sorting the whole timeline for each page.
    db.query(
        "select * from subscriptions where id > $1 and ($2 is null or timeline || '' = $2) and due_at is not null and due_at < $3
         order by id limit $4",
    )
    .bind(after.to_owned())
    .bind(timeline.map(|timeline| timeline.to_string()))
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// The `reference` in the metadata of each, by id and after `after`. An import knows its rows by it.
pub async fn references(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(SubscriptionId, Option<String>)>> {
    tx.query("select id, metadata ->> 'reference' from subscriptions where id > $1 order by id limit $2")
        .bind(after.to_owned())
        .bind(limit)
        .all()
        .await
}

/// Lets one import write at a time.
pub async fn lock_imports(tx: &mut Tx) -> Result<()> {
    tx.query(
        "insert into counters (name, value) values ('import', 1) on conflict (name) do update set value = counters.value + 1",
    )
    .run()
    .await?;
    Ok(())
}

/// Subscriptions of a plan that have not ended, by id and after `after`.
pub async fn running_of_plan(tx: &mut Tx, plan: PlanId, after: &str, limit: i64) -> Result<Vec<Subscription>> {
    tx.query(
        "select * from subscriptions where plan_id = $1 and id > $2 and status not in ('completed', 'cancelled')
         order by id limit $3",
    )
    .bind(plan)
    .bind(after.to_owned())
    .bind(limit)
    .all()
    .await
}

/// Locks the subscriptions of a plan that have not ended, by id and after `after`.
pub async fn lock_running_of_plan(tx: &mut Tx, plan: PlanId, after: &str, limit: i64) -> Result<Vec<Subscription>> {
    tx.query(
        "select * from subscriptions where plan_id = $1 and id > $2 and status not in ('completed', 'cancelled')
         order by id limit $3 for update",
    )
    .bind(plan)
    .bind(after.to_owned())
    .bind(limit)
    .all()
    .await
}

/// Subscriptions that have not ended and whose add-ons, discounts or pending change have this id, by id and after `after`. All pages
/// together read every running subscription once.
pub async fn running_with(tx: &mut Tx, entry: &str, after: &str, limit: i64) -> Result<Vec<Subscription>> {
    tx.query(
        "select * from subscriptions where id > $1 and status not in ('completed', 'cancelled')
             and (cast(add_ons as text) like $2 or cast(discounts as text) like $2 or cast(pending_change as text) like $2)
         order by id limit $3",
    )
    .bind(after.to_owned())
    .bind(format!("%{entry}%"))
    .bind(limit)
    .all()
    .await
}

/// Locks the subscriptions that [`running_with`] reads.
pub async fn lock_running_with(tx: &mut Tx, entry: &str, after: &str, limit: i64) -> Result<Vec<Subscription>> {
    tx.query(
        "select * from subscriptions where id > $1 and status not in ('completed', 'cancelled')
             and (cast(add_ons as text) like $2 or cast(discounts as text) like $2 or cast(pending_change as text) like $2)
         order by id limit $3 for update",
    )
    .bind(after.to_owned())
    .bind(format!("%{entry}%"))
    .bind(limit)
    .all()
    .await
}

/// How many subscriptions of a plan have ended.
pub async fn ended_of_plan(tx: &mut Tx, plan: PlanId) -> Result<i64> {
    let row: (i64,) = tx
        .query("select count(*) from subscriptions where plan_id = $1 and status in ('completed', 'cancelled')")
        .bind(plan)
        .one()
        .await?;
    Ok(row.0)
}
