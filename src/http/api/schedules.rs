//! `/v1/schedules/preview`: the charges of terms that nobody has agreed to yet.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::subscriptions::answers::ScheduleAnswer;
use crate::{
    billing::{
        App,
        schedules::{self, SchedulePreviewInput},
    },
    http::{auth::Caller, body::JsonBody, error::Problem},
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(preview))
}

/// The charges that these terms would bring. Nothing is stored.
#[utoipa::path(post, path = "/v1/schedules/preview", tag = "schedules", request_body = SchedulePreviewInput, responses((status = 200, body = ScheduleAnswer)))]
async fn preview(
    State(app): State<Arc<App>>,
    _: Caller,
    JsonBody(input): JsonBody<SchedulePreviewInput>,
) -> Result<Json<ScheduleAnswer>, Problem> {
    Ok(Json(schedules::preview(&app, input).await?.into()))
}
