//! What follows from a group of answers and needs statements of its own: done once for the whole group, when it is saved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::SettlementBatch;
use crate::{
    billing::{Result, invoices::void::void_invoices, payment_methods::end_mandates},
    domain::{
        clock::Timeline,
        event::Actor,
        id::{AuthorizationId, InstallmentPlanId, InvoiceId, PaymentMethodId, SubscriptionId},
        invoice::InvoiceStatus,
        subscription::SubscriptionStatus,
    },
    store::{self, Tx},
};

/// What is left to do at the save.
#[derive(Default)]
pub(super) struct FollowUps {
    /// Invoices whose ladder ends with a request to the customer.
    pub last_requests: BTreeSet<InvoiceId>,
    /// Authorizations that could not be captured.
    pub void_authorizations: BTreeSet<AuthorizationId>,
    /// Invoices that got money: nobody is asked for what they owed before.
    pub funded: BTreeSet<InvoiceId>,
    /// Invoices to be voided, and why and by whom.
    pub void_invoices: BTreeMap<InvoiceId, (String, Actor)>,
    /// Subscriptions that have been paid something: are they clear of debt now?
    pub paid: BTreeSet<SubscriptionId>,
    /// Subscriptions that ended for good: their other open invoices go with them.
    pub given_up: BTreeSet<SubscriptionId>,
    /// Installment plans that have just defaulted.
    pub defaulted: BTreeSet<InstallmentPlanId>,
    /// Methods to which the issuer stopped recurring charges, and whose clock says when.
    pub end_mandates: BTreeMap<PaymentMethodId, Timeline>,
}

impl SettlementBatch<'_> {
    pub(super) async fn void_authorizations(&mut self, tx: &mut Tx) -> Result<()> {
        let ids: Vec<AuthorizationId> = std::mem::take(&mut self.follow_ups.void_authorizations).into_iter().collect();
        if !ids.is_empty() {
            store::authorizations::void_used(tx, &ids, "it could not be captured", self.clocks.wall).await?;
            self.app.wakeups.look_up.notify_one();
        }
        Ok(())
    }

    /// What the request job is left to do: nobody is asked for what is paid, void or given up, nor for more than is owed.
    pub(super) async fn withdraw_requests(&mut self, tx: &mut Tx) -> Result<()> {
        let funded = &self.follow_ups.funded;
        let done = self.invoices.changed().filter(|(id, invoice)| funded.contains(id) || invoice.status != InvoiceStatus::Open);
        let done: Vec<InvoiceId> = done.map(|(id, _)| id).collect();
        if store::payment_requests::withdraw_of_invoices(tx, &done, self.clocks.wall).await? > 0 || !self.received.is_empty() {
            self.app.wakeups.requests.notify_one();
        }
        Ok(())
    }

    /// After the payments are written: an invoice whose payment has just ended has none under way any more.
    pub(super) async fn void_invoices(&mut self, tx: &mut Tx) -> Result<()> {
        for (id, (reason, actor)) in std::mem::take(&mut self.follow_ups.void_invoices) {
            let Some(invoice) = self.invoices.get(id).cloned() else { continue };
            let now = self.clocks.now(invoice.timeline);
            self.events.extend(void_invoices(tx, self.app, now, &actor, vec![invoice], &reason).await?);
        }
        Ok(())
    }

    /// A past-due subscription that owes nothing more is active again; one with nothing to come is complete.
    pub(super) async fn clear_of_debt(&mut self, tx: &mut Tx) -> Result<()> {
        let may_change = |id: &SubscriptionId| {
            self.subscriptions.get(*id).is_some_and(|it| it.status == SubscriptionStatus::PastDue || it.is_exhausted())
        };
        let candidates: Vec<SubscriptionId> = self.follow_ups.paid.iter().copied().filter(may_change).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let owing = store::invoices::subscriptions_owing(tx, &candidates).await?;
        for id in candidates.into_iter().filter(|id| !owing.contains(id)) {
            let Some(subscription) = self.subscriptions.change(id) else { continue };
            let now = self.clocks.now(subscription.timeline);
            subscription.updated_at = now;
            let recovered = subscription.status == SubscriptionStatus::PastDue;
            if recovered {
                subscription.status = SubscriptionStatus::Active;
                subscription.refresh(&self.app.rules);
            }
            let completed = subscription.is_exhausted();
            if completed {
                subscription.end(SubscriptionStatus::Completed, now);
            }
            if recovered {
                self.subscription_event("subscription.recovered", id, json!({}));
            }
            if completed {
                self.subscription_event("subscription.completed", id, json!({}));
            }
        }
        Ok(())
    }

    /// What else an ended subscription owes is not collected either, unless a payment for it is on its way.
    pub(super) async fn others_of_given_up(&mut self, tx: &mut Tx) -> Result<()> {
        for id in std::mem::take(&mut self.follow_ups.given_up) {
            let others = store::invoices::lock_open_of_subscription(tx, id).await?;
            let ids: Vec<InvoiceId> = others.iter().map(|invoice| invoice.id).collect();
            let in_flight = store::payments::invoices_in_flight(tx, &ids).await?;
            let mut ended = others;
            ended.retain(|invoice| !in_flight.contains(&invoice.id));
            for invoice in &mut ended {
                invoice.status = InvoiceStatus::Uncollectible;
                invoice.next_attempt_at = None;
                self.emit(invoice.timeline, &Actor::System, "invoice.uncollectible", invoice.id, json!({}));
            }
            store::invoices::save(tx, &ended).await?;
            let ended: Vec<InvoiceId> = ended.iter().map(|invoice| invoice.id).collect();
            store::payment_requests::withdraw_of_invoices(tx, &ended, self.clocks.wall).await?;
        }
        Ok(())
    }

    pub(super) async fn end_mandates(&mut self, tx: &mut Tx) -> Result<()> {
        for (method, timeline) in std::mem::take(&mut self.follow_ups.end_mandates) {
            let now = self.clocks.now(timeline);
            self.events.extend(end_mandates(self.app, tx, &[method], timeline, now).await?);
        }
        Ok(())
    }
}
