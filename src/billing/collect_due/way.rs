//! How an invoice that is due goes on: to a gateway now, later, or without one. Decided inside the claim.

use chrono::{DateTime, Utc};

use crate::{
    billing::{App, gateways},
    domain::{
        customer::Timeline,
        invoice::{Invoice, NextAction},
        payment::DeclineClass,
    },
    store::invoices::ChosenMethod,
};

pub(super) enum Way<'m> {
    /// To a gateway now, by this method.
    Charge(&'m ChosenMethod),
    /// Not now, and nobody is to blame: again at this instant of the invoice's own clock, no step spent.
    Wait(DateTime<Utc>),
    /// No gateway is asked.
    Without(Obstacle),
}

/// Why an invoice that is due is not sent to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::billing) enum Obstacle {
    LadderEnded,
    NoMethod,
    GatewayNotConfigured,
    /// A test clock's customer must never be charged for real.
    LiveGateway,
}

impl Obstacle {
    pub(in crate::billing) fn class(self) -> DeclineClass {
        match self {
            Self::LadderEnded | Self::NoMethod => DeclineClass::NewCardNeeded,
            Self::GatewayNotConfigured | Self::LiveGateway => DeclineClass::GatewayFault,
        }
    }

    pub(in crate::billing) fn code(self) -> &'static str {
        match self {
            Self::LadderEnded => "ladder_ended",
            Self::NoMethod => "no_payment_method",
            Self::GatewayNotConfigured => "gateway_not_configured",
            Self::LiveGateway => "live_gateway_on_test_clock",
        }
    }
}

pub(super) fn of<'m>(
    app: &App,
    timeline: Timeline,
    now: DateTime<Utc>,
    invoice: &Invoice,
    method: Option<&'m ChosenMethod>,
) -> Way<'m> {
    if invoice.next_action == NextAction::GiveUp {
        return Way::Without(Obstacle::LadderEnded);
    }
    let Some(method) = method.filter(|method| method.payment_method_id.is_some()) else {
        return Way::Without(Obstacle::NoMethod);
    };
    let Some(gateway) = method.gateway.as_deref().and_then(|name| app.gateways.get(name)) else {
        return Way::Without(Obstacle::GatewayNotConfigured);
    };
    if gateway.live && timeline != Timeline::Wall {
        return Way::Without(Obstacle::LiveGateway);
    }
    if let Some(until) = gateways::rests_until(app, &gateway.name, timeline, now) {
        return Way::Wait(until);
    }
    Way::Charge(method)
}
