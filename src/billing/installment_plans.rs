//! Installment plans: made, changed, paid early, paid off, restored, cancelled; and what they come to for an operator.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use super::{App, BillingError, Result, invoices::open::Draft};
use crate::{
    domain::{
        clock::Timeline,
        event::{Actor, Event},
        id::InstallmentPlanId,
        installment_plan::{
            Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentSchedule, InstallmentStatus, Unsound, change::Refused,
        },
        invoice::{Line, LineKind},
    },
    store::{self, Tx, installments::PlanReceipts},
};

pub mod change;
pub mod create;
mod edit;
pub mod open_due;
pub mod operate;
mod pay;

/// A plan with its installments and what they come to, minor units.
#[derive(Debug, Clone)]
pub struct Overview {
    pub schedule: InstallmentSchedule,
    /// Received so far: by charge, by credit, and before the plan came here. Refunds are not taken off.
    pub paid: i64,
    /// The part of `received` that another system collected, before the plan came here.
    pub paid_elsewhere: i64,
    /// Invoiced and not yet received.
    pub pending: i64,
    /// Still owed, `pending` included.
    pub balance: i64,
    pub refunded: i64,
    pub repay_by: Option<NaiveDate>,
    /// By the plan's clock and zone.
    pub today: NaiveDate,
}

impl Overview {
    /// `received`: what came for invoices that are not paid in full.
    pub fn new(schedule: InstallmentSchedule, received: Option<PlanReceipts>, now: DateTime<Utc>) -> Self {
        let totals = schedule.totals();
        let (open, uncollectible) = received.map_or((0, 0), |received| (received.open, received.uncollectible));
        Self {
            paid: totals.paid + totals.paid_elsewhere + open + uncollectible,
            paid_elsewhere: totals.paid_elsewhere,
            pending: totals.due - open,
            // A part payment of an installment that was cancelled later does not reduce what is owed.
            balance: totals.scheduled + totals.due - open + (totals.failed - uncollectible).max(0),
            refunded: received.map_or(0, |received| received.refunded),
            repay_by: schedule.repay_by(),
            today: schedule.plan.today(now),
            schedule,
        }
    }
}

/// Plans with everything that is shown of them. It takes two statements for any number of plans, and one for each test clock.
pub async fn overviews(app: &App, plans: Vec<InstallmentPlan>) -> Result<Vec<Overview>> {
    let ids: Vec<InstallmentPlanId> = plans.iter().map(|plan| plan.id).collect();
    let mut parts: BTreeMap<InstallmentPlanId, Vec<Installment>> = BTreeMap::new();
    for part in store::installments::of_plans(&app.db, &ids).await? {
        parts.entry(part.installment_plan_id).or_default().push(part);
    }
    let received = store::installments::received(&app.db, &ids).await?;
    let mut nows: HashMap<Timeline, DateTime<Utc>> = HashMap::new();
    for plan in &plans {
        if let Entry::Vacant(slot) = nows.entry(plan.timeline) {
            slot.insert(app.now_of(plan.timeline).await?);
        }
    }
    let overview = |plan: InstallmentPlan| {
        let now = nows.get(&plan.timeline).copied().unwrap_or(plan.updated_at);
        let received = received.iter().find(|received| received.plan_id == plan.id).copied();
        let installments = parts.remove(&plan.id).unwrap_or_default();
        Overview::new(InstallmentSchedule { plan, installments }, received, now)
    };
    Ok(plans.into_iter().map(overview).collect())
}

/// A plan by id or reference.
pub async fn overview(app: &App, key: &str) -> Result<Overview> {
    let missing = || BillingError::not_found("installment plan", key);
    let plan = store::installments::find(&app.db, key).await?.ok_or_else(missing)?;
    overviews(app, vec![plan]).await?.pop().ok_or_else(missing)
}

impl From<Refused> for BillingError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuch(number) => Self::not_found("installment", number),
            Refused::State(detail) => Self::WrongState(detail),
            Refused::Field { field, message } => Self::invalid(field, message),
        }
    }
}

impl From<Unsound> for BillingError {
    fn from(unsound: Unsound) -> Self {
        tracing::error!(%unsound, "installments that do not add up were not stored");
        Self::WrongState(unsound.to_string())
    }
}

/// One invoice for all of these installments.
fn draft(plan: &InstallmentPlan, parts: &[&Installment], due_at: DateTime<Utc>) -> Draft {
    let line = |part: &&Installment| {
        let kind = if part.number == 0 { LineKind::DownPayment } else { LineKind::Installment };
        Line::new(kind, part.label(), part.amount)
    };
    let label = match parts {
        [part] => part.label(),
        _ => "Pay-off".to_owned(),
    };
    Draft {
        customer_id: plan.customer_id,
        subscription_id: None,
        installment: parts.iter().map(|part| part.number).min().map(|number| (plan.id, number)),
        cycle: None,
        timeline: plan.timeline,
        currency: plan.currency,
        timezone: plan.timezone,
        description: if plan.description.is_empty() { label } else { format!("{}: {label}", plan.description) },
        period: None,
        lines: parts.iter().map(line).collect(),
        due_at,
    }
}

/// Ends those of these plans that owe nothing any more. Their installments must be written already; the caller writes the plans.
pub(crate) async fn end_settled(
    tx: &mut Tx,
    app: &App,
    plans: &mut [InstallmentPlan],
    settled: &[InstallmentPlanId],
    now_of: impl Fn(&InstallmentPlan) -> DateTime<Utc>,
) -> Result<Vec<Event>> {
    let running = |plan: &&mut InstallmentPlan| plan.is_running() && settled.contains(&plan.id);
    let candidates: Vec<&mut InstallmentPlan> = plans.iter_mut().filter(running).collect();
    let ids: Vec<InstallmentPlanId> = candidates.iter().map(|plan| plan.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let standings = store::installments::counts_of(tx, &ids).await?;
    let mut events = Vec::new();
    for plan in candidates {
        let Some(standing) = standings.iter().find(|standing| standing.plan_id == plan.id) else { continue };
        let now = now_of(plan);
        if plan.settle(standing.owed > 0, standing.paid > 0, now) {
            events.push(ended_event(app, plan, now, &Actor::System));
        }
    }
    Ok(events)
}

fn ended_event(app: &App, plan: &InstallmentPlan, now: DateTime<Utc>, actor: &Actor) -> Event {
    let (kind, data) = match plan.status {
        InstallmentPlanStatus::Paid => ("installment_plan.paid", json!({ "amount": plan.amount })),
        _ => ("installment_plan.cancelled", json!({ "reason": "all that was owed is written off" })),
    };
    app.event(plan.timeline, now, actor, kind, plan.id, data)
}

/// Credit covered it at once.
fn paid_event(app: &App, plan: &InstallmentPlan, parts: &[&Installment], now: DateTime<Utc>, actor: &Actor) -> Event {
    let data = json!({
        "numbers": parts.iter().map(|part| part.number).collect::<Vec<_>>(),
        "amount": parts.iter().map(|part| part.amount).sum::<i64>(),
        "invoice_id": parts.first().and_then(|part| part.invoice_id),
        "failed_in_a_row": 0,
    });
    app.event(plan.timeline, now, actor, &format!("installment.{}", InstallmentStatus::Paid), plan.id, data)
}
