//! Change what goes with an installment plan: its name, who pays with what, when it gives up. Never its total nor its parts.

use serde_json::json;

use super::{Overview, create::check_method, edit::InstallmentPlanEdit};
use crate::{
    billing::{App, BillingError, Result, checks::Checks, dunning_policies, payment_methods::WaitingInvoices},
    domain::{
        count,
        customer::Metadata,
        event::Actor,
        id::{InstallmentPlan as PlanKind, PaymentMethodId},
        installment_plan::MAX_INSTALLMENTS,
        invoice::InvoiceStatus,
    },
    input::{Patch, body},
    store,
};

body! {
    #[derive(Default)]
    pub struct InstallmentPlanPatch {
        pub reference: Patch<String> line up to 255,
        /// Shown on invoices.
        pub description: Option<String> up to 255,
        /// Null: the customer's default.
        pub payment_method_id: Patch<PaymentMethodId>,
        /// Id or reference; it holds from the next failure on. Null: whichever is the default then.
        pub dunning_policy_id: Patch<String> line up to 255,
        /// So many failed installments in a row default the plan; 0 = never.
        pub default_after: Option<i64> in 0..=1000,
        /// All of it anew.
        pub metadata: Option<Metadata>,
    }
}

/// Who pays with what, and when the plan gives up; the total and what is paid stay.
pub async fn update(app: &App, actor: &Actor, key: &str, patch: InstallmentPlanPatch) -> Result<Overview> {
    let mut edit = InstallmentPlanEdit::lock(app, actor, key).await?;
    let mut checks = Checks::default();
    checks.reference::<PlanKind>(patch.reference.value().map(String::as_str));
    checks.within("default_after", patch.default_after.unwrap_or(0), 0..=count(MAX_INSTALLMENTS));
    // Before the customer: no invoice may be locked after.
    let (mut waiting, _) = edit.owed().await?;
    waiting.retain(|invoice| invoice.status == InvoiceStatus::Open);
    let waiting = WaitingInvoices::among(&mut edit.tx, waiting).await?;
    if let Patch::Value(method) = patch.payment_method_id {
        let customer = edit.lock_customer().await?;
        check_method(&mut edit.tx, &mut checks, &customer, method).await?;
    }
    let policy = match patch.dunning_policy_id.change() {
        Some(key) => Some(dunning_policies::named(&mut edit.tx, &mut checks, key.as_deref()).await?),
        None => None,
    };
    checks.done()?;
    let plan = &mut edit.schedule.plan;
    macro_rules! take {
        ($($field:ident: $change:expr),+ $(,)?) => {$( if let Some(value) = $change { plan.$field = value; } )+};
    }
    take! {
        reference: patch.reference.change(),
        description: patch.description,
        payment_method_id: patch.payment_method_id.change(),
        default_after: patch.default_after,
        metadata: patch.metadata,
    }
    plan.dunning_policy_id = policy.unwrap_or(plan.dunning_policy_id);
    plan.updated_at = edit.now;
    store::installments::save_terms(&mut edit.tx, plan).await.map_err(BillingError::reference_taken("installment plan"))?;
    edit.collect |= waiting.collect(&mut edit.tx, app, actor, edit.now, &mut edit.events).await?;
    edit.commit("installment_plan.changed", json!({})).await
}
