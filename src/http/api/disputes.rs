//! `/v1/disputes`: what customers' banks took back, or ask for, as the gateways report it.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{App, BillingError},
    domain::{
        dispute::{Dispute, DisputeStatus},
        id::{self, ClockId, CustomerId, DisputeId, InvoiceId, PaymentId},
        money::Currency,
    },
    http::{
        body::PathId,
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

body! {
    pub struct DisputeFilters {
        pub payment_id: Option<PaymentId>,
        pub invoice_id: Option<InvoiceId>,
        pub customer_id: Option<CustomerId>,
        pub status: Option<DisputeStatus>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DisputeAnswer {
    #[schema(value_type = String)]
    id: DisputeId,
    status: DisputeStatus,
    #[schema(value_type = String)]
    payment_id: PaymentId,
    #[schema(value_type = String)]
    invoice_id: InvoiceId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    gateway: String,
    /// The gateway's id of the payment.
    transaction_id: String,
    /// Minor units.
    amount: i64,
    #[schema(value_type = String)]
    currency: Currency,
    /// The gateway's reason for the dispute.
    reason: String,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    /// When the daemon first saw the dispute.
    opened_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

impl From<Dispute> for DisputeAnswer {
    fn from(dispute: Dispute) -> Self {
        let Dispute {
            id, payment_id, invoice_id, customer_id, timeline, gateway, transaction_id, amount, currency, status, ..
        } = dispute;
        let Dispute { reason, opened_at, closed_at, .. } = dispute;
        let clock_id = timeline.clock_id();
        Self {
            id,
            status,
            payment_id,
            invoice_id,
            customer_id,
            gateway,
            transaction_id,
            amount,
            currency,
            reason,
            clock_id,
            opened_at,
            closed_at,
        }
    }
}

/// Lists disputes.
#[utoipa::path(get, path = "/v1/disputes", tag = "money", params(ListQuery<id::Dispute, DisputeFilters>), responses((status = 200, body = List<DisputeAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Dispute, DisputeFilters>,
) -> Result<Json<List<DisputeAnswer>>, Problem> {
    let DisputeFilters { payment_id, invoice_id, customer_id, status } = &page.filters;
    let wanted = [
        ("payment_id", payment_id.map(|id| id.to_string())),
        ("invoice_id", invoice_id.map(|id| id.to_string())),
        ("customer_id", customer_id.map(|id| id.to_string())),
        ("status", status.map(|status| status.to_string())),
    ];
    let found = store::page::list::<Dispute>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, DisputeAnswer::from)))
}

/// Shows a dispute.
#[utoipa::path(get, path = "/v1/disputes/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = DisputeAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::Dispute>) -> Result<Json<DisputeAnswer>, Problem> {
    let found = store::disputes::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("dispute", id))?;
    Ok(Json(found.into()))
}
