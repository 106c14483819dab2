//! Changes of running terms. A change takes effect at once, with credit and charge by days, or when the next cycle opens.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use super::{BilledDays, CycleDue, Rules, Subscription, UnusedDays, Waiting, billed::clip};
use crate::domain::{
    calendar::{BusinessDay, Zone},
    customer::Metadata,
    frequency::Frequency,
    id::{DunningPolicyId, PaymentMethodId, PlanId},
    invoice::{Line, LineKind, Modifier, price, subtotal},
    plan::{CatchUp, WhilePastDue},
    proration::{Share, days_between},
};

/// Terms that replace those of a subscription. None leaves a term as it is, and `Some(None)` clears a term that may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// The plan that the terms come from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// What the customer reads on each invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Minor units, for one unit of quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    /// How many units each cycle charges, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// The unit in which the interval is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_frequency: Option<Frequency>,
    /// How many units of the frequency lie between two cycles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_cycle_interval: Option<i64>,
    /// On which days cycles begin. `Some(None)` leaves that to the anchor.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub billing_days: Option<Option<String>>,
    /// Number of charges since the beginning, 0 = until cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
    /// Local date, exclusive. `Some(None)` takes an end date away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub ends_on: Option<Option<NaiveDate>>,
    /// The whole list that replaces the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_ons: Option<Vec<Modifier>>,
    /// The whole list that replaces the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discounts: Option<Vec<Modifier>>,
    /// The stored method to charge. `Some(None)` means the customer's default method.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub payment_method_id: Option<Option<PaymentMethodId>>,
    /// How a charge moves that falls on a weekend or a bank holiday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_day: Option<BusinessDay>,
    /// Name of a configured calendar. `Some(None)` means that weekends alone count.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub holiday_calendar: Option<Option<String>>,
    /// What happens with cycles that the bill run missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Whether cycles go on opening while an invoice is unpaid after a decline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub while_past_due: Option<WhilePastDue>,
    /// Local days before each bill date; 0 means that nothing is authorized early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_days_before: Option<i64>,
    /// What follows a failed payment. `Some(None)` means the default policy.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub dunning_policy_id: Option<Option<DunningPolicyId>>,
    /// The zone in which dates become instants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Zone>,
    /// The whole object that replaces the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Whether the schedule goes on as it was laid when the interval changes. None means that a new schedule begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_anchor: Option<bool>,
}

/// What new terms do to a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rhythm {
    /// Nothing: neither interval nor days have changed.
    Same,
    /// The schedule goes on with the first of its new days.
    OtherDays,
    /// A new schedule begins.
    Anew,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What a change costs: a preview and the change itself say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Local date from which the new terms hold.
    pub effective_date: NaiveDate,
    /// What is charged and credited, with a sum of `amount`.
    pub lines: Vec<Line>,
    /// What is charged now, minor units; never negative. For a change that waits, the charge of the next cycle.
    pub amount: i64,
    /// What the customer is owed beyond the new charge, minor units. This goes to the customer's balance.
    pub credit: i64,
    /// The cycle that opens at once because the schedule starts anew. None means that no cycle opens.
    pub cycle: Option<CycleDue>,
    /// First local day that the lines are for, and the local day after the last one. None where nothing is charged by days.
    pub period: Option<(NaiveDate, NaiveDate)>,
    /// Days that are not used: their invoices are reduced.
    pub unused: Vec<UnusedDays>,
}

impl Changed {
    /// A change from this local date on that costs nothing.
    pub fn on(effective_date: NaiveDate) -> Self {
        Self { effective_date, lines: Vec::new(), amount: 0, credit: 0, cycle: None, period: None, unused: Vec::new() }
    }
}

impl Change {
    /// Adds a later change, whose terms win over those that are here already.
    pub fn merge(&mut self, later: Self) {
        macro_rules! take {
            ($($field:ident),+) => {
                // Takes it apart, so that it does not compile where a field is forgotten.
                let Self { $($field),+ } = later;
                $( if $field.is_some() { self.$field = $field; } )+
            };
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
            authorize_days_before,
            dunning_policy_id,
            timezone,
            metadata,
            keep_anchor
        );
    }

    /// Puts these terms in the place of a subscription's, wherever the subscription stands in its schedule.
    pub fn put_over(&self, terms: &mut Subscription) {
        macro_rules! set {
            ($($field:ident),+) => {
                // Takes it apart, so that it does not compile where a field is forgotten.
                let Self { plan_id, authorize_days_before, keep_anchor: _, $($field),+ } = self;
                terms.plan_id = plan_id.or(terms.plan_id);
                terms.authorize_days_before = authorize_days_before.or(terms.authorize_days_before);
                $( if let Some(value) = $field { terms.$field = value.clone(); } )+
            };
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
            add_ons,
            discounts,
            payment_method_id,
            business_day,
            holiday_calendar,
            catch_up,
            while_past_due,
            dunning_policy_id,
            timezone,
            metadata
        );
    }
}

impl Subscription {
    /// Replaces terms from `effective` on. `cycle` is the first cycle in which new modifiers count. Answers what becomes of the
    /// schedule.
    fn apply(&mut self, change: &Change, effective: NaiveDate, cycle: i64) -> Rhythm {
        let interval = (self.billing_frequency, self.billing_cycle_interval);
        let days = self.billing_days.clone();
        let before = (self.add_ons.clone(), self.discounts.clone());
        change.put_over(self);
        for (named, modifiers, before) in
            [(change.add_ons.is_some(), &mut self.add_ons, before.0), (change.discounts.is_some(), &mut self.discounts, before.1)]
        {
            for modifier in modifiers.iter_mut().filter(|_| named) {
                let known = before.iter().find(|known| known.id == modifier.id);
                modifier.applied_from = known.map_or(cycle, |known| known.applied_from);
            }
        }
        let same_interval = interval == (self.billing_frequency, self.billing_cycle_interval);
        if same_interval && days == self.billing_days {
            return Rhythm::Same;
        }
        // The days of a daily frequency are its interval.
        let days_alone = same_interval && self.billing_frequency != Frequency::Daily;
        if days_alone || change.keep_anchor == Some(true) {
            self.go_on_from(effective);
            return Rhythm::OtherDays;
        }
        self.lay_from(effective);
        Rhythm::Anew
    }

    /// Replaces terms from the next cycle on, without any charge now. The answer has the lines and the amount of that cycle.
    pub fn change_terms(&mut self, change: Change, now: DateTime<Utc>, rules: &Rules) -> Changed {
        let effective = self.next_nominal_date().unwrap_or_else(|| self.today(now));
        self.apply(&change, effective, self.next_cycle);
        self.refresh(rules);
        self.by_the_next_cycle(now, rules)
    }

    fn by_the_next_cycle(&self, now: DateTime<Utc>, rules: &Rules) -> Changed {
        let effective_date = self.next_nominal_date().unwrap_or_else(|| self.today(now));
        let next = self.next_bill_at.and_then(|_| self.ahead(rules).find(|cycle| cycle.cycle.is_some()));
        let (lines, amount) = next.map_or((Vec::new(), 0), |cycle| (cycle.lines, cycle.amount));
        Changed { lines, amount, ..Changed::on(effective_date) }
    }

    pub(super) fn apply_pending_change(&mut self, _rules: &Rules) -> bool {
        let Some(change) = self.pending_change.take() else { return false };
        self.waits_no_more(Waiting::Change);
        if let Some(effective) = self.next_nominal_date() {
            self.apply(&change, effective, self.next_cycle);
        }
        true
    }

    /// Local date of the next charge by the schedule, before any business-day shift. None means that no charge is to come.
    pub fn next_nominal_date(&self) -> Option<NaiveDate> {
        let slot = u64::try_from(self.next_slot).ok()?;
        self.moved_to.or_else(|| self.schedule()?.date(slot))
    }

    /// Keeps the change until the next cycle opens. The answer has the lines and the amount of that cycle.
    pub fn change_at_period_end(&mut self, change: Change, now: DateTime<Utc>, rules: &Rules) -> Changed {
        self.pending_change.get_or_insert_default().merge(change);
        self.scheduled_last = Some(Waiting::Change);
        self.refresh(rules);
        self.by_the_next_cycle(now, rules)
    }

    /// Changes at once: credits the days to come that were billed, and charges those days by the new terms. A new interval starts
    /// a new schedule today and opens its first cycle; with `keep_anchor` the days up to the next anchor are charged. An end date
    /// cuts the running period. `unused` holds the days to come as they were billed and paid. Without a running period there is nothing
    /// to settle, and the first charge follows the new terms.
    pub fn change_now(&mut self, change: Change, unused: Vec<UnusedDays>, now: DateTime<Utc>, rules: &Rules) -> Changed {
        let today = self.today(now);
        let Some(period) = self.running_period(today) else {
            self.change_terms(change, now, rules);
            return Changed::on(self.next_nominal_date().unwrap_or(today));
        };
        let mut unused = unused;
        if unused.is_empty() {
            let of_days = days_between(period.0, period.1);
            unused.push(UnusedDays::paid(BilledDays { start: today, end: period.1, price: 0, of_days, invoice_id: None }));
        }
        let billed: Vec<BilledDays> = unused.iter().map(|unused| unused.days.clone()).collect();
        let mut lines: Vec<Line> = unused.iter().filter_map(UnusedDays::credit_line).collect();

        let ends_before = self.ends_on;
        let cycle_now = self.next_cycle - 1;
        let rhythm = self.apply(&change, today, cycle_now);

        let mut cycle = None;
        if rhythm == Rhythm::Anew {
            self.period_end = Some(today);
            if let Some(schedule) = self.schedule()
                && let Some(opened) = self.peek(&schedule, rules)
            {
                lines.extend(opened.lines.iter().cloned());
                self.open(&opened, &schedule);
                cycle = Some(opened);
            }
        } else {
            let charged = self.days_by_new_terms(&billed, period.1, cycle_now, rhythm, ends_before);
            self.period_end = Some(charged.last().map_or(today, |days| days.end));
            let same = |(charged, billed): (&BilledDays, &BilledDays)| charged.costs_the_same(billed);
            if charged.len() == billed.len() && charged.iter().zip(&billed).all(same) {
                // Nothing that costs has changed.
                lines.clear();
                unused.clear();
            } else {
                lines.extend(charged.iter().map(|days| days.charge_line(&self.description)));
            }
        }
        self.refresh(rules);
        let amount = subtotal(&lines).max(0);
        let credit = kept(&mut lines);
        if let Some(cycle) = &mut cycle {
            cycle.lines.clone_from(&lines);
            cycle.amount = amount;
        }
        let start = billed.first().map_or(today, |days| days.start).max(today);
        let end = self.period_end.unwrap_or(today).max(start);
        let period = cycle.as_ref().map_or((start, end), |cycle| (cycle.period_start, cycle.period_end));
        Changed { effective_date: today, lines, amount, credit, cycle, period: Some(period), unused }
    }

    /// The days that a change at once charges: those that were billed, by the new price. The days stop elsewhere if the terms say
    /// so.
    fn days_by_new_terms(
        &mut self,
        billed: &[BilledDays],
        end: NaiveDate,
        cycle_now: i64,
        rhythm: Rhythm,
        ends_before: Option<NaiveDate>,
    ) -> Vec<BilledDays> {
        let price = subtotal(&price(&self.charge(), cycle_now, Share::WHOLE));
        let ends_on = self.ends_on.unwrap_or(NaiveDate::MAX);
        let from = billed.first().map_or(end, |days| days.start);
        let around = self.schedule().and_then(|schedule| {
            let (slot, whole) = self.period_around(&schedule, from)?;
            Some((whole, schedule.next_slot(slot)))
        });
        if let (Rhythm::OtherDays, Some((whole, next))) = (rhythm, around) {
            // The charge now reaches up to the next charge, so that no day is charged twice.
            self.next_slot = next.and_then(|slot| i64::try_from(slot).ok()).unwrap_or(i64::MAX);
            // Days of a stub cost a part of the whole period, and not the price of one.
            let stub = self.schedule().filter(|schedule| schedule.start() == whole.0);
            let of = stub.and_then(|schedule| schedule.nominal_first_period()).unwrap_or(whole);
            let of_days = days_between(of.0, of.1);
            return clip(vec![BilledDays { start: from, end: whole.1, price, of_days, invoice_id: None }], from, ends_on);
        }
        let mut days: Vec<BilledDays> =
            billed.iter().map(|days| BilledDays { price, invoice_id: None, ..days.clone() }).collect();
        // A period that the old end had cut goes on to where it would have ended.
        if let (Some(last), Some((whole, _))) = (days.last_mut(), around)
            && ends_before == Some(end)
            && ends_on > end
        {
            last.end = whole.1.max(end);
        }
        clip(days, from, ends_on)
    }
}

/// Brings a negative sum to zero, since the rest goes to the customer's balance. Answers how much that is, minor units.
pub(super) fn kept(lines: &mut Vec<Line>) -> i64 {
    let credit = (-subtotal(lines)).max(0);
    if credit > 0 {
        lines.push(Line::new(LineKind::CreditCarried, "Kept as customer credit", credit));
    }
    credit
}
