//! What happens to the customer of a story: time, cards that refuse, operators, banks.

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    billing::{
        BillingError, customers, disputes, invoices,
        payment_methods::{self, PaymentMethodInput},
        payment_requests, refunds,
        subscriptions::{
            cancel::{CancelInput, cancel},
            change::{ChangeInput, change},
            edit::ChangePreview,
            pause::{PauseInput, pause},
            resume::resume,
            terms::TermsInput,
            update::{SubscriptionPatch, update},
        },
    },
    domain::{
        event::Actor,
        frequency::Frequency,
        id::{CustomerId, InvoiceId, PaymentMethodId},
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        payment_method::PaymentMethod,
        subscription::{Subscription, When},
    },
    input::Patch,
    store,
};

use super::{dice::Dice, promises::Observed};
use crate::world::*;

const SYSTEM: Actor = Actor::System;
const REFUSE: [&str; 4] = ["decline2020000000000", "decline2230000000000", "partial1100000000000", "decline2000000000000"];

pub struct Story<'w> {
    world: &'w World,
    dice: Dice,
    pub customer: CustomerId,
    now: DateTime<Utc>,
    said: Vec<String>,
    disputed: bool,
    due_now: Vec<InvoiceId>,
}

/// Whether an operation was done, or refused in words.
fn done<T>(result: Result<T, BillingError>) -> Result<T, String> {
    match result {
        Ok(value) => Ok(value),
        Err(BillingError::Store(error)) => panic!("the store refused: {error}"),
        Err(refused) => Err(refused.to_string()),
    }
}

impl<'w> Story<'w> {
    pub async fn begin(world: &'w World, dice: Dice) -> Self {
        let customer = world.customer("UTC").await;
        let now = at("2026-01-01T00:00:00Z");
        let mut story = Self { world, dice, customer, now, said: Vec::new(), disputed: false, due_now: Vec::new() };
        let token = story.token();
        world.method(customer, false, &token).await;
        story.subscribe().await;
        story
    }

    pub fn told(&self) -> String {
        self.said.join("\n")
    }

    pub fn observed(&self) -> Observed {
        Observed { disputed: self.disputed, due_now: self.due_now.clone() }
    }

    fn token(&mut self) -> String {
        if self.dice.coin() { self.world.token() } else { (*self.dice.of(&REFUSE)).to_owned() }
    }

    async fn subscribe(&mut self) {
        let start = (self.now.date_naive() + TimeDelta::days(1)).to_string();
        let frequency = *self.dice.of(&[Frequency::Monthly, Frequency::Weekly, Frequency::Yearly, Frequency::Daily]);
        let terms = Subscription {
            amount: self.dice.amount(),
            billing_frequency: frequency,
            ..self.world.monthly(self.customer, &start).await
        };
        self.said.push(format!("subscribes from {start}: {} {frequency}", terms.amount));
        self.world.add(terms).await;
    }

    async fn subscriptions(&self) -> Vec<Subscription> {
        store::subscriptions::of_customer(&self.world.app.db, self.customer).await.expect("read")
    }

    async fn invoices(&self) -> Vec<Invoice> {
        let sql = "select * from invoices where customer_id = $1 order by id";
        self.world.app.db.query(sql).bind(self.customer).all().await.expect("invoices")
    }

    /// Does something at random. Says what, and how it went.
    pub async fn go_on(&mut self) -> String {
        self.due_now.clear();
        let (what, how) = match self.dice.below(20) {
            0..=4 => self.wait().await,
            5 | 6 => self.change_now().await,
            7 => self.stop_for_a_while().await,
            8 => self.go_on_again().await,
            9 => self.cancel().await,
            10 | 11 => self.refund().await,
            12 => self.credit().await,
            13 => self.void().await,
            14 | 15 => self.another_method().await,
            16 => self.dispute().await,
            17 => self.link().await,
            18 => self.collect().await,
            _ => {
                if self.subscriptions().await.iter().filter(|one| !one.status.is_ended()).count() < 3 {
                    self.subscribe().await;
                }
                ("subscribe".to_owned(), Ok(()))
            }
        };
        let said = format!("{} {what}: {}", self.now, how.err().unwrap_or_else(|| "done".to_owned()));
        self.said.push(said.clone());
        said
    }

    async fn wait(&mut self) -> (String, Result<(), String>) {
        let hours = 1 + self.dice.below(24 * 9);
        self.now += TimeDelta::hours(i64::try_from(hours).expect("few"));
        self.world.advance(&self.now.to_rfc3339()).await;
        if self.dice.coin() {
            self.world.sandbox.sandbox().settle();
        }
        (format!("{hours} hours pass"), Ok(()))
    }

    /// Previews, acts, and compares.
    async fn act<F>(&mut self, what: String, verb: impl Fn(Subscription, bool) -> F) -> (String, Result<(), String>)
    where
        F: Future<Output = Result<ChangePreview, BillingError>>,
    {
        let all = self.subscriptions().await;
        let one = self.dice.of(&all).clone();
        let foreseen = done(verb(one.clone(), true).await);
        let outcome = done(verb(one, false).await);
        let how = match (&foreseen, &outcome) {
            (Ok(foreseen), Ok(outcome)) => {
                assert_eq!(figures(foreseen), figures(outcome), "{what}\n{}", self.told());
                Ok(())
            }
            (Err(foreseen), Err(refused)) => {
                assert_eq!(foreseen, refused, "{what}\n{}", self.told());
                Err(refused.clone())
            }
            _ => panic!("{what}: foreseen {foreseen:?}, done {outcome:?}\n{}", self.told()),
        };
        (what, how)
    }

    async fn change_now(&mut self) -> (String, Result<(), String>) {
        let terms = match self.dice.below(4) {
            0 => TermsInput { quantity: Some(1 + i64::try_from(self.dice.below(3)).expect("few")), ..TermsInput::default() },
            1 => TermsInput {
                billing_frequency: Some(*self.dice.of(&[Frequency::Monthly, Frequency::Quarterly])),
                ..TermsInput::default()
            },
            _ => TermsInput { amount: Some(self.dice.amount()), ..TermsInput::default() },
        };
        let app = &self.world.app;
        let what = format!("change to {:?} {:?} {:?}", terms.amount, terms.quantity, terms.billing_frequency);
        self.act(what, |one, preview| {
            let terms = terms.clone();
            async move { change(app, &SYSTEM, one.id, ChangeInput { when: When::Now, terms }, preview).await }
        })
        .await
    }

    async fn stop_for_a_while(&mut self) -> (String, Result<(), String>) {
        let (app, credit) = (&self.world.app, self.dice.coin());
        let until = self.dice.coin().then(|| self.now.date_naive() + TimeDelta::days(9));
        self.act(format!("pause until {until:?}, credit {credit}"), |one, preview| async move {
            pause(app, &SYSTEM, one.id, PauseInput { until, when: When::Now, credit }, preview).await
        })
        .await
    }

    async fn go_on_again(&mut self) -> (String, Result<(), String>) {
        let app = &self.world.app;
        self.act("resume".to_owned(), |one, preview| async move { resume(app, &SYSTEM, one.id, preview).await }).await
    }

    async fn cancel(&mut self) -> (String, Result<(), String>) {
        let (app, credit) = (&self.world.app, self.dice.coin());
        self.act(format!("cancel, credit {credit}"), |one, preview| async move {
            cancel(app, &SYSTEM, one.id, CancelInput { when: When::Now, credit }, preview).await
        })
        .await
    }

    async fn refund(&mut self) -> (String, Result<(), String>) {
        let all = self.invoices().await;
        if all.is_empty() {
            return ("refund nothing".to_owned(), Ok(()));
        }
        let invoice = self.dice.of(&all).clone();
        let amount = self.dice.coin().then(|| self.dice.amount());
        let app = &self.world.app;
        if self.dice.coin() {
            let how = done(refunds::to_credit(app, &SYSTEM, invoice.id, amount, "asked").await).map(drop);
            return (format!("refund {amount:?} of {} to credit", invoice.number), how);
        }
        self.world.sandbox.sandbox().settle();
        let how = done(refunds::refund(app, &SYSTEM, invoice.id, amount, "asked").await).map(drop);
        (format!("refund {amount:?} of {}", invoice.number), how)
    }

    async fn credit(&mut self) -> (String, Result<(), String>) {
        let amount = if self.dice.below(4) == 0 { -self.dice.amount() } else { self.dice.amount() };
        let key = self.customer.to_string();
        let how = customers::give_credit(&self.world.app, &SYSTEM, &key, amount, None, "a gift".into()).await;
        (format!("credit {amount}"), done(how).map(drop))
    }

    async fn void(&mut self) -> (String, Result<(), String>) {
        let open: Vec<Invoice> = self.invoices().await.into_iter().filter(|it| it.status == InvoiceStatus::Open).collect();
        if open.is_empty() {
            return ("void nothing".to_owned(), Ok(()));
        }
        let invoice = self.dice.of(&open).clone();
        if self.dice.below(3) == 0 {
            let how = invoices::mark_uncollectible(&self.world.app, &SYSTEM, invoice.id, "a bad debt").await;
            return (format!("write {} off", invoice.number), done(how).map(drop));
        }
        let how = invoices::void(&self.world.app, &SYSTEM, invoice.id, "a mistake").await;
        (format!("void {}", invoice.number), done(how).map(drop))
    }

    async fn collect(&mut self) -> (String, Result<(), String>) {
        let open: Vec<Invoice> = self.invoices().await.into_iter().filter(|it| it.status == InvoiceStatus::Open).collect();
        if open.is_empty() {
            return ("collect nothing".to_owned(), Ok(()));
        }
        let invoice = self.dice.of(&open).clone();
        let how = invoices::collect(&self.world.app, &SYSTEM, invoice.id).await;
        (format!("collect {}", invoice.number), done(how).map(drop))
    }

    /// Which method each open invoice that was declined would be charged to.
    async fn charged_to(&self) -> Vec<(InvoiceId, Option<PaymentMethodId>)> {
        let waits = |it: &Invoice| it.status == InvoiceStatus::Open && it.dunning_step > 0 && it.next_attempt_at.is_some();
        let ids: Vec<InvoiceId> = self.invoices().await.iter().filter(|it| waits(it)).map(|it| it.id).collect();
        let mut tx = self.world.app.db.begin().await.expect("tx");
        let chosen = store::invoices::methods_of(&mut tx, &ids).await.expect("read");
        chosen.into_iter().map(|chosen| (chosen.invoice_id, chosen.payment_method_id)).collect()
    }

    async fn another_method(&mut self) -> (String, Result<(), String>) {
        let before = self.charged_to().await;
        let (app, key) = (&self.world.app, self.customer.to_string());
        let sql = "select * from payment_methods where customer_id = $1 order by id";
        let stored: Vec<PaymentMethod> = app.db.query(sql).bind(self.customer).all().await.expect("methods");
        let (what, how) = match self.dice.below(3) {
            0 if stored.len() > 1 => {
                let one = self.dice.of(&stored).id;
                (format!("remove {one}"), done(payment_methods::delete(app, &SYSTEM, one).await))
            }
            1 if !stored.is_empty() => {
                let (all, method) = (self.subscriptions().await, self.dice.of(&stored).id);
                let one = self.dice.of(&all).id;
                let method = if self.dice.coin() { Patch::Value(method) } else { Patch::Null };
                let terms = TermsInput { payment_method_id: method, ..TermsInput::default() };
                let patch = SubscriptionPatch { terms, ..SubscriptionPatch::default() };
                (format!("charge {one} to {method:?}"), done(update(app, &SYSTEM, one, patch, false).await).map(drop))
            }
            _ => {
                let token = self.token();
                let default = Some(self.dice.coin());
                let input = PaymentMethodInput { default, ..vault(&token) };
                (
                    format!("add {token}, default {default:?}"),
                    done(payment_methods::add(&self.world.app, &SYSTEM, &key, input).await).map(drop),
                )
            }
        };
        let after = self.charged_to().await;
        let is_another = |(id, method): &&(InvoiceId, Option<PaymentMethodId>)| {
            method.is_some() && before.iter().any(|(was, old)| was == id && old != method)
        };
        self.due_now = after.iter().filter(is_another).map(|(id, _)| *id).collect();
        (what, how)
    }

    async fn dispute(&mut self) -> (String, Result<(), String>) {
        let sql = "select * from payments where customer_id = $1 order by id";
        let all: Vec<Payment> = self.world.app.db.query(sql).bind(self.customer).all().await.expect("payments");
        let succeeded: Vec<&Payment> = all
            .iter()
            .filter(|it| it.status == PaymentStatus::Succeeded && it.overpayment == 0 && it.payment_request_id.is_none())
            .collect();
        if succeeded.is_empty() {
            return ("dispute nothing".to_owned(), Ok(()));
        }
        self.world.sandbox.sandbox().settle();
        let payment = *self.dice.of(&succeeded);
        let left = payment.amount_captured - payment.amount_refunded;
        let amount = if self.dice.coin() { left } else { 0 };
        let id = payment.transaction_id.as_deref().expect("an id");
        self.world.sandbox.sandbox().dispute(id, amount);
        // The walk goes on where it was: each time a day later.
        let later = self.world.app.clock.now() + TimeDelta::days(1) + TimeDelta::hours(1);
        disputes::check(&self.world.app, later).await.expect("asked");
        for days in [3, 7, 14] {
            let later = self.world.app.clock.now() + TimeDelta::days(days) + TimeDelta::hours(1);
            disputes::check(&self.world.app, later).await.expect("asked");
        }
        self.disputed = true;
        (format!("dispute {amount} of {}", payment.reference), Ok(()))
    }

    /// The customer is asked, pays by the link, and nobody looks until something else has happened.
    async fn link(&mut self) -> (String, Result<(), String>) {
        let open: Vec<Invoice> = self.invoices().await.into_iter().filter(|it| it.status == InvoiceStatus::Open).collect();
        let Some(invoice) = open.first().cloned() else {
            self.world.settle_requests().await;
            return ("look for what was paid by link".to_owned(), Ok(()));
        };
        let channels = Some(vec!["EMAIL".to_owned()]);
        let asked = payment_requests::request(&self.world.app, &SYSTEM, invoice.id, Some("paysley".into()), channels).await;
        let what = format!("pay {} by link", invoice.number);
        let request = match done(asked) {
            Ok(request) => request,
            Err(refused) => return (what, Err(refused)),
        };
        self.world.settle_requests().await;
        let pay = rebilld::sandbox::Pay { reference: Some(request.reference.clone()), ..rebilld::sandbox::Pay::default() };
        let paid = self.world.sandbox.sandbox().pay(pay).await;
        if self.dice.coin() {
            self.world.settle_requests().await;
        }
        (what, paid.map(drop))
    }
}

/// What a preview and its verb must agree about.
fn figures(outcome: &ChangePreview) -> String {
    let notes: Vec<_> = outcome
        .credit_notes
        .iter()
        .map(|note| (note.invoice_id, note.pre_payment_amount, note.to_balance, note.to_invoice))
        .collect();
    let ChangePreview { lines, amount, credit, balance, subscription, .. } = outcome;
    format!("{lines:?} {amount} {credit} {balance:?} {notes:?} {} {:?}", subscription.status, subscription.next_bill_date)
}
