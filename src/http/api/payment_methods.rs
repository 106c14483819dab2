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
        payment_methods::{self, MethodInput, MethodPatch},
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
    input::{Patch, body},
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(get, update, delete))
}

body! {
    pub struct NewPaymentMethod {
        /// Name of a configured gateway.
        pub gateway: String line up to 100,
        /// Must be what that gateway takes.
        pub kind: MethodKind,
        /// `vault_token`: the customer in the gateway's vault.
        pub customer_token: Option<String> line up to 255,
        /// `vault_token`: one of that customer's cards; left out: their default.
        pub payment_method_token: Option<String> line up to 255,
        /// `prior_transaction`: the earlier transaction.
        pub transaction_id: Option<String> line up to 255,
        /// `payment_request`: some of `EMAIL`, `SMS`, `WEB`.
        pub channels: Option<Vec<String>> up to 10,
        /// When the card expires, such as `2027-03`.
        pub expires: Option<String> up to 10,
        pub last_four: Option<String> up to 10,
        /// Whether it is charged where a subscription names no other. Left out: if it is the first, or if the default has failed.
        pub default: Option<bool>,
        /// Where none is the default, the lowest is charged.
        pub priority: Option<i64> in 0..=1000,
    }
}

body! {
    /// What is left out stays; null takes away. Tokens never change: add another method instead.
    pub struct PaymentMethodPatch {
        pub expires: Patch<String> up to 10,
        pub last_four: Patch<String> up to 10,
        pub default: Option<bool>,
        pub priority: Option<i64> in 0..=1000,
    }
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
    request_body = NewPaymentMethod, responses((status = 201, body = PaymentMethodAnswer))
)]
async fn add(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(new): JsonBody<NewPaymentMethod>,
) -> Result<(StatusCode, Json<PaymentMethodAnswer>), Problem> {
    let input = MethodInput {
        gateway: new.gateway,
        kind: new.kind,
        customer_token: new.customer_token,
        payment_method_token: new.payment_method_token,
        transaction_id: new.transaction_id,
        channels: new.channels,
        expires: new.expires,
        last_four: new.last_four,
        default: new.default,
        priority: new.priority,
    };
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
    let input = MethodPatch {
        expires: patch.expires.change(),
        last_four: patch.last_four.change(),
        default: patch.default,
        priority: patch.priority,
    };
    Ok(Json(payment_methods::update(&app, &caller.actor, id, input).await?.into()))
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
