//! Where a schedule goes on after an edit: from a new anchor, or on its new days. No edit makes a charge for a stub at full price.

use chrono::NaiveDate;

use super::{Rules, Subscription, SubscriptionStatus};
use crate::domain::proration::FirstPeriod;

/// Why the next charge cannot be moved to a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Immovable {
    /// The date lies before this one, which is today.
    #[error("lies before today, {0}")]
    Past(NaiveDate),
    /// The date is not before this end date.
    #[error("must be before ends_on, {0}")]
    AfterEnd(NaiveDate),
    /// Alone, the charge would fall on or after the charge that follows it, which is of this date.
    #[error("must be before the charge after it, {0}")]
    BehindNext(NaiveDate),
}

impl Subscription {
    /// Whether a charge is to come that can be moved. A charge of a parked subscription comes once somebody unparks it.
    pub fn has_movable_charge(&self, rules: &Rules) -> bool {
        self.status == SubscriptionStatus::Parked || !self.upcoming(rules, 1).is_empty()
    }

    /// Whether the next charge may be moved to the local date `date`; see [`Subscription::reschedule`].
    pub fn may_reschedule(&self, date: NaiveDate, keep_anchor: bool, today: NaiveDate, rules: &Rules) -> Result<(), Immovable> {
        if date < today {
            return Err(Immovable::Past(today));
        }
        if let Some(end) = self.ends_on.filter(|&end| date >= end) {
            return Err(Immovable::AfterEnd(end));
        }
        // Behind the charge after it, two cycles would be billed at one instant.
        match self.upcoming(rules, 2).get(1).filter(|after| keep_anchor && date >= after.period_start) {
            Some(after) => Err(Immovable::BehindNext(after.period_start)),
            None => Ok(()),
        }
    }

    /// Moves the next charge to the local date `date`. With `keep_anchor` only this charge moves; otherwise the schedule starts
    /// anew there. A trial ends with the first charge, wherever that charge goes.
    pub fn reschedule(&mut self, date: NaiveDate, keep_anchor: bool, rules: &Rules) {
        if keep_anchor {
            self.moved_to = Some(date);
        } else {
            self.lay_from(date);
        }
        if self.status == SubscriptionStatus::Trialing {
            self.trial_ends_on = Some(date);
        }
        self.refresh(rules);
    }

    /// Lays the schedule anew from this local date, which is charged. Days before the next billing day are a stub. `first_period`
    /// decides: the stub is prorated, or free; a full charge is for more than a stub. A billing day is passed over where it ends a
    /// stub that is free, or that is shorter than half a period.
    pub(super) fn lay_from(&mut self, date: NaiveDate) {
        self.anchor_date = date;
        self.next_slot = 0;
        self.moved_to = None;
        self.passes_first_anchor = false;
        self.passes_first_anchor = self.schedule().is_some_and(|schedule| match self.first_period {
            FirstPeriod::Full => schedule.first_anchor_is_near(),
            FirstPeriod::Free => !schedule.starts_on_anchor(),
            FirstPeriod::Prorated => false,
        });
    }

    /// Goes on with the first billing day on or after this local date, on the days of the schedule as it was laid.
    pub(super) fn go_on_from(&mut self, date: NaiveDate) {
        self.moved_to = None;
        self.passes_first_anchor = false;
        let slot = self.schedule().and_then(|schedule| {
            let slot = schedule.slot_on_or_after(date)?;
            if slot == 0 && !schedule.starts_on_anchor() { schedule.next_slot(0) } else { Some(slot) }
        });
        self.next_slot = slot.and_then(|slot| i64::try_from(slot).ok()).unwrap_or(i64::MAX);
    }
}
