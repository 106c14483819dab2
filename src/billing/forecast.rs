//! A forecast: what the bill run will ask for, from the real schedules, summed by day, week or month. Nothing is stored.
//!
//! It is the bill run's own code that says what is charged and when: what is overdue now, then every later charge, with the
//! installments of running plans. Amounts are before a customer's credit. Declines, retries and invoices that are open already
//! are no part of it; `rebilld simulate` has those.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};

use super::{App, Done, Refusal, checks::Checks};
use crate::{
    domain::{
        calendar,
        customer::Timeline,
        forecast::{Interval, Range},
        id::ClockId,
        money::Currency,
        subscription::{Rules, Subscription},
    },
    store,
};

const MAX_YEARS: u32 = 10;
const MAX_PARTS: usize = 2000;
/// Subscriptions read at a time.
const BATCH: i64 = 500;

#[derive(Debug, Clone, Default)]
pub struct ForecastInput {
    /// None: today in the configured zone, by the clock.
    pub from: Option<NaiveDate>,
    /// Exclusive; none: a year later.
    pub to: Option<NaiveDate>,
    pub interval: Interval,
    /// The test clock whose customers are meant; none for the wall clock.
    pub clock_id: Option<ClockId>,
}

/// Charges of one span and currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub charges: i64,
    /// Minor units.
    pub amount: i64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.charges += other.charges;
        self.amount = self.amount.saturating_add(other.amount);
    }
}

/// By first day, exclusive last day and currency.
pub type Sums = BTreeMap<(NaiveDate, NaiveDate, Currency), Sum>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    pub range: Range,
    /// By span and currency; spans without a charge are left out.
    pub sums: Sums,
}

impl Forecast {
    /// Over the whole range, for each currency.
    pub fn totals(&self) -> BTreeMap<Currency, Sum> {
        let mut totals: BTreeMap<Currency, Sum> = BTreeMap::new();
        for ((_, _, currency), sum) in &self.sums {
            totals.entry(*currency).or_default().add(*sum);
        }
        totals
    }
}

pub async fn forecast(app: &App, input: ForecastInput) -> Done<Forecast> {
    let timeline = input.clock_id.map_or(Timeline::Wall, Timeline::Test);
    let now = match app.now_of(timeline).await {
        Err(Refusal::NotFound { id, .. }) => return Err(Refusal::invalid("clock_id", format!("there is no clock {id}"))),
        now => now?,
    };
    let range = range(app, &input, now)?;
    // A day more than any zone is ahead or behind.
    let end = range.to.checked_add_days(Days::new(2)).unwrap_or(NaiveDate::MAX).and_time(NaiveTime::MIN).and_utc();
    let mut sums = subscriptions(app, timeline, now, range, end).await?;
    let mut after = String::new();
    loop {
        let batch = store::installments::planned(&app.db, timeline, end, &after, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(Forecast { range, sums }) };
        after.clone_from(&last.id);
        for part in batch {
            // What is overdue is charged today.
            let date = calendar::local_date(part.due_at.max(now), part.timezone.0);
            put(&mut sums, &range, date, part.currency, part.amount);
        }
    }
}

async fn subscriptions(app: &App, timeline: Timeline, now: DateTime<Utc>, range: Range, end: DateTime<Utc>) -> Done<Sums> {
    let rules = Arc::new(app.rules.clone());
    let mut sums = Sums::new();
    let mut after = String::new();
    loop {
        let batch = store::subscriptions::planned(&app.db, timeline, end, &after, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(sums) };
        after = last.id.to_string();
        let rules = rules.clone();
        // Ten years of daily charges are work, and other requests wait on these threads.
        let summed = tokio::task::spawn_blocking(move || {
            for subscription in batch {
                add(&mut sums, subscription, now, &rules, &range);
            }
            sums
        });
        sums = summed.await.map_err(|_| Refusal::WrongState("the forecast was cut off".to_owned()))?;
    }
}

fn range(app: &App, input: &ForecastInput, now: DateTime<Utc>) -> Done<Range> {
    let from = input.from.unwrap_or_else(|| calendar::local_date(now, app.config.billing.timezone));
    let later = |years: u32| from.checked_add_months(Months::new(12 * years)).unwrap_or(NaiveDate::MAX);
    let range = Range { from, to: input.to.unwrap_or_else(|| later(1)), interval: input.interval };
    let mut checks = Checks::default();
    if range.to <= from {
        checks.fault("to", format!("must be after from, {from}"));
    } else if range.to > later(MAX_YEARS) {
        checks.fault("to", format!("must not be more than {MAX_YEARS} years after from, {from}"));
    } else if range.parts(MAX_PARTS + 1) > MAX_PARTS {
        checks.fault("interval", format!("would give more than {MAX_PARTS} spans: take a longer one, or a shorter range"));
    }
    checks.done()?;
    Ok(range)
}

/// Adds what one subscription will be charged: what is due by now is charged today, whatever its date.
fn add(sums: &mut Sums, mut subscription: Subscription, now: DateTime<Utc>, rules: &Rules, range: &Range) {
    let currency = subscription.currency;
    let mut date = subscription.today(now);
    let (overdue, _) = subscription.run(now, rules);
    // Without an instant at which something is due, nothing more is opened: it is parked, paused or held back.
    let ahead = subscription.due_at.map(|_| subscription.ahead(rules)).into_iter().flatten();
    for cycle in overdue.into_iter().chain(ahead) {
        // Charges are opened in order: one moved to a later day holds up those after it.
        date = date.max(cycle.bill_date);
        if date >= range.to {
            return;
        }
        put(sums, range, date, currency, cycle.amount);
    }
}

/// Counts one charge; what costs nothing is none.
fn put(sums: &mut Sums, range: &Range, date: NaiveDate, currency: Currency, amount: i64) {
    if let Some((start, end)) = range.part(date).filter(|_| amount > 0) {
        sums.entry((start, end, currency)).or_default().add(Sum { charges: 1, amount });
    }
}
