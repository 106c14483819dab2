//! `/v1/payment-requests`: what customers were asked to pay, and what an operator does about it.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{self, App, BillingError, checks::Checks, customers::CustomerRef, payment_requests::ScheduleInput},
    domain::{
        frequency::Frequency,
        id::{self, ClockId, CustomerId, InvoiceId, PaymentMethodId, PaymentRequestId},
        money::{Currency, MAX_AMOUNT_MINOR},
        payment_request::{Ending, PaymentRequest, RequestStatus, Role},
    },
    http::{
        auth::Caller,
        body::{JsonBody, OptionalJsonBody, PathId},
        error::Problem,
        page::{List, ListQuery, NoFilters},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(request))
        .routes(routes!(withdraw))
        .routes(routes!(remind))
        .routes(routes!(check))
}

body! {
    pub struct PaymentRequestFilters {
        pub invoice_id: Option<InvoiceId>,
        pub customer_id: Option<CustomerId>,
        pub status: Option<RequestStatus>,
        pub gateway: Option<String> up to 60,
        pub reference: Option<String> up to 20,
    }
}

body! {
    pub struct PaymentRequestInput {
        /// The open invoice that the customer is asked to pay.
        pub invoice_id: Option<InvoiceId>,
        /// In its place: who is to agree to a schedule that the gateway runs by itself. Each payment of it becomes a paid invoice.
        pub customer: Option<CustomerRef>,
        /// Of a schedule: what each payment takes, minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Of a schedule. Left out: the customer's.
        pub currency: Option<Currency>,
        /// Of a schedule.
        pub description: Option<String> up to 255,
        /// Of a schedule: weekly, monthly, quarterly or yearly.
        pub payment_frequency | billing_frequency: Option<Frequency>,
        /// Of a schedule: the day of its first payment, in the customer's time zone and by real time.
        pub payment_start_date: Option<NaiveDate>,
        /// Of a schedule. Left out: until it is withdrawn.
        pub total_number_of_payments: Option<i64> in 1..=100_000,
        /// Of a schedule: taken at once, beside it; minor units.
        pub initial_payment_amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Some of `EMAIL`, `SMS`, `WEB`. Left out: whichever reaches the customer.
        pub channels: Option<Vec<String>> up to 10,
        /// Name of a gateway that can ask. Left out: `collection.payment_request_gateway`, or the only one.
        pub gateway: Option<String> line up to 100,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentRequestAnswer {
    #[schema(value_type = String)]
    id: PaymentRequestId,
    /// Null for a schedule: each payment of a schedule has its own invoice.
    #[schema(value_type = Option<String>)]
    invoice_id: Option<InvoiceId>,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    #[schema(value_type = Option<String>)]
    payment_method_id: Option<PaymentMethodId>,
    gateway: String,
    /// `attempt`: how the invoice is collected; `last`: the end of its dunning ladder; `extra`: an operator's.
    role: Role,
    status: RequestStatus,
    /// How the request is being closed, until the gateway confirms it.
    ending: Option<Ending>,
    /// Our reference: Paysley's `reference_number`, Paylike's `reference`.
    reference: String,
    /// The gateway's id of the request, if the gateway keeps requests.
    request_id: Option<String>,
    channels: Vec<String>,
    /// Where the customer pays.
    link: Option<String>,
    amount: i64,
    #[schema(value_type = String)]
    currency: Currency,
    /// Of a schedule that the gateway runs; else none of these.
    payment_frequency: Option<Frequency>,
    payment_start_at: Option<DateTime<Utc>>,
    total_number_of_payments: Option<i64>,
    initial_payment_amount: Option<i64>,
    /// Why nobody was asked, or what an operator has to decide.
    message: Option<String>,
    /// Reminders sent.
    reminders: i64,
    next_reminder_at: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    /// Real time of the first call, whatever clock the customer is on.
    sent_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
}

impl From<PaymentRequest> for PaymentRequestAnswer {
    fn from(request: PaymentRequest) -> Self {
        Self {
            id: request.id,
            invoice_id: request.invoice_id,
            customer_id: request.customer_id,
            payment_method_id: request.payment_method_id,
            gateway: request.gateway,
            role: request.role,
            status: request.status,
            ending: request.ending,
            reference: request.reference,
            request_id: request.request_id,
            channels: request.channels,
            link: request.link,
            amount: request.amount,
            currency: request.currency,
            payment_frequency: request.payment_frequency,
            payment_start_at: request.payment_start_at,
            total_number_of_payments: request.total_number_of_payments,
            initial_payment_amount: request.initial_payment_amount,
            message: request.message,
            reminders: request.reminders,
            next_reminder_at: request.next_reminder_at,
            expires_at: request.expires_at,
            clock_id: request.timeline.clock_id(),
            sent_at: request.sent_at,
            created_at: request.created_at,
            resolved_at: request.resolved_at,
        }
    }
}

/// Lists payment requests.
#[utoipa::path(get, path = "/v1/payment-requests", tag = "money", params(ListQuery<id::PaymentRequest, PaymentRequestFilters>), responses((status = 200, body = List<PaymentRequestAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::PaymentRequest, PaymentRequestFilters>,
) -> Result<Json<List<PaymentRequestAnswer>>, Problem> {
    let PaymentRequestFilters { invoice_id, customer_id, status, gateway, reference } = &page.filters;
    let wanted = [
        ("invoice_id", invoice_id.map(|id| id.to_string())),
        ("customer_id", customer_id.map(|id| id.to_string())),
        ("status", status.map(|status| status.to_string())),
        ("gateway", gateway.clone()),
        ("reference", reference.clone()),
    ];
    let found = store::page::list::<PaymentRequest>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, PaymentRequestAnswer::from)))
}

/// Shows a payment request.
#[utoipa::path(get, path = "/v1/payment-requests/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = PaymentRequestAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::PaymentRequest>) -> Result<Json<PaymentRequestAnswer>, Problem> {
    let request =
        store::payment_requests::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("payment request", id))?;
    Ok(Json(request.into()))
}

/// Asks the customer to pay an open invoice, beside whatever else is planned for it; or to agree to a schedule that the gateway runs.
#[utoipa::path(post, path = "/v1/payment-requests", tag = "money", request_body = PaymentRequestInput, responses((status = 201, body = PaymentRequestAnswer)))]
async fn request(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(new): JsonBody<PaymentRequestInput>,
) -> Result<(StatusCode, Json<PaymentRequestAnswer>), Problem> {
    let request = match wanted(new)? {
        RequestFor::Invoice(id, gateway, channels) => {
            billing::payment_requests::request(&app, &caller.actor, id, gateway, channels).await?
        }
        RequestFor::Schedule(input) => billing::payment_requests::schedule(&app, &caller.actor, input).await?,
    };
    Ok((StatusCode::CREATED, Json(request.into())))
}

enum RequestFor {
    Invoice(InvoiceId, Option<String>, Option<Vec<String>>),
    Schedule(ScheduleInput),
}

/// An invoice, or else all that a schedule needs; never some of both.
fn wanted(new: PaymentRequestInput) -> Result<RequestFor, Problem> {
    let mut checks = Checks::default();
    let channels = new.channels;
    let gateway = new.gateway;
    let only_of_schedules = [
        ("customer", new.customer.is_some()),
        ("amount", new.amount.is_some()),
        ("currency", new.currency.is_some()),
        ("description", new.description.is_some()),
        ("payment_frequency", new.payment_frequency.is_some()),
        ("payment_start_date", new.payment_start_date.is_some()),
        ("total_number_of_payments", new.total_number_of_payments.is_some()),
        ("initial_payment_amount", new.initial_payment_amount.is_some()),
    ];
    if let Some(id) = new.invoice_id {
        for (field, _) in only_of_schedules.iter().filter(|(_, given)| *given) {
            checks.fault(*field, "does not go with invoice_id: the invoice says it");
        }
        checks.done()?;
        return Ok(RequestFor::Invoice(id, gateway, channels));
    }
    if only_of_schedules.iter().all(|(_, given)| !given) {
        return Err(BillingError::invalid("invoice_id", "is required, or else customer and a schedule").into());
    }
    let needed = only_of_schedules
        .iter()
        .filter(|(field, _)| ["customer", "amount", "payment_frequency", "payment_start_date"].contains(field));
    for (field, _) in needed.filter(|(_, given)| !given) {
        checks.fault(*field, "is required for a schedule");
    }
    let (Some(customer), Some(amount), Some(frequency), Some(starts_on)) =
        (new.customer, new.amount, new.payment_frequency, new.payment_start_date)
    else {
        return Err(BillingError::Invalid(checks.into_faults()).into());
    };
    Ok(RequestFor::Schedule(ScheduleInput {
        customer: customer.id,
        amount,
        currency: new.currency,
        description: new.description.unwrap_or_default(),
        frequency,
        starts_on,
        payments: new.total_number_of_payments,
        initial: new.initial_payment_amount,
        gateway,
        channels,
    }))
}

/// Withdraws a request or stops its schedule, also if the request is parked. Payments made before are still booked.
#[utoipa::path(post, path = "/v1/payment-requests/{id}/withdraw", tag = "money", params(("id" = String, Path)), responses((status = 200, body = PaymentRequestAnswer)))]
async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::PaymentRequest>,
    _: OptionalJsonBody<NoFilters>,
) -> Result<Json<PaymentRequestAnswer>, Problem> {
    Ok(Json(billing::payment_requests::withdraw(&app, &caller.actor, id).await?.into()))
}

/// Reminds the customer of the request.
#[utoipa::path(post, path = "/v1/payment-requests/{id}/remind", tag = "money", params(("id" = String, Path)), responses((status = 200, body = PaymentRequestAnswer)))]
async fn remind(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::PaymentRequest>,
    _: OptionalJsonBody<NoFilters>,
) -> Result<Json<PaymentRequestAnswer>, Problem> {
    Ok(Json(billing::payment_requests::remind(&app, &caller.actor, id).await?.into()))
}

/// Looks up the payments of a request now, in any state of the request, and books them.
#[utoipa::path(post, path = "/v1/payment-requests/{id}/check", tag = "money", params(("id" = String, Path)), responses((status = 200, body = PaymentRequestAnswer)))]
async fn check(
    State(app): State<Arc<App>>,
    _: Caller,
    PathId(id): PathId<id::PaymentRequest>,
    _: OptionalJsonBody<NoFilters>,
) -> Result<Json<PaymentRequestAnswer>, Problem> {
    Ok(Json(billing::payment_requests::check(&app, id).await?.into()))
}
