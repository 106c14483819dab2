//! The rows that a group of answers touches, held locked, and the rules by which answers change them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Answer, Step};
use crate::{
    billing::{App, Done},
    domain::{
        customer::Timeline,
        dunning::{self, FinalAction, Next},
        event::{Actor, Event},
        id::{InvoiceId, PaymentId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus, NextAction},
        payment::{Decline, DeclineClass, Outcome, Payment, PaymentStatus},
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx},
    telemetry,
};

/// How often the last step of the look-up backoff is repeated before a human is needed: by default daily for a week.
const LAST_STEP_REPEATS: i64 = 7;

/// Locked rows by id, changed in memory, written at the close.
pub struct Books<'a> {
    app: &'a App,
    wall: DateTime<Utc>,
    nows: BTreeMap<String, DateTime<Utc>>,
    payments: BTreeMap<PaymentId, Payment>,
    invoices: BTreeMap<InvoiceId, Invoice>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    changed_payments: BTreeSet<PaymentId>,
    changed_invoices: BTreeSet<InvoiceId>,
    changed_subscriptions: BTreeSet<SubscriptionId>,
    /// Subscriptions that have been paid something: are they clear of debt now?
    paid: BTreeSet<SubscriptionId>,
    /// Subscriptions that ended for good: their other open invoices go with them.
    given_up: BTreeSet<SubscriptionId>,
    events: Vec<Event>,
}

impl<'a> Books<'a> {
    /// Locks what these payments belong to, in the order subscription, invoice, payment.
    pub async fn open(app: &'a App, tx: &mut Tx, claimed: impl Iterator<Item = &Payment> + Clone) -> Done<Self> {
        let ids: Vec<PaymentId> = claimed.clone().map(|payment| payment.id).collect();
        let invoice_ids: Vec<InvoiceId> = claimed.clone().map(|payment| payment.invoice_id).collect();
        let subscription_ids = store::payments::subscriptions_of(tx, &ids).await?;
        let mut books = Self::lock(app, tx, &subscription_ids, &invoice_ids, claimed.map(|payment| payment.timeline)).await?;
        books.payments = store::payments::lock_many(tx, &ids).await?.into_iter().map(|payment| (payment.id, payment)).collect();
        Ok(books)
    }

    /// Locks one invoice and its subscription.
    pub async fn open_invoice(app: &'a App, tx: &mut Tx, invoice: &Invoice) -> Done<Self> {
        let subscription_ids: Vec<_> = invoice.subscription_id.into_iter().collect();
        Self::lock(app, tx, &subscription_ids, &[invoice.id], std::iter::once(invoice.timeline)).await
    }

    async fn lock(
        app: &'a App,
        tx: &mut Tx,
        subscriptions: &[SubscriptionId],
        invoices: &[InvoiceId],
        timelines: impl Iterator<Item = Timeline>,
    ) -> Done<Self> {
        let mut nows = BTreeMap::new();
        for timeline in timelines {
            let key = timeline.to_string();
            if !nows.contains_key(&key) {
                nows.insert(key, app.now_in(tx, timeline).await?);
            }
        }
        let subscriptions = store::subscriptions::lock_many(tx, subscriptions).await?;
        let invoices = store::invoices::lock_many(tx, invoices).await?;
        Ok(Self {
            app,
            wall: app.clock.now(),
            nows,
            payments: BTreeMap::new(),
            invoices: invoices.into_iter().map(|invoice| (invoice.id, invoice)).collect(),
            subscriptions: subscriptions.into_iter().map(|subscription| (subscription.id, subscription)).collect(),
            changed_payments: BTreeSet::new(),
            changed_invoices: BTreeSet::new(),
            changed_subscriptions: BTreeSet::new(),
            paid: BTreeSet::new(),
            given_up: BTreeSet::new(),
            events: Vec::new(),
        })
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
        self.nows.get(&timeline.to_string()).copied().unwrap_or(self.wall)
    }

    pub fn event(&mut self, kind: &str, invoice: InvoiceId, data: Value, actor: &Actor) {
        if let Some(invoice) = self.invoices.get(&invoice) {
            let event = self.app.event(invoice.timeline, self.now_of(invoice.timeline), actor, kind, invoice.id, data);
            self.events.push(event);
        }
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

    /// What one answer does. Says what to ask next.
    pub fn settle(&mut self, claimed: &Payment, answer: &Answer) -> Option<(Step, PaymentId)> {
        let mut payment = self.payments.get(&claimed.id)?.clone();
        let ours = payment.lease_token == claimed.lease_token;
        if !payment.status.is_open() || payment.status == PaymentStatus::Parked || !(ours || tells_the_end(answer)) {
            return self.too_late(&payment, answer);
        }
        let wanted = self.is_wanted(&payment);
        let next = match answer {
            Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor }) => {
                self.resolve(&mut payment, PaymentStatus::Succeeded, Some(transaction_id.clone()));
                payment.amount_captured = *amount_minor;
                self.succeed(&payment);
                None
            }
            Answer::Outcome(Outcome::Authorized { transaction_id }) => {
                payment.transaction_id = Some(transaction_id.clone());
                if wanted {
                    payment.status = PaymentStatus::Authorized;
                    self.lease(&mut payment);
                    Some(Step::Capture)
                } else {
                    self.not_wanted(&mut payment);
                    Some(Step::Release)
                }
            }
            Answer::Outcome(Outcome::Declined { decline, transaction_id }) => {
                self.resolve(&mut payment, PaymentStatus::Declined, transaction_id.clone());
                payment.decline_class = Some(decline.class);
                payment.decline_code = Some(decline.code.clone());
                payment.decline_message = Some(decline.message.clone());
                let data = json!({ "invoice_id": payment.invoice_id, "attempt": payment.attempt, "class": decline.class, "code": decline.code });
                self.payment_event("payment.declined", &payment, data);
                self.decline(payment.invoice_id, decline);
                None
            }
            Answer::Outcome(Outcome::GatewayError { message, retry_after }) => {
                self.resolve(&mut payment, PaymentStatus::GatewayError, None);
                payment.decline_message = Some(message.clone());
                self.gateway_fault(payment.invoice_id, retry_after.and_then(|wait| TimeDelta::from_std(wait).ok()));
                None
            }
            Answer::Outcome(Outcome::Unknown { message }) => {
                self.unknown(&mut payment, message);
                None
            }
            Answer::Nothing if wanted => {
                // Sent again as the same payment: same reference, same key.
                payment.status = PaymentStatus::Pending;
                payment.lookups += 1;
                payment.next_lookup_at = None;
                self.lease(&mut payment);
                Some(Step::Charge)
            }
            Answer::Nothing => {
                self.not_wanted(&mut payment);
                None
            }
            Answer::NoAnswer(message) => {
                self.no_answer(&mut payment, message);
                None
            }
            Answer::Released | Answer::LeaseLost => None,
        };
        if !payment.status.is_open() {
            metrics::counter!(telemetry::PAYMENTS, "gateway" => payment.gateway.clone(), "status" => payment.status.as_str()).increment(1);
        }
        self.changed_payments.insert(payment.id);
        let id = payment.id;
        self.payments.insert(id, payment);
        next.map(|step| (step, id))
    }

    /// An answer that comes after another daemon has taken the payment over, or after its end.
    fn too_late(&mut self, payment: &Payment, answer: &Answer) -> Option<(Step, PaymentId)> {
        match answer {
            Answer::Outcome(Outcome::Authorized { transaction_id }) if payment.transaction_id.as_ref() != Some(transaction_id) => {
                // Reserved twice: the later reservation is given free, no money has moved.
                let mut stray = payment.clone();
                stray.transaction_id = Some(transaction_id.clone());
                self.payment_event("payment.stray_authorization", payment, json!({ "transaction_id": transaction_id }));
                self.payments.insert(stray.id, stray);
                Some((Step::Release, payment.id))
            }
            Answer::Outcome(Outcome::Succeeded { transaction_id, amount_minor }) if payment.transaction_id.as_ref() != Some(transaction_id) => {
                let data = json!({ "transaction_id": transaction_id, "amount": amount_minor, "status": payment.status });
                self.payment_event("payment.unexpected_success", payment, data);
                tracing::error!(payment = %payment.id, transaction_id, "the gateway reports success for a payment that had ended otherwise");
                None
            }
            _ => None,
        }
    }

    /// Whether the invoice is still to be collected: cancel, void and paid stop everything.
    fn is_wanted(&self, payment: &Payment) -> bool {
        let Some(invoice) = self.invoices.get(&payment.invoice_id) else { return false };
        let cancelled = invoice
            .subscription_id
            .and_then(|id| self.subscriptions.get(&id))
            .is_some_and(|subscription| subscription.status == SubscriptionStatus::Cancelled);
        invoice.status == InvoiceStatus::Open && !cancelled
    }

    fn lease(&self, payment: &mut Payment) {
        payment.lease_owner = Some(self.app.instance.clone());
        payment.lease_expires_at = Some(self.wall + self.app.config.collection.lease);
    }

    fn resolve(&self, payment: &mut Payment, status: PaymentStatus, transaction_id: Option<String>) {
        payment.status = status;
        payment.transaction_id = transaction_id.or_else(|| payment.transaction_id.take());
        payment.resolved_at = Some(self.now_of(payment.timeline));
        payment.lease_owner = None;
        payment.lease_expires_at = None;
        payment.next_lookup_at = None;
    }

    fn not_wanted(&mut self, payment: &mut Payment) {
        self.resolve(payment, PaymentStatus::GatewayError, None);
        payment.decline_message = Some("stopped before any money moved: the invoice is not to be collected any more".to_owned());
        self.stop_if_cancelled(payment.invoice_id);
    }

    fn unknown(&mut self, payment: &mut Payment, message: &str) {
        // The first look-up is immediate; after a resend the backoff goes on where it was.
        let first = payment.lookups == 0;
        payment.status = PaymentStatus::Unknown;
        payment.decline_message = Some(message.to_owned());
        payment.lease_owner = None;
        payment.lease_expires_at = None;
        payment.next_lookup_at = Some(if first { self.wall } else { self.wall + self.look_up_delay(payment.lookups) });
        let data = json!({ "invoice_id": payment.invoice_id, "message": message });
        self.payment_event("payment.unknown", payment, data);
    }

    fn look_up_delay(&self, lookups: i64) -> TimeDelta {
        let backoff = &self.app.config.collection.lookup_backoff;
        let index = usize::try_from(lookups - 1).unwrap_or(0).min(backoff.len().saturating_sub(1));
        backoff.get(index).and_then(|delay| TimeDelta::from_std(*delay).ok()).unwrap_or(TimeDelta::days(1))
    }

    fn no_answer(&mut self, payment: &mut Payment, message: &str) {
        payment.lookups += 1;
        payment.decline_message = Some(message.to_owned());
        payment.lease_owner = None;
        if payment.lookups > self.app.config.collection.lookup_backoff.len() as i64 + LAST_STEP_REPEATS {
            payment.status = PaymentStatus::Parked;
            payment.next_lookup_at = None;
            let data = json!({ "invoice_id": payment.invoice_id, "reference": payment.reference, "sent_at": payment.sent_at, "message": message });
            self.payment_event("payment.parked", payment, data);
        } else {
            payment.next_lookup_at = Some(self.wall + self.look_up_delay(payment.lookups));
        }
    }

    /// Money arrived.
    pub fn succeed(&mut self, payment: &Payment) {
        let data = json!({ "invoice_id": payment.invoice_id, "amount": payment.amount_captured, "currency": payment.currency, "transaction_id": payment.transaction_id });
        self.payment_event("payment.succeeded", payment, data);
        let now = self.now_of(payment.timeline);
        let Some(invoice) = self.invoices.get_mut(&payment.invoice_id) else { return };
        self.changed_invoices.insert(invoice.id);
        if invoice.status != InvoiceStatus::Open {
            self.payment_event("payment.on_closed_invoice", payment, json!({ "invoice_id": payment.invoice_id }));
            return;
        }
        let balance = invoice.balance_due();
        invoice.amount_paid += payment.amount_captured.min(balance);
        invoice.gateway_faults = 0;
        invoice.updated_at = now;
        if payment.amount_captured > balance {
            let data = json!({ "invoice_id": payment.invoice_id, "asked": payment.amount, "captured": payment.amount_captured });
            self.payment_event("payment.amount_differs", payment, data);
        } else if payment.amount_captured < balance {
            let decline = Decline { class: DeclineClass::Soft, code: "partial".to_owned(), message: "only a part was approved".to_owned() };
            self.decline(payment.invoice_id, &decline);
            return;
        }
        let Some(invoice) = self.invoices.get_mut(&payment.invoice_id) else { return };
        invoice.status = InvoiceStatus::Paid;
        invoice.next_attempt_at = None;
        self.paid.extend(invoice.subscription_id);
        let data = json!({ "payment_id": payment.id, "amount": payment.amount_captured });
        self.event("invoice.paid", payment.invoice_id, data, &Actor::System);
    }

    /// The invoice was refused: the next step of the ladder, or its end.
    pub fn decline(&mut self, id: InvoiceId, decline: &Decline) {
        if decline.class == DeclineClass::GatewayFault {
            self.gateway_fault(id, None);
            return;
        }
        let Some(invoice) = self.invoices.get_mut(&id) else { return };
        if invoice.status != InvoiceStatus::Open {
            return;
        }
        let now = self.nows.get(&invoice.timeline.to_string()).copied().unwrap_or(self.wall);
        self.changed_invoices.insert(id);
        invoice.dunning_step += 1;
        invoice.updated_at = now;
        let first = *invoice.first_failed_at.get_or_insert(now);
        let rules = &self.app.rules;
        let next = dunning::after_decline(&self.app.policy, decline.class, invoice.dunning_step, first, invoice.timezone.0, rules.bill_at);
        // A ladder that could not be followed in time goes on a day at a time, never all at once.
        let not_before = |at: DateTime<Utc>| if at <= now { now + TimeDelta::days(1) } else { at };
        match next {
            Next::RetryAt(at) => (invoice.next_attempt_at, invoice.next_action) = (Some(not_before(at)), NextAction::Charge),
            Next::GiveUpAt(at) => (invoice.next_attempt_at, invoice.next_action) = (Some(not_before(at)), NextAction::GiveUp),
            Next::GiveUp | Next::Stop => {}
        }
        if self.stop_if_cancelled(id) {
            return;
        }
        match next {
            Next::GiveUp => self.give_up(id),
            Next::Stop => self.cancel(id, "the issuer ended the mandate"),
            Next::RetryAt(_) | Next::GiveUpAt(_) => self.past_due(id),
        }
    }

    /// Nobody's money moved and nobody is to blame but the way there: a short wait, no dunning step, no word to the customer.
    fn gateway_fault(&mut self, id: InvoiceId, retry_after: Option<TimeDelta>) {
        let backoff = &self.app.config.collection.gateway_fault_backoff;
        let Some(invoice) = self.invoices.get_mut(&id) else { return };
        if invoice.status != InvoiceStatus::Open {
            return;
        }
        let now = self.nows.get(&invoice.timeline.to_string()).copied().unwrap_or(self.wall);
        let index = usize::try_from(invoice.gateway_faults).unwrap_or(0).min(backoff.len().saturating_sub(1));
        let wait = backoff.get(index).and_then(|delay| TimeDelta::from_std(*delay).ok()).unwrap_or(TimeDelta::minutes(1));
        invoice.gateway_faults += 1;
        invoice.next_attempt_at = Some(now + retry_after.map_or(wait, |asked| asked.max(wait)));
        invoice.next_action = NextAction::Charge;
        invoice.updated_at = now;
        self.changed_invoices.insert(id);
        self.stop_if_cancelled(id);
    }

    /// An invoice whose subscription was cancelled while a payment was on its way is void now.
    fn stop_if_cancelled(&mut self, id: InvoiceId) -> bool {
        let Some(invoice) = self.invoices.get_mut(&id) else { return false };
        let cancelled = invoice
            .subscription_id
            .and_then(|id| self.subscriptions.get(&id))
            .is_some_and(|subscription| subscription.status == SubscriptionStatus::Cancelled);
        if cancelled && invoice.status == InvoiceStatus::Open {
            invoice.status = InvoiceStatus::Void;
            invoice.next_attempt_at = None;
            self.changed_invoices.insert(id);
            self.event("invoice.voided", id, json!({ "reason": "the subscription was cancelled" }), &Actor::System);
        }
        cancelled
    }

    fn past_due(&mut self, id: InvoiceId) {
        let Some(subscription_id) = self.invoices.get(&id).and_then(|invoice| invoice.subscription_id) else { return };
        let rules = &self.app.rules;
        if let Some(subscription) = self.subscriptions.get_mut(&subscription_id)
            && matches!(subscription.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing)
        {
            subscription.status = SubscriptionStatus::PastDue;
            subscription.refresh(rules);
            self.changed_subscriptions.insert(subscription_id);
            self.subscription_event("subscription.past_due", subscription_id, json!({ "invoice_id": id }));
        }
    }

    /// The ladder is used up: its final action.
    pub fn give_up(&mut self, id: InvoiceId) {
        match self.app.policy.final_action {
            FinalAction::Cancel => self.cancel(id, "the dunning ladder ended without payment"),
            FinalAction::Pause => {
                self.uncollectible(id);
                let Some(subscription_id) = self.invoices.get(&id).and_then(|invoice| invoice.subscription_id) else { return };
                if let Some(subscription) = self.subscriptions.get_mut(&subscription_id).filter(|s| !s.status.is_ended()) {
                    subscription.status = SubscriptionStatus::Paused;
                    subscription.refresh(&self.app.rules);
                    self.changed_subscriptions.insert(subscription_id);
                    self.subscription_event("subscription.paused", subscription_id, json!({ "reason": "the dunning ladder ended without payment" }));
                }
            }
            FinalAction::MarkUncollectible | FinalAction::PaymentRequest => {
                self.uncollectible(id);
                self.paid.extend(self.invoices.get(&id).and_then(|invoice| invoice.subscription_id));
            }
        }
    }

    fn cancel(&mut self, id: InvoiceId, reason: &str) {
        self.uncollectible(id);
        let Some(subscription_id) = self.invoices.get(&id).and_then(|invoice| invoice.subscription_id) else { return };
        let Some(subscription) = self.subscriptions.get_mut(&subscription_id).filter(|s| !s.status.is_ended()) else { return };
        let now = self.nows.get(&subscription.timeline.to_string()).copied().unwrap_or(self.wall);
        subscription.end(SubscriptionStatus::Cancelled, now);
        subscription.updated_at = now;
        self.changed_subscriptions.insert(subscription_id);
        self.given_up.insert(subscription_id);
        self.subscription_event("subscription.cancelled", subscription_id, json!({ "reason": reason, "invoice_id": id }));
    }

    fn uncollectible(&mut self, id: InvoiceId) {
        if let Some(invoice) = self.invoices.get_mut(&id).filter(|invoice| invoice.status == InvoiceStatus::Open) {
            invoice.status = InvoiceStatus::Uncollectible;
            invoice.next_attempt_at = None;
            self.changed_invoices.insert(id);
            self.event("invoice.uncollectible", id, json!({}), &Actor::System);
        }
    }

    /// Writes everything that changed.
    pub async fn close(mut self, tx: &mut Tx) -> Done<()> {
        let taken = |changed: &BTreeSet<InvoiceId>, rows: &BTreeMap<InvoiceId, Invoice>| -> Vec<Invoice> { changed.iter().filter_map(|id| rows.get(id).cloned()).collect() };
        let payments: Vec<Payment> = self.changed_payments.iter().filter_map(|id| self.payments.get(id).cloned()).collect();
        store::payments::save(tx, &payments).await?;
        store::invoices::save(tx, &taken(&self.changed_invoices, &self.invoices)).await?;
        self.clear_of_debt(tx).await?;
        self.others_of_given_up(tx).await?;
        let subscriptions: Vec<Subscription> = self.changed_subscriptions.iter().filter_map(|id| self.subscriptions.get(id).cloned()).collect();
        store::subscriptions::save(tx, &subscriptions).await?;
        store::events::append(tx, &self.events).await?;
        Ok(())
    }

    /// A past-due subscription that owes nothing more is active again; one with nothing to come is complete.
    async fn clear_of_debt(&mut self, tx: &mut Tx) -> Done<()> {
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
            let now = self.nows.get(&subscription.timeline.to_string()).copied().unwrap_or(self.wall);
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
    async fn others_of_given_up(&mut self, tx: &mut Tx) -> Done<()> {
        for id in std::mem::take(&mut self.given_up) {
            let others = store::invoices::lock_open_of_subscription(tx, id).await?;
            let ids: Vec<InvoiceId> = others.iter().map(|invoice| invoice.id).collect();
            let in_flight = store::payments::invoices_in_flight(tx, &ids).await?;
            let mut ended = Vec::new();
            for mut invoice in others.into_iter().filter(|invoice| !in_flight.contains(&invoice.id)) {
                invoice.status = InvoiceStatus::Uncollectible;
                invoice.next_attempt_at = None;
                let now = self.now_of(invoice.timeline);
                self.events.push(self.app.event(invoice.timeline, now, &Actor::System, "invoice.uncollectible", invoice.id, json!({})));
                ended.push(invoice);
            }
            store::invoices::save(tx, &ended).await?;
        }
        Ok(())
    }
}

/// Answers that are true whoever brings them.
fn tells_the_end(answer: &Answer) -> bool {
    matches!(answer, Answer::Outcome(Outcome::Succeeded { .. } | Outcome::Declined { .. }))
}
