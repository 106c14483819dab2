//! An edit of one installment plan: locks the plan and its parts, changes them in memory, and saves them in one transaction.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Overview, draft, ended_event, paid_event};
use crate::{
    billing::{App, BillingError, Result, customers, invoices::open::open_invoices},
    domain::{
        customer::Customer,
        event::{Actor, Event, difference},
        id::InvoiceId,
        installment_plan::{Installment, InstallmentSchedule, change::Moment},
        invoice::{Invoice, InvoiceStatus},
    },
    store::{self, Tx},
};

/// Locks are taken in the order installment plan, invoices, customer, as settlement takes them.
pub(crate) struct InstallmentPlanEdit<'a> {
    pub app: &'a App,
    pub actor: &'a Actor,
    pub tx: Tx,
    /// By the plan's clock.
    pub now: DateTime<Utc>,
    before: InstallmentSchedule,
    pub schedule: InstallmentSchedule,
    pub events: Vec<Event>,
    /// An invoice is due now.
    pub collect: bool,
    /// True: show what the request would do, and store nothing.
    pub preview: bool,
}

impl<'a> InstallmentPlanEdit<'a> {
    /// By id or reference.
    pub async fn lock(app: &'a App, actor: &'a Actor, key: &str) -> Result<Self> {
        let mut tx = app.db.begin().await?;
        let schedule =
            store::installments::lock(&mut tx, key).await?.ok_or_else(|| BillingError::not_found("installment plan", key))?;
        let now = app.now_in(&mut tx, schedule.plan.timeline).await?;
        Ok(Self::of(app, actor, tx, now, schedule))
    }

    /// An edit of a plan that this transaction has just made.
    pub fn of(app: &'a App, actor: &'a Actor, tx: Tx, now: DateTime<Utc>, schedule: InstallmentSchedule) -> Self {
        Self { app, actor, tx, now, before: schedule.clone(), schedule, events: Vec::new(), collect: false, preview: false }
    }

    pub fn moment(&self) -> Moment<'a> {
        Moment { now: self.now, rules: &self.app.rules }
    }

    /// Invoices scheduled installments now, all in one.
    pub async fn open(&mut self, numbers: &[i64]) -> Result<()> {
        let chosen = |part: &&Installment| numbers.contains(&part.number);
        let parts: Vec<&Installment> = self.schedule.installments.iter().filter(chosen).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let drafts = vec![draft(&self.schedule.plan, &parts, self.now)];
        let (invoices, events) = open_invoices(&mut self.tx, self.app, self.now, self.actor, drafts).await?;
        self.events.extend(events);
        for invoice in invoices {
            let paid = invoice.status == InvoiceStatus::Paid;
            self.schedule.invoiced(numbers, invoice.id, paid, self.now);
            self.collect |= !paid;
            if paid {
                let parts: Vec<&Installment> = self.schedule.installments.iter().filter(chosen).collect();
                self.events.push(paid_event(self.app, &self.schedule.plan, &parts, self.now, self.actor));
            }
        }
        Ok(())
    }

    /// Invoices of the plan that are owed still, locked, and those of them that a payment is on its way for.
    pub async fn owed(&mut self) -> Result<(Vec<Invoice>, Vec<InvoiceId>)> {
        let owed = store::invoices::lock_owed_of_installment_plan(&mut self.tx, self.schedule.plan.id).await?;
        let ids: Vec<InvoiceId> = owed.iter().map(|invoice| invoice.id).collect();
        let in_flight = store::payments::invoices_in_flight(&mut self.tx, &ids).await?;
        Ok((owed, in_flight))
    }

    /// Locks the customer of the plan. No invoice may be locked after the customer.
    pub async fn lock_customer(&mut self) -> Result<Customer> {
        customers::locked(&mut self.tx, &self.schedule.plan.customer_id.to_string()).await
    }

    /// Stores it with an event of this kind that says what changed, and `more`.
    pub async fn commit(self, kind: &str, more: Value) -> Result<Overview> {
        let mut data = difference(&self.before, &self.schedule);
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend::<Map<String, Value>>(more);
        }
        self.put(kind, data).await
    }

    /// Stores a new plan.
    pub async fn commit_new(self) -> Result<Overview> {
        let data = json!({ "after": self.schedule });
        self.put("installment_plan.created", data).await
    }

    async fn put(mut self, kind: &str, data: Value) -> Result<Overview> {
        self.schedule.check()?;
        let (owed, any_paid) = self.schedule.standing();
        let (timeline, id) = (self.schedule.plan.timeline, self.schedule.plan.id);
        // Before what follows from it.
        self.events.insert(0, self.app.event(timeline, self.now, self.actor, kind, id, data));
        if self.schedule.plan.settle(owed, any_paid, self.now) {
            self.events.push(ended_event(self.app, &self.schedule.plan, self.now, self.actor));
        }
        self.schedule.plan.updated_at = self.now;
        let old = |part: &Installment| self.before.installments.iter().find(|before| before.number == part.number);
        let parts = &self.schedule.installments;
        let changed: Vec<Installment> = parts.iter().filter(|part| old(part).is_some_and(|old| old != *part)).cloned().collect();
        let new: Vec<Installment> = parts.iter().filter(|part| old(part).is_none()).cloned().collect();
        store::installments::save_parts(&mut self.tx, &changed).await?;
        store::installments::insert_parts(&mut self.tx, &new).await?;
        store::installments::save_progress(&mut self.tx, std::slice::from_ref(&self.schedule.plan)).await?;
        store::events::append(&mut self.tx, &self.events).await?;
        let received = store::installments::received_in(&mut self.tx, id).await?;
        let mut overview = Overview::new(self.schedule.clone(), received, self.now);
        if self.preview {
            // The transaction is dropped without a commit, so nothing that it opened is stored.
            let edit = |part: &Installment| self.before.installments.iter().any(|old| old.invoice_id == part.invoice_id);
            for part in overview.schedule.installments.iter_mut().filter(|part| !edit(part)) {
                part.invoice_id = None;
            }
            return Ok(overview);
        }
        self.tx.commit().await?;
        if self.collect {
            self.app.wakeups.collect.notify_one();
        }
        if self.schedule.plan.due_at.is_some_and(|due| due <= self.now) {
            self.app.wakeups.bill.notify_one();
        }
        Ok(overview)
    }
}
