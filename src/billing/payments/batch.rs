//! The rows that a group of answers touches: locked, changed in memory, and saved together.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    billing::{App, Result},
    domain::{
        clock::Timeline,
        event::{Actor, Event},
        id::{InstallmentPlanId, InvoiceId, PaymentId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus},
        payment::Payment,
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx, invoices::OpenInvoice, payments::Owner},
};

mod clocks;
mod credit;
mod dunning;
mod effects;
mod follow_ups;
mod installments;
mod ladder;
mod operator;
mod requests;
mod resolve;
mod rows;

use clocks::Clocks;
use dunning::Policies;
use follow_ups::FollowUps;
use installments::Installments;
use rows::Rows;

/// Everything that a group of answers may change, in one transaction.
pub struct SettlementBatch<'a> {
    app: &'a App,
    clocks: Clocks,
    payments: Rows<PaymentId, Payment>,
    /// What customers have paid by requests, to be inserted.
    received: Vec<Payment>,
    invoices: Rows<InvoiceId, Invoice>,
    subscriptions: Rows<SubscriptionId, Subscription>,
    installments: Installments,
    policies: Policies,
    follow_ups: FollowUps,
    events: Vec<Event>,
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
    pub async fn load(app: &'a App, tx: &mut Tx, claimed: &[&Payment], plain: impl Fn(PaymentId) -> bool) -> Result<Self> {
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
        batch.payments = Rows::new(store::payments::lock_claimed(tx, claimed).await?, |payment| payment.id);
        Ok(batch)
    }

    /// Locks one invoice and the subscription or installment plan that it belongs to.
    pub async fn load_invoice(app: &'a App, tx: &mut Tx, invoice: &Invoice) -> Result<Self> {
        let subscriptions = Subscriptions { whole: invoice.subscription_id.into_iter().collect(), paid: BTreeSet::new() };
        let plans: Vec<_> = invoice.installment_plan_id.into_iter().collect();
        Self::lock(app, tx, &subscriptions, &plans, &[invoice.id], std::iter::once(invoice.timeline)).await
    }

    /// Locks open invoices and what they belong to.
    pub(crate) async fn load_open(app: &'a App, tx: &mut Tx, invoices: &[OpenInvoice]) -> Result<Self> {
        let whole = invoices.iter().filter_map(|invoice| invoice.subscription_id).collect();
        let plans: BTreeSet<_> = invoices.iter().filter_map(|invoice| invoice.installment_plan_id).collect();
        let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
        let timelines = invoices.iter().map(|invoice| invoice.timeline);
        let subscriptions = Subscriptions { whole, paid: BTreeSet::new() };
        Self::lock(app, tx, &subscriptions, &plans.into_iter().collect::<Vec<_>>(), &ids, timelines).await
    }

    /// Locks invoices of subscriptions that the caller has in hand, and that the caller saves.
    pub(crate) async fn load_without_subscriptions(app: &'a App, tx: &mut Tx, invoices: &[Invoice]) -> Result<Self> {
        let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
        let timelines = invoices.iter().map(|invoice| invoice.timeline);
        Self::lock(app, tx, &Subscriptions::default(), &[], &ids, timelines).await
    }

    /// Locks nothing yet: for what belongs to no invoice.
    pub async fn load_nothing(app: &'a App, tx: &mut Tx, timeline: Timeline) -> Result<Self> {
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
        let mut clocks = Clocks::read(app, tx, timelines).await?;
        let subscriptions = Rows::new(subscriptions.lock(tx).await?, |subscription| subscription.id);
        let installments = Installments::lock(tx, plans, invoices).await?;
        let invoices = Rows::new(store::invoices::lock_many(tx, invoices).await?, |invoice| invoice.id);
        clocks.refresh(app);
        let mut batch = Self {
            app,
            clocks,
            payments: Rows::default(),
            received: Vec::new(),
            invoices,
            subscriptions,
            installments,
            policies: Policies::default(),
            follow_ups: FollowUps::default(),
            events: Vec::new(),
        };
        batch.read_policies(tx).await?;
        Ok(batch)
    }

    pub fn invoice(&self, id: InvoiceId) -> Option<&Invoice> {
        self.invoices.get(id)
    }

    /// Now on the one timeline that is open.
    pub fn now(&self) -> DateTime<Utc> {
        self.clocks.only()
    }

    pub(crate) fn now_of(&self, timeline: Timeline) -> DateTime<Utc> {
        self.clocks.now(timeline)
    }

    /// Whether the invoice is still to be collected: cancel, void and paid stop everything.
    pub fn is_wanted(&self, invoice: &Invoice) -> bool {
        invoice.status == InvoiceStatus::Open && !self.is_cancelled(invoice)
    }

    /// Whether nothing is to be collected for it any more because what it belongs to was cancelled.
    fn is_cancelled(&self, invoice: &Invoice) -> bool {
        let subscription = invoice.subscription_id.and_then(|id| self.subscriptions.get(id));
        // What was opened again since then is to be collected all the same.
        let is_reopened = |since: Option<DateTime<Utc>>| invoice.reopened_at.is_some() && invoice.reopened_at >= since;
        subscription.is_some_and(|it| it.status == SubscriptionStatus::Cancelled && !is_reopened(it.cancelled_at))
            || invoice.installment_plan_id.is_some_and(|id| self.installments.is_cancelled(id))
    }

    fn emit(&mut self, timeline: Timeline, actor: &Actor, kind: &str, subject: impl ToString, data: Value) {
        let now = self.clocks.now(timeline);
        self.events.push(self.app.event(timeline, now, actor, kind, subject, data));
    }

    pub fn event(&mut self, kind: &str, invoice: InvoiceId, data: Value, actor: &Actor) {
        if let Some(timeline) = self.invoices.get(invoice).map(|invoice| invoice.timeline) {
            self.emit(timeline, actor, kind, invoice, data);
        }
    }

    fn subscription_event(&mut self, kind: &str, id: SubscriptionId, data: Value) {
        if let Some(timeline) = self.subscriptions.get(id).map(|subscription| subscription.timeline) {
            self.emit(timeline, &Actor::System, kind, id, data);
        }
    }

    fn payment_event(&mut self, kind: &str, payment: &Payment, data: Value) {
        self.emit(payment.timeline, &Actor::System, kind, payment.id, data);
    }

    /// Writes everything that changed, and what follows from it.
    pub async fn save(self, tx: &mut Tx) -> Result<()> {
        let events = self.write(tx).await?;
        store::events::append(tx, &events).await?;
        Ok(())
    }

    /// Like [`Self::save`], for a caller who appends the events.
    pub(crate) async fn write(mut self, tx: &mut Tx) -> Result<Vec<Event>> {
        self.last_requests(tx).await?;
        store::payments::save(tx, &self.payments.to_save()).await?;
        self.void_authorizations(tx).await?;
        store::payments::insert(tx, &self.received).await?;
        store::invoices::save(tx, &self.invoices.to_save()).await?;
        self.withdraw_requests(tx).await?;
        self.void_invoices(tx).await?;
        self.clear_of_debt(tx).await?;
        self.others_of_given_up(tx).await?;
        store::subscriptions::save(tx, &self.subscriptions.to_save()).await?;
        self.save_installments(tx).await?;
        self.rest_defaulted(tx).await?;
        self.end_mandates(tx).await?;
        Ok(self.events)
    }
}
