//! The bill run's part for installments: opens an invoice for each that is due, in batches, each batch one transaction.
//!
//! Guards "never twice": an installment's invoice and its step to `due` are committed together, and
//! `unique (installment plan, number)` stands behind it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{draft, end_settled, paid_event};
use crate::{
    billing::{App, Result, invoices::open::open_invoices},
    domain::{
        clock::Timeline,
        event::Actor,
        id::InstallmentPlanId,
        installment_plan::{Installment, InstallmentPlan, InstallmentStatus},
        invoice::InvoiceStatus,
    },
    store, telemetry,
};

/// Opens everything due on a timeline by `now`, until nothing is. Answers how many installments that was.
pub async fn open_due(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<usize> {
    let mut opened = 0;
    while let Some(installments) = open_batch(app, timeline, now).await? {
        opened += installments;
        if app.stopping.is_cancelled() {
            break;
        }
    }
    Ok(opened)
}

/// None when nothing was due.
async fn open_batch(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<Option<usize>> {
    let mut tx = app.db.begin().await?;
    let mut plans = store::installments::due(&mut tx, timeline, now, app.config.billing.batch.into()).await?;
    if plans.is_empty() {
        return Ok(None);
    }
    let ids: Vec<InstallmentPlanId> = plans.iter().map(|plan| plan.id).collect();
    let mut scheduled: BTreeMap<InstallmentPlanId, Vec<Installment>> = BTreeMap::new();
    for part in store::installments::scheduled_of(&mut tx, &ids).await? {
        scheduled.entry(part.installment_plan_id).or_default().push(part);
    }
    let mut due: Vec<Installment> = Vec::with_capacity(plans.len());
    let mut drafts = Vec::with_capacity(plans.len());
    for plan in &mut plans {
        let (now_due, later): (Vec<_>, Vec<_>) =
            scheduled.remove(&plan.id).unwrap_or_default().into_iter().partition(|part| part.due_at <= now);
        plan.refresh(&later);
        plan.updated_at = now;
        drafts.extend(now_due.iter().map(|part| draft(plan, &[part], part.due_at)));
        due.extend(now_due);
    }
    let (invoices, mut events) = open_invoices(&mut tx, app, now, &Actor::System, drafts).await?;
    let mut by_id: BTreeMap<InstallmentPlanId, &mut InstallmentPlan> = plans.iter_mut().map(|plan| (plan.id, plan)).collect();
    let mut settled = Vec::new();
    for (part, invoice) in due.iter_mut().zip(&invoices) {
        part.invoice_id = Some(invoice.id);
        part.status = InstallmentStatus::Due;
        // Credit may have paid it at once.
        if invoice.status == InvoiceStatus::Paid
            && let Some(plan) = by_id.get_mut(&part.installment_plan_id)
        {
            part.status = InstallmentStatus::Paid;
            plan.succeed(now);
            settled.push(plan.id);
            events.push(paid_event(app, plan, &[part], now, &Actor::System));
        }
    }
    store::installments::save_parts(&mut tx, &due).await?;
    events.extend(end_settled(&mut tx, app, &mut plans, &settled, |_| now).await?);
    store::installments::save_progress(&mut tx, &plans).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    metrics::counter!(telemetry::INSTALLMENTS_OPENED).increment(due.len() as u64);
    Ok(Some(due.len()))
}
