//! `/v1/instances`: the daemons that work on this database.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{App, jobs::instances},
    http::{
        body::QueryParams,
        error::Problem,
        page::{List, NoFilters},
    },
    store::{self, instances::Seen, page::PageRows},
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceAnswer {
    /// Its `instance.name`.
    name: String,
    version: String,
    /// `running`, `silent` (no sign of life for fifteen seconds: what it claimed is taken over when its leases end) or `stopped`.
    status: &'static str,
    started_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    stopped_at: Option<DateTime<Utc>>,
    /// Payments and refunds that it charges or looks up just now.
    payments_claimed: i64,
    /// Test clocks that it moves just now.
    clocks_claimed: i64,
}

impl InstanceAnswer {
    fn of(seen: Seen, now: DateTime<Utc>) -> Self {
        let Seen { name, version, started_at, seen_at, stopped_at, payments_claimed, clocks_claimed } = seen;
        let status = match stopped_at {
            Some(_) => "stopped",
            None if seen_at + instances::SILENCE < now => "silent",
            None => "running",
        };
        Self { name, version, status, started_at, seen_at, stopped_at, payments_claimed, clocks_claimed }
    }
}

/// Lists the daemons that work on this database or did so lately.
#[utoipa::path(get, path = "/v1/instances", tag = "jobs", responses((status = 200, body = List<InstanceAnswer>)))]
async fn list(State(app): State<Arc<App>>, _: QueryParams<NoFilters>) -> Result<Json<List<InstanceAnswer>>, Problem> {
    let now = app.clock.now();
    let rows = store::instances::all(&app.db).await?;
    Ok(Json(List::of(PageRows { rows, has_more: false }, |seen| InstanceAnswer::of(seen, now))))
}
