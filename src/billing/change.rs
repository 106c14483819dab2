//! Change: new terms from the next cycle on, at the period's end, or at once with credit and charge by days.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use super::{
    App, Done, Refusal,
    checks::Checks,
    customers::add_credit,
    held::Held,
    open::Draft,
    terms::{TermsInput, resolve},
};
use crate::{
    domain::{
        event::Actor,
        id::SubscriptionId,
        invoice::{Invoice, InvoiceStatus, Line, LineKind},
        money::fraction_of,
        proration::days_between,
        subscription::{
            Change, Subscription,
            SubscriptionStatus::{Active, Parked, PastDue, Paused, Trialing},
            change::Changed,
        },
        text_enum,
    },
    store,
};

text_enum! {
    /// When a change or a cancellation takes effect.
    pub enum When {
        Now = "now",
        PeriodEnd = "period_end",
    }
}

/// What a change comes to, or would come to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub effective_date: NaiveDate,
    pub lines: Vec<Line>,
    /// Minor units, before the customer's credit is used.
    pub amount: i64,
    /// Goes to the customer's credit, minor units.
    pub credit: i64,
    pub subscription: Subscription,
}

/// PATCH: terms from the next cycle on, without any charge now. `next_bill_date` is a reschedule.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    customer: Option<String>,
    next_bill_date: Option<NaiveDate>,
    input: TermsInput,
) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("changed", &[Trialing, Active, PastDue, Paused, Parked])?;
    let today = held.subscription.today(held.now);
    let mut checks = Checks::default();
    if let Some(key) = customer {
        let owner = held.customer().await?;
        if key != owner.id.to_string() && Some(&key) != owner.reference.as_ref() {
            checks.fault("customer.id", "cannot be changed");
        }
    }
    let keep_anchor = input.keep_anchor == Some(true);
    let change = resolve(app, &mut held.tx, &mut checks, &held.subscription, today, input, None).await?;
    let subscription = &held.subscription;
    let stands = [subscription.next_bill_date, subscription.next_nominal_date()];
    let moved = next_bill_date.filter(|date| !stands.contains(&Some(*date)));
    if let Some(date) = moved {
        let end = change.ends_on.unwrap_or(subscription.ends_on);
        super::pause::check_date(&mut checks, date, today, end);
    }
    checks.done()?;
    if moved.is_some() && held.subscription.status == Paused {
        return Err(Refusal::WrongState("a subscription that is paused cannot be rescheduled: resume it first".to_owned()));
    }
    held.subscription.change_terms(change, held.now, &app.rules);
    if let Some(date) = moved {
        held.subscription.reschedule(date, keep_anchor, &app.rules);
    }
    held.settle().await?;
    held.commit("subscription.changed", json!({ "when": "next_cycle" })).await
}

/// Changes now or at the period's end. A preview does all the same and then forgets it.
pub async fn change(app: &App, actor: &Actor, id: SubscriptionId, input: TermsInput, when: When, preview: bool) -> Done<Outcome> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("changed", &[Trialing, Active, PastDue])?;
    if when == When::PeriodEnd && held.subscription.cancel_at_period_end {
        return Err(Refusal::WrongState("it is cancelled at the period's end: undo that with keep first".to_owned()));
    }
    let today = held.subscription.today(held.now);
    let mut checks = Checks::default();
    let change = resolve(app, &mut held.tx, &mut checks, &held.subscription, today, input, Some(when)).await?;
    checks.done()?;
    let now = held.now;
    let changed = match when {
        When::PeriodEnd => held.subscription.change_at_period_end(change, now, &app.rules),
        When::Now => at_once(&mut held, change, today).await?,
    };
    held.settle().await?;
    let Changed { effective_date, lines, amount, credit, cycle: _ } = changed;
    let subscription = if preview {
        held.subscription
    } else {
        held.commit("subscription.changed", json!({ "when": when, "amount": amount, "credit": credit })).await?
    };
    Ok(Outcome { effective_date, lines, amount, credit, subscription })
}

async fn at_once(held: &mut Held<'_>, change: Change, today: NaiveDate) -> Done<Changed> {
    let (app, now) = (held.app, held.now);
    let Some(period) = running_period(&held.subscription, today) else {
        // Nothing is paid for yet, so there is nothing to settle: the first charge is by the new terms, on its own date.
        held.subscription.change_terms(change, now, &app.rules);
        let effective_date = held.subscription.next_nominal_date().unwrap_or(today);
        return Ok(Changed { effective_date, lines: Vec::new(), amount: 0, credit: 0, cycle: None });
    };
    let billed = billed_for(held, period, &[InvoiceStatus::Open, InvoiceStatus::Paid]).await?;
    let changed = held.subscription.change_now(change, billed, now, &app.rules);
    if changed.credit > 0 {
        let reason = format!("Unused days of {}", held.subscription.description);
        credit_customer(held, changed.credit, reason).await?;
    }
    if !changed.lines.is_empty() {
        let draft = draft(&held.subscription, &changed, (today, period.1), now);
        held.open(vec![draft]).await?;
    }
    Ok(changed)
}

/// The invoice of a change at once, even where nothing is left to pay: it is the record of what these days were charged. `rest` is
/// what is left of the running period.
pub(super) fn draft(subscription: &Subscription, changed: &Changed, rest: (NaiveDate, NaiveDate), now: DateTime<Utc>) -> Draft {
    let period = changed.cycle.as_ref().map_or(rest, |cycle| (cycle.period_start, cycle.period_end));
    Draft {
        customer_id: subscription.customer_id,
        subscription_id: Some(subscription.id),
        installment: None,
        cycle: changed.cycle.as_ref().map(|cycle| cycle.cycle),
        timeline: subscription.timeline,
        currency: subscription.currency,
        timezone: subscription.timezone,
        description: subscription.description.clone(),
        period: Some(period),
        lines: changed.lines.clone(),
        due_at: now,
    }
}

/// Puts credit on the customer's balance, which must be of the subscription's currency.
pub(super) async fn credit_customer(held: &mut Held<'_>, amount: i64, reason: String) -> Done<()> {
    let mut customer = held.customer().await?;
    if customer.currency != held.subscription.currency {
        let (owed, kept) = (held.subscription.currency, customer.currency);
        return Err(Refusal::WrongState(format!("{owed} would be owed to a customer whose credit is kept in {kept}")));
    }
    let (_, event) = add_credit(&mut held.tx, held.app, held.actor, held.now, &mut customer, amount, reason).await?;
    held.events.push(event);
    Ok(())
}

/// The period that was billed last, if today lies in it.
pub(super) fn running_period(subscription: &Subscription, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let period = (subscription.period_start?, subscription.period_end?);
    (period.0 <= today && today < period.1).then_some(period)
}

/// What the whole running period comes to by what was billed for it last, see [`billed_by`].
pub(super) async fn billed_for(
    held: &mut Held<'_>,
    period: (NaiveDate, NaiveDate),
    counting: &[InvoiceStatus],
) -> Done<Option<i64>> {
    let (id, cycle) = (held.subscription.id, held.subscription.next_cycle - 1);
    let changes = store::invoices::of_changes(&mut held.tx, id, period.1).await?;
    let invoice = store::invoices::of_cycle(&mut held.tx, id, cycle).await?;
    Ok(billed_by(period, changes.iter().chain(&invoice), counting))
}

/// What the whole period comes to, minor units: by the days charged at the last change inside it, else by the invoice of its cycle.
/// Credit lines are no part of that. `invoices`: oldest first, those of other periods do not matter.
pub(super) fn billed_by<'i>(
    period: (NaiveDate, NaiveDate),
    invoices: impl Iterator<Item = &'i Invoice>,
    counting: &[InvoiceStatus],
) -> Option<i64> {
    let (of_cycle, changes): (Vec<_>, Vec<_>) =
        invoices.filter(|invoice| counting.contains(&invoice.status)).partition(|invoice| invoice.cycle.is_some());
    let inside = changes.into_iter().filter(|invoice| invoice.period_start >= Some(period.0));
    if let Some(charged) = inside.filter_map(proration).next_back() {
        let days = days_between(period.0, period.1);
        return Some(match (charged.days, charged.of_days) {
            (Some(part), Some(_)) if part > 0 => fraction_of(charged.amount, days, part),
            _ => charged.amount,
        });
    }
    let invoice = of_cycle.first()?;
    Some(invoice.lines.iter().filter(|line| line.kind != LineKind::Credit).map(|line| line.amount).sum())
}

fn proration(invoice: &Invoice) -> Option<&Line> {
    invoice.lines.iter().find(|line| line.kind == LineKind::Proration)
}
