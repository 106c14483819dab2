//! The rows that a group of answers touches: locked, changed in memory, written at the close.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    billing::{App, Result, invoices::void::void_invoices},
    domain::{
        clock::Timeline,
        event::{Actor, Event},
        id::{AuthorizationId, InstallmentPlanId, InvoiceId, PaymentId, PaymentMethodId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus},
        lookup::LookupPolicy,
        payment::Payment,
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx, payments::Owner},
};

mod answers;
mod dunning;
mod installments;
mod ladder;
mod operator;
mod requests;
mod reserved;
mod resting;

use installments::Installments;

/// Locked rows by id, changed in memory, written at the close.
pub struct SettlementBatch<'a> {
    app: &'a App,
    wall: DateTime<Utc>,
    nows: BTreeMap<Timeline, DateTime<Utc>>,
    payments: BTreeMap<PaymentId, Payment>,
    invoices: BTreeMap<InvoiceId, Invoice>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    installments: Installments,
    policies: dunning::Policies,
    lookups: LookupPolicy,
    changed_payments: BTreeSet<PaymentId>,
    changed_invoices: BTreeSet<InvoiceId>,
    changed_subscriptions: BTreeSet<SubscriptionId>,
    /// Subscriptions that have been paid something: are they clear of debt now?
    paid: BTreeSet<SubscriptionId>,
    /// Invoices to be voided, and why and by whom.
    voids: BTreeMap<InvoiceId, (String, Actor)>,
    /// Methods to which the issuer stopped recurring charges.
    mandates_ended: BTreeSet<PaymentMethodId>,
    /// Subscriptions that ended for good: their other open invoices go with them.
    given_up: BTreeSet<SubscriptionId>,
    /// Reservations that could not be captured.
    void_used: BTreeSet<AuthorizationId>,
    events: Vec<Event>,
    /// What customers have paid by requests, to be inserted.
    received: Vec<Payment>,
    /// Invoices that got money: nobody is asked for what they owed before.
    funded: BTreeSet<InvoiceId>,
    /// Invoices whose ladder ends with a request.
    last_asks: BTreeSet<InvoiceId>,
}

/// Which subscriptions are to be locked: to be read, or only as far as a payment's success can change them.
#[derive(Default)]
struct Subscriptions {
    whole: BTreeSet<SubscriptionId>,
    paid: BTreeSet<SubscriptionId>,
}

impl Subscriptions {
    /// All are locked in the order of their ids, as everyone locks, before any is read.
    async fn lock(&self, tx: &mut Tx) -> Result<Vec<Subscription>> {
        let paid: Vec<SubscriptionId> = self.paid.difference(&self.whole).copied().collect();
        let whole: Vec<SubscriptionId> = self.whole.iter().copied().collect();
        Ok(store::subscriptions::lock_settling(tx, &whole, &paid).await?)
    }
}

impl<'a> SettlementBatch<'a> {
    /// Locks what these payments belong to, in the order subscription, installment plan, invoice, payment. `plain`: those that have
    /// simply succeeded, which seldom changes anything about the subscription, so that most of these need not be read.
    pub async fn open(app: &'a App, tx: &mut Tx, claimed: &[&Payment], plain: impl Fn(PaymentId) -> bool) -> Result<Self> {
        let invoices: Vec<InvoiceId> = claimed.iter().map(|payment| payment.invoice_id).collect();
        let changed: BTreeSet<InvoiceId> =
            claimed.iter().filter(|payment| !plain(payment.id)).map(|payment| payment.invoice_id).collect();
        let owners = store::payments::owners_of(tx, &invoices).await?;
        let plans: Vec<InstallmentPlanId> = owners.iter().filter_map(|owner| owner.2).collect();
        let (whole, paid): (Vec<&Owner>, Vec<&Owner>) = owners.iter().partition(|owner| changed.contains(&owner.0));
        let subscriptions = Subscriptions {
            whole: whole.into_iter().filter_map(|owner| owner.1).collect(),
            paid: paid.into_iter().filter_map(|owner| owner.1).collect(),
        };
        let timelines = claimed.iter().map(|payment| payment.timeline);
        let mut batch = Self::lock(app, tx, &subscriptions, &plans, &invoices, timelines).await?;
        batch.payments =
            store::payments::lock_claimed(tx, claimed).await?.into_iter().map(|payment| (payment.id, payment)).collect();
        Ok(batch)
    }

    /// Locks one invoice and the subscription or installment plan that it belongs to.
    pub async fn open_invoice(app: &'a App, tx: &mut Tx, invoice: &Invoice) -> Result<Self> {
        let subscriptions = Subscriptions { whole: invoice.subscription_id.into_iter().collect(), paid: BTreeSet::new() };
        let plans: Vec<_> = invoice.installment_plan_id.into_iter().collect();
        Self::lock(app, tx, &subscriptions, &plans, &[invoice.id], std::iter::once(invoice.timeline)).await
    }

    /// Nothing yet: for what belongs to no invoice.
    pub async fn open_none(app: &'a App, tx: &mut Tx, timeline: Timeline) -> Result<Self> {
        Self::lock(app, tx, &Subscriptions::default(), &[], &[], std::iter::once(timeline)).await
    }

    async fn lock(
        app: &'a App,
        tx: &mut Tx,
        subscriptions: &Subscriptions,
        plans: &[InstallmentPlanId],
        invoices: &[InvoiceId],
        timelines: impl Iterator<Item = Timeline>,
    ) -> Result<Self> {
        let mut nows = BTreeMap::new();
        for timeline in timelines {
            if let Entry::Vacant(slot) = nows.entry(timeline) {
                slot.insert(app.now_in(tx, timeline).await?);
            }
        }
        let subscriptions = subscriptions.lock(tx).await?;
        let installments = Installments::lock(tx, plans, invoices).await?;
        let invoices = store::invoices::lock_many(tx, invoices).await?;
        let mut batch = Self {
            app,
            wall: app.clock.now(),
            nows,
            payments: BTreeMap::new(),
            invoices: invoices.into_iter().map(|invoice| (invoice.id, invoice)).collect(),
            subscriptions: subscriptions.into_iter().map(|subscription| (subscription.id, subscription)).collect(),
            installments,
            policies: dunning::Policies::default(),
            lookups: app.config.collection.lookup_policy(),
            changed_payments: BTreeSet::new(),
            changed_invoices: BTreeSet::new(),
            changed_subscriptions: BTreeSet::new(),
            paid: BTreeSet::new(),
            voids: BTreeMap::new(),
            mandates_ended: BTreeSet::new(),
            given_up: BTreeSet::new(),
            void_used: BTreeSet::new(),
            events: Vec::new(),
            received: Vec::new(),
            funded: BTreeSet::new(),
            last_asks: BTreeSet::new(),
        };
        batch.read_policies(tx).await?;
        Ok(batch)
    }

    pub fn invoice(&self, id: InvoiceId) -> Option<&Invoice> {
        self.invoices.get(&id)
    }

    pub fn payment(&self, id: PaymentId) -> Option<Payment> {
        self.payments.get(&id).cloned()
    }

    /// Now on the one timeline that is open.
    pub fn now(&self) -> DateTime<Utc> {
        self.nows.values().next().copied().unwrap_or(self.wall)
    }

    fn now_of(&self, timeline: Timeline) -> DateTime<Utc> {
        self.nows.get(&timeline).copied().unwrap_or(self.wall)
    }

    pub fn event(&mut self, kind: &str, invoice: InvoiceId, data: Value, actor: &Actor) {
        if let Some(invoice) = self.invoices.get(&invoice) {
            let event = self.app.event(invoice.timeline, self.now_of(invoice.timeline), actor, kind, invoice.id, data);
            self.events.push(event);
        }
    }

    /// Whether nothing is to be collected for it any more because what it belongs to was cancelled.
    fn is_cancelled(&self, invoice: &Invoice) -> bool {
        let subscription = invoice.subscription_id.and_then(|id| self.subscriptions.get(&id));
        subscription.is_some_and(|subscription| subscription.status == SubscriptionStatus::Cancelled)
            || invoice.installment_plan_id.is_some_and(|id| self.installments.is_cancelled(id))
    }

    fn subscription_event(&mut self, kind: &str, id: SubscriptionId, data: Value) {
        if let Some(subscription) = self.subscriptions.get(&id) {
            let timeline = subscription.timeline;
            self.events.push(self.app.event(timeline, self.now_of(timeline), &Actor::System, kind, id, data));
        }
    }

    fn payment_event(&mut self, kind: &str, payment: &Payment, data: Value) {
        let now = self.now_of(payment.timeline);
        self.events.push(self.app.event(payment.timeline, now, &Actor::System, kind, payment.id, data));
    }

    /// Writes everything that changed.
    pub async fn close(mut self, tx: &mut Tx) -> Result<()> {
        self.last_requests(tx).await?;
        let taken = |changed: &BTreeSet<InvoiceId>, rows: &BTreeMap<InvoiceId, Invoice>| -> Vec<Invoice> {
            changed.iter().filter_map(|id| rows.get(id).cloned()).collect()
        };
        let payments: Vec<Payment> = self.changed_payments.iter().filter_map(|id| self.payments.get(id).cloned()).collect();
        store::payments::save(tx, &payments).await?;
        if !self.void_used.is_empty() {
            let ids: Vec<AuthorizationId> = std::mem::take(&mut self.void_used).into_iter().collect();
            store::authorizations::void_used(tx, &ids, "it could not be captured", self.wall).await?;
            self.app.wakeups.look_up.notify_one();
        }
        store::payments::insert(tx, &self.received).await?;
        store::invoices::save(tx, &taken(&self.changed_invoices, &self.invoices)).await?;
        self.withdraw_requests(tx).await?;
        self.void(tx).await?;
        self.clear_of_debt(tx).await?;
        self.others_of_given_up(tx).await?;
        let subscriptions: Vec<Subscription> =
            self.changed_subscriptions.iter().filter_map(|id| self.subscriptions.get(id).cloned()).collect();
        store::subscriptions::save(tx, &subscriptions).await?;
        self.close_installments(tx).await?;
        self.end_mandates(tx).await?;
        store::events::append(tx, &self.events).await?;
        Ok(())
    }

    async fn end_mandates(&mut self, tx: &mut Tx) -> Result<()> {
        let ids: Vec<PaymentMethodId> = std::mem::take(&mut self.mandates_ended).into_iter().collect();
        if ids.is_empty() {
            return Ok(());
        }
        for method in store::payment_methods::end_mandates(tx, &ids, self.wall).await? {
            let data = json!({ "customer_id": method.customer_id, "gateway": method.gateway });
            self.events.push(self.app.event(
                Timeline::Wall,
                self.wall,
                &Actor::System,
                "payment_method.mandate_ended",
                method.id,
                data,
            ));
        }
        Ok(())
    }

    /// After the payments are written: an invoice whose payment has just ended has none under way any more.
    async fn void(&mut self, tx: &mut Tx) -> Result<()> {
        for (id, (reason, actor)) in std::mem::take(&mut self.voids) {
            let Some(invoice) = self.invoices.get(&id).cloned() else { continue };
            let now = self.now_of(invoice.timeline);
            self.events.extend(void_invoices(tx, self.app, now, &actor, vec![invoice], &reason).await?);
        }
        Ok(())
    }

    /// A past-due subscription that owes nothing more is active again; one with nothing to come is complete.
    async fn clear_of_debt(&mut self, tx: &mut Tx) -> Result<()> {
        let candidates: Vec<SubscriptionId> = self
            .paid
            .iter()
            .filter(|id| self.subscriptions.get(id).is_some_and(|s| s.status == SubscriptionStatus::PastDue || s.is_exhausted()))
            .copied()
            .collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let owing = store::invoices::subscriptions_owing(tx, &candidates).await?;
        for id in candidates.into_iter().filter(|id| !owing.contains(id)) {
            let rules = &self.app.rules;
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            let now = self.nows.get(&subscription.timeline).copied().unwrap_or(self.wall);
            subscription.updated_at = now;
            let recovered = subscription.status == SubscriptionStatus::PastDue;
            if recovered {
                subscription.status = SubscriptionStatus::Active;
                subscription.refresh(rules);
            }
            let completed = subscription.is_exhausted();
            if completed {
                subscription.end(SubscriptionStatus::Completed, now);
            }
            self.changed_subscriptions.insert(id);
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
    async fn others_of_given_up(&mut self, tx: &mut Tx) -> Result<()> {
        for id in std::mem::take(&mut self.given_up) {
            let others = store::invoices::lock_open_of_subscription(tx, id).await?;
            let ids: Vec<InvoiceId> = others.iter().map(|invoice| invoice.id).collect();
            let in_flight = store::payments::invoices_in_flight(tx, &ids).await?;
            let mut ended = Vec::new();
            for mut invoice in others.into_iter().filter(|invoice| !in_flight.contains(&invoice.id)) {
                invoice.status = InvoiceStatus::Uncollectible;
                invoice.next_attempt_at = None;
                let now = self.now_of(invoice.timeline);
                self.events.push(self.app.event(
                    invoice.timeline,
                    now,
                    &Actor::System,
                    "invoice.uncollectible",
                    invoice.id,
                    json!({}),
                ));
                ended.push(invoice);
            }
            store::invoices::save(tx, &ended).await?;
            let ended: Vec<InvoiceId> = ended.iter().map(|invoice| invoice.id).collect();
            store::payment_requests::withdraw_of_invoices(tx, &ended, self.wall).await?;
        }
        Ok(())
    }
}
