//! `/v1/clocks`: test clocks, which move only when told here.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        App, BillingError,
        test_clocks::create::{self, Goal},
    },
    domain::{
        clock::{ClockStatus, Span, TestClock},
        id::{self, ClockId},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathId, QueryParams},
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

/// The time between two checks of a clock that a request waits for.
const POLL: Duration = Duration::from_millis(20);

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete)).routes(routes!(advance))
}

body! {
    pub struct ClockInput {
        /// The name of the clock, shown in lists.
        pub name: String line up to 200,
        /// The instant at which the clock starts.
        pub now: DateTime<Utc>,
    }
}

body! {
    /// Exactly one of the two.
    pub struct AdvanceInput {
        /// The instant to arrive at, later than the clock's now.
        pub to: Option<DateTime<Utc>>,
        /// The length of the advance, such as `30d`, `12mo`, `P1M` or `PT36H`.
        pub by: Option<String> up to 100,
    }
}

body! {
    pub struct AdvanceQuery {
        /// Answer 200 once the clock has arrived, rather than 202 at once.
        pub wait: bool = false,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ClockAnswer {
    #[schema(value_type = String)]
    id: ClockId,
    name: String,
    now: DateTime<Utc>,
    status: ClockStatus,
    /// The target of the advance; null if the clock is idle.
    target: Option<DateTime<Utc>>,
    /// What the running or the latest advance has done.
    #[schema(value_type = Object)]
    counts: Map<String, Value>,
    created_at: DateTime<Utc>,
}

impl From<TestClock> for ClockAnswer {
    fn from(clock: TestClock) -> Self {
        let TestClock { id, name, now_at, status, target_at, counts, created_at, .. } = clock;
        Self { id, name, now: now_at, status, target: target_at, counts, created_at }
    }
}

/// Lists the test clocks.
#[utoipa::path(get, path = "/v1/clocks", tag = "clocks", params(ListQuery<id::TestClock>), responses((status = 200, body = List<ClockAnswer>)))]
async fn list(State(app): State<Arc<App>>, page: ListQuery<id::TestClock>) -> Result<Json<List<ClockAnswer>>, Problem> {
    let found = store::page::list::<TestClock>(&app.db, page.request([])).await?;
    Ok(Json(List::of(found, ClockAnswer::from)))
}

/// Makes a test clock. Customers are put on it when they are made.
#[utoipa::path(post, path = "/v1/clocks", tag = "clocks", request_body = ClockInput, responses((status = 201, body = ClockAnswer)))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(new): JsonBody<ClockInput>,
) -> Result<(StatusCode, Json<ClockAnswer>), Problem> {
    let clock = create::create(&app, &caller.actor, &new.name, new.now).await?;
    Ok((StatusCode::CREATED, Json(clock.into())))
}

/// Shows a test clock.
#[utoipa::path(get, path = "/v1/clocks/{id}", tag = "clocks", params(("id" = String, Path)), responses((status = 200, body = ClockAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::TestClock>) -> Result<Json<ClockAnswer>, Problem> {
    Ok(Json(find(&app, id).await?.into()))
}

async fn find(app: &App, id: ClockId) -> Result<TestClock, Problem> {
    let clock = store::clocks::get(&app.db, id).await?;
    Ok(clock.ok_or_else(|| BillingError::not_found("clock", id))?)
}

/// Removes a test clock, its customers and all that is theirs.
#[utoipa::path(delete, path = "/v1/clocks/{id}", tag = "clocks", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, PathId(id): PathId<id::TestClock>) -> Result<StatusCode, Problem> {
    create::delete(&app, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts an advance of a test clock. The daemon does all due work in order, and continues after a restart.
#[utoipa::path(
    post, path = "/v1/clocks/{id}/advance", tag = "clocks", params(("id" = String, Path), AdvanceQuery), request_body = AdvanceInput,
    responses((status = 202, body = ClockAnswer), (status = 200, description = "It has arrived.", body = ClockAnswer))
)]
async fn advance(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::TestClock>,
    QueryParams(waiting): QueryParams<AdvanceQuery>,
    JsonBody(advance): JsonBody<AdvanceInput>,
) -> Result<(StatusCode, Json<ClockAnswer>), Problem> {
    let clock = create::start_advance(&app, &caller.actor, id, goal(advance)?).await?;
    if !waiting.wait {
        return Ok((StatusCode::ACCEPTED, Json(clock.into())));
    }
    let target = clock.target_at.unwrap_or(clock.now_at);
    let arrived = loop {
        let clock = find(&app, id).await?;
        if clock.status == ClockStatus::Idle || clock.now_at > target {
            break clock;
        }
        tokio::select! {
            // The advance goes on after the restart; only the waiting ends.
            () = app.stopping.cancelled() => return Ok((StatusCode::ACCEPTED, Json(clock.into()))),
            () = tokio::time::sleep(POLL) => {}
        }
    };
    Ok((StatusCode::OK, Json(arrived.into())))
}

fn goal(advance: AdvanceInput) -> Result<Goal, BillingError> {
    match (advance.to, advance.by) {
        (Some(to), None) => Ok(Goal::To(to)),
        (None, Some(by)) => by.parse::<Span>().map(Goal::By).map_err(|error| BillingError::invalid("by", error.to_string())),
        (None, None) => Err(BillingError::invalid("to", "is required, or `by`")),
        (Some(_), Some(_)) => Err(BillingError::invalid("by", "cannot be used together with `to`")),
    }
}
