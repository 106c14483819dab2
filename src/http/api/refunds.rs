//! `/v1/refunds`: money on its way back, and the operator's word on a refund that nobody knows the outcome of.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::invoices::RefundAnswer;
use crate::{
    billing::{self, App, BillingError},
    domain::{
        id::{self, InvoiceId, PaymentId},
        refund::{Refund, RefundFinding, RefundStatus, RefundTo},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathId},
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(resolve))
}

body! {
    pub struct RefundFilters {
        pub invoice_id: Option<InvoiceId>,
        pub payment_id: Option<PaymentId>,
        pub status: Option<RefundStatus>,
        pub to: Option<RefundTo>,
    }
}

body! {
    pub struct RefundResolutionInput {
        /// `succeeded`: the money went back; `not_processed`: it did not, and may be asked for again.
        pub outcome: RefundFinding,
        /// How the operator found out.
        pub note: String up to 500,
        /// The gateway's id of the refund, if it succeeded and has one.
        pub transaction_id: Option<String> up to 100,
    }
}

/// Lists refunds.
#[utoipa::path(get, path = "/v1/refunds", tag = "money", params(ListQuery<id::Refund, RefundFilters>), responses((status = 200, body = List<RefundAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Refund, RefundFilters>,
) -> Result<Json<List<RefundAnswer>>, Problem> {
    let RefundFilters { invoice_id, payment_id, status, to } = &page.filters;
    let wanted = [
        ("invoice_id", invoice_id.map(|id| id.to_string())),
        ("payment_id", payment_id.map(|id| id.to_string())),
        ("status", status.map(|status| status.to_string())),
        ("destination", to.map(|to| to.to_string())),
    ];
    let found = store::page::list::<Refund>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, RefundAnswer::from)))
}

/// Shows a refund.
#[utoipa::path(get, path = "/v1/refunds/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = RefundAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::Refund>) -> Result<Json<RefundAnswer>, Problem> {
    let refund = store::refunds::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("refund", id))?;
    Ok(Json(refund.into()))
}

/// Closes a parked refund by what an operator found out at the gateway.
#[utoipa::path(post, path = "/v1/refunds/{id}/resolve", tag = "money", params(("id" = String, Path)), request_body = RefundResolutionInput, responses((status = 200, body = RefundAnswer)))]
async fn resolve(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::Refund>,
    JsonBody(resolution): JsonBody<RefundResolutionInput>,
) -> Result<Json<RefundAnswer>, Problem> {
    let RefundResolutionInput { outcome, note, transaction_id } = resolution;
    Ok(Json(billing::refunds::resolve(&app, &caller.actor, id, outcome, transaction_id, &note).await?.into()))
}
