//! Pause, resume, skip and reschedule: the operator's hand on the schedule.

use chrono::NaiveDate;
use serde_json::json;

use super::{
    edit::{ChangePreview, SubscriptionEdit},
    open_due::draft,
};
use crate::{
    billing::{App, BillingError, Result, checks::Checks},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, Parked, PastDue, Paused, Trialing},
            When,
            change::Changed,
        },
    },
};

/// No cycle is opened until `until`, or until it is resumed; what falls into the pause is never billed. `credit`: the days to come
/// that were billed go to the customer's credit, and are charged by day again from when it is resumed. At the period's end it waits
/// for that; where no period is running it takes effect at once. A change that waits for the period's end then waits for the first
/// cycle after the pause.
pub async fn pause(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    until: Option<NaiveDate>,
    when: When,
    credit: bool,
    preview: bool,
) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("paused", &[Trialing, Active, PastDue])?;
    if held.subscription.cancel_at_period_end {
        return Err(BillingError::WrongState("it is cancelled at the period's end: undo that with keep first".to_owned()));
    }
    let today = held.subscription.today(held.now);
    let waits_for = held.subscription.running_period(today).filter(|_| when == When::PeriodEnd).map(|period| period.1);
    let mut checks = Checks::default();
    if credit && when == When::PeriodEnd {
        checks.fault("credit", "only goes with when: now, as nothing is left unused at the period's end");
    }
    let after = waits_for.unwrap_or(today);
    if until.is_some_and(|until| until <= after) {
        let what = if waits_for.is_some() { "the period's end" } else { "today" };
        checks.fault("until", format!("must be after {what}, {after}"));
    }
    checks.done()?;
    if let Some(end) = waits_for {
        held.must_not_wait_to_pause()?;
        held.subscription.pause_at_period_end = true;
        held.subscription.paused_until = until;
        return held.finish(preview, Changed::on(end), "subscription.pause_scheduled", json!({})).await;
    }
    let changed = if credit {
        let billed = held.billed_ahead(today).await?;
        let changed = held.subscription.pause_with_credit(until, billed, held.now, &app.rules);
        held.charge(&changed).await?;
        changed
    } else {
        held.subscription.pause(today, until);
        Changed::on(today)
    };
    let told = json!({ "credit": changed.credit });
    held.finish(preview, changed, "subscription.paused", told).await
}

pub async fn resume(app: &App, actor: &Actor, id: SubscriptionId, preview: bool) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("resumed", &[Paused])?;
    let today = held.subscription.today(held.now);
    let mut changed = Changed::on(today);
    if let Some(mut days) = held.subscription.resume(today, &app.rules) {
        days.bill_at = held.now;
        (changed.lines, changed.amount) = (days.lines.clone(), days.amount);
        let draft = draft(&held.subscription, days);
        held.open(vec![draft]).await?;
    }
    let told = json!({ "amount": changed.amount });
    held.finish(preview, changed, "subscription.resumed", told).await
}

/// Passes over the next charges; they do not count toward the duration.
pub async fn skip(app: &App, actor: &Actor, id: SubscriptionId, cycles: i64, preview: bool) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("told to skip", &[Trialing, Active, PastDue])?;
    held.must_not_wait_to_pause()?;
    let mut checks = Checks::default();
    checks.within("cycles", cycles, 1..=1000);
    checks.done()?;
    if held.subscription.upcoming(&app.rules, 1).is_empty() {
        return Err(BillingError::WrongState("no charge is to come that could be skipped".to_owned()));
    }
    held.subscription.skip(cycles, &app.rules);
    let today = held.subscription.today(held.now);
    held.finish(preview, Changed::on(today), "subscription.cycles_skipped", json!({ "cycles": cycles })).await
}

/// Moves the next charge. With `keep_anchor` only that one; else the schedule starts anew there.
pub async fn reschedule(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    date: NaiveDate,
    keep_anchor: bool,
    preview: bool,
) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("rescheduled", &[Trialing, Active, PastDue, Parked])?;
    held.must_not_wait_to_pause()?;
    let today = held.subscription.today(held.now);
    let coming = held.subscription.upcoming(&app.rules, 2);
    if coming.is_empty() && held.subscription.status != Parked {
        return Err(BillingError::WrongState("no charge is to come that could be moved".to_owned()));
    }
    let mut checks = Checks::default();
    check_date(&mut checks, date, today, held.subscription.ends_on);
    if let Some(after) = coming.get(1).filter(|after| keep_anchor && date >= after.period_start) {
        // Past the one after it, that would be billed twice in a row.
        checks.fault("next_bill_date", format!("must be before the charge after it, {}", after.period_start));
    }
    checks.done()?;
    held.subscription.reschedule(date, keep_anchor, &app.rules);
    held.finish(preview, Changed::on(today), "subscription.rescheduled", json!({ "keep_anchor": keep_anchor })).await
}

/// A date to which the next charge may be moved.
pub(crate) fn check_date(checks: &mut Checks, date: NaiveDate, today: NaiveDate, ends_on: Option<NaiveDate>) {
    if date < today {
        checks.fault("next_bill_date", format!("lies before today, {today}"));
    }
    if let Some(end) = ends_on.filter(|&end| date >= end) {
        checks.fault("next_bill_date", format!("must be before ends_on, {end}"));
    }
}
