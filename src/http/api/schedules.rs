//! `/v1/schedules/preview`: the charges of terms that nobody has agreed to yet.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{NaiveDate, NaiveTime};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::subscriptions::answers::ScheduleAnswer;
use crate::{
    billing::{
        App,
        checks::ModifierInput,
        schedules::{self, PreviewInput},
        subscriptions::subscribe::Start,
    },
    domain::{
        calendar::{BusinessDay, Zone},
        frequency::Frequency,
        money::{Currency, MAX_AMOUNT_MINOR},
        proration::FirstPeriod,
    },
    http::{auth::Caller, body::JsonBody, error::Problem},
    input::body,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(preview))
}

body! {
    pub struct SchedulePreviewInput {
        /// First charge: a date, or an instant as Paysley writes it. Left out: today.
        pub start_date | next_bill_date | payment_start_date: Option<Start>,
        pub description: Option<String> up to 255,
        /// For one unit of quantity, minor units; left out: 0.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        pub quantity: Option<i64> in 1..=100_000,
        pub currency: Option<Currency>,
        pub billing_frequency | payment_frequency: Frequency,
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        pub billing_days: Option<String> up to 100,
        /// Number of charges; 0 = no end.
        pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
        /// Exclusive.
        pub ends_on: Option<NaiveDate>,
        /// IANA name; left out: the configured one.
        pub timezone: Option<Zone>,
        /// Local time of day at which a bill date falls due; left out: the configured one.
        pub bill_at: Option<NaiveTime>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Option<String> line up to 100,
        pub first_period: Option<FirstPeriod>,
        pub add_ons: Option<Vec<ModifierInput>>,
        pub discounts: Option<Vec<ModifierInput>>,
        /// How many charges to show.
        pub count: i64 in 1..=1000 = 12,
    }
}

/// The charges that these terms would bring. Nothing is stored.
#[utoipa::path(post, path = "/v1/schedules/preview", tag = "schedules", request_body = SchedulePreviewInput, responses((status = 200, body = ScheduleAnswer)))]
async fn preview(
    State(app): State<Arc<App>>,
    _: Caller,
    JsonBody(preview): JsonBody<SchedulePreviewInput>,
) -> Result<Json<ScheduleAnswer>, Problem> {
    let input = PreviewInput {
        start_date: preview.start_date,
        description: preview.description,
        amount: preview.amount,
        quantity: preview.quantity,
        currency: preview.currency,
        billing_frequency: Some(preview.billing_frequency),
        billing_cycle_interval: preview.billing_cycle_interval,
        billing_days: preview.billing_days,
        duration: preview.duration,
        ends_on: preview.ends_on,
        timezone: preview.timezone,
        bill_at: preview.bill_at,
        business_day: preview.business_day,
        holiday_calendar: preview.holiday_calendar,
        first_period: preview.first_period,
        add_ons: preview.add_ons,
        discounts: preview.discounts,
        count: preview.count,
    };
    Ok(Json(schedules::preview(&app, input).await?.into()))
}
