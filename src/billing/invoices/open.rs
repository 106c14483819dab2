//! Opens invoices: numbers them, uses the customers' credit, and settles at once what is then nothing to pay.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use crate::{
    billing::{App, Result},
    domain::{
        calendar::Zone,
        clock::Timeline,
        customer::Credit,
        event::{Actor, Event},
        id::{CustomerId, InstallmentPlanId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus, Line, NextAction, subtotal},
        money::Currency,
    },
    store::{
        self, Tx,
        counters::{self, Series},
    },
};

/// An invoice to be opened.
#[derive(Debug, Clone)]
pub struct Draft {
    pub customer_id: CustomerId,
    pub subscription_id: Option<SubscriptionId>,
    /// The plan, and the number of the installment in it.
    pub installment: Option<(InstallmentPlanId, i64)>,
    /// None for an invoice that belongs to no cycle of the schedule.
    pub cycle: Option<i64>,
    pub timeline: Timeline,
    pub currency: Currency,
    pub timezone: Zone,
    pub description: String,
    /// Half-open.
    pub period: Option<(NaiveDate, NaiveDate)>,
    /// Their sum is not negative.
    pub lines: Vec<Line>,
    pub due_at: DateTime<Utc>,
}

/// Stores an invoice for each draft, in order, whatever the number of them by the same few statements. Answers them with the
/// events `invoice.opened` and, where credit covered all of it, `invoice.paid`: the caller appends these.
pub async fn open_invoices(
    tx: &mut Tx,
    app: &App,
    now: DateTime<Utc>,
    actor: &Actor,
    drafts: Vec<Draft>,
) -> Result<(Vec<Invoice>, Vec<Event>)> {
    open(tx, app, now, actor, drafts, true).await
}

/// Like [`open_invoices`], for what has been paid already: no credit is used.
pub async fn open_as_they_are(
    tx: &mut Tx,
    app: &App,
    now: DateTime<Utc>,
    actor: &Actor,
    drafts: Vec<Draft>,
) -> Result<(Vec<Invoice>, Vec<Event>)> {
    open(tx, app, now, actor, drafts, false).await
}

async fn open(
    tx: &mut Tx,
    app: &App,
    now: DateTime<Utc>,
    actor: &Actor,
    drafts: Vec<Draft>,
    with_credit: bool,
) -> Result<(Vec<Invoice>, Vec<Event>)> {
    if drafts.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut payers: Vec<CustomerId> = drafts.iter().map(|draft| draft.customer_id).collect();
    payers.sort_unstable();
    payers.dedup();
    let funded = if with_credit { store::customers::lock_with_credit(tx, &payers).await? } else { Vec::new() };
    let mut customers: BTreeMap<_, _> = funded.into_iter().map(|customer| (customer.id, customer)).collect();
    // Last, since every transaction that opens invoices waits here for the one before it.
    let first = counters::take(tx, Series::Invoice, drafts.len()).await?;

    let mut invoices = Vec::with_capacity(drafts.len());
    let mut credits = Vec::new();
    let mut events = Vec::with_capacity(drafts.len());
    for (number, draft) in (first..).zip(drafts) {
        let mut invoice = opened(app, now, number, draft);
        if let Some(customer) = customers.get_mut(&invoice.customer_id)
            && customer.currency == invoice.currency
        {
            let used = customer.balance.min(invoice.subtotal);
            if used > 0 {
                customer.balance -= used;
                customer.updated_at = now;
                invoice.credit_applied = used;
                invoice.total -= used;
                credits.push(Credit {
                    id: app.id(),
                    customer_id: invoice.customer_id,
                    amount: -used,
                    currency: invoice.currency,
                    reason: format!("Used for {}", invoice.number),
                    invoice_id: Some(invoice.id),
                    created_at: now,
                });
            }
        }
        let covered = invoice.total == 0;
        if covered {
            invoice.status = InvoiceStatus::Paid;
            invoice.next_attempt_at = None;
        }
        events.push(app.event(invoice.timeline, now, actor, "invoice.opened", invoice.id, event_data(&invoice)));
        if covered {
            events.push(app.event(invoice.timeline, now, actor, "invoice.paid", invoice.id, event_data(&invoice)));
        }
        invoices.push(invoice);
    }
    let payers: BTreeSet<CustomerId> = credits.iter().map(|credit| credit.customer_id).collect();
    let changed: Vec<_> = customers.into_values().filter(|customer| payers.contains(&customer.id)).collect();
    store::customers::save_balances(tx, &changed, &credits).await?;
    store::invoices::insert(tx, &invoices).await?;
    Ok((invoices, events))
}

fn opened(app: &App, now: DateTime<Utc>, number: i64, draft: Draft) -> Invoice {
    let sum = subtotal(&draft.lines).max(0);
    Invoice {
        id: app.id(),
        number: format!("INV-{number:06}"),
        customer_id: draft.customer_id,
        subscription_id: draft.subscription_id,
        installment_plan_id: draft.installment.map(|installment| installment.0),
        installment_number: draft.installment.map(|installment| installment.1),
        cycle: draft.cycle,
        timeline: draft.timeline,
        status: InvoiceStatus::Open,
        description: draft.description,
        currency: draft.currency,
        timezone: draft.timezone,
        period_start: draft.period.map(|period| period.0),
        period_end: draft.period.map(|period| period.1),
        lines: draft.lines,
        subtotal: sum,
        credit_applied: 0,
        total: sum,
        amount_paid: 0,
        amount_refunded: 0,
        amount_credited: 0,
        amount_reduced: 0,
        credit_given: 0,
        credit_paid: 0,
        due_at: draft.due_at,
        next_attempt_at: Some(draft.due_at),
        next_action: NextAction::Charge,
        attempts: 0,
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
        created_at: now,
        updated_at: now,
    }
}

fn event_data(invoice: &Invoice) -> serde_json::Value {
    json!({
        "number": invoice.number,
        "customer_id": invoice.customer_id,
        "subscription_id": invoice.subscription_id,
        "cycle": invoice.cycle,
        "installment_plan_id": invoice.installment_plan_id,
        "installment_number": invoice.installment_number,
        "currency": invoice.currency,
        "subtotal": invoice.subtotal,
        "credit_applied": invoice.credit_applied,
        "total": invoice.total,
    })
}
