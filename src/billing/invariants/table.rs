//! Every invariant, declared once: its name, what must hold, what to do where it does not, and how it is looked for.

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::MutexGuard;

use super::{CycleScan, Invariant, Look};
use crate::{
    billing::{App, Result},
    domain::{
        count,
        id::{CustomerId, Id, SubscriptionId},
    },
    store::{
        self,
        invariants::{self, Finding},
        sums::{CustomerSums, Sums},
    },
};

/// Ids shown for one invariant.
const SHOWN: usize = 5;
/// Subscriptions whose cycles are counted in one look. Each look takes the next page, so that all are counted in the end.
const PAGE: usize = 2000;
/// How long after a lease ended somebody must have taken over its row.
const AFTER_LEASE: TimeDelta = TimeDelta::minutes(1);

/// In the order in which `/v1/health/billing` shows them.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "subscriptions_parked",
        rule: "no subscription waits for an operator",
        remedy: "decide and unpark",
        find: |look| Box::pin(async move { Ok(invariants::subscriptions_parked(&look.app.db).await?) }),
    },
    Invariant {
        name: "invoices_parked",
        rule: "no invoice waits for an operator",
        remedy: "mend what the gateway refuses, and collect",
        find: |look| Box::pin(async move { Ok(invariants::invoices_parked(&look.app.db).await?) }),
    },
    Invariant {
        name: "installment_plans_defaulted",
        rule: "no installment plan has defaulted",
        remedy: "restore, pay off or cancel these",
        find: |look| Box::pin(async move { Ok(invariants::installment_plans_defaulted(&look.app.db).await?) }),
    },
    Invariant {
        name: "installment_plans_stalled",
        rule: "every installment plan that is not paid has something to come",
        remedy: "pay what has failed, or cancel these",
        find: |look| Box::pin(async move { Ok(invariants::installment_plans_stalled(&look.app.db).await?) }),
    },
    Invariant {
        name: "payments_parked",
        rule: "no payment waits for an operator",
        remedy: "ask the gateway and resolve",
        find: |look| Box::pin(async move { Ok(invariants::payments_parked(&look.app.db).await?) }),
    },
    Invariant {
        name: "refunds_parked",
        rule: "no refund waits for an operator",
        remedy: "ask the gateway and resolve",
        find: |look| Box::pin(async move { Ok(invariants::refunds_parked(&look.app.db).await?) }),
    },
    Invariant {
        name: "payment_requests_parked",
        rule: "no payment request waits for an operator",
        remedy: "see what was paid, and withdraw",
        find: |look| Box::pin(async move { Ok(invariants::payment_requests_parked(&look.app.db).await?) }),
    },
    Invariant {
        name: "payment_requests_overdue",
        rule: "what was paid by each payment request is asked in time",
        remedy: "the payment_requests job should have asked",
        find: |look| {
            Box::pin(async move { Ok(finding(invariants::payment_requests_overdue(&look.app.db, look.overdue).await?)) })
        },
    },
    Invariant {
        name: "payments_beyond_lease",
        rule: "no payment is left by a daemon that has gone silent",
        remedy: "the lookups job should have taken these up",
        find: |look| Box::pin(async move { Ok(invariants::payments_beyond_lease(&look.app.db, look.now - AFTER_LEASE).await?) }),
    },
    Invariant {
        name: "refunds_beyond_lease",
        rule: "no refund is left by a daemon that has gone silent",
        remedy: "the lookups job should have taken these up",
        find: |look| {
            Box::pin(async move { Ok(finding(invariants::refunds_beyond_lease(&look.app.db, look.now - AFTER_LEASE).await?)) })
        },
    },
    Invariant {
        name: "authorizations_beyond_lease",
        rule: "no authorization is left by a daemon that has gone silent",
        remedy: "the lookups job should have taken these up",
        find: |look| {
            Box::pin(
                async move { Ok(finding(invariants::authorizations_beyond_lease(&look.app.db, look.now - AFTER_LEASE).await?)) },
            )
        },
    },
    Invariant {
        name: "authorizations_taken",
        rule: "no money was taken lately by an authorization that was to be voided",
        remedy: "no invoice knows of this money: give it back at the gateway",
        find: |look| Box::pin(async move { Ok(finding(invariants::authorizations_taken(&look.app.db, look.recent).await?)) }),
    },
    Invariant {
        name: "payments_long_unknown",
        rule: "no payment has been unknown for a day",
        remedy: "the gateway has not said what became of these",
        find: |look| {
            Box::pin(async move { Ok(invariants::payments_long_unknown(&look.app.db, look.now - TimeDelta::days(1)).await?) })
        },
    },
    Invariant {
        name: "subscriptions_overdue",
        rule: "no subscription is due for longer than invariants.overdue_after",
        remedy: "the bill run should have opened a cycle",
        find: |look| Box::pin(async move { Ok(invariants::subscriptions_overdue(&look.app.db, look.overdue).await?) }),
    },
    Invariant {
        name: "subscriptions_adrift",
        rule: "every active subscription is found by the bill run when its next bill date comes",
        remedy: "these have a next bill date and will not be billed: change or resume them",
        find: |look| Box::pin(async move { Ok(finding(invariants::subscriptions_adrift(&look.app.db).await?)) }),
    },
    Invariant {
        name: "installment_plans_overdue",
        rule: "no installment is due for longer than invariants.overdue_after",
        remedy: "the bill run should have opened its invoice",
        find: |look| Box::pin(async move { Ok(invariants::installment_plans_overdue(&look.app.db, look.overdue).await?) }),
    },
    Invariant {
        name: "invoices_overdue",
        rule: "no invoice waits for an attempt for longer than invariants.overdue_after",
        remedy: "collection should have charged these",
        find: |look| Box::pin(async move { Ok(invariants::invoices_overdue(&look.app.db, look.overdue).await?) }),
    },
    Invariant {
        name: "invoices_stuck",
        rule: "every open invoice has an attempt to come, a payment on its way, or a customer who was asked",
        remedy: "nothing will collect these by itself: collect, void or write off",
        find: |look| Box::pin(async move { Ok(finding(invariants::invoices_stuck(&look.app.db).await?)) }),
    },
    Invariant {
        name: "invoices_refused",
        rule: "no invoice has met only refusals for longer than collection.refused_after, by its own clock",
        remedy: "mend what the gateway refuses, or give these up",
        find: |look| Box::pin(async move { Ok(finding(invoices_refused(look).await?)) }),
    },
    Invariant {
        name: "cycles_without_invoice",
        rule: "every cycle that was billed has its one invoice",
        remedy: "compare the invoices of these subscriptions with their cycles_billed",
        find: |look| Box::pin(async move { Ok(finding(cycles_without_invoice(look.app).await?)) }),
    },
    Invariant {
        name: "invoices_overpaid",
        rule: "no recent payment has brought more than its invoice needs",
        remedy: "refund what is too much",
        find: |look| Box::pin(async move { Ok(invariants::invoices_overpaid(&look.app.db, look.recent).await?) }),
    },
    Invariant {
        name: "invoices_disagree",
        rule: "every recent invoice was paid what it took of its payments and of the balance",
        remedy: "amount_paid is not the sum of the payments of these",
        find: |look| Box::pin(async move { Ok(look.invoices_where(|sums| sums.amount_paid - sums.credit_paid != sums.taken)) }),
    },
    Invariant {
        name: "refunds_disagree",
        rule: "every recent invoice gave back what its refunds did",
        remedy: "amount_refunded or amount_credited is not the sum of the refunds of these",
        find: |look| {
            Box::pin(async move {
                Ok(look.invoices_where(|sums| {
                    sums.amount_refunded != sums.returned
                        || sums.given_back != sums.refunded
                        || sums.amount_credited != sums.credited
                }))
            })
        },
    },
    Invariant {
        name: "credit_notes_disagree",
        rule: "every recent invoice was reduced by what its credit notes say",
        remedy: "amount_reduced and credit_given are not the sum of the credit notes of these",
        find: |look| {
            Box::pin(async move { Ok(look.invoices_where(|sums| sums.amount_reduced + sums.credit_given != sums.noted)) })
        },
    },
    Invariant {
        name: "customers_overcredited",
        rule: "no customer has more credit and refunds than money came and operators granted",
        remedy: "take the credit of these back, as far as it is still there",
        find: |look| Box::pin(async move { Ok(finding(customers_overcredited(look.app, look.recent).await?)) }),
    },
    Invariant {
        name: "payments_disagree",
        rule: "every payment with a recent refund gave back what its refunds did",
        remedy: "amount_refunded is not the sum of the refunds of these",
        find: |look| Box::pin(async move { Ok(finding(store::sums::payments_misreturned(&look.app.db, look.recent).await?)) }),
    },
    Invariant {
        name: "balances_disagree",
        rule: "the balance of every customer with a recent credit is the sum of their credits",
        remedy: "compare the balance of these with their credits",
        find: |look| Box::pin(async move { Ok(finding(store::sums::balances_off(&look.app.db, look.recent).await?)) }),
    },
    Invariant {
        name: "gateways_paused",
        rule: "every gateway is charged",
        remedy: "nothing is charged at these for now",
        find: |look| Box::pin(async move { Ok(finding(gateways_paused(look.app, look.now).await?)) }),
    },
    Invariant {
        name: "gateways_refused",
        rule: "no gateway refuses the merchant's account",
        remedy: "mend key, merchant or account, and resume these",
        find: |look| Box::pin(async move { Ok(finding(gateways_refused(look.app).await?)) }),
    },
    Invariant {
        name: "jobs_late",
        rule: "every job has ended a run within two of its periods, or two hours if that is longer",
        remedy: "these have not: see the log",
        find: |look| Box::pin(async move { Ok(finding(look.app.last_runs.late(look.now))) }),
    },
];

fn finding<T: ToString>(ids: impl IntoIterator<Item = T>) -> Finding {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    Finding { count: count(ids.len()), ids: ids.into_iter().take(SHOWN).collect() }
}

impl Look<'_> {
    /// The recent invoices whose sums are wrong.
    fn invoices_where(&self, wrong: fn(&Sums) -> bool) -> Finding {
        finding(self.sums.iter().filter(|sums| wrong(sums)).map(|sums| sums.id))
    }
}

/// Each with the latest reason.
async fn invoices_refused(look: &Look<'_>) -> Result<Vec<String>> {
    let refused_after = look.app.config.collection.refused_after;
    let found = invariants::invoices_refused(&look.app.db, look.now, refused_after).await?;
    Ok(found.into_iter().map(|(id, reason)| format!("{id} ({reason})")).collect())
}

fn cycle_scan(app: &App) -> MutexGuard<'_, CycleScan> {
    app.cycle_scan.lock()
}

/// Who has more back than came, among those with recent credit.
async fn customers_overcredited(app: &App, recent: DateTime<Utc>) -> Result<Vec<CustomerId>> {
    let sums = store::sums::of_customers(&app.db, recent).await?;
    let too_much = |sums: &CustomerSums| sums.balance + sums.refunded + sums.disputed > sums.received + sums.granted;
    Ok(sums.into_iter().filter(too_much).map(|sums| sums.id).collect())
}

/// Counts the cycles of a page of all subscriptions, and of those that were found before.
async fn cycles_without_invoice(app: &App) -> Result<Vec<SubscriptionId>> {
    let (after, broken) = {
        let cycle_scan = cycle_scan(app);
        (cycle_scan.after.unwrap_or(Id::from_bits(0)), cycle_scan.broken.clone())
    };
    let page = invariants::subscriptions_after(&app.db, after, count(PAGE)).await?;
    let after = page.last().copied().filter(|_| page.len() == PAGE);
    let asked: Vec<SubscriptionId> = broken.into_iter().chain(page).collect();
    let found = invariants::cycles_without_invoice(&app.db, &asked).await?;
    let mut cycle_scan = cycle_scan(app);
    cycle_scan.after = after;
    cycle_scan.broken = found.iter().copied().take(PAGE).collect();
    Ok(found)
}

/// Gateways that refuse the account, each with what it said.
async fn gateways_refused(app: &App) -> Result<Vec<String>> {
    let refused = store::gateways::refused(&app.db).await?;
    let configured = refused.into_iter().filter(|refusal| app.gateways.get(&refusal.gateway).is_some());
    Ok(configured.map(|refusal| format!("{} ({})", refusal.gateway, refusal.reason)).collect())
}

/// Gateways at which nothing is charged now: their circuit is open on this daemon, or an operator paused them.
async fn gateways_paused(app: &App, now: DateTime<Utc>) -> Result<Vec<String>> {
    let paused = store::gateways::paused(&app.db).await?;
    let is_paused = |name: &str| paused.iter().any(|pause| pause.gateway == name);
    let all = app.gateways.all();
    Ok(all
        .filter(|(name, health)| is_paused(name) || !health.breaker(now).is_closed())
        .map(|(name, _)| name.to_owned())
        .collect())
}
