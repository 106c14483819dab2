//! `/v1/dunning-policies`: what follows a failed payment, step by step.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        App, BillingError,
        dunning_policies::{self, DunningPolicyInput, DunningPolicyPatch},
    },
    domain::{
        dunning::{ByClass, Channel, FinalAction, LocalTime, Override, Policy, PolicySource, Step},
        id,
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
    pub struct DunningPolicyFilters {
        pub reference: Option<String> up to 255,
        pub source: Option<PolicySource>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StepAnswer {
    after_days: u32,
    /// `HH:MM`; null: the hour of the bill run.
    #[schema(value_type = Option<String>)]
    at: Option<LocalTime>,
    channels: Vec<Channel>,
    next_method: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OverrideAnswer {
    steps: Vec<StepAnswer>,
    /// Null: the final action of the policy.
    final_action: Option<FinalAction>,
}

/// Null: the policy's own steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct ByClassAnswer {
    soft: Option<OverrideAnswer>,
    try_later: Option<OverrideAnswer>,
    hard: Option<OverrideAnswer>,
    new_card_needed: Option<OverrideAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DunningPolicyAnswer {
    id: String,
    reference: Option<String>,
    name: String,
    steps: Vec<StepAnswer>,
    by_class: ByClassAnswer,
    final_action: FinalAction,
    is_default: bool,
    /// `configuration`: the policy is part of the settings. Change it there.
    source: PolicySource,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn shown(steps: Vec<Step>) -> Vec<StepAnswer> {
    let one = |step: Step| {
        let Step { after_days, at, channels, next_method } = step;
        StepAnswer { after_days, at, channels, next_method }
    };
    steps.into_iter().map(one).collect()
}

impl From<Policy> for DunningPolicyAnswer {
    fn from(policy: Policy) -> Self {
        let one = |own: Override| OverrideAnswer { steps: shown(own.steps), final_action: own.final_action };
        let ByClass { soft, try_later, hard, new_card_needed } = policy.by_class;
        Self {
            id: policy.id.to_string(),
            reference: policy.reference,
            name: policy.name,
            steps: shown(policy.steps),
            by_class: ByClassAnswer {
                soft: soft.map(one),
                try_later: try_later.map(one),
                hard: hard.map(one),
                new_card_needed: new_card_needed.map(one),
            },
            final_action: policy.final_action,
            is_default: policy.is_default,
            source: policy.source,
            created_at: policy.created_at,
            updated_at: policy.updated_at,
        }
    }
}

/// Lists dunning policies.
#[utoipa::path(get, path = "/v1/dunning-policies", tag = "dunning", params(ListQuery<id::DunningPolicy, DunningPolicyFilters>), responses((status = 200, body = List<DunningPolicyAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::DunningPolicy, DunningPolicyFilters>,
) -> Result<Json<List<DunningPolicyAnswer>>, Problem> {
    let DunningPolicyFilters { reference, source } = page.filters.clone();
    let wanted = [("reference", reference), ("source", source.map(|source| source.to_string()))];
    let found = store::page::list::<Policy>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, DunningPolicyAnswer::from)))
}

/// Makes a dunning policy.
#[utoipa::path(post, path = "/v1/dunning-policies", tag = "dunning", request_body = DunningPolicyInput, responses((status = 201, body = DunningPolicyAnswer)))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(input): JsonBody<DunningPolicyInput>,
) -> Result<(StatusCode, Json<DunningPolicyAnswer>), Problem> {
    let policy = dunning_policies::create(&app, &caller.actor, input).await?;
    Ok((StatusCode::CREATED, Json(policy.into())))
}

/// Shows a dunning policy, by id or reference.
#[utoipa::path(get, path = "/v1/dunning-policies/{id}", tag = "dunning", params(("id" = String, Path)), responses((status = 200, body = DunningPolicyAnswer)))]
async fn get(State(app): State<Arc<App>>, PathKey(key): PathKey) -> Result<Json<DunningPolicyAnswer>, Problem> {
    let found = store::dunning_policies::find(&app.db, &key).await?;
    Ok(Json(found.ok_or_else(|| BillingError::not_found("dunning policy", key))?.into()))
}

/// Changes a dunning policy, from the next failure on.
#[utoipa::path(patch, path = "/v1/dunning-policies/{id}", tag = "dunning", params(("id" = String, Path)), request_body = DunningPolicyPatch, responses((status = 200, body = DunningPolicyAnswer)))]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(patch): JsonBody<DunningPolicyPatch>,
) -> Result<Json<DunningPolicyAnswer>, Problem> {
    Ok(Json(dunning_policies::update(&app, &caller.actor, &key, patch).await?.into()))
}

/// Removes a dunning policy that nothing uses and that is not the default.
#[utoipa::path(delete, path = "/v1/dunning-policies/{id}", tag = "dunning", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, PathKey(key): PathKey) -> Result<StatusCode, Problem> {
    dunning_policies::delete(&app, &caller.actor, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
