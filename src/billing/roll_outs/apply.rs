//! The roll-out itself, in batches: each locks its subscriptions, changes them and moves on the place that the roll-out has come to,
//! in one transaction. So each subscription is changed exactly once, whatever dies and whenever, and any daemon can go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::evaluate::{EvaluatedPage, Evaluation, page};
use crate::{
    billing::{
        App, BillingError, Result,
        credit_notes::{NewCreditNote, issue, of_unused_days},
        customers::credited,
        invoices::{
            apply_balance::apply_balance,
            open::{Draft, open_invoices},
        },
        payments::SettlementBatch,
        subscriptions::edit::draft,
    },
    domain::{
        clock::Timeline,
        credit_note::CreditReason,
        customer::Customer,
        event::{Actor, Event, difference},
        id::{CustomerId, InvoiceId, RollOutId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus},
        roll_out::{RollOut, RollOutStatus, Verdict},
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx},
};

/// Between two looks at a roll-out that somebody else works on.
const POLL: Duration = Duration::from_millis(20);

/// Batches that are worked off before the answer to who asked for it, unless they wait for the end.
const AT_ONCE: usize = 2;

/// Goes on with everything that is not done. Answers how many subscriptions were changed.
pub async fn work(app: &App) -> Result<usize> {
    let mut changed = 0;
    for roll_out in store::roll_outs::running(&app.db).await? {
        let mut before = roll_out.subscriptions_changed;
        while !app.stopping.is_cancelled()
            && let Some(now) = step(app, roll_out.id).await?
        {
            changed += usize::try_from(now.subscriptions_changed - before).unwrap_or(0);
            before = now.subscriptions_changed;
            if now.status == RollOutStatus::Done {
                break;
            }
        }
    }
    Ok(changed)
}

/// Works on a roll-out for as long as whoever asked for it should wait: a few batches, or with `wait` to its end. The job goes on
/// with what is left.
pub async fn carry_on(app: &App, roll_out: RollOut, wait: bool) -> Result<RollOut> {
    let id = roll_out.id;
    let mut batches = 0;
    let mut latest = roll_out;
    while latest.status == RollOutStatus::Running && (wait || batches < AT_ONCE) && !app.stopping.is_cancelled() {
        batches += 1;
        match step(app, id).await {
            Ok(Some(now)) => latest = now,
            Ok(None) => {
                // Somebody else is at it, or has just ended it.
                latest = store::roll_outs::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("roll-out", id))?;
                tokio::time::sleep(POLL).await;
            }
            // It was recorded and will be done: this is no refusal.
            Err(BillingError::Store(store::Error::Busy)) => tokio::time::sleep(POLL).await,
            Err(error) => {
                tracing::error!(roll_out = %id, %error, "a batch of a roll-out failed; the job tries it again");
                return Ok(latest);
            }
        }
    }
    Ok(latest)
}

/// One batch. None if there is nothing left of it, or somebody else is at it.
pub async fn step(app: &App, id: RollOutId) -> Result<Option<RollOut>> {
    let mut tx = app.db.begin().await?;
    let Some(mut roll_out) = store::roll_outs::take(&mut tx, id).await? else { return Ok(None) };
    let after = roll_out.done_through.clone().unwrap_or_default();
    let page = page(app, &mut tx, &roll_out.versions, &roll_out.options, &after, true).await?;
    let through = page.through.clone();
    let mut batch = Batch {
        app,
        actor: Actor::named(&roll_out.actor),
        events: Vec::new(),
        due: false,
        collect: false,
        credited: BTreeSet::new(),
    };
    batch.apply(&mut tx, &mut roll_out, page).await?;
    let now = app.clock.now();
    match through {
        Some(through) => roll_out.done_through = Some(through),
        None => {
            (roll_out.status, roll_out.finished_at) = (RollOutStatus::Done, Some(now));
            let data = json!({ "subscriptions_changed": roll_out.subscriptions_changed, "plans_changed": roll_out.plans_changed,
                "left_alone": roll_out.left_alone });
            batch.events.push(app.event(Timeline::Wall, now, &Actor::System, "roll_out.done", id, data));
        }
    }
    store::events::append(&mut tx, &batch.events).await?;
    apply_balance(&mut tx, app, &batch.actor, &batch.credited.iter().copied().collect::<Vec<_>>()).await?;
    store::roll_outs::save(&mut tx, &roll_out).await?;
    tx.commit().await?;
    if batch.collect {
        app.wakeups.collect.notify_one();
        app.wakeups.advance.notify_one();
    }
    if batch.due {
        app.wakeups.bill.notify_one();
    }
    Ok(Some(roll_out))
}

/// What one transaction gathers.
struct Batch<'a> {
    app: &'a App,
    actor: Actor,
    events: Vec<Event>,
    due: bool,
    collect: bool,
    /// Who got credit.
    credited: BTreeSet<CustomerId>,
}

impl Batch<'_> {
    async fn apply(&mut self, tx: &mut Tx, roll_out: &mut RollOut, page: EvaluatedPage) -> Result<()> {
        let EvaluatedPage { evaluations, billed, mut customers, mut owing, .. } = page;
        let (mut changed, mut drafts, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for Evaluation { before, now, verdict } in evaluations {
            let Verdict { after, changed: outcome, kept } = match verdict {
                Ok(verdict) => verdict,
                Err(reason) => {
                    *roll_out.left_alone.entry(reason).or_default() += 1;
                    continue;
                }
            };
            roll_out.subscriptions_changed += 1;
            let after = Subscription { updated_at: now, ..after };
            let mut data = difference(&before, &after);
            data["when"] = json!(roll_out.options.when);
            data["roll_out"] = json!(roll_out.id);
            (data["amount"], data["credit"]) = (json!(outcome.amount), json!(outcome.credit));
            data["kept"] = json!(kept);
            self.event("subscription.changed", &after, now, data);
            let of_it = billed.iter().filter(|invoice| invoice.subscription_id == Some(after.id)).cloned().collect::<Vec<_>>();
            let words = format!("Unused days of {}", after.description);
            let new = of_unused_days(&of_it, &outcome.unused, outcome.credit, CreditReason::Changed, &words);
            notes.extend(new.into_iter().map(|new| (now, new)));
            if !outcome.lines.is_empty() {
                drafts.push((now, draft(&after, &outcome, now)));
            }
            changed.push((after, now));
        }
        if self.credit(tx, notes, &billed, &mut customers).await? {
            let ids: Vec<SubscriptionId> = changed.iter().map(|(subscription, _)| subscription.id).collect();
            owing = store::invoices::subscriptions_owing(tx, &ids).await?.into_iter().collect();
        }
        owing.extend(self.open(tx, drafts).await?);
        for (subscription, now) in &mut changed {
            if subscription.status == SubscriptionStatus::PastDue && !owing.contains(&subscription.id) {
                subscription.status = SubscriptionStatus::Active;
                subscription.refresh(&self.app.rules);
                self.event("subscription.recovered", subscription, *now, json!({}));
            }
            // A schedule may have come to its end by the new terms, with everything paid.
            if subscription.is_exhausted() && !owing.contains(&subscription.id) {
                subscription.end(SubscriptionStatus::Completed, *now);
                self.event("subscription.completed", subscription, *now, json!({}));
            }
            self.due |= subscription.due_at.is_some_and(|due| due <= *now);
        }
        let changed: Vec<Subscription> = changed.into_iter().map(|pair| pair.0).collect();
        store::subscriptions::save(tx, &changed).await?;
        Ok(())
    }

    /// Reduces the invoices of days that are not used, and puts what goes to the balances there. False: there was nothing to reduce.
    async fn credit(
        &mut self,
        tx: &mut Tx,
        notes: Vec<(DateTime<Utc>, NewCreditNote)>,
        billed: &[Invoice],
        customers: &mut BTreeMap<CustomerId, Customer>,
    ) -> Result<bool> {
        let reduced: BTreeSet<InvoiceId> =
            notes.iter().filter(|(_, note)| note.amount() > 0).map(|(_, note)| note.invoice_id).collect();
        if reduced.is_empty() {
            return Ok(false);
        }
        let reduced: Vec<Invoice> = billed.iter().filter(|invoice| reduced.contains(&invoice.id)).cloned().collect();
        let mut batch = SettlementBatch::load_without_subscriptions(self.app, tx, &reduced).await?;
        let mut credits = Vec::new();
        let mut credited_customers = BTreeSet::new();
        for (now, note) in &notes {
            batch.reduce(note.invoice_id, note.pre_payment_amount, note.to_balance + note.to_invoice, &self.actor);
            let Some(customer) = customers.get_mut(&note.customer_id).filter(|_| note.to_balance > 0) else { continue };
            let (credit, event) =
                credited(self.app, &self.actor, *now, customer, note.to_balance, note.note.clone(), Some(note.invoice_id));
            self.events.push(event);
            credits.push(credit);
            credited_customers.insert(customer.id);
        }
        self.events.extend(batch.write(tx).await?);
        let customers: Vec<Customer> = customers.values().filter(|it| credited_customers.contains(&it.id)).cloned().collect();
        store::customers::save_balances(tx, &customers, &credits).await?;
        self.credited.extend(credited_customers);
        let mut notes = notes;
        while let Some(&(now, _)) = notes.first() {
            // As many groups as clocks, not as subscriptions.
            let (these, others) = notes.into_iter().partition::<Vec<_>, _>(|(at, _)| *at == now);
            notes = others;
            let these = these.into_iter().map(|pair| pair.1).collect();
            self.events.extend(issue(tx, self.app, now, &self.actor, these).await?.1);
        }
        Ok(true)
    }

    fn event(&mut self, kind: &str, subscription: &Subscription, now: DateTime<Utc>, data: serde_json::Value) {
        self.events.push(self.app.event(subscription.timeline, now, &self.actor, kind, subscription.id, data));
    }

    /// Opens invoices, by the clock of each. Answers who owes something by them.
    async fn open(&mut self, tx: &mut Tx, drafts: Vec<(DateTime<Utc>, Draft)>) -> Result<Vec<SubscriptionId>> {
        let mut owing = Vec::new();
        let mut drafts = drafts;
        if drafts.windows(2).any(|pair| pair[0].0 != pair[1].0) {
            // All payers before the first invoice number is taken: nobody waits for both the other way round.
            let payers: BTreeSet<CustomerId> = drafts.iter().map(|(_, draft)| draft.customer_id).collect();
            store::customers::lock_with_credit(tx, &payers.into_iter().collect::<Vec<_>>()).await?;
        }
        // As many groups as clocks, not as subscriptions.
        while let Some(&(now, _)) = drafts.first() {
            let (these, others) = drafts.into_iter().partition::<Vec<_>, _>(|(at, _)| *at == now);
            drafts = others;
            let these = these.into_iter().map(|pair| pair.1).collect();
            let (invoices, events) = open_invoices(tx, self.app, now, &self.actor, these).await?;
            self.events.extend(events);
            self.collect |= invoices.iter().any(|invoice| invoice.next_attempt_at.is_some());
            let open = invoices.into_iter().filter(|invoice| invoice.status == InvoiceStatus::Open);
            owing.extend(open.filter_map(|invoice| invoice.subscription_id));
        }
        Ok(owing)
    }
}
