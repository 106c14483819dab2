//! `/v1/payments`: every attempt to collect, and the operator's word on one that nobody knows the outcome of.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{self, App, BillingError},
    domain::{
        id::{self, AuthorizationId, ClockId, CustomerId, InvoiceId, PaymentId, PaymentMethodId, PaymentRequestId},
        money::{Currency, MAX_AMOUNT_MINOR},
        payment::{DeclineClass, Payment, PaymentStatus, Resolution},
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

mod inquiry;

use inquiry::InquiryAnswer;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(resolve))
}

body! {
    pub struct PaymentFilters {
        pub invoice_id: Option<InvoiceId>,
        pub customer_id: Option<CustomerId>,
        pub status: Option<PaymentStatus>,
        pub gateway: Option<String> up to 60,
        pub reference: Option<String> up to 20,
        /// The gateway's id of the transaction.
        pub transaction_id: Option<String> line up to 255,
    }
}

body! {
    pub struct PaymentResolutionInput {
        /// `succeeded`, `declined`, or `not_processed` (which charges again).
        pub outcome: Resolution,
        /// How the operator found out.
        pub note: String up to 500,
        /// The gateway's id of the payment, if it succeeded.
        pub transaction_id: Option<String> up to 100,
        /// What was taken, if it succeeded and that is less than was asked for; minor units.
        pub amount: Option<i64> in 1..=MAX_AMOUNT_MINOR,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeclineAnswer {
    pub class: DeclineClass,
    /// The gateway's code.
    pub code: String,
    pub message: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentAnswer {
    #[schema(value_type = String)]
    id: PaymentId,
    #[schema(value_type = String)]
    invoice_id: InvoiceId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    #[schema(value_type = Option<String>)]
    payment_method_id: Option<PaymentMethodId>,
    /// The payment request that the customer paid.
    #[schema(value_type = Option<String>)]
    payment_request_id: Option<PaymentRequestId>,
    /// The number of the attempt, from 1 for each invoice.
    attempt: i64,
    gateway: String,
    /// Our reference: FluidPay's `order_id`, Paylike's `custom.reference`.
    reference: String,
    /// The gateway's id of the payment.
    transaction_id: Option<String>,
    /// The authorization that the payment captures.
    #[schema(value_type = Option<String>)]
    authorization_id: Option<AuthorizationId>,
    amount: i64,
    amount_captured: i64,
    amount_refunded: i64,
    /// The part that the invoice did not need. The daemon gives it back.
    overpayment: i64,
    /// Taken back by the customer's bank, or held by it.
    amount_disputed: i64,
    #[schema(value_type = String)]
    currency: Currency,
    status: PaymentStatus,
    decline: Option<DeclineAnswer>,
    /// Why the outcome is not known, or why nothing was processed.
    message: Option<String>,
    /// Lookups that brought no answer so far.
    lookups: i64,
    next_lookup_at: Option<DateTime<Utc>>,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    /// Real time of the first call, whatever clock the customer is on.
    sent_at: DateTime<Utc>,
    /// Real time of the latest call that asked for the whole payment.
    called_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
}

impl From<Payment> for PaymentAnswer {
    fn from(payment: Payment) -> Self {
        let decline = payment.decline_class.map(|class| DeclineAnswer {
            class,
            code: payment.decline_code.clone().unwrap_or_default(),
            message: payment.decline_message.clone().unwrap_or_default(),
        });
        Self {
            message: payment.decline_message.filter(|_| decline.is_none()),
            decline,
            id: payment.id,
            invoice_id: payment.invoice_id,
            customer_id: payment.customer_id,
            payment_method_id: payment.payment_method_id,
            payment_request_id: payment.payment_request_id,
            attempt: payment.attempt,
            gateway: payment.gateway,
            reference: payment.reference,
            transaction_id: payment.transaction_id,
            authorization_id: payment.authorization_id,
            amount: payment.amount,
            amount_captured: payment.amount_captured,
            amount_refunded: payment.amount_refunded,
            overpayment: payment.overpayment,
            amount_disputed: payment.amount_disputed,
            currency: payment.currency,
            status: payment.status,
            lookups: payment.lookups,
            next_lookup_at: payment.next_lookup_at,
            clock_id: payment.timeline.clock_id(),
            sent_at: payment.sent_at,
            called_at: payment.called_at,
            created_at: payment.created_at,
            resolved_at: payment.resolved_at,
        }
    }
}

/// Lists payments.
#[utoipa::path(get, path = "/v1/payments", tag = "money", params(ListQuery<id::Payment, PaymentFilters>), responses((status = 200, body = List<PaymentAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Payment, PaymentFilters>,
) -> Result<Json<List<PaymentAnswer>>, Problem> {
    let PaymentFilters { invoice_id, customer_id, status, gateway, reference, transaction_id } = &page.filters;
    let wanted = [
        ("invoice_id", invoice_id.map(|id| id.to_string())),
        ("customer_id", customer_id.map(|id| id.to_string())),
        ("status", status.map(|status| status.to_string())),
        ("gateway", gateway.clone()),
        ("reference", reference.clone()),
        ("transaction_id", transaction_id.clone()),
    ];
    let found = store::page::list::<Payment>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, PaymentAnswer::from)))
}

/// Shows a payment; of one whose outcome is not known, also what was asked and answered, and where to look.
#[utoipa::path(get, path = "/v1/payments/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = PaymentDetailAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::Payment>) -> Result<Json<PaymentDetailAnswer>, Problem> {
    let payment = store::payments::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("payment", id))?;
    let inquiry = inquiry::of(&app, &payment).await?;
    Ok(Json(PaymentDetailAnswer { payment: payment.into(), inquiry }))
}

#[derive(Debug, Serialize, ToSchema)]
struct PaymentDetailAnswer {
    #[serde(flatten)]
    payment: PaymentAnswer,
    /// Only for a payment that is or was unknown or parked.
    inquiry: Option<InquiryAnswer>,
}

/// Closes a parked payment by what an operator found out at the gateway.
#[utoipa::path(post, path = "/v1/payments/{id}/resolve", tag = "money", params(("id" = String, Path)), request_body = PaymentResolutionInput, responses((status = 200, body = PaymentAnswer)))]
async fn resolve(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::Payment>,
    JsonBody(resolution): JsonBody<PaymentResolutionInput>,
) -> Result<Json<PaymentAnswer>, Problem> {
    let transaction_id = resolution.transaction_id;
    let amount = resolution.amount;
    let note = &resolution.note;
    Ok(Json(billing::payments::resolve(&app, &caller.actor, id, resolution.outcome, transaction_id, amount, note).await?.into()))
}
