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
    domain::{forecast::Interval, id::ClockId, money::Currency},
    http::{body::Query, error::Problem, input::body},
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(show))
}

body! {
    pub struct Wanted {
        /// First day, by each subscription's own calendar; left out: today.
        pub from: Option<NaiveDate>,
        /// The day after the last, at most ten years on; left out: a year on.
        pub to: Option<NaiveDate>,
        /// Weeks start on Monday. At most 2000 spans; left out: `day`.
        pub interval: Option<Interval>,
        /// Only customers on this test clock; left out: those on the wall clock.
        pub clock_id: Option<ClockId>,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ExpectedCharges {
    start: NaiveDate,
    /// Exclusive.
    end: NaiveDate,
    #[schema(value_type = String)]
    currency: Currency,
    charges: i64,
    /// Minor units.
    amount: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ForecastAnswer {
    from: NaiveDate,
    to: NaiveDate,
    interval: Interval,
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    /// In order of date, then currency; spans without a charge are left out.
    data: Vec<ExpectedCharges>,
    /// Over the whole range.
    totals: Vec<ExpectedCharges>,
}

impl ForecastAnswer {
    fn of(forecast: &Forecast, clock_id: Option<ClockId>) -> Self {
        let range = forecast.range;
        let expected = |start, end, currency, sum: forecast::Sum| ExpectedCharges {
            start,
            end,
            currency,
            charges: sum.charges,
            amount: sum.amount,
        };
        Self {
            from: range.from,
            to: range.to,
            interval: range.interval,
            clock_id,
            data: forecast.sums.iter().map(|((start, end, currency), sum)| expected(*start, *end, *currency, *sum)).collect(),
            totals: forecast.totals().into_iter().map(|(currency, sum)| expected(range.from, range.to, currency, sum)).collect(),
        }
    }
}

/// The charges to expect by the schedules as they are.
///
/// With trials, durations of add-ons and discounts, ends, pauses with a day to resume, changes that wait, and the installments of
/// running plans. Each is counted on the local day on which it will be opened; what is overdue, today. Amounts are what will be
/// invoiced, before a customer's credit. Not in it: invoices that are open already and their retries, declines to come, what is
/// parked, paused without a day to resume, or held back while past due.
#[utoipa::path(get, path = "/v1/forecast", tag = "forecast", params(Wanted), responses((status = 200, body = ForecastAnswer)))]
async fn show(State(app): State<Arc<App>>, Query(wanted): Query<Wanted>) -> Result<Json<ForecastAnswer>, Problem> {
    let clock_id = wanted.clock_id;
    let input = ForecastInput { from: wanted.from, to: wanted.to, interval: wanted.interval.unwrap_or_default(), clock_id };
    Ok(Json(ForecastAnswer::of(&forecast::forecast(&app, input).await?, clock_id)))
}
