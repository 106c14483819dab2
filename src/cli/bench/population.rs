//! The rows that a benchmark bills: subscriptions of mixed frequencies, many with
//! add-ons and discounts, each with its customer and card.

use anyhow::{Context, ensure};
use chrono::{DateTime, Days, Months, NaiveDate, Timelike, Utc};
use serde_json::json;

use super::database::GATEWAY;
use crate::{
    billing::{App, bench::BenchRows},
    domain::{
        calendar::Zone,
        clock::Timeline,
        customer::{Customer, Metadata},
        event::{Actor, Event},
        frequency::Frequency,
        id::{AddOn, InvoiceId, PaymentId},
        invoice::{Adjustment, Invoice, InvoiceStatus, Modifier, NextAction, price, subtotal},
        money::{Currency, Percentage},
        payment::{Payment, PaymentStatus, Reason},
        payment_method::{MethodKind, PaymentMethod},
        proration::Share,
        subscription::{Rules, Subscription},
    },
};

/// The prefix of the customer ids that the sandbox makes for a benchmark.
pub const PREFIX: &str = "bench";

const WELCOME: Percentage = match Percentage::from_thousandths(12_500) {
    Ok(percentage) => percentage,
    Err(_) => panic!("12.5 is a percentage"),
};

const FREQUENCIES: [Frequency; 6] =
    [Frequency::Monthly, Frequency::Weekly, Frequency::Yearly, Frequency::TwiceMonthly, Frequency::Quarterly, Frequency::Daily];

/// When subscriptions fall due, and by which rules.
#[derive(Debug, Clone)]
pub struct Due {
    pub at: DateTime<Utc>,
    pub timeline: Timeline,
    pub rules: Rules,
    /// How many cards the sandbox keeps. Customers with consecutive numbers have different cards.
    pub cards: u32,
}

impl Due {
    /// The whole minute before `now`: a time of day as settings can say it.
    pub fn before(now: DateTime<Utc>, timeline: Timeline, cards: u32) -> anyhow::Result<Self> {
        let at = now.with_second(0).and_then(|at| at.with_nanosecond(0)).context("a whole minute")?;
        let rules = Rules { bill_at: at.time(), holidays: std::collections::BTreeMap::default(), catch_up_limit: 3 };
        Ok(Self { at, timeline, rules, cards })
    }

    /// The card of a customer, as the sandbox numbers them.
    pub fn card(&self, number: u32) -> String {
        format!("{PREFIX}{:015}", number % self.cards.max(1))
    }

    fn date(&self) -> NaiveDate {
        self.at.date_naive()
    }
}

/// Adds one customer with a payment method and a subscription. Its next cycle is due
/// in `in_days` days, and `billed` cycles were billed before.
pub fn add(rows: &mut BenchRows, app: &App, due: &Due, number: u32, in_days: u32, billed: u32) -> anyhow::Result<()> {
    let date = due.date() + Days::new(u64::from(in_days));
    let customer = customer(app, due, number);
    let method = method(app, &customer, due.card(number));
    let mut subscription = subscription(app, &customer, due, number, date);
    if billed > 0 {
        move_on(&mut subscription, date, billed).context("a schedule that has run before")?;
    }
    subscription.refresh(&due.rules);
    let expected = due.at + Days::new(u64::from(in_days));
    ensure!(subscription.due_at == Some(expected), "due at {:?} instead of {expected}", subscription.due_at);
    rows.customers.push(customer);
    rows.methods.push(method);
    rows.subscriptions.push(subscription);
    Ok(())
}

fn customer(app: &App, due: &Due, number: u32) -> Customer {
    let now = due.at;
    Customer {
        id: app.id(),
        reference: None,
        timeline: due.timeline,
        name: format!("Customer {number}"),
        email: Some(format!("customer{number}@example.com")),
        phone: None,
        locale: Some("en".to_owned()),
        timezone: Zone(chrono_tz::UTC),
        currency: Currency::USD,
        balance: 0,
        metadata: Metadata::new(),
        created_at: now,
        updated_at: now,
    }
}

fn method(app: &App, customer: &Customer, card: String) -> PaymentMethod {
    PaymentMethod {
        id: app.id(),
        customer_id: customer.id,
        gateway: GATEWAY.to_owned(),
        kind: MethodKind::VaultToken,
        customer_token: Some(card),
        payment_method_token: None,
        transaction_id: None,
        channels: vec![],
        expires: None,
        last_four: Some("1111".to_owned()),
        is_default: true,
        priority: 0,
        mandate_ended_at: None,
        created_at: customer.created_at,
        updated_at: customer.updated_at,
    }
}

fn subscription(app: &App, customer: &Customer, due: &Due, number: u32, date: NaiveDate) -> Subscription {
    let modifier = |name: &str, adjustment, duration| Modifier {
        id: app.id::<AddOn>().to_string(),
        name: name.to_owned(),
        description: String::new(),
        adjustment,
        duration,
        applied_from: 0,
    };
    let third = number as usize / FREQUENCIES.len();
    let frequency = FREQUENCIES[number as usize % FREQUENCIES.len()];
    Subscription {
        timeline: due.timeline,
        description: "Gym membership".to_owned(),
        amount: 1000 + i64::from(number % 1000),
        quantity: 1 + i64::from(number % 3),
        add_ons: if third % 2 == 1 { vec![modifier("Locker", Adjustment::Amount(500), 0)] } else { vec![] },
        discounts: if third % 3 == 1 { vec![modifier("Welcome", Adjustment::Percentage(WELCOME), 0)] } else { vec![] },
        ..Subscription::beginning(app.id(), customer.id, customer.currency, customer.timezone, frequency, date, due.at)
    }
}

/// Dates the subscription back, as if it had begun `billed` cycles ago. If its dates then miss this day, such as a 31st half a
/// year earlier, it becomes weekly.
fn move_on(subscription: &mut Subscription, date: NaiveDate, billed: u32) -> Option<()> {
    let start = match subscription.billing_frequency {
        Frequency::Daily => date.checked_sub_days(Days::new(u64::from(billed))),
        Frequency::Monthly => date.checked_sub_months(Months::new(billed)),
        Frequency::Quarterly => date.checked_sub_months(Months::new(3 * billed)),
        Frequency::Yearly => date.checked_sub_months(Months::new(12 * billed)),
        _ => None,
    };
    subscription.anchor_date = start.unwrap_or(date);
    let slot = start.and_then(|_| subscription.schedule()?.slot_on_or_after(date));
    if slot != Some(u64::from(billed)) || subscription.schedule()?.date(u64::from(billed)) != Some(date) {
        subscription.billing_frequency = Frequency::Weekly;
        subscription.anchor_date = date.checked_sub_days(Days::new(7 * u64::from(billed)))?;
    }
    (subscription.next_slot, subscription.next_cycle) = (i64::from(billed), i64::from(billed));
    subscription.cycles_billed = i64::from(billed);
    let (period_start, period_end) = subscription.schedule()?.period(u64::from(billed) - 1)?;
    (subscription.period_start, subscription.period_end) = (Some(period_start), Some(period_end));
    Some(())
}

/// Adds the rows of a cycle that was billed and paid: invoice, payment, events.
pub fn add_cycle(rows: &mut BenchRows, app: &App, due: &Due, subscription: &Subscription, cycle: u32) -> anyhow::Result<()> {
    let schedule = subscription.schedule().context("a schedule")?;
    let (start, end) = schedule.period(u64::from(cycle)).context("a period")?;
    let at = start.and_time(due.rules.bill_at).and_utc();
    let lines = price(&subscription.charge(), i64::from(cycle), Share::WHOLE);
    let total = subtotal(&lines);
    let id: InvoiceId = app.id();
    let invoice = Invoice {
        id,
        number: format!("OLD-{}", id.short_reference()),
        customer_id: subscription.customer_id,
        subscription_id: Some(subscription.id),
        installment_plan_id: None,
        installment_number: None,
        cycle: Some(i64::from(cycle)),
        timeline: subscription.timeline,
        status: InvoiceStatus::Paid,
        description: subscription.description.clone(),
        currency: subscription.currency,
        timezone: subscription.timezone,
        period_start: Some(start),
        period_end: Some(end),
        lines,
        subtotal: total,
        credit_applied: 0,
        total,
        amount_paid: total,
        amount_refunded: 0,
        amount_credited: 0,
        amount_reduced: 0,
        credit_given: 0,
        credit_paid: 0,
        due_at: at,
        next_attempt_at: None,
        next_action: NextAction::Charge,
        attempts: 1,
        gateway_faults: 0,
        dunning_step: 0,
        first_failed_at: None,
        decline_class: None,
        decline_code: None,
        next_method: false,
        postponed_by: None,
        reopened_at: None,
        parked_reason: None,
        refused_at: None,
        refused_reason: None,
        created_at: at,
        updated_at: at,
    };
    let payment = paid(app, &invoice, due.card(0), at);
    let event = |kind: &str, subject: String, data| Event {
        occurred_at: at,
        ..app.event(due.timeline, at, &Actor::System, kind, subject, data)
    };
    rows.events.push(event("invoice.opened", invoice.id.to_string(), json!({ "number": invoice.number, "customer_id": invoice.customer_id, "subscription_id": invoice.subscription_id, "cycle": cycle, "total": total })));
    rows.events.push(event("payment.succeeded", payment.id.to_string(), json!({ "invoice_id": invoice.id, "amount": total, "currency": invoice.currency, "transaction_id": payment.transaction_id })));
    rows.events.push(event("invoice.paid", invoice.id.to_string(), json!({ "payment_id": payment.id, "amount": total })));
    rows.invoices.push(invoice);
    rows.payments.push(payment);
    Ok(())
}

/// A payment that paid an invoice whole.
pub fn paid(app: &App, invoice: &Invoice, card: String, at: DateTime<Utc>) -> Payment {
    let id: PaymentId = app.id();
    Payment {
        id,
        invoice_id: invoice.id,
        customer_id: invoice.customer_id,
        payment_method_id: None,
        payment_request_id: None,
        timeline: invoice.timeline,
        attempt: 1,
        gateway: GATEWAY.to_owned(),
        kind: MethodKind::VaultToken,
        reference: id.short_reference(),
        idempotency_key: id.to_string(),
        customer_token: Some(card),
        payment_method_token: None,
        prior_transaction_id: None,
        credential: None,
        reason: Reason::Recurring,
        description: invoice.description.clone(),
        amount: invoice.total,
        amount_captured: invoice.total,
        amount_refunded: 0,
        amount_disputed: 0,
        overpayment: 0,
        currency: invoice.currency,
        status: PaymentStatus::Succeeded,
        transaction_id: Some(id.short_reference()),
        authorization_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        lease_owner: None,
        lease_token: 1,
        lease_expires_at: None,
        lookups: 0,
        next_lookup_at: None,
        sent_at: at,
        called_at: at,
        created_at: at,
        resolved_at: Some(at),
        return_at: None,
    }
}
