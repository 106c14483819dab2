//! What requests about installment plans say.

use chrono::NaiveDate;

use crate::{
    billing::{
        customers::CustomerRef,
        installment_plans::{
            change::PlanPatch,
            create::{DownPayment, PlanInput},
        },
    },
    domain::{
        calendar::{BusinessDay, Zone},
        customer::Metadata,
        frequency::Frequency,
        id::{ClockId, CustomerId, PaymentMethodId},
        installment_plan::{InstallmentPlanStatus, change::Spread, restore::Arrears, shift::MAX_CYCLES, terms::TermUnits},
        money::{Currency, MAX_AMOUNT_MINOR, Percentage},
    },
    input::{Patch, body},
};

body! {
    /// Exactly one of amount and percentage.
    pub struct DownPaymentInput {
        /// Minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Of the total, with at most three decimals; rounded half away from zero.
        pub percentage: Option<Percentage>,
    }
}

body! {
    pub struct PartInput {
        /// Not before today.
        pub date: NaiveDate,
        /// Minor units.
        pub amount: i64 in 1..=MAX_AMOUNT_MINOR,
    }
}

body! {
    /// Either a recurrence with `installments`, `term` or `until`, or a `schedule`.
    pub struct InstallmentPlanInput {
        pub customer: CustomerRef,
        /// The id that another system knows it by; requests may use it in place of ours.
        pub reference: Option<String> line up to 255,
        /// Shown on invoices.
        pub description: Option<String> up to 255,
        /// The total, minor units, down payment included.
        pub amount: i64 in 1..=MAX_AMOUNT_MINOR,
        /// Left out: the customer's.
        pub currency: Option<Currency>,
        /// Part of the total that is due at once: installment number 0.
        pub down_payment: Option<DownPaymentInput>,
        /// How many, besides the down payment.
        pub installments: Option<i64> in 1..=1000,
        /// How long instead of how many: as many installments as whole billing periods fit in.
        pub term: Option<i64> in 1..=1000,
        pub term_units: Option<TermUnits>,
        /// Until when instead of how many: as many installments as have a date up to and with this one.
        pub until: Option<NaiveDate>,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        /// Every how many days, weeks, months … ; 1 if left out.
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Which days: `7` (every 7 days), `1,4` (weekdays), `1,15` or `31` (days of the month; 31 and 0 are its last).
        pub billing_days: Option<String> up to 100,
        /// Left out: today, or after a down payment the next billing day.
        pub first_date: Option<NaiveDate>,
        /// Dates and amounts of every installment, adding up to the amount without the down payment.
        pub schedule: Option<Vec<PartInput>>,
        /// IANA name; left out: the customer's.
        pub timezone: Option<Zone>,
        /// Left out: whatever is the customer's default when it is charged.
        pub payment_method_id: Option<PaymentMethodId>,
        /// Id or reference of what follows a failed payment; left out: whichever is the default then.
        pub dunning_policy_id: Option<String> line up to 255,
        /// Where a charge goes that falls on a weekend or bank holiday.
        pub business_day: Option<BusinessDay>,
        /// A configured calendar of bank holidays.
        pub holiday_calendar: Option<String> line up to 100,
        /// So many failed installments in a row default the plan; 0 = never. Left out: the configured number.
        pub default_after: Option<i64> in 0..=1000,
        pub metadata: Option<Metadata>,
    }
}

body! {
    pub struct InstallmentPlanPatch {
        pub reference: Patch<String> line up to 255,
        /// Shown on invoices.
        pub description: Option<String> up to 255,
        /// Null: the customer's default.
        pub payment_method_id: Patch<PaymentMethodId>,
        /// Id or reference; it holds from the next failure on. Null: whichever is the default then.
        pub dunning_policy_id: Patch<String> line up to 255,
        /// So many failed installments in a row default the plan; 0 = never.
        pub default_after: Option<i64> in 0..=1000,
        /// All of it anew.
        pub metadata: Option<Metadata>,
    }
}

body! {
    pub struct InstallmentPatch {
        /// Not before today.
        pub date: Option<NaiveDate>,
        /// Minor units; the total stays.
        pub amount: Option<i64> in 1..=MAX_AMOUNT_MINOR,
        /// With an amount: `last` lets the last other open installment make up for it, `even` all of them.
        pub spread: Option<Spread>,
        /// Only show what would be.
        pub preview: bool = false,
    }
}

body! {
    pub struct InstallmentAction {
        /// Only show what would be.
        pub preview: bool = false,
    }
}

body! {
    pub struct SkipInstallmentsInput {
        /// How many dates of the plan's frequency all that is to come moves by.
        pub cycles: i64 in 1..=MAX_CYCLES = 1,
        /// Only show what would be.
        pub preview: bool = false,
    }
}

body! {
    pub struct RescheduleInstallmentsInput {
        /// Of the next installment, not before today; the others follow at the plan's frequency or, in a plan of explicit dates, at
        /// the distances they have.
        pub next_date: NaiveDate,
        /// Only show what would be.
        pub preview: bool = false,
    }
}

body! {
    pub struct RestoreInput {
        /// What becomes of what failed, and of what fell due meanwhile: `collect` it now, `spread` it evenly over the installments to
        /// come, or put each at the `end` on a date of its own.
        pub arrears: Arrears = Arrears::default(),
        /// Only show what would be.
        pub preview: bool = false,
    }
}

body! {
    pub struct SplitInput {
        /// Two or more, adding up to the installment.
        pub parts: Vec<PartInput>,
        /// Only show what would be.
        pub preview: bool = false,
    }
}

body! {
    pub struct InstallmentPlanFilters {
        pub customer_id: Option<CustomerId>,
        pub status: Option<InstallmentPlanStatus>,
        pub reference: Option<String> up to 255,
        pub clock_id: Option<ClockId>,
    }
}

pub fn dated(parts: Vec<PartInput>) -> Vec<(NaiveDate, i64)> {
    parts.into_iter().map(|part| (part.date, part.amount)).collect()
}

impl From<InstallmentPlanInput> for PlanInput {
    fn from(new: InstallmentPlanInput) -> Self {
        let down_payment = |told: DownPaymentInput| DownPayment { amount: told.amount, percentage: told.percentage };
        Self {
            customer: new.customer.id,
            reference: new.reference,
            description: new.description,
            amount: new.amount,
            currency: new.currency,
            down_payment: new.down_payment.map(down_payment),
            installments: new.installments,
            term: new.term,
            term_units: new.term_units,
            until: new.until,
            billing_frequency: new.billing_frequency,
            billing_cycle_interval: new.billing_cycle_interval,
            billing_days: new.billing_days,
            first_date: new.first_date,
            schedule: new.schedule.map(dated),
            timezone: new.timezone,
            payment_method_id: new.payment_method_id,
            dunning_policy_id: new.dunning_policy_id,
            business_day: new.business_day,
            holiday_calendar: new.holiday_calendar,
            default_after: new.default_after,
            metadata: new.metadata,
            taken_over: None,
        }
    }
}

impl From<InstallmentPlanPatch> for PlanPatch {
    fn from(patch: InstallmentPlanPatch) -> Self {
        Self {
            reference: patch.reference.change(),
            description: patch.description,
            payment_method_id: patch.payment_method_id.change(),
            dunning_policy_id: patch.dunning_policy_id.change(),
            default_after: patch.default_after,
            metadata: patch.metadata,
        }
    }
}
