//! Cancel, at once or at the period's end, and keep, which undoes what waits for that end.

use serde_json::json;

use super::edit::{ChangePreview, SubscriptionEdit};
use crate::{
    billing::{App, BillingError, Result, invoices::void::void_invoices},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{
            BilledDays,
            SubscriptionStatus::{Active, Cancelled, Parked, PastDue, Paused, Trialing},
            When,
            change::Changed,
        },
    },
    store,
};

/// Cancelling now stops everything: open invoices are voided; one with a payment under way is left to that payment's
/// settlement. `credit`: what was paid for days to come goes to the customer's credit.
pub async fn cancel(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    when: When,
    credit: bool,
    preview: bool,
) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("cancelled", &[Trialing, Active, PastDue, Paused, Parked])?;
    let today = held.subscription.today(held.now);
    let period = held.subscription.running_period(today);
    let bills = !matches!(held.subscription.status, Paused | Parked);
    if let (When::PeriodEnd, Some(period), true) = (when, period, bills) {
        if credit {
            return Err(BillingError::invalid(
                "credit",
                "only goes with when: now, as nothing is left unused at the period's end",
            ));
        }
        if held.subscription.cancel_at_period_end {
            return Err(BillingError::WrongState("it is cancelled at the period's end already".to_owned()));
        }
        held.must_not_wait_to_pause()?;
        held.subscription.cancel_at_period_end = true;
        return held.finish(preview, Changed::on(period.1), "subscription.cancel_scheduled", json!({})).await;
    }
    let open = store::invoices::lock_open_of_subscription(&mut held.tx, id).await?;
    let mut changed = Changed::on(today);
    if credit {
        let billed: i64 = held.billed_ahead(today).await?.iter().map(BilledDays::amount).sum();
        // What is still owed for these days is not paid any more.
        let owed: i64 = open.iter().filter(|invoice| invoice.period_end > Some(today)).map(|invoice| invoice.subtotal).sum();
        changed.credit = (billed - owed).max(0);
        held.give_credit(changed.credit).await?;
    }
    let now = held.now;
    held.subscription.end(Cancelled, now);
    let events = void_invoices(&mut held.tx, app, now, actor, open, "the subscription was cancelled").await?;
    held.events.extend(events);
    held.finish(preview, changed, "subscription.cancelled", json!({ "reason": "by the operator" })).await
}

/// Undoes a cancellation, a pause or a change that waits for the period's end.
pub async fn keep(app: &App, actor: &Actor, id: SubscriptionId, preview: bool) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("kept", &[Trialing, Active, PastDue, Paused, Parked])?;
    let subscription = &mut held.subscription;
    if !subscription.cancel_at_period_end && !subscription.pause_at_period_end && subscription.pending_change.is_none() {
        return Err(BillingError::WrongState("nothing waits for the period's end".to_owned()));
    }
    if subscription.pause_at_period_end {
        subscription.pause_at_period_end = false;
        subscription.paused_until = None;
    }
    subscription.cancel_at_period_end = false;
    subscription.pending_change = None;
    let today = subscription.today(held.now);
    held.finish(preview, Changed::on(today), "subscription.kept", json!({})).await
}
