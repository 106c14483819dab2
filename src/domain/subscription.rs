//! A subscription: its terms, where it stands in its schedule, and the cycles that are due. The one place that decides what is
//! billed when; the schedule preview and the bill run are the same code.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Serialize;

use super::{
    calendar::{self, BusinessDay, Holidays},
    frequency::{BadRecurrence, Recurrence, Schedule},
    invoice::{ChargeTerms, Line, price, subtotal},
    plan::{CatchUp, WhilePastDue},
    proration::{FirstPeriod, Share, used},
    text_enum,
};

mod anchor;
pub mod billed;
pub mod change;
mod pause;
mod record;
#[cfg(test)]
mod tests;
mod waiting;

pub use anchor::Immovable;
pub use billed::{BilledDays, UnusedDays};
pub use change::Change;
pub use record::Subscription;
pub use waiting::Waiting;

text_enum! {
    /// When a change, a pause or a cancellation takes effect.
    pub enum When {
        /// The change takes effect at once, in the middle of a paid period if one is running.
        Now = "now",
        /// The change waits until the paid period ends.
        PeriodEnd = "period_end",
    }
}

text_enum! {
    /// From when on a subscription that is taken up again is billed.
    #[derive(Default)]
    pub enum ReactivateFrom {
        /// The days up to the next charge are billed today.
        Now = "now",
        /// The days up to the next charge are free.
        #[default]
        NextBillDate = "next_bill_date",
    }
}

text_enum! {
    /// What becomes of the debt of a subscription that is taken up again.
    #[derive(Default)]
    pub enum CollectDebt {
        /// Invoices that were given up are collected now.
        Open = "open",
        /// Invoices that were given up stay so.
        #[default]
        None = "none",
    }
}

text_enum! {
    /// Where a subscription stands.
    pub enum SubscriptionStatus {
        /// The first charge is still to come, after a trial.
        Trialing = "trialing",
        /// The bill run opens cycles as they fall due, and no declined invoice is unpaid.
        Active = "active",
        /// An invoice was declined and is not paid yet.
        PastDue = "past_due",
        /// No cycle opens until somebody resumes the subscription or `paused_until` comes.
        Paused = "paused",
        /// The subscription cannot go on without an operator; `parked_reason` says why.
        Parked = "parked",
        /// The subscription has made its last charge, or has reached its end date.
        Completed = "completed",
        /// An operator, a dunning policy or an issuer has ended the subscription.
        Cancelled = "cancelled",
    }
}

impl SubscriptionStatus {
    /// Whether the subscription never bills again.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }
}

/// What billing needs to know besides the subscription.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Local time of day at which a bill date becomes an instant.
    pub bill_at: NaiveTime,
    /// Bank holidays by the name of their calendar. A name that is missing here stands for a calendar without bank holidays.
    pub holidays: BTreeMap<String, Holidays>,
    /// A subscription that has missed more cycles than this is parked.
    pub catch_up_limit: i64,
}

/// One charge of a schedule, which is due now or later.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CycleDue {
    /// Number of the cycle, from 0. None for days that are charged beside the schedule, after a pause with credit.
    pub cycle: Option<i64>,
    /// The local date of the charge, after any business-day shift.
    pub bill_date: NaiveDate,
    /// The UTC instant of the charge: the bill date at [`Rules::bill_at`] in the subscription's zone.
    pub bill_at: DateTime<Utc>,
    /// First local day that the charge pays for.
    pub period_start: NaiveDate,
    /// The local day after the last one that the charge pays for.
    pub period_end: NaiveDate,
    /// What the customer reads on the invoice.
    pub description: String,
    /// What the charge is made of, in the order of the invoice.
    pub lines: Vec<Line>,
    /// The sum of the lines, minor units; never negative.
    pub amount: i64,
}

/// What the bill run did with a subscription, besides opening cycles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleEvent {
    /// A pause that was planned for the period's end began.
    Paused,
    /// A pause ended on the day that was set for its end.
    Resumed,
    /// Terms that waited for the next cycle took effect.
    ChangeApplied,
    /// The catch-up policy passed over so many missed cycles.
    Skipped(i64),
    /// The subscription was parked, for this reason.
    Parked(String),
    /// A cancellation that was planned for the period's end took effect.
    Cancelled,
    /// The end date was reached.
    Completed,
}

impl Subscription {
    /// What frequency, interval and billing days say together. Stored terms that are no recurrence are an error, which names the
    /// field.
    pub fn recurrence(&self) -> Result<Recurrence, BadRecurrence> {
        let interval = u32::try_from(self.billing_cycle_interval).unwrap_or(0);
        Recurrence::new(self.billing_frequency, interval, self.billing_days.as_deref())
    }

    /// The schedule from the anchor on. None only if the stored terms are not valid, which no request can bring about.
    pub fn schedule(&self) -> Option<Schedule> {
        let schedule = Schedule::new(self.recurrence().ok()?, self.anchor_date);
        Some(if self.passes_first_anchor { schedule.without_first_anchor() } else { schedule })
    }

    /// The terms that a cycle is priced from.
    pub fn charge(&self) -> ChargeTerms<'_> {
        ChargeTerms {
            description: &self.description,
            amount_minor: self.amount,
            quantity: self.quantity,
            add_ons: &self.add_ons,
            discounts: &self.discounts,
        }
    }

    /// The local date in the subscription's zone at this instant.
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        calendar::local_date(now, self.timezone.0)
    }

    fn instant(&self, date: NaiveDate, rules: &Rules) -> DateTime<Utc> {
        calendar::instant(date, rules.bill_at, self.timezone.0)
    }

    /// The charge that the schedule asks for next, whatever the status is; a pending change is not applied.
    fn peek(&self, schedule: &Schedule, rules: &Rules) -> Option<CycleDue> {
        if self.duration > 0 && self.cycles_billed >= self.duration {
            return None;
        }
        let slot = u64::try_from(self.next_slot).ok()?;
        let date = self.moved_to.or_else(|| schedule.date(slot))?;
        let nominal = schedule.period(slot)?;
        // A charge that was moved ahead of the end date is still for days after that date.
        if self.ends_on.is_some_and(|end| date >= end || nominal.0 >= end) {
            return None;
        }
        // Where the first period is free, billing begins after slot 0. A charge in slot 0 is there because somebody moved the
        // charge.
        let first_period = if self.first_period == FirstPeriod::Free { FirstPeriod::Full } else { self.first_period };
        let mut share = first_period.share(schedule, slot);
        let mut period_end = nominal.1;
        if let Some(end) = self.ends_on.filter(|&end| end < nominal.1) {
            let cut = used(nominal, end);
            // A stub cut at both ends: days used of the nominal period that the stub's share is counted in.
            share = if share.is_whole() { cut } else { Share::new(share.days - (cut.of - cut.days), share.of) };
            period_end = end;
        }
        let none = Holidays::default();
        let holidays = self.holiday_calendar.as_ref().and_then(|name| rules.holidays.get(name)).unwrap_or(&none);
        let bill_date = match self.business_day {
            BusinessDay::None => date,
            // Neither within a trial nor before somebody subscribed, whatever the rule says.
            rule => {
                rule.shift_from(date, self.today(self.created_at).max(self.trial_ends_on.unwrap_or(NaiveDate::MIN)), holidays)
            }
        };
        let lines = price(&self.charge(), self.next_cycle, share);
        let amount = subtotal(&lines);
        Some(CycleDue {
            cycle: Some(self.next_cycle),
            bill_date,
            bill_at: self.instant(bill_date, rules),
            period_start: nominal.0,
            period_end,
            description: self.description.clone(),
            lines,
            amount,
        })
    }

    /// Passes over the next slot of the schedule.
    fn pass(&mut self, schedule: &Schedule) {
        self.moved_to = None;
        let slot = u64::try_from(self.next_slot).unwrap_or(0);
        self.next_slot = schedule.next_slot(slot).map_or(i64::MAX, |next| i64::try_from(next).unwrap_or(i64::MAX));
    }

    fn open(&mut self, cycle: &CycleDue, schedule: &Schedule) {
        self.pass(schedule);
        self.next_cycle += 1;
        self.cycles_billed += 1;
        self.period_start = Some(cycle.period_start);
        self.period_end = Some(cycle.period_end);
        if self.status == SubscriptionStatus::Trialing {
            self.status = SubscriptionStatus::Active;
        }
    }

    /// The first charges that are to come, at most `count` of them; see [`Subscription::ahead`].
    pub fn upcoming(&self, rules: &Rules, count: usize) -> Vec<CycleDue> {
        self.ahead(rules).take(count).collect()
    }

    /// The charges to come, as the bill run would open them if it missed none. A subscription without an end has no last one.
    pub fn ahead<'r>(&self, rules: &'r Rules) -> Ahead<'r> {
        let mut subscription = self.clone();
        let pauses = self.status == SubscriptionStatus::Paused || self.pause_at_period_end;
        let mut first = None;
        match self.paused_until {
            _ if self.status.is_ended() || self.cancel_at_period_end => {
                return Ahead { subscription, first, schedule: None, rules };
            }
            None if pauses => return Ahead { subscription, first, schedule: None, rules },
            Some(until) if pauses => {
                if let (true, Some(end)) = (self.pause_at_period_end, self.waiting_ends_on()) {
                    subscription.pause(end, Some(until));
                }
                first = subscription.resume(until, rules);
            }
            _ => {}
        }
        subscription.apply_pending_change(rules);
        let schedule = subscription.schedule();
        Ahead { subscription, first, schedule, rules }
    }

    /// Does everything that is due by `now`: resumes, ends, applies a pending change, and opens the cycles that the catch-up
    /// policy allows. A second run at the same instant does nothing.
    pub fn run(&mut self, now: DateTime<Utc>, rules: &Rules) -> (Vec<CycleDue>, Vec<ScheduleEvent>) {
        self.run_owing(now, rules, false)
    }

    /// Like [`Self::run`], for a caller that knows whether the subscription owes money (`owing`: an invoice was declined and is
    /// unpaid). The debt matters only when a pause ends.
    pub fn run_owing(&mut self, now: DateTime<Utc>, rules: &Rules, owing: bool) -> (Vec<CycleDue>, Vec<ScheduleEvent>) {
        let mut turns = Vec::new();
        let mut cycles = Vec::new();
        if self.due_at.is_none_or(|due| due > now) {
            return (cycles, turns);
        }
        if self.pause_at_period_end {
            self.pause(self.waiting_ends_on().unwrap_or_else(|| self.today(now)), self.paused_until);
            turns.push(ScheduleEvent::Paused);
        }
        if self.status == SubscriptionStatus::Paused {
            // The pause ends on the day that was set, however late the run is: the catch-up policy decides about cycles missed
            // since.
            let Some(until) = self.paused_until.filter(|&until| self.instant(until, rules) <= now) else {
                self.refresh(rules);
                return (cycles, turns);
            };
            cycles.extend(self.resume(until, rules));
            turns.push(ScheduleEvent::Resumed);
            if owing {
                self.status = SubscriptionStatus::PastDue;
                if self.while_past_due == WhilePastDue::Hold {
                    self.refresh(rules);
                    return (cycles, turns);
                }
            }
        } else if self.cancel_at_period_end {
            self.end(SubscriptionStatus::Cancelled, now);
            return (cycles, vec![ScheduleEvent::Cancelled]);
        }
        let due = |sub: &Self, schedule: &Schedule| sub.peek(schedule, rules).filter(|cycle| cycle.bill_at <= now);
        let mut changed = self.clone();
        if changed.apply_pending_change(rules) {
            // The new terms may put the next charge on another day.
            if changed.schedule().is_some_and(|schedule| due(&changed, &schedule).is_none()) {
                self.close(now, rules, &mut turns);
                return (cycles, turns);
            }
            *self = changed;
            turns.push(ScheduleEvent::ChangeApplied);
        }
        let Some(schedule) = self.schedule() else {
            let reason = "its billing terms are not valid".to_owned();
            self.park(reason.clone());
            turns.push(ScheduleEvent::Parked(reason));
            return (cycles, turns);
        };

        // A cycle was missed when the one after it is due as well.
        let mut ahead = self.clone();
        let mut due_count = 0;
        while due_count <= rules.catch_up_limit + 1
            && let Some(cycle) = due(&ahead, &schedule)
        {
            ahead.open(&cycle, &schedule);
            due_count += 1;
        }
        if due_count - 1 > rules.catch_up_limit {
            let reason = format!("more than {} cycles were missed: unpark it and say what to bill", rules.catch_up_limit);
            self.park(reason.clone());
            turns.push(ScheduleEvent::Parked(reason));
            return (cycles, turns);
        }
        let skipped = match self.catch_up {
            _ if due_count <= 1 => 0,
            CatchUp::BillAll => 0,
            CatchUp::BillCurrent => due_count - 1,
            CatchUp::Skip => due_count,
        };
        self.catch_up_now(now, rules, &schedule, skipped, &mut cycles);
        if skipped > 0 {
            turns.push(ScheduleEvent::Skipped(skipped));
        }
        self.close(now, rules, &mut turns);
        (cycles, turns)
    }

    fn close(&mut self, now: DateTime<Utc>, rules: &Rules, turns: &mut Vec<ScheduleEvent>) {
        self.refresh(rules);
        if self.due_at.is_some_and(|due| due <= now) {
            // An end date that was reached is the only thing that can be left to do.
            self.end(SubscriptionStatus::Completed, now);
            turns.push(ScheduleEvent::Completed);
        }
    }

    /// Passes over `skipped` due slots and opens the rest.
    fn catch_up_now(&mut self, now: DateTime<Utc>, rules: &Rules, schedule: &Schedule, skipped: i64, cycles: &mut Vec<CycleDue>) {
        for _ in 0..skipped {
            self.pass(schedule);
        }
        while let Some(cycle) = self.peek(schedule, rules).filter(|cycle| cycle.bill_at <= now) {
            self.open(&cycle, schedule);
            cycles.push(cycle);
        }
    }

    /// Goes on after an operator has looked. `bill` says what becomes of the cycles that are due by now; the limit does not
    /// apply.
    pub fn unpark(&mut self, now: DateTime<Utc>, rules: &Rules, bill: CatchUp) -> Vec<CycleDue> {
        self.status = SubscriptionStatus::Active;
        self.parked_reason = None;
        let mut cycles = Vec::new();
        if let Some(schedule) = self.schedule() {
            let mut ahead = self.clone();
            let mut due_count = 0;
            while let Some(cycle) = ahead.peek(&schedule, rules).filter(|cycle| cycle.bill_at <= now) {
                ahead.open(&cycle, &schedule);
                due_count += 1;
            }
            let skipped = match bill {
                CatchUp::BillAll => 0,
                CatchUp::BillCurrent => (due_count - 1).max(0),
                CatchUp::Skip => due_count,
            };
            self.catch_up_now(now, rules, &schedule, skipped, &mut cycles);
        }
        self.refresh(rules);
        cycles
    }

    /// Derives `next_bill_date`, `next_bill_at` and `due_at`. Whoever changes terms or status must call this, or the bill run
    /// looks at the wrong time.
    pub fn refresh(&mut self, rules: &Rules) {
        let stopped = self.status.is_ended() || self.status == SubscriptionStatus::Parked;
        let next = if stopped { None } else { self.upcoming(rules, 1).pop() };
        self.next_bill_date = next.as_ref().map(|cycle| cycle.bill_date);
        self.next_bill_at = next.as_ref().map(|cycle| cycle.bill_at);
        // After any change an authorization may hold the wrong amount, so the authorization is looked at next.
        self.authorize_at = self.authorize_days_before.map(|_| self.updated_at);
        let ends_on = self.pending_change.as_ref().and_then(|change| change.ends_on).unwrap_or(self.ends_on);
        let end = ends_on.map(|end| self.instant(end, rules));
        self.due_at = match self.status {
            _ if stopped => None,
            SubscriptionStatus::Paused => {
                self.next_bill_at = self.next_bill_at.filter(|_| self.paused_until.is_some());
                self.next_bill_date = self.next_bill_date.filter(|_| self.paused_until.is_some());
                self.paused_until.map(|until| self.instant(until, rules))
            }
            _ if self.cancel_at_period_end || self.pause_at_period_end => {
                self.waiting_ends_on().map(|end| self.instant(end, rules))
            }
            SubscriptionStatus::PastDue if self.while_past_due == WhilePastDue::Hold => None,
            // The debt decides how a subscription that is past due ends.
            SubscriptionStatus::PastDue => self.next_bill_at,
            _ => self.next_bill_at.or(end),
        };
    }

    /// Whether no charge is to come and no date is waited for: the subscription is complete once everything is paid.
    pub fn is_exhausted(&self) -> bool {
        self.due_at.is_none() && matches!(self.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing)
    }

    /// Stops all billing for good and clears every plan for the future. `now` is by the clock of the subscription's timeline.
    pub fn end(&mut self, status: SubscriptionStatus, now: DateTime<Utc>) {
        self.status = status;
        self.authorize_at = self.authorize_days_before.map(|_| self.updated_at);
        self.next_bill_date = None;
        self.next_bill_at = None;
        self.due_at = None;
        self.paused_on = None;
        self.paused_until = None;
        self.pause_at_period_end = false;
        self.credited_days = None;
        self.cancel_at_period_end = false;
        self.pending_change = None;
        self.waits_until = None;
        self.scheduled_last = None;
        self.parked_reason = None;
        if status == SubscriptionStatus::Cancelled {
            self.cancelled_at = Some(now);
        }
    }

    fn park(&mut self, reason: String) {
        self.status = SubscriptionStatus::Parked;
        self.authorize_at = self.authorize_days_before.map(|_| self.updated_at);
        self.next_bill_date = None;
        self.next_bill_at = None;
        self.due_at = None;
        self.parked_reason = Some(reason);
    }
}

/// A subscription that walks through its own future, one charge at a time.
#[derive(Debug, Clone)]
pub struct Ahead<'r> {
    subscription: Subscription,
    /// The days that are charged before the schedule goes on.
    first: Option<CycleDue>,
    schedule: Option<Schedule>,
    rules: &'r Rules,
}

impl Iterator for Ahead<'_> {
    type Item = CycleDue;

    fn next(&mut self) -> Option<CycleDue> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let schedule = self.schedule.as_ref()?;
        let cycle = self.subscription.peek(schedule, self.rules)?;
        self.subscription.open(&cycle, schedule);
        Some(cycle)
    }
}
