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
        /// Installments are still to come or to be collected.
        Open = "open",
        /// Nothing is owed any more, and something was paid.
        Paid = "paid",
        /// Too many installments failed in a row: the rest is still owed, and no job charges it.
        Defaulted = "defaulted",
        /// Somebody cancelled the plan, or all that was left was written off.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Where an installment stands.
    pub enum InstallmentStatus {
        /// The installment is still to come, and can be changed.
        Scheduled = "scheduled",
        /// The invoice of the installment is open.
        Due = "due",
        /// The invoice of the installment is paid.
        Paid = "paid",
        /// The customer paid before the plan came to rebilld: the amount counts, and is never charged.
        PaidElsewhere = "paid_elsewhere",
        /// The invoice of the installment could not be collected; the amount is still owed.
        Failed = "failed",
        /// Other installments took the amount over when the plan was restored, and the amount counts there.
        Moved = "moved",
        /// The amount is not owed any more.
        Cancelled = "cancelled",
    }
}

impl InstallmentStatus {
    /// Whether the customer still owes the amount.
    pub fn is_owed(self) -> bool {
        matches!(self, Self::Scheduled | Self::Due | Self::Failed)
    }
}

/// A fixed total that a customer pays in dated parts, perhaps after a down payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct InstallmentPlan {
    /// Names the plan.
    pub id: InstallmentPlanId,
    /// The merchant's own id; requests may use this in place of `id`. None means that the merchant gave none.
    pub reference: Option<String>,
    /// Who pays.
    pub customer_id: CustomerId,
    /// The stored method that is charged. None means the customer's default method.
    pub payment_method_id: Option<PaymentMethodId>,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Whether anything is still to come or to be collected.
    pub status: InstallmentPlanStatus,
    /// What the customer reads on each invoice, before the label of the installment.
    pub description: String,
    /// The currency of all amounts of the plan.
    pub currency: Currency,
    /// The total, minor units, with the down payment.
    pub amount: i64,
    /// A part of the total, minor units; 0 = none.
    pub down_payment: i64,
    /// The zone in which dates become instants.
    pub timezone: Zone,
    /// The unit in which the interval is counted. None for a plan of explicit dates.
    pub billing_frequency: Option<Frequency>,
    /// How many units of the frequency lie between two installments. None for a plan of explicit dates.
    pub billing_cycle_interval: Option<i64>,
    /// On which days installments fall, as [`Recurrence::new`] reads them. None means that the anchor says so.
    pub billing_days: Option<String>,
    /// Local date from which the recurrence is laid. None for a plan of explicit dates.
    pub anchor_date: Option<NaiveDate>,
    /// How a charge moves that falls on a weekend or a bank holiday.
    pub business_day: BusinessDay,
    /// Name of a configured calendar of bank holidays. None means that weekends alone count.
    pub holiday_calendar: Option<String>,
    /// What follows a failed payment. None means the default policy.
    pub dunning_policy_id: Option<DunningPolicyId>,
    /// So many failures in a row default the plan; 0 = never.
    pub default_after: i64,
    /// How many installments failed since the last one that was paid.
    pub failed_in_a_row: i64,
    /// The merchant's own values, which no rule reads.
    #[sqlx(json)]
    pub metadata: Metadata,
    /// UTC instant at which the next installment falls due. None means that no installment is scheduled, or that the plan is not
    /// open.
    pub due_at: Option<DateTime<Utc>>,
    /// UTC instant at which the plan was paid, defaulted or cancelled, by the clock of the timeline. None while the plan is open.
    pub ended_at: Option<DateTime<Utc>>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC, by the clock of the timeline.
    pub updated_at: DateTime<Utc>,
}

impl InstallmentPlan {
    /// The local date in the plan's zone at this instant.
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        calendar::local_date(now, self.timezone.0)
    }

    /// UTC instant at which an installment of this local date is charged. A business-day rule moves the charge and never the
    /// date, and not to a day before the plan was made.
    pub fn instant(&self, date: NaiveDate, rules: &Rules) -> DateTime<Utc> {
        let none = Holidays::default();
        let holidays = self.holiday_calendar.as_ref().and_then(|name| rules.holidays.get(name)).unwrap_or(&none);
        let day = self.business_day.shift_from(date, self.today(self.created_at), holidays);
        calendar::instant(day, rules.bill_at, self.timezone.0)
    }

    /// The recurrence that the dates follow. None for a plan of explicit dates.
    pub fn recurrence(&self) -> Option<Recurrence> {
        let interval = u32::try_from(self.billing_cycle_interval.unwrap_or(1)).ok()?;
        Recurrence::new(self.billing_frequency?, interval, self.billing_days.as_deref()).ok()
    }

    /// Whether an operator can still change the plan.
    pub fn is_running(&self) -> bool {
        matches!(self.status, InstallmentPlanStatus::Open | InstallmentPlanStatus::Defaulted)
    }

    /// Closes the plan with this status. `now` is by the clock of the plan's timeline.
    pub fn end(&mut self, status: InstallmentPlanStatus, now: DateTime<Utc>) {
        self.status = status;
        self.due_at = None;
        self.ended_at = Some(now);
        self.updated_at = now;
    }

    /// Counts one more failure. Answers whether this failure defaults the plan.
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

    /// Money came, so failures are counted anew.
    pub fn succeed(&mut self, now: DateTime<Utc>) {
        self.failed_in_a_row = 0;
        self.updated_at = now;
    }

    /// Ends the plan if no installment is owed any more: as paid if any was paid, else as cancelled. Answers whether the plan has
    /// ended now.
    pub fn settle(&mut self, owed: bool, any_paid: bool, now: DateTime<Utc>) -> bool {
        let ends = self.is_running() && !owed;
        if ends {
            // A plan whose installments were all written off was not paid.
            self.end(if any_paid { InstallmentPlanStatus::Paid } else { InstallmentPlanStatus::Cancelled }, now);
        }
        ends
    }

    /// Sets when the plan is next due, from its scheduled installments.
    pub fn refresh<'i>(&mut self, installments: impl IntoIterator<Item = &'i Installment>) {
        let scheduled = installments.into_iter().filter(|part| part.status == InstallmentStatus::Scheduled);
        self.due_at = scheduled.map(|part| part.due_at).min().filter(|_| self.status == InstallmentPlanStatus::Open);
    }
}

/// One dated part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Installment {
    /// The plan's id and the number of the installment, as one text.
    pub id: String,
    /// The plan that the installment is a part of.
    pub installment_plan_id: InstallmentPlanId,
    /// 0 is the down payment. Installments that were split off later have higher numbers than their dates would say.
    pub number: i64,
    /// Local date by the schedule, before any business-day shift.
    pub date: NaiveDate,
    /// UTC instant of the charge, after any business-day shift.
    pub due_at: DateTime<Utc>,
    /// Minor units, more than 0.
    pub amount: i64,
    /// Whether the amount is still owed, and how far its collection has come.
    pub status: InstallmentStatus,
    /// The only invoice that the installment ever has: after a failure the same invoice is collected again. None while the
    /// installment is scheduled.
    pub invoice_id: Option<InvoiceId>,
}

impl Installment {
    /// An installment that is still to come. The amount is in minor units.
    pub fn scheduled(plan: InstallmentPlanId, number: i64, date: NaiveDate, due_at: DateTime<Utc>, amount: i64) -> Self {
        let id = format!("{plan}.{number}");
        let status = InstallmentStatus::Scheduled;
        Self { id, installment_plan_id: plan, number, date, due_at, amount, status, invoice_id: None }
    }

    /// Whether the installment is still owed although its charge was due before `today`, by the plan's zone. A business-day rule
    /// that moved the charge also moves the day from which the installment is late.
    pub fn is_late(&self, today: NaiveDate, zone: Zone) -> bool {
        self.status.is_owed() && calendar::local_date(self.due_at, zone.0) < today
    }

    /// What the customer reads on the invoice about the installment.
    pub fn label(&self) -> String {
        if self.number == 0 { "Down payment".to_owned() } else { format!("Installment {}", self.number) }
    }
}

/// A plan with all of its installments, in order of their numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstallmentSchedule {
    /// The plan itself.
    #[serde(flatten)]
    pub plan: InstallmentPlan,
    /// All installments, whatever their status, in order of their numbers.
    pub installments: Vec<Installment>,
}

/// The sums of a plan's installments by status, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// What is still to come.
    pub scheduled: i64,
    /// What open invoices ask for.
    pub due: i64,
    /// What was paid here.
    pub paid: i64,
    /// What was paid before the plan came to rebilld.
    pub paid_elsewhere: i64,
    /// What could not be collected and is still owed.
    pub failed: i64,
    /// What other installments took over. The sum of the plan leaves this out, since the amounts count there.
    pub moved: i64,
    /// What is not owed any more.
    pub cancelled: i64,
}

/// Installments that break what a plan promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the installments of {plan} do not hold: {what}")]
pub struct Unsound {
    /// The plan that was to have these installments.
    pub plan: InstallmentPlanId,
    /// Which promise is broken, for people.
    pub what: String,
}

impl InstallmentSchedule {
    /// The plan with these parts, numbered from 1 in order, after a down payment that is due now. Parts are local dates with
    /// minor units. Parts that do not add up are an error.
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

    /// Checks the promise: parts of more than nothing, each number once, adding up to the amount of the plan. Cancelled
    /// installments count, since customers see them as not owed any more. Installments that others took over count there.
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

    /// Sets when the plan is next due. Whoever changes installments must call this, or the installments are invoiced at the wrong
    /// time.
    pub fn refresh(&mut self) {
        self.plan.refresh(&self.installments);
    }

    /// The sums of the installments by status.
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

    /// The last local date on which anything is to be paid. None means that nothing is to be paid any more.
    pub fn repay_by(&self) -> Option<NaiveDate> {
        let open = |part: &&Installment| matches!(part.status, InstallmentStatus::Scheduled | InstallmentStatus::Due);
        self.installments.iter().filter(open).map(|part| part.date).max()
    }
}
