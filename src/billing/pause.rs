//! Pause, resume, skip and reschedule: the operator's hand on the schedule.

use chrono::NaiveDate;
use serde_json::json;

use super::{App, Done, Refusal, checks::Checks, held::Held};
use crate::domain::{
    event::Actor,
    id::SubscriptionId,
    subscription::{
        Subscription,
        SubscriptionStatus::{Active, Parked, PastDue, Paused, Trialing},
    },
};

/// No cycle is opened until `until`, or until it is resumed; what falls into the pause is never billed.
pub async fn pause(app: &App, actor: &Actor, id: SubscriptionId, until: Option<NaiveDate>) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("paused", &[Trialing, Active, PastDue])?;
    if held.subscription.cancel_at_period_end {
        return Err(Refusal::WrongState("it is cancelled at the period's end: undo that with keep first".to_owned()));
    }
    let today = held.subscription.today(held.now);
    if until.is_some_and(|until| until <= today) {
        return Err(Refusal::invalid("until", format!("must be after today, {today}")));
    }
    held.subscription.status = Paused;
    held.subscription.paused_until = until;
    held.settle().await?;
    held.commit("subscription.paused", json!({})).await
}

pub async fn resume(app: &App, actor: &Actor, id: SubscriptionId) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("resumed", &[Paused])?;
    let today = held.subscription.today(held.now);
    held.subscription.resume(today);
    held.settle().await?;
    held.commit("subscription.resumed", json!({})).await
}

/// Passes over the next charges; they do not count toward the duration.
pub async fn skip(app: &App, actor: &Actor, id: SubscriptionId, cycles: i64) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("told to skip", &[Trialing, Active, PastDue])?;
    let mut checks = Checks::default();
    checks.within("cycles", cycles, 1..=1000);
    checks.done()?;
    if held.subscription.upcoming(&app.rules, 1).is_empty() {
        return Err(Refusal::WrongState("no charge is to come that could be skipped".to_owned()));
    }
    held.subscription.skip(cycles, &app.rules);
    held.settle().await?;
    held.commit("subscription.cycles_skipped", json!({ "cycles": cycles })).await
}

/// Moves the next charge. With `keep_anchor` only that one; else the schedule starts anew there.
pub async fn reschedule(app: &App, actor: &Actor, id: SubscriptionId, date: NaiveDate, keep_anchor: bool) -> Done<Subscription> {
    let mut held = Held::take(app, actor, id).await?;
    held.must_be("rescheduled", &[Trialing, Active, PastDue, Parked])?;
    let today = held.subscription.today(held.now);
    let coming = held.subscription.upcoming(&app.rules, 2);
    if coming.is_empty() && held.subscription.status != Parked {
        return Err(Refusal::WrongState("no charge is to come that could be moved".to_owned()));
    }
    let mut checks = Checks::default();
    check_date(&mut checks, date, today, held.subscription.ends_on);
    if let Some(after) = coming.get(1).filter(|after| keep_anchor && date >= after.period_start) {
        // Past the one after it, that would be billed twice in a row.
        checks.fault("next_bill_date", format!("must be before the charge after it, {}", after.period_start));
    }
    checks.done()?;
    held.subscription.reschedule(date, keep_anchor, &app.rules);
    held.settle().await?;
    held.commit("subscription.rescheduled", json!({ "keep_anchor": keep_anchor })).await
}

/// A date to which the next charge may be moved.
pub(super) fn check_date(checks: &mut Checks, date: NaiveDate, today: NaiveDate, ends_on: Option<NaiveDate>) {
    if date < today {
        checks.fault("next_bill_date", format!("lies before today, {today}"));
    }
    if let Some(end) = ends_on.filter(|&end| date >= end) {
        checks.fault("next_bill_date", format!("must be before ends_on, {end}"));
    }
}
