//! The stored fields of a subscription, and the value that each field has at the beginning where a request names none.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{BilledDays, Change, SubscriptionStatus, Waiting};
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

/// An agreement to bill again and again, as it is stored. The subscription holds a copy of its terms, which an edit of the plan
/// does not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Subscription {
    /// Names the subscription.
    pub id: SubscriptionId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// The plan that the terms were copied from. None means that the subscription was made without a plan.
    pub plan_id: Option<PlanId>,
    /// The stored method that is charged. None means the customer's default method.
    pub payment_method_id: Option<PaymentMethodId>,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Whether the bill run opens cycles, and if not, why not.
    pub status: SubscriptionStatus,
    /// What the customer reads on each invoice.
    pub description: String,
    /// The currency of every amount of the subscription.
    pub currency: Currency,
    /// Minor units, for one unit of quantity.
    pub amount: i64,
    /// How many units each cycle charges, at least 1.
    pub quantity: i64,
    /// The unit in which the interval is counted.
    pub billing_frequency: Frequency,
    /// How many units of the frequency lie between two cycles, at least 1.
    pub billing_cycle_interval: i64,
    /// On which days cycles begin, as [`Recurrence::new`](crate::domain::frequency::Recurrence::new) reads them. None means that
    /// the anchor says so.
    pub billing_days: Option<String>,
    /// Number of charges, 0 = until cancelled.
    pub duration: i64,
    /// Local date, exclusive: nothing is charged on or after this date. None means that no date ends the subscription.
    pub ends_on: Option<NaiveDate>,
    /// Local date of the first charge after a trial. None means that there was no trial.
    pub trial_ends_on: Option<NaiveDate>,
    /// The zone in which dates become instants.
    pub timezone: Zone,
    /// What is charged for the days before the first anchor.
    pub first_period: FirstPeriod,
    /// What happens with cycles that the bill run missed.
    pub catch_up: CatchUp,
    /// Whether cycles go on opening while an invoice is unpaid after a decline.
    pub while_past_due: WhilePastDue,
    /// How a charge moves that falls on a weekend or a bank holiday.
    pub business_day: BusinessDay,
    /// Name of a configured calendar of bank holidays. None means that weekends alone count.
    pub holiday_calendar: Option<String>,
    /// Minor units, charged once at the beginning, beside the schedule. None means no such charge.
    pub initial_payment_amount: Option<i64>,
    /// How many local days before each bill date the charge is authorized. None means that nothing is authorized early.
    pub authorize_days_before: Option<i64>,
    /// What follows a failed payment. None means the default policy.
    pub dunning_policy_id: Option<DunningPolicyId>,
    /// What raises the charge, in the order of the lines.
    #[sqlx(json)]
    pub add_ons: Vec<Modifier>,
    /// What lowers the charge, in the order of the lines.
    #[sqlx(json)]
    pub discounts: Vec<Modifier>,
    /// The merchant's own values, which no rule reads.
    #[sqlx(json)]
    pub metadata: Metadata,
    /// Local date of slot 0 of the schedule.
    pub anchor_date: NaiveDate,
    /// Whether the first billing day after the anchor is passed over, since an edit laid the schedule from just before it.
    pub passes_first_anchor: bool,
    /// The slot of the schedule in which the next charge stands.
    pub next_slot: i64,
    /// Number of the next cycle; `unique (subscription, cycle)` keeps the cycle from being billed twice.
    pub next_cycle: i64,
    /// How many cycles were charged so far; this number counts toward `duration`.
    pub cycles_billed: i64,
    /// Local date of the next charge, after any business-day shift. None means that no charge is to come.
    pub next_bill_date: Option<NaiveDate>,
    /// UTC instant of the next charge. None means that no charge is to come.
    pub next_bill_at: Option<DateTime<Utc>>,
    /// UTC instant at which billing next has anything to do: charge, resume, end. None means that nothing is planned.
    pub due_at: Option<DateTime<Utc>>,
    /// UTC instant at which the authorization is next looked at: at once after each change, see [`Subscription::refresh`]. None
    /// means not before the next change.
    pub authorize_at: Option<DateTime<Utc>>,
    /// First local day of the period that was billed last. None before the first charge.
    pub period_start: Option<NaiveDate>,
    /// The local day after the last one of the period that was billed last. None before the first charge.
    pub period_end: Option<NaiveDate>,
    /// Local date on which the next charge alone falls instead of its own date. None means that the charge was not moved.
    pub moved_to: Option<NaiveDate>,
    /// Local date on which the pause began. None means that the subscription is not paused.
    pub paused_on: Option<NaiveDate>,
    /// Local date on which a pause, running or planned, ends by itself. None means that somebody must resume the subscription.
    pub paused_until: Option<NaiveDate>,
    /// Whether a pause begins when the billed period ends.
    pub pause_at_period_end: bool,
    /// What a pause with credit gave back of the running period, and what is charged again when the pause ends. None for a pause
    /// without credit.
    #[sqlx(json(nullable))]
    pub credited_days: Option<Vec<BilledDays>>,
    /// Whether the subscription is cancelled when the billed period ends.
    pub cancel_at_period_end: bool,
    /// Local date for which a cancellation or a pause waits, where no billed period says so: the end of a trial or of a skipped
    /// cycle, or the day before the first charge. None means that the billed period says so, or that neither waits.
    pub waits_until: Option<NaiveDate>,
    /// What was last asked for of what waits for the period's end. None means that no more than one thing waits.
    pub scheduled_last: Option<Waiting>,
    /// Terms that take effect when the next cycle opens. None means that no change waits.
    #[sqlx(json(nullable))]
    pub pending_change: Option<Change>,
    /// Why the subscription cannot go on, for an operator. None means that it is not parked.
    pub parked_reason: Option<String>,
    /// UTC instant of the cancellation, by the clock of the timeline. None means that the subscription was not cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC, by the clock of the timeline.
    pub updated_at: DateTime<Utc>,
}

impl Subscription {
    /// A subscription that begins on `anchor_date` and has no other terms yet: one unit of quantity in every unit of the
    /// frequency, for nothing, without an end.
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
            passes_first_anchor: false,
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
            waits_until: None,
            scheduled_last: None,
            pending_change: None,
            parked_reason: None,
            cancelled_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}
