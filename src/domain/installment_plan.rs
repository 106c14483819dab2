//! Installment plans: a fixed total in dated parts. The parts of a plan add up to its amount, whatever is done to them.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{
    calendar::{self, BusinessDay, Holidays, Zone},
    clock::Timeline,
    customer::Metadata,
    frequency::{Frequency, Recurrence},
    id::{CustomerId, DunningPolicyId, InstallmentPlanId, InvoiceId, PaymentMethodId},
    money::Currency,
    subscription::Rules,
    text_enum,
};

pub mod change;
pub mod restore;
pub mod shift;
pub mod terms;
#[cfg(test)]
mod tests;

/// A plan has no more installments than this.
pub const MAX_INSTALLMENTS: usize = 1000;

text_enum! {
    /// Where an installment plan stands.
    pub enum InstallmentPlanStatus {
        Open = "open",
        /// Nothing is owed any more.
        Paid = "paid",
        /// Too many installments failed in a row: what is left is owed still, and nothing is charged by itself.
        Defaulted = "defaulted",
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Where an installment stands.
    pub enum InstallmentStatus {
        /// To come; it can still be changed.
        Scheduled = "scheduled",
        /// Its invoice is open.
        Due = "due",
        Paid = "paid",
        /// Before the plan came here: counted, never charged.
        PaidElsewhere = "paid_elsewhere",
        /// Its invoice could not be collected; it is owed still.
        Failed = "failed",
        /// Others took it over when the plan was restored: owed there, and counted there.
        Moved = "moved",
        /// Not owed any more.
        Cancelled = "cancelled",
    }
}

impl InstallmentStatus {
    pub fn is_owed(self) -> bool {
        matches!(self, Self::Scheduled | Self::Due | Self::Failed)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct InstallmentPlan {
    pub id: InstallmentPlanId,
    /// The merchant's own id; requests may use it in place of `id`.
    pub reference: Option<String>,
    pub customer_id: CustomerId,
    /// None: the customer's default method.
    pub payment_method_id: Option<PaymentMethodId>,
    pub timeline: Timeline,
    pub status: InstallmentPlanStatus,
    pub description: String,
    pub currency: Currency,
    /// The total, minor units, down payment included.
    pub amount: i64,
    /// Part of the total, minor units; 0 = none.
    pub down_payment: i64,
    pub timezone: Zone,
    /// None for a plan of explicit dates.
    pub billing_frequency: Option<Frequency>,
    pub billing_cycle_interval: Option<i64>,
    pub billing_days: Option<String>,
    /// From which the recurrence is laid; None for a plan of explicit dates.
    pub anchor_date: Option<NaiveDate>,
    pub business_day: BusinessDay,
    pub holiday_calendar: Option<String>,
    /// None: the default one.
    pub dunning_policy_id: Option<DunningPolicyId>,
    /// So many failures in a row and the plan is defaulted; 0 = never.
    pub default_after: i64,
    pub failed_in_a_row: i64,
    #[sqlx(json)]
    pub metadata: Metadata,
    /// When the next installment falls due.
    pub due_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl InstallmentPlan {
    /// Local date by the plan's zone.
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        calendar::local_date(now, self.timezone.0)
    }

    /// When an installment of that date is charged: a business-day rule moves the charge, never the date.
    pub fn instant(&self, date: NaiveDate, rules: &Rules) -> DateTime<Utc> {
        let none = Holidays::default();
        let holidays = self.holiday_calendar.as_ref().and_then(|name| rules.holidays.get(name)).unwrap_or(&none);
        calendar::instant(self.business_day.shift(date, holidays), rules.bill_at, self.timezone.0)
    }

    /// What its dates follow; none if they were told one by one.
    pub fn recurrence(&self) -> Option<Recurrence> {
        let interval = u32::try_from(self.billing_cycle_interval.unwrap_or(1)).ok()?;
        Recurrence::new(self.billing_frequency?, interval, self.billing_days.as_deref()).ok()
    }

    /// Whether anything can still be done to it.
    pub fn is_running(&self) -> bool {
        matches!(self.status, InstallmentPlanStatus::Open | InstallmentPlanStatus::Defaulted)
    }

    pub fn end(&mut self, status: InstallmentPlanStatus, now: DateTime<Utc>) {
        self.status = status;
        self.due_at = None;
        self.ended_at = Some(now);
        self.updated_at = now;
    }

    /// One more failure; says whether the plan is defaulted by it.
    pub fn fail(&mut self, now: DateTime<Utc>) -> bool {
        self.failed_in_a_row += 1;
        self.updated_at = now;
        let defaults = self.default_after > 0 && self.failed_in_a_row >= self.default_after;
        let defaulted = defaults && self.status == InstallmentPlanStatus::Open;
        if defaulted {
            self.end(InstallmentPlanStatus::Defaulted, now);
        }
        defaulted
    }

    /// Money came: failures are not in a row any more.
    pub fn succeed(&mut self, now: DateTime<Utc>) {
        self.failed_in_a_row = 0;
        self.updated_at = now;
    }

    /// What follows for the plan when no, or only some, installments are owed any more. Says whether it has ended by that.
    pub fn settle(&mut self, owed: bool, any_paid: bool, now: DateTime<Utc>) -> bool {
        let ends = self.is_running() && !owed;
        if ends {
            // All that was left is written off: that is no payment.
            self.end(if any_paid { InstallmentPlanStatus::Paid } else { InstallmentPlanStatus::Cancelled }, now);
        }
        ends
    }

    /// Sets when it is next due, from its scheduled installments.
    pub fn refresh<'i>(&mut self, installments: impl IntoIterator<Item = &'i Installment>) {
        let scheduled = installments.into_iter().filter(|part| part.status == InstallmentStatus::Scheduled);
        self.due_at = scheduled.map(|part| part.due_at).min().filter(|_| self.status == InstallmentPlanStatus::Open);
    }
}

/// One part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Installment {
    /// The plan's id and the number, as one text.
    pub id: String,
    pub installment_plan_id: InstallmentPlanId,
    /// 0 is the down payment. Those that were split off later have higher numbers than their dates would say.
    pub number: i64,
    pub date: NaiveDate,
    pub due_at: DateTime<Utc>,
    /// Minor units, more than nothing.
    pub amount: i64,
    pub status: InstallmentStatus,
    /// There is never another: one that failed is collected again by the same invoice.
    pub invoice_id: Option<InvoiceId>,
}

impl Installment {
    pub fn scheduled(plan: InstallmentPlanId, number: i64, date: NaiveDate, due_at: DateTime<Utc>, amount: i64) -> Self {
        let id = format!("{plan}.{number}");
        let status = InstallmentStatus::Scheduled;
        Self { id, installment_plan_id: plan, number, date, due_at, amount, status, invoice_id: None }
    }

    /// Owed since before today, by the plan's zone. A charge that a business-day rule moved is late by the day it moved to.
    pub fn is_late(&self, today: NaiveDate, zone: Zone) -> bool {
        self.status.is_owed() && calendar::local_date(self.due_at, zone.0) < today
    }

    /// What its invoice says it is for.
    pub fn label(&self) -> String {
        if self.number == 0 { "Down payment".to_owned() } else { format!("Installment {}", self.number) }
    }
}

/// A plan with all of its installments, by number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstallmentSchedule {
    #[serde(flatten)]
    pub plan: InstallmentPlan,
    pub installments: Vec<Installment>,
}

/// What the installments come to, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub scheduled: i64,
    pub due: i64,
    pub paid: i64,
    pub paid_elsewhere: i64,
    pub failed: i64,
    /// Counted in those that took it over.
    pub moved: i64,
    pub cancelled: i64,
}

/// Installments that are not what a plan promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the installments of {plan} do not hold: {what}")]
pub struct Unsound {
    pub plan: InstallmentPlanId,
    pub what: String,
}

impl InstallmentSchedule {
    /// The plan with these parts, numbered from 1 in order, after a down payment that is due now.
    pub fn new(plan: InstallmentPlan, parts: &[(NaiveDate, i64)], now: DateTime<Utc>, rules: &Rules) -> Result<Self, Unsound> {
        let mut installments = Vec::with_capacity(parts.len() + 1);
        if plan.down_payment > 0 {
            installments.push(Installment::scheduled(plan.id, 0, plan.today(now), now, plan.down_payment));
        }
        let numbered = (1..).zip(parts);
        installments.extend(
            numbered.map(|(number, &(date, amount))| {
                Installment::scheduled(plan.id, number, date, plan.instant(date, rules), amount)
            }),
        );
        let mut schedule = Self { plan, installments };
        schedule.check()?;
        schedule.refresh();
        Ok(schedule)
    }

    /// The promise: parts of more than nothing, each number once, adding up to the amount. Those that are cancelled count, since
    /// they are shown as what is not owed any more; those that others took over count there.
    pub fn check(&self) -> Result<(), Unsound> {
        let unsound = |what: String| Unsound { plan: self.plan.id, what };
        let counting = self.installments.iter().filter(|part| part.status != InstallmentStatus::Moved);
        let sum: i128 = counting.map(|part| i128::from(part.amount)).sum();
        if sum != i128::from(self.plan.amount) {
            return Err(unsound(format!("they come to {sum} instead of {}", self.plan.amount)));
        }
        if let Some(part) = self.installments.iter().find(|part| part.amount <= 0) {
            return Err(unsound(format!("number {} is {}", part.number, part.amount)));
        }
        if !self.installments.is_sorted_by(|a, b| a.number < b.number) {
            return Err(unsound("a number is there twice".to_owned()));
        }
        let down: i64 = self.installments.iter().filter(|part| part.number == 0).map(|part| part.amount).sum();
        if down != self.plan.down_payment {
            return Err(unsound(format!("the down payment is {down} instead of {}", self.plan.down_payment)));
        }
        if self.installments.len() > MAX_INSTALLMENTS + 1 {
            return Err(unsound(format!("there are more than {MAX_INSTALLMENTS}")));
        }
        Ok(())
    }

    pub fn refresh(&mut self) {
        self.plan.refresh(&self.installments);
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for part in &self.installments {
            let slot = match part.status {
                InstallmentStatus::Scheduled => &mut totals.scheduled,
                InstallmentStatus::Due => &mut totals.due,
                InstallmentStatus::Paid => &mut totals.paid,
                InstallmentStatus::PaidElsewhere => &mut totals.paid_elsewhere,
                InstallmentStatus::Failed => &mut totals.failed,
                InstallmentStatus::Moved => &mut totals.moved,
                InstallmentStatus::Cancelled => &mut totals.cancelled,
            };
            *slot += part.amount;
        }
        totals
    }

    /// The last date on which anything is to be paid.
    pub fn repay_by(&self) -> Option<NaiveDate> {
        let open = |part: &&Installment| matches!(part.status, InstallmentStatus::Scheduled | InstallmentStatus::Due);
        self.installments.iter().filter(open).map(|part| part.date).max()
    }
}
