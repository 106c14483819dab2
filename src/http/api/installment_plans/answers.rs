//! What is shown of an installment plan: its parts, what is paid, pending and owed, and by when it is repaid.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    billing::installment_plans::Overview,
    domain::{
        calendar::{BusinessDay, Zone},
        customer::Metadata,
        frequency::Frequency,
        id::{ClockId, DunningPolicyId, InstallmentPlanId, InvoiceId, PaymentMethodId},
        installment_plan::{Installment, InstallmentPlanStatus, InstallmentStatus},
        money::Currency,
    },
    http::api::subscriptions::answers::CustomerRefAnswer,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct InstallmentAnswer {
    /// 0 is the down payment.
    number: i64,
    date: NaiveDate,
    /// The day of the charge, after any business-day shift.
    due_at: DateTime<Utc>,
    /// Minor units.
    amount: i64,
    status: InstallmentStatus,
    /// True: the installment was due before today and is unpaid.
    late: bool,
    /// Null in a preview, if the invoice is not open yet.
    #[schema(value_type = Option<String>)]
    invoice_id: Option<InvoiceId>,
}

impl InstallmentAnswer {
    fn of(part: Installment, late: bool) -> Self {
        let Installment { number, date, due_at, amount, status, invoice_id, .. } = part;
        Self { number, date, due_at, amount, status, late, invoice_id }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InstallmentPlanAnswer {
    /// Null in a preview.
    #[schema(value_type = Option<String>)]
    id: Option<InstallmentPlanId>,
    reference: Option<String>,
    status: InstallmentPlanStatus,
    customer: CustomerRefAnswer,
    description: String,
    #[schema(value_type = String)]
    currency: Currency,
    /// The total, minor units. All installments together are exactly this.
    amount: i64,
    /// Minor units.
    down_payment: i64,
    /// Null if the plan has explicit dates.
    billing_frequency: Option<Frequency>,
    billing_cycle_interval: Option<i64>,
    billing_days: Option<String>,
    #[schema(value_type = String)]
    timezone: Zone,
    business_day: BusinessDay,
    holiday_calendar: Option<String>,
    /// Null: the customer's default method.
    #[schema(value_type = Option<String>)]
    payment_method_id: Option<PaymentMethodId>,
    /// Null: the default policy.
    #[schema(value_type = Option<String>)]
    dunning_policy_id: Option<DunningPolicyId>,
    /// 0 = never.
    default_after: i64,
    failed_in_a_row: i64,
    installments: Vec<InstallmentAnswer>,
    /// Received, minor units, what was paid elsewhere included; refunds are not taken off.
    paid: i64,
    /// Paid before the plan came here, minor units.
    paid_elsewhere: i64,
    /// Invoiced and not yet received, minor units.
    pending: i64,
    /// Still owed, minor units, what is pending included.
    balance: i64,
    /// Refunds to payment methods and as credit, minor units. Refunds do not raise the balance.
    refunded: i64,
    /// The date of the last open installment; null if none is open.
    repay_by: Option<NaiveDate>,
    /// When the next installment falls due.
    due_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    #[schema(value_type = Object)]
    metadata: Metadata,
    /// The test clock of the customer; null: the wall clock.
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl InstallmentPlanAnswer {
    pub fn of(overview: Overview) -> Self {
        let Overview { schedule, paid, paid_elsewhere, pending, balance, refunded, repay_by, today } = overview;
        let plan = schedule.plan;
        let shown = |part: Installment| {
            let late = part.is_late(today, plan.timezone);
            InstallmentAnswer::of(part, late)
        };
        Self {
            id: Some(plan.id),
            reference: plan.reference,
            status: plan.status,
            customer: CustomerRefAnswer { id: plan.customer_id },
            description: plan.description,
            currency: plan.currency,
            amount: plan.amount,
            down_payment: plan.down_payment,
            billing_frequency: plan.billing_frequency,
            billing_cycle_interval: plan.billing_cycle_interval,
            billing_days: plan.billing_days,
            timezone: plan.timezone,
            business_day: plan.business_day,
            holiday_calendar: plan.holiday_calendar,
            payment_method_id: plan.payment_method_id,
            dunning_policy_id: plan.dunning_policy_id,
            default_after: plan.default_after,
            failed_in_a_row: plan.failed_in_a_row,
            installments: schedule.installments.into_iter().map(shown).collect(),
            paid,
            paid_elsewhere,
            pending,
            balance,
            refunded,
            repay_by,
            due_at: plan.due_at,
            ended_at: plan.ended_at,
            metadata: plan.metadata,
            clock_id: plan.timeline.clock_id(),
            created_at: plan.created_at,
            updated_at: plan.updated_at,
        }
    }

    pub fn of_preview(overview: Overview) -> Self {
        Self { id: None, ..Self::of(overview) }
    }
}
