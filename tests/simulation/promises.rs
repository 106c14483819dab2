//! The promises, checked when a run has come to its end: our books against the gateways', and ours against themselves.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    billing::{App, invariants},
    domain::{
        authorization::{Authorization, AuthorizationStatus},
        count,
        credit_note::CreditNote,
        customer::{Credit, Customer},
        id::InstallmentPlanId,
        installment_plan::{Installment, InstallmentPlan, InstallmentSchedule},
        invoice::{Invoice, InvoiceStatus},
        payment::Payment,
        plan::{CatchUp, WhilePastDue},
        refund::{Refund, RefundStatus, RefundTo},
        subscription::{Subscription, SubscriptionStatus},
    },
    sandbox::{LedgerEntry, Movement},
    store::db::Record,
};

use super::world::World;

struct Books {
    ledger: Vec<LedgerEntry>,
    payments: Vec<Payment>,
    invoices: Vec<Invoice>,
    refunds: Vec<Refund>,
    authorizations: Vec<Authorization>,
    subscriptions: Vec<Subscription>,
    /// Installment plans of which nothing is charged by itself any more.
    defaulted: BTreeSet<InstallmentPlanId>,
    /// Type and subject, in order.
    events: Vec<(String, String, DateTime<Utc>)>,
}

async fn all<T: Record>(world: &World, sql: &'static str) -> Vec<T> {
    world.books.query(sql).all().await.expect("read")
}

/// Adds what is broken; answers how many payments brought money, and how often what happened.
pub async fn check(world: &World, broken: &mut Vec<String>) -> (usize, BTreeMap<String, u64>) {
    let books = Books {
        ledger: world.sandbox.ledger(),
        payments: all(world, "select * from payments order by id").await,
        invoices: all(world, "select * from invoices order by subscription_id, cycle, id").await,
        refunds: all(world, "select * from refunds order by id").await,
        authorizations: all(world, "select * from authorizations order by id").await,
        subscriptions: all(world, "select * from subscriptions order by id").await,
        defaulted: all::<(InstallmentPlanId,)>(world, "select id from installment_plans where status = 'defaulted'")
            .await
            .into_iter()
            .map(|row| row.0)
            .collect(),
        events: all(world, "select type, subject, occurred_at from events order by id").await,
    };
    money_agrees(&books, broken);
    nobody_pays_twice(&books, broken);
    nothing_waits_for_ever(world, &books, broken);
    every_cycle_once(world, &books, broken);
    no_cycle_is_missed(&books, broken);
    nothing_after_the_end(&books, broken);
    only_issuers_spend_steps(world, &books, broken);
    returns_add_up(&books, broken);
    nothing_is_reserved_in_vain(world, &books, broken);
    credit_adds_up(world, &books, broken).await;
    installments_add_up(world, &books, broken).await;
    // What the books say is part of what is the same when all is the same.
    for (kind, subject, at) in &books.events {
        world.tell("event", &format!("{kind} {subject} {at}"));
    }
    for payment in &books.payments {
        world.tell("payment", &format!("{payment:?}"));
    }
    for authorization in &books.authorizations {
        world.tell("authorization", &format!("{authorization:?}"));
    }
    let mut counts = BTreeMap::new();
    for (kind, ..) in books.events {
        *counts.entry(kind).or_default() += 1;
    }
    (books.payments.iter().filter(|payment| payment.amount_captured > 0).count(), counts)
}

/// What `/v1/health/billing` shows at the end of a run because a run may leave it to an operator.
///
/// An invoice that met only refusals is shown while its ladder still goes on; [`only_refusals`] says that this is so.
const LEFT_TO_AN_OPERATOR: &[&str] =
    &["subscriptions_parked", "installment_plans_defaulted", "installment_plans_stalled", "invoices_refused"];

/// Adds each invariant that is broken at the end, as `/v1/health/billing` would show it.
pub async fn health_is_ok(app: &App, world: &World, broken: &mut Vec<String>) {
    let checked = invariants::check(app).await.expect("checked");
    for one in checked.iter().filter(|one| !one.holds() && !LEFT_TO_AN_OPERATOR.contains(&one.invariant.name)) {
        let (name, found) = (one.invariant.name, &one.found);
        broken.push(format!("health says {name} of {}: {}", found.count, found.ids.join(", ")));
    }
    only_refusals(world, broken).await;
}

/// An issuer's answer ends the time in which an invoice met only refusals.
async fn only_refusals(world: &World, broken: &mut Vec<String>) {
    let sql = "select invoices.number from invoices join payments on payments.invoice_id = invoices.id
        where invoices.status = 'open' and payments.resolved_at > invoices.refused_at and payments.status = 'declined'
            and payments.decline_class not in ('try_later', 'charge_refused', 'account_refused', 'gateway_fault')
        order by invoices.number";
    for (number,) in all::<(String,)>(world, sql).await {
        broken.push(format!("{number} is said to have met only refusals, and an issuer declined it since"));
    }
}

fn money_agrees(books: &Books, broken: &mut Vec<String>) {
    let mut theirs: BTreeMap<&str, i64> = BTreeMap::new();
    let mut moves: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &books.ledger {
        let taken = matches!(entry.kind, Movement::Charge | Movement::Capture);
        *theirs.entry(&entry.reference).or_default() += if taken { entry.amount } else { -entry.amount };
        *moves.entry(&entry.reference).or_default() += usize::from(taken);
    }
    let ours: BTreeMap<&str, i64> = books
        .payments
        .iter()
        .filter(|payment| payment.amount_captured > 0)
        .map(|payment| (payment.reference.as_str(), payment.amount_captured - payment.amount_refunded))
        .collect();
    for reference in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        if theirs.get(reference) != ours.get(reference) {
            let (theirs, ours) = (theirs.get(reference), ours.get(reference));
            broken.push(format!("the books differ about {reference}: theirs {theirs:?}, ours {ours:?}"));
        }
    }
    for (reference, _) in moves.iter().filter(|(_, count)| **count > 1) {
        broken.push(format!("payment {reference} was taken twice"));
    }
}

fn nobody_pays_twice(books: &Books, broken: &mut Vec<String>) {
    let mut paid: BTreeMap<_, i64> = BTreeMap::new();
    for payment in &books.payments {
        *paid.entry(payment.invoice_id).or_default() += payment.amount_captured - payment.overpayment;
    }
    for invoice in &books.invoices {
        let paid = paid.get(&invoice.id).copied().unwrap_or(0);
        if paid > invoice.total {
            broken.push(format!("{} over {} was paid {paid}", invoice.number, invoice.total));
        }
        if invoice.paid_by_gateways() != paid {
            broken.push(format!("{} says {} was paid, its payments {paid}", invoice.number, invoice.paid_by_gateways()));
        }
        if invoice.status == InvoiceStatus::Paid && invoice.amount_due() > 0 {
            broken.push(format!("{} over {} is paid with {paid}", invoice.number, invoice.total));
        }
        if invoice.lines.iter().map(|line| line.amount).sum::<i64>() != invoice.subtotal {
            broken.push(format!("the lines of {} do not add up", invoice.number));
        }
        let told = books.events.iter().filter(|(kind, subject, _)| kind == "invoice.paid" && *subject == invoice.id.to_string());
        if told.count() > 1 {
            broken.push(format!("{} was told to be paid more than once", invoice.number));
        }
    }
}

fn nothing_waits_for_ever(world: &World, books: &Books, broken: &mut Vec<String>) {
    for payment in books.payments.iter().filter(|payment| payment.status.is_open()) {
        broken.push(format!("payment {} is {} for ever", payment.reference, payment.status));
    }
    for refund in books.refunds.iter().filter(|refund| matches!(refund.status, RefundStatus::Pending | RefundStatus::Unknown)) {
        broken.push(format!("refund {} is {} for ever", refund.id, refund.status));
    }
    let rests = |invoice: &Invoice| invoice.installment_plan_id.is_some_and(|id| books.defaulted.contains(&id));
    for invoice in books.invoices.iter().filter(|invoice| invoice.status == InvoiceStatus::Open && !rests(invoice)) {
        if invoice.next_attempt_at.is_none_or(|at| at <= world.now() - TimeDelta::minutes(5)) {
            broken.push(format!("{} is open and nobody collects it ({:?})", invoice.number, invoice.next_attempt_at));
        }
    }
}

fn every_cycle_once(world: &World, books: &Books, broken: &mut Vec<String>) {
    for subscription in &books.subscriptions {
        let invoices = books.invoices.iter().filter(|invoice| invoice.subscription_id == Some(subscription.id));
        let cycles: Vec<i64> = invoices.filter_map(|invoice| invoice.cycle).collect();
        if cycles != (0..subscription.next_cycle).collect::<Vec<_>>() {
            broken.push(format!("{} has the cycles {cycles:?}, and {} comes next", subscription.id, subscription.next_cycle));
        }
        let bills = matches!(subscription.status, SubscriptionStatus::Active | SubscriptionStatus::Trialing);
        // With nothing more to come it goes on until the last is paid.
        let owes =
            books.invoices.iter().any(|it| it.subscription_id == Some(subscription.id) && it.status == InvoiceStatus::Open);
        if bills && subscription.due_at.map_or(!owes, |at| at <= world.now() - TimeDelta::minutes(5)) {
            broken.push(format!(
                "{} is {} and nothing is billed ({:?})",
                subscription.id, subscription.status, subscription.due_at
            ));
        }
    }
}

/// What moves or leaves out cycles on purpose.
const MOVING: &[&str] = &[
    "subscription.paused",
    "subscription.resumed",
    "subscription.rescheduled",
    "subscription.cycles_skipped",
    "subscription.changed",
    "subscription.parked",
    "subscription.unparked",
];

/// Where nobody interfered, one period begins where the one before it ended.
fn no_cycle_is_missed(books: &Books, broken: &mut Vec<String>) {
    for subscription in &books.subscriptions {
        let id = subscription.id.to_string();
        let moved = books.events.iter().any(|(kind, subject, _)| *subject == id && MOVING.contains(&kind.as_str()));
        if moved || subscription.catch_up != CatchUp::BillAll || subscription.while_past_due != WhilePastDue::Bill {
            continue;
        }
        let of_it = |invoice: &&Invoice| invoice.subscription_id == Some(subscription.id) && invoice.cycle.is_some();
        let periods: Vec<_> =
            books.invoices.iter().filter(of_it).map(|invoice| (invoice.period_start, invoice.period_end)).collect();
        let gap = periods.iter().zip(periods.iter().skip(1)).find(|(before, after)| before.1 != after.0);
        if let Some((before, after)) = gap {
            broken.push(format!("a cycle of {id} is missed between {before:?} and {after:?}"));
        }
    }
}

/// As far as clocks may differ.
const SLACK: TimeDelta = TimeDelta::seconds(10);

fn nothing_after_the_end(books: &Books, broken: &mut Vec<String>) {
    let invoices: BTreeMap<_, _> = books.invoices.iter().map(|invoice| (invoice.id, invoice)).collect();
    let cancelled: BTreeMap<_, _> = books
        .subscriptions
        .iter()
        .filter(|subscription| subscription.status == SubscriptionStatus::Cancelled)
        .filter_map(|subscription| Some((subscription.id, subscription.cancelled_at?)))
        .collect();
    let voided: BTreeMap<&str, DateTime<Utc>> = books
        .events
        .iter()
        .filter(|(kind, ..)| kind == "invoice.voided")
        .map(|(_, subject, at)| (subject.as_str(), *at))
        .collect();
    for payment in &books.payments {
        let Some(invoice) = invoices.get(&payment.invoice_id) else { continue };
        let ended = invoice.subscription_id.and_then(|id| cancelled.get(&id));
        // A cancellation may bill what was used; that is made with it, not after it.
        if ended.is_some_and(|at| payment.created_at > *at + SLACK && invoice.created_at <= *at) {
            broken.push(format!("payment {} was begun after the cancellation was committed", payment.reference));
        }
        if voided.get(invoice.id.to_string().as_str()).is_some_and(|at| payment.created_at > *at + SLACK) {
            broken.push(format!("payment {} was begun after {} was void", payment.reference, invoice.number));
        }
    }
    for invoice in books.invoices.iter().filter(|invoice| invoice.status == InvoiceStatus::Open) {
        if invoice.subscription_id.and_then(|id| cancelled.get(&id)).is_some_and(|at| invoice.created_at < *at) {
            broken.push(format!("{} is collected although its subscription was cancelled", invoice.number));
        }
    }
}

fn only_issuers_spend_steps(world: &World, books: &Books, broken: &mut Vec<String>) {
    for invoice in &books.invoices {
        let payments = books.payments.iter().filter(|payment| payment.invoice_id == invoice.id);
        let declined: i64 = payments
            .map(|payment| {
                let part = payment.amount_captured > 0 && payment.amount_captured < payment.amount;
                i64::from(world.declined(&payment.reference)) + i64::from(part)
            })
            .sum();
        let subject = invoice.id.to_string();
        let told = |wanted: &str| count(books.events.iter().filter(|(kind, of, _)| kind == wanted && *of == subject).count());
        let without = told("invoice.not_collectable");
        if invoice.dunning_step > declined + without {
            let step = invoice.dunning_step;
            broken.push(format!(
                "{} spent {step} dunning steps on {declined} declines and {without} times without a method",
                invoice.number
            ));
        }
    }
}

/// As in the settings by default.
const LEASE: TimeDelta = TimeDelta::seconds(60);

fn nothing_is_reserved_in_vain(world: &World, books: &Books, broken: &mut Vec<String>) {
    let reserved = world.sandbox.authorized();
    for authorization in &books.authorizations {
        let (reference, status) = (&authorization.reference, authorization.status);
        let held = reserved.iter().filter(|(of, _)| of == reference).count();
        // What could not be given free runs out by itself, and that was told; so does what somebody in between has doubled.
        let known = usize::from(matches!(status, AuthorizationStatus::Authorized | AuthorizationStatus::Lost));
        // A process that stood still so long that it was given up for dead has sent it after that, and then did die.
        let unheard = usize::from(world.arrived_unheard(reference, authorization.called_at + LEASE));
        let most = known + unheard + world.doubled(reference);
        if held > most {
            broken.push(format!("{held} reservations are held under {reference}, which is {status}"));
        }
        if matches!(status, AuthorizationStatus::Pending | AuthorizationStatus::Unknown | AuthorizationStatus::Voiding) {
            broken.push(format!("authorization {reference} is {status} for ever"));
        }
    }
    let mut open = BTreeSet::new();
    for authorization in books.authorizations.iter().filter(|it| it.status == AuthorizationStatus::Authorized) {
        if !open.insert(authorization.subscription_id) {
            broken.push(format!("{} has two open authorizations", authorization.subscription_id));
        }
    }
}

fn returns_add_up(books: &Books, broken: &mut Vec<String>) {
    for invoice in &books.invoices {
        let gone = |to| -> i64 {
            let of = |refund: &&Refund| refund.invoice_id == invoice.id && refund.destination == to;
            books
                .refunds
                .iter()
                .filter(of)
                .filter(|refund| refund.status == RefundStatus::Succeeded)
                .map(|refund| refund.amount)
                .sum()
        };
        let returned: i64 =
            books.payments.iter().filter(|payment| payment.invoice_id == invoice.id).map(|payment| payment.amount_refunded).sum();
        // An overpayment goes back first, and the invoice never took it.
        let of_it = books.payments.iter().filter(|payment| payment.invoice_id == invoice.id);
        let taken_back: i64 = of_it.map(|payment| (payment.amount_refunded - payment.overpayment).max(0)).sum();
        if (invoice.amount_refunded, gone(RefundTo::Method)) != (taken_back, returned)
            || invoice.amount_credited != gone(RefundTo::Credit)
        {
            broken.push(format!("what was given back of {} does not add up", invoice.number));
        }
        if invoice.amount_kept() < invoice.credit_given {
            broken.push(format!("more was given back of {} than came", invoice.number));
        }
    }
    for payment in books.payments.iter().filter(|payment| payment.amount_refunded > payment.amount_captured) {
        broken.push(format!("more of {} was given back than was taken", payment.reference));
    }
}

async fn credit_adds_up(world: &World, books: &Books, broken: &mut Vec<String>) {
    let credits: Vec<Credit> = all(world, "select * from credits").await;
    let notes: Vec<CreditNote> = all(world, "select * from credit_notes").await;
    for invoice in &books.invoices {
        let booked: i64 = credits.iter().filter(|credit| credit.invoice_id == Some(invoice.id)).map(|credit| credit.amount).sum();
        let of_it = || notes.iter().filter(|note| note.invoice_id == invoice.id);
        let given: i64 = of_it().map(|note| note.to_balance).sum();
        let expected = given - invoice.credit_applied - invoice.credit_paid;
        if booked != expected {
            broken.push(format!("the credit of {} is {booked}, not {expected}", invoice.number));
        }
        if of_it().map(|note| note.amount).sum::<i64>() != invoice.credited() || invoice.credited() > invoice.charged() {
            broken.push(format!("the credit notes of {} do not add up", invoice.number));
        }
    }
    let customers: Vec<Customer> = all(world, "select * from customers").await;
    for customer in customers {
        let booked: i64 = credits.iter().filter(|credit| credit.customer_id == customer.id).map(|credit| credit.amount).sum();
        if customer.balance != booked {
            broken.push(format!("{} has a credit of {}, and {booked} by the ledger", customer.id, customer.balance));
        }
        let of_it = books.payments.iter().filter(|it| it.customer_id == customer.id && it.currency == customer.currency);
        let kept: i64 = of_it.map(|payment| payment.amount_captured - payment.amount_refunded).sum();
        let is_granted = |credit: &&Credit| credit.customer_id == customer.id && credit.invoice_id.is_none();
        let granted: i64 = credits.iter().filter(is_granted).map(|credit| credit.amount).sum();
        if customer.balance > kept + granted {
            broken.push(format!("{} has credit of {} for {kept} that came and {granted} granted", customer.id, customer.balance));
        }
    }
}

async fn installments_add_up(world: &World, books: &Books, broken: &mut Vec<String>) {
    let plans: Vec<InstallmentPlan> = all(world, "select * from installment_plans order by id").await;
    let parts: Vec<Installment> = all(world, "select * from installments order by number").await;
    for plan in plans {
        let installments: Vec<_> = parts.iter().filter(|part| part.installment_plan_id == plan.id).cloned().collect();
        let id = plan.id;
        let schedule = InstallmentSchedule { plan, installments };
        if let Err(unsound) = schedule.check() {
            broken.push(format!("{id}: {unsound}"));
        }
        let mut seen = BTreeSet::new();
        for invoice in books.invoices.iter().filter(|invoice| invoice.installment_plan_id == Some(id)) {
            let open = invoice.status != InvoiceStatus::Void;
            if open && !seen.insert(invoice.installment_number) {
                broken.push(format!("installment {:?} of {id} was invoiced twice", invoice.installment_number));
            }
        }
    }
}
