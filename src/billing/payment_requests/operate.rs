//! What people ask for: a request beside the schedule, a reminder now, taking one back; and what gateways say has happened.

use chrono::{DateTime, Utc};

use super::{NewRequest, channels_for, draft, event, may_ask};
use crate::{
    billing::{App, BillingError, Result, checks::Checks, customers},
    domain::{
        customer::Customer,
        event::Actor,
        id::{InvoiceId, PaymentRequestId},
        invoice::InvoiceStatus,
        payment_request::{Ending, PaymentRequest, RequestStatus, Role},
    },
    gateway::Configured,
    store::{self, Tx},
};

/// Asks the customer to pay an open invoice, beside whatever else is planned for it. The gateway left out: the configured one, else
/// the only one that can ask.
pub async fn request(
    app: &App,
    actor: &Actor,
    id: InvoiceId,
    gateway: Option<String>,
    channels: Option<Vec<String>>,
) -> Result<PaymentRequest> {
    let Some(seen) = store::invoices::get(&app.db, id).await? else { return Err(BillingError::not_found("invoice", id)) };
    let mut tx = app.db.begin().await?;
    let now = app.now_in(&mut tx, seen.timeline).await?;
    let invoice = store::invoices::lock(&mut tx, id).await?.ok_or_else(|| BillingError::not_found("invoice", id))?;
    if invoice.status != InvoiceStatus::Open {
        return Err(BillingError::WrongState(format!("the invoice is {}: only an open one can be asked for", invoice.status)));
    }
    let customer = customers::locked(&mut tx, &invoice.customer_id.to_string()).await?;
    let mut checks = Checks::default();
    let able = |name: &&str| app.gateways.get(name).is_some_and(|known| may_ask(known, invoice.timeline));
    let found = choose_gateway(app, &mut checks, gateway.as_deref(), able);
    let channels = match (channels, found) {
        (Some(channels), _) => {
            check_channels(&mut checks, &customer, &channels);
            channels
        }
        (None, Some(gateway)) => channels_for(gateway, &customer).unwrap_or_else(|| {
            checks.fault("channels", "the customer has neither email nor phone");
            Vec::new()
        }),
        (None, None) => Vec::new(),
    };
    checks.done()?;
    let Some(gateway) = found else { return Err(BillingError::invalid("gateway", "cannot ask")) };
    let plan = NewRequest { gateway, role: Role::Extra, channels, payment_method_id: None };
    let request = draft(app, &invoice, &customer, plan, now, app.clock.now());
    store::payment_requests::insert(&mut tx, std::slice::from_ref(&request)).await?;
    store::events::append(&mut tx, &[event(app, now, actor, "created", &request)]).await?;
    tx.commit().await?;
    app.wakeups.requests.notify_one();
    Ok(request)
}

/// The gateway that is named, else the configured one, else the only one that is able.
pub(crate) fn choose_gateway<'a>(
    app: &'a App,
    checks: &mut Checks,
    named: Option<&str>,
    able: impl Fn(&&str) -> bool,
) -> Option<&'a Configured> {
    let names: Vec<&str> = app.gateways.names().filter(able).collect();
    let configured = app.config.collection.payment_request_gateway.as_str();
    let chosen = match (named, names.as_slice()) {
        (Some(name), _) => name,
        (None, _) if names.contains(&configured) => configured,
        (None, [only]) => only,
        (None, _) => {
            checks.fault("gateway", format!("name one that can do this: {}", listed(&names)));
            return None;
        }
    };
    let found = app.gateways.get(chosen).filter(|_| names.contains(&chosen));
    if found.is_none() {
        checks.fault("gateway", format!("cannot do this for this customer; these can: {}", listed(&names)));
    }
    found.map(AsRef::as_ref)
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "there is none".to_owned() } else { names.join(", ") }
}

/// What is wrong with channels for a customer, by their place in the list.
pub(crate) fn check_channels(checks: &mut Checks, customer: &Customer, channels: &[String]) {
    if channels.is_empty() {
        checks.fault("channels", "must name at least one of EMAIL, SMS, WEB");
    }
    for (i, channel) in channels.iter().enumerate() {
        let missing = match channel.as_str() {
            "EMAIL" => customer.email.is_none().then_some("needs the customer's email"),
            "SMS" => customer.phone.is_none().then_some("needs the customer's phone"),
            // A link is sent to nobody, yet the gateway wants to know whom it is for.
            "WEB" => (customer.email.is_none() && customer.phone.is_none()).then_some("needs the customer's email or phone"),
            _ => Some("must be one of EMAIL, SMS, WEB"),
        };
        if let Some(message) = missing {
            checks.fault(format!("channels[{i}]"), message);
        }
    }
}

/// Takes a request back. One that was parked and that the gateway never confirmed is closed at once, and watched.
pub async fn withdraw(app: &App, actor: &Actor, id: PaymentRequestId) -> Result<PaymentRequest> {
    let (mut tx, mut request) = locked(app, id).await?;
    let now = app.now_in(&mut tx, request.timeline).await?;
    if request.status == RequestStatus::Parked && request.request_id.is_some() {
        // Its link is still there: it is taken back as any other.
        request.status = RequestStatus::Sent;
        request.resolved_at = None;
    }
    if request.status == RequestStatus::Parked {
        request.status = RequestStatus::Withdrawn;
        request.resolved_at = Some(now);
        // The customer may have it all the same.
        request.kept = request.asks > 0;
        request.next_check_at = request.kept.then(|| app.clock.now());
        store::events::append(&mut tx, &[event(app, now, actor, "withdrawn", &request)]).await?;
    } else {
        must_be_open(&request, "withdrawn")?;
        request.ending = Some(Ending::Withdrawn);
        request.remind = false;
        request.next_reminder_at = None;
        request.checks = 0;
        request.next_check_at = Some(app.clock.now());
        store::events::append(&mut tx, &[event(app, now, actor, "withdrawal_asked", &request)]).await?;
    }
    done(app, tx, request).await
}

/// Sends it once more, now.
pub async fn remind(app: &App, actor: &Actor, id: PaymentRequestId) -> Result<PaymentRequest> {
    let (mut tx, mut request) = locked(app, id).await?;
    let now = app.now_in(&mut tx, request.timeline).await?;
    must_be_open(&request, "sent again")?;
    if request.status == RequestStatus::Running {
        return Err(BillingError::WrongState("the customer has agreed: there is nothing to remind of".to_owned()));
    }
    request.remind = true;
    request.checks = 0;
    request.next_check_at = Some(app.clock.now());
    store::events::append(&mut tx, &[event(app, now, actor, "reminder_asked", &request)]).await?;
    done(app, tx, request).await
}

fn must_be_open(request: &PaymentRequest, what: &str) -> Result<()> {
    if request.status.is_open() && request.ending.is_none() {
        return Ok(());
    }
    let status = request.ending.map_or_else(|| request.status.to_string(), |ending| format!("being {ending}"));
    Err(BillingError::WrongState(format!("the payment request is {status}: only an open one can be {what}")))
}

async fn locked(app: &App, id: PaymentRequestId) -> Result<(Tx, PaymentRequest)> {
    let mut tx = app.db.begin().await?;
    let request =
        store::payment_requests::lock(&mut tx, id).await?.ok_or_else(|| BillingError::not_found("payment request", id))?;
    Ok((tx, request))
}

async fn done(app: &App, mut tx: Tx, request: PaymentRequest) -> Result<PaymentRequest> {
    store::payment_requests::save(&mut tx, std::slice::from_ref(&request)).await?;
    tx.commit().await?;
    app.wakeups.requests.notify_one();
    Ok(request)
}

/// Looks now at what was paid, whatever the plan says; also at one that is closed or parked.
pub async fn check(app: &App, id: PaymentRequestId) -> Result<PaymentRequest> {
    let (tx, mut request) = locked(app, id).await?;
    poll_soon(&mut request, app.clock.now(), app.clock.now());
    done(app, tx, request).await
}

/// A gateway, or somebody in its name, reports that something has happened under a reference. Nothing of it is believed: the gateway is
/// asked, and by no number of calls more often than once in a while. An unknown reference is nothing and costs one read.
pub async fn poll_by_reference(app: &App, gateway: &str, reference: &str) -> Result<bool> {
    let Some(id) = store::payment_requests::named(&app.db, gateway, reference).await? else { return Ok(false) };
    let (tx, mut request) = locked(app, id).await?;
    if !request.needs_poll() {
        let now = app.clock.now();
        let soonest = request.soonest_poll(&app.config.collection.poll_policy(), now);
        poll_soon(&mut request, now, soonest);
        done(app, tx, request).await?;
    }
    Ok(true)
}

/// A poll that is under way may have been answered before it happened: the gateway is asked once more after that.
fn poll_soon(request: &mut PaymentRequest, now: DateTime<Utc>, at: DateTime<Utc>) {
    request.notified_at = Some(now);
    if request.lease_owner.is_none() {
        request.look_by(at);
    }
}
