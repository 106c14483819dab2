//! A subscription in the hands of a verb: locked, changed in memory, and put down with its event in one transaction,
//! or in a preview not at all.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value, json};

use crate::{
    billing::{
        App, BillingError, Result,
        credit_notes::{accounts, issue, of_unused_days},
        customers::book_credit,
        invoices::{
            apply_balance::apply_balance,
            open::{Draft, open_invoices},
        },
        payment_methods::WaitingInvoices,
        payments::SettlementBatch,
    },
    domain::{
        credit_note::{CreditNote, CreditReason},
        customer::{Credit, Customer},
        event::{Actor, Event, difference},
        id::{InvoiceId, SubscriptionId},
        invoice::{Invoice, Line},
        subscription::{
            BilledDays, CycleDue, Subscription, SubscriptionStatus, UnusedDays, Waiting,
            billed::{Bill, billed_ahead, unused_days},
            change::Changed,
        },
    },
    store::{self, Tx},
};

/// How many charges to come are shown with an outcome.
const SHOWN: usize = 3;

/// What an action comes to, or in a preview would come to.
#[derive(Debug, Clone)]
pub struct ChangePreview {
    pub effective_date: NaiveDate,
    /// Of what is invoiced now; where terms wait for the next cycle, that cycle's.
    pub lines: Vec<Line>,
    /// Minor units, before the customer's credit is used.
    pub amount: i64,
    /// Goes to the customer's credit, minor units.
    pub credit: i64,
    /// What reduces invoices that were issued before.
    pub credit_notes: Vec<CreditNote>,
    /// The customer's credit before and after, minor units.
    pub balance: (i64, i64),
    /// Invoices that were given up and are collected again.
    pub reopened: Vec<InvoiceId>,
    /// The next few charges.
    pub upcoming: Vec<CycleDue>,
    /// What waits no more, of what waited for the period's end.
    pub undone: Option<Waiting>,
    pub subscription: Subscription,
}

/// Locks are taken in the order subscription, invoices, customer, as settlement takes them.
pub(crate) struct SubscriptionEdit<'a> {
    pub app: &'a App,
    pub actor: &'a Actor,
    pub tx: Tx,
    /// By the subscription's clock.
    pub now: DateTime<Utc>,
    before: Subscription,
    pub subscription: Subscription,
    pub events: Vec<Event>,
    /// An invoice is due now.
    pub collect: bool,
    credit_notes: Vec<CreditNote>,
    /// Invoices that were given up and are collected again.
    pub reopened: Vec<InvoiceId>,
    /// The customer's credit when the verb began, minor units.
    balance: i64,
}

impl<'a> SubscriptionEdit<'a> {
    pub async fn lock(app: &'a App, actor: &'a Actor, id: SubscriptionId) -> Result<Self> {
        let mut tx = app.db.begin().await?;
        let subscription =
            store::subscriptions::lock(&mut tx, id).await?.ok_or_else(|| BillingError::not_found("subscription", id))?;
        // Here already, since what follows may lock the customer.
        store::invoices::lock_open_of_subscription(&mut tx, id).await?;
        let now = app.now_in(&mut tx, subscription.timeline).await?;
        let balance = balance_of(&mut tx, &subscription).await?;
        Ok(Self {
            app,
            actor,
            tx,
            now,
            before: subscription.clone(),
            subscription,
            events: Vec::new(),
            collect: false,
            credit_notes: Vec::new(),
            reopened: Vec::new(),
            balance,
        })
    }

    /// Refuses unless it stands in one of these.
    pub fn must_be(&self, what: &str, allowed: &[SubscriptionStatus]) -> Result<()> {
        let status = self.subscription.status;
        if allowed.contains(&status) {
            return Ok(());
        }
        let hint = match status {
            SubscriptionStatus::Paused => ": resume it first",
            SubscriptionStatus::Parked => ": unpark it first",
            _ => "",
        };
        Err(BillingError::WrongState(format!("a subscription that is {status} cannot be {what}{hint}")))
    }

    /// The next charge is none to be moved or skipped while a pause waits to come before it.
    pub fn must_not_wait_to_pause(&self) -> Result<()> {
        if self.subscription.pause_at_period_end {
            return Err(BillingError::WrongState("it is paused at the period's end: undo that with keep first".to_owned()));
        }
        Ok(())
    }

    /// Its customer, locked.
    pub async fn customer(&mut self) -> Result<Customer> {
        crate::billing::customers::locked(&mut self.tx, &self.subscription.customer_id.to_string()).await
    }

    pub async fn open(&mut self, drafts: Vec<Draft>) -> Result<Vec<Invoice>> {
        let (invoices, events) = open_invoices(&mut self.tx, self.app, self.now, self.actor, drafts).await?;
        self.events.extend(events);
        self.collect |= invoices.iter().any(|invoice| invoice.next_attempt_at.is_some());
        Ok(invoices)
    }

    pub fn event(&mut self, kind: &str, data: Value) {
        let (timeline, id) = (self.subscription.timeline, self.subscription.id);
        self.events.push(self.app.event(timeline, self.now, self.actor, kind, id, data));
    }

    /// The days from a date on that were billed, and what their invoices can give for them. Locks these invoices.
    pub async fn unused_days(&mut self, today: NaiveDate) -> Result<Vec<UnusedDays>> {
        let invoices = store::invoices::reaching_past(&mut self.tx, &[self.subscription.id], today, true).await?;
        let accounts = accounts(&mut self.tx, &invoices).await?;
        Ok(unused_days(&accounts, billed_days(&self.subscription, &invoices, today)))
    }

    /// Reduces the invoices of days that are not used. `carried` of what was paid for them goes to the customer's balance, minor
    /// units, which must be of the subscription's currency.
    pub async fn credit(&mut self, unused: &[UnusedDays], carried: i64, reason: CreditReason) -> Result<()> {
        let billed: Vec<_> = unused.iter().filter_map(|unused| unused.days.invoice_id).collect();
        let invoices = store::invoices::lock_many(&mut self.tx, &billed).await?;
        let words = format!("Unused days of {}", self.subscription.description);
        let new = of_unused_days(&invoices, unused, carried, reason, &words);
        let mut batch = SettlementBatch::load_without_subscriptions(self.app, &mut self.tx, &invoices).await?;
        for note in &new {
            batch.reduce(note.invoice_id, note.pre_payment_amount, note.to_balance + note.to_invoice, self.actor);
        }
        let reduced = batch.write(&mut self.tx).await?;
        if carried > 0 {
            let mut customer = self.customer().await?;
            if customer.currency != self.subscription.currency {
                let (owed, kept) = (self.subscription.currency, customer.currency);
                let other = match reason {
                    CreditReason::Changed => "let it wait for the period's end (`when`: `period_end`), as nothing is owed then",
                    _ => "leave out `credit`",
                };
                // A customer has the currency of the settings unless somebody said another, so it is seldom meant.
                let way_out = if store::customers::has_credits(&mut self.tx, customer.id).await? {
                    other.to_owned()
                } else {
                    format!("set the customer's `currency` to {owed}, as there was no credit so far, or {other}")
                };
                return Err(BillingError::WrongState(format!(
                    "{owed} would be owed to a customer whose credit is kept in {kept}: {way_out}"
                )));
            }
            for note in new.iter().filter(|note| note.to_balance > 0) {
                let credit = Credit {
                    id: self.app.id(),
                    customer_id: note.customer_id,
                    amount: note.to_balance,
                    currency: note.currency,
                    reason: words.clone(),
                    invoice_id: Some(note.invoice_id),
                    created_at: self.now,
                };
                self.events.push(book_credit(&mut self.tx, self.app, self.actor, &mut customer, &credit).await?);
            }
        }
        let (issued, events) = issue(&mut self.tx, self.app, self.now, self.actor, new).await?;
        self.credit_notes.extend(issued);
        self.events.extend(events);
        self.events.extend(reduced);
        Ok(())
    }

    /// Invoices what a change comes to, and gives the credit. Where nothing is left to pay the invoice is the record of what these
    /// days were charged.
    pub async fn charge(&mut self, changed: &Changed, reason: CreditReason) -> Result<()> {
        self.credit(&changed.unused, changed.credit, reason).await?;
        if changed.lines.is_empty() {
            return Ok(());
        }
        let draft = draft(&self.subscription, changed, self.now);
        self.open(vec![draft]).await?;
        Ok(())
    }

    /// Derives everything that follows from the change: when it is next due, whether it is past due, whether it is complete.
    async fn settle(&mut self) -> Result<()> {
        let open = store::invoices::lock_open_of_subscription(&mut self.tx, self.subscription.id).await?;
        let running = matches!(self.subscription.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing);
        if running && open.iter().any(|invoice| invoice.dunning_step > 0) {
            self.subscription.status = SubscriptionStatus::PastDue;
        }
        if self.subscription.status == SubscriptionStatus::PastDue && open.is_empty() {
            self.subscription.status = SubscriptionStatus::Active;
            self.event("subscription.recovered", json!({}));
        }
        self.subscription.refresh(&self.app.rules);
        if self.subscription.is_exhausted() && open.is_empty() {
            self.subscription.end(SubscriptionStatus::Completed, self.now);
            self.event("subscription.completed", json!({}));
        }
        self.subscription.updated_at = self.now;
        Ok(())
    }

    /// The last step of every verb: stores it with an event of this kind that says what changed, and `more`. A preview has done all
    /// the same until here and now forgets it.
    pub async fn finish(mut self, preview: bool, changed: Changed, kind: &str, more: Value) -> Result<ChangePreview> {
        self.settle().await?;
        let Changed { effective_date, lines, amount, credit, .. } = changed;
        self.write(kind, more).await?;
        let balance = (self.balance, balance_of(&mut self.tx, &self.subscription).await?);
        let rules = &self.app.rules;
        let upcoming = if self.subscription.next_bill_at.is_some() { self.subscription.upcoming(rules, SHOWN) } else { vec![] };
        let credit_notes = std::mem::take(&mut self.credit_notes);
        let reopened = std::mem::take(&mut self.reopened);
        let subscription = if preview { self.subscription } else { self.commit().await? };
        let undone = None;
        Ok(ChangePreview {
            effective_date,
            lines,
            amount,
            credit,
            credit_notes,
            balance,
            reopened,
            upcoming,
            undone,
            subscription,
        })
    }

    /// Saves the subscription. A method that takes the place of another is tried at once where invoices wait.
    async fn save(&mut self) -> Result<()> {
        let subscription = std::slice::from_ref(&self.subscription);
        if self.subscription.payment_method_id == self.before.payment_method_id {
            return Ok(store::subscriptions::save(&mut self.tx, subscription).await?);
        }
        let open = store::invoices::lock_open_of_subscription(&mut self.tx, self.subscription.id).await?;
        let waiting = WaitingInvoices::among(&mut self.tx, open).await?;
        store::subscriptions::save(&mut self.tx, subscription).await?;
        self.collect |= waiting.collect(&mut self.tx, self.app, self.actor, self.now, &mut self.events).await?;
        Ok(())
    }

    /// Writes it with an event of this kind, and lets the customer's credit pay what is open.
    async fn write(&mut self, kind: &str, more: Value) -> Result<()> {
        let mut data = difference(&self.before, &self.subscription);
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend::<Map<String, Value>>(more);
        }
        let (timeline, id) = (self.subscription.timeline, self.subscription.id);
        // Before what follows from it.
        self.events.insert(0, self.app.event(timeline, self.now, self.actor, kind, id, data));
        self.save().await?;
        store::events::append(&mut self.tx, &self.events).await?;
        let payer = self.subscription.customer_id;
        if apply_balance(&mut self.tx, self.app, self.actor, &[payer]).await? > 0
            && let Some(paid) = store::subscriptions::lock(&mut self.tx, id).await?
        {
            self.subscription = paid;
        }
        Ok(())
    }

    /// Stores it as it is.
    pub async fn commit_as(mut self, kind: &str, more: Value) -> Result<Subscription> {
        self.write(kind, more).await?;
        self.commit().await
    }

    async fn commit(self) -> Result<Subscription> {
        self.tx.commit().await?;
        if self.collect {
            self.app.wakeups.collect.notify_one();
        }
        if self.subscription.due_at.is_some_and(|due| due <= self.now) {
            self.app.wakeups.bill.notify_one();
        }
        Ok(self.subscription)
    }
}

async fn balance_of(tx: &mut Tx, subscription: &Subscription) -> Result<i64> {
    let payer = store::customers::get_many(tx, &[subscription.customer_id]).await?;
    Ok(payer.first().map_or(0, |customer| customer.balance))
}

/// The days of the running period from a date on, as these invoices of the subscription billed them. Oldest first.
pub(crate) fn billed_days<'i>(
    subscription: &Subscription,
    invoices: impl IntoIterator<Item = &'i Invoice>,
    today: NaiveDate,
) -> Vec<BilledDays> {
    let until = subscription.running_period(today).map_or(today, |period| period.1);
    billed_ahead(invoices.into_iter().filter_map(Bill::of), today, until)
}

/// The invoice of a change at once.
pub(crate) fn draft(subscription: &Subscription, changed: &Changed, now: DateTime<Utc>) -> Draft {
    Draft {
        customer_id: subscription.customer_id,
        subscription_id: Some(subscription.id),
        installment: None,
        cycle: changed.cycle.as_ref().and_then(|cycle| cycle.cycle),
        timeline: subscription.timeline,
        currency: subscription.currency,
        timezone: subscription.timezone,
        description: subscription.description.clone(),
        period: changed.period,
        lines: changed.lines.clone(),
        due_at: now,
    }
}
