//! The list of what a roll-out would change. Stores nothing and locks nobody out; a page at a time, however many there are.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::{
    checked, ended,
    evaluate::{Evaluation, page},
    plans, target,
};
use crate::{
    billing::{App, Result},
    domain::{
        event::difference,
        id::{CustomerId, PlanId, SubscriptionId},
        invoice::Line,
        money::Currency,
        roll_out::{EntryType, Field, LeftAlone, LeftAloneReason, Options, Verdict},
        subscription::Subscription,
    },
};

/// Fields that a change does not show: the place of the subscription in its schedule, which its dates show.
const INNER: &[&str] =
    &["updated_at", "next_slot", "next_cycle", "cycles_billed", "due_at", "next_bill_at", "anchor_date", "passes_first_anchor"];

#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub revision: String,
    /// Only with the first page.
    pub totals: Option<RollOutTotals>,
    /// Plans whose copy of an add-on or discount changes; only with the first page.
    pub plans: Vec<PlanLine>,
    /// In order of their ids.
    pub lines: Vec<SubscriptionLine>,
    pub has_more: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollOutTotals {
    pub subscriptions: i64,
    pub left_alone: LeftAlone,
    pub currencies: BTreeMap<Currency, CurrencySums>,
}

/// Of the subscriptions that would change, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CurrencySums {
    pub subscriptions: i64,
    pub amount: i64,
    pub credit: i64,
    pub next_before: i64,
    pub next_after: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlanLine {
    pub plan_id: PlanId,
    pub name: String,
    pub before: Map<String, Value>,
    pub after: Map<String, Value>,
}

/// What would become of one subscription. Amounts in minor units.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionLine {
    pub subscription_id: SubscriptionId,
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub before: Map<String, Value>,
    pub after: Map<String, Value>,
    /// Fields in which it keeps values of its own.
    pub kept: Vec<Field>,
    pub effective_date: NaiveDate,
    /// Of the invoice that would be opened now.
    pub lines: Vec<Line>,
    /// Their sum.
    pub amount: i64,
    /// What would go to the customer's credit.
    pub credit: i64,
    /// The next charge; none when none is to come.
    pub next_before: Option<i64>,
    pub next_after: Option<i64>,
}

/// Lists the next `limit` subscriptions that would change after an id, all told with the first page.
pub async fn list(
    app: &App,
    entry: EntryType,
    key: &str,
    options: Options,
    after: Option<SubscriptionId>,
    limit: usize,
) -> Result<Listed> {
    let options = checked(entry, options)?;
    let mut tx = app.db.snapshot().await?;
    let target = target(&mut tx, entry, key, &options, false).await?;
    let first = after.is_none();
    let mut totals = RollOutTotals::default();
    let mut plan_lines = Vec::new();
    if first {
        let ended = ended(&mut tx, &target.versions).await?;
        if ended > 0 {
            totals.left_alone.insert(LeftAloneReason::Ended, ended);
        }
        for (before, after) in plans(&mut tx, &target.versions, &options, &target.entry_id, false).await? {
            let (was, will) = changed_fields(&before, &after);
            plan_lines.push(PlanLine { plan_id: before.id, name: before.name, before: was, after: will });
        }
    }
    let mut lines = Vec::new();
    let mut has_more = false;
    let mut through = Some(after.map(|id| id.to_string()).unwrap_or_default());
    while let Some(last) = through {
        let page = page(app, &mut tx, &target.versions, &options, &last, false).await?;
        for Evaluation { before, verdict, .. } in page.evaluations {
            let verdict = match verdict {
                Ok(verdict) => verdict,
                Err(reason) => {
                    *totals.left_alone.entry(reason).or_default() += 1;
                    continue;
                }
            };
            let next = [&before, &verdict.after].map(|it| Verdict::next_amount(it, &app.rules));
            totals.add(before.currency, &verdict, next);
            if lines.len() < limit {
                lines.push(line(&before, verdict, next));
            } else {
                has_more = true;
            }
        }
        through = page.through.filter(|_| first || !has_more);
    }
    Ok(Listed { revision: target.revision, totals: first.then_some(totals), plans: plan_lines, lines, has_more })
}

impl RollOutTotals {
    fn add(&mut self, currency: Currency, verdict: &Verdict, next: [Option<i64>; 2]) {
        self.subscriptions += 1;
        let sums = self.currencies.entry(currency).or_default();
        sums.subscriptions += 1;
        sums.amount += verdict.changed.amount;
        sums.credit += verdict.changed.credit;
        sums.next_before += next[0].unwrap_or(0);
        sums.next_after += next[1].unwrap_or(0);
    }
}

fn line(before: &Subscription, verdict: Verdict, next: [Option<i64>; 2]) -> SubscriptionLine {
    let (was, will) = changed_fields(before, &verdict.after);
    let changed = verdict.changed;
    SubscriptionLine {
        subscription_id: before.id,
        customer_id: before.customer_id,
        currency: before.currency,
        before: was,
        after: will,
        kept: verdict.kept,
        effective_date: changed.effective_date,
        lines: changed.lines,
        amount: changed.amount,
        credit: changed.credit,
        next_before: next[0],
        next_after: next[1],
    }
}

/// The fields that differ, before and after.
fn changed_fields(before: &impl serde::Serialize, after: &impl serde::Serialize) -> (Map<String, Value>, Map<String, Value>) {
    let mut sides = ["before", "after"].map(|side| difference(before, after)[side].as_object().cloned().unwrap_or_default());
    for side in &mut sides {
        side.retain(|name, _| !INNER.contains(&name.as_str()));
    }
    let [before, after] = sides;
    (before, after)
}
