//! What is stored of a subscription, and what each field is at its beginning where nothing is said.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{BilledDays, Change, SubscriptionStatus};
use crate::domain::{
    calendar::{BusinessDay, Zone},
    clock::Timeline,
    customer::Metadata,
    frequency::Frequency,
    id::{CustomerId, DunningPolicyId, PaymentMethodId, PlanId, SubscriptionId},
    invoice::Modifier,
    money::Currency,
    plan::{CatchUp, WhilePastDue},
    proration::FirstPeriod,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub customer_id: CustomerId,
    pub plan_id: Option<PlanId>,
    /// None: the customer's default method.
    pub payment_method_id: Option<PaymentMethodId>,
    pub timeline: Timeline,
    pub status: SubscriptionStatus,
    pub description: String,
    pub currency: Currency,
    /// Minor units, for one unit of quantity.
    pub amount: i64,
    pub quantity: i64,
    pub billing_frequency: Frequency,
    pub billing_cycle_interval: i64,
    pub billing_days: Option<String>,
    /// Number of charges, 0 = until cancelled.
    pub duration: i64,
    /// Exclusive: nothing is charged on or after it.
    pub ends_on: Option<NaiveDate>,
    pub trial_ends_on: Option<NaiveDate>,
    pub timezone: Zone,
    pub first_period: FirstPeriod,
    pub catch_up: CatchUp,
    pub while_past_due: WhilePastDue,
    pub business_day: BusinessDay,
    pub holiday_calendar: Option<String>,
    pub initial_payment_amount: Option<i64>,
    pub authorize_days_before: Option<i64>,
    /// None: the default one.
    pub dunning_policy_id: Option<DunningPolicyId>,
    #[sqlx(json)]
    pub add_ons: Vec<Modifier>,
    #[sqlx(json)]
    pub discounts: Vec<Modifier>,
    #[sqlx(json)]
    pub metadata: Metadata,
    /// Slot 0 of the schedule.
    pub anchor_date: NaiveDate,
    /// Where in the schedule the next charge stands.
    pub next_slot: i64,
    /// Number of the next cycle; `unique (subscription, cycle)` keeps it from being billed twice.
    pub next_cycle: i64,
    /// Counts toward `duration`.
    pub cycles_billed: i64,
    /// The date and instant of the next charge; none when there is none to come.
    pub next_bill_date: Option<NaiveDate>,
    pub next_bill_at: Option<DateTime<Utc>>,
    /// When billing next has anything to do: charge, resume, end.
    pub due_at: Option<DateTime<Utc>>,
    /// When there is next something to do about its authorization: at once after each change, see [`Subscription::refresh`].
    pub authorize_at: Option<DateTime<Utc>>,
    /// The period that was billed last, half-open.
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    /// The next charge alone falls on this date instead of its own.
    pub moved_to: Option<NaiveDate>,
    /// The day on which it was paused, while it is.
    pub paused_on: Option<NaiveDate>,
    /// The day on which a pause, running or planned, ends by itself.
    pub paused_until: Option<NaiveDate>,
    pub pause_at_period_end: bool,
    /// What a pause with credit gave back of the running period, charged again when it ends. None for a pause without credit.
    #[sqlx(json(nullable))]
    pub credited_days: Option<Vec<BilledDays>>,
    pub cancel_at_period_end: bool,
    /// Applied when the next cycle opens.
    #[sqlx(json(nullable))]
    pub pending_change: Option<Change>,
    pub parked_reason: Option<String>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

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
