//! Authorizations made before the bill date, as the claim of their invoice finds them: captured in place of a charge, waited for
//! while their outcome is unknown, or voided.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    billing::{App, Result},
    domain::{
        authorization::{Authorization, AuthorizationStatus, Credential},
        id::InvoiceId,
        invoice::{Invoice, NextAction},
        payment::{Payment, PaymentStatus},
        payment_method::MethodKind,
    },
    store::{self, Tx, invoices::ChosenMethod},
};

/// How long a charge waits at a time, and how long at most, for the outcome of an authorization. A card may not have enough for both.
const WAIT: TimeDelta = TimeDelta::minutes(1);
const AT_MOST: TimeDelta = TimeDelta::hours(1);

pub(crate) enum AuthorizedStep {
    /// The authorization is captured.
    Capture,
    /// Until this instant of the invoice's own clock.
    Wait(DateTime<Utc>),
}

/// The open authorizations of a claim.
pub(crate) struct Authorized {
    open: HashMap<InvoiceId, Authorization>,
    changed: Vec<Authorization>,
}

impl Authorized {
    pub(crate) async fn of(tx: &mut Tx, invoices: &[InvoiceId]) -> Result<Self> {
        let open = store::authorizations::lock_of_invoices(tx, invoices).await?;
        Ok(Self { open: open.into_iter().map(|found| (found.invoice_id, found.authorization)).collect(), changed: Vec::new() })
    }

    /// How an invoice goes on because of its authorization. None: it has no authorization that matters now.
    pub(crate) fn step(
        &mut self,
        app: &App,
        invoice: &Invoice,
        method: Option<&ChosenMethod>,
        now: DateTime<Utc>,
        wall: DateTime<Utc>,
    ) -> Option<AuthorizedStep> {
        let open = self.open.get(&invoice.id).filter(|_| invoice.next_action == NextAction::Charge)?;
        if open.status == AuthorizationStatus::Authorized {
            let fits = match method.filter(|_| app.gateways.get(&open.gateway).is_some()) {
                Some(method) => open.covers(invoice.amount_due(), invoice.currency, &credential(app, method), now),
                None => Err("there is no payment method to be charged"),
            };
            let Err(reason) = fits else { return Some(AuthorizedStep::Capture) };
            let mut voiding = self.open.remove(&invoice.id)?;
            voiding.void(reason, wall, app.config.collection.lease);
            voiding.next_lookup_at = Some(wall);
            self.changed.push(voiding);
            return Some(AuthorizedStep::Wait(now + WAIT));
        }
        let patient = wall - open.called_at < AT_MOST;
        if !patient {
            self.open.remove(&invoice.id);
        }
        patient.then(|| AuthorizedStep::Wait(now + WAIT))
    }

    /// Makes the payment of an invoice the capture of its authorization, if it has one.
    pub(crate) fn capture(&mut self, invoice: InvoiceId, payment: &mut Payment) {
        let Some(mut open) = self.open.remove(&invoice) else { return };
        payment.authorization_id = Some(open.id);
        payment.status = PaymentStatus::Authorized;
        payment.transaction_id.clone_from(&open.transaction_id);
        // The gateway knows both by one reference, and since then.
        payment.reference.clone_from(&open.reference);
        payment.idempotency_key.clone_from(&open.idempotency_key);
        payment.sent_at = open.sent_at;
        open.status = AuthorizationStatus::Used;
        open.payment_id = Some(payment.id);
        open.resolved_at = Some(payment.created_at);
        self.changed.push(open);
    }

    /// Saves what has changed. True: an authorization is to be voided.
    pub(crate) async fn close(self, tx: &mut Tx) -> Result<bool> {
        store::authorizations::save(tx, &self.changed).await?;
        Ok(self.changed.iter().any(|authorization| authorization.status == AuthorizationStatus::Voiding))
    }
}

fn credential(app: &App, method: &ChosenMethod) -> Credential {
    let gateway = method.gateway.as_deref().and_then(|name| app.gateways.get(name));
    Credential {
        in_part: gateway.is_some_and(|gateway| gateway.adapter.capabilities().captures_in_part),
        payment_method_id: method.payment_method_id,
        gateway: method.gateway.clone().unwrap_or_default(),
        kind: method.kind.unwrap_or(MethodKind::VaultToken),
        customer_token: method.customer_token.clone(),
        payment_method_token: method.payment_method_token.clone(),
        prior_transaction_id: method.transaction_id.clone(),
    }
}
