//! `/v1/plans`: templates of subscriptions.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::catalog::ModifierAnswer;
use crate::{
    billing::{
        App, BillingError,
        plans::{self, PlanInput, PlanPatch},
    },
    domain::{
        calendar::BusinessDay,
        frequency::Frequency,
        id,
        invoice::total_of,
        money::Currency,
        plan::{CatchUp, Plan, WhilePastDue},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathKey},
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

body! {
    pub struct PlanFilters {
        pub reference: Option<String> up to 255,
        pub currency: Option<Currency>,
        pub billing_frequency: Option<Frequency>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PlanAnswer {
    id: String,
    reference: Option<String>,
    name: String,
    description: String,
    /// For one unit of quantity, minor units.
    amount: i64,
    #[schema(value_type = String)]
    currency: Currency,
    billing_frequency: Frequency,
    billing_cycle_interval: i64,
    billing_days: Option<String>,
    duration: i64,
    trial_days: i64,
    catch_up: CatchUp,
    while_past_due: WhilePastDue,
    business_day: BusinessDay,
    holiday_calendar: Option<String>,
    /// Null: the default policy.
    #[schema(value_type = Option<String>)]
    dunning_policy_id: Option<id::DunningPolicyId>,
    add_ons: Vec<ModifierAnswer>,
    discounts: Vec<ModifierAnswer>,
    /// What the add-ons come to in the first cycle, minor units.
    total_add_ons: i64,
    /// What the discounts come to in the first cycle, minor units.
    total_discounts: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Plan> for PlanAnswer {
    fn from(plan: Plan) -> Self {
        Self {
            total_add_ons: total_of(&plan.add_ons, plan.amount, 0),
            total_discounts: total_of(&plan.discounts, plan.amount, 0),
            id: plan.id.to_string(),
            reference: plan.reference,
            name: plan.name,
            description: plan.description,
            amount: plan.amount,
            currency: plan.currency,
            billing_frequency: plan.billing_frequency,
            billing_cycle_interval: plan.billing_cycle_interval,
            billing_days: plan.billing_days,
            duration: plan.duration,
            trial_days: plan.trial_days,
            catch_up: plan.catch_up,
            while_past_due: plan.while_past_due,
            business_day: plan.business_day,
            holiday_calendar: plan.holiday_calendar,
            dunning_policy_id: plan.dunning_policy_id,
            add_ons: plan.add_ons.into_iter().map(ModifierAnswer::from).collect(),
            discounts: plan.discounts.into_iter().map(ModifierAnswer::from).collect(),
            created_at: plan.created_at,
            updated_at: plan.updated_at,
        }
    }
}

/// Lists plans.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", params(ListQuery<id::Plan, PlanFilters>), responses((status = 200, body = List<PlanAnswer>)))]
async fn list(State(app): State<Arc<App>>, page: ListQuery<id::Plan, PlanFilters>) -> Result<Json<List<PlanAnswer>>, Problem> {
    let PlanFilters { reference, currency, billing_frequency } = page.filters.clone();
    let wanted = [
        ("reference", reference),
        ("currency", currency.map(|currency| currency.to_string())),
        ("billing_frequency", billing_frequency.map(|frequency| frequency.to_string())),
    ];
    let found = store::page::list::<Plan>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, PlanAnswer::from)))
}

/// Makes a plan.
#[utoipa::path(post, path = "/v1/plans", tag = "plans", request_body = PlanInput, responses((status = 201, body = PlanAnswer)))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(input): JsonBody<PlanInput>,
) -> Result<(StatusCode, Json<PlanAnswer>), Problem> {
    let plan = plans::create(&app, &caller.actor, input).await?;
    Ok((StatusCode::CREATED, Json(plan.into())))
}

/// Shows a plan, by id or reference.
#[utoipa::path(get, path = "/v1/plans/{id}", tag = "plans", params(("id" = String, Path)), responses((status = 200, body = PlanAnswer)))]
async fn get(State(app): State<Arc<App>>, PathKey(key): PathKey) -> Result<Json<PlanAnswer>, Problem> {
    let plan = store::plans::find(&app.db, &key).await?.ok_or_else(|| BillingError::not_found("plan", key))?;
    Ok(Json(plan.into()))
}

/// Changes a plan. Subscriptions made from it keep their terms until it is rolled out.
#[utoipa::path(patch, path = "/v1/plans/{id}", tag = "plans", params(("id" = String, Path)), request_body = PlanPatch, responses((status = 200, body = PlanAnswer)))]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(patch): JsonBody<PlanPatch>,
) -> Result<Json<PlanAnswer>, Problem> {
    Ok(Json(plans::update(&app, &caller.actor, &key, patch).await?.into()))
}

/// Removes a plan. Subscriptions made from it go on.
#[utoipa::path(delete, path = "/v1/plans/{id}", tag = "plans", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, PathKey(key): PathKey) -> Result<StatusCode, Problem> {
    plans::delete(&app, &caller.actor, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
