//! Change what goes with an installment plan: its name, who pays with what, when it gives up. Never its total nor its parts.

use serde_json::json;

use super::{Overview, create::check_method, edit::InstallmentPlanEdit};
use crate::{
    billing::{App, BillingError, Result, checks::Checks, dunning_policies},
    domain::{
        customer::Metadata,
        event::Actor,
        id::{InstallmentPlan as PlanKind, PaymentMethodId},
        installment_plan::MAX_INSTALLMENTS,
    },
    store,
};

/// What may change of the plan itself. None leaves it.
#[derive(Debug, Clone, Default)]
pub struct PlanPatch {
    pub reference: Option<Option<String>>,
    pub description: Option<String>,
    pub payment_method_id: Option<Option<PaymentMethodId>>,
    /// Id or reference.
    pub dunning_policy_id: Option<Option<String>>,
    pub default_after: Option<i64>,
    pub metadata: Option<Metadata>,
}

/// Who pays with what, and when the plan gives up; the total and what is paid stay.
pub async fn update(app: &App, actor: &Actor, key: &str, patch: PlanPatch) -> Result<Overview> {
    let mut edit = InstallmentPlanEdit::lock(app, actor, key).await?;
    let mut checks = Checks::default();
    checks.reference::<PlanKind>(patch.reference.as_ref().and_then(|reference| reference.as_deref()));
    checks.within("default_after", patch.default_after.unwrap_or(0), 0..=MAX_INSTALLMENTS as i64);
    if let Some(Some(method)) = patch.payment_method_id {
        let customer = edit.lock_customer().await?;
        check_method(&mut edit.tx, &mut checks, &customer, method).await?;
    }
    let policy = match &patch.dunning_policy_id {
        Some(key) => Some(dunning_policies::named(&mut edit.tx, &mut checks, key.as_deref()).await?),
        None => None,
    };
    checks.done()?;
    let plan = &mut edit.schedule.plan;
    macro_rules! take {
        ($($field:ident),+) => {$( if let Some(value) = patch.$field { plan.$field = value; } )+};
    }
    take!(reference, description, payment_method_id, default_after, metadata);
    plan.dunning_policy_id = policy.unwrap_or(plan.dunning_policy_id);
    plan.updated_at = edit.now;
    store::installments::save_terms(&mut edit.tx, plan).await.map_err(BillingError::reference_taken("installment plan"))?;
    edit.commit("installment_plan.changed", json!({})).await
}
