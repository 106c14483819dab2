//! `/v1/schedules/preview`: the charges of terms that nobody has agreed to yet.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{NaiveDate, NaiveTime};
use serde_json::Value;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    catalog::{ModifierBody, modifiers},
    subscriptions::answers::ScheduleAnswer,
};
use crate::{
    billing::{
        App,
        schedules::{self, PreviewInput},
        subscriptions::subscribe::Start,
    },
    domain::{
        calendar::{BusinessDay, Zone},
        frequency::Frequency,
        money::Currency,
        proration::FirstPeriod,
    },
    http::{auth::Caller, body::JsonBody, error::Problem},
    input::{Amount, Faults, Input, Name, Text, Whole, body},
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(preview))
}

/// A local time of day, `HH:MM`.
#[derive(Debug, Clone, Copy)]
pub struct TimeOfDay(NaiveTime);

impl Input for TimeOfDay {
    fn read(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let time = value.as_str().filter(|text| text.len() == 5).and_then(|text| NaiveTime::parse_from_str(text, "%H:%M").ok());
        if time.is_none() {
            faults.push(at, "must be a time of day such as 06:00");
        }
        time.map(Self)
    }

    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).examples(["06:00"]).into()
    }
}

body! {
    pub struct SchedulePreviewInput {
        /// First charge: a date, or an instant as Paysley writes it. Left out: today.
        pub start_date | next_bill_date | payment_start_date: Option<Start>,
        pub description: Option<Text<255>>,
        /// For one unit of quantity, minor units; left out: 0.
        pub amount: Option<Amount>,
        pub quantity: Option<Whole<1, 100_000>>,
        pub currency: Option<Currency>,
        pub billing_frequency | payment_frequency: Frequency,
        pub billing_cycle_interval: Option<Whole<1, 1000>>,
        pub billing_days: Option<Text<100>>,
        /// Number of charges; 0 = no end.
        pub duration | total_number_of_payments: Option<Whole<0, 100_000>>,
        /// Exclusive.
        pub ends_on: Option<NaiveDate>,
        /// IANA name; left out: the configured one.
        pub timezone: Option<Zone>,
        /// Local time of day at which a bill date falls due; left out: the configured one.
        pub bill_at: Option<TimeOfDay>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Option<Name<100>>,
        pub first_period: Option<FirstPeriod>,
        pub add_ons: Option<Vec<ModifierBody>>,
        pub discounts: Option<Vec<ModifierBody>>,
        /// How many charges to show.
        pub count: Whole<1, 1000> = Whole(12),
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
        description: preview.description.map(|text| text.0),
        amount: preview.amount.map(|amount| amount.0),
        quantity: preview.quantity.map(|quantity| quantity.0),
        currency: preview.currency,
        billing_frequency: Some(preview.billing_frequency),
        billing_cycle_interval: preview.billing_cycle_interval.map(|interval| interval.0),
        billing_days: preview.billing_days.map(|text| text.0),
        duration: preview.duration.map(|duration| duration.0),
        ends_on: preview.ends_on,
        timezone: preview.timezone,
        bill_at: preview.bill_at.map(|time| time.0),
        business_day: preview.business_day,
        holiday_calendar: preview.holiday_calendar.map(|name| name.0),
        first_period: preview.first_period,
        add_ons: modifiers(preview.add_ons),
        discounts: modifiers(preview.discounts),
        count: preview.count.0,
    };
    Ok(Json(schedules::preview(&app, input).await?.into()))
}
