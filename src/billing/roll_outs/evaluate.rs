//! A page of subscriptions and what a roll-out does to each, by a few statements whatever their number.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    billing::{App, Result, credit_notes::accounts, subscriptions::edit::billed_days},
    domain::{
        count,
        customer::Customer,
        id::{ClockId, CustomerId, SubscriptionId},
        invoice::Invoice,
        roll_out::{Effect, LeftAloneReason, Options, SubscriptionFacts, Verdict, Versions},
        subscription::{Subscription, billed::unused_days},
    },
    store::{self, Tx},
};

/// A subscription, and what the roll-out does to it.
pub(crate) struct Evaluation {
    pub before: Subscription,
    /// By its own clock.
    pub now: DateTime<Utc>,
    pub verdict: Result<Verdict, LeftAloneReason>,
}

pub(crate) struct EvaluatedPage {
    pub evaluations: Vec<Evaluation>,
    /// The invoices of the days to come.
    pub billed: Vec<Invoice>,
    /// The customers of subscriptions that get credit.
    pub customers: BTreeMap<CustomerId, Customer>,
    /// Subscriptions that have an open invoice; only read if they are locked.
    pub owing: BTreeSet<SubscriptionId>,
    /// The last id of the page. None: there are no more pages.
    pub through: Option<String>,
}

/// The next page after an id. Locks in the order subscriptions, invoices, clocks, customers, if at all.
pub(crate) async fn page(
    app: &App,
    tx: &mut Tx,
    versions: &Versions,
    options: &Options,
    after: &str,
    lock: bool,
) -> Result<EvaluatedPage> {
    let limit = i64::from(app.config.billing.batch);
    let rows = rows(tx, versions, after, limit, lock).await?;
    let through = rows.last().filter(|_| count(rows.len()) == limit).map(|last| last.id.to_string());
    let rows: Vec<Subscription> = rows.into_iter().filter(|row| versions.concerns(row)).collect();
    let ids: Vec<SubscriptionId> = rows.iter().map(|row| row.id).collect();
    if ids.is_empty() {
        let (evaluations, billed) = (Vec::new(), Vec::new());
        return Ok(EvaluatedPage { evaluations, billed, customers: BTreeMap::new(), owing: BTreeSet::new(), through });
    }
    let mut owing = BTreeSet::new();
    if lock {
        let open = store::invoices::lock_open_of_subscriptions(tx, &ids).await?;
        owing.extend(open.into_iter().filter_map(|invoice| invoice.subscription_id));
    }
    let nows = nows(app, tx, &rows, lock).await?;
    let now_of = |row: &Subscription| nows.get(&row.timeline.clock_id()).copied().unwrap_or_else(|| app.clock.now());
    let billed = match options.when {
        Effect::Now => {
            let earliest = rows.iter().map(|row| row.today(now_of(row))).min().unwrap_or_default();
            store::invoices::reaching_past(tx, &ids, earliest, lock).await?
        }
        Effect::PeriodEnd => Vec::new(),
    };
    let accounts = accounts(tx, &billed).await?;
    let mut of: BTreeMap<SubscriptionId, Vec<&Invoice>> = BTreeMap::new();
    for invoice in &billed {
        if let Some(id) = invoice.subscription_id {
            of.entry(id).or_default().push(invoice);
        }
    }
    let mut evaluations = Vec::with_capacity(rows.len());
    for before in rows {
        let now = now_of(&before);
        let billed = billed_days(&before, of.get(&before.id).into_iter().flatten().copied(), before.today(now));
        let facts = SubscriptionFacts { now, unused: unused_days(&accounts, billed) };
        let verdict = versions.judge(options, &before, facts, &app.rules);
        evaluations.push(Evaluation { before, now, verdict });
    }
    let customers = credited(tx, &mut evaluations, lock).await?;
    Ok(EvaluatedPage { evaluations, billed, customers, owing, through })
}

async fn rows(tx: &mut Tx, versions: &Versions, after: &str, limit: i64, lock: bool) -> Result<Vec<Subscription>> {
    Ok(match versions {
        Versions::Plan(plans) => match plans.first() {
            Some(plan) if lock => store::subscriptions::lock_running_of_plan(tx, plan.id, after, limit).await?,
            Some(plan) => store::subscriptions::running_of_plan(tx, plan.id, after, limit).await?,
            None => Vec::new(),
        },
        Versions::AddOn(versions) | Versions::Discount(versions) => match versions.first() {
            Some(entry) if lock => store::subscriptions::lock_running_with(tx, &entry.id, after, limit).await?,
            Some(entry) => store::subscriptions::running_with(tx, &entry.id, after, limit).await?,
            None => Vec::new(),
        },
    })
}

/// Now by the clock of each subscription. A locked clock stands still.
async fn nows(app: &App, tx: &mut Tx, rows: &[Subscription], lock: bool) -> Result<BTreeMap<Option<ClockId>, DateTime<Utc>>> {
    let clocks: BTreeSet<ClockId> = rows.iter().filter_map(|row| row.timeline.clock_id()).collect();
    let mut nows = BTreeMap::from([(None, app.clock.now())]);
    if !clocks.is_empty() {
        let ids: Vec<ClockId> = clocks.into_iter().collect();
        let clocks = if lock { store::clocks::hold_many(tx, &ids).await? } else { store::clocks::get_many(tx, &ids).await? };
        nows.extend(clocks.into_iter().map(|clock| (Some(clock.id), clock.now_at)));
    }
    Ok(nows)
}

/// The customers of subscriptions that get credit. A customer of another currency cannot have credit: the verdict becomes a refusal.
async fn credited(tx: &mut Tx, evaluations: &mut [Evaluation], lock: bool) -> Result<BTreeMap<CustomerId, Customer>> {
    let owed = |one: &Evaluation| one.verdict.as_ref().is_ok_and(|verdict| verdict.changed.credit > 0);
    let ids: BTreeSet<CustomerId> = evaluations.iter().filter(|one| owed(one)).map(|one| one.before.customer_id).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<CustomerId> = ids.into_iter().collect();
    let found = if lock { store::customers::lock_many(tx, &ids).await? } else { store::customers::get_many(tx, &ids).await? };
    let customers: BTreeMap<CustomerId, Customer> = found.into_iter().map(|customer| (customer.id, customer)).collect();
    for one in evaluations.iter_mut().filter(|one| owed(one)) {
        if customers.get(&one.before.customer_id).is_none_or(|customer| customer.currency != one.before.currency) {
            one.verdict = Err(LeftAloneReason::CreditCurrency);
        }
    }
    Ok(customers)
}
