//! A look ahead: the charges of terms that nobody has agreed to yet. Nothing is stored.

use chrono::{NaiveDate, NaiveTime};

use super::{
    App, Result,
    checks::{Checks, ModifierInput, Terms, modifiers},
    subscriptions::subscribe::Start,
};
use crate::domain::{
    calendar::{BusinessDay, Zone},
    frequency::Frequency,
    id::{AddOn, Discount},
    money::Currency,
    proration::FirstPeriod,
    subscription::{CycleDue, Rules, Subscription},
};

/// The most charges that are shown at once.
pub const MAX_PREVIEW: i64 = 1000;

#[derive(Debug, Clone, Default)]
pub struct PreviewInput {
    /// None: today by the wall clock.
    pub start_date: Option<Start>,
    pub description: Option<String>,
    pub amount: Option<i64>,
    pub quantity: Option<i64>,
    pub currency: Option<Currency>,
    pub billing_frequency: Option<Frequency>,
    pub billing_cycle_interval: Option<i64>,
    pub billing_days: Option<String>,
    pub duration: Option<i64>,
    pub ends_on: Option<NaiveDate>,
    pub timezone: Option<Zone>,
    /// Local time of day in place of the configured one.
    pub bill_at: Option<NaiveTime>,
    pub business_day: Option<BusinessDay>,
    pub holiday_calendar: Option<String>,
    pub first_period: Option<FirstPeriod>,
    pub add_ons: Option<Vec<ModifierInput>>,
    pub discounts: Option<Vec<ModifierInput>>,
    pub count: i64,
}

pub async fn preview(app: &App, input: PreviewInput) -> Result<Vec<CycleDue>> {
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
    if input.billing_frequency.is_none() {
        checks.fault("billing_frequency", "is required");
    }
    let mut subscription = Subscription {
        description: input.description.unwrap_or_default(),
        amount: input.amount.unwrap_or(0),
        quantity: input.quantity.unwrap_or(1),
        billing_cycle_interval: input.billing_cycle_interval.unwrap_or(1),
        billing_days: input.billing_days.filter(|_| input.billing_frequency.is_some()),
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
            input.billing_frequency.unwrap_or(Frequency::Monthly),
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
