//! Cancel, at once or at the period's end, and keep, which undoes what waits for that end.

use serde_json::json;

use super::{
    App, Done, Refusal,
    change::{When, billed_for, credit_customer, running_period},
    held::Held,
    void::void_invoices,
};
use crate::{
    domain::{
        event::Actor,
        id::SubscriptionId,
        invoice::InvoiceStatus,
        subscription::{
            Subscription,
            SubscriptionStatus::{Active, Cancelled, Parked, PastDue, Paused, Trialing},
        },
    },
    store,
};

/// Cancelling now stops everything: open invoices are voided; one with a payment under way is left to that payment's
/// settlement. `credit`: what was paid for days to come goes to the customer's credit.
pub async fn cancel(app: &App, actor: &Actor, id: SubscriptionId, when: When, credit: bool) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("cancelled", &[Trialing, Active, PastDue, Paused, Parked])?;
    let today = held.subscription.today(held.now);
    let period = running_period(&held.subscription, today);
    let bills = !matches!(held.subscription.status, Paused | Parked);
    if when == When::PeriodEnd && period.is_some() && bills {
        if credit {
            return Err(Refusal::invalid("credit", "only goes with when: now, as nothing is left unused at the period's end"));
        }
        if held.subscription.cancel_at_period_end {
            return Err(Refusal::WrongState("it is cancelled at the period's end already".to_owned()));
        }
        held.subscription.cancel_at_period_end = true;
        held.settle().await?;
        return held.commit("subscription.cancel_scheduled", json!({})).await;
    }
    if let Some(period) = period.filter(|_| credit)
        && let Some(paid) = billed_for(&mut held, period, &[InvoiceStatus::Paid]).await?
    {
        let unused = held.subscription.unused_credit(paid, today);
        if unused > 0 {
            let reason = format!("Unused days of {}", held.subscription.description);
            credit_customer(&mut held, unused, reason).await?;
        }
    }
    let now = held.now;
    held.subscription.end(Cancelled, now);
    held.subscription.updated_at = now;
    let open = store::invoices::lock_open_of_subscription(&mut held.tx, id).await?;
    let events = void_invoices(&mut held.tx, app, now, actor, open, "the subscription was cancelled").await?;
    held.events.extend(events);
    held.commit("subscription.cancelled", json!({ "reason": "by the operator" })).await
}

/// Undoes a cancellation or a change that waits for the period's end.
pub async fn keep(app: &App, actor: &Actor, id: SubscriptionId) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("kept", &[Trialing, Active, PastDue, Paused, Parked])?;
    if !held.subscription.cancel_at_period_end && held.subscription.pending_change.is_none() {
        return Err(Refusal::WrongState("nothing waits for the period's end".to_owned()));
    }
    held.subscription.cancel_at_period_end = false;
    held.subscription.pending_change = None;
    held.settle().await?;
    held.commit("subscription.kept", json!({})).await
}
