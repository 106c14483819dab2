//! `/v1/subscriptions`: who is billed for what and when, and the operator's hand on it.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        self, App, BillingError,
        subscriptions::{
            cancel::CancelInput, change::ChangeInput, edit::ChangePreview, pause::PauseInput, reactivate::ReactivateInput,
            reschedule::RescheduleInput, subscribe::SubscribeInput, update::SubscriptionPatch,
        },
    },
    domain::{id, subscription::Subscription},
    http::{
        auth::Caller,
        body::{JsonBody, NoInput, OptionalJsonBody, PathId, QueryParams},
        error::Problem,
        page::{List, ListQuery},
    },
    input::Preview,
    store,
};

pub mod answers;
pub mod bodies;

use super::authorizations::AuthorizationAnswer;
use answers::{ActionAnswer, ChangeAnswer, ScheduleAnswer, SubscriptionAnswer};
use bodies::{CountQuery, SkipInput, SubscriptionFilters, UnparkInput};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update))
        .routes(routes!(schedule))
        .routes(routes!(change))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(skip))
        .routes(routes!(reschedule))
        .routes(routes!(cancel))
        .routes(routes!(keep))
        .routes(routes!(reactivate))
        .routes(routes!(retry))
        .routes(routes!(unpark))
}

// utoipa takes no generic type of ours as a body, but it takes these names.
type PatchBody = Preview<SubscriptionPatch>;
type ChangeBody = Preview<ChangeInput>;
type PauseBody = Preview<PauseInput>;
type ActionBody = Preview<NoInput>;
type SkipBody = Preview<SkipInput>;
type RescheduleBody = Preview<RescheduleInput>;
type CancelBody = Preview<CancelInput>;
type UnparkBody = Preview<UnparkInput>;
type ReactivateBody = Preview<ReactivateInput>;

type Shown = Result<Json<SubscriptionAnswer>, Problem>;
type Acted = Result<Json<ActionAnswer>, Problem>;
type Target = PathId<id::Subscription>;

fn shown(app: &App, subscription: Subscription) -> Json<SubscriptionAnswer> {
    Json(SubscriptionAnswer::of(subscription, &app.rules))
}

fn acted(app: &App, outcome: ChangePreview, preview: bool) -> Json<ActionAnswer> {
    Json(ActionAnswer::of(outcome, preview, &app.rules))
}

async fn find(app: &App, id: id::SubscriptionId) -> Result<Subscription, Problem> {
    let found = store::subscriptions::get(&app.db, id).await?;
    Ok(found.ok_or_else(|| BillingError::not_found("subscription", id))?)
}

/// Lists subscriptions.
#[utoipa::path(
    get, path = "/v1/subscriptions", tag = "subscriptions", params(ListQuery<id::Subscription, SubscriptionFilters>),
    responses((status = 200, body = List<SubscriptionAnswer>))
)]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Subscription, SubscriptionFilters>,
) -> Result<Json<List<SubscriptionAnswer>>, Problem> {
    let filters = &page.filters;
    let wanted = [
        ("customer_id", filters.customer_id.map(|id| id.to_string())),
        ("plan_id", filters.plan_id.map(|id| id.to_string())),
        ("status", filters.status.map(|status| status.to_string())),
        ("timeline", filters.clock_id.map(|id| id.to_string())),
    ];
    let found = store::page::list::<Subscription>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, |subscription| SubscriptionAnswer::of(subscription, &app.rules))))
}

/// Subscribes a customer, from a plan or from bare terms. The subscription keeps its own copy of them.
#[utoipa::path(
    post, path = "/v1/subscriptions", tag = "subscriptions", request_body = SubscribeInput,
    responses((status = 201, body = SubscriptionAnswer))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(input): JsonBody<SubscribeInput>,
) -> Result<(StatusCode, Json<SubscriptionAnswer>), Problem> {
    let subscription = billing::subscriptions::subscribe::subscribe(&app, &caller.actor, input).await?;
    Ok((StatusCode::CREATED, shown(&app, subscription)))
}

/// Shows a subscription.
#[utoipa::path(get, path = "/v1/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)), responses((status = 200, body = SubscriptionDetailAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): Target) -> Result<Json<SubscriptionDetailAnswer>, Problem> {
    let subscription = SubscriptionAnswer::of(find(&app, id).await?, &app.rules);
    let authorization = store::authorizations::latest_of(&app.db, id).await?.map(AuthorizationAnswer::from);
    Ok(Json(SubscriptionDetailAnswer { subscription, authorization }))
}

/// The subscription, and what was last authorized for it before a bill date.
#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionDetailAnswer {
    #[serde(flatten)]
    subscription: SubscriptionAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<AuthorizationAnswer>,
}

/// Changes terms from the next cycle on, without any charge now. `next_bill_date` moves the next charge.
#[utoipa::path(
    patch, path = "/v1/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)), request_body = PatchBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    JsonBody(Preview { input: patch, preview }): JsonBody<PatchBody>,
) -> Acted {
    let outcome = billing::subscriptions::update::update(&app, &caller.actor, id, patch, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// The charges to come, as they would be made if nothing changes.
#[utoipa::path(
    get, path = "/v1/subscriptions/{id}/schedule", tag = "subscriptions", params(("id" = String, Path), CountQuery),
    responses((status = 200, body = ScheduleAnswer))
)]
async fn schedule(
    State(app): State<Arc<App>>,
    PathId(id): Target,
    QueryParams(count): QueryParams<CountQuery>,
) -> Result<Json<ScheduleAnswer>, Problem> {
    let subscription = find(&app, id).await?;
    // One that is paused with no end, or parked, has nothing to come until somebody says so.
    let count = if subscription.next_bill_at.is_some() { usize::try_from(count.count).unwrap_or(1) } else { 0 };
    Ok(Json(subscription.upcoming(&app.rules, count).into()))
}

/// Changes terms at once, with credit for unused days and a charge for the rest, or at the period's end. A preview has the same
/// answer and changes nothing.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/change", tag = "subscriptions", params(("id" = String, Path)), request_body = ChangeBody,
    responses((status = 200, body = ChangeAnswer))
)]
async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    JsonBody(Preview { input, preview }): JsonBody<ChangeBody>,
) -> Result<Json<ChangeAnswer>, Problem> {
    let outcome = billing::subscriptions::change::change(&app, &caller.actor, id, input, preview).await?;
    Ok(Json(ChangeAnswer::of(outcome, &app.rules)))
}

/// Pauses billing, now or at the period's end. Charges that fall into the pause are never made.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/pause", tag = "subscriptions", params(("id" = String, Path)), request_body = PauseBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    OptionalJsonBody(Preview { input, preview }): OptionalJsonBody<PauseBody>,
) -> Acted {
    let outcome = billing::subscriptions::pause::pause(&app, &caller.actor, id, input, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Resumes billing.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/resume", tag = "subscriptions", params(("id" = String, Path)), request_body = ActionBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    OptionalJsonBody(Preview { preview, .. }): OptionalJsonBody<ActionBody>,
) -> Acted {
    let outcome = billing::subscriptions::resume::resume(&app, &caller.actor, id, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Skips the next charges. Skipped charges do not count toward the duration.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/skip", tag = "subscriptions", params(("id" = String, Path)), request_body = SkipBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn skip(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    OptionalJsonBody(Preview { input, preview }): OptionalJsonBody<SkipBody>,
) -> Acted {
    let outcome = billing::subscriptions::skip::skip(&app, &caller.actor, id, input.cycles, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Moves the next charge.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/reschedule", tag = "subscriptions", params(("id" = String, Path)),
    request_body = RescheduleBody, responses((status = 200, body = ActionAnswer))
)]
async fn reschedule(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    JsonBody(Preview { input, preview }): JsonBody<RescheduleBody>,
) -> Acted {
    let outcome = billing::subscriptions::reschedule::reschedule(&app, &caller.actor, id, input, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Cancels at once or at the period's end. A cancellation at once voids the open invoices.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/cancel", tag = "subscriptions", params(("id" = String, Path)), request_body = CancelBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    JsonBody(Preview { input, preview }): JsonBody<CancelBody>,
) -> Acted {
    let outcome = billing::subscriptions::cancel::cancel(&app, &caller.actor, id, input, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Undoes a cancellation, a pause or a change that waits for the period's end.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/keep", tag = "subscriptions", params(("id" = String, Path)), request_body = ActionBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn keep(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    OptionalJsonBody(Preview { preview, .. }): OptionalJsonBody<ActionBody>,
) -> Acted {
    let outcome = billing::subscriptions::keep::keep(&app, &caller.actor, id, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Takes a cancelled subscription up again, on its old schedule.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/reactivate", tag = "subscriptions", params(("id" = String, Path)),
    request_body = ReactivateBody, responses((status = 200, body = ActionAnswer))
)]
async fn reactivate(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    OptionalJsonBody(Preview { input, preview }): OptionalJsonBody<ReactivateBody>,
) -> Acted {
    let outcome = billing::subscriptions::reactivate::reactivate(&app, &caller.actor, id, input, preview).await?;
    Ok(acted(&app, outcome, preview))
}

/// Collects the open invoices now, before their next dunning step.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/retry", tag = "subscriptions", params(("id" = String, Path)), request_body = NoInput,
    responses((status = 200, body = SubscriptionAnswer))
)]
async fn retry(State(app): State<Arc<App>>, caller: Caller, PathId(id): Target, _: OptionalJsonBody<NoInput>) -> Shown {
    Ok(shown(&app, billing::subscriptions::retry::retry(&app, &caller.actor, id).await?))
}

/// Resumes a parked subscription. The request says what to do with the missed cycles.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/unpark", tag = "subscriptions", params(("id" = String, Path)), request_body = UnparkBody,
    responses((status = 200, body = ActionAnswer))
)]
async fn unpark(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): Target,
    OptionalJsonBody(Preview { input, preview }): OptionalJsonBody<UnparkBody>,
) -> Acted {
    let outcome = billing::subscriptions::unpark::unpark(&app, &caller.actor, id, input.bill, preview).await?;
    Ok(acted(&app, outcome, preview))
}
