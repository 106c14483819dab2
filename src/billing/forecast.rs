//! A forecast: what the bill run will ask for, from the real schedules, summed by day, week or month. Nothing is stored.
//!
//! It is the bill run's own code that says what is charged and when: what is overdue now, then every later charge, with the
//! installments of running plans. Amounts are before a customer's credit. Declines, retries and invoices that are open already
//! are no part of it; `rebilld simulate` has those.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};

use super::{App, BillingError, Result, checks::Checks};
use crate::{
    domain::{
        calendar,
        clock::Timeline,
        forecast::{Interval, Range},
        money::Currency,
        subscription::{Rules, Subscription},
    },
    input::body,
    store,
};

const MAX_YEARS: u32 = 10;
const MAX_PARTS: usize = 2000;
/// Subscriptions read at a time.
const BATCH: i64 = 500;

body! {
    #[derive(Default)]
    pub struct ForecastInput {
        /// First day, by each subscription's own calendar; left out: today.
        pub from: Option<NaiveDate>,
        /// The day after the last, at most ten years on; left out: a year on.
        pub to: Option<NaiveDate>,
        /// Weeks start on Monday. At most 2000 spans; left out: `day`.
        pub interval: Option<Interval>,
        /// Only customers on this test clock, or with `wall` only those in real time; left out: everybody.
        pub clock_id: Option<Timeline>,
    }
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

/// By first day, exclusive last day, currency and timeline.
pub type ForecastSums = BTreeMap<(NaiveDate, NaiveDate, Currency, Timeline), Sum>;

/// What time it is on each timeline.
type Nows = HashMap<Timeline, DateTime<Utc>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    pub range: Range,
    /// Spans without a charge are left out.
    pub sums: ForecastSums,
}

impl Forecast {
    /// Over the whole range, for each currency and timeline.
    pub fn totals(&self) -> BTreeMap<(Currency, Timeline), Sum> {
        let mut totals: BTreeMap<(Currency, Timeline), Sum> = BTreeMap::new();
        for ((_, _, currency, timeline), sum) in &self.sums {
            totals.entry((*currency, *timeline)).or_default().add(*sum);
        }
        totals
    }
}

pub async fn forecast(app: &App, input: ForecastInput) -> Result<Forecast> {
    let nows = nows(app, input.clock_id).await?;
    let now = input.clock_id.and_then(|timeline| nows.get(&timeline).copied()).unwrap_or_else(|| app.clock.now());
    let range = range(app, &input, now)?;
    // A day more than any zone is ahead or behind.
    let end = range.to.checked_add_days(Days::new(2)).unwrap_or(NaiveDate::MAX).and_time(NaiveTime::MIN).and_utc();
    let nows = Arc::new(nows);
    let mut sums = subscriptions(app, input.clock_id, nows.clone(), range, end).await?;
    let mut after = String::new();
    loop {
        let batch = store::installments::planned(&app.db, input.clock_id, end, &after, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(Forecast { range, sums }) };
        after.clone_from(&last.id);
        for part in batch {
            // Not there when the clocks were read: made since.
            let Some(&now) = nows.get(&part.timeline) else { continue };
            // What is overdue is charged today.
            let date = calendar::local_date(part.due_at.max(now), part.timezone.0);
            put(&mut sums, &range, date, (part.currency, part.timeline), part.amount);
        }
    }
}

async fn nows(app: &App, timeline: Option<Timeline>) -> Result<Nows> {
    let wall = (Timeline::Wall, app.clock.now());
    match timeline {
        Some(Timeline::Wall) => Ok(Nows::from([wall])),
        Some(timeline) => match app.now_of(timeline).await {
            Err(BillingError::NotFound { id, .. }) => Err(BillingError::invalid("clock_id", format!("there is no clock {id}"))),
            now => Ok(Nows::from([(timeline, now?)])),
        },
        None => {
            let clocks = store::clocks::all(&app.db).await?;
            Ok(clocks.into_iter().map(|clock| (Timeline::Test(clock.id), clock.now_at)).chain([wall]).collect())
        }
    }
}

async fn subscriptions(
    app: &App,
    timeline: Option<Timeline>,
    nows: Arc<Nows>,
    range: Range,
    end: DateTime<Utc>,
) -> Result<ForecastSums> {
    let rules = Arc::new(app.rules.clone());
    let mut sums = ForecastSums::new();
    let mut after = String::new();
    loop {
        let batch = store::subscriptions::planned(&app.db, timeline, end, &after, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(sums) };
        after = last.id.to_string();
        let (rules, nows) = (rules.clone(), nows.clone());
        // Ten years of daily charges are work, and other requests wait on these threads.
        let summed = tokio::task::spawn_blocking(move || {
            for subscription in batch {
                if let Some(&now) = nows.get(&subscription.timeline) {
                    add(&mut sums, subscription, now, &rules, &range);
                }
            }
            sums
        });
        sums = summed.await.map_err(|_| BillingError::WrongState("the forecast was cut off".to_owned()))?;
    }
}

fn range(app: &App, input: &ForecastInput, now: DateTime<Utc>) -> Result<Range> {
    let from = input.from.unwrap_or_else(|| calendar::local_date(now, app.config.billing.timezone));
    let later = |years: u32| from.checked_add_months(Months::new(12 * years)).unwrap_or(NaiveDate::MAX);
    let range = Range { from, to: input.to.unwrap_or_else(|| later(1)), interval: input.interval.unwrap_or_default() };
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
fn add(sums: &mut ForecastSums, mut subscription: Subscription, now: DateTime<Utc>, rules: &Rules, range: &Range) {
    let key = (subscription.currency, subscription.timeline);
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
        put(sums, range, date, key, cycle.amount);
    }
}

/// Counts one charge; what costs nothing is none.
fn put(sums: &mut ForecastSums, range: &Range, date: NaiveDate, (currency, timeline): (Currency, Timeline), amount: i64) {
    if let Some((start, end)) = range.part(date).filter(|_| amount > 0) {
        sums.entry((start, end, currency, timeline)).or_default().add(Sum { charges: 1, amount });
    }
}
