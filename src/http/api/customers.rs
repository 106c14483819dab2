//! `/v1/customers` and the ledger of their credit.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        App, BillingError,
        customers::{self, CustomerInput, CustomerPatch},
    },
    domain::{
        calendar::Zone,
        customer::{Credit, Customer, Metadata},
        id::{self, ClockId, CreditId, CustomerId, InvoiceId},
        money::{Currency, MAX_AMOUNT_MINOR},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathKey},
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete)).routes(routes!(credits, give_credit))
}

body! {
    pub struct CustomerFilters {
        pub reference: Option<String> up to 255,
        /// Compared without case.
        pub email: Option<String> up to 254,
        pub currency: Option<Currency>,
        pub clock_id: Option<ClockId>,
    }
}

body! {
    pub struct CreditInput {
        /// Minor units. A negative amount takes credit back, at most the balance, and needs a reason.
        pub amount: i64 in (-MAX_AMOUNT_MINOR)..=MAX_AMOUNT_MINOR,
        /// The customer's currency. It may be left out.
        pub currency: Option<Currency>,
        pub reason: Option<String> up to 255,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerAnswer {
    #[schema(value_type = String)]
    id: CustomerId,
    reference: Option<String>,
    name: String,
    email: Option<String>,
    phone: Option<String>,
    locale: Option<String>,
    #[schema(value_type = String)]
    timezone: Zone,
    #[schema(value_type = String)]
    currency: Currency,
    /// Credit, minor units; used before any gateway is asked.
    balance: i64,
    #[schema(value_type = Object)]
    metadata: Metadata,
    /// The test clock of the customer; null: the wall clock.
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Customer> for CustomerAnswer {
    fn from(customer: Customer) -> Self {
        Self {
            id: customer.id,
            reference: customer.reference,
            name: customer.name,
            email: customer.email,
            phone: customer.phone,
            locale: customer.locale,
            timezone: customer.timezone,
            currency: customer.currency,
            balance: customer.balance,
            metadata: customer.metadata,
            clock_id: customer.timeline.clock_id(),
            created_at: customer.created_at,
            updated_at: customer.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CreditAnswer {
    #[schema(value_type = String)]
    id: CreditId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    /// Minor units. Credit that was used is negative.
    amount: i64,
    #[schema(value_type = String)]
    currency: Currency,
    reason: String,
    /// The invoice it was used for, came back from when that was voided, or was paid for when that was refunded.
    #[schema(value_type = Option<String>)]
    invoice_id: Option<InvoiceId>,
    created_at: DateTime<Utc>,
    /// The balance after this movement. Only the answer to the request that gives the credit has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<i64>,
}

impl From<Credit> for CreditAnswer {
    fn from(credit: Credit) -> Self {
        let Credit { id, customer_id, amount, currency, reason, invoice_id, created_at } = credit;
        Self { id, customer_id, amount, currency, reason, invoice_id, created_at, balance: None }
    }
}

/// The customer that a path names, by id or reference.
pub async fn find(app: &App, key: &str) -> Result<Customer, Problem> {
    let found = store::customers::find(&app.db, key).await?;
    Ok(found.ok_or_else(|| BillingError::not_found("customer", key))?)
}

/// Lists customers.
#[utoipa::path(get, path = "/v1/customers", tag = "customers", params(ListQuery<id::Customer, CustomerFilters>), responses((status = 200, body = List<CustomerAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Customer, CustomerFilters>,
) -> Result<Json<List<CustomerAnswer>>, Problem> {
    let CustomerFilters { reference, email, currency, clock_id } = page.filters.clone();
    let wanted = [
        ("reference", reference),
        ("email", email),
        ("currency", currency.map(|currency| currency.to_string())),
        ("timeline", clock_id.map(|id| id.to_string())),
    ];
    let found = store::page::list::<Customer>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, CustomerAnswer::from)))
}

/// Makes a customer.
#[utoipa::path(post, path = "/v1/customers", tag = "customers", request_body = CustomerInput, responses((status = 201, body = CustomerAnswer)))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(input): JsonBody<CustomerInput>,
) -> Result<(StatusCode, Json<CustomerAnswer>), Problem> {
    let customer = customers::create(&app, &caller.actor, input).await?;
    Ok((StatusCode::CREATED, Json(customer.into())))
}

/// Shows a customer, by id or reference.
#[utoipa::path(get, path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path)), responses((status = 200, body = CustomerAnswer)))]
async fn get(State(app): State<Arc<App>>, PathKey(key): PathKey) -> Result<Json<CustomerAnswer>, Problem> {
    Ok(Json(find(&app, &key).await?.into()))
}

/// Changes a customer.
#[utoipa::path(patch, path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path)), request_body = CustomerPatch, responses((status = 200, body = CustomerAnswer)))]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(patch): JsonBody<CustomerPatch>,
) -> Result<Json<CustomerAnswer>, Problem> {
    Ok(Json(customers::update(&app, &caller.actor, &key, patch).await?.into()))
}

/// Removes a customer who has never been billed and has nothing to be billed.
#[utoipa::path(delete, path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, PathKey(key): PathKey) -> Result<StatusCode, Problem> {
    customers::delete(&app, &caller.actor, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists all movements of credit. Their sum is the balance.
#[utoipa::path(get, path = "/v1/customers/{id}/credits", tag = "customers", params(("id" = String, Path), ListQuery<id::Credit>), responses((status = 200, body = List<CreditAnswer>)))]
async fn credits(
    State(app): State<Arc<App>>,
    PathKey(key): PathKey,
    page: ListQuery<id::Credit>,
) -> Result<Json<List<CreditAnswer>>, Problem> {
    let customer = find(&app, &key).await?;
    let wanted = [("customer_id", Some(customer.id.to_string()))];
    let found = store::page::list::<Credit>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, CreditAnswer::from)))
}

/// Gives credit, or takes some back.
#[utoipa::path(post, path = "/v1/customers/{id}/credits", tag = "customers", params(("id" = String, Path)), request_body = CreditInput, responses((status = 201, body = CreditAnswer)))]
async fn give_credit(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    JsonBody(new): JsonBody<CreditInput>,
) -> Result<(StatusCode, Json<CreditAnswer>), Problem> {
    let reason = new.reason.unwrap_or_default();
    let (credit, balance) = customers::give_credit(&app, &caller.actor, &key, new.amount, new.currency, reason).await?;
    Ok((StatusCode::CREATED, Json(CreditAnswer { balance: Some(balance), ..credit.into() })))
}
