//! The claim of what is due: how each invoice goes on is decided, and payments are recorded, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    allowance::{Credentials, SuccessTally},
    authorized::{Authorized, AuthorizedStep},
    fallback_method,
    step::{self, CollectionStep},
};
use crate::{
    billing::{
        App, BillingError, Result, gateways::Admissions, invoices::apply_balance::apply_balance, payment_requests::Asking,
        payments::settle,
    },
    domain::{
        clock::Timeline,
        dunning::Postponement,
        event::{Actor, Event},
        id::{CustomerId, InvoiceId},
        invoice::Invoice,
        payment::{NotCollectable, Payment, PaymentStatus, Reason},
        payment_method::MethodKind,
    },
    store::{self, Tx, invoices::ChosenMethod},
};

/// What a claim came to.
#[derive(Default)]
pub(super) struct Claimed {
    pub payments: Vec<Payment>,
    pub requests: usize,
    pub without_gateway: usize,
    /// Invoices that were given a later instant.
    pub postponed: usize,
    /// Credentials of which more was due than could be under way.
    pub blocked: Vec<String>,
    /// Of what comes after the claim: the payments are claimed all the same, and must be charged.
    pub fault: Option<BillingError>,
}

/// Everything that decides how the due invoices of a batch go on, and what was decided so far.
struct Due<'a> {
    app: &'a App,
    timeline: Timeline,
    now: DateTime<Utc>,
    wall: DateTime<Utc>,
    methods: BTreeMap<InvoiceId, ChosenMethod>,
    admissions: Admissions<'a>,
    credentials: Credentials<'a>,
    authorized: Authorized,
    requests: Asking<'a>,
    payments: Vec<Payment>,
    postponed: usize,
    events: Vec<Event>,
    not_collectable: Vec<(InvoiceId, NotCollectable)>,
}

impl<'a> Due<'a> {
    /// Reads what the decisions depend on, and locks what they change.
    async fn load(
        app: &'a App,
        tx: &mut Tx,
        timeline: Timeline,
        now: DateTime<Utc>,
        wall: DateTime<Utc>,
        invoices: &[Invoice],
        tally: &'a SuccessTally,
    ) -> Result<Self> {
        let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
        let chosen = store::invoices::methods_of(tx, &ids).await?;
        let mut methods: BTreeMap<_, _> = chosen.into_iter().map(|method| (method.invoice_id, method)).collect();
        fallback_method::pick(app, tx, now, invoices, &mut methods).await?;
        let admissions = Admissions::read(app, tx, timeline, now).await?;
        let credentials = Credentials::read(app, tx, timeline, now, &methods, tally).await?;
        let authorized = Authorized::of(tx, &ids).await?;
        let is_request =
            |invoice: &&Invoice| methods.get(&invoice.id).is_some_and(|method| method.kind == Some(MethodKind::PaymentRequest));
        let by_request: Vec<&Invoice> = invoices.iter().filter(is_request).collect();
        let requests = Asking::load(app, tx, &by_request, now, wall).await?;
        Ok(Self {
            app,
            timeline,
            now,
            wall,
            methods,
            admissions,
            credentials,
            authorized,
            requests,
            payments: Vec::with_capacity(invoices.len()),
            postponed: 0,
            events: Vec::new(),
            not_collectable: Vec::new(),
        })
    }

    fn decide<'m>(&mut self, invoice: &Invoice, method: Option<&'m ChosenMethod>) -> CollectionStep<'m> {
        match (self.authorized.step(self.app, invoice, method, self.now, self.wall), method) {
            (Some(AuthorizedStep::Wait(until)), _) => CollectionStep::Postpone(until, Postponement::Reservation),
            // What is captured was approved before: no cap forbids it.
            (Some(AuthorizedStep::Capture), Some(method)) => step::approved(method, &mut self.admissions),
            _ => step::of(self.app, self.timeline, invoice, method, &mut self.credentials, &mut self.admissions),
        }
    }

    /// Decides how an invoice goes on and keeps what is to be written. False: the invoice has not changed.
    fn take(&mut self, invoice: &mut Invoice) -> bool {
        let method = self.methods.remove(&invoice.id);
        match self.decide(invoice, method.as_ref()) {
            CollectionStep::Charge(method) => self.charge(invoice, method),
            CollectionStep::RequestPayment(method) => {
                invoice.parked_reason = None;
                return self.requests.next(invoice, method);
            }
            CollectionStep::Postpone(until, why) => {
                if why == Postponement::Gateway {
                    // The reason that a gateway gave before says more.
                    let reason = invoice.refused_reason.take().unwrap_or_else(|| waits(method.as_ref()));
                    invoice.refused(&reason, self.now);
                }
                self.postpone(invoice, until, why);
            }
            CollectionStep::Blocked => return false,
            CollectionStep::NotCollectable(why) => {
                self.not_collectable.push((invoice.id, why));
                return false;
            }
        }
        invoice.updated_at = self.now;
        true
    }

    fn charge(&mut self, invoice: &mut Invoice, method: &ChosenMethod) {
        invoice.attempts += 1;
        invoice.next_attempt_at = None;
        // `next_method` stays until the outcome: after a fault of the gateway the same attempt is made again.
        (invoice.postponed_by, invoice.parked_reason) = (None, None);
        let mut payment = payment_for(self.app, invoice, method, self.now, self.wall);
        self.authorized.capture(invoice.id, &mut payment);
        self.payments.push(payment);
    }

    fn postpone(&mut self, invoice: &mut Invoice, until: DateTime<Utc>, why: Postponement) {
        (invoice.next_attempt_at, invoice.postponed_by) = (Some(until), Some(why));
        self.postponed += 1;
        // A gateway that is not charged now has an event of its own: one for each waiting invoice would be too many.
        if why != Postponement::Gateway {
            let data = json!({ "reason": why, "until": until, "subscription_id": invoice.subscription_id });
            self.events.push(self.app.event(self.timeline, self.now, &Actor::System, "invoice.postponed", invoice.id, data));
        }
    }

    /// Writes what was decided and commits. Then settles the invoices that go to no gateway, each in its own transaction.
    async fn save(self, mut tx: Tx, changed: &[Invoice]) -> Result<Claimed> {
        store::payments::insert(&mut tx, &self.payments).await?;
        store::invoices::save_claimed(&mut tx, changed).await?;
        store::events::append(&mut tx, &self.events).await?;
        self.admissions.save(&mut tx).await?;
        let requests = self.requests.close(&mut tx).await?;
        let to_void = self.authorized.close(&mut tx).await?;
        tx.commit().await?;
        if to_void {
            self.app.wakeups.look_up.notify_one();
        }
        Ok(Claimed {
            payments: self.payments,
            requests,
            without_gateway: self.not_collectable.len(),
            postponed: self.postponed,
            blocked: self.credentials.blocked,
            fault: settle_without_gateway(self.app, self.not_collectable).await.err(),
        })
    }
}

/// Claims at most `limit` of the invoices due by `now`.
pub(super) async fn claim(app: &App, timeline: Timeline, now: DateTime<Utc>, limit: i64, tally: SuccessTally) -> Result<Claimed> {
    let wall = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut invoices = store::invoices::due(&mut tx, timeline, now, limit).await?;
    if invoices.is_empty() {
        return Ok(Claimed::default());
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let covered = store::invoices::covered_by_balance(&mut tx, &ids).await?;
    invoices.retain(|invoice| covered.iter().all(|(id, _)| *id != invoice.id));
    let mut due = Due::load(app, &mut tx, timeline, now, wall, &invoices, &tally).await?;
    invoices.retain_mut(|invoice| due.take(invoice));
    let mut claimed = due.save(tx, &invoices).await?;
    match use_balances(app, covered.into_iter().map(|pair| pair.1).collect()).await {
        Ok(paid) => claimed.without_gateway += paid,
        Err(error) => claimed.fault = claimed.fault.or(Some(error)),
    }
    Ok(claimed)
}

/// Credit comes before the gateway: these customers have some. What is left of their invoices is due still, for the next claim.
async fn use_balances(app: &App, customers: BTreeSet<CustomerId>) -> Result<usize> {
    let mut paid = 0;
    for customer in customers {
        let mut tx = app.db.begin().await?;
        paid += apply_balance(&mut tx, app, &Actor::System, &[customer]).await?;
        tx.commit().await?;
    }
    Ok(paid)
}

async fn settle_without_gateway(app: &App, invoices: Vec<(InvoiceId, NotCollectable)>) -> Result<()> {
    for (invoice, why) in invoices {
        settle::without_gateway(app, invoice, why).await?;
    }
    Ok(())
}

/// Claims and records what is due and makes no call, as a daemon does that dies at this very moment. For tests of recovery.
#[doc(hidden)]
pub async fn claim_only(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<usize> {
    Ok(claim(app, timeline, now, app.config.billing.batch.into(), SuccessTally::default()).await?.payments.len())
}

/// Why an invoice waits whose gateway is not charged now.
fn waits(method: Option<&ChosenMethod>) -> String {
    format!("gateway {} is not charged for now", method.and_then(|method| method.gateway.as_deref()).unwrap_or_default())
}

fn payment_for(app: &App, invoice: &Invoice, method: &ChosenMethod, now: DateTime<Utc>, wall: DateTime<Utc>) -> Payment {
    let id = app.ids.next(wall);
    Payment {
        id,
        invoice_id: invoice.id,
        customer_id: invoice.customer_id,
        payment_method_id: method.payment_method_id,
        payment_request_id: None,
        timeline: invoice.timeline,
        attempt: invoice.attempts,
        gateway: method.gateway.clone().unwrap_or_default(),
        kind: method.kind.unwrap_or(MethodKind::VaultToken),
        reference: id.short_reference(),
        idempotency_key: id.to_string(),
        customer_token: method.customer_token.clone(),
        payment_method_token: method.payment_method_token.clone(),
        prior_transaction_id: method.transaction_id.clone(),
        credential: method.credential(),
        reason: if invoice.installment_plan_id.is_some() { Reason::Installment } else { Reason::Recurring },
        description: invoice.description.clone(),
        amount: invoice.amount_due(),
        amount_captured: 0,
        amount_refunded: 0,
        amount_disputed: 0,
        overpayment: 0,
        currency: invoice.currency,
        status: PaymentStatus::Pending,
        transaction_id: None,
        authorization_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        lease_owner: Some(app.instance.clone()),
        lease_token: 1,
        lease_expires_at: Some(wall + app.config.collection.lease),
        lookups: 0,
        next_lookup_at: None,
        sent_at: wall,
        called_at: wall,
        created_at: now,
        resolved_at: None,
        return_at: None,
    }
}
