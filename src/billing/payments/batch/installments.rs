//! What becomes of installments when their invoice ends: paid, failed, or written off; and what that makes of their plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::SettlementBatch;
use crate::{
    billing::Result,
    domain::{
        event::Actor,
        id::{DunningPolicyId, InstallmentPlanId, InvoiceId},
        installment_plan::{Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentStatus},
    },
    store::{self, Tx},
};

/// Locked plans, and those of their installments that the group of answers is about.
#[derive(Default)]
pub(crate) struct Installments {
    plans: BTreeMap<InstallmentPlanId, InstallmentPlan>,
    by_invoice: BTreeMap<InvoiceId, Vec<Installment>>,
    changed: BTreeSet<InvoiceId>,
    /// Plans of which something is not owed any more: is anything left?
    settled: BTreeSet<InstallmentPlanId>,
    changed_plans: BTreeSet<InstallmentPlanId>,
}

impl Installments {
    pub(crate) async fn lock(tx: &mut Tx, plans: &[InstallmentPlanId], invoices: &[InvoiceId]) -> Result<Self> {
        let mut locked = Self::default();
        if plans.is_empty() {
            return Ok(locked);
        }
        locked.plans = store::installments::lock_many(tx, plans).await?.into_iter().map(|plan| (plan.id, plan)).collect();
        for part in store::installments::of_invoices(tx, invoices).await? {
            if let Some(invoice) = part.invoice_id {
                locked.by_invoice.entry(invoice).or_default().push(part);
            }
        }
        Ok(locked)
    }

    pub(crate) fn dunning_policy(&self, plan: InstallmentPlanId) -> Option<DunningPolicyId> {
        self.plans.get(&plan)?.dunning_policy_id
    }

    pub(crate) fn is_cancelled(&self, plan: InstallmentPlanId) -> bool {
        self.plans.get(&plan).is_some_and(|plan| plan.status == InstallmentPlanStatus::Cancelled)
    }
}

impl SettlementBatch<'_> {
    /// Passes the end of an invoice on to the installments it is for, if it is for any.
    pub(crate) fn end_installments(&mut self, id: InvoiceId, status: InstallmentStatus, actor: &Actor) {
        let Some(plan_id) = self.invoices.get(&id).and_then(|invoice| invoice.installment_plan_id) else { return };
        let Some(plan) = self.installments.plans.get_mut(&plan_id) else { return };
        let now = self.nows.get(&plan.timeline).copied().unwrap_or(self.wall);
        let timeline = plan.timeline;
        let mut numbers = Vec::new();
        let mut amount = 0;
        for part in self.installments.by_invoice.get_mut(&id).into_iter().flatten().filter(|part| part.status.is_owed()) {
            part.status = status;
            numbers.push(part.number);
            amount += part.amount;
        }
        if numbers.is_empty() {
            return;
        }
        self.installments.changed.insert(id);
        self.installments.changed_plans.insert(plan_id);
        self.installments.settled.insert(plan_id);
        let mut defaulted = false;
        match status {
            InstallmentStatus::Paid => plan.succeed(now),
            InstallmentStatus::Failed => defaulted = plan.fail(now),
            _ => plan.updated_at = now,
        }
        let failed_in_a_row = plan.failed_in_a_row;
        let data = json!({ "numbers": numbers, "amount": amount, "invoice_id": id, "failed_in_a_row": failed_in_a_row });
        self.events.push(self.app.event(timeline, now, actor, &format!("installment.{status}"), plan_id, data));
        if defaulted {
            let data = json!({ "reason": format!("{failed_in_a_row} installments in a row failed"), "invoice_id": id });
            self.events.push(self.app.event(timeline, now, actor, "installment_plan.defaulted", plan_id, data));
        }
    }

    /// The issuer ended the mandate: nothing more may be charged by itself.
    pub(crate) fn default_plan(&mut self, id: InvoiceId, reason: &str) {
        let Some(plan_id) = self.invoices.get(&id).and_then(|invoice| invoice.installment_plan_id) else { return };
        let Some(plan) = self.installments.plans.get_mut(&plan_id) else { return };
        if plan.status != InstallmentPlanStatus::Open {
            return;
        }
        let now = self.nows.get(&plan.timeline).copied().unwrap_or(self.wall);
        plan.end(InstallmentPlanStatus::Defaulted, now);
        self.installments.changed_plans.insert(plan_id);
        let data = json!({ "reason": reason, "invoice_id": id });
        self.events.push(self.app.event(plan.timeline, now, &Actor::System, "installment_plan.defaulted", plan_id, data));
    }

    /// Writes installments and plans; a plan of which nothing is owed any more ends here.
    pub(crate) async fn close_installments(&mut self, tx: &mut Tx) -> Result<()> {
        let Installments { plans, by_invoice, changed, settled, changed_plans } = std::mem::take(&mut self.installments);
        if changed_plans.is_empty() {
            return Ok(());
        }
        let changed: Vec<Installment> = changed.iter().filter_map(|id| by_invoice.get(id)).flatten().cloned().collect();
        store::installments::save_parts(tx, &changed).await?;
        let mut plans: Vec<InstallmentPlan> = plans.into_values().filter(|plan| changed_plans.contains(&plan.id)).collect();
        let settled: Vec<InstallmentPlanId> = settled.into_iter().collect();
        let wall = self.wall;
        let now_of = |plan: &InstallmentPlan| self.nows.get(&plan.timeline).copied().unwrap_or(wall);
        let events = crate::billing::installment_plans::end_settled(tx, self.app, &mut plans, &settled, now_of).await?;
        self.events.extend(events);
        store::installments::save_progress(tx, &plans).await?;
        Ok(())
    }
}
