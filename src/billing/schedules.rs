//! A look ahead: the charges of terms that nobody has agreed to yet. Nothing is stored.

use chrono::{NaiveDate, NaiveTime};

use super::{
    App, Result,
    checks::{Checks, ModifierInput, Terms, modifiers},
    subscriptions::subscribe::Start,
};
use crate::{
    domain::{
        calendar::{BusinessDay, Zone},
        frequency::Frequency,
        id::{AddOn, Discount},
        money::{Currency, MAX_AMOUNT_MINOR},
        proration::FirstPeriod,
        subscription::{CycleDue, Rules, Subscription},
    },
    input::body,
};

/// The most charges that are shown at once.
pub const MAX_PREVIEW: i64 = 1000;

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

pub async fn preview(app: &App, input: SchedulePreviewInput) -> Result<Vec<CycleDue>> {
    let mut checks = Checks::default();
    checks.within("count", input.count, 1..=MAX_PREVIEW);
    let timezone = input.timezone.unwrap_or(Zone(app.config.billing.timezone));
    let now = app.clock.now();
    let start = input.start_date.unwrap_or(Start::At(now)).date(timezone);
    if input.ends_on.is_some_and(|end| end <= start) {
        checks.fault("ends_on", format!("must be after the first bill date, {start}"));
    }
    let add_ons = input.add_ons.unwrap_or_default();
    let discounts = input.discounts.unwrap_or_default();
    let (add_ons, discounts) = if add_ons.is_empty() && discounts.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        // Dropped without a commit.
        let mut tx = app.db.begin().await?;
        let add_ons = modifiers::<AddOn>(&mut tx, &mut checks, "add_ons", &add_ons, &[]).await?;
        (add_ons, modifiers::<Discount>(&mut tx, &mut checks, "discounts", &discounts, &[]).await?)
    };
    let mut subscription = Subscription {
        description: input.description.unwrap_or_default(),
        amount: input.amount.unwrap_or(0),
        quantity: input.quantity.unwrap_or(1),
        billing_cycle_interval: input.billing_cycle_interval.unwrap_or(1),
        billing_days: input.billing_days,
        duration: input.duration.unwrap_or(0),
        ends_on: input.ends_on,
        first_period: input.first_period.unwrap_or_default(),
        business_day: input.business_day.unwrap_or_default(),
        holiday_calendar: input.holiday_calendar,
        add_ons,
        discounts,
        ..Subscription::beginning(
            app.id(),
            app.id(),
            input.currency.unwrap_or(app.config.billing.currency),
            timezone,
            input.billing_frequency,
            start,
            now,
        )
    };
    let days = checks.terms(&Terms::of(&subscription), &app.rules);
    checks.done()?;
    subscription.billing_days = days;
    if let Some(schedule) = subscription.schedule() {
        let slot = subscription.first_period.first_slot(&schedule).and_then(|slot| i64::try_from(slot).ok());
        subscription.next_slot = slot.unwrap_or(i64::MAX);
    }
    let rules = Rules { bill_at: input.bill_at.unwrap_or(app.rules.bill_at), ..app.rules.clone() };
    Ok(subscription.upcoming(&rules, usize::try_from(input.count).unwrap_or(1)))
}
