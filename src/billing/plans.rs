//! Plan verbs. A plan is a template: editing or deleting one changes no subscription that was made from it.

use serde_json::json;

use super::{
    App, BillingError, Result,
    checks::{Checks, MAX_COUNT, ModifierInput, Terms, modifiers},
    dunning_policies,
};
use crate::{
    domain::{
        calendar::BusinessDay,
        clock::Timeline,
        event::{Actor, difference},
        frequency::Frequency,
        id::{AddOn, Discount, Plan as PlanKind},
        money::Currency,
        plan::{CatchUp, Plan, WhilePastDue},
    },
    store::{self, Tx},
};

/// Fields to create or change a plan. `None`: left out, so the default or the present value; `Some(None)` removes it.
#[derive(Debug, Clone, Default)]
pub struct PlanInput {
    pub reference: Option<Option<String>>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub amount: Option<i64>,
    pub currency: Option<Currency>,
    pub billing_frequency: Option<Frequency>,
    pub billing_cycle_interval: Option<i64>,
    pub billing_days: Option<Option<String>>,
    pub duration: Option<i64>,
    pub trial_days: Option<i64>,
    pub catch_up: Option<CatchUp>,
    pub while_past_due: Option<WhilePastDue>,
    pub business_day: Option<BusinessDay>,
    pub holiday_calendar: Option<Option<String>>,
    /// Id or reference.
    pub dunning_policy_id: Option<Option<String>>,
    pub add_ons: Option<Vec<ModifierInput>>,
    pub discounts: Option<Vec<ModifierInput>>,
}

pub async fn create(app: &App, actor: &Actor, mut input: PlanInput) -> Result<Plan> {
    let mut checks = Checks::default();
    for (field, missing) in [
        ("name", input.name.is_none()),
        ("amount", input.amount.is_none()),
        ("billing_frequency", input.billing_frequency.is_none()),
    ] {
        if missing {
            checks.fault(field, "is required");
        }
    }
    if input.billing_frequency.is_none() {
        // Nobody can say yet which days would do.
        input.billing_days = None;
    }
    let now = app.clock.now();
    let mut plan = Plan {
        id: app.id(),
        reference: None,
        name: String::new(),
        description: String::new(),
        amount: 0,
        currency: app.config.billing.currency,
        billing_frequency: input.billing_frequency.unwrap_or(Frequency::Monthly),
        billing_cycle_interval: 1,
        billing_days: None,
        duration: 0,
        trial_days: 0,
        catch_up: app.config.billing.catch_up,
        while_past_due: WhilePastDue::Bill,
        business_day: BusinessDay::None,
        holiday_calendar: None,
        dunning_policy_id: None,
        add_ons: Vec::new(),
        discounts: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    let mut tx = app.db.begin().await?;
    put(app, &mut tx, &mut checks, &mut plan, input).await?;
    checks.done()?;
    store::plans::insert(&mut tx, &plan).await.map_err(BillingError::reference_taken("plan"))?;
    let event = app.event(Timeline::Wall, now, actor, "plan.created", plan.id, json!({ "after": plan }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(plan)
}

pub async fn update(app: &App, actor: &Actor, key: &str, input: PlanInput) -> Result<Plan> {
    let mut tx = app.db.begin().await?;
    let before = store::plans::lock(&mut tx, key).await?.ok_or_else(|| BillingError::not_found("plan", key))?;
    let now = app.clock.now();
    let mut plan = Plan { updated_at: now, ..before.clone() };
    let mut checks = Checks::default();
    put(app, &mut tx, &mut checks, &mut plan, input).await?;
    checks.done()?;
    store::plans::save(&mut tx, &plan).await.map_err(BillingError::reference_taken("plan"))?;
    let event = app.event(Timeline::Wall, now, actor, "plan.updated", plan.id, difference(&before, &plan));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(plan)
}

pub async fn delete(app: &App, actor: &Actor, key: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let plan = store::plans::lock(&mut tx, key).await?.ok_or_else(|| BillingError::not_found("plan", key))?;
    store::plans::delete(&mut tx, plan.id).await?;
    let event = app.event(Timeline::Wall, app.clock.now(), actor, "plan.deleted", plan.id, json!({ "before": plan }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(())
}

async fn put(app: &App, tx: &mut Tx, checks: &mut Checks, plan: &mut Plan, input: PlanInput) -> Result<()> {
    macro_rules! take {
        ($($field:ident),+) => {$( if let Some(value) = input.$field { plan.$field = value; } )+};
    }
    if let Some(reference) = &input.reference {
        checks.reference::<PlanKind>(reference.as_deref());
    }
    // Days of one frequency mean nothing to another.
    if input.billing_frequency.is_some_and(|frequency| frequency != plan.billing_frequency) {
        plan.billing_days = None;
    }
    take!(
        reference,
        name,
        description,
        amount,
        currency,
        billing_frequency,
        billing_cycle_interval,
        billing_days,
        duration,
        trial_days,
        catch_up,
        while_past_due,
        business_day,
        holiday_calendar
    );
    if let Some(key) = &input.dunning_policy_id {
        plan.dunning_policy_id = dunning_policies::named(tx, checks, key.as_deref()).await?;
    }
    if let Some(add_ons) = &input.add_ons {
        plan.add_ons = modifiers::<AddOn>(tx, checks, "add_ons", add_ons, &plan.add_ons).await?;
    }
    if let Some(discounts) = &input.discounts {
        plan.discounts = modifiers::<Discount>(tx, checks, "discounts", discounts, &plan.discounts).await?;
    }
    checks.within("trial_days", plan.trial_days, 0..=MAX_COUNT);
    let terms = Terms {
        amount: plan.amount,
        quantity: 1,
        frequency: plan.billing_frequency,
        interval: plan.billing_cycle_interval,
        days: plan.billing_days.as_deref(),
        duration: plan.duration,
        business_day: plan.business_day,
        holiday_calendar: plan.holiday_calendar.as_deref(),
    };
    plan.billing_days = checks.terms(&terms, &app.rules);
    Ok(())
}
