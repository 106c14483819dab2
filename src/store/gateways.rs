//! Gateways that rest: an operator's pauses, and the invoices and payments that wait for them. No statement reads more than what is
//! due, or what waits.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Db, Result, Tx, db::Row};
use crate::domain::{customer::Timeline, invoice::Invoice};

/// A gateway that an operator has paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct GatewayPause {
    pub gateway: String,
    pub reason: String,
    pub actor: String,
    /// Wall time.
    pub paused_at: DateTime<Utc>,
}

impl Row for GatewayPause {
    const TABLE: &'static str = "gateway_pauses";
    const COLUMNS: &'static [&'static str] = &["gateway", "reason", "actor", "paused_at"];
}

/// Fails with [`super::Error::Conflict`] if it is paused already.
pub async fn pause(tx: &mut Tx, pause: GatewayPause) -> Result<()> {
    tx.insert_rows(&[pause]).await
}

/// Ends a pause; answers it, if there was one.
pub async fn resume(tx: &mut Tx, gateway: &str) -> Result<Option<GatewayPause>> {
    tx.query("delete from gateway_pauses where gateway = $1 returning *").bind(gateway.to_owned()).optional().await
}

/// Every pause there is.
pub async fn pauses(tx: &mut Tx) -> Result<Vec<GatewayPause>> {
    tx.query("select * from gateway_pauses order by gateway").all().await
}

/// The same for whoever only looks.
pub async fn paused(db: &Db) -> Result<Vec<GatewayPause>> {
    db.query("select * from gateway_pauses order by gateway").all().await
}

/// [`super::invoices::due`] without what goes to these gateways.
pub async fn due_elsewhere(
    tx: &mut Tx,
    timeline: Timeline,
    now: DateTime<Utc>,
    gateways: &[&str],
    limit: i64,
) -> Result<Vec<Invoice>> {
    // Each look is a search by key, whatever the planner thinks of the tables: the same choice as in `invoices::methods_of`.
    tx.query(
        "select * from invoices where timeline = $1 and next_attempt_at <= $2
         and (next_action = 'give_up' or not (coalesce((
             select m.gateway from payment_methods m where m.id = coalesce(
                 (select s.payment_method_id from subscriptions s where s.id = invoices.subscription_id),
                 (select a.payment_method_id from installment_plans a where a.id = invoices.installment_plan_id),
                 (select p.id from payment_methods p where p.customer_id = invoices.customer_id
                  order by p.is_default desc, p.priority, p.id limit 1))), '') in list($3)))
         order by next_attempt_at limit $4 for update skip locked",
    )
    .bind(timeline)
    .bind(now)
    .bind_list(gateways)
    .bind(limit)
    .all()
    .await
}

/// [`super::invoices::due`] of what goes to this gateway alone.
pub async fn due_at(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, gateway: &str, limit: i64) -> Result<Vec<Invoice>> {
    tx.query(
        "select * from invoices where timeline = $1 and next_attempt_at <= $2 and next_action = 'charge' and $3 = (
             select m.gateway from payment_methods m where m.id = coalesce(
                 (select s.payment_method_id from subscriptions s where s.id = invoices.subscription_id),
                 (select a.payment_method_id from installment_plans a where a.id = invoices.installment_plan_id),
                 (select p.id from payment_methods p where p.customer_id = invoices.customer_id
                  order by p.is_default desc, p.priority, p.id limit 1)))
         order by next_attempt_at limit $4 for update skip locked",
    )
    .bind(timeline)
    .bind(now)
    .bind(gateway.to_owned())
    .bind(limit)
    .all()
    .await
}

/// What is due at this gateway waits until this instant. Answers how many do.
pub async fn postpone(
    tx: &mut Tx,
    timeline: Timeline,
    now: DateTime<Utc>,
    gateway: &str,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<u64> {
    tx.query(
        "update invoices set next_attempt_at = $5 where id in (
         select id from invoices where timeline = $1 and next_attempt_at <= $2 and next_action = 'charge' and $3 = (
             select m.gateway from payment_methods m where m.id = coalesce(
                 (select s.payment_method_id from subscriptions s where s.id = invoices.subscription_id),
                 (select a.payment_method_id from installment_plans a where a.id = invoices.installment_plan_id),
                 (select p.id from payment_methods p where p.customer_id = invoices.customer_id
                  order by p.is_default desc, p.priority, p.id limit 1)))
         order by next_attempt_at limit $4 for update skip locked)",
    )
    .bind(timeline)
    .bind(now)
    .bind(gateway.to_owned())
    .bind(limit)
    .bind(until)
    .run()
    .await
}

/// What waits in real time for exactly this instant, and for this gateway, is due now. Answers how many are.
pub async fn bring_forward(
    tx: &mut Tx,
    gateway: &str,
    waiting_for: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<u64> {
    tx.query(
        "update invoices set next_attempt_at = $4 where id in (
         select id from invoices where timeline = 'wall' and next_attempt_at = $1 and next_action = 'charge' and $2 = (
             select m.gateway from payment_methods m where m.id = coalesce(
                 (select s.payment_method_id from subscriptions s where s.id = invoices.subscription_id),
                 (select a.payment_method_id from installment_plans a where a.id = invoices.installment_plan_id),
                 (select p.id from payment_methods p where p.customer_id = invoices.customer_id
                  order by p.is_default desc, p.priority, p.id limit 1)))
         limit $3 for update skip locked)",
    )
    .bind(waiting_for)
    .bind(gateway.to_owned())
    .bind(limit)
    .bind(now)
    .run()
    .await
}

/// Payments at a gateway that answers again are looked up at once, whatever their waits had come to.
pub async fn look_up_now(tx: &mut Tx, gateway: &str, now: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "update payments set next_lookup_at = $2 where id in (
             select id from payments where status in ('pending', 'authorized', 'unknown') and status = 'unknown' and gateway = $1
             and next_lookup_at > $2 and lease_owner is null for update skip locked)",
    )
    .bind(gateway.to_owned())
    .bind(now)
    .run()
    .await
}
