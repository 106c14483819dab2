//! Writes an answer about a request down: what it does to the request, to its invoice and to what was paid, in one transaction.

use chrono::{DateTime, Utc};

use crate::{
    billing::{
        App, Result,
        gateway_operations::retry,
        invoices::open::{Draft, open_as_they_are},
        payments::SettlementBatch,
    },
    domain::{
        event::Actor,
        id::InvoiceId,
        invoice::{Invoice, Line, LineKind},
        payment::{Payment, PaymentStatus, Reason},
        payment_method::MethodKind,
        payment_request::{
            PaymentRequest,
            answer::{Polled, Received},
            transition::{Effect, Facts, RequestReply, RequestStep, Transition, decide},
        },
    },
    store::{self, Tx},
    telemetry,
};

/// Settles an answer; says what to do next, if anything. `sends`: the gateway keeps requests and sends them, so that copies we do not
/// know of may be about.
pub(crate) async fn settle(
    app: &App,
    claimed: &PaymentRequest,
    sends: bool,
    answer: RequestReply,
) -> Result<Option<(RequestStep, PaymentRequest)>> {
    retry::settle(app, claimed.id, || once(app, claimed, sends, &answer)).await
}

async fn once(
    app: &App,
    claimed: &PaymentRequest,
    sends: bool,
    answer: &RequestReply,
) -> Result<Option<(RequestStep, PaymentRequest)>> {
    // Before the transaction: who asks for a second connection while all hold their first waits for ever.
    let invoice = match claimed.invoice_id {
        Some(id) => match store::invoices::get(&app.db, id).await? {
            Some(invoice) => Some(invoice),
            None => return Ok(None),
        },
        None => None,
    };
    let mut tx = app.db.begin().await?;
    let mut settlement = Settlement::open(app, &mut tx, claimed, invoice.as_ref()).await?;
    let Some(request) = store::payment_requests::lock(&mut tx, claimed.id).await? else { return Ok(None) };
    let ours = request.lease_token == claimed.lease_token;
    if !ours && !answer.brings_money() {
        return Ok(None);
    }
    let Transition { request, next, effects } = settlement.decide(&mut tx, request, answer, sends).await?;
    for effect in effects {
        settlement.carry_out(&mut tx, &request, effect).await?;
    }
    store::payment_requests::save(&mut tx, std::slice::from_ref(&request)).await?;
    settlement.batch.save(&mut tx).await?;
    tx.commit().await?;
    Ok(next.filter(|_| ours).map(|step| (step, request)))
}

/// What a request belongs to, all locked.
pub(super) struct Settlement<'a> {
    pub app: &'a App,
    pub now: DateTime<Utc>,
    wall: DateTime<Utc>,
    pub batch: SettlementBatch<'a>,
}

impl<'a> Settlement<'a> {
    async fn open(app: &'a App, tx: &mut Tx, claimed: &PaymentRequest, invoice: Option<&Invoice>) -> Result<Self> {
        let batch = match invoice {
            Some(invoice) => SettlementBatch::load_invoice(app, tx, invoice).await?,
            None => SettlementBatch::load_nothing(app, tx, claimed.timeline).await?,
        };
        Ok(Self { app, now: batch.now(), wall: app.clock.now(), batch })
    }

    async fn decide(&mut self, tx: &mut Tx, request: PaymentRequest, answer: &RequestReply, sends: bool) -> Result<Transition> {
        let ids: Vec<InvoiceId> = request.invoice_id.into_iter().collect();
        let in_flight = !store::payments::invoices_in_flight(tx, &ids).await?.is_empty();
        let booked = if matches!(answer, RequestReply::Polled(Polled::Payments(_))) {
            store::payments::of_request(tx, request.id).await?
        } else {
            Vec::new()
        };
        self.wall = self.app.clock.now();
        let invoice = request.invoice_id.and_then(|id| self.batch.invoice(id));
        let facts = Facts {
            now: self.now,
            wall: self.wall,
            lookups: &self.app.config.collection.lookup_policy(),
            polls: &self.app.config.collection.poll_policy(),
            sends,
            invoice,
            is_wanted: request.invoice_id.is_none() || invoice.is_some_and(|invoice| self.batch.is_wanted(invoice)),
            in_flight,
            booked: &booked,
        };
        Ok(decide(request, answer, &facts))
    }

    /// Opens an invoice for each payment of a schedule, and books the payment on it. The money has come already: no credit is used for it.
    async fn open_invoices(&mut self, tx: &mut Tx, request: &PaymentRequest, money: &[Received], first: bool) -> Result<()> {
        let found = store::customers::get_many(tx, &[request.customer_id]).await?;
        let Some(customer) = found.into_iter().next() else { return Ok(()) };
        let drafts = money.iter().map(|money| Draft {
            customer_id: customer.id,
            subscription_id: None,
            installment: None,
            cycle: None,
            timeline: request.timeline,
            currency: money.currency,
            timezone: customer.timezone,
            description: request.description.clone(),
            period: None,
            lines: vec![Line::new(LineKind::Base, request.description.clone(), money.amount_minor)],
            due_at: self.now,
        });
        let (invoices, events) = open_as_they_are(tx, self.app, self.now, &Actor::System, drafts.collect()).await?;
        for event in events {
            self.batch.emit_event(event);
        }
        for (number, (invoice, money)) in invoices.into_iter().zip(money).enumerate() {
            let id = invoice.id;
            self.batch.adopt(invoice);
            self.receive(request, id, money, first && number == 0);
        }
        Ok(())
    }

    async fn carry_out(&mut self, tx: &mut Tx, request: &PaymentRequest, effect: Effect) -> Result<()> {
        match effect {
            Effect::Emit { kind, data } => {
                metrics::counter!(telemetry::PAYMENT_REQUESTS, "gateway" => request.gateway.clone(), "status" => kind)
                    .increment(1);
                let kind = format!("payment_request.{kind}");
                let event = self.app.event(request.timeline, self.now, &Actor::System, &kind, request.id, data);
                self.batch.emit_event(event);
            }
            Effect::OpenInvoices { money, first } => self.open_invoices(tx, request, &money, first).await?,
            effect => {
                if let Some(invoice) = request.invoice_id {
                    self.carry_out_for(request, invoice, effect);
                }
            }
        }
        Ok(())
    }

    fn carry_out_for(&mut self, request: &PaymentRequest, invoice: InvoiceId, effect: Effect) {
        match effect {
            Effect::Receive { money, first } => self.receive(request, invoice, &money, first),
            Effect::Capture { money, first } => {
                let payment = self.payment(request, invoice, &money, first, PaymentStatus::Unknown);
                self.batch.authorize(payment);
                self.app.wakeups.look_up.notify_one();
            }
            Effect::PlanAtOnce => self.batch.plan_at_once(invoice),
            Effect::PlanIfUnplanned => self.batch.plan_now(invoice),
            Effect::Decline(decline) => self.batch.decline(invoice, &decline, Some(&request.gateway)),
            Effect::GatewayFault(retry_after) => self.batch.gateway_fault(invoice, said(request), retry_after),
            Effect::LastRequestFault => self.batch.last_request_fault(invoice, said(request)),
            Effect::GiveUpForGood => self.batch.give_up_for_good(invoice),
            Effect::Emit { .. } | Effect::OpenInvoices { .. } => {}
        }
    }

    pub fn receive(&mut self, request: &PaymentRequest, invoice: InvoiceId, money: &Received, first: bool) {
        let payment = self.payment(request, invoice, money, first, PaymentStatus::Succeeded);
        self.batch.receive(payment);
    }

    /// What a customer has paid, or authorized where `status` is unknown.
    fn payment(
        &self,
        request: &PaymentRequest,
        invoice_id: InvoiceId,
        money: &Received,
        first: bool,
        status: PaymentStatus,
    ) -> Payment {
        let taken = status == PaymentStatus::Succeeded;
        let id = self.app.ids.next(self.wall);
        let invoice = self.batch.invoice(invoice_id);
        let installment = invoice.is_some_and(|invoice| invoice.installment_plan_id.is_some());
        Payment {
            id,
            invoice_id,
            customer_id: request.customer_id,
            payment_method_id: request.payment_method_id,
            payment_request_id: Some(request.id),
            authorization_id: None,
            amount_disputed: 0,
            credential: None,
            timeline: request.timeline,
            attempt: 0,
            gateway: request.gateway.clone(),
            kind: MethodKind::PaymentRequest,
            // Two links of one request may both be paid, and references are unique.
            reference: if first { request.reference.clone() } else { id.short_reference() },
            idempotency_key: id.to_string(),
            customer_token: None,
            payment_method_token: None,
            prior_transaction_id: None,
            reason: if installment { Reason::Installment } else { Reason::Recurring },
            description: request.description.clone(),
            amount: money.amount_minor,
            amount_captured: if taken { money.amount_minor } else { 0 },
            amount_refunded: 0,
            overpayment: 0,
            currency: money.currency,
            status,
            transaction_id: Some(money.transaction_id.clone()),
            decline_class: None,
            decline_code: None,
            decline_message: None,
            lease_owner: None,
            lease_token: 0,
            lease_expires_at: None,
            lookups: 0,
            next_lookup_at: (!taken).then_some(self.wall),
            sent_at: request.sent_at,
            called_at: self.wall,
            created_at: self.now,
            resolved_at: taken.then_some(self.now),
            return_at: None,
        }
    }
}

/// What the gateway said when the customer was to be asked.
fn said(request: &PaymentRequest) -> &str {
    request.message.as_deref().unwrap_or("the gateway did not answer")
}
