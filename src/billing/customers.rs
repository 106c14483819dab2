//! Customer verbs. A customer lives by one clock for ever; credit is a ledger whose sum is the balance.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{App, BillingError, Result, checks::Checks, invoices::apply_balance::apply_balance};
use crate::{
    domain::{
        calendar::Zone,
        clock::Timeline,
        customer::{Credit, Customer, Metadata},
        event::{Actor, Event, difference},
        id::{ClockId, Customer as CustomerKind, InvoiceId},
        money::{Currency, MAX_AMOUNT_MINOR},
    },
    input::{Patch, body},
    store::{self, Tx},
};

body! {
    /// The customer that a request names.
    #[derive(Default)]
    pub struct CustomerRef {
        /// Id or reference.
        pub id: String line up to 255,
    }
}

body! {
    #[derive(Default)]
    pub struct CustomerInput {
        pub name: String line up to 255,
        pub email: Option<String> up to 254,
        pub phone: Option<String> up to 40,
        /// Language of messages, such as `en` or `de-AT`.
        pub locale: Option<String> up to 35,
        /// IANA name; left out: the configured one.
        pub timezone: Option<Zone>,
        /// Of their credit; left out: the configured one.
        pub currency: Option<Currency>,
        /// The id that another system knows them by; requests may use it in place of ours.
        pub reference: Option<String> line up to 255,
        pub metadata: Option<Metadata>,
        /// The test clock they live by; left out: the wall clock. Never changes.
        pub clock_id: Option<ClockId>,
    }
}

body! {
    /// What is left out stays; null takes away.
    #[derive(Default)]
    pub struct CustomerPatch {
        pub name: Option<String> line up to 255,
        pub email: Patch<String> up to 254,
        pub phone: Patch<String> up to 40,
        pub locale: Patch<String> up to 35,
        pub timezone: Option<Zone>,
        pub currency: Option<Currency>,
        pub reference: Patch<String> line up to 255,
        /// All of it anew.
        pub metadata: Option<Metadata>,
        /// May be repeated, never changed.
        pub clock_id: Patch<ClockId>,
    }
}

pub async fn create(app: &App, actor: &Actor, input: CustomerInput) -> Result<Customer> {
    let mut checks = Checks::default();
    let timeline = input.clock_id.map_or(Timeline::Wall, Timeline::Test);
    let mut tx = app.db.begin().await?;
    let now = match app.now_in(&mut tx, timeline).await {
        Err(BillingError::NotFound { id, .. }) => {
            checks.fault("clock_id", format!("there is no clock {id}"));
            app.clock.now()
        }
        now => now?,
    };
    let customer = draft(app, &mut checks, input, now);
    checks.done()?;
    store::customers::insert(&mut tx, &customer).await.map_err(BillingError::reference_taken("customer"))?;
    let event = app.event(timeline, now, actor, "customer.created", customer.id, json!({ "after": customer }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(customer)
}

/// The customer that the input asks for. It is worth something only if no fault was found.
pub(crate) fn draft(app: &App, checks: &mut Checks, input: CustomerInput, now: DateTime<Utc>) -> Customer {
    let timeline = input.clock_id.map_or(Timeline::Wall, Timeline::Test);
    check(checks, [&input.reference, &input.email, &input.phone, &input.locale].map(Option::as_ref));
    Customer {
        id: app.id(),
        reference: input.reference,
        timeline,
        name: input.name,
        email: input.email,
        phone: input.phone,
        locale: input.locale,
        timezone: input.timezone.unwrap_or(Zone(app.config.billing.timezone)),
        currency: input.currency.unwrap_or(app.config.billing.currency),
        balance: 0,
        metadata: input.metadata.unwrap_or_default(),
        created_at: now,
        updated_at: now,
    }
}

pub async fn update(app: &App, actor: &Actor, key: &str, patch: CustomerPatch) -> Result<Customer> {
    let mut tx = app.db.begin().await?;
    let before = locked(&mut tx, key).await?;
    let now = app.now_in(&mut tx, before.timeline).await?;
    let mut customer = Customer { updated_at: now, ..before.clone() };
    let mut checks = Checks::default();
    if patch.clock_id.change().is_some_and(|clock| clock != before.timeline.clock_id()) {
        checks.fault("clock_id", "cannot be changed: a customer lives by one clock");
    }
    if patch.currency.is_some_and(|currency| currency != before.currency)
        && store::customers::has_credits(&mut tx, before.id).await?
    {
        // The ledger has one currency, and a void may still give back to it.
        checks.fault("currency", format!("cannot be changed once there was credit, which is in {}", before.currency));
    }
    check(&mut checks, [&patch.reference, &patch.email, &patch.phone, &patch.locale].map(Patch::value));
    macro_rules! take {
        ($($field:ident),+) => {$( if let Some(value) = $field { customer.$field = value; } )+};
    }
    let CustomerPatch { name, timezone, currency, metadata, .. } = patch;
    let [reference, email, phone, locale] = [patch.reference, patch.email, patch.phone, patch.locale].map(Patch::change);
    take!(reference, name, email, phone, locale, timezone, currency, metadata);
    checks.done()?;
    store::customers::save(&mut tx, &customer).await.map_err(BillingError::reference_taken("customer"))?;
    let event = app.event(customer.timeline, now, actor, "customer.updated", customer.id, difference(&before, &customer));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(customer)
}

/// Removes a customer to whom nothing was ever billed and nothing will be.
pub async fn delete(app: &App, actor: &Actor, key: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let customer = locked(&mut tx, key).await?;
    let now = app.now_in(&mut tx, customer.timeline).await?;
    if let Some(running) = store::customers::running(&mut tx, customer.id).await? {
        return Err(BillingError::WrongState(format!("{running} is still running: cancel it first")));
    }
    if store::customers::has_invoices(&mut tx, customer.id).await? {
        return Err(BillingError::WrongState("the customer has invoices, which are kept".to_owned()));
    }
    store::customers::delete(&mut tx, customer.id).await?;
    let event = app.event(customer.timeline, now, actor, "customer.deleted", customer.id, json!({ "before": customer }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives credit, which is used before any gateway is asked, or takes some back: a negative amount. Answers the ledger row and
/// the new balance.
pub async fn give_credit(
    app: &App,
    actor: &Actor,
    key: &str,
    amount: i64,
    currency: Option<Currency>,
    reason: String,
) -> Result<(Credit, i64)> {
    let mut tx = app.db.begin().await?;
    let mut customer = locked(&mut tx, key).await?;
    let now = app.now_in(&mut tx, customer.timeline).await?;
    let mut checks = Checks::default();
    checks.within("amount", amount, -MAX_AMOUNT_MINOR..=MAX_AMOUNT_MINOR);
    let balance = customer.balance.saturating_add(amount);
    if amount == 0 {
        checks.fault("amount", "must not be 0");
    } else if balance < 0 {
        checks.fault("amount", format!("takes back more than there is: {} at most", customer.balance));
    } else if balance > MAX_AMOUNT_MINOR {
        checks.fault("amount", format!("would bring the balance beyond {MAX_AMOUNT_MINOR}"));
    }
    if amount < 0 && reason.trim().is_empty() {
        checks.fault("reason", "is required to take credit back");
    }
    if currency.is_some_and(|currency| currency != customer.currency) {
        checks.fault("currency", format!("must be {}, the customer's", customer.currency));
    }
    checks.done()?;
    let (credit, event) = add_credit(&mut tx, app, actor, now, &mut customer, amount, reason).await?;
    store::events::append(&mut tx, &[event]).await?;
    // What is open is paid first, so that the answer shows what is left.
    apply_balance(&mut tx, app, actor, &[customer.id]).await?;
    let left = store::customers::get_many(&mut tx, &[customer.id]).await?;
    tx.commit().await?;
    Ok((credit, left.first().map_or(customer.balance, |customer| customer.balance)))
}

/// Puts credit, in the customer's currency, on the balance of a customer who is locked. The caller appends the event.
pub(crate) async fn add_credit(
    tx: &mut Tx,
    app: &App,
    actor: &Actor,
    now: DateTime<Utc>,
    customer: &mut Customer,
    amount: i64,
    reason: String,
) -> Result<(Credit, Event)> {
    let (credit, event) = credited(app, actor, now, customer, amount, reason, None);
    store::customers::save_balances(tx, std::slice::from_ref(customer), std::slice::from_ref(&credit)).await?;
    Ok((credit, event))
}

/// Like the function above, for a caller who saves the customer with the credit. An invoice may be behind the credit.
pub(crate) fn credited(
    app: &App,
    actor: &Actor,
    now: DateTime<Utc>,
    customer: &mut Customer,
    amount: i64,
    reason: String,
    invoice_id: Option<InvoiceId>,
) -> (Credit, Event) {
    let currency = customer.currency;
    let credit = Credit { id: app.id(), customer_id: customer.id, amount, currency, reason, invoice_id, created_at: now };
    let event = booked(app, actor, customer, &credit);
    (credit, event)
}

/// Brings a locked customer's balance and the ledger up to a new row of it.
pub(crate) async fn book_credit(
    tx: &mut Tx,
    app: &App,
    actor: &Actor,
    customer: &mut Customer,
    credit: &Credit,
) -> Result<Event> {
    let event = booked(app, actor, customer, credit);
    store::customers::save_balances(tx, std::slice::from_ref(customer), std::slice::from_ref(credit)).await?;
    Ok(event)
}

fn booked(app: &App, actor: &Actor, customer: &mut Customer, credit: &Credit) -> Event {
    customer.balance = customer.balance.saturating_add(credit.amount);
    customer.updated_at = credit.created_at;
    let kind = if credit.amount < 0 { "customer.debited" } else { "customer.credited" };
    let Credit { amount, currency, reason, invoice_id, created_at, .. } = credit;
    let data = json!({
        "amount": amount, "currency": currency, "reason": reason, "invoice_id": invoice_id, "balance": customer.balance,
    });
    app.event(customer.timeline, *created_at, actor, kind, customer.id, data)
}

/// By id or reference.
pub(crate) async fn locked(tx: &mut Tx, key: &str) -> Result<Customer> {
    store::customers::lock(tx, key).await?.ok_or_else(|| BillingError::not_found("customer", key))
}

fn check(checks: &mut Checks, [reference, email, phone, locale]: [Option<&String>; 4]) {
    checks.reference::<CustomerKind>(reference.map(String::as_str));
    if email.is_some_and(|email| !is_email(email)) {
        checks.fault("email", "must be an e-mail address such as name@example.com");
    }
    if phone.is_some_and(|phone| !is_phone(phone)) {
        checks.fault("phone", "must be a phone number such as +1 630 555 0100");
    }
    if locale.is_some_and(|locale| !is_locale(locale)) {
        checks.fault("locale", "must be a language tag such as en or de-AT");
    }
}

/// One address and nothing that could open a second header line or a second recipient.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain =
        |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "@,;<>()\"\\".contains(c));
    let dots = |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
    text.len() <= 254 && plain(local) && plain(domain) && dots(local) && dots(domain) && domain.contains('.')
}

fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let rest = text.strip_prefix('+').unwrap_or(text);
    (5..=15).contains(&digits) && rest.chars().all(|c| c.is_ascii_digit() || " -.()/".contains(c))
}

fn is_locale(text: &str) -> bool {
    let mut parts = text.split(['-', '_']);
    let word = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    parts.next().is_some_and(|language| word(language, 2..=3)) && parts.all(|part| word(part, 2..=8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mail_or_gateways_would_refuse_are_refused_here() {
        for fine in ["a@b.co", "first.last+tag@sub.example.com", "ä@exämple.de"] {
            assert!(is_email(fine), "{fine}");
        }
        for bad in ["", "a", "a@", "@b.co", "a@b", "a b@c.de", "a@b.co,c@d.co", "a@b..co", "<a@b.co>", "a@b.co\r\nBcc: x@y.zz"] {
            assert!(!is_email(bad), "{bad}");
        }
        for (phone, fine) in
            [("+1 630 555 0100", true), ("(030) 12345-67", true), ("123", false), ("call me", false), ("1+23456", false)]
        {
            assert_eq!(is_phone(phone), fine, "{phone}");
        }
        for (locale, fine) in
            [("en", true), ("de-AT", true), ("zh_Hant_TW", true), ("english", false), ("", false), ("e n", false)]
        {
            assert_eq!(is_locale(locale), fine, "{locale}");
        }
    }
}
