//! What becomes of installments when their invoice ends: paid, failed, or written off; and what that makes of their plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Rows, SettlementBatch};
use crate::{
    billing::Result,
    domain::{
        event::Actor,
        id::{DunningPolicyId, InstallmentPlanId, InvoiceId},
        installment_plan::{Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentStatus},
        invoice::InvoiceStatus,
    },
    store::{self, Tx},
};

/// Locked plans, and those of their installments that the group of answers is about.
#[derive(Default)]
pub(super) struct Installments {
    plans: Rows<InstallmentPlanId, InstallmentPlan>,
    by_invoice: Rows<InvoiceId, Vec<Installment>>,
    /// Plans of which something is not owed any more: is anything left?
    settled: BTreeSet<InstallmentPlanId>,
}

impl Installments {
    pub(super) async fn lock(tx: &mut Tx, plans: &[InstallmentPlanId], invoices: &[InvoiceId]) -> Result<Self> {
        if plans.is_empty() {
            return Ok(Self::default());
        }
        let plans = Rows::new(store::installments::lock_many(tx, plans).await?, |plan| plan.id);
        let mut parts: BTreeMap<InvoiceId, Vec<Installment>> = BTreeMap::new();
        for part in store::installments::of_invoices(tx, invoices).await? {
            if let Some(invoice) = part.invoice_id {
                parts.entry(invoice).or_default().push(part);
            }
        }
        Ok(Self { plans, by_invoice: parts.into(), settled: BTreeSet::new() })
    }

    pub(super) fn dunning_policy(&self, plan: InstallmentPlanId) -> Option<DunningPolicyId> {
        self.plans.get(plan)?.dunning_policy_id
    }

    pub(super) fn is_cancelled(&self, plan: InstallmentPlanId) -> bool {
        self.plans.get(plan).is_some_and(|plan| plan.status == InstallmentPlanStatus::Cancelled)
    }
}

impl SettlementBatch<'_> {
    /// Passes the end of an invoice on to the installments it is for, if it is for any.
    pub(super) fn end_installments(&mut self, id: InvoiceId, status: InstallmentStatus, actor: &Actor) {
        let Some(plan_id) = self.invoices.get(id).and_then(|invoice| invoice.installment_plan_id) else { return };
        let Installments { plans, by_invoice, settled } = &mut self.installments;
        let is_any_owed = |parts: &Vec<Installment>| parts.iter().any(|part| part.status.is_owed());
        if plans.get(plan_id).is_none() {
            return;
        }
        let Some(parts) = by_invoice.change_if(id, is_any_owed) else { return };
        let Some(plan) = plans.change(plan_id) else { return };
        settled.insert(plan_id);
        let now = self.clocks.now(plan.timeline);
        let timeline = plan.timeline;
        let mut numbers = Vec::new();
        let mut amount = 0;
        for part in parts.iter_mut().filter(|part| part.status.is_owed()) {
            part.status = status;
            numbers.push(part.number);
            amount += part.amount;
        }
        let mut defaulted = false;
        match status {
            InstallmentStatus::Paid => plan.succeed(now),
            InstallmentStatus::Failed => defaulted = plan.fail(now),
            _ => plan.updated_at = now,
        }
        let failed_in_a_row = plan.failed_in_a_row;
        let data = json!({ "numbers": numbers, "amount": amount, "invoice_id": id, "failed_in_a_row": failed_in_a_row });
        self.emit(timeline, actor, &format!("installment.{status}"), plan_id, data);
        if defaulted {
            self.follow_ups.defaulted.insert(plan_id);
            let data = json!({ "reason": format!("{failed_in_a_row} installments in a row failed"), "invoice_id": id });
            self.emit(timeline, actor, "installment_plan.defaulted", plan_id, data);
        }
    }

    /// The issuer ended the mandate: nothing more may be charged by itself.
    pub(super) fn default_plan(&mut self, id: InvoiceId, reason: &str) {
        let Some(plan_id) = self.invoices.get(id).and_then(|invoice| invoice.installment_plan_id) else { return };
        let is_open = |plan: &InstallmentPlan| plan.status == InstallmentPlanStatus::Open;
        let Some(plan) = self.installments.plans.change_if(plan_id, is_open) else { return };
        let timeline = plan.timeline;
        plan.end(InstallmentPlanStatus::Defaulted, self.clocks.now(timeline));
        self.follow_ups.defaulted.insert(plan_id);
        let data = json!({ "reason": reason, "invoice_id": id });
        self.emit(timeline, &Actor::System, "installment_plan.defaulted", plan_id, data);
    }

    /// Nothing of a defaulted plan is charged by itself: an attempt that was planned is not made. True: the invoice is of such a plan.
    pub(super) fn rests_if_defaulted(&mut self, id: InvoiceId) -> bool {
        let plan = self.invoices.get(id).and_then(|invoice| invoice.installment_plan_id);
        let is_defaulted =
            |plan| self.installments.plans.get(plan).is_some_and(|it| it.status == InstallmentPlanStatus::Defaulted);
        if !plan.is_some_and(is_defaulted) {
            return false;
        }
        if let Some(invoice) = self.invoices.change_open(id) {
            invoice.next_attempt_at = None;
        }
        true
    }

    /// What else is open of plans that have just defaulted waits for an operator, and nobody is asked for it any more.
    pub(super) async fn rest_defaulted(&mut self, tx: &mut Tx) -> Result<()> {
        for plan in std::mem::take(&mut self.follow_ups.defaulted) {
            let mut open = store::invoices::lock_owed_of_installment_plan(tx, plan).await?;
            open.retain(|invoice| invoice.status == InvoiceStatus::Open);
            for invoice in &mut open {
                invoice.next_attempt_at = None;
                invoice.updated_at = self.clocks.now(invoice.timeline);
            }
            store::invoices::save(tx, &open).await?;
            let ids: Vec<InvoiceId> = open.iter().map(|invoice| invoice.id).collect();
            if store::payment_requests::withdraw_of_invoices(tx, &ids, self.clocks.wall).await? > 0 {
                self.app.wakeups.requests.notify_one();
            }
        }
        Ok(())
    }

    /// Writes installments and plans; a plan of which nothing is owed any more ends here.
    pub(super) async fn save_installments(&mut self, tx: &mut Tx) -> Result<()> {
        let Installments { plans, by_invoice, settled } = std::mem::take(&mut self.installments);
        let mut plans = plans.to_save();
        if plans.is_empty() {
            return Ok(());
        }
        store::installments::save_parts(tx, &by_invoice.to_save().concat()).await?;
        let settled: Vec<InstallmentPlanId> = settled.into_iter().collect();
        let now_of = |plan: &InstallmentPlan| self.clocks.now(plan.timeline);
        let events = crate::billing::installment_plans::end_settled(tx, self.app, &mut plans, &settled, now_of).await?;
        self.events.extend(events);
        store::installments::save_progress(tx, &plans).await?;
        Ok(())
    }
}
