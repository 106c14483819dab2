//! `/v1/customers/{id}/payment-methods` and `/v1/payment-methods/{id}`: how customers pay. Tokens only.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::customers::find as find_customer;
use crate::{
    billing::{
        App, BillingError,
        payment_methods::{self, PaymentMethodInput, PaymentMethodPatch},
    },
    domain::{
        id::{self, CustomerId, PaymentMethodId},
        payment_method::{MethodKind, PaymentMethod},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathId, PathKey},
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(get, update, delete))
}

body! {
    pub struct PaymentMethodFilters {
        pub gateway: Option<String> up to 100,
        pub kind: Option<MethodKind>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentMethodAnswer {
    #[schema(value_type = String)]
    id: PaymentMethodId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    gateway: String,
    kind: MethodKind,
    customer_token: Option<String>,
    payment_method_token: Option<String>,
    transaction_id: Option<String>,
    channels: Vec<String>,
    /// `YYYY-MM`.
    expires: Option<String>,
    last_four: Option<String>,
    default: bool,
    priority: i64,
    /// When the issuer stopped recurring charges to it: it is not charged any more.
    mandate_ended_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<PaymentMethod> for PaymentMethodAnswer {
    fn from(method: PaymentMethod) -> Self {
        Self {
            id: method.id,
            customer_id: method.customer_id,
            gateway: method.gateway,
            kind: method.kind,
            customer_token: method.customer_token,
            payment_method_token: method.payment_method_token,
            transaction_id: method.transaction_id,
            channels: method.channels,
            expires: method.expires,
            last_four: method.last_four,
            default: method.is_default,
            priority: method.priority,
            mandate_ended_at: method.mandate_ended_at,
            created_at: method.created_at,
            updated_at: method.updated_at,
        }
    }
}

/// Lists a customer's payment methods.
#[utoipa::path(
    get, path = "/v1/customers/{id}/payment-methods", tag = "payment-methods",
    params(("id" = String, Path), ListQuery<id::PaymentMethod, PaymentMethodFilters>), responses((status = 200, body = List<PaymentMethodAnswer>))
)]
async fn list(
    State(app): State<Arc<App>>,
    PathKey(key): PathKey,
    page: ListQuery<id::PaymentMethod, PaymentMethodFilters>,
) -> Result<Json<List<PaymentMethodAnswer>>, Problem> {
    let customer = find_customer(&app, &key).await?;
    let wanted = [
        ("customer_id", Some(customer.id.to_string())),
        ("gateway", page.filters.gateway.clone()),
        ("kind", page.filters.kind.map(|kind| kind.to_string())),
    ];
    let found = store::page::list::<PaymentMethod>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, PaymentMethodAnswer::from)))
}

/// Adds a payment method. What was declined before and would now be charged to it is collected at once.
#[utoipa::path(
    post, path = "/v1/customers/{id}/payment-methods", tag = "payment-methods", params(("id" = String, Path)),
    request_body = PaymentMethodInput, responses((status = 201, body = PaymentMethodAnswer))
)]
async fn add(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(input): JsonBody<PaymentMethodInput>,
) -> Result<(StatusCode, Json<PaymentMethodAnswer>), Problem> {
    let method = payment_methods::add(&app, &caller.actor, &key, input).await?;
    Ok((StatusCode::CREATED, Json(method.into())))
}

/// Shows a payment method.
#[utoipa::path(get, path = "/v1/payment-methods/{id}", tag = "payment-methods", params(("id" = String, Path)), responses((status = 200, body = PaymentMethodAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::PaymentMethod>) -> Result<Json<PaymentMethodAnswer>, Problem> {
    let method = store::payment_methods::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("payment method", id))?;
    Ok(Json(method.into()))
}

/// Changes a payment method. What was declined before is collected at once if this becomes the default.
#[utoipa::path(patch, path = "/v1/payment-methods/{id}", tag = "payment-methods", params(("id" = String, Path)), request_body = PaymentMethodPatch, responses((status = 200, body = PaymentMethodAnswer)))]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::PaymentMethod>,
    JsonBody(patch): JsonBody<PaymentMethodPatch>,
) -> Result<Json<PaymentMethodAnswer>, Problem> {
    Ok(Json(payment_methods::update(&app, &caller.actor, id, patch).await?.into()))
}

/// Removes a payment method that no running subscription names.
#[utoipa::path(delete, path = "/v1/payment-methods/{id}", tag = "payment-methods", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::PaymentMethod>,
) -> Result<StatusCode, Problem> {
    payment_methods::delete(&app, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
