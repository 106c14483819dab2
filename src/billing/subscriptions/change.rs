//! Change: new terms from the next cycle on, at the period's end, or at once with credit and charge by days.

use chrono::NaiveDate;
use serde_json::json;

use super::{
    edit::{ChangePreview, SubscriptionEdit},
    terms::{TermsInput, resolve},
};
use crate::{
    billing::{App, BillingError, Result, checks::Checks},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, Parked, PastDue, Paused, Trialing},
            When,
        },
    },
};

/// PATCH: terms from the next cycle on, without any charge now. `next_bill_date` is a reschedule.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    customer: Option<String>,
    next_bill_date: Option<NaiveDate>,
    input: TermsInput,
    preview: bool,
) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
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
    if moved.is_some() {
        held.must_not_wait_to_pause()?;
    }
    if moved.is_some() && held.subscription.status == Paused {
        return Err(BillingError::WrongState("a subscription that is paused cannot be rescheduled: resume it first".to_owned()));
    }
    let changed = held.subscription.change_terms(change, held.now, &app.rules);
    if let Some(date) = moved {
        held.subscription.reschedule(date, keep_anchor, &app.rules);
    }
    held.finish(preview, changed, "subscription.changed", json!({ "when": "next_cycle" })).await
}

/// Changes now or at the period's end.
pub async fn change(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    input: TermsInput,
    when: When,
    preview: bool,
) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("changed", &[Trialing, Active, PastDue])?;
    if when == When::PeriodEnd && held.subscription.cancel_at_period_end {
        return Err(BillingError::WrongState("it is cancelled at the period's end: undo that with keep first".to_owned()));
    }
    let today = held.subscription.today(held.now);
    let mut checks = Checks::default();
    let change = resolve(app, &mut held.tx, &mut checks, &held.subscription, today, input, Some(when)).await?;
    checks.done()?;
    let now = held.now;
    let changed = match when {
        When::PeriodEnd => held.subscription.change_at_period_end(change, now, &app.rules),
        When::Now => {
            let billed = held.billed_ahead(today).await?;
            let changed = held.subscription.change_now(change, &billed, now, &app.rules);
            held.charge(&changed).await?;
            changed
        }
    };
    let told = json!({ "when": when, "amount": changed.amount, "credit": changed.credit });
    held.finish(preview, changed, "subscription.changed", told).await
}
