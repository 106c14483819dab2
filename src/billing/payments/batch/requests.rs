//! Payment requests in the batch: money that came by one, the one that ends a dunning ladder, and taking back what is not wanted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{SettlementBatch, effects::count_ended};
use crate::{
    billing::{
        App, Result,
        payment_requests::{NewRequest, channels_for, draft, event, may_ask},
    },
    domain::{
        customer::Customer,
        event::{Actor, Event},
        id::InvoiceId,
        invoice::{Invoice, InvoiceStatus, NextAction},
        payment::Payment,
        payment_method::PaymentMethod,
        payment_request::{PaymentRequest, RequestStatus, Role},
    },
    gateway::Configured,
    store::{self, Tx},
};

impl SettlementBatch<'_> {
    pub fn emit_event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// An invoice that this transaction has just opened.
    pub fn adopt(&mut self, invoice: Invoice) {
        self.invoices.add(invoice.id, invoice);
    }

    /// Money that a customer has paid by a request.
    pub fn receive(&mut self, mut payment: Payment) {
        self.number(&mut payment);
        count_ended(&payment);
        self.succeed(&mut payment);
        self.received.push(payment);
    }

    /// Money that a customer has authorized by a request. The lookup finds the authorization, and the money is captured.
    pub fn authorize(&mut self, mut payment: Payment) {
        self.number(&mut payment);
        if let Some(invoice) = self.invoices.change(payment.invoice_id) {
            // As after any claim: what comes of it decides what is next.
            invoice.next_attempt_at = None;
        }
        self.received.push(payment);
    }

    fn number(&mut self, payment: &mut Payment) {
        if let Some(invoice) = self.invoices.change(payment.invoice_id) {
            invoice.attempts += 1;
            payment.attempt = invoice.attempts;
        }
    }

    /// Books what came for an invoice; what that does not need goes back by itself. Answers what it still owes.
    pub(super) fn take(&mut self, payment: &mut Payment) -> i64 {
        let Some(invoice) = self.invoices.change(payment.invoice_id) else { return 0 };
        let balance = invoice.amount_due();
        // Whoever pays by a request that was withdrawn owes nothing any more.
        let in_vain = payment.payment_request_id.is_some() && invoice.status == InvoiceStatus::Void;
        let of_use = payment.currency == invoice.currency && !in_vain;
        let taken = if of_use { payment.amount_captured.min(balance) } else { 0 };
        invoice.amount_paid += taken;
        payment.overpayment = payment.amount_captured - taken;
        if taken > 0 {
            self.follow_ups.funded.insert(invoice.id);
        }
        // More than was asked for is for an operator to look at.
        if payment.overpayment > 0 && payment.amount_captured <= payment.amount {
            payment.return_at = Some(self.clocks.wall);
            self.app.wakeups.requests.notify_one();
        }
        balance - taken
    }

    /// The customer was asked at last and has not paid.
    pub fn give_up_for_good(&mut self, id: InvoiceId) {
        self.uncollectible(id);
        self.follow_ups.paid.extend(self.invoices.get(id).and_then(|invoice| invoice.subscription_id));
    }

    /// The last request could not be sent: tried again soon, as any fault of a gateway is.
    pub fn last_request_fault(&mut self, id: InvoiceId, reason: &str) {
        self.gateway_fault(id, reason, None);
        if let Some(invoice) = self.invoices.change_open(id).filter(|invoice| invoice.next_attempt_at.is_some()) {
            invoice.next_action = NextAction::GiveUp;
        }
    }

    /// Nothing else is planned for an open invoice whose request was taken back: collection looks at it again.
    pub fn plan_now(&mut self, id: InvoiceId) {
        if self.invoices.get(id).is_some_and(|invoice| invoice.next_attempt_at.is_none()) {
            self.plan_at_once(id);
        }
    }

    /// Collection looks at an open invoice now, whatever was planned.
    pub fn plan_at_once(&mut self, id: InvoiceId) {
        if let Some(invoice) = self.invoices.change_open(id) {
            let now = self.clocks.now(invoice.timeline);
            invoice.next_attempt_at = Some(now);
            invoice.updated_at = now;
            self.rests_if_defaulted(id);
        }
    }

    /// The requests that end a dunning ladder, for invoices for which none has been sent yet.
    pub(super) async fn last_requests(&mut self, tx: &mut Tx) -> Result<()> {
        let ids: Vec<InvoiceId> = std::mem::take(&mut self.follow_ups.last_requests).into_iter().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let before = store::payment_requests::lock_of_invoices(tx, &ids).await?;
        let payers: Vec<_> = ids.iter().filter_map(|id| Some(self.invoices.get(*id)?.customer_id)).collect();
        let customers = store::customers::get_many(tx, &payers).await?;
        let customers: BTreeMap<_, _> = customers.into_iter().map(|customer| (customer.id, customer)).collect();
        let methods = store::payment_methods::that_ask(tx, &payers).await?;
        let charged: BTreeMap<InvoiceId, String> = store::payments::last_gateways(tx, &ids).await?.into_iter().collect();
        let mut made = Vec::new();
        for id in ids {
            let Some(invoice) = self.invoices.get(id).cloned() else { continue };
            let of_it: Vec<&PaymentRequest> =
                before.iter().filter(|request| request.invoice_id == Some(id) && request.role != Role::Extra).collect();
            let now = self.clocks.now(invoice.timeline);
            if let Some(open) = of_it.iter().find(|request| request.status.is_open()) {
                // Its own end decides.
                self.wait(id, (open.expires_at > now && open.ending.is_none()).then_some(open.expires_at));
            } else if of_it.iter().any(|request| request.role == Role::Last && request.status != RequestStatus::Refused) {
                self.give_up_for_good(id);
            } else if let Some(request) = customers
                .get(&invoice.customer_id)
                .and_then(|customer| {
                    last_plan(self.app, &invoice, customer, &methods, charged.get(&id)).map(|plan| (customer, plan))
                })
                .map(|(customer, plan)| draft(self.app, &invoice, customer, plan, now, self.clocks.wall))
            {
                self.wait(id, Some(request.expires_at));
                self.past_due(id);
                self.events.push(event(self.app, now, &Actor::System, "created", &request));
                made.push(request);
            } else {
                self.event("invoice.not_collectable", id, json!({ "code": "no_request_gateway" }), &Actor::System);
                self.give_up_for_good(id);
            }
        }
        store::payment_requests::insert(tx, &made).await?;
        if !made.is_empty() {
            self.app.wakeups.requests.notify_one();
        }
        Ok(())
    }

    fn wait(&mut self, id: InvoiceId, until: Option<DateTime<Utc>>) {
        if let Some(invoice) = self.invoices.change(id) {
            invoice.next_attempt_at = until;
            invoice.next_action = NextAction::GiveUp;
        }
    }
}

/// By the customer's own method that asks, else by the link of the gateway that was charged, else by the configured gateway.
fn last_plan<'a>(
    app: &'a App,
    invoice: &Invoice,
    customer: &Customer,
    methods: &[PaymentMethod],
    charged: Option<&String>,
) -> Option<NewRequest<'a>> {
    let named = |name: &str| -> Option<&'a Configured> {
        app.gateways.get(name).map(AsRef::as_ref).filter(|gateway| may_ask(gateway, invoice.timeline))
    };
    let own = methods.iter().filter(|method| method.customer_id == customer.id).find_map(|method| {
        let gateway = named(&method.gateway)?;
        Some(NewRequest { gateway, role: Role::Last, channels: method.channels.clone(), payment_method_id: Some(method.id) })
    });
    let others = [charged.map(String::as_str), Some(app.config.collection.payment_request_gateway.as_str())];
    own.or_else(|| {
        others.into_iter().flatten().filter_map(named).find_map(|gateway| {
            let channels = channels_for(gateway, customer)?;
            Some(NewRequest { gateway, role: Role::Last, channels, payment_method_id: None })
        })
    })
}
