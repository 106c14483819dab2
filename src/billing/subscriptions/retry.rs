//! Retry: collects now what a subscription owes, whatever the dunning ladder had in mind.

use serde_json::json;

use super::edit::SubscriptionEdit;
use crate::{
    billing::{App, BillingError, Result},
    domain::{event::Actor, id::SubscriptionId, subscription::Subscription},
    store,
};

pub async fn retry(app: &App, actor: &Actor, id: SubscriptionId) -> Result<Subscription> {
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    let open = store::invoices::lock_open_of_subscription(&mut edit.tx, id).await?;
    let ids: Vec<_> = open.iter().map(|invoice| invoice.id).collect();
    // An unknown payment must be looked up first, never repeated.
    let in_flight = store::payments::invoices_in_flight(&mut edit.tx, &ids).await?;
    let mut due: Vec<_> = open.into_iter().filter(|invoice| !in_flight.contains(&invoice.id)).collect();
    if due.is_empty() {
        let why = if in_flight.is_empty() { "nothing is owed" } else { "a payment is under way" };
        return Err(BillingError::WrongState(format!("there is nothing to retry: {why}")));
    }
    let now = edit.now;
    for invoice in &mut due {
        invoice.collect_now(now);
        let data = json!({ "subscription_id": id });
        edit.events.push(app.event(invoice.timeline, now, actor, "invoice.retried", invoice.id, data));
    }
    store::invoices::save(&mut edit.tx, &due).await?;
    edit.collect = true;
    edit.commit_as("subscription.retried", json!({ "invoices": ids })).await
}
