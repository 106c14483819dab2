//! From terms to parts: how many, when, how much. Equal parts are rounded down to the minor unit; the last takes the remainder.

use chrono::{Datelike, Months, NaiveDate, TimeDelta};

use super::MAX_INSTALLMENTS;
use crate::domain::{
    calendar::days_between,
    count,
    frequency::{Frequency, Recurrence, Schedule},
    text_enum,
};

text_enum! {
    /// The unit of a term (Partial.ly's `term_units`).
    pub enum TermUnits {
        /// Seven local days each.
        Weeks = "weeks",
        /// Calendar months.
        Months = "months",
        /// Twelve calendar months each.
        Years = "years",
        /// The term is the number of installments itself.
        Payments = "payments",
    }
}

/// How far apart the charges of a recurrence lie: each step has so many charges.
#[derive(Debug, Clone, Copy)]
enum Step {
    Once,
    Days(i64),
    Months(i64),
}

fn step(recurrence: &Recurrence) -> (Step, i64) {
    let interval = i64::from(recurrence.interval());
    let days = || recurrence.billing_days().unwrap_or_default().split(',');
    match recurrence.frequency() {
        Frequency::OneTime => (Step::Once, 1),
        Frequency::Daily => {
            let apart = days().next().and_then(|days| days.trim().parse::<i64>().ok()).unwrap_or(1);
            (Step::Days(interval * apart), 1)
        }
        Frequency::Weekly => (Step::Days(7 * interval), count(days().count())),
        Frequency::TwiceMonthly => (Step::Months(interval), 2),
        Frequency::Monthly => (Step::Months(interval), 1),
        Frequency::Quarterly => (Step::Months(3 * interval), 1),
        Frequency::Yearly => (Step::Months(12 * interval), 1),
    }
}

/// How many installments a term holds: `floor(term / frequency)`. Months are not days, so a term in one and a frequency in the
/// other are compared by the calendar from the first date.
pub fn installments_in(term: i64, units: TermUnits, recurrence: &Recurrence, first_date: NaiveDate) -> i64 {
    let (step, charges) = step(recurrence);
    let after_months =
        |months: i64| u32::try_from(months).ok().and_then(|months| first_date.checked_add_months(Months::new(months)));
    let after_days = |days: i64| TimeDelta::try_days(days).and_then(|days| first_date.checked_add_signed(days));
    let months = match units {
        TermUnits::Payments => return term,
        TermUnits::Weeks => None,
        TermUnits::Months => Some(term),
        TermUnits::Years => Some(12 * term),
    };
    let steps = match (months, step) {
        (_, Step::Once) => 1,
        (Some(months), Step::Months(apart)) => months / apart,
        (None, Step::Days(apart)) => 7 * term / apart,
        (Some(months), Step::Days(apart)) => after_months(months).map_or(i64::MAX, |end| days_between(first_date, end) / apart),
        (None, Step::Months(apart)) => after_days(7 * term).map_or(i64::MAX, |end| whole_months(first_date, end) / apart),
    };
    steps.saturating_mul(charges)
}

fn whole_months(from: NaiveDate, to: NaiveDate) -> i64 {
    let months = i64::from(to.year() - from.year()) * 12 + i64::from(to.month()) - i64::from(from.month());
    let begun = u32::try_from(months).ok().and_then(|months| from.checked_add_months(Months::new(months)));
    if begun.is_some_and(|date| date > to) { months - 1 } else { months }
}

/// The local dates of installments: a recurrence from an anchor on, of which no later date is computed but from the anchor.
#[derive(Debug, Clone)]
pub struct InstallmentDates {
    schedule: Schedule,
    /// The slot of the first installment.
    first: u64,
}

impl InstallmentDates {
    /// The first installment falls on this date, which is the anchor.
    pub fn from_first(recurrence: Recurrence, first_date: NaiveDate) -> Self {
        Self { schedule: Schedule::new(recurrence, first_date), first: 0 }
    }

    /// The first installment falls one step after `today`, on which the down payment is due. Today is the anchor.
    pub fn after_down_payment(recurrence: Recurrence, today: NaiveDate) -> Self {
        let schedule = Schedule::new(recurrence, today);
        let first = u64::from(schedule.date(1).is_some());
        Self { schedule, first }
    }

    /// The local date from which the recurrence is laid.
    pub fn anchor(&self) -> NaiveDate {
        self.schedule.start()
    }

    /// The local date of the first installment.
    pub fn first_date(&self) -> NaiveDate {
        self.schedule.date(self.first).unwrap_or_else(|| self.anchor())
    }

    fn ahead(&self) -> impl Iterator<Item = NaiveDate> {
        let slots = std::iter::successors(Some(self.first), |slot| self.schedule.next_slot(*slot));
        slots.map_while(|slot| self.schedule.date(slot))
    }

    /// The local dates of that many installments. None if the recurrence has fewer dates, or if a plan may not have so many.
    pub fn first_of(&self, count: usize) -> Option<Vec<NaiveDate>> {
        if !(1..=MAX_INSTALLMENTS).contains(&count) {
            return None;
        }
        let dates: Vec<NaiveDate> = self.ahead().take(count).collect();
        (dates.len() == count).then_some(dates)
    }

    /// How many installments have a local date up to and with this one.
    pub fn until(&self, until: NaiveDate) -> i64 {
        let dates = self.ahead().take_while(|date| *date <= until);
        // One date beyond the limit is enough to see that there are too many.
        count(dates.take(MAX_INSTALLMENTS + 1).count())
    }
}

/// An amount in equal parts, minor units; the last part takes the remainder. None if there is not a minor unit for each part.
pub fn equal_parts(amount: i64, count: usize) -> Option<Vec<i64>> {
    let divisor = i64::try_from(count).ok().filter(|count| (1..=amount).contains(count))?;
    let each = amount / divisor;
    let mut parts = vec![each; count];
    if let Some(last) = parts.last_mut() {
        *last += amount - each * divisor;
    }
    Some(parts)
}
