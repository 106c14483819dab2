//! `/v1/authorizations`: money reserved before its bill date.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::payments::DeclineAnswer;
use crate::{
    billing::{App, BillingError},
    domain::{
        authorization::{Authorization, AuthorizationStatus},
        id::{self, AuthorizationId, ClockId, CustomerId, PaymentId, PaymentMethodId, SubscriptionId},
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
    pub struct AuthorizationFilters {
        pub subscription_id: Option<SubscriptionId>,
        pub customer_id: Option<CustomerId>,
        pub status: Option<AuthorizationStatus>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuthorizationAnswer {
    #[schema(value_type = String)]
    id: AuthorizationId,
    #[schema(value_type = String)]
    subscription_id: SubscriptionId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    #[schema(value_type = Option<String>)]
    payment_method_id: Option<PaymentMethodId>,
    /// The cycle of the subscription that the authorization pays for.
    cycle: i64,
    gateway: String,
    /// Our reference at the gateway. The payment that captures the authorization has the same reference.
    reference: String,
    /// The gateway's id of the authorization.
    transaction_id: Option<String>,
    /// The authorized amount, minor units.
    amount: i64,
    #[schema(value_type = String)]
    currency: Currency,
    status: AuthorizationStatus,
    decline: Option<DeclineAnswer>,
    /// Why the authorization failed, or why its outcome is not known.
    message: Option<String>,
    /// Why the authorization was voided.
    void_reason: Option<String>,
    /// When the authorization will be captured.
    bill_at: DateTime<Utc>,
    /// When the gateway releases the money.
    expires_at: Option<DateTime<Utc>>,
    /// The payment that captures the authorization.
    #[schema(value_type = Option<String>)]
    payment_id: Option<PaymentId>,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    /// Real time of the first call, whatever clock the customer is on.
    sent_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    /// Money that the gateway took although we asked for a void, minor units. Refund it at the gateway.
    amount_taken: Option<i64>,
}

impl From<Authorization> for AuthorizationAnswer {
    fn from(authorization: Authorization) -> Self {
        let Authorization { decline_class, decline_code, decline_message, .. } = authorization;
        let decline = decline_class.map(|class| DeclineAnswer {
            class,
            code: decline_code.unwrap_or_default(),
            message: decline_message.clone().unwrap_or_default(),
        });
        Self {
            message: decline_message.filter(|_| decline.is_none()),
            decline,
            id: authorization.id,
            subscription_id: authorization.subscription_id,
            customer_id: authorization.customer_id,
            payment_method_id: authorization.payment_method_id,
            cycle: authorization.cycle,
            gateway: authorization.gateway,
            reference: authorization.reference,
            transaction_id: authorization.transaction_id,
            amount: authorization.amount,
            currency: authorization.currency,
            status: authorization.status,
            void_reason: authorization.void_reason,
            bill_at: authorization.bill_at,
            expires_at: authorization.expires_at,
            payment_id: authorization.payment_id,
            clock_id: authorization.timeline.clock_id(),
            sent_at: authorization.sent_at,
            created_at: authorization.created_at,
            resolved_at: authorization.resolved_at,
            amount_taken: authorization.amount_taken,
        }
    }
}

/// Lists what was authorized before its bill date.
#[utoipa::path(get, path = "/v1/authorizations", tag = "money", params(ListQuery<id::Authorization, AuthorizationFilters>), responses((status = 200, body = List<AuthorizationAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Authorization, AuthorizationFilters>,
) -> Result<Json<List<AuthorizationAnswer>>, Problem> {
    let AuthorizationFilters { subscription_id, customer_id, status } = &page.filters;
    let wanted = [
        ("subscription_id", subscription_id.map(|id| id.to_string())),
        ("customer_id", customer_id.map(|id| id.to_string())),
        ("status", status.map(|status| status.to_string())),
    ];
    let found = store::page::list::<Authorization>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, AuthorizationAnswer::from)))
}

/// Shows an authorization.
#[utoipa::path(get, path = "/v1/authorizations/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = AuthorizationAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::Authorization>) -> Result<Json<AuthorizationAnswer>, Problem> {
    let found = store::authorizations::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("authorization", id))?;
    Ok(Json(found.into()))
}
