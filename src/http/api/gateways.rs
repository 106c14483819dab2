//! `/v1/gateways`: how each gateway is, and an operator's pause. Shows no key and no address.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{self, App},
    config::GatewayKind,
    domain::{
        breaker::{Circuit, GatewayState},
        count,
    },
    http::{
        auth::Caller,
        body::{OptionalJsonBody, QueryParams},
        error::Problem,
        page::{List, NoFilters},
    },
    input::body,
    store::{
        self,
        gateways::{GatewayPause, GatewayRefusal},
        page::PageRows,
    },
    telemetry,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(pause)).routes(routes!(resume))
}

body! {
    pub struct GatewayPauseInput {
        /// The reason for the pause, shown to everybody who asks for the gateway.
        pub reason: Option<String> up to 500,
    }
}

/// An operator's pause: it holds for every daemon on this database until somebody resumes the gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct GatewayPauseAnswer {
    reason: String,
    /// `system` or the id of an API key.
    actor: String,
    paused_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct GatewayAnswer {
    name: String,
    /// `fluidpay`, `paylike`, `paysley` or `sandbox`.
    kind: Option<&'static str>,
    /// `live` or `test`.
    mode: &'static str,
    live: bool,
    /// Calls of this daemon that are under way, and the most there may be.
    in_flight: usize,
    max_in_flight: usize,
    /// As this daemon finds it in real time: `closed` (charged), `open` (not before `until`), `half_open` (a few payments go first). On
    /// every daemon: `refused` (it refuses the merchant's account; one payment goes at `until`).
    state: GatewayState,
    /// When the state last changed; null: not since the daemon started.
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    /// The fault that opened the circuit, or why the gateway refuses the account.
    reason: Option<String>,
    consecutive_faults: u32,
    paused: Option<GatewayPauseAnswer>,
}

fn kind(kind: GatewayKind) -> &'static str {
    match kind {
        GatewayKind::Fluidpay => "fluidpay",
        GatewayKind::Paylike => "paylike",
        GatewayKind::Paysley => "paysley",
        GatewayKind::Sandbox => "sandbox",
    }
}

async fn all(app: &App) -> Result<Vec<GatewayAnswer>, Problem> {
    let mut pauses = store::gateways::paused(&app.db).await?;
    let mut refusals = store::gateways::refused(&app.db).await?;
    let now = app.clock.now();
    let mut found = Vec::new();
    for (name, health) in app.gateways.all() {
        let Some(configured) = app.gateways.get(name) else { continue };
        let breaker = health.breaker(now);
        let paused = pauses.extract_if(.., |pause| pause.gateway == name).next();
        let refused = refusals.extract_if(.., |refusal| refusal.gateway == name).next();
        let (state, since, until, reason) = match refused {
            Some(GatewayRefusal { reason, refused_at, next_probe_at, .. }) => {
                (GatewayState::Refused, Some(refused_at), Some(next_probe_at), Some(reason))
            }
            None => (breaker.circuit.into(), breaker.since, breaker.until, breaker.reason),
        };
        found.push(GatewayAnswer {
            name: name.to_owned(),
            kind: health.kind.map(kind),
            mode: if configured.live { "live" } else { "test" },
            live: configured.live,
            in_flight: health.max_in_flight - configured.permits.available_permits().min(health.max_in_flight),
            max_in_flight: health.max_in_flight,
            state,
            since,
            until,
            reason,
            consecutive_faults: breaker.faults_in_a_row,
            paused: paused.map(|GatewayPause { reason, actor, paused_at, .. }| GatewayPauseAnswer { reason, actor, paused_at }),
        });
    }
    Ok(found)
}

/// Sets the gauges of every gateway, from what this daemon remembers and from the refusals that the database knows.
pub(super) fn measure(app: &App, refused: &[GatewayRefusal]) {
    let now = app.clock.now();
    for (name, health) in app.gateways.all() {
        let state = match health.breaker(now).circuit {
            _ if health.refused().is_some() || refused.iter().any(|refusal| refusal.gateway == name) => 4,
            _ if health.paused().is_some() => 3,
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        };
        metrics::gauge!(telemetry::GATEWAY_STATE, "gateway" => name.to_owned()).set(f64::from(state));
        let free = app.gateways.get(name).map_or(0, |configured| configured.permits.available_permits());
        let in_flight = health.max_in_flight.saturating_sub(free);
        metrics::gauge!(telemetry::GATEWAY_IN_FLIGHT, "gateway" => name.to_owned()).set(telemetry::level(count(in_flight)));
    }
}

/// Lists the configured gateways and how they are.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways", responses((status = 200, body = List<GatewayAnswer>)))]
async fn list(State(app): State<Arc<App>>, _: QueryParams<NoFilters>) -> Result<Json<List<GatewayAnswer>>, Problem> {
    let rows = all(&app).await?;
    Ok(Json(List::of(PageRows { rows, has_more: false }, |gateway| gateway)))
}

/// Shows a gateway.
#[utoipa::path(get, path = "/v1/gateways/{name}", tag = "gateways", params(("name" = String, Path)), responses((status = 200, body = GatewayAnswer)))]
async fn get(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    _: QueryParams<NoFilters>,
) -> Result<Json<GatewayAnswer>, Problem> {
    shown(&app, &name).await
}

async fn shown(app: &App, name: &str) -> Result<Json<GatewayAnswer>, Problem> {
    known(app, name)?;
    let found = all(app).await?.into_iter().find(|gateway| gateway.name == name);
    found.map(Json).ok_or_else(Problem::internal)
}

/// Pauses a gateway on every daemon, until somebody resumes it. Calls under way end; due invoices wait.
#[utoipa::path(post, path = "/v1/gateways/{name}/pause", tag = "gateways", params(("name" = String, Path)), request_body = GatewayPauseInput, responses((status = 200, body = GatewayAnswer)))]
async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    OptionalJsonBody(order): OptionalJsonBody<GatewayPauseInput>,
) -> Result<Json<GatewayAnswer>, Problem> {
    known(&app, &name)?;
    let reason = order.reason.unwrap_or_default();
    billing::gateways::pause(&app, &caller.actor, &name, &reason).await?;
    shown(&app, &name).await
}

/// Ends an operator's pause, or a refusal of the merchant's account that was mended. Everything that waits for the gateway becomes due at once.
#[utoipa::path(post, path = "/v1/gateways/{name}/resume", tag = "gateways", params(("name" = String, Path)), responses((status = 200, body = GatewayAnswer)))]
async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    OptionalJsonBody(NoFilters {}): OptionalJsonBody<NoFilters>,
) -> Result<Json<GatewayAnswer>, Problem> {
    known(&app, &name)?;
    billing::gateways::resume(&app, &caller.actor, &name).await?;
    shown(&app, &name).await
}

fn known(app: &App, name: &str) -> Result<(), Problem> {
    if app.gateways.get(name).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = app.gateways.names().collect();
    Err(Problem::not_found(format!("There is no such gateway; the gateways are {}.", names.join(", "))))
}
