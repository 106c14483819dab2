//! The invariants: what must hold of the batch at any moment, one line each, with the ids that break it. Asked by a job, which
//! says when a line turns bad or good again, and by `/v1/health/billing`.

use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{App, Result};
use crate::{
    domain::{
        clock::Timeline,
        event::Actor,
        id::{Id, SubscriptionId},
    },
    store::{
        self,
        invariants::{self, Finding, Sums, Violation},
    },
};

/// Ids shown for one line.
const SHOWN: usize = 5;
/// Subscriptions whose cycles are counted in one look; all have their turn.
const PAGE: i64 = 2000;
/// How long after the end of a claim somebody must have taken it up.
const AFTER_LEASE: TimeDelta = TimeDelta::minutes(1);

/// Every line, in the order of [`check`].
pub const NAMES: [&str; 23] = [
    "subscriptions_parked",
    "payments_parked",
    "refunds_parked",
    "payment_requests_parked",
    "payment_requests_overdue",
    "payments_beyond_lease",
    "refunds_beyond_lease",
    "authorizations_beyond_lease",
    "authorizations_taken",
    "payments_long_unknown",
    "subscriptions_overdue",
    "subscriptions_adrift",
    "installment_plans_overdue",
    "invoices_overdue",
    "invoices_stuck",
    "cycles_without_invoice",
    "invoices_overpaid",
    "invoices_disagree",
    "refunds_disagree",
    "payments_disagree",
    "balances_disagree",
    "gateways_paused",
    "jobs_late",
];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    pub name: &'static str,
    /// What must hold.
    pub rule: &'static str,
    /// What to do where it does not.
    pub remedy: &'static str,
    pub found: Finding,
}

impl Invariant {
    pub fn holds(&self) -> bool {
        self.found.count == 0
    }
}

/// How far the counting of cycles has come, and which did not add up: those are looked at each time.
#[derive(Debug, Default)]
pub struct CycleScan {
    after: Option<SubscriptionId>,
    broken: BTreeSet<SubscriptionId>,
}

fn finding<T: ToString>(ids: impl IntoIterator<Item = T>) -> Finding {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    Finding { count: ids.len() as i64, ids: ids.into_iter().take(SHOWN).collect() }
}

fn span(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(36_500))
}

/// Looks at every line.
pub async fn check(app: &App) -> Result<Vec<Invariant>> {
    let (db, now) = (&app.db, app.clock.now());
    let overdue = now - span(app.config.invariants.overdue_after);
    let recent = now - span(app.config.invariants.recent);
    let sums = invariants::sums(db, recent).await?;
    let of = |wrong: fn(&Sums) -> bool| finding(sums.iter().filter(|sums| wrong(sums)).map(|sums| sums.id));
    let lines: [_; NAMES.len()] = [
        (
            "subscriptions_parked",
            "no subscription waits for an operator",
            "decide and unpark",
            invariants::subscriptions_parked(db).await?,
        ),
        (
            "payments_parked",
            "no payment waits for an operator",
            "ask the gateway and resolve",
            invariants::payments_parked(db).await?,
        ),
        (
            "refunds_parked",
            "no refund waits for an operator",
            "ask the gateway and resolve",
            invariants::refunds_parked(db).await?,
        ),
        (
            "payment_requests_parked",
            "no payment request waits for an operator",
            "see what was paid, and withdraw",
            invariants::payment_requests_parked(db).await?,
        ),
        (
            "payment_requests_overdue",
            "what was paid by each payment request is asked in time",
            "the payment_requests job should have asked",
            finding(invariants::payment_requests_overdue(db, overdue).await?),
        ),
        (
            "payments_beyond_lease",
            "no payment is left by a daemon that has gone silent",
            "the look-ups job should have taken these up",
            invariants::payments_beyond_lease(db, now - AFTER_LEASE).await?,
        ),
        (
            "refunds_beyond_lease",
            "no refund is left by a daemon that has gone silent",
            "the look-ups job should have taken these up",
            finding(invariants::refunds_beyond_lease(db, now - AFTER_LEASE).await?),
        ),
        (
            "authorizations_beyond_lease",
            "no authorization is left by a daemon that has gone silent",
            "the look-ups job should have taken these up",
            finding(invariants::authorizations_beyond_lease(db, now - AFTER_LEASE).await?),
        ),
        (
            "authorizations_taken",
            "no money was taken lately of a reservation that was to be given free",
            "no invoice knows of this money: give it back at the gateway",
            finding(invariants::authorizations_taken(db, recent).await?),
        ),
        (
            "payments_long_unknown",
            "no payment has been unknown for a day",
            "the gateway has not said what became of these",
            invariants::payments_long_unknown(db, now - TimeDelta::days(1)).await?,
        ),
        (
            "subscriptions_overdue",
            "no subscription is due for longer than invariants.overdue_after",
            "the bill run should have opened a cycle",
            invariants::subscriptions_overdue(db, overdue).await?,
        ),
        (
            "subscriptions_adrift",
            "every active subscription is found by the bill run when its next bill date comes",
            "these have a next bill date and will not be billed: change or resume them",
            finding(invariants::subscriptions_adrift(db).await?),
        ),
        (
            "installment_plans_overdue",
            "no installment is due for longer than invariants.overdue_after",
            "the bill run should have opened its invoice",
            invariants::installment_plans_overdue(db, overdue).await?,
        ),
        (
            "invoices_overdue",
            "no invoice waits for an attempt for longer than invariants.overdue_after",
            "collection should have charged these",
            invariants::invoices_overdue(db, overdue).await?,
        ),
        (
            "invoices_stuck",
            "every open invoice has an attempt to come, a payment on its way, or a customer who was asked",
            "nothing will collect these by itself: collect, void or write off",
            finding(invariants::invoices_stuck(db).await?),
        ),
        (
            "cycles_without_invoice",
            "every cycle that was billed has its one invoice",
            "compare the invoices of these subscriptions with their cycles_billed",
            finding(cycles_without_invoice(app).await?),
        ),
        (
            "invoices_overpaid",
            "no recent invoice has brought more than its total",
            "refund what is too much",
            invariants::invoices_overpaid(db, recent).await?,
        ),
        (
            "invoices_disagree",
            "every recent invoice was paid what its payments captured",
            "amount_paid is not the sum of the payments of these",
            of(|sums| sums.amount_paid != sums.captured.min(sums.total)),
        ),
        (
            "refunds_disagree",
            "every recent invoice gave back what its refunds did",
            "amount_refunded or amount_credited is not the sum of the refunds of these",
            of(|sums| {
                sums.amount_refunded != sums.refunded || sums.returned != sums.refunded || sums.amount_credited != sums.credited
            }),
        ),
        (
            "payments_disagree",
            "every payment with a recent refund gave back what its refunds did",
            "amount_refunded is not the sum of the refunds of these",
            finding(invariants::payments_misreturned(db, recent).await?),
        ),
        (
            "balances_disagree",
            "the balance of every customer with a recent credit is the sum of their credits",
            "compare the balance of these with their credits",
            finding(invariants::balances_off(db, recent).await?),
        ),
        ("gateways_paused", "every gateway is charged", "nothing is charged at these for now", finding(resting(app, now).await?)),
        (
            "jobs_late",
            "every job has ended a run within two of its periods, or two hours if that is longer",
            "these have not: see the log",
            finding(app.last_runs.late(now)),
        ),
    ];
    Ok(lines.into_iter().map(|(name, rule, remedy, found)| Invariant { name, rule, remedy, found }).collect())
}

fn cycle_scan(app: &App) -> MutexGuard<'_, CycleScan> {
    app.cycle_scan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A page of all subscriptions, and those that were found before.
async fn cycles_without_invoice(app: &App) -> Result<Vec<SubscriptionId>> {
    let (after, broken) = {
        let cycle_scan = cycle_scan(app);
        (cycle_scan.after.unwrap_or(Id::from_bits(0)), cycle_scan.broken.clone())
    };
    let page = invariants::subscriptions_after(&app.db, after, PAGE).await?;
    let after = page.last().copied().filter(|_| page.len() as i64 == PAGE);
    let asked: Vec<SubscriptionId> = broken.into_iter().chain(page).collect();
    let found = invariants::cycles_without_invoice(&app.db, &asked).await?;
    let mut cycle_scan = cycle_scan(app);
    cycle_scan.after = after;
    cycle_scan.broken = found.iter().copied().take(PAGE as usize).collect();
    Ok(found)
}

/// Gateways at which nothing is charged now: down as this daemon finds them, or paused by an operator.
async fn resting(app: &App, now: DateTime<Utc>) -> Result<Vec<String>> {
    let paused = store::gateways::paused(&app.db).await?;
    let rests = |name: &str| paused.iter().any(|pause| pause.gateway == name);
    let all = app.gateways.all();
    Ok(all.filter(|(name, health)| rests(name) || !health.breaker(now).is_closed()).map(|(name, _)| name.to_owned()).collect())
}

/// What the job has found anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    pub broken: usize,
    pub restored: usize,
}

/// Looks at every line, measures it, and says which have turned bad or good again since anybody last looked.
pub async fn watch(app: &App) -> Result<Changes> {
    let lines = check(app).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let known = invariants::violations(&mut tx).await?;
    let was_broken = |name: &str| known.iter().any(|violation| violation.name == name);
    let (broken, restored): (Vec<&Invariant>, Vec<&Invariant>) =
        lines.iter().filter(|line| line.holds() == was_broken(line.name)).partition(|line| !line.holds());
    let count = |name: &str| lines.iter().find(|line| line.name == name).map_or(0, |line| line.found.count);
    let recounted = known.iter().map(|violation| Violation { count: count(&violation.name), ..violation.clone() });
    let recounted: Vec<Violation> = recounted.filter(|violation| violation.count > 0 && !known.contains(violation)).collect();
    if broken.is_empty() && restored.is_empty() && recounted.is_empty() {
        return Ok(Changes::default());
    }
    invariants::recount(&mut tx, &recounted).await?;
    let event = |line: &Invariant, kind: &str, data| app.event(Timeline::Wall, now, &Actor::System, kind, line.name, data);
    let mut events = Vec::new();
    for line in &broken {
        tracing::error!(invariant = line.name, count = line.found.count, ids = line.found.ids.join(", "), "{}", line.remedy);
        let data = json!({ "rule": line.rule, "count": line.found.count, "ids": line.found.ids });
        events.push(event(line, "invariant.violated", data));
    }
    events.extend(restored.iter().map(|line| event(line, "invariant.restored", json!({ "rule": line.rule }))));
    let violations: Vec<Violation> =
        broken.iter().map(|line| Violation { name: line.name.to_owned(), count: line.found.count, broken_at: now }).collect();
    match invariants::broken(&mut tx, &violations).await {
        // Another daemon has looked at the same moment, and told it.
        Err(store::Error::Conflict) => return Ok(Changes::default()),
        done => done?,
    }
    let names: Vec<&str> = restored.iter().map(|line| line.name).collect();
    invariants::restored(&mut tx, &names).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(Changes { broken: broken.len(), restored: restored.len() })
}
