//! `/v1/credit-notes`: what reduced invoices after they were issued, and where that went.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{App, BillingError},
    domain::{
        credit_note::{CreditNote, CreditReason},
        id::{self, ClockId, CreditNoteId, CustomerId, InvoiceId, RefundId},
        invoice::Line,
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
    pub struct CreditNoteFilters {
        pub invoice_id: Option<InvoiceId>,
        pub customer_id: Option<CustomerId>,
    }
}

/// All amounts are minor units and not negative.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditNoteAnswer {
    #[schema(value_type = String)]
    id: CreditNoteId,
    number: String,
    #[schema(value_type = String)]
    invoice_id: InvoiceId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    reason: CreditReason,
    /// Why, in the words of whoever asked for it.
    note: String,
    #[schema(value_type = String)]
    currency: Currency,
    /// What is taken off, in amounts that add up to `amount`.
    lines: Vec<Line>,
    amount: i64,
    /// Taken off what was still due.
    pre_payment_amount: i64,
    /// Given back out of what was paid: the sum of the three below.
    post_payment_amount: i64,
    /// Put on the customer's balance.
    to_balance: i64,
    /// Given back to the payment method.
    to_method: i64,
    /// Paid for the new charge of the same change.
    to_invoice: i64,
    #[schema(value_type = Option<String>)]
    refund_id: Option<RefundId>,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    created_at: DateTime<Utc>,
}

/// A credit note of an action, as its preview shows it as well: the number is given when it is done. All amounts are minor units.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReductionAnswer {
    #[schema(value_type = String)]
    invoice_id: InvoiceId,
    reason: CreditReason,
    /// What is taken off, in amounts that add up to `amount`.
    lines: Vec<Line>,
    amount: i64,
    /// Taken off what was still due.
    pre_payment_amount: i64,
    /// Given back out of what was paid: the sum of the two below.
    post_payment_amount: i64,
    /// Put on the customer's balance.
    to_balance: i64,
    /// Pays for the new charge of the same action.
    to_invoice: i64,
}

impl From<CreditNote> for ReductionAnswer {
    fn from(note: CreditNote) -> Self {
        let post_payment_amount = note.amount - note.pre_payment_amount;
        let CreditNote { invoice_id, reason, lines, amount, pre_payment_amount, to_balance, to_invoice, .. } = note;
        Self { invoice_id, reason, lines, amount, pre_payment_amount, post_payment_amount, to_balance, to_invoice }
    }
}

impl From<CreditNote> for CreditNoteAnswer {
    fn from(note: CreditNote) -> Self {
        Self {
            id: note.id,
            number: note.number,
            invoice_id: note.invoice_id,
            customer_id: note.customer_id,
            reason: note.reason,
            note: note.note,
            currency: note.currency,
            lines: note.lines,
            amount: note.amount,
            pre_payment_amount: note.pre_payment_amount,
            post_payment_amount: note.amount - note.pre_payment_amount,
            to_balance: note.to_balance,
            to_method: note.to_method,
            to_invoice: note.to_invoice,
            refund_id: note.refund_id,
            clock_id: note.timeline.clock_id(),
            created_at: note.created_at,
        }
    }
}

/// Lists credit notes.
#[utoipa::path(get, path = "/v1/credit-notes", tag = "money", params(ListQuery<id::CreditNote, CreditNoteFilters>), responses((status = 200, body = List<CreditNoteAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::CreditNote, CreditNoteFilters>,
) -> Result<Json<List<CreditNoteAnswer>>, Problem> {
    let CreditNoteFilters { invoice_id, customer_id } = &page.filters;
    let wanted = [("invoice_id", invoice_id.map(|id| id.to_string())), ("customer_id", customer_id.map(|id| id.to_string()))];
    let found = store::page::list::<CreditNote>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, CreditNoteAnswer::from)))
}

/// Shows a credit note.
#[utoipa::path(get, path = "/v1/credit-notes/{id}", tag = "money", params(("id" = String, Path)), responses((status = 200, body = CreditNoteAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::CreditNote>) -> Result<Json<CreditNoteAnswer>, Problem> {
    let note = store::credit_notes::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("credit note", id))?;
    Ok(Json(note.into()))
}
