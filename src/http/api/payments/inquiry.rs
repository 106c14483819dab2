//! What an operator needs to find out what became of a payment: what was asked and answered, and where to look at the gateway.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    billing::App,
    config::GatewayKind,
    domain::{
        event::Event,
        payment::{Payment, PaymentStatus},
    },
    http::error::Problem,
    store,
};

/// How many of its events are shown; a payment has fewer before it is parked.
const SHOWN: i64 = 50;

#[derive(Debug, Serialize, ToSchema)]
pub struct InquiryAnswer {
    /// What the gateway said last.
    last_said: Option<String>,
    /// What it said when it was asked, oldest first.
    answers: Vec<InquiryEventAnswer>,
    /// Where to look at the gateway, and for what.
    search: String,
    /// What to do about it.
    hint: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InquiryEventAnswer {
    /// By the customer's clock.
    at: DateTime<Utc>,
    /// `payment.unknown`, `payment.looked_up`, `payment.taken_twice`, `payment.parked` or `payment.resolved`.
    event: String,
    /// What was said; of one that was taken twice, by which transactions.
    #[schema(value_type = Object)]
    said: serde_json::Value,
}

/// None for a payment about which there was never a doubt.
pub(super) async fn of(app: &App, payment: &Payment) -> Result<Option<InquiryAnswer>, Problem> {
    let doubted = matches!(payment.status, PaymentStatus::Unknown | PaymentStatus::Parked) || payment.lookups > 0;
    if !doubted {
        return Ok(None);
    }
    let request = store::page::Request {
        filters: vec![("subject", payment.id.to_string())],
        cursor: store::page::Cursor::Newest,
        limit: SHOWN,
    };
    let events = store::page::list::<Event>(&app.db, request).await?;
    const KINDS: &[&str] = &["payment.unknown", "payment.looked_up", "payment.taken_twice", "payment.parked", "payment.resolved"];
    let made = events.rows.into_iter().rev().filter(|event| KINDS.contains(&event.kind.as_str()));
    let answers = made.map(|event| InquiryEventAnswer { at: event.occurred_at, event: event.kind, said: event.data }).collect();
    let hint = match payment.status {
        PaymentStatus::Parked => {
            "look for it at the gateway and resolve it: succeeded (with the transaction_id, and the amount where that is less), \
             declined, or not_processed, which charges again; until then its invoice takes no other payment"
        }
        PaymentStatus::Unknown => "nothing needs to be done: the gateway is asked again, and in the end it is parked",
        _ => "nothing needs to be done: the outcome is known",
    };
    Ok(Some(InquiryAnswer { last_said: payment.decline_message.clone(), answers, search: search(app, payment), hint }))
}

fn search(app: &App, payment: &Payment) -> String {
    let reference = &payment.reference;
    // A little earlier, for clocks that differ.
    let since = (payment.sent_at - TimeDelta::minutes(15)).format("%Y-%m-%d %H:%M UTC");
    let by_id = payment.transaction_id.as_ref().map(|id| format!("transaction {id}, or ")).unwrap_or_default();
    match app.config.gateways.get(&payment.gateway).map(|gateway| gateway.kind) {
        Some(GatewayKind::Paylike) => {
            format!("at {}: {by_id}custom.reference = {reference} in the list of transactions since {since}", payment.gateway)
        }
        Some(_) => format!("at {}: {by_id}order_id = {reference} since {since}", payment.gateway),
        None => {
            format!("at {}, which is not configured any more: {by_id}our reference {reference} since {since}", payment.gateway)
        }
    }
}
