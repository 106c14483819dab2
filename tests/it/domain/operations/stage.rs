//! A subscription with its invoices and nothing else: what a verb does to them, without a database, and time that passes.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use proptest::{collection::vec, prelude::*, sample::select};
use rebilld::domain::{
    calendar::BusinessDay,
    frequency::{Frequency, Recurrence},
    id::Id,
    invoice::{Adjustment, Line, Modifier},
    money::{Currency, Percentage},
    plan::WhilePastDue,
    proration::FirstPeriod,
    subscription::{
        BilledDays, Change, CycleDue, Rules, ScheduleEvent, Subscription, SubscriptionStatus, UnusedDays,
        billed::{Bill, billed_ahead},
        change::Changed,
    },
};

pub fn date(text: &str) -> NaiveDate {
    text.parse().expect("date")
}

pub fn rules() -> Rules {
    Rules { bill_at: NaiveTime::from_hms_opt(6, 0, 0).expect("time"), holidays: BTreeMap::new(), catch_up_limit: 100_000 }
}

/// What an operator may do, in numbers that shrink.
#[derive(Debug, Clone)]
pub enum Op {
    Wait { hours: i64 },
    Pause { until: Option<u64>, credit: bool },
    PauseAtEnd { until: Option<u64> },
    Resume,
    Skip { cycles: i64 },
    Reschedule { days: u64, keep_anchor: bool },
    ChangeNow(Change),
    ChangeAtEnd(Change),
    Patch(Change),
    CancelAtEnd,
    Cancel,
    Keep,
    Decline,
    Recover,
}

/// An invoice.
#[derive(Debug, Clone, PartialEq)]
pub struct Billed {
    pub cycle: Option<i64>,
    pub period: (NaiveDate, NaiveDate),
    pub lines: Vec<Line>,
    pub amount: i64,
}

#[derive(Debug, Clone)]
pub struct Stage {
    pub sub: Subscription,
    pub now: DateTime<Utc>,
    pub bills: Vec<Billed>,
    /// Minor units given to the customer so far.
    pub credit: i64,
    /// Whether an invoice was declined and is open.
    pub owing: bool,
    pub turns: Vec<ScheduleEvent>,
}

impl Stage {
    pub fn today(&self) -> NaiveDate {
        self.sub.today(self.now)
    }

    /// All of them paid.
    pub fn unused(&self) -> Vec<UnusedDays> {
        self.billed_ahead().into_iter().map(UnusedDays::paid).collect()
    }

    pub fn billed_ahead(&self) -> Vec<BilledDays> {
        let today = self.today();
        let until = self.sub.running_period(today).map_or(today, |period| period.1);
        let bills =
            self.bills.iter().map(|b| Bill { invoice_id: Id::from_bits(1), period: b.period, lines: &b.lines, counts: i64::MAX });
        billed_ahead(bills.filter(|bill| bill.period.1 > today).collect::<Vec<_>>(), today, until)
    }

    fn bill(&mut self, cycle: CycleDue) {
        let CycleDue { cycle, period_start, period_end, lines, amount, .. } = cycle;
        self.bills.push(Billed { cycle, period: (period_start, period_end), lines, amount });
    }

    fn charge(&mut self, changed: Changed) {
        self.credit += changed.credit;
        if !changed.lines.is_empty() {
            let (cycle, period) = (changed.cycle.and_then(|cycle| cycle.cycle), changed.period.expect("a period"));
            self.bills.push(Billed { cycle, period, lines: changed.lines, amount: changed.amount });
        }
    }

    /// What the bill run does at one instant.
    pub fn run(&mut self) -> Vec<CycleDue> {
        let (cycles, turns) = self.sub.run_owing(self.now, &rules(), self.owing);
        self.turns.extend(turns);
        for cycle in &cycles {
            self.bill(cycle.clone());
        }
        cycles
    }

    /// Time passes, and each due instant is met.
    pub fn pass(&mut self, to: DateTime<Utc>) -> Vec<CycleDue> {
        let mut opened = Vec::new();
        while let Some(due) = self.sub.due_at.filter(|&due| due <= to) {
            self.now = self.now.max(due);
            opened.extend(self.run());
            assert!(self.sub.due_at.is_none_or(|due| due > self.now), "the run leaves something due: {:?}", self.sub);
        }
        self.now = to;
        opened
    }

    /// As the verbs do it; false where they refuse.
    pub fn act(&mut self, op: &Op) -> bool {
        use SubscriptionStatus::{Active, PastDue, Paused, Trialing};
        let (rules, today, now) = (rules(), self.today(), self.now);
        let runs = matches!(self.sub.status, Trialing | Active | PastDue);
        let cancels = self.sub.cancel_at_period_end;
        let later = |days: u64| today.checked_add_days(Days::new(days)).expect("date");
        match op.clone() {
            Op::Wait { hours } => {
                self.pass(now + TimeDelta::hours(hours));
            }
            Op::Pause { until, credit } if runs && !cancels => {
                let until = until.map(|days| later(days + 1));
                if credit {
                    let changed = self.sub.pause_with_credit(until, self.unused(), now, &rules);
                    self.charge(changed);
                } else {
                    self.sub.pause(today, until);
                }
            }
            Op::PauseAtEnd { until } if runs && !cancels && !self.sub.pause_at_period_end => {
                let end = self.sub.period_end_on(today, &rules);
                let until = until.map(|days| end.unwrap_or(today).checked_add_days(Days::new(days + 1)).expect("date"));
                match end {
                    Some(end) => self.sub.pause_on(end, until),
                    None => self.sub.pause(today, until),
                }
            }
            Op::Resume if self.sub.status == Paused => {
                if let Some(days) = self.sub.resume(today, &rules) {
                    self.bill(days);
                }
            }
            Op::Skip { cycles } if runs && !self.sub.pause_at_period_end && !self.sub.upcoming(&rules, 1).is_empty() => {
                self.sub.skip(cycles, &rules);
            }
            Op::Reschedule { days, keep_anchor } if runs && !self.sub.pause_at_period_end => {
                let to = later(days);
                if !self.sub.has_movable_charge(&rules) || self.sub.may_reschedule(to, keep_anchor, today, &rules).is_err() {
                    return false;
                }
                self.sub.reschedule(to, keep_anchor, &rules);
            }
            Op::ChangeNow(change) if runs && self.fits(&change, today) => {
                let changed = self.sub.change_now(change, self.unused(), now, &rules);
                self.charge(changed);
            }
            Op::ChangeAtEnd(change) if runs && !cancels && self.fits(&change, today) => {
                self.sub.change_at_period_end(change, now, &rules);
            }
            Op::Patch(change) if !self.sub.status.is_ended() && self.fits(&change, today) => {
                self.sub.change_terms(change, now, &rules);
            }
            Op::CancelAtEnd if runs && !cancels && !self.sub.pause_at_period_end => match self.sub.period_end_on(today, &rules) {
                Some(end) => self.sub.cancel_on(end),
                None => self.sub.end(SubscriptionStatus::Cancelled, now),
            },
            Op::Cancel if !self.sub.status.is_ended() => {
                self.credit += self.billed_ahead().iter().map(BilledDays::amount).sum::<i64>();
                self.sub.end(SubscriptionStatus::Cancelled, now);
            }
            Op::Keep => {
                if self.sub.keep().is_none() {
                    return false;
                }
            }
            Op::Decline if !self.bills.is_empty() && matches!(self.sub.status, Trialing | Active) => {
                self.owing = true;
                self.sub.status = PastDue;
            }
            Op::Recover if self.owing => {
                self.owing = false;
                if self.sub.status == PastDue {
                    self.sub.status = Active;
                }
            }
            _ => return false,
        }
        if self.owing && matches!(self.sub.status, Trialing | Active) {
            self.sub.status = PastDue;
        }
        self.sub.refresh(&rules);
        true
    }

    /// As `terms.rs` checks it.
    fn fits(&self, change: &Change, today: NaiveDate) -> bool {
        let mut after = self.sub.clone();
        for change in [Some(change), self.sub.pending_change.as_ref()].into_iter().flatten() {
            after.billing_frequency = change.billing_frequency.unwrap_or(after.billing_frequency);
            after.billing_cycle_interval = change.billing_cycle_interval.unwrap_or(after.billing_cycle_interval);
            after.billing_days = change.billing_days.clone().unwrap_or(after.billing_days);
            if after.recurrence().is_err() {
                return false;
            }
        }
        let billed = self.sub.cycles_billed;
        change.duration.is_none_or(|duration| duration == 0 || duration > billed)
            && change.ends_on.flatten().is_none_or(|end| end > today)
    }

    /// What the customer has been asked for, less what was given back: minor units.
    pub fn net(&self) -> i64 {
        self.bills.iter().map(|bill| bill.amount).sum::<i64>() - self.credit
    }
}

fn modifiers() -> impl Strategy<Value = Vec<Modifier>> {
    let adjustment = prop_oneof![
        (0i64..900).prop_map(Adjustment::Amount),
        (0i64..60_000).prop_map(|t| Adjustment::Percentage(Percentage::from_thousandths(t).expect("percentage"))),
    ];
    let one = (select(vec!["a", "b"]), adjustment, 0i64..4).prop_map(|(id, adjustment, duration)| Modifier {
        id: id.to_owned(),
        name: id.to_owned(),
        description: String::new(),
        adjustment,
        duration,
        applied_from: 0,
    });
    vec(one, 0..3)
}

fn rhythm() -> impl Strategy<Value = (Frequency, i64, Option<String>)> {
    let days_of = |frequency| match frequency {
        Frequency::OneTime => Just(None).boxed(),
        Frequency::Daily => prop_oneof![Just(None), (1u32..20).prop_map(|d| Some(d.to_string()))].boxed(),
        Frequency::Weekly => prop_oneof![Just(None), Just(Some("1,4".to_owned())), Just(Some("7".to_owned()))].boxed(),
        Frequency::TwiceMonthly => {
            select(vec![None, Some("1,15".to_owned()), Some("15,31".to_owned()), Some("30,31".to_owned())]).boxed()
        }
        _ => prop_oneof![Just(None), (0u32..=31).prop_map(|d| Some(d.to_string()))].boxed(),
    };
    (prop_oneof![3 => Just(Frequency::Monthly), 2 => select(Frequency::ALL.to_vec())], 1i64..4)
        .prop_flat_map(move |(frequency, interval)| days_of(frequency).prop_map(move |days| (frequency, interval, days)))
}

/// New terms; with `rhythm` another interval, too.
pub fn changes(with_rhythm: bool) -> impl Strategy<Value = Change> {
    let money = (prop::option::weighted(0.7, 0i64..20_000), prop::option::weighted(0.3, 1i64..4));
    let lists = (prop::option::weighted(0.2, modifiers()), prop::option::weighted(0.2, modifiers()));
    let rhythm = prop::option::weighted(0.25, (rhythm(), any::<bool>())).prop_map(move |rhythm| rhythm.filter(|_| with_rhythm));
    let ends = prop::option::weighted(0.15, prop::option::of(0u64..500));
    let length = prop::option::weighted(0.1, 0i64..12);
    (money, lists, rhythm, ends, length).prop_map(|((amount, quantity), (add_ons, discounts), rhythm, ends, duration)| {
        let ends_on = ends.map(|days| days.map(|days| date("2026-03-01").checked_add_days(Days::new(days)).expect("date")));
        let change = Change { amount, quantity, add_ons, discounts, ends_on, duration, ..Change::default() };
        match rhythm {
            None => change,
            Some(((frequency, interval, days), keep_anchor)) => Change {
                billing_frequency: Some(frequency),
                billing_cycle_interval: Some(interval),
                billing_days: Some(days),
                keep_anchor: Some(keep_anchor),
                ..change
            },
        }
    })
}

pub fn ops() -> impl Strategy<Value = Op> {
    let until = || prop::option::of(0u64..90);
    prop_oneof![
        6 => (1i64..24 * 40).prop_map(|hours| Op::Wait { hours }),
        2 => (until(), any::<bool>()).prop_map(|(until, credit)| Op::Pause { until, credit }),
        1 => until().prop_map(|until| Op::PauseAtEnd { until }),
        2 => Just(Op::Resume),
        1 => (1i64..4).prop_map(|cycles| Op::Skip { cycles }),
        1 => (0u64..50, any::<bool>()).prop_map(|(days, keep_anchor)| Op::Reschedule { days, keep_anchor }),
        2 => changes(true).prop_map(Op::ChangeNow),
        1 => changes(true).prop_map(Op::ChangeAtEnd),
        1 => changes(true).prop_map(Op::Patch),
        1 => Just(Op::CancelAtEnd),
        1 => Just(Op::Keep),
        1 => Just(Op::Decline),
        1 => Just(Op::Recover),
    ]
}

/// A subscription that nothing has happened to yet.
pub fn stages() -> impl Strategy<Value = Stage> {
    let when = (0u64..400, 0i64..24 * 40, select(vec!["UTC", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"]));
    let shape = (
        select(FirstPeriod::ALL.to_vec()),
        select(BusinessDay::ALL.to_vec()),
        prop_oneof![2 => Just(0i64), 1 => 1i64..8],
        prop::option::weighted(0.3, 1u64..300),
        any::<bool>(),
        any::<bool>(),
    );
    let money = (0i64..20_000, 1i64..4, modifiers(), modifiers());
    (when, rhythm(), shape, money).prop_map(|((day, before, zone), (frequency, interval, days), shape, money)| {
        let (first_period, business_day, duration, ends, trial, hold) = shape;
        let (amount, quantity, add_ons, discounts) = money;
        let start = date("2026-01-01").checked_add_days(Days::new(day)).expect("date");
        Recurrence::new(frequency, u32::try_from(interval).expect("interval"), days.as_deref()).expect("recurrence");
        let now = start.and_time(NaiveTime::MIN).and_utc() - TimeDelta::hours(before + 14);
        let mut sub = subscription(start);
        sub.billing_frequency = frequency;
        sub.billing_cycle_interval = interval;
        sub.billing_days = days;
        (sub.amount, sub.quantity, sub.add_ons, sub.discounts) = (amount, quantity, add_ons, discounts);
        (sub.first_period, sub.business_day, sub.duration) = (first_period, business_day, duration);
        sub.ends_on = ends.map(|days| start.checked_add_days(Days::new(days)).expect("date"));
        sub.timezone = zone.parse().expect("zone");
        if trial {
            (sub.status, sub.trial_ends_on) = (SubscriptionStatus::Trialing, Some(start));
        }
        if hold {
            sub.while_past_due = WhilePastDue::Hold;
        }
        let slot = sub.first_period.first_slot(&sub.schedule().expect("schedule"));
        sub.next_slot = slot.map_or(i64::MAX, |slot| i64::try_from(slot).expect("slot"));
        sub.refresh(&rules());
        Stage { sub, now, bills: Vec::new(), credit: 0, owing: false, turns: Vec::new() }
    })
}

/// Monthly from `start` on, 10.00 USD, UTC.
pub fn subscription(start: NaiveDate) -> Subscription {
    let created = start.and_time(NaiveTime::MIN).and_utc();
    Subscription {
        description: "Gym".into(),
        amount: 1000,
        ..Subscription::beginning(
            Id::from_bits(1),
            Id::from_bits(2),
            Currency::USD,
            "UTC".parse().expect("zone"),
            Frequency::Monthly,
            start,
            created,
        )
    }
}
