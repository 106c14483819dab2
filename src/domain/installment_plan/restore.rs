//! A defaulted plan goes on. The failed amounts are collected now, spread over the installments to come, or put at the end.

use chrono::NaiveDate;

use super::{
    InstallmentPlanStatus, InstallmentSchedule, InstallmentStatus,
    change::{Moment, Refused},
    terms::equal_parts,
};
use crate::domain::{
    frequency::{Frequency, Recurrence, Schedule},
    text_enum,
};

text_enum! {
    /// What becomes of the arrears when a plan is restored: the installments that failed, and those that fell due while nothing
    /// was charged.
    #[derive(Default)]
    pub enum Arrears {
        /// The arrears are charged now.
        #[default]
        Collect = "collect",
        /// The installments to come take the arrears evenly; the last takes the remainder.
        Spread = "spread",
        /// Each installment behind gets a date of its own after the last one, at the plan's frequency.
        End = "end",
    }
}

impl InstallmentSchedule {
    /// Opens a defaulted plan again, and counts failures in a row anew. With [`Arrears::Collect`] the caller collects the
    /// invoices of the arrears. Otherwise the caller voids these invoices, whose installments are [`InstallmentStatus::Moved`]
    /// now.
    pub fn restore(&mut self, arrears: Arrears, at: Moment) -> Result<(), Refused> {
        if self.plan.status != InstallmentPlanStatus::Defaulted {
            let message = format!("the installment plan is {}: only a defaulted one can be restored", self.plan.status);
            return Err(Refused::State(message));
        }
        self.attempt(|schedule| {
            match arrears {
                Arrears::Collect => {}
                Arrears::Spread => schedule.spread(at)?,
                Arrears::End => schedule.put_at_end(at)?,
            }
            schedule.plan.status = InstallmentPlanStatus::Open;
            schedule.plan.failed_in_a_row = 0;
            schedule.plan.ended_at = None;
            schedule.plan.updated_at = at.now;
            Ok(())
        })
    }

    /// Places of the installments that are behind, in order of their dates.
    fn arrears(&self, at: Moment) -> Vec<usize> {
        let behind = |&i: &usize| {
            let part = &self.installments[i];
            part.status == InstallmentStatus::Failed || part.status == InstallmentStatus::Scheduled && part.due_at <= at.now
        };
        let mut places: Vec<usize> = (0..self.installments.len()).filter(behind).collect();
        places.sort_by_key(|&i| (self.installments[i].date, self.installments[i].number));
        places
    }

    fn spread(&mut self, at: Moment) -> Result<(), Refused> {
        let arrears = self.arrears(at);
        let mut to_come = self.scheduled_places();
        to_come.retain(|place| !arrears.contains(place));
        let sum: i64 = arrears.iter().map(|&i| self.installments[i].amount).sum();
        if arrears.is_empty() {
            return Ok(());
        }
        let Some(&last) = to_come.last() else {
            let message = "cannot be spread: no installment is to come that could take it";
            return Err(Refused::field("arrears", message));
        };
        // Where there is not a minor unit for each, the last takes the whole sum.
        let shares = equal_parts(sum, to_come.len()).unwrap_or_default();
        if shares.is_empty() {
            self.installments[last].amount += sum;
        }
        for (&place, share) in to_come.iter().zip(shares) {
            self.installments[place].amount += share;
        }
        for place in arrears {
            self.installments[place].status = InstallmentStatus::Moved;
        }
        Ok(())
    }

    fn put_at_end(&mut self, at: Moment) -> Result<(), Refused> {
        let arrears = self.arrears(at);
        let Some(dates) = self.dates_after_the_last(arrears.len(), at) else {
            return Err(Refused::field("arrears", "cannot be put at the end: no dates are left there"));
        };
        let mut appended = Vec::new();
        for (place, date) in arrears.into_iter().zip(dates) {
            let due_at = self.plan.instant(date, at.rules);
            let part = &mut self.installments[place];
            if part.status == InstallmentStatus::Failed {
                // The installment of this number has had its invoice.
                part.status = InstallmentStatus::Moved;
                appended.push((date, part.amount));
            } else {
                (part.date, part.due_at) = (date, due_at);
            }
        }
        self.append(&appended, at.rules);
        Ok(())
    }

    /// So many dates after everything that is to come, by the plan's own recurrence. A plan without a recurrence, or of one
    /// charge only, goes on by the month.
    fn dates_after_the_last(&self, count: usize, at: Moment) -> Option<Vec<NaiveDate>> {
        let today = self.plan.today(at.now);
        let open = |status| matches!(status, InstallmentStatus::Scheduled | InstallmentStatus::Due);
        let last = self.installments.iter().filter(|part| open(part.status)).map(|part| part.date).max();
        let last = last.map_or(today, |last| last.max(today));
        let own = self.plan.recurrence().filter(|own| own.frequency() != Frequency::OneTime).zip(self.plan.anchor_date);
        let schedule = match own {
            Some((recurrence, anchor)) => Schedule::new(recurrence, anchor),
            None => Schedule::new(Recurrence::new(Frequency::Monthly, 1, None).ok()?, last),
        };
        let first = schedule.slot_on_or_after(last.succ_opt()?)?;
        let slots = std::iter::successors(Some(first), |slot| schedule.next_slot(*slot));
        let dates: Vec<NaiveDate> = slots.map_while(|slot| schedule.date(slot)).take(count).collect();
        (dates.len() == count).then_some(dates)
    }
}
