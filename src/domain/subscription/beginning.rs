//! A subscription at its beginning: what it is where nothing is said.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Subscription, SubscriptionStatus};
use crate::domain::{
    calendar::{BusinessDay, Zone},
    clock::Timeline,
    customer::Metadata,
    frequency::Frequency,
    id::{CustomerId, SubscriptionId},
    money::Currency,
    plan::{CatchUp, WhilePastDue},
    proration::FirstPeriod,
};

impl Subscription {
    /// One that begins on `anchor_date` and has no other terms yet: every one unit of time, for nothing, without an end.
    pub fn beginning(
        id: SubscriptionId,
        customer_id: CustomerId,
        currency: Currency,
        timezone: Zone,
        billing_frequency: Frequency,
        anchor_date: NaiveDate,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            customer_id,
            plan_id: None,
            payment_method_id: None,
            timeline: Timeline::Wall,
            status: SubscriptionStatus::Active,
            description: String::new(),
            currency,
            amount: 0,
            quantity: 1,
            billing_frequency,
            billing_cycle_interval: 1,
            billing_days: None,
            duration: 0,
            ends_on: None,
            trial_ends_on: None,
            timezone,
            first_period: FirstPeriod::Full,
            catch_up: CatchUp::BillAll,
            while_past_due: WhilePastDue::Bill,
            business_day: BusinessDay::None,
            holiday_calendar: None,
            initial_payment_amount: None,
            authorize_days_before: None,
            dunning_policy_id: None,
            add_ons: Vec::new(),
            discounts: Vec::new(),
            metadata: Metadata::new(),
            anchor_date,
            next_slot: 0,
            next_cycle: 0,
            cycles_billed: 0,
            next_bill_date: None,
            next_bill_at: None,
            due_at: None,
            authorize_at: None,
            period_start: None,
            period_end: None,
            moved_to: None,
            paused_on: None,
            paused_until: None,
            pause_at_period_end: false,
            credited_days: None,
            cancel_at_period_end: false,
            pending_change: None,
            parked_reason: None,
            cancelled_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}
