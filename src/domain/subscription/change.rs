//! Changes of running terms: at once with credit and charge by days, or when the next cycle opens.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use super::{CycleDue, Rules, Subscription};
use crate::domain::{
    calendar::BusinessDay,
    customer::Metadata,
    frequency::Frequency,
    id::{PaymentMethodId, PlanId},
    invoice::{Line, LineKind, Modifier, price, subtotal},
    plan::{CatchUp, WhilePastDue},
    proration::{FirstPeriod, Share, days_between, unused},
};

/// Terms to be replaced; what is `None` stays. `Some(None)` clears.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_frequency: Option<Frequency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_cycle_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub billing_days: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub ends_on: Option<Option<NaiveDate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_ons: Option<Vec<Modifier>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discounts: Option<Vec<Modifier>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub payment_method_id: Option<Option<PaymentMethodId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_day: Option<BusinessDay>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub holiday_calendar: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub while_past_due: Option<WhilePastDue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Only matters when the interval changes: whether the old anchor goes on. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_anchor: Option<bool>,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What a change comes to: the same for a preview and for the change itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub effective_date: NaiveDate,
    /// Sum to `amount`, which is not negative.
    pub lines: Vec<Line>,
    pub amount: i64,
    /// What the customer is owed beyond the new charge: goes to the credit balance.
    pub credit: i64,
    /// The cycle that opens at once because the schedule starts anew.
    pub cycle: Option<CycleDue>,
}

impl Change {
    /// Later words win.
    pub fn merge(&mut self, later: Self) {
        macro_rules! take {
            ($($field:ident),+) => {$( if later.$field.is_some() { self.$field = later.$field; } )+};
        }
        take!(
            plan_id,
            description,
            amount,
            quantity,
            billing_frequency,
            billing_cycle_interval,
            billing_days,
            duration,
            ends_on,
            add_ons,
            discounts,
            payment_method_id,
            business_day,
            holiday_calendar,
            catch_up,
            while_past_due,
            metadata,
            keep_anchor
        );
    }
}

impl Subscription {
    /// Replaces terms from `effective` on. `cycle` is the first cycle in which new modifiers count.
    fn apply(&mut self, change: Change, effective: NaiveDate, cycle: i64) {
        let recurrence = (self.billing_frequency, self.billing_cycle_interval, self.billing_days.clone());
        macro_rules! set {
            ($($field:ident),+) => {$( if let Some(value) = change.$field { self.$field = value; } )+};
        }
        let new_modifiers = |old: &[Modifier], new: Option<Vec<Modifier>>| {
            new.map(|new| {
                let started =
                    |id: &str| old.iter().find(|modifier| modifier.id == id).map_or(cycle, |modifier| modifier.applied_from);
                new.into_iter().map(|modifier| Modifier { applied_from: started(&modifier.id), ..modifier }).collect::<Vec<_>>()
            })
        };
        if let Some(add_ons) = new_modifiers(&self.add_ons, change.add_ons) {
            self.add_ons = add_ons;
        }
        if let Some(discounts) = new_modifiers(&self.discounts, change.discounts) {
            self.discounts = discounts;
        }
        if change.plan_id.is_some() {
            self.plan_id = change.plan_id;
        }
        set!(
            description,
            amount,
            quantity,
            billing_frequency,
            billing_cycle_interval,
            billing_days,
            duration,
            ends_on,
            payment_method_id,
            business_day,
            holiday_calendar,
            catch_up,
            while_past_due,
            metadata
        );
        if recurrence == (self.billing_frequency, self.billing_cycle_interval, self.billing_days.clone()) {
            return;
        }
        self.moved_to = None;
        if change.keep_anchor == Some(true) {
            let slot = self.schedule().and_then(|schedule| schedule.slot_on_or_after(effective));
            self.next_slot = slot.and_then(|slot| i64::try_from(slot).ok()).unwrap_or(i64::MAX);
        } else {
            self.anchor_date = effective;
            self.next_slot = 0;
        }
    }

    /// Replaces terms from the next cycle on, without any charge now.
    pub fn change_terms(&mut self, change: Change, now: DateTime<Utc>, rules: &Rules) {
        let effective = self.next_nominal_date().unwrap_or_else(|| self.today(now));
        self.apply(change, effective, self.next_cycle);
        self.refresh(rules);
    }

    pub(super) fn apply_pending_change(&mut self, _rules: &Rules) -> bool {
        let Some(change) = self.pending_change.take() else { return false };
        if let Some(effective) = self.next_nominal_date() {
            self.apply(change, effective, self.next_cycle);
        }
        true
    }

    /// The date of the next charge by the schedule, before any business-day shift.
    pub fn next_nominal_date(&self) -> Option<NaiveDate> {
        let slot = u64::try_from(self.next_slot).ok()?;
        self.moved_to.or_else(|| self.schedule()?.date(slot))
    }

    /// Waits with the change until the next cycle opens. Lines and amount are that cycle's.
    pub fn change_at_period_end(&mut self, change: Change, now: DateTime<Utc>, rules: &Rules) -> Changed {
        self.pending_change.get_or_insert_default().merge(change);
        self.refresh(rules);
        let effective_date = self.next_nominal_date().unwrap_or_else(|| self.today(now));
        let (lines, amount) = self.upcoming(rules, 1).pop().map_or((Vec::new(), 0), |cycle| (cycle.lines, cycle.amount));
        Changed { effective_date, lines, amount, credit: 0, cycle: None }
    }

    /// Changes at once: credit for the unused days of the paid period, charge for the rest of it by the new terms. A new
    /// interval starts a new schedule today and opens its first cycle. `billed` is what the running period was billed, minor
    /// units; none when no period is running.
    pub fn change_now(&mut self, change: Change, billed: Option<i64>, now: DateTime<Utc>, rules: &Rules) -> Changed {
        let today = self.today(now);
        let running = self.running_period(today);
        let mut lines = Vec::new();
        if let (Some(period), Some(billed)) = (running, billed) {
            lines.extend(credit_line(period, billed, today));
        }
        let anchor_before = (self.anchor_date, self.recurrence().ok());
        let nominal_days = running.map(|period| self.nominal_days(period));
        let cycle_now = if running.is_some() { self.next_cycle - 1 } else { self.next_cycle };
        let keeps_anchor = change.keep_anchor == Some(true);
        self.apply(change, today, cycle_now);
        let starts_anew = running.is_some() && !keeps_anchor && anchor_before != (self.anchor_date, self.recurrence().ok());

        let mut cycle = None;
        if starts_anew {
            if let Some(schedule) = self.schedule()
                && let Some(opened) = self.peek(&schedule, rules)
            {
                lines.extend(opened.lines.iter().cloned());
                self.open(&opened, &schedule);
                cycle = Some(opened);
            }
        } else if let (Some(period), Some(days)) = (running, nominal_days) {
            let share = Share::new(days_between(today, period.1), days);
            let full = subtotal(&price(&self.charge(), cycle_now, Share::WHOLE));
            lines.push(Line::new(LineKind::Proration, self.description.clone(), share.of_amount(full)).for_share(share));
        }
        self.refresh(rules);
        let sum = subtotal(&lines);
        let credit = (-sum).max(0);
        if credit > 0 {
            lines.push(Line::new(LineKind::Credit, "Kept as customer credit", credit));
        }
        if let Some(cycle) = &mut cycle {
            cycle.lines.clone_from(&lines);
            cycle.amount = sum.max(0);
        }
        Changed { effective_date: today, lines, amount: sum.max(0), credit, cycle }
    }

    /// Credit for the unused days when billing ends today.
    pub fn unused_credit(&self, billed: i64, today: NaiveDate) -> i64 {
        self.running_period(today).map_or(0, |period| unused(period, today).of_amount(billed))
    }

    fn running_period(&self, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let period = (self.period_start?, self.period_end?);
        (period.0 <= today && today < period.1).then_some(period)
    }

    /// Length of the full period that the running one belongs to: longer than the running one if that is a stub.
    fn nominal_days(&self, running: (NaiveDate, NaiveDate)) -> i64 {
        let slot = u64::try_from(self.next_slot - 1).unwrap_or(0);
        let nominal = self.schedule().and_then(|schedule| {
            if slot == 0 && self.first_period == FirstPeriod::Prorated {
                schedule.nominal_first_period()
            } else {
                schedule.period(slot)
            }
        });
        let (start, end) = nominal.filter(|period| period.1 >= running.1).unwrap_or(running);
        days_between(start, end)
    }
}

fn credit_line(period: (NaiveDate, NaiveDate), billed: i64, today: NaiveDate) -> Option<Line> {
    let share = unused(period, today);
    let credit = share.of_amount(billed);
    (credit > 0).then(|| Line::new(LineKind::Credit, "Unused days", -credit).for_share(share))
}
