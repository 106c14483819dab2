//! A subscription in the hands of a verb: locked, changed in memory, and put down with its event in one transaction.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{
    App, Done, Refusal,
    open::{Draft, open_invoices},
};
use crate::{
    domain::{
        customer::Customer,
        event::{Actor, Event, difference},
        id::SubscriptionId,
        invoice::Invoice,
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx},
};

/// Locks are taken in the order subscription, invoices, customer, as settlement takes them.
pub(super) struct Held<'a> {
    pub app: &'a App,
    pub actor: &'a Actor,
    pub tx: Tx,
    /// By the subscription's clock.
    pub now: DateTime<Utc>,
    before: Subscription,
    pub subscription: Subscription,
    pub events: Vec<Event>,
    /// Something is to be collected now.
    pub collect: bool,
}

impl<'a> Held<'a> {
    pub async fn take(app: &'a App, actor: &'a Actor, id: SubscriptionId) -> Done<Self> {
        let mut tx = app.db.begin().await?;
        let subscription =
            store::subscriptions::lock(&mut tx, id).await?.ok_or_else(|| Refusal::not_found("subscription", id))?;
        // Here already, since what follows may lock the customer.
        store::invoices::lock_open_of_subscription(&mut tx, id).await?;
        let now = app.now_in(&mut tx, subscription.timeline).await?;
        Ok(Self { app, actor, tx, now, before: subscription.clone(), subscription, events: Vec::new(), collect: false })
    }

    /// Refuses unless it stands in one of these.
    pub fn must_be(&self, what: &str, allowed: &[SubscriptionStatus]) -> Done<()> {
        let status = self.subscription.status;
        if allowed.contains(&status) {
            return Ok(());
        }
        let hint = match status {
            SubscriptionStatus::Paused => ": resume it first",
            SubscriptionStatus::Parked => ": unpark it first",
            _ => "",
        };
        Err(Refusal::WrongState(format!("a subscription that is {status} cannot be {what}{hint}")))
    }

    /// Its customer, locked.
    pub async fn customer(&mut self) -> Done<Customer> {
        super::customers::locked(&mut self.tx, &self.subscription.customer_id.to_string()).await
    }

    pub async fn open(&mut self, drafts: Vec<Draft>) -> Done<Vec<Invoice>> {
        let (invoices, events) = open_invoices(&mut self.tx, self.app, self.now, self.actor, drafts).await?;
        self.events.extend(events);
        self.collect |= invoices.iter().any(|invoice| invoice.next_attempt_at.is_some());
        Ok(invoices)
    }

    pub fn event(&mut self, kind: &str, data: Value) {
        let (timeline, id) = (self.subscription.timeline, self.subscription.id);
        self.events.push(self.app.event(timeline, self.now, self.actor, kind, id, data));
    }

    /// Derives everything that follows from the change: when it is next due, whether it is past due, whether it is complete.
    pub async fn settle(&mut self) -> Done<()> {
        let open = store::invoices::lock_open_of_subscription(&mut self.tx, self.subscription.id).await?;
        let running = matches!(self.subscription.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing);
        if running && open.iter().any(|invoice| invoice.dunning_step > 0) {
            self.subscription.status = SubscriptionStatus::PastDue;
        }
        self.subscription.refresh(&self.app.rules);
        if self.subscription.is_exhausted() && open.is_empty() {
            self.subscription.end(SubscriptionStatus::Completed, self.now);
            self.event("subscription.completed", json!({}));
        }
        self.subscription.updated_at = self.now;
        Ok(())
    }

    /// Stores it with an event of this kind that says what changed, and `more`. Call [`Held::settle`] first.
    pub async fn commit(mut self, kind: &str, more: Value) -> Done<Subscription> {
        let mut data = difference(&self.before, &self.subscription);
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend::<Map<String, Value>>(more);
        }
        let (timeline, id) = (self.subscription.timeline, self.subscription.id);
        // Before what follows from it.
        self.events.insert(0, self.app.event(timeline, self.now, self.actor, kind, id, data));
        store::subscriptions::save(&mut self.tx, std::slice::from_ref(&self.subscription)).await?;
        store::events::append(&mut self.tx, &self.events).await?;
        self.tx.commit().await?;
        if self.collect {
            self.app.bells.collect.notify_one();
        }
        if self.subscription.due_at.is_some_and(|due| due <= self.now) {
            self.app.bells.bill.notify_one();
        }
        Ok(self.subscription)
    }
}
