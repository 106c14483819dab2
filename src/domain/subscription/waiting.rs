//! What waits for the period's end: a cancellation, a pause, new terms. Each can be undone until then, the one that was asked for last
//! first.

use chrono::{Days, NaiveDate};

use super::{Rules, Subscription};
use crate::domain::text_enum;

text_enum! {
    /// What may wait for the period's end.
    pub enum Waiting {
        /// The subscription is cancelled then.
        Cancel = "cancel",
        /// A pause begins then.
        Pause = "pause",
        /// New terms hold from then on.
        Change = "change",
    }
}

impl Subscription {
    /// The local date on which the period ends that `today` lies in: the billed one, or else the trial, the time before the first
    /// charge, or the cycle that was skipped. None where nothing is left to wait for.
    pub fn period_end_on(&self, today: NaiveDate, rules: &Rules) -> Option<NaiveDate> {
        self.running_period(today).map(|period| period.1).or_else(|| self.unbilled_period_end(today, rules))
    }

    fn unbilled_period_end(&self, today: NaiveDate, rules: &Rules) -> Option<NaiveDate> {
        let next = self.next_nominal_date().filter(|_| !self.upcoming(rules, 1).is_empty());
        let made_all = self.duration > 0 && self.cycles_billed >= self.duration;
        // A charge that is due by now, or that a debt holds back, is for the period that runs.
        if made_all || next.is_some_and(|next| next <= today) {
            return None;
        }
        if let Some(end) = self.trial_ends_on.filter(|&end| self.period_end.is_none() && today < end) {
            return Some(end);
        }
        if let (Some(first), None) = (next, self.period_end) {
            // The day before the first charge; where today is that day, there must be time left to undo.
            return first.checked_sub_days(Days::new(1)).filter(|&day| today < day).or(Some(first));
        }
        let around = self.schedule().and_then(|schedule| self.period_around(&schedule, today));
        let ends = [next, around.map(|(_, period)| period.1), self.ends_on];
        ends.into_iter().flatten().filter(|&end| today < end).min()
    }

    /// The local date on which a cancellation or a pause takes effect that waits. None where neither waits.
    pub fn waiting_ends_on(&self) -> Option<NaiveDate> {
        // A change at once may bill another period meanwhile: that one is used up, too.
        self.waits_until.max(self.period_end).filter(|_| self.cancel_at_period_end || self.pause_at_period_end)
    }

    /// Cancels on this date, the end of the period. The caller must call `refresh`.
    pub fn cancel_on(&mut self, end: NaiveDate) {
        self.cancel_at_period_end = true;
        self.wait_for(end, Waiting::Cancel);
    }

    /// Pauses from this date on, the end of the period, until somebody resumes the subscription or `until` comes. The caller must
    /// call `refresh`.
    pub fn pause_on(&mut self, end: NaiveDate, until: Option<NaiveDate>) {
        self.pause_at_period_end = true;
        self.paused_until = until;
        self.wait_for(end, Waiting::Pause);
    }

    fn wait_for(&mut self, end: NaiveDate, what: Waiting) {
        self.waits_until = Some(end).filter(|_| self.period_end != Some(end));
        self.scheduled_last = Some(what);
    }

    /// Undoes what waits for the period's end; of several things, the one that was asked for last. Answers which. None where nothing
    /// waits. The caller must call `refresh`.
    pub fn keep(&mut self) -> Option<Waiting> {
        let waits = |what: &Waiting| match what {
            Waiting::Cancel => self.cancel_at_period_end,
            Waiting::Pause => self.pause_at_period_end,
            Waiting::Change => self.pending_change.is_some(),
        };
        let undone = self.scheduled_last.into_iter().chain(Waiting::ALL.iter().copied()).find(waits)?;
        match undone {
            Waiting::Cancel => self.cancel_at_period_end = false,
            Waiting::Pause => (self.pause_at_period_end, self.paused_until) = (false, None),
            Waiting::Change => self.pending_change = None,
        }
        self.waits_no_more(undone);
        Some(undone)
    }

    /// Forgets when and in which order something was to take effect that waits no more.
    pub(super) fn waits_no_more(&mut self, what: Waiting) {
        if !self.cancel_at_period_end && !self.pause_at_period_end {
            self.waits_until = None;
        }
        self.scheduled_last = self.scheduled_last.filter(|&last| last != what);
    }
}
