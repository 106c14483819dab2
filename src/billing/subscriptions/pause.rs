//! Pause: no cycle is opened for a while, at once or from the period's end on.

use chrono::NaiveDate;
use serde_json::json;

use super::edit::{ChangePreview, SubscriptionEdit};
use crate::{
    billing::{App, BillingError, Result, checks::Checks},
    domain::{
        credit_note::CreditReason,
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, PastDue, Trialing},
            When,
            change::Changed,
        },
    },
    input::body,
};

body! {
    pub struct PauseInput {
        /// The day on which it goes on by itself; left out: it waits to be resumed.
        pub until: Option<NaiveDate>,
        /// `period_end` goes on to the end of the paid period first; where none runs, to the end of the trial or of the skipped cycle,
        /// or to the day before the first charge.
        pub when: When = When::Now,
        /// With `now`: the days to come that were billed go to the customer's credit, and are charged by day again from the day on
        /// which it is resumed.
        pub credit: bool = false,
    }
}

/// No cycle is opened until `until`, or until it is resumed; what falls into the pause is never billed. `credit`: the days to come
/// that were billed go to the customer's credit, and are charged by day again from when it is resumed. At the period's end it waits
/// for that; where there is no period to wait for it takes effect at once. A change that waits for the period's end then waits for the first
/// cycle after the pause.
pub async fn pause(app: &App, actor: &Actor, id: SubscriptionId, input: PauseInput, preview: bool) -> Result<ChangePreview> {
    let PauseInput { until, when, credit } = input;
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("paused", &[Trialing, Active, PastDue])?;
    if edit.subscription.cancel_at_period_end {
        return Err(BillingError::WrongState("it is cancelled at the period's end: undo that with keep first".to_owned()));
    }
    let today = edit.subscription.today(edit.now);
    let mut waits_for = None;
    if when == When::PeriodEnd {
        edit.must_not_wait_to_pause()?;
        waits_for = edit.subscription.period_end_on(today, &app.rules);
    }
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
        edit.subscription.pause_on(end, until);
        return edit.finish(preview, Changed::on(end), "subscription.pause_scheduled", json!({})).await;
    }
    let changed = if credit {
        let unused = edit.unused_days(today).await?;
        let changed = edit.subscription.pause_with_credit(until, unused, edit.now, &app.rules);
        edit.charge(&changed, CreditReason::UnusedDays).await?;
        changed
    } else {
        edit.subscription.pause(today, until);
        Changed::on(today)
    };
    let told = json!({ "credit": changed.credit });
    edit.finish(preview, changed, "subscription.paused", told).await
}
