//! The bill run: opens the cycles of every subscription that is due, in batches, each batch one transaction.
//!
//! Guards "never twice" and "never lost": a cycle's invoice and the step to the next cycle are committed together, and
//! `unique (subscription, cycle)` stands behind it. No gateway is called here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    billing::{
        App, Result,
        invoices::{
            open::{Draft, open_invoices},
            void::void_invoices,
        },
        payment_methods::WaitingInvoices,
    },
    domain::{
        clock::Timeline,
        event::{Actor, Event},
        id::SubscriptionId,
        invoice::InvoiceStatus,
        subscription::{CycleDue, ScheduleEvent, Subscription, SubscriptionStatus},
    },
    store::{self, Tx},
    telemetry,
};

/// What a bill run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    pub subscriptions: usize,
    pub cycles: usize,
    pub parked: usize,
}

/// Opens everything due on a timeline by `now`, until nothing is.
pub async fn open_due(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<Opened> {
    let mut opened = Opened::default();
    loop {
        let batch = open_batch(app, timeline, now).await?;
        opened.subscriptions += batch.subscriptions;
        opened.cycles += batch.cycles;
        opened.parked += batch.parked;
        if batch.cycles > 0 && timeline == Timeline::Wall {
            // The first are charged while the next are opened.
            app.wakeups.collect.notify_one();
        }
        // All their cycles are opened at once, so those that are fewer than asked for were the last.
        if batch.subscriptions < app.config.billing.batch as usize || app.stopping.is_cancelled() {
            return Ok(opened);
        }
    }
}

async fn open_batch(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<Opened> {
    let mut tx = app.db.begin().await?;
    let mut due = store::subscriptions::due(&mut tx, timeline, now, app.config.billing.batch.into()).await?;
    if due.is_empty() {
        return Ok(Opened::default());
    }
    let mut opened = Opened { subscriptions: due.len(), ..Opened::default() };
    let mut drafts = Vec::with_capacity(due.len());
    let mut events = Vec::new();
    let mut terms_changed = Vec::new();
    let pausing = |s: &&Subscription| s.status == SubscriptionStatus::Paused || s.pause_at_period_end;
    let pausing: Vec<SubscriptionId> = due.iter().filter(pausing).map(|subscription| subscription.id).collect();
    let behind = if pausing.is_empty() { Vec::new() } else { store::invoices::subscriptions_behind(&mut tx, &pausing).await? };
    let mut another_method = Vec::new();
    for subscription in &mut due {
        let method = subscription.payment_method_id;
        let (cycles, turns) = subscription.run_owing(now, &app.rules, behind.contains(&subscription.id));
        if subscription.payment_method_id != method {
            another_method.push(subscription.id);
        }
        subscription.updated_at = now;
        terms_changed.push(!turns.is_empty());
        opened.parked += usize::from(turns.iter().any(|turn| matches!(turn, ScheduleEvent::Parked(_))));
        events.extend(turns.iter().map(|turn| turn_event(app, subscription, turn, now)));
        drafts.extend(cycles.into_iter().map(|cycle| draft(subscription, cycle)));
    }
    opened.cycles = drafts.len();
    let ended: Vec<SubscriptionId> =
        due.iter().filter(|s| s.status == SubscriptionStatus::Cancelled).map(|subscription| subscription.id).collect();
    if !ended.is_empty() {
        // As when it is cancelled at once: nothing is collected for it any more.
        let open = store::invoices::lock_open_of_subscriptions(&mut tx, &ended).await?;
        events.extend(void_invoices(&mut tx, app, now, &Actor::System, open, "the subscription was cancelled").await?);
    }
    let waiting = waiting_invoices(&mut tx, &another_method).await?;
    let (invoices, opening) = open_invoices(&mut tx, app, now, &Actor::System, drafts).await?;
    events.extend(opening);
    // Credit may have paid the last charge at once: nobody else would complete these.
    let mut paid_at_once: BTreeMap<SubscriptionId, bool> = BTreeMap::new();
    for invoice in &invoices {
        if let Some(id) = invoice.subscription_id {
            let all_paid = paid_at_once.entry(id).or_insert(true);
            *all_paid &= invoice.status == InvoiceStatus::Paid;
        }
    }
    complete_paid(app, &mut tx, &mut due, &paid_at_once, now, &mut events).await?;
    let (changed, moved): (Vec<_>, Vec<_>) =
        due.into_iter().zip(terms_changed).partition(|(subscription, changed)| *changed || subscription.status.is_ended());
    let only = |pairs: Vec<(Subscription, bool)>| pairs.into_iter().map(|pair| pair.0).collect::<Vec<_>>();
    store::subscriptions::save(&mut tx, &only(changed)).await?;
    store::subscriptions::save_progress(&mut tx, &only(moved)).await?;
    waiting.collect(&mut tx, app, &Actor::System, now, &mut events).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    metrics::counter!(telemetry::CYCLES_OPENED).increment(opened.cycles as u64);
    Ok(opened)
}

/// Open invoices that wait, of subscriptions that get another method with their next cycle.
async fn waiting_invoices(tx: &mut Tx, subscriptions: &[SubscriptionId]) -> Result<WaitingInvoices> {
    let open = match subscriptions {
        [] => Vec::new(),
        _ => store::invoices::lock_open_of_subscriptions(tx, subscriptions).await?,
    };
    WaitingInvoices::among(tx, open).await
}

/// The invoice that a due cycle asks for.
pub(crate) fn draft(subscription: &Subscription, cycle: CycleDue) -> Draft {
    Draft {
        customer_id: subscription.customer_id,
        subscription_id: Some(subscription.id),
        installment: None,
        cycle: cycle.cycle,
        timeline: subscription.timeline,
        currency: subscription.currency,
        timezone: subscription.timezone,
        description: cycle.description,
        period: Some((cycle.period_start, cycle.period_end)),
        lines: cycle.lines,
        due_at: cycle.bill_at,
    }
}

async fn complete_paid(
    app: &App,
    tx: &mut Tx,
    due: &mut [Subscription],
    paid_at_once: &BTreeMap<SubscriptionId, bool>,
    now: DateTime<Utc>,
    events: &mut Vec<Event>,
) -> Result<()> {
    let exhausted: Vec<SubscriptionId> =
        due.iter().filter(|s| s.is_exhausted() && paid_at_once.get(&s.id).copied().unwrap_or(true)).map(|s| s.id).collect();
    if exhausted.is_empty() {
        return Ok(());
    }
    let owing = store::invoices::subscriptions_owing(tx, &exhausted).await?;
    for subscription in due.iter_mut().filter(|s| exhausted.contains(&s.id) && !owing.contains(&s.id)) {
        subscription.end(SubscriptionStatus::Completed, now);
        events.push(turn_event(app, subscription, &ScheduleEvent::Completed, now));
    }
    Ok(())
}

fn turn_event(app: &App, subscription: &Subscription, turn: &ScheduleEvent, now: DateTime<Utc>) -> Event {
    let (kind, data) = match turn {
        ScheduleEvent::Paused => ("subscription.paused", json!({ "reason": "as scheduled, at the period's end" })),
        ScheduleEvent::Resumed => ("subscription.resumed", json!({})),
        ScheduleEvent::ChangeApplied => ("subscription.changed", json!({ "when": "period_end" })),
        ScheduleEvent::Skipped(cycles) => ("subscription.cycles_skipped", json!({ "cycles": cycles })),
        ScheduleEvent::Parked(reason) => ("subscription.parked", json!({ "reason": reason })),
        ScheduleEvent::Cancelled => ("subscription.cancelled", json!({ "reason": "as scheduled, at the period's end" })),
        ScheduleEvent::Completed => ("subscription.completed", json!({})),
    };
    app.event(subscription.timeline, now, &Actor::System, kind, subscription.id, data)
}
