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
        money::{Currency, MAX_AMOUNT_MINOR},
        plan::{CatchUp, Plan, WhilePastDue},
    },
    input::{Patch, body},
    store::{self, Tx},
};

body! {
    #[derive(Default)]
    pub struct PlanInput {
        /// The id of the record in another system. Requests may use this id in place of ours.
        pub reference: Option<String> line up to 255,
        pub name: String line up to 255,
        pub description: Option<String> up to 1000,
        /// For one unit of quantity, minor units.
        pub amount: i64 in 0..=MAX_AMOUNT_MINOR,
        /// Left out: the configured one.
        pub currency: Option<Currency>,
        pub billing_frequency | payment_frequency: Frequency,
        /// Every how many days, weeks, months … ; 1 if left out.
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Which days: `7` (every 7 days), `1,4` (weekdays), `1,15` or `31` (days of the month; 31 and 0 are its last).
        pub billing_days: Option<String> up to 100,
        /// Number of charges; 0 = until cancelled.
        pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
        pub trial_days: Option<i64> in 0..=100_000,
        /// What happens to cycles missed while nothing ran.
        pub catch_up: Option<CatchUp>,
        /// Whether new cycles open while an earlier one is unpaid.
        pub while_past_due: Option<WhilePastDue>,
        /// Where a charge goes that falls on a weekend or bank holiday.
        pub business_day: Option<BusinessDay>,
        /// A configured calendar of bank holidays.
        pub holiday_calendar: Option<String> line up to 100,
        /// Id or reference of what follows a failed payment; subscriptions made from the plan take it along.
        pub dunning_policy_id: Option<String> line up to 255,
        pub add_ons: Option<Vec<ModifierInput>>,
        pub discounts: Option<Vec<ModifierInput>>,
    }
}

body! {
    /// What is left out stays. Subscriptions made from the plan keep their terms until it is rolled out.
    #[derive(Default)]
    pub struct PlanPatch {
        pub reference: Patch<String> line up to 255,
        pub name: Option<String> line up to 255,
        pub description: Option<String> up to 1000,
        /// For one unit of quantity, minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        pub currency: Option<Currency>,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Another frequency without days takes them from each subscription's first bill date.
        pub billing_days: Patch<String> up to 100,
        pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
        pub trial_days: Option<i64> in 0..=100_000,
        pub catch_up: Option<CatchUp>,
        pub while_past_due: Option<WhilePastDue>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Patch<String> line up to 100,
        /// Id or reference of what follows a failed payment; subscriptions made from the plan keep theirs.
        pub dunning_policy_id: Patch<String> line up to 255,
        /// All of them anew.
        pub add_ons: Option<Vec<ModifierInput>>,
        /// All of them anew.
        pub discounts: Option<Vec<ModifierInput>>,
    }
}

pub async fn create(app: &App, actor: &Actor, input: PlanInput) -> Result<Plan> {
    let mut checks = Checks::default();
    checks.reference::<PlanKind>(input.reference.as_deref());
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let dunning_policy_id = dunning_policies::named(&mut tx, &mut checks, input.dunning_policy_id.as_deref()).await?;
    let add_ons = input.add_ons.unwrap_or_default();
    let discounts = input.discounts.unwrap_or_default();
    let mut plan = Plan {
        id: app.id(),
        reference: input.reference,
        name: input.name,
        description: input.description.unwrap_or_default(),
        amount: input.amount,
        currency: input.currency.unwrap_or(app.config.billing.currency),
        billing_frequency: input.billing_frequency,
        billing_cycle_interval: input.billing_cycle_interval.unwrap_or(1),
        billing_days: input.billing_days,
        duration: input.duration.unwrap_or(0),
        trial_days: input.trial_days.unwrap_or(0),
        catch_up: input.catch_up.unwrap_or(app.config.billing.catch_up),
        while_past_due: input.while_past_due.unwrap_or(WhilePastDue::Bill),
        business_day: input.business_day.unwrap_or(BusinessDay::None),
        holiday_calendar: input.holiday_calendar,
        dunning_policy_id,
        add_ons: modifiers::<AddOn>(&mut tx, &mut checks, "add_ons", &add_ons, &[]).await?,
        discounts: modifiers::<Discount>(&mut tx, &mut checks, "discounts", &discounts, &[]).await?,
        created_at: now,
        updated_at: now,
    };
    check(app, &mut checks, &mut plan);
    checks.done()?;
    store::plans::insert(&mut tx, &plan).await.map_err(BillingError::reference_taken("plan"))?;
    let event = app.event(Timeline::Wall, now, actor, "plan.created", plan.id, json!({ "after": plan }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(plan)
}

pub async fn update(app: &App, actor: &Actor, key: &str, patch: PlanPatch) -> Result<Plan> {
    let mut tx = app.db.begin().await?;
    let before = store::plans::lock(&mut tx, key).await?.ok_or_else(|| BillingError::not_found("plan", key))?;
    let now = app.clock.now();
    let mut plan = Plan { updated_at: now, ..before.clone() };
    let mut checks = Checks::default();
    put_over(&mut tx, &mut checks, &mut plan, patch).await?;
    check(app, &mut checks, &mut plan);
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

async fn put_over(tx: &mut Tx, checks: &mut Checks, plan: &mut Plan, patch: PlanPatch) -> Result<()> {
    macro_rules! take {
        ($($field:ident: $change:expr),+ $(,)?) => {$( if let Some(value) = $change { plan.$field = value; } )+};
    }
    checks.reference::<PlanKind>(patch.reference.value().map(String::as_str));
    // Days of one frequency mean nothing to another.
    if patch.billing_frequency.is_some_and(|frequency| frequency != plan.billing_frequency) {
        plan.billing_days = None;
    }
    take! {
        reference: patch.reference.change(),
        name: patch.name,
        description: patch.description,
        amount: patch.amount,
        currency: patch.currency,
        billing_frequency: patch.billing_frequency,
        billing_cycle_interval: patch.billing_cycle_interval,
        billing_days: patch.billing_days.change(),
        duration: patch.duration,
        trial_days: patch.trial_days,
        catch_up: patch.catch_up,
        while_past_due: patch.while_past_due,
        business_day: patch.business_day,
        holiday_calendar: patch.holiday_calendar.change(),
    }
    if let Some(key) = patch.dunning_policy_id.change() {
        plan.dunning_policy_id = dunning_policies::named(tx, checks, key.as_deref()).await?;
    }
    if let Some(add_ons) = &patch.add_ons {
        plan.add_ons = modifiers::<AddOn>(tx, checks, "add_ons", add_ons, &plan.add_ons).await?;
    }
    if let Some(discounts) = &patch.discounts {
        plan.discounts = modifiers::<Discount>(tx, checks, "discounts", discounts, &plan.discounts).await?;
    }
    Ok(())
}

/// Checks the terms as they will be, and writes the days as they are kept.
fn check(app: &App, checks: &mut Checks, plan: &mut Plan) {
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
}
