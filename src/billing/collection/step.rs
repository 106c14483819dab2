//! How an invoice that is due goes on: to a gateway now, later, or without one. Decided inside the claim.

use chrono::{DateTime, Utc};

use super::allowance::Credentials;
use crate::{
    billing::{App, gateways::Admissions},
    domain::{
        cap::Allowance,
        clock::Timeline,
        dunning::Postponement,
        invoice::{Invoice, NextAction},
        payment::NotCollectable,
        payment_method::MethodKind,
    },
    store::invoices::ChosenMethod,
};

pub(crate) enum CollectionStep<'m> {
    /// To a gateway now, by this method.
    Charge(&'m ChosenMethod),
    /// The customer is asked to pay.
    RequestPayment(&'m ChosenMethod),
    /// Again at this instant of the invoice's own clock. It counts as no attempt, for nobody is to blame.
    Postpone(DateTime<Utc>, Postponement),
    /// Left as it is until the attempts under way at the same credential have ended.
    Blocked,
    /// No gateway is called.
    NotCollectable(NotCollectable),
}

pub(crate) fn of<'m>(
    app: &App,
    timeline: Timeline,
    invoice: &Invoice,
    method: Option<&'m ChosenMethod>,
    credentials: &mut Credentials,
    gateways: &mut Admissions,
) -> CollectionStep<'m> {
    if invoice.next_action == NextAction::GiveUp {
        return CollectionStep::NotCollectable(NotCollectable::LadderEnded);
    }
    let Some(method) = method.filter(|method| method.payment_method_id.is_some()) else {
        return CollectionStep::NotCollectable(NotCollectable::NoMethod);
    };
    let Some(gateway) = method.gateway.as_deref().and_then(|name| app.gateways.get(name)) else {
        return CollectionStep::NotCollectable(NotCollectable::GatewayNotConfigured);
    };
    if gateway.live && timeline != Timeline::Wall {
        return CollectionStep::NotCollectable(NotCollectable::LiveGateway);
    }
    if let Some(until) = gateways.until(&gateway.name) {
        return CollectionStep::Postpone(until, Postponement::Gateway);
    }
    if method.kind == Some(MethodKind::PaymentRequest) {
        gateways.take_request(&gateway.name);
        return CollectionStep::RequestPayment(method);
    }
    if method.mandate_ended_at.is_some() {
        return CollectionStep::NotCollectable(NotCollectable::MandateEnded);
    }
    match credentials.take(method) {
        Allowance::Now => {
            gateways.take(&gateway.name);
            CollectionStep::Charge(method)
        }
        Allowance::Blocked => CollectionStep::Blocked,
        Allowance::At(until) => CollectionStep::Postpone(until, Postponement::Cap),
    }
}

/// Like [`of`], for money that the gateway has approved before: only the gateway itself can make it wait.
pub(crate) fn approved<'m>(method: &'m ChosenMethod, gateways: &mut Admissions) -> CollectionStep<'m> {
    let gateway = method.gateway.as_deref().unwrap_or_default();
    if let Some(until) = gateways.until(gateway) {
        return CollectionStep::Postpone(until, Postponement::Gateway);
    }
    gateways.take(gateway);
    CollectionStep::Charge(method)
}
