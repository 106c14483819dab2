//! Pause, resume and skip. What falls into a pause is never billed; days that a pause gave back are charged again when it
//! ends, so pausing and resuming at once comes to nothing.

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    BilledDays, CycleDue, Rules, Subscription, SubscriptionStatus, UnusedDays, Waiting,
    billed::clip,
    change::{Changed, kept},
};
use crate::domain::{
    frequency::Schedule,
    invoice::{Line, price, subtotal},
    proration::{FirstPeriod, Share, days_between},
};

impl Subscription {
    /// The period that was billed last, half-open local dates. None if this period has ended by `today`.
    pub fn running_period(&self, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let period = (self.period_start?, self.period_end?);
        (today < period.1).then_some(period)
    }

    /// Opens no more cycles until somebody resumes the subscription or `until` comes. The caller must call `refresh`.
    pub fn pause(&mut self, on: NaiveDate, until: Option<NaiveDate>) {
        self.status = SubscriptionStatus::Paused;
        self.paused_on = Some(on);
        self.paused_until = until;
        self.pause_at_period_end = false;
        self.waits_no_more(Waiting::Pause);
        self.credited_days = None;
    }

    /// Like `pause`, and gives back the billed days that are still to come: the running period ends today.
    pub fn pause_with_credit(
        &mut self,
        until: Option<NaiveDate>,
        unused: Vec<UnusedDays>,
        now: DateTime<Utc>,
        rules: &Rules,
    ) -> Changed {
        let today = self.today(now);
        self.pause(today, until);
        let mut lines: Vec<Line> = unused.iter().filter_map(UnusedDays::credit_line).collect();
        let credit = kept(&mut lines);
        let days: Vec<BilledDays> = unused.iter().map(|unused| unused.days.clone()).collect();
        let period = days.first().zip(days.last()).map(|(first, last)| (first.start, last.end));
        if let Some((start, _)) = self.running_period(today) {
            (self.period_start, self.period_end) = (Some(start.min(today)), Some(today));
        }
        self.credited_days = Some(days);
        self.refresh(rules);
        Changed { effective_date: today, lines, amount: 0, credit, cycle: None, period, unused }
    }

    /// Takes up billing again on this local date; what fell into the pause is not billed. Answers the days to be charged beside
    /// the schedule, if the pause gave credit. The caller must call `refresh`.
    pub fn resume(&mut self, on: NaiveDate, rules: &Rules) -> Option<CycleDue> {
        self.paused_until = None;
        let paused_on = self.paused_on.take();
        self.status = if self.trial_ends_on.is_some() && self.cycles_billed == 0 {
            SubscriptionStatus::Trialing
        } else {
            SubscriptionStatus::Active
        };
        let next_slot = self.next_slot;
        self.pass_over(paused_on.unwrap_or(NaiveDate::MIN), on);
        let credited = self.credited_days.take()?;
        let same_period = credited.last().is_some_and(|last| on < last.end);
        let days = if same_period { credited } else { self.passed_days(on, next_slot).into_iter().collect() };
        let ends_on = self.ends_on.unwrap_or(NaiveDate::MAX);
        // An end date inside the paid days gave no day back, so a pause that is over must not give any back either.
        let until = if same_period && on <= ends_on { NaiveDate::MAX } else { ends_on };
        let days = clip(days, on, until);
        let (start, end) = days.first().zip(days.last()).map(|(first, last)| (first.start, last.end))?;
        if !same_period {
            self.period_start = Some(on);
        }
        self.period_end = Some(end);
        let charged = days.iter().filter(|days| !same_period || days.price > 0);
        let lines: Vec<Line> = charged.map(|days| days.charge_line(&self.description)).collect();
        (!lines.is_empty()).then(|| CycleDue {
            cycle: None,
            bill_date: on,
            bill_at: self.instant(on, rules),
            period_start: start,
            period_end: end,
            description: self.description.clone(),
            amount: subtotal(&lines),
            lines,
        })
    }

    /// Takes a cancelled subscription up again on its old schedule; what fell between is not billed. With `from_today` the days up to the
    /// next charge are billed if nobody has paid for them: days that the cancellation gave back, or days of a charge that was passed over.
    /// The caller must call `refresh`.
    pub fn reactivate(&mut self, on: NaiveDate, from_today: bool, rules: &Rules) -> Option<CycleDue> {
        self.cancelled_at = None;
        self.status = SubscriptionStatus::Paused;
        // Nothing that was due before today is billed any more.
        self.paused_on = None;
        let given_back = self.credited_days.take();
        self.credited_days = from_today.then(|| given_back.unwrap_or_default());
        self.resume(on, rules)
    }

    /// The days from `on` to the next charge, if the pause passed over the charge that would have paid for these days.
    /// `next_slot` is the slot that was next when the pause began. The days cost what the cycle before would charge for them,
    /// since they open no cycle and use up no duration.
    fn passed_days(&self, on: NaiveDate, next_slot: i64) -> Option<BilledDays> {
        if self.moved_to.is_some() || (self.duration > 0 && self.cycles_billed >= self.duration) {
            return None;
        }
        let schedule = self.schedule()?;
        let (slot, whole) = self.period_around(&schedule, on)?;
        let passed = next_slot..self.next_slot;
        if !passed.contains(&i64::try_from(slot).ok()?) || schedule.date(slot)? == on {
            return None;
        }
        let price = subtotal(&price(&self.charge(), (self.next_cycle - 1).max(0), Share::WHOLE));
        Some(BilledDays { start: on, end: whole.1, price, of_days: days_between(whole.0, whole.1), invoice_id: None })
    }

    /// The slot whose period a date lies in, and the whole period that its price is for.
    pub(super) fn period_around(&self, schedule: &Schedule, date: NaiveDate) -> Option<(u64, (NaiveDate, NaiveDate))> {
        let after = schedule.slot_on_or_after(date)?;
        let slot = if schedule.date(after)? == date { after } else { after.checked_sub(1)? };
        // Two days of a month may clamp to one date: the first of them is the charge.
        let slot = schedule.slot_on_or_after(schedule.date(slot)?)?;
        let stub = slot == 0 && self.first_period == FirstPeriod::Prorated;
        let period = if stub { schedule.nominal_first_period() } else { schedule.period(slot) };
        Some((slot, period.filter(|period| date >= period.0 && date < period.1)?))
    }

    /// Passes over the charges that fall into a pause, half-open local dates. A charge that was due before the pause, and that a
    /// debt holds back, stays unless other charges follow inside the pause.
    fn pass_over(&mut self, from: NaiveDate, to: NaiveDate) {
        let Some(schedule) = self.schedule() else { return };
        let next = u64::try_from(self.next_slot).unwrap_or(u64::MAX);
        let date = self.moved_to.or_else(|| schedule.date(next));
        let inside = |date: Option<NaiveDate>| date.is_some_and(|date| from <= date && date < to);
        let later = |slot: u64| slot.max(next.saturating_add(u64::from(self.moved_to.is_some())));
        if self.moved_to.is_some_and(|moved| moved >= to)
            || !(inside(date) || inside(schedule.slot_on_or_after(from).map(later).and_then(|slot| schedule.date(slot))))
        {
            return;
        }
        let slot = schedule.slot_on_or_after(to).map_or(i64::MAX, |slot| i64::try_from(slot).unwrap_or(i64::MAX));
        // A charge that was moved into the pause is passed over even if its own place is later.
        let own = if self.moved_to.is_some() { schedule.next_slot(next) } else { Some(next) };
        let own = own.map_or(i64::MAX, |slot| i64::try_from(slot).unwrap_or(i64::MAX));
        self.next_slot = slot.max(own);
        self.moved_to = None;
    }

    /// Passes over the next `cycles` charges without billing them; these charges do not count toward the duration.
    pub fn skip(&mut self, cycles: i64, rules: &Rules) {
        if let Some(schedule) = self.schedule() {
            for _ in 0..cycles {
                self.pass(&schedule);
            }
        }
        self.refresh(rules);
    }
}
