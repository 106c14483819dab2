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
        dunning_policies::{self, PolicyInput},
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
    input::{Patch, body},
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

body! {
    /// The nth step follows the nth failure.
    pub struct StepInput {
        /// Local calendar days after the first failure. 0: at once, or with `at` that very day.
        pub after_days: i64 in 0..=365,
        /// Local hour of the charge, `HH:MM`; left out: the one at which bills are run.
        pub at: Option<LocalTime>,
        /// By which the customer is told of the failure that this step follows.
        pub channels: Option<Vec<Channel>>,
        /// Charge the customer's next stored method that was not tried yet.
        pub next_method: bool = false,
    }
}

body! {
    /// Steps for one class of decline alone.
    pub struct OverrideInput {
        pub steps: Vec<StepInput>,
        /// Left out: the policy's.
        pub final_action: Option<FinalAction>,
    }
}

body! {
    /// Steps for declines of one class, taken as they are written. A class that is left out follows the policy's own steps; after
    /// a `hard` or `new_card_needed` decline those only charge another method.
    pub struct ByClassInput {
        pub soft: Option<OverrideInput>,
        pub try_later: Option<OverrideInput>,
        pub hard: Option<OverrideInput>,
        pub new_card_needed: Option<OverrideInput>,
    }
}

body! {
    pub struct DunningPolicyInput {
        /// The id that another system knows it by; requests may use it in place of ours.
        pub reference: Option<String> line up to 255,
        pub name: String line up to 255,
        /// Rising; none at all: the first failure is the last.
        pub steps: Vec<StepInput>,
        pub by_class: Option<ByClassInput>,
        /// What ends a ladder that did not bring the money; left out: the configured one.
        pub final_action: Option<FinalAction>,
        /// Whether it holds where neither subscription nor installment plan names one.
        pub is_default: bool = false,
    }
}

body! {
    /// What is left out stays. It holds from the next failure on: an attempt that is scheduled already stays where it is, and what
    /// follows its failure is the step after as many failures as there were by then.
    pub struct DunningPolicyPatch {
        pub reference: Patch<String> line up to 255,
        pub name: Option<String> line up to 255,
        /// All of them anew.
        pub steps: Option<Vec<StepInput>>,
        /// All of it anew; null takes it away.
        pub by_class: Patch<ByClassInput>,
        pub final_action: Option<FinalAction>,
        pub is_default: Option<bool>,
    }
}

body! {
    pub struct DunningPolicyFilters {
        pub reference: Option<String> up to 255,
        pub source: Option<PolicySource>,
    }
}

fn steps(bodies: Vec<StepInput>) -> Vec<Step> {
    let one = |body: StepInput| Step {
        after_days: u32::try_from(body.after_days).unwrap_or(0),
        at: body.at,
        channels: body.channels.unwrap_or_default(),
        next_method: body.next_method,
    };
    bodies.into_iter().map(one).collect()
}

impl From<ByClassInput> for ByClass {
    fn from(body: ByClassInput) -> Self {
        let one = |body: OverrideInput| Override { steps: steps(body.steps), final_action: body.final_action };
        Self {
            soft: body.soft.map(one),
            try_later: body.try_later.map(one),
            hard: body.hard.map(one),
            new_card_needed: body.new_card_needed.map(one),
        }
    }
}

impl From<DunningPolicyInput> for PolicyInput {
    fn from(new: DunningPolicyInput) -> Self {
        Self {
            reference: new.reference.map(Some),
            name: Some(new.name),
            steps: Some(steps(new.steps)),
            by_class: new.by_class.map(ByClass::from),
            final_action: new.final_action,
            is_default: Some(new.is_default),
        }
    }
}

impl From<DunningPolicyPatch> for PolicyInput {
    fn from(patch: DunningPolicyPatch) -> Self {
        Self {
            reference: patch.reference.change(),
            name: patch.name,
            steps: patch.steps.map(steps),
            by_class: patch.by_class.change().map(|body| body.map(ByClass::from).unwrap_or_default()),
            final_action: patch.final_action,
            is_default: patch.is_default,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StepAnswer {
    after_days: u32,
    /// `HH:MM`; null: the hour at which bills are run.
    #[schema(value_type = Option<String>)]
    at: Option<LocalTime>,
    channels: Vec<Channel>,
    next_method: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OverrideAnswer {
    steps: Vec<StepAnswer>,
    /// Null: the policy's.
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
    /// `configuration`: it is written in the settings, and changed there.
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
    JsonBody(new): JsonBody<DunningPolicyInput>,
) -> Result<(StatusCode, Json<DunningPolicyAnswer>), Problem> {
    let policy = dunning_policies::create(&app, &caller.actor, new.into()).await?;
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
    Ok(Json(dunning_policies::update(&app, &caller.actor, &key, patch.into()).await?.into()))
}

/// Removes a dunning policy that nothing is under and that is not the default.
#[utoipa::path(delete, path = "/v1/dunning-policies/{id}", tag = "dunning", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, PathKey(key): PathKey) -> Result<StatusCode, Problem> {
    dunning_policies::delete(&app, &caller.actor, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
