//! Change an installment plan: move or re-amount an installment, split it, and what goes with the plan itself.

use chrono::NaiveDate;
use serde_json::json;

use super::{
    Overview,
    create::{check_method, taken},
    held::Held,
};
use crate::{
    billing::{App, Done, Refusal, checks::Checks},
    domain::{
        customer::Metadata,
        event::Actor,
        id::{InstallmentPlan as PlanKind, PaymentMethodId},
        installment::{MAX_INSTALLMENTS, change::Spread},
    },
    store,
};

const CHANGED: &str = "installment_plan.changed";

/// What may change of the plan itself. None leaves it.
#[derive(Debug, Clone, Default)]
pub struct PlanPatch {
    pub reference: Option<Option<String>>,
    pub description: Option<String>,
    pub payment_method_id: Option<Option<PaymentMethodId>>,
    pub default_after: Option<i64>,
    pub metadata: Option<Metadata>,
}

/// Who pays with what, and when the plan gives up; the total and what is paid stay.
pub async fn update(app: &App, actor: &Actor, key: &str, patch: PlanPatch) -> Done<Overview> {
    let mut held = Held::take(app, actor, key).await?;
    let mut checks = Checks::default();
    checks.reference::<PlanKind>(patch.reference.as_ref().and_then(|reference| reference.as_deref()));
    checks.within("default_after", patch.default_after.unwrap_or(0), 0..=MAX_INSTALLMENTS as i64);
    if let Some(Some(method)) = patch.payment_method_id {
        let customer = held.lock_customer().await?;
        check_method(&mut held.tx, &mut checks, &customer, method).await?;
    }
    checks.done()?;
    let plan = &mut held.schedule.plan;
    macro_rules! take {
        ($($field:ident),+) => {$( if let Some(value) = patch.$field { plan.$field = value; } )+};
    }
    take!(reference, description, payment_method_id, default_after, metadata);
    plan.updated_at = held.now;
    store::installments::save_terms(&mut held.tx, plan).await.map_err(taken)?;
    held.commit(CHANGED, json!({})).await
}

/// Moves an installment that is scheduled, gives it another amount, or both.
pub async fn installment(
    app: &App,
    actor: &Actor,
    key: &str,
    number: i64,
    date: Option<NaiveDate>,
    amount: Option<i64>,
    spread: Option<Spread>,
) -> Done<Overview> {
    let mut held = Held::take(app, actor, key).await?;
    held.schedule.payable(number)?;
    if date.is_none() && amount.is_none() {
        return Err(Refusal::invalid("", "must have a date or an amount"));
    }
    if amount.is_none() && spread.is_some() {
        return Err(Refusal::invalid("spread", "needs an amount beside it"));
    }
    let moment = held.moment();
    held.schedule.change(number, date, amount, spread.unwrap_or_default(), moment)?;
    held.commit(CHANGED, json!({ "number": number })).await
}

/// Makes several of an installment that is scheduled.
pub async fn split(app: &App, actor: &Actor, key: &str, number: i64, parts: &[(NaiveDate, i64)]) -> Done<Overview> {
    let mut held = Held::take(app, actor, key).await?;
    let moment = held.moment();
    held.schedule.split(number, parts, moment)?;
    held.commit(CHANGED, json!({ "number": number, "parts": parts.len() })).await
}
