//! `/v1/invoices`: what is owed, and what an operator does about it.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    authorizations::AuthorizationAnswer, credit_notes::CreditNoteAnswer, payment_requests::PaymentRequestAnswer,
    subscriptions::answers::PeriodAnswer,
};
use crate::{
    billing::{self, App, BillingError},
    domain::{
        dunning::Postponement,
        id::{self, ClockId, CustomerId, InstallmentPlanId, InvoiceId, PaymentId, RefundId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus, Line, NextAction},
        money::{Currency, MAX_AMOUNT_MINOR},
        payment::DeclineClass,
        refund::{Refund, RefundStatus, RefundTo},
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
        .routes(routes!(collect))
        .routes(routes!(void))
        .routes(routes!(mark_uncollectible))
        .routes(routes!(refund))
}

body! {
    pub struct InvoiceFilters {
        pub customer_id: Option<CustomerId>,
        pub subscription_id: Option<SubscriptionId>,
        pub installment_plan_id: Option<InstallmentPlanId>,
        pub status: Option<InvoiceStatus>,
        /// The number printed on the invoice.
        pub number: Option<String> line up to 100,
    }
}

body! {
    pub struct ReasonInput {
        /// The reason, kept in the event.
        pub reason: Option<String> up to 500,
    }
}

body! {
    pub struct RefundInput {
        /// Minor units. Left out: everything that is left.
        pub amount: Option<i64> in 1..=MAX_AMOUNT_MINOR,
        /// The reason, kept in the event.
        pub reason: String up to 500,
        /// `method`: through the gateway, to where it came from; `credit`: to the customer's balance, without any gateway.
        pub to: RefundTo = RefundTo::default(),
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceAnswer {
    #[schema(value_type = String)]
    id: InvoiceId,
    number: String,
    status: InvoiceStatus,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    #[schema(value_type = Option<String>)]
    subscription_id: Option<SubscriptionId>,
    #[schema(value_type = Option<String>)]
    installment_plan_id: Option<InstallmentPlanId>,
    /// Which installment; where a plan is paid off, the lowest of them.
    installment_number: Option<i64>,
    /// The subscription's cycle, from 0; null for what is owed beside the schedule.
    cycle: Option<i64>,
    period: Option<PeriodAnswer>,
    description: String,
    #[schema(value_type = String)]
    currency: Currency,
    lines: Vec<Line>,
    /// Sum of the lines.
    subtotal: i64,
    credit_applied: i64,
    total: i64,
    amount_paid: i64,
    /// Refunds through gateways, minor units.
    amount_refunded: i64,
    /// Refunds as credit of the customer, minor units.
    amount_credited: i64,
    /// The sum of all credit notes, refunds among them, minor units.
    credited: i64,
    /// What is still to be paid, minor units.
    amount_due: i64,
    /// What could still be credited, minor units.
    creditable: i64,
    /// What a refund to the payment method could still give back, minor units: what was paid through gateways, without what has gone
    /// back, is on its way back or is disputed, and without what credit notes have given of it.
    refundable: i64,
    due_at: DateTime<Utc>,
    /// The next attempt; null if there is none.
    next_attempt_at: Option<DateTime<Utc>>,
    /// When its dunning ladder ends without another charge, because only another payment method could help.
    gives_up_at: Option<DateTime<Utc>>,
    attempts: i64,
    /// Declines so far: the next one is followed by the step after that many of the dunning policy.
    dunning_step: i64,
    /// The first failure, from which the steps count their days.
    first_failed_at: Option<DateTime<Utc>>,
    /// The class of the latest decline.
    decline_class: Option<DeclineClass>,
    decline_code: Option<String>,
    /// The next attempt charges the customer's next stored method that was not tried yet.
    next_method: bool,
    /// Why an attempt that was due waits until `next_attempt_at`. `cap`: the credential had all the declines that a cap allows.
    postponed_by: Option<Postponement>,
    /// Why the invoice stays open and is not tried again by itself: the gateway refuses this very charge. `collect` tries it again.
    parked_reason: Option<String>,
    /// Since when it has met nothing but refusals that are not the customer's; null if it has met none, or is closed.
    refused_at: Option<DateTime<Utc>>,
    /// The latest of these refusals.
    refused_reason: Option<String>,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl InvoiceAnswer {
    /// `claimed` is on its way back or in dispute, minor units.
    fn of(invoice: Invoice, claimed: i64) -> Self {
        let account = invoice.account(claimed);
        let refundable = invoice.refundable(RefundTo::Method, claimed);
        let credited = invoice.credited();
        let at = |action| invoice.next_attempt_at.filter(|_| invoice.next_action == action);
        let waits = invoice.next_attempt_at.is_some();
        let is_open = invoice.status == InvoiceStatus::Open;
        let parked_reason = invoice.parked_reason.clone().filter(|_| invoice.is_parked());
        Self {
            next_attempt_at: at(NextAction::Charge),
            gives_up_at: at(NextAction::GiveUp),
            id: invoice.id,
            number: invoice.number,
            status: invoice.status,
            customer_id: invoice.customer_id,
            subscription_id: invoice.subscription_id,
            installment_plan_id: invoice.installment_plan_id,
            installment_number: invoice.installment_number,
            cycle: invoice.cycle,
            period: invoice.period_start.zip(invoice.period_end).map(|(start, end)| PeriodAnswer { start, end }),
            description: invoice.description,
            currency: invoice.currency,
            lines: invoice.lines,
            subtotal: invoice.subtotal,
            credit_applied: invoice.credit_applied,
            total: invoice.total,
            amount_paid: invoice.amount_paid,
            amount_refunded: invoice.amount_refunded,
            amount_credited: invoice.amount_credited,
            credited,
            amount_due: account.due,
            creditable: account.creditable,
            refundable,
            due_at: invoice.due_at,
            attempts: invoice.attempts,
            dunning_step: invoice.dunning_step,
            first_failed_at: invoice.first_failed_at,
            decline_class: invoice.decline_class,
            decline_code: invoice.decline_code,
            next_method: invoice.next_method && waits,
            postponed_by: invoice.postponed_by.filter(|_| waits),
            parked_reason,
            refused_at: invoice.refused_at.filter(|_| is_open),
            refused_reason: invoice.refused_reason.filter(|_| is_open),
            clock_id: invoice.timeline.clock_id(),
            created_at: invoice.created_at,
            updated_at: invoice.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RefundAnswer {
    #[schema(value_type = String)]
    id: RefundId,
    to: RefundTo,
    /// Null if the refund became credit.
    #[schema(value_type = Option<String>)]
    payment_id: Option<PaymentId>,
    amount: i64,
    #[schema(value_type = String)]
    currency: Currency,
    reason: String,
    status: RefundStatus,
    /// True: the charge was voided before it settled.
    voided: bool,
    message: Option<String>,
    created_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
}

impl From<Refund> for RefundAnswer {
    fn from(refund: Refund) -> Self {
        let Refund { id, destination, payment_id, amount, currency, reason, status, voided, message, .. } = refund;
        let (created_at, resolved_at) = (refund.created_at, refund.resolved_at);
        Self { id, to: destination, payment_id, amount, currency, reason, status, voided, message, created_at, resolved_at }
    }
}

/// The invoice with all its refunds, and what the customer was asked to pay.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceDetailAnswer {
    #[serde(flatten)]
    invoice: InvoiceAnswer,
    refunds: Vec<RefundAnswer>,
    /// What reduced it after it was issued, oldest first.
    credit_notes: Vec<CreditNoteAnswer>,
    /// Taken back by the customer's bank, or held by it.
    amount_disputed: i64,
    /// What was authorized for it before the bill date, if anything was.
    authorization: Option<AuthorizationAnswer>,
    /// Oldest first, each with its link.
    payment_requests: Vec<PaymentRequestAnswer>,
}

/// Lists invoices.
#[utoipa::path(get, path = "/v1/invoices", tag = "money", params(ListQuery<id::Invoice, InvoiceFilters>), responses((status = 200, body = List<InvoiceAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::Invoice, InvoiceFilters>,
) -> Result<Json<List<InvoiceAnswer>>, Problem> {
    let InvoiceFilters { customer_id, subscription_id, installment_plan_id, status, number } = &page.filters;
    let wanted = [
        ("customer_id", customer_id.map(|id| id.to_string())),
        ("subscription_id", subscription_id.map(|id| id.to_string())),
        ("installment_plan_id", installment_plan_id.map(|id| id.to_string())),
        ("status", status.map(|status| status.to_string())),
        ("number", number.clone()),
    ];
    let found = store::page::list::<Invoice>(&app.db, page.request(wanted)).await?;
    let ids: Vec<InvoiceId> = found.rows.iter().map(|invoice| invoice.id).collect();
    let claimed: HashMap<InvoiceId, i64> = store::refunds::seen_claimed_of(&app.db, &ids).await?.into_iter().collect();
    Ok(Json(List::of(found, |invoice| {
        let claimed = claimed.get(&invoice.id).copied().unwrap_or(0);
        InvoiceAnswer::of(invoice, claimed)
    })))
}

/// Shows an invoice.
#[utoipa::path(get, path = "/v1/invoices/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = InvoiceDetailAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::Invoice>) -> Result<Json<InvoiceDetailAnswer>, Problem> {
    shown(&app, id).await
}

async fn answer(app: &App, invoice: Invoice) -> Result<InvoiceAnswer, Problem> {
    let claimed = store::refunds::seen_claimed_of(&app.db, &[invoice.id]).await?;
    Ok(InvoiceAnswer::of(invoice, claimed.first().map_or(0, |(_, claimed)| *claimed)))
}

async fn shown(app: &App, id: InvoiceId) -> Result<Json<InvoiceDetailAnswer>, Problem> {
    let invoice = store::invoices::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("invoice", id))?;
    let refunds = store::refunds::of_invoice(&app.db, id).await?;
    let amount_disputed = store::disputes::amount_of_invoice(&app.db, id).await?;
    let authorization = match (invoice.subscription_id, invoice.cycle) {
        (Some(subscription), Some(cycle)) => store::authorizations::of_cycle(&app.db, subscription, cycle).await?,
        _ => None,
    };
    let requests = store::payment_requests::of_invoice(&app.db, id).await?;
    let credit_notes = store::credit_notes::of_invoice(&app.db, id).await?;
    Ok(Json(InvoiceDetailAnswer {
        invoice: answer(app, invoice).await?,
        credit_notes: credit_notes.into_iter().map(CreditNoteAnswer::from).collect(),
        refunds: refunds.into_iter().map(RefundAnswer::from).collect(),
        amount_disputed,
        authorization: authorization.map(AuthorizationAnswer::from),
        payment_requests: requests.into_iter().map(PaymentRequestAnswer::from).collect(),
    }))
}

/// Charges an open invoice now, whatever its ladder says. One that was given up is opened again.
#[utoipa::path(post, path = "/v1/invoices/{id}/collect", tag = "money", params(("id" = String, Path)), responses((status = 200, body = InvoiceAnswer)))]
async fn collect(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::Invoice>,
    _: OptionalJsonBody<NoFilters>,
) -> Result<Json<InvoiceAnswer>, Problem> {
    let invoice = billing::invoices::collect(&app, &caller.actor, id).await?;
    Ok(Json(answer(&app, invoice).await?))
}

/// Cancels an open invoice; credit that it had used goes back to the customer.
#[utoipa::path(post, path = "/v1/invoices/{id}/void", tag = "money", params(("id" = String, Path)), request_body = ReasonInput, responses((status = 200, body = InvoiceAnswer)))]
async fn void(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::Invoice>,
    OptionalJsonBody(why): OptionalJsonBody<ReasonInput>,
) -> Result<Json<InvoiceAnswer>, Problem> {
    let invoice = billing::invoices::void(&app, &caller.actor, id, &said(why)).await?;
    Ok(Json(answer(&app, invoice).await?))
}

/// Gives up on an open invoice.
#[utoipa::path(post, path = "/v1/invoices/{id}/mark_uncollectible", tag = "money", params(("id" = String, Path)), request_body = ReasonInput, responses((status = 200, body = InvoiceAnswer)))]
async fn mark_uncollectible(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::Invoice>,
    OptionalJsonBody(why): OptionalJsonBody<ReasonInput>,
) -> Result<Json<InvoiceAnswer>, Problem> {
    let invoice = billing::invoices::mark_uncollectible(&app, &caller.actor, id, &said(why)).await?;
    Ok(Json(answer(&app, invoice).await?))
}

fn said(why: ReasonInput) -> String {
    why.reason.unwrap_or_default()
}

/// Gives money back: to where it came from, by a void before settlement and by a refund after it, or as credit of the customer.
#[utoipa::path(post, path = "/v1/invoices/{id}/refund", tag = "money", params(("id" = String, Path)), request_body = RefundInput, responses((status = 200, body = InvoiceDetailAnswer)))]
async fn refund(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<id::Invoice>,
    JsonBody(order): JsonBody<RefundInput>,
) -> Result<Json<InvoiceDetailAnswer>, Problem> {
    let amount = order.amount;
    match order.to {
        RefundTo::Method => drop(billing::refunds::refund(&app, &caller.actor, id, amount, &order.reason).await?),
        RefundTo::Credit => drop(billing::refunds::to_credit(&app, &caller.actor, id, amount, &order.reason).await?),
    }
    shown(&app, id).await
}
