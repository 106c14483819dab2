//! Installment plans and their parts. A plan's lock guards its parts too; the due scan reads one partial index of plans.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    calendar::Zone,
    clock::Timeline,
    id::{InstallmentPlanId, InvoiceId},
    installment_plan::{Installment, InstallmentPlan, InstallmentSchedule},
    money::Currency,
};

impl Row for InstallmentPlan {
    const TABLE: &'static str = "installment_plans";
}

impl Row for Installment {
    const TABLE: &'static str = "installments";
    const UNSAVED: &'static [&'static str] = &["installment_plan_id", "number"];
}

const TERMS: &[&str] =
    &["reference", "payment_method_id", "dunning_policy_id", "description", "default_after", "metadata", "updated_at"];

/// What billing and settlement may change.
const PROGRESS: &[&str] = &["status", "anchor_date", "failed_in_a_row", "due_at", "ended_at", "updated_at"];

pub async fn insert(tx: &mut Tx, schedule: &InstallmentSchedule) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(&schedule.plan)).await?;
    tx.insert_rows(&schedule.installments).await
}

/// Inserts many plans at once, with all of their installments.
pub async fn insert_many(tx: &mut Tx, plans: &[InstallmentPlan], installments: &[Installment]) -> Result<()> {
    tx.insert_rows(plans).await?;
    // Sent in steps, since a plan may have many.
    for page in installments.chunks(5000) {
        tx.insert_rows(page).await?;
    }
    Ok(())
}

/// Which of these references plans have already, and which plan each.
pub async fn referenced(db: &Db, references: &[&str]) -> Result<Vec<(String, InstallmentPlanId)>> {
    db.query("select reference, id from installment_plans where reference in list($1)").bind_list(references).all().await
}

/// Saves where plans stand, but not their terms.
pub async fn save_progress(tx: &mut Tx, plans: &[InstallmentPlan]) -> Result<()> {
    tx.update_rows(plans, PROGRESS).await?;
    Ok(())
}

pub async fn save_terms(tx: &mut Tx, plan: &InstallmentPlan) -> Result<()> {
    tx.update_rows(std::slice::from_ref(plan), TERMS).await?;
    Ok(())
}

/// Saves installments that exist.
pub async fn save_parts(tx: &mut Tx, installments: &[Installment]) -> Result<()> {
    tx.save_rows(installments).await?;
    Ok(())
}

pub async fn insert_parts(tx: &mut Tx, installments: &[Installment]) -> Result<()> {
    tx.insert_rows(installments).await
}

/// By id or reference.
pub async fn find(db: &Db, key: &str) -> Result<Option<InstallmentPlan>> {
    db.query(
        "select * from installment_plans where id = coalesce((select r.id from installment_plans r where r.reference = $1), $1)",
    )
    .bind(key.to_owned())
    .optional()
    .await
}

/// Locks a plan, by id or reference, and reads its installments.
pub async fn lock(tx: &mut Tx, key: &str) -> Result<Option<InstallmentSchedule>> {
    let plan: Option<InstallmentPlan> = tx
        .query(
            "select * from installment_plans
             where id = coalesce((select r.id from installment_plans r where r.reference = $1), $1) for update",
        )
        .bind(key.to_owned())
        .optional()
        .await?;
    let Some(plan) = plan else { return Ok(None) };
    let installments =
        tx.query("select * from installments where installment_plan_id = $1 order by number").bind(plan.id).all().await?;
    Ok(Some(InstallmentSchedule { plan, installments }))
}

pub async fn lock_many(tx: &mut Tx, ids: &[InstallmentPlanId]) -> Result<Vec<InstallmentPlan>> {
    tx.query("select * from installment_plans where id in list($1) order by id for update").bind_list(ids).all().await
}

/// Locks those of these plans that nobody else holds.
pub async fn lock_free(tx: &mut Tx, ids: &[InstallmentPlanId]) -> Result<Vec<InstallmentPlanId>> {
    let rows: Vec<(InstallmentPlanId,)> = tx
        .query("select id from installment_plans where id in list($1) order by id for update skip locked")
        .bind_list(ids)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The next plans with an installment due by `now`, locked against other daemons.
pub async fn due(tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>, limit: i64) -> Result<Vec<InstallmentPlan>> {
    tx.query(
        "select * from installment_plans where timeline = $1 and due_at <= $2 order by due_at limit $3 for update skip locked",
    )
    .bind(timeline)
    .bind(now)
    .bind(limit)
    .all()
    .await
}

/// The scheduled installments of these plans; their past is not read.
pub async fn scheduled_of(tx: &mut Tx, plans: &[InstallmentPlanId]) -> Result<Vec<Installment>> {
    tx.query(
        "select * from installments where installment_plan_id in list($1) and status = 'scheduled'
         order by installment_plan_id, due_at, number",
    )
    .bind_list(plans)
    .all()
    .await
}

/// The installments that these invoices are for.
pub async fn of_invoices(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Vec<Installment>> {
    tx.query("select * from installments where invoice_id in list($1) order by installment_plan_id, number")
        .bind_list(invoices)
        .all()
        .await
}

pub async fn of_plans(db: &Db, plans: &[InstallmentPlanId]) -> Result<Vec<Installment>> {
    db.query("select * from installments where installment_plan_id in list($1) order by installment_plan_id, number")
        .bind_list(plans)
        .all()
        .await
}

/// How many installments of a plan are owed still, and how many are paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct InstallmentCounts {
    pub plan_id: InstallmentPlanId,
    pub owed: i64,
    pub paid: i64,
}

pub async fn counts_of(tx: &mut Tx, plans: &[InstallmentPlanId]) -> Result<Vec<InstallmentCounts>> {
    tx.query(
        "select installment_plan_id as plan_id,
                sum(case when status in ('scheduled', 'due', 'failed') then 1 else 0 end) as owed,
                sum(case when status in ('paid', 'paid_elsewhere') then 1 else 0 end) as paid
         from installments where installment_plan_id in list($1) group by installment_plan_id",
    )
    .bind_list(plans)
    .all()
    .await
}

/// Money that came for a plan's invoices, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct PlanReceipts {
    pub plan_id: InstallmentPlanId,
    /// By credit or in part, for open invoices.
    pub open: i64,
    /// By credit or in part, for invoices that were given up on.
    pub uncollectible: i64,
    /// To payment methods and as credit.
    pub refunded: i64,
}

pub async fn received(db: &Db, plans: &[InstallmentPlanId]) -> Result<Vec<PlanReceipts>> {
    db.query(RECEIVED).bind_list(plans).all().await
}

/// Money that came for one plan, inside a transaction.
pub async fn received_in(tx: &mut Tx, plan: InstallmentPlanId) -> Result<Option<PlanReceipts>> {
    tx.query(RECEIVED).bind_list([plan]).optional().await
}

const RECEIVED: &str = "select installment_plan_id as plan_id,
                cast(sum(case when status = 'open' then amount_paid + credit_applied else 0 end) as bigint) as open,
                cast(sum(case when status = 'uncollectible' then amount_paid + credit_applied else 0 end) as bigint) as uncollectible,
                cast(sum(amount_refunded + amount_credited) as bigint) as refunded
         from invoices where installment_plan_id in list($1) group by installment_plan_id";

/// An installment to come, as a forecast sees it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Planned {
    pub id: String,
    pub due_at: DateTime<Utc>,
    pub amount: i64,
    pub currency: Currency,
    pub timezone: Zone,
    pub timeline: Timeline,
}

/// Installments that will be charged before an instant, by id and after `after`; of one timeline, if it is given.
pub async fn planned(
    db: &Db,
    timeline: Option<Timeline>,
    before: DateTime<Utc>,
    after: &str,
    limit: i64,
) -> Result<Vec<Planned>> {
    db.query(
        "select i.id, i.due_at, i.amount, p.currency, p.timezone, p.timeline
         from installments i join installment_plans p on p.id = i.installment_plan_id
         where i.id > $1 and i.status = 'scheduled' and i.due_at < $3 and ($2 is null or p.timeline = $2) and p.due_at is not null
         order by i.id limit $4",
    )
    .bind(after.to_owned())
    .bind(timeline.map(|timeline| timeline.to_string()))
    .bind(before)
    .bind(limit)
    .all()
    .await
}
