//! Payment-method verbs. Only tokens are kept. A method that can take over what another failed to pay is tried at once.

mod collect_at_once;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

pub(crate) use collect_at_once::WaitingInvoices;

use super::{App, BillingError, Result, checks::Checks, customers, payment_requests::check_channels};
use crate::{
    domain::{
        clock::Timeline,
        customer::Customer,
        event::{Actor, Event},
        id::{CustomerId, PaymentMethodId},
        payment_method::{MethodKind, PaymentMethod},
    },
    input::{Patch, body},
    store::{self, Tx},
};

body! {
    pub struct PaymentMethodInput {
        /// Name of a configured gateway.
        pub gateway: String line up to 100,
        /// Must be what that gateway takes.
        pub kind: MethodKind,
        /// `vault_token`: the customer in the gateway's vault.
        pub customer_token: Option<String> line up to 255,
        /// `vault_token`: one of that customer's cards; left out: their default.
        pub payment_method_token: Option<String> line up to 255,
        /// `prior_transaction`: the earlier transaction.
        pub transaction_id: Option<String> line up to 255,
        /// `payment_request`: some of `EMAIL`, `SMS`, `WEB`.
        pub channels: Option<Vec<String>> up to 10,
        /// When the card expires, such as `2027-03`.
        pub expires: Option<String> up to 10,
        pub last_four: Option<String> up to 10,
        /// Whether it is charged where a subscription names no other. Left out: if it is the first, or if the default has failed.
        pub default: Option<bool>,
        /// Where none is the default, the lowest is charged.
        pub priority: Option<i64> in 0..=1000,
    }
}

body! {
    /// What is left out stays; null takes away. Tokens never change: add another method instead.
    #[derive(Default)]
    pub struct PaymentMethodPatch {
        pub expires: Patch<String> up to 10,
        pub last_four: Patch<String> up to 10,
        pub default: Option<bool>,
        pub priority: Option<i64> in 0..=1000,
    }
}

pub async fn add(app: &App, actor: &Actor, customer_key: &str, input: PaymentMethodInput) -> Result<PaymentMethod> {
    let mut tx = app.db.begin().await?;
    let found = store::customers::find_in(&mut tx, customer_key).await?;
    let found = found.ok_or_else(|| BillingError::not_found("customer", customer_key))?;
    let (customer, waiting) = locked(&mut tx, found.id).await?;
    let now = app.now_in(&mut tx, customer.timeline).await?;
    let mut checks = Checks::default();
    let others = store::payment_methods::of_customer(&mut tx, customer.id).await?;
    let becomes_default = others.is_empty() || input.default.unwrap_or(!waiting.is_empty());
    let method = draft(app, &mut checks, &customer, input, becomes_default, now);
    checks.done()?;
    if becomes_default {
        store::payment_methods::clear_default(&mut tx, customer.id).await?;
    }
    store::payment_methods::insert(&mut tx, &method).await?;
    let mut events = vec![added(app, actor, &customer, &method, now)];
    let retried = waiting.collect(&mut tx, app, actor, now, &mut events).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    if retried {
        app.wakeups.collect.notify_one();
    }
    Ok(method)
}

/// The method that the input asks for. It is worth something only if no fault was found.
pub(crate) fn draft(
    app: &App,
    checks: &mut Checks,
    customer: &Customer,
    input: PaymentMethodInput,
    is_default: bool,
    now: DateTime<Utc>,
) -> PaymentMethod {
    check_gateway(app, checks, customer, &input);
    check_means(checks, customer, &input);
    check_card(checks, input.expires.as_deref(), input.last_four.as_deref());
    PaymentMethod {
        id: app.id(),
        customer_id: customer.id,
        gateway: input.gateway,
        kind: input.kind,
        customer_token: input.customer_token,
        payment_method_token: input.payment_method_token,
        transaction_id: input.transaction_id,
        channels: input.channels.unwrap_or_default(),
        expires: input.expires,
        last_four: input.last_four,
        is_default,
        priority: input.priority.unwrap_or(0),
        mandate_ended_at: None,
        created_at: now,
        updated_at: now,
    }
}

pub(crate) fn added(app: &App, actor: &Actor, customer: &Customer, method: &PaymentMethod, now: DateTime<Utc>) -> Event {
    app.event(customer.timeline, now, actor, "payment_method.added", method.id, json!({ "after": event_data(method) }))
}

/// Marks methods whose issuer stopped recurring charges, by the clock of their customer. A method is marked once, and told of once.
pub(crate) async fn end_mandates(
    app: &App,
    tx: &mut Tx,
    methods: &[PaymentMethodId],
    timeline: Timeline,
    now: DateTime<Utc>,
) -> Result<Vec<Event>> {
    let ended = store::payment_methods::end_mandates(tx, methods, now).await?;
    let event = |method: PaymentMethod| {
        let data = json!({ "customer_id": method.customer_id, "gateway": method.gateway });
        app.event(timeline, now, &Actor::System, "payment_method.mandate_ended", method.id, data)
    };
    Ok(ended.into_iter().map(event).collect())
}

pub async fn update(app: &App, actor: &Actor, id: PaymentMethodId, patch: PaymentMethodPatch) -> Result<PaymentMethod> {
    let mut tx = app.db.begin().await?;
    let (customer, before, waiting) = locked_method(&mut tx, id).await?;
    let now = app.now_in(&mut tx, customer.timeline).await?;
    let mut checks = Checks::default();
    check_card(&mut checks, patch.expires.value().map(String::as_str), patch.last_four.value().map(String::as_str));
    if patch.default == Some(false) && before.is_default {
        checks.fault("default", "make another method the default instead");
    }
    checks.done()?;
    let mut method = PaymentMethod { updated_at: now, ..before.clone() };
    if let Some(expires) = patch.expires.change() {
        method.expires = expires;
    }
    if let Some(last_four) = patch.last_four.change() {
        method.last_four = last_four;
    }
    method.priority = patch.priority.unwrap_or(method.priority);
    let takes_over = patch.default == Some(true) && !before.is_default;
    if takes_over {
        method.is_default = true;
        store::payment_methods::clear_default(&mut tx, customer.id).await?;
    }
    store::payment_methods::save(&mut tx, &method).await?;
    let data = json!({ "before": event_data(&before), "after": event_data(&method) });
    let mut events = vec![app.event(customer.timeline, now, actor, "payment_method.updated", method.id, data)];
    let retried = waiting.collect(&mut tx, app, actor, now, &mut events).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    if retried {
        app.wakeups.collect.notify_one();
    }
    Ok(method)
}

/// Refused while a running subscription names it. The next by priority takes over as default, and is tried at once where invoices wait.
pub async fn delete(app: &App, actor: &Actor, id: PaymentMethodId) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let (customer, method, waiting) = locked_method(&mut tx, id).await?;
    let now = app.now_in(&mut tx, customer.timeline).await?;
    if let Some(subscription) = store::payment_methods::named_by(&mut tx, id).await? {
        return Err(BillingError::WrongState(format!("{subscription} is charged to it: give that another method first")));
    }
    store::payment_methods::delete(&mut tx, id).await?;
    if method.is_default
        && let Some(mut next) = store::payment_methods::of_customer(&mut tx, customer.id).await?.into_iter().next()
    {
        next.is_default = true;
        next.updated_at = now;
        store::payment_methods::save(&mut tx, &next).await?;
    }
    let data = json!({ "before": event_data(&method) });
    let mut events = vec![app.event(customer.timeline, now, actor, "payment_method.removed", id, data)];
    let retried = waiting.collect(&mut tx, app, actor, now, &mut events).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    if retried {
        app.wakeups.collect.notify_one();
    }
    Ok(())
}

/// A method with its customer and the invoices that wait.
async fn locked_method(tx: &mut Tx, id: PaymentMethodId) -> Result<(Customer, PaymentMethod, WaitingInvoices)> {
    let missing = || BillingError::not_found("payment method", id);
    let owner = store::payment_methods::owner(tx, id).await?.ok_or_else(missing)?;
    let (customer, waiting) = locked(tx, owner).await?;
    let method = store::payment_methods::lock(tx, id).await?.ok_or_else(missing)?;
    Ok((customer, method, waiting))
}

/// A customer, whose lock guards which method is the default, and before the customer the open invoices that wait.
async fn locked(tx: &mut Tx, id: CustomerId) -> Result<(Customer, WaitingInvoices)> {
    // An open authorization may be on another card than the one to be charged now.
    store::authorizations::look_at_customer(tx, id).await?;
    let open = store::invoices::lock_open_of_customer(tx, id).await?;
    let waiting = WaitingInvoices::among(tx, open).await?;
    Ok((customers::locked(tx, &id.to_string()).await?, waiting))
}

fn check_gateway(app: &App, checks: &mut Checks, customer: &Customer, input: &PaymentMethodInput) {
    let Some(gateway) = app.gateways.get(&input.gateway) else {
        let names = app.gateways.names().collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "none is".to_owned() } else { format!("there are {names}") };
        return checks.fault("gateway", format!("is not configured: {names}"));
    };
    let kind = gateway.adapter.capabilities().kind;
    if kind != input.kind {
        checks.fault("kind", format!("must be {kind} at this gateway"));
    }
    if gateway.live && matches!(customer.timeline, Timeline::Test(_)) {
        checks.fault("gateway", "is live: customers on a test clock use gateways in test mode only");
    }
}

fn check_means(checks: &mut Checks, customer: &Customer, input: &PaymentMethodInput) {
    let vault = input.kind == MethodKind::VaultToken;
    let prior = input.kind == MethodKind::PriorTransaction;
    let request = input.kind == MethodKind::PaymentRequest;
    for (field, given, needed, allowed) in [
        ("customer_token", input.customer_token.is_some(), vault, vault),
        ("payment_method_token", input.payment_method_token.is_some(), false, vault),
        ("transaction_id", input.transaction_id.is_some(), prior, prior),
        ("channels", input.channels.is_some(), request, request),
    ] {
        if needed && !given {
            checks.fault(field, format!("is required for {}", input.kind));
        } else if given && !allowed {
            checks.fault(field, format!("must be left out for {}", input.kind));
        }
    }
    if let Some(channels) = input.channels.as_deref().filter(|_| request) {
        check_channels(checks, customer, channels);
    }
}

fn check_card(checks: &mut Checks, expires: Option<&str>, last_four: Option<&str>) {
    let is_month = |text: &str| text.len() == 7 && format!("{text}-01").parse::<NaiveDate>().is_ok();
    if expires.is_some_and(|text| !is_month(text)) {
        checks.fault("expires", "must be a month such as 2027-03");
    }
    if last_four.is_some_and(|text| text.len() != 4 || !text.bytes().all(|b| b.is_ascii_digit())) {
        checks.fault("last_four", "must be four digits");
    }
}

/// What events may say of it: no token.
fn event_data(method: &PaymentMethod) -> Value {
    json!({
        "customer_id": method.customer_id,
        "gateway": method.gateway,
        "kind": method.kind,
        "channels": method.channels,
        "expires": method.expires,
        "last_four": method.last_four,
        "default": method.is_default,
        "priority": method.priority,
    })
}
