//! `/v1/health/billing`: the invariants, one line each, and everything that waits for an operator.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        self, App,
        invariants::{Checked, INVARIANTS, Invariant},
    },
    domain,
    http::{body::QueryParams, error::Problem, page::NoFilters},
    store::{
        self,
        invariants::{self, Finding, ParkedInvoice, ParkedPayment, ParkedPaymentRequest, ParkedRefund, ParkedSubscription},
    },
    telemetry,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(billing))
}

/// One invariant.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvariantAnswer {
    name: &'static str,
    ok: bool,
    /// The number of records that break the invariant.
    count: i64,
    detail: String,
}

/// What waits for an operator, at most a hundred of each.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedAnswer {
    #[schema(value_type = Vec<Object>)]
    subscriptions: Vec<ParkedSubscription>,
    /// Open, and refused by the gateway for what they are: each with its `parked_reason`.
    #[schema(value_type = Vec<Object>)]
    invoices: Vec<ParkedInvoice>,
    #[schema(value_type = Vec<Object>)]
    payments: Vec<ParkedPayment>,
    #[schema(value_type = Vec<Object>)]
    refunds: Vec<ParkedRefund>,
    #[schema(value_type = Vec<Object>)]
    payment_requests: Vec<ParkedPaymentRequest>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BillingHealthAnswer {
    /// Whether every check is ok.
    ok: bool,
    checks: Vec<InvariantAnswer>,
    parked: ParkedAnswer,
}

impl From<Checked> for InvariantAnswer {
    fn from(checked: Checked) -> Self {
        let (&Invariant { name, rule, remedy, .. }, Finding { count, ids }) = (checked.invariant, checked.found);
        let more = if count > domain::count(ids.len()) { ", …" } else { "" };
        let detail = if count == 0 { rule.to_owned() } else { format!("{remedy}: {}{more}", ids.join(", ")) };
        Self { name, ok: count == 0, count, detail }
    }
}

/// Tells whether billing is sound, and what is parked.
#[utoipa::path(get, path = "/v1/health/billing", tag = "health", responses((status = 200, body = BillingHealthAnswer)))]
async fn billing(State(app): State<Arc<App>>, _: QueryParams<NoFilters>) -> Result<Json<BillingHealthAnswer>, Problem> {
    let db = &app.db;
    let checks: Vec<InvariantAnswer> = billing::invariants::check(&app).await?.into_iter().map(InvariantAnswer::from).collect();
    let parked = ParkedAnswer {
        subscriptions: invariants::parked_subscriptions(db).await?,
        invoices: invariants::parked_invoices(db).await?,
        payments: invariants::parked_payments(db).await?,
        refunds: invariants::parked_refunds(db).await?,
        payment_requests: invariants::parked_payment_requests(db).await?,
    };
    Ok(Json(BillingHealthAnswer { ok: checks.iter().all(|check| check.ok), checks, parked }))
}

/// Sets the gauges of the invariants from the latest check, on whichever daemon that check ran.
pub(super) async fn measure(app: &App) -> store::Result<()> {
    let broken = store::invariants::known(&app.db).await?;
    for Invariant { name, .. } in INVARIANTS {
        let count = broken.iter().find(|violation| violation.name == *name).map_or(0, |violation| violation.count);
        metrics::gauge!(telemetry::INVARIANT_VIOLATIONS, "invariant" => *name).set(telemetry::level(count));
    }
    Ok(())
}
