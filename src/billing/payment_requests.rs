//! Payment requests: asking the customer to pay instead of charging them. Recorded before the call; what was paid is always looked up,
//! never believed; money that an invoice does not need any more goes back by itself.

mod call;
mod collect;
mod due;
mod execute;
mod operate;
mod overpayment;
mod schedule;
mod settle;

use chrono::{DateTime, Utc};

use super::App;
use crate::{
    domain::{
        clock::Timeline,
        customer::Customer,
        event::{Actor, Event},
        id::PaymentMethodId,
        invoice::Invoice,
        payment_request::{PaymentRequest, RequestStatus, Role, next_reminder},
    },
    gateway::Configured,
};

pub(crate) use collect::Asking;
pub use due::due;
pub use execute::{claim_only, work};
pub(crate) use operate::check_channels;
pub use operate::{check, poll_by_reference, remind, request, withdraw};
pub use overpayment::return_overpayments;
pub use schedule::{ScheduleInput, schedule};

/// What one request is to be: the gateway, the way there, and whose idea it is.
pub(crate) struct NewRequest<'a> {
    pub gateway: &'a Configured,
    pub role: Role,
    pub channels: Vec<String>,
    pub payment_method_id: Option<PaymentMethodId>,
}

/// A request for what an invoice still owes, to be inserted in the transaction that wants it; the job sends it.
pub(crate) fn draft(
    app: &App,
    invoice: &Invoice,
    customer: &Customer,
    plan: NewRequest<'_>,
    now: DateTime<Utc>,
    wall: DateTime<Utc>,
) -> PaymentRequest {
    PaymentRequest {
        invoice_id: Some(invoice.id),
        description: invoice.description.clone(),
        amount: invoice.amount_due(),
        currency: invoice.currency,
        ..blank(app, customer, plan, now, wall)
    }
}

/// A request of nothing yet.
fn blank(app: &App, customer: &Customer, plan: NewRequest<'_>, now: DateTime<Utc>, wall: DateTime<Utc>) -> PaymentRequest {
    let id = app.ids.next(wall);
    let collection = &app.config.collection;
    let expires = collection.payment_request_expires;
    PaymentRequest {
        id,
        invoice_id: None,
        customer_id: customer.id,
        payment_method_id: plan.payment_method_id,
        timeline: customer.timeline,
        gateway: plan.gateway.name.clone(),
        role: plan.role,
        reference: id.short_reference(),
        status: RequestStatus::Pending,
        ending: None,
        channels: plan.channels,
        name: customer.name.clone(),
        email: customer.email.clone(),
        phone: customer.phone.clone(),
        locale: customer.locale.clone(),
        description: String::new(),
        amount: 0,
        currency: customer.currency,
        payment_frequency: None,
        payment_start_at: None,
        total_number_of_payments: None,
        initial_payment_amount: None,
        agreement_id: None,
        request_id: None,
        link: None,
        message: None,
        kept: false,
        asks: 0,
        reminders: 0,
        remind: false,
        expires_at: now + expires,
        next_reminder_at: next_reminder(&collection.payment_request_reminders, now, now, now + expires),
        lease_owner: None,
        lease_token: 0,
        checks: 0,
        next_check_at: Some(wall),
        claimed_at: None,
        notified_at: None,
        gateway_expires_at: wall + expires,
        sent_at: wall,
        created_at: now,
        resolved_at: None,
    }
}

/// The channels that reach a customer when nobody has named any; none if nothing does.
pub(crate) fn channels_for(gateway: &Configured, customer: &Customer) -> Option<Vec<String>> {
    let sends = gateway.adapter.requests()?.sends();
    match (&customer.email, &customer.phone) {
        _ if !sends => Some(vec!["WEB".to_owned()]),
        (Some(_), _) => Some(vec!["EMAIL".to_owned()]),
        (None, Some(_)) => Some(vec!["SMS".to_owned()]),
        (None, None) => None,
    }
}

/// Whether a gateway may ask customers of this timeline: on a test clock, only one in test mode.
pub(crate) fn may_ask(gateway: &Configured, timeline: Timeline) -> bool {
    gateway.adapter.requests().is_some() && (!gateway.live || timeline == Timeline::Wall)
}

pub(crate) fn event(app: &App, now: DateTime<Utc>, actor: &Actor, kind: &str, request: &PaymentRequest) -> Event {
    app.event(request.timeline, now, actor, &format!("payment_request.{kind}"), request.id, request.event_data())
}
