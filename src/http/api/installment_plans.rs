//! `/v1/installment-plans`: a fixed total in dated parts, and what an operator does with the parts that are still open.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        App, Result,
        installment_plans::{
            self, Overview,
            change::{self, InstallmentPlanPatch},
            create::{self, InstallmentPlanInput, dated},
            operate::{self, Operation},
        },
    },
    domain::{id, installment_plan::InstallmentPlan},
    http::{
        auth::Caller,
        body::{JsonBody, NoInput, OptionalJsonBody, PathKey, PathNumber},
        error::Problem,
        page::{List, ListQuery},
    },
    input::Preview,
    store,
};

mod answers;
mod bodies;

use answers::InstallmentPlanAnswer;
use bodies::{
    InstallmentPatch, InstallmentPlanFilters, RescheduleInstallmentsInput, RestoreInput, SkipInstallmentsInput, SplitInput,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(preview))
        .routes(routes!(get, update))
        .routes(routes!(update_installment))
        .routes(routes!(split))
        .routes(routes!(pay_installment))
        .routes(routes!(pay_off))
        .routes(routes!(skip))
        .routes(routes!(reschedule))
        .routes(routes!(restore))
        .routes(routes!(cancel))
}

// utoipa takes no generic type of ours as a body, but it takes these names.
type PatchBody = Preview<InstallmentPatch>;
type SplitBody = Preview<SplitInput>;
type ActionBody = Preview<NoInput>;
type SkipBody = Preview<SkipInstallmentsInput>;
type RescheduleBody = Preview<RescheduleInstallmentsInput>;
type RestoreBody = Preview<RestoreInput>;

type Shown = Result<Json<InstallmentPlanAnswer>, Problem>;

fn shown(done: Result<Overview>) -> Shown {
    Ok(Json(InstallmentPlanAnswer::of(done?)))
}

/// Lists installment plans.
#[utoipa::path(
    get, path = "/v1/installment-plans", tag = "installment plans", params(ListQuery<id::InstallmentPlan, InstallmentPlanFilters>),
    responses((status = 200, body = List<InstallmentPlanAnswer>))
)]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::InstallmentPlan, InstallmentPlanFilters>,
) -> Result<Json<List<InstallmentPlanAnswer>>, Problem> {
    let filters = &page.filters;
    let wanted = [
        ("customer_id", filters.customer_id.map(|id| id.to_string())),
        ("status", filters.status.map(|status| status.to_string())),
        ("reference", filters.reference.clone()),
        ("timeline", filters.clock_id.map(|id| id.to_string())),
    ];
    let found = store::page::list::<InstallmentPlan>(&app.db, page.request(wanted)).await?;
    let data = installment_plans::overviews(&app, found.rows).await?;
    Ok(Json(List { data: data.into_iter().map(InstallmentPlanAnswer::of).collect(), has_more: found.has_more }))
}

/// Makes an installment plan: a recurrence and how many or until when, or a schedule of dates and amounts. The down payment is due at once.
#[utoipa::path(
    post, path = "/v1/installment-plans", tag = "installment plans", request_body = InstallmentPlanInput,
    responses((status = 201, body = InstallmentPlanAnswer))
)]
async fn make(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(input): JsonBody<InstallmentPlanInput>,
) -> Result<(StatusCode, Json<InstallmentPlanAnswer>), Problem> {
    let made = create::create(&app, &caller.actor, input).await?;
    Ok((StatusCode::CREATED, Json(InstallmentPlanAnswer::of(made))))
}

/// The plan that these terms would make. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/installment-plans/preview", tag = "installment plans", request_body = InstallmentPlanInput,
    responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn preview(State(app): State<Arc<App>>, _: Caller, JsonBody(input): JsonBody<InstallmentPlanInput>) -> Shown {
    let preview = create::preview(&app, input).await?;
    Ok(Json(InstallmentPlanAnswer::of_preview(preview)))
}

/// Shows an installment plan, by id or reference.
#[utoipa::path(
    get, path = "/v1/installment-plans/{id}", tag = "installment plans", params(("id" = String, Path)),
    responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn get(State(app): State<Arc<App>>, PathKey(key): PathKey) -> Shown {
    shown(installment_plans::overview(&app, &key).await)
}

/// Changes the fields beside the amounts. A field that is left out keeps its value; the total and its parts never change.
#[utoipa::path(
    patch, path = "/v1/installment-plans/{id}", tag = "installment plans", params(("id" = String, Path)),
    request_body = InstallmentPlanPatch, responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(patch): JsonBody<InstallmentPlanPatch>,
) -> Shown {
    shown(change::update(&app, &caller.actor, &key, patch).await)
}

/// Carries out an operation, or only shows its result.
async fn operated(app: &App, caller: &Caller, key: &str, operation: Operation, preview: bool) -> Shown {
    shown(if preview {
        operate::preview(app, &caller.actor, key, &operation).await
    } else {
        operate::operate(app, &caller.actor, key, &operation).await
    })
}

/// Changes the date or the amount of a scheduled installment. Other open installments take the difference.
#[utoipa::path(
    patch, path = "/v1/installment-plans/{id}/installments/{number}", tag = "installment plans",
    params(("id" = String, Path), ("number" = i64, Path)), request_body = PatchBody,
    responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn update_installment(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    PathNumber(number): PathNumber,
    JsonBody(Preview { input, preview }): JsonBody<PatchBody>,
) -> Shown {
    let InstallmentPatch { date, amount, spread } = input;
    operated(&app, &caller, &key, Operation::Change { number, date, amount, spread }, preview).await
}

/// Splits a scheduled installment into parts. The first part keeps the number.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/installments/{number}/split", tag = "installment plans",
    params(("id" = String, Path), ("number" = i64, Path)), request_body = SplitBody,
    responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn split(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    PathNumber(number): PathNumber,
    JsonBody(Preview { input, preview }): JsonBody<SplitBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::Split { number, parts: dated(&input.parts) }, preview).await
}

/// Collects an installment now: a scheduled one early, a due or failed one again.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/installments/{number}/pay", tag = "installment plans",
    params(("id" = String, Path), ("number" = i64, Path)), request_body = ActionBody,
    responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn pay_installment(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    PathNumber(number): PathNumber,
    OptionalJsonBody(Preview { preview, .. }): OptionalJsonBody<ActionBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::Pay { number }, preview).await
}

/// Collects everything that is owed now. One invoice takes all scheduled installments.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/pay-off", tag = "installment plans", params(("id" = String, Path)),
    request_body = ActionBody, responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn pay_off(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    OptionalJsonBody(Preview { preview, .. }): OptionalJsonBody<ActionBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::PayOff, preview).await
}

/// Moves every scheduled installment by whole cycles, as a pause does.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/skip", tag = "installment plans", params(("id" = String, Path)),
    request_body = SkipBody, responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn skip(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    OptionalJsonBody(Preview { input, preview }): OptionalJsonBody<SkipBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::Skip { cycles: input.cycles }, preview).await
}

/// Moves every scheduled installment, so that the first one has a given date.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/reschedule", tag = "installment plans", params(("id" = String, Path)),
    request_body = RescheduleBody, responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn reschedule(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(Preview { input, preview }): JsonBody<RescheduleBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::Reschedule { next_date: input.next_date }, preview).await
}

/// Restores a defaulted plan. The count of failures in a row starts at 0.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/restore", tag = "installment plans", params(("id" = String, Path)),
    request_body = RestoreBody, responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn restore(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    OptionalJsonBody(Preview { input, preview }): OptionalJsonBody<RestoreBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::Restore { arrears: input.arrears }, preview).await
}

/// Ends the plan. Paid installments stay paid until a refund; open installments are not collected.
#[utoipa::path(
    post, path = "/v1/installment-plans/{id}/cancel", tag = "installment plans", params(("id" = String, Path)),
    request_body = ActionBody, responses((status = 200, body = InstallmentPlanAnswer))
)]
async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    OptionalJsonBody(Preview { preview, .. }): OptionalJsonBody<ActionBody>,
) -> Shown {
    operated(&app, &caller, &key, Operation::Cancel, preview).await
}
