//! `/healthz`, `/readyz`, `/metrics`: for the machinery around the daemon. No key is asked, so nothing about customers is shown.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{billing::App, http::error::Problem, store, telemetry};

/// Whoever asks gives up after some seconds; an answer later is no answer.
const TIMEOUT: Duration = Duration::from_secs(3);

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(metrics))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StatusAnswer {
    status: &'static str,
    version: &'static str,
}

fn status(status: &'static str) -> Json<StatusAnswer> {
    Json(StatusAnswer { status, version: env!("CARGO_PKG_VERSION") })
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "system", security(()), responses((status = 200, body = StatusAnswer)))]
async fn alive() -> Json<StatusAnswer> {
    status("alive")
}

/// Whether the database can be reached and is migrated.
#[utoipa::path(get, path = "/readyz", tag = "system", security(()), responses((status = 200, body = StatusAnswer), (status = 503, description = "Not ready.")))]
async fn ready(State(app): State<Arc<App>>) -> Result<Json<StatusAnswer>, Problem> {
    let unavailable = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    match tokio::time::timeout(TIMEOUT, app.db.check_migrated()).await {
        Ok(Ok(())) => Ok(status("ready")),
        Ok(Err(error @ (store::Error::NotMigrated | store::Error::Newer(_)))) => Err(unavailable(&error.to_string())),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            Err(unavailable("The database cannot be used."))
        }
        Err(_) => Err(unavailable("The database does not answer in time.")),
    }
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let handle = telemetry::metrics();
    let mut refused = Vec::new();
    let measured = async {
        super::health::measure(&app).await?;
        refused = store::gateways::refused(&app.db).await?;
        store::invariants::gauges(&app.db).await
    };
    match tokio::time::timeout(TIMEOUT, measured).await {
        Ok(Ok(gauges)) => {
            metrics::gauge!(telemetry::INVOICES_OPEN).set(telemetry::level(gauges.invoices_open));
            metrics::gauge!(telemetry::PAYMENTS_UNKNOWN).set(telemetry::level(gauges.payments_unknown));
            metrics::gauge!(telemetry::PAYMENTS_PARKED).set(telemetry::level(gauges.payments_parked));
            metrics::gauge!(telemetry::PAYMENT_REQUESTS_OPEN).set(telemetry::level(gauges.payment_requests_open));
            metrics::gauge!(telemetry::PAYMENT_REQUESTS_PARKED).set(telemetry::level(gauges.payment_requests_parked));
            metrics::gauge!(telemetry::SUBSCRIPTIONS_PARKED).set(telemetry::level(gauges.subscriptions_parked));
        }
        // The rest of the metrics is needed most when the database is away.
        Ok(Err(error)) => tracing::warn!(%error, "gauges keep their last values"),
        Err(_) => tracing::warn!("gauges keep their last values: the database does not answer in time"),
    }
    super::gateways::measure(&app, &refused);
    let tally = app.db.tally();
    for (name, count) in [
        (telemetry::DATABASE_STATEMENTS, &tally.statements),
        (telemetry::DATABASE_COMMITS, &tally.commits),
        (telemetry::DATABASE_ROWS, &tally.rows),
    ] {
        metrics::counter!(name).absolute(count.load(Ordering::Relaxed));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response()
}
