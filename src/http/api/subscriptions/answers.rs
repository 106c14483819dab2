//! What is shown of a subscription and of the charges to come.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    billing::subscriptions::edit::ChangePreview,
    domain::{
        calendar::{BusinessDay, Zone},
        customer::Metadata,
        frequency::Frequency,
        id::{ClockId, CustomerId, DunningPolicyId, InvoiceId, PaymentMethodId, PlanId, SubscriptionId},
        invoice::{Line, total_of},
        money::Currency,
        plan::{CatchUp, WhilePastDue},
        proration::FirstPeriod,
        subscription::{Change, CycleDue, Rules, Subscription, SubscriptionStatus, Waiting},
    },
    http::api::{catalog::ModifierAnswer, credit_notes::ReductionAnswer},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerRefAnswer {
    #[schema(value_type = String)]
    pub id: CustomerId,
}

/// The days that a charge is for.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodAnswer {
    pub start: NaiveDate,
    /// The first day after the period.
    pub end: NaiveDate,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionAnswer {
    #[schema(value_type = String)]
    id: SubscriptionId,
    status: SubscriptionStatus,
    customer: CustomerRefAnswer,
    #[schema(value_type = Option<String>)]
    plan_id: Option<PlanId>,
    description: String,
    /// For one unit of quantity, minor units.
    amount: i64,
    quantity: i64,
    #[schema(value_type = String)]
    currency: Currency,
    billing_frequency: Frequency,
    billing_cycle_interval: i64,
    billing_days: Option<String>,
    /// The number of charges; 0 = until cancelled.
    duration: i64,
    /// Exclusive.
    ends_on: Option<NaiveDate>,
    trial_ends_on: Option<NaiveDate>,
    #[schema(value_type = String)]
    timezone: Zone,
    first_period: FirstPeriod,
    initial_payment_amount: Option<i64>,
    catch_up: CatchUp,
    while_past_due: WhilePastDue,
    business_day: BusinessDay,
    holiday_calendar: Option<String>,
    /// Null: the customer's default method.
    #[schema(value_type = Option<String>)]
    payment_method_id: Option<PaymentMethodId>,
    /// Null: the default policy.
    #[schema(value_type = Option<String>)]
    dunning_policy_id: Option<DunningPolicyId>,
    authorize_days_before: Option<i64>,
    add_ons: Vec<ModifierAnswer>,
    discounts: Vec<ModifierAnswer>,
    /// What the add-ons come to in the next cycle, minor units.
    total_add_ons: i64,
    /// `total_add_ons` once more, under the name that the seed gateway uses.
    total_adds: i64,
    /// What the discounts come to in the next cycle, minor units.
    total_discounts: i64,
    /// The amount of the next charge, minor units; null if there is none.
    next_amount: Option<i64>,
    next_bill_date: Option<NaiveDate>,
    next_bill_at: Option<DateTime<Utc>>,
    cycles_billed: i64,
    /// What was billed last; null before the first charge.
    period: Option<PeriodAnswer>,
    /// The day on which the pause began.
    paused_on: Option<NaiveDate>,
    /// When a pause, running or planned, ends by itself.
    paused_until: Option<NaiveDate>,
    pause_at_period_end: bool,
    /// Paused with credit: when it is resumed, the days from then to the next charge are charged.
    resume_prorated: bool,
    cancel_at_period_end: bool,
    /// Terms that wait for the next cycle.
    #[schema(value_type = Option<Object>)]
    pending_change: Option<Change>,
    parked_reason: Option<String>,
    cancelled_at: Option<DateTime<Utc>>,
    #[schema(value_type = Object)]
    metadata: Metadata,
    /// The test clock of the customer; null: the wall clock.
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl SubscriptionAnswer {
    pub fn of(subscription: Subscription, rules: &Rules) -> Self {
        let base = subscription.charge().base_minor();
        let total_add_ons = total_of(&subscription.add_ons, base, subscription.next_cycle);
        let coming = if subscription.next_bill_at.is_some() { subscription.upcoming(rules, 1).pop() } else { None };
        Self {
            total_add_ons,
            total_adds: total_add_ons,
            total_discounts: total_of(&subscription.discounts, base, subscription.next_cycle),
            next_amount: coming.map(|cycle| cycle.amount),
            id: subscription.id,
            status: subscription.status,
            customer: CustomerRefAnswer { id: subscription.customer_id },
            plan_id: subscription.plan_id,
            description: subscription.description,
            amount: subscription.amount,
            quantity: subscription.quantity,
            currency: subscription.currency,
            billing_frequency: subscription.billing_frequency,
            billing_cycle_interval: subscription.billing_cycle_interval,
            billing_days: subscription.billing_days,
            duration: subscription.duration,
            ends_on: subscription.ends_on,
            trial_ends_on: subscription.trial_ends_on,
            timezone: subscription.timezone,
            first_period: subscription.first_period,
            initial_payment_amount: subscription.initial_payment_amount,
            catch_up: subscription.catch_up,
            while_past_due: subscription.while_past_due,
            business_day: subscription.business_day,
            holiday_calendar: subscription.holiday_calendar,
            payment_method_id: subscription.payment_method_id,
            dunning_policy_id: subscription.dunning_policy_id,
            authorize_days_before: subscription.authorize_days_before,
            add_ons: subscription.add_ons.into_iter().map(ModifierAnswer::from).collect(),
            discounts: subscription.discounts.into_iter().map(ModifierAnswer::from).collect(),
            next_bill_date: subscription.next_bill_date,
            next_bill_at: subscription.next_bill_at,
            cycles_billed: subscription.cycles_billed,
            period: subscription.period_start.zip(subscription.period_end).map(|(start, end)| PeriodAnswer { start, end }),
            paused_on: subscription.paused_on,
            paused_until: subscription.paused_until,
            pause_at_period_end: subscription.pause_at_period_end,
            resume_prorated: subscription.status == SubscriptionStatus::Paused && subscription.credited_days.is_some(),
            cancel_at_period_end: subscription.cancel_at_period_end,
            pending_change: subscription.pending_change,
            parked_reason: subscription.parked_reason,
            cancelled_at: subscription.cancelled_at,
            metadata: subscription.metadata,
            clock_id: subscription.timeline.clock_id(),
            created_at: subscription.created_at,
            updated_at: subscription.updated_at,
        }
    }
}

/// What an action comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutcomeAnswer {
    effective_date: NaiveDate,
    /// Of what is invoiced now; where terms wait for the next cycle, that cycle's.
    lines: Vec<Line>,
    /// The sum of the lines, minor units, before the customer's credit is used.
    amount: i64,
    /// What goes to the customer's credit, minor units.
    credit: i64,
    /// What reduces invoices that were issued before.
    credit_notes: Vec<ReductionAnswer>,
    /// Invoices that were given up and are collected again.
    #[schema(value_type = Vec<String>)]
    reopened_invoices: Vec<InvoiceId>,
    /// The customer's credit before the action, minor units.
    balance_before: i64,
    /// The customer's credit after the action, minor units.
    balance_after: i64,
    /// What `keep` undoes; other actions have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<Waiting>,
}

/// What an action comes to, or in a preview would come to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeAnswer {
    #[serde(flatten)]
    outcome: OutcomeAnswer,
    /// The next few charges.
    upcoming: Vec<CycleAnswer>,
    subscription: SubscriptionAnswer,
}

impl ChangeAnswer {
    pub fn of(outcome: ChangePreview, rules: &Rules) -> Self {
        let ChangePreview {
            effective_date,
            lines,
            amount,
            credit,
            credit_notes,
            balance,
            reopened,
            upcoming,
            undone,
            subscription,
        } = outcome;
        let (balance_before, balance_after) = balance;
        let outcome = OutcomeAnswer {
            effective_date,
            lines,
            amount,
            credit,
            credit_notes: credit_notes.into_iter().map(ReductionAnswer::from).collect(),
            reopened_invoices: reopened,
            balance_before,
            balance_after,
            undone,
        };
        let upcoming = upcoming.into_iter().map(CycleAnswer::from).collect();
        Self { outcome, upcoming, subscription: SubscriptionAnswer::of(subscription, rules) }
    }
}

/// The subscription after the action, and what the action did, in the figures of its preview.
#[derive(Debug, Serialize, ToSchema)]
pub struct DoneAnswer {
    #[serde(flatten)]
    subscription: SubscriptionAnswer,
    outcome: OutcomeAnswer,
}

/// The subscription after the action; in a preview, as the action would leave it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ActionAnswer {
    Done(Box<DoneAnswer>),
    Preview(Box<ChangeAnswer>),
}

impl ActionAnswer {
    pub fn of(outcome: ChangePreview, preview: bool, rules: &Rules) -> Self {
        let shown = ChangeAnswer::of(outcome, rules);
        if preview {
            return Self::Preview(Box::new(shown));
        }
        let ChangeAnswer { outcome, subscription, .. } = shown;
        Self::Done(Box::new(DoneAnswer { subscription, outcome }))
    }
}

/// Charges to come.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleAnswer {
    data: Vec<CycleAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CycleAnswer {
    /// Null for days charged beside the schedule, after a pause with credit.
    cycle: Option<i64>,
    /// The day of the charge, after any business-day shift.
    bill_date: NaiveDate,
    bill_at: DateTime<Utc>,
    period_start: NaiveDate,
    /// Exclusive.
    period_end: NaiveDate,
    lines: Vec<Line>,
    /// Minor units.
    amount: i64,
}

impl From<CycleDue> for CycleAnswer {
    fn from(due: CycleDue) -> Self {
        let CycleDue { cycle, bill_date, bill_at, period_start, period_end, lines, amount, .. } = due;
        Self { cycle, bill_date, bill_at, period_start, period_end, lines, amount }
    }
}

impl From<Vec<CycleDue>> for ScheduleAnswer {
    fn from(cycles: Vec<CycleDue>) -> Self {
        Self { data: cycles.into_iter().map(CycleAnswer::from).collect() }
    }
}
