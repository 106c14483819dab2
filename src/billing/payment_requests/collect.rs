//! Collection of invoices whose customer is asked: a request instead of a charge, one at a time, until it is paid or expires.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{NewRequest, draft, event};
use crate::{
    billing::{App, Result},
    domain::{
        customer::Customer,
        event::{Actor, Event},
        id::{CustomerId, InvoiceId},
        invoice::{Invoice, NextAction},
        payment_request::{PaymentRequest, Role},
    },
    store::{self, Tx, invoices::ChosenMethod},
};

/// The requests of a batch of due invoices, all locked: those that are out, and those to be made.
pub(crate) struct Asking<'a> {
    app: &'a App,
    now: DateTime<Utc>,
    wall: DateTime<Utc>,
    customers: HashMap<CustomerId, Customer>,
    open: HashMap<InvoiceId, PaymentRequest>,
    again: Vec<PaymentRequest>,
    made: Vec<PaymentRequest>,
    events: Vec<Event>,
    waiting: usize,
}

impl<'a> Asking<'a> {
    pub async fn load(app: &'a App, tx: &mut Tx, invoices: &[&Invoice], now: DateTime<Utc>, wall: DateTime<Utc>) -> Result<Self> {
        let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
        let payers: Vec<CustomerId> = invoices.iter().map(|invoice| invoice.customer_id).collect();
        let (customers, requests) = if ids.is_empty() {
            (Vec::new(), Vec::new())
        } else {
            (store::customers::get_many(tx, &payers).await?, store::payment_requests::lock_of_invoices(tx, &ids).await?)
        };
        let open = requests.into_iter().filter(|request| request.status.is_open() && request.role != Role::Extra);
        Ok(Self {
            app,
            now,
            wall,
            customers: customers.into_iter().map(|customer| (customer.id, customer)).collect(),
            open: open.filter_map(|request| Some((request.invoice_id?, request))).collect(),
            again: Vec::new(),
            made: Vec::new(),
            events: Vec::new(),
            waiting: 0,
        })
    }

    /// What a due invoice gets. True: the invoice has changed.
    pub fn next(&mut self, invoice: &mut Invoice, method: &ChosenMethod) -> bool {
        invoice.updated_at = self.now;
        self.waiting += 1;
        if let Some(mut request) = self.open.remove(&invoice.id) {
            if request.ending.is_some() || request.expires_at <= self.now {
                // Its own end decides what follows.
                invoice.next_attempt_at = None;
                return true;
            }
            // Collected before its time: the customer is asked again.
            invoice.next_attempt_at = Some(request.expires_at);
            request.remind = true;
            request.checks = 0;
            request.next_check_at = Some(self.wall);
            self.again.push(request);
            return true;
        }
        let gateway = method.gateway.as_deref().and_then(|name| self.app.gateways.get(name));
        let (Some(gateway), Some(customer)) = (gateway, self.customers.get(&invoice.customer_id)) else {
            // Both were there a moment ago: looked for again soon.
            invoice.next_attempt_at = Some(self.now + TimeDelta::minutes(1));
            return true;
        };
        let channels = method.channels.clone().unwrap_or_default();
        let plan = NewRequest { gateway, role: Role::Attempt, channels, payment_method_id: method.payment_method_id };
        let request = draft(self.app, invoice, customer, plan, self.now, self.wall);
        invoice.next_attempt_at = Some(request.expires_at);
        invoice.next_action = NextAction::Charge;
        self.events.push(event(self.app, self.now, &Actor::System, "created", &request));
        self.made.push(request);
        true
    }

    /// Writes them. Answers for how many invoices there was something to do.
    pub async fn close(self, tx: &mut Tx) -> Result<usize> {
        store::payment_requests::save(tx, &self.again).await?;
        store::payment_requests::insert(tx, &self.made).await?;
        store::events::append(tx, &self.events).await?;
        Ok(self.waiting)
    }
}
