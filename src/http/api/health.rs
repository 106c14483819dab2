//! `/v1/health/billing`: the invariants, one line each, and everything that waits for an operator.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::TimeDelta;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::App,
    http::{body::Query, error::Problem, page::NoFilters},
    store::health::{self, Finding, ParkedPayment, ParkedPaymentRequest, ParkedRefund, ParkedSubscription},
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(billing))
}

/// One invariant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    name: &'static str,
    ok: bool,
    /// How many break it.
    count: i64,
    detail: String,
}

/// What waits for an operator, at most a hundred of each.
#[derive(Debug, Serialize, ToSchema)]
pub struct Parked {
    #[schema(value_type = Vec<Object>)]
    subscriptions: Vec<ParkedSubscription>,
    #[schema(value_type = Vec<Object>)]
    payments: Vec<ParkedPayment>,
    #[schema(value_type = Vec<Object>)]
    refunds: Vec<ParkedRefund>,
    #[schema(value_type = Vec<Object>)]
    payment_requests: Vec<ParkedPaymentRequest>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BillingHealth {
    /// Whether all checks are.
    ok: bool,
    checks: Vec<Check>,
    parked: Parked,
}

fn check(name: &'static str, rule: &str, remedy: &str, found: Finding) -> Check {
    let Finding { count, ids } = found;
    let more = if count > ids.len() as i64 { ", …" } else { "" };
    let detail = if count == 0 { rule.to_owned() } else { format!("{remedy}: {}{more}", ids.join(", ")) };
    Check { name, ok: count == 0, count, detail }
}

/// Tells whether billing is sound, and what is parked.
#[utoipa::path(get, path = "/v1/health/billing", tag = "health", responses((status = 200, body = BillingHealth)))]
async fn billing(State(app): State<Arc<App>>, _: Query<NoFilters>) -> Result<Json<BillingHealth>, Problem> {
    let db = &app.db;
    let now = app.clock.now();
    let hour_ago = now - TimeDelta::hours(1);
    let day_ago = now - TimeDelta::days(1);
    let checks = vec![
        check(
            "subscriptions_parked",
            "no subscription waits for an operator",
            "decide and unpark",
            health::subscriptions_parked(db).await?,
        ),
        check(
            "payments_parked",
            "no payment waits for an operator",
            "ask the gateway and resolve",
            health::payments_parked(db).await?,
        ),
        check(
            "refunds_parked",
            "no refund waits for an operator",
            "ask the gateway and resolve",
            health::refunds_parked(db).await?,
        ),
        check(
            "payment_requests_parked",
            "no payment request waits for an operator",
            "see what was paid, and withdraw",
            health::payment_requests_parked(db).await?,
        ),
        check(
            "payments_beyond_lease",
            "no payment is left by a daemon that has gone silent",
            "the look-ups job should have taken these up",
            health::payments_beyond_lease(db, now - TimeDelta::minutes(1)).await?,
        ),
        check(
            "payments_long_unknown",
            "no payment has been unknown for a day",
            "the gateway has not said what became of these",
            health::payments_long_unknown(db, day_ago).await?,
        ),
        check(
            "subscriptions_overdue",
            "no subscription has been due for an hour",
            "the bill run should have opened a cycle",
            health::subscriptions_overdue(db, hour_ago).await?,
        ),
        check(
            "installment_plans_overdue",
            "no installment has been due for an hour",
            "the bill run should have opened its invoice",
            health::installment_plans_overdue(db, hour_ago).await?,
        ),
        check(
            "invoices_overdue",
            "no invoice has waited for an attempt for an hour",
            "collection should have charged these",
            health::invoices_overdue(db, hour_ago).await?,
        ),
        check(
            "invoices_overpaid",
            "no invoice paid within a day has brought more than its total",
            "refund what is too much",
            health::invoices_overpaid(db, day_ago).await?,
        ),
    ];
    let parked = Parked {
        subscriptions: health::parked_subscriptions(db).await?,
        payments: health::parked_payments(db).await?,
        refunds: health::parked_refunds(db).await?,
        payment_requests: health::parked_payment_requests(db).await?,
    };
    Ok(Json(BillingHealth { ok: checks.iter().all(|check| check.ok), checks, parked }))
}
