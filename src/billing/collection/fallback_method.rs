//! Fallback methods: which other stored method an invoice is charged to after one was refused. A method counts as tried by what it
//! charges at the gateway, so that one token stored twice is one method.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    billing::{App, Result},
    domain::{
        calendar,
        cap::credential,
        clock::Timeline,
        id::{CustomerId, InvoiceId},
        invoice::Invoice,
        payment::DeclineClass,
        payment_method::{MethodKind, PaymentMethod},
    },
    store::{self, Tx, invoices::ChosenMethod, payments::Tried},
};

/// Customers' stored methods in their order, and what was declined for their invoices so far.
#[derive(Default)]
pub(crate) struct Stored {
    methods: HashMap<CustomerId, Vec<PaymentMethod>>,
    tried: HashMap<InvoiceId, Vec<Tried>>,
}

impl Stored {
    pub(crate) async fn read(tx: &mut Tx, invoices: &[&Invoice]) -> Result<Self> {
        let mut stored = Self::default();
        if invoices.is_empty() {
            return Ok(stored);
        }
        let customers: Vec<CustomerId> = invoices.iter().map(|invoice| invoice.customer_id).collect();
        for method in store::payment_methods::of_customers(tx, &customers).await? {
            stored.methods.entry(method.customer_id).or_default().push(method);
        }
        let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
        for tried in store::payments::declined_of(tx, &ids).await? {
            stored.tried.entry(tried.invoice_id).or_default().push(tried);
        }
        Ok(stored)
    }

    /// The first usable method that was not tried for this invoice. `also`: what has been tried beyond what was read.
    pub(crate) fn untried(
        &self,
        app: &App,
        invoice: &Invoice,
        now: DateTime<Utc>,
        also: impl Fn(&str) -> bool,
    ) -> Option<&PaymentMethod> {
        let tried = self.tried.get(&invoice.id).map_or(&[][..], Vec::as_slice);
        self.usable(app, invoice, now).find(|method| {
            let credential = credential_of(method);
            !also(&credential) && !tried.iter().any(|tried| tried.credential.as_ref() == Some(&credential))
        })
    }

    /// The latest method tried that may still pay, for an invoice whose own method never will.
    fn went_to(&self, app: &App, invoice: &Invoice, own: Option<&str>, now: DateTime<Utc>) -> Option<&PaymentMethod> {
        let tried = self.tried.get(&invoice.id)?;
        let is_dead = |credential: &str| {
            tried
                .iter()
                .any(|tried| tried.credential.as_deref() == Some(credential) && tried.decline_class.is_some_and(will_not_pay))
        };
        if !own.is_some_and(is_dead) {
            return None;
        }
        let methods: Vec<(String, &PaymentMethod)> =
            self.usable(app, invoice, now).map(|method| (credential_of(method), method)).collect();
        tried
            .iter()
            .rev()
            .filter_map(|tried| tried.credential.as_deref())
            .filter(|credential| !is_dead(credential))
            .find_map(|credential| methods.iter().find(|(known, _)| known == credential).map(|(_, method)| *method))
    }

    fn usable(&self, app: &App, invoice: &Invoice, now: DateTime<Utc>) -> impl Iterator<Item = &PaymentMethod> {
        let today = calendar::local_date(now, invoice.timezone.0);
        let methods = self.methods.get(&invoice.customer_id).map_or(&[][..], Vec::as_slice);
        methods.iter().filter(move |method| is_usable(app, invoice.timeline, method, today))
    }
}

/// Replaces the own method of each invoice whose ladder says to try another.
pub(crate) async fn pick(
    app: &App,
    tx: &mut Tx,
    now: DateTime<Utc>,
    invoices: &[Invoice],
    methods: &mut BTreeMap<InvoiceId, ChosenMethod>,
) -> Result<()> {
    let failed: Vec<&Invoice> = invoices.iter().filter(|invoice| invoice.next_method || invoice.dunning_step > 0).collect();
    let stored = Stored::read(tx, &failed).await?;
    for invoice in failed {
        let own = methods.get(&invoice.id).and_then(ChosenMethod::credential);
        let untried = if invoice.next_method {
            // Its own method comes first in the order of things, even if it was never charged.
            stored.untried(app, invoice, now, |credential| own.as_deref() == Some(credential))
        } else {
            None
        };
        if let Some(method) = untried.or_else(|| stored.went_to(app, invoice, own.as_deref(), now)) {
            methods.insert(invoice.id, ChosenMethod::of(invoice.id, method));
        }
    }
    Ok(())
}

fn will_not_pay(class: DeclineClass) -> bool {
    matches!(class, DeclineClass::Hard | DeclineClass::NewCardNeeded | DeclineClass::StopRecurring)
}

fn credential_of(method: &PaymentMethod) -> String {
    let tokens = [&method.customer_token, &method.payment_method_token, &method.transaction_id].map(Option::as_deref);
    credential(&method.gateway, tokens)
}

fn is_usable(app: &App, timeline: Timeline, method: &PaymentMethod, today: NaiveDate) -> bool {
    let expired = method.expires.as_deref().is_some_and(|month| month < today.format("%Y-%m").to_string().as_str());
    method.kind != MethodKind::PaymentRequest
        && method.mandate_ended_at.is_none()
        && !expired
        && app.gateways.get(&method.gateway).is_some_and(|gateway| {
            (timeline == Timeline::Wall || !gateway.live) && gateway.adapter.capabilities().kind == method.kind
        })
}

impl ChosenMethod {
    pub(crate) fn of(invoice_id: InvoiceId, method: &PaymentMethod) -> Self {
        Self {
            invoice_id,
            payment_method_id: Some(method.id),
            gateway: Some(method.gateway.clone()),
            kind: Some(method.kind),
            customer_token: method.customer_token.clone(),
            payment_method_token: method.payment_method_token.clone(),
            transaction_id: method.transaction_id.clone(),
            mandate_ended_at: method.mandate_ended_at,
            channels: Some(method.channels.clone()),
        }
    }

    /// What it charges at its gateway.
    pub(crate) fn credential(&self) -> Option<String> {
        let tokens = [&self.customer_token, &self.payment_method_token, &self.transaction_id].map(Option::as_deref);
        self.gateway.as_deref().map(|gateway| credential(gateway, tokens))
    }
}
