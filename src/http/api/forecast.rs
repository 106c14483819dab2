//! `/v1/forecast`: the charges to expect, per day, week or month and currency.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        App,
        forecast::{self, Forecast, ForecastInput},
    },
    domain::{clock::Timeline, forecast::Interval, id::ClockId, money::Currency},
    http::{body::QueryParams, error::Problem},
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(show))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ExpectedChargesAnswer {
    start: NaiveDate,
    /// The first day after the span.
    end: NaiveDate,
    #[schema(value_type = String)]
    currency: Currency,
    /// The test clock of these charges; null: real time.
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    charges: i64,
    /// Minor units.
    amount: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ForecastAnswer {
    from: NaiveDate,
    to: NaiveDate,
    interval: Interval,
    /// In order of date, then currency, then clock; spans without a charge are left out.
    data: Vec<ExpectedChargesAnswer>,
    /// The sums over the whole range.
    totals: Vec<ExpectedChargesAnswer>,
}

impl ForecastAnswer {
    fn of(forecast: &Forecast) -> Self {
        let range = forecast.range;
        let expected = |start, end, currency, timeline: Timeline, sum: forecast::Sum| ExpectedChargesAnswer {
            start,
            end,
            currency,
            clock_id: timeline.clock_id(),
            charges: sum.charges,
            amount: sum.amount,
        };
        Self {
            from: range.from,
            to: range.to,
            interval: range.interval,
            data: forecast
                .sums
                .iter()
                .map(|((start, end, currency, of), sum)| expected(*start, *end, *currency, *of, *sum))
                .collect(),
            totals: forecast
                .totals()
                .into_iter()
                .map(|((currency, of), sum)| expected(range.from, range.to, currency, of, sum))
                .collect(),
        }
    }
}

/// The charges to expect by the schedules as they are.
///
/// With trials, durations of add-ons and discounts, ends, pauses with a day to resume, changes that wait, and the installments of
/// running plans. Each is counted on the local day on which it will be opened; what is overdue, today. Amounts are what will be
/// invoiced, before a customer's credit. What test clocks drive is told apart by `clock_id`. Not in it: invoices that are open already and their retries, declines to come, what is
/// parked, paused without a day to resume, or held back while past due.
#[utoipa::path(get, path = "/v1/forecast", tag = "forecast", params(ForecastInput), responses((status = 200, body = ForecastAnswer)))]
async fn show(
    State(app): State<Arc<App>>,
    QueryParams(input): QueryParams<ForecastInput>,
) -> Result<Json<ForecastAnswer>, Problem> {
    Ok(Json(ForecastAnswer::of(&forecast::forecast(&app, input).await?)))
}
