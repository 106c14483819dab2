//! Moves all installments to come at once, by whole cycles or to another first date: an operator pauses a plan in this way.

use chrono::{NaiveDate, TimeDelta};

use super::{
    InstallmentSchedule,
    change::{Moment, Refused},
};
use crate::domain::{calendar::days_between, frequency::Schedule};

/// No plan is shifted by more cycles at once.
pub const MAX_CYCLES: i64 = 1000;

impl InstallmentSchedule {
    /// Places of the scheduled installments, by date.
    pub(super) fn scheduled_places(&self) -> Vec<usize> {
        // There is no installment of this number.
        self.others(-1)
    }

    /// Moves every scheduled installment later by so many cycles of the plan's frequency. An installment between two dates of the
    /// recurrence keeps its distance from the earlier date.
    pub fn skip(&mut self, cycles: i64, at: Moment) -> Result<(), Refused> {
        self.shift(at, "cycles", |schedule, dates| {
            let own = schedule.plan.recurrence().zip(schedule.plan.anchor_date);
            let Some((recurrence, anchor)) = own else {
                let message = "the plan has dates of its own and no cycles: reschedule it to a date";
                return Err(Refused::State(message.to_owned()));
            };
            let laid = Schedule::new(recurrence, anchor);
            let later = |&date: &NaiveDate| {
                let (slot, days) = place(&laid, date);
                plus_days(laid.date(slot.checked_add(u64::try_from(cycles).ok()?)?)?, days)
            };
            let shifted: Option<Vec<NaiveDate>> = dates.iter().map(later).collect();
            shifted.ok_or_else(|| Refused::field("cycles", "are more than the plan's frequency has dates"))
        })
    }

    /// Lets the next installment fall on another local date, and the others follow: at the plan's frequency from there, or at
    /// their old distances where the plan has no frequency.
    pub fn reschedule(&mut self, next_date: NaiveDate, at: Moment) -> Result<(), Refused> {
        self.shift(at, "next_date", |schedule, dates| {
            let first = dates[0];
            let own = schedule.plan.recurrence().zip(schedule.plan.anchor_date);
            let later: Option<Vec<NaiveDate>> = match own {
                None => dates.iter().map(|&date| plus_days(next_date, days_between(first, date))).collect(),
                Some((recurrence, anchor)) => {
                    let (before, after) = (Schedule::new(recurrence.clone(), anchor), Schedule::new(recurrence, next_date));
                    let (first_slot, first_days) = place(&before, first);
                    let later = |&date: &NaiveDate| {
                        let (slot, days) = place(&before, date);
                        let days = if slot == first_slot { days - first_days } else { days };
                        plus_days(after.date(slot - first_slot)?, days)
                    };
                    dates.iter().map(later).collect()
                }
            };
            if schedule.plan.anchor_date.is_some() {
                schedule.plan.anchor_date = Some(next_date);
            }
            later.ok_or_else(|| Refused::field("next_date", "leaves no dates for the installments after it"))
        })
    }

    /// Gives the scheduled installments the dates that a function makes of the old ones. The function gets at least one date, and
    /// all dates in order.
    fn shift(
        &mut self,
        at: Moment,
        field: &str,
        dates: impl FnOnce(&mut Self, &[NaiveDate]) -> Result<Vec<NaiveDate>, Refused>,
    ) -> Result<(), Refused> {
        self.running("rescheduled")?;
        self.attempt(|schedule| {
            let places = schedule.scheduled_places();
            if places.is_empty() {
                return Err(Refused::State("nothing of the installment plan is to come".to_owned()));
            }
            let before: Vec<NaiveDate> = places.iter().map(|&i| schedule.installments[i].date).collect();
            let after = dates(schedule, &before)?;
            let today = schedule.plan.today(at.now);
            if let Some(early) = after.iter().find(|date| **date < today) {
                return Err(Refused::field(field, format!("would bring an installment to {early}, before today, {today}")));
            }
            for (place, date) in places.into_iter().zip(after) {
                let due_at = schedule.plan.instant(date, at.rules);
                let part = &mut schedule.installments[place];
                (part.date, part.due_at) = (date, due_at);
            }
            Ok(())
        })
    }
}

/// The slot that a date lies in, and how many days after the beginning of the slot. A date before the first slot counts back from
/// that slot.
fn place(schedule: &Schedule, date: NaiveDate) -> (u64, i64) {
    let slot = match schedule.slot_on_or_after(date) {
        Some(slot) if slot == 0 || schedule.date(slot) == Some(date) => slot,
        Some(slot) => slot - 1,
        None => 0,
    };
    (slot, days_between(schedule.date(slot).unwrap_or(date), date))
}

fn plus_days(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    date.checked_add_signed(TimeDelta::try_days(days)?)
}
