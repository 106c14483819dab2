//! Reschedule: the next charge moves to another date, alone or with the whole schedule.

use chrono::NaiveDate;
use serde_json::json;

use super::edit::{ChangePreview, SubscriptionEdit};
use crate::{
    billing::{App, BillingError, Result, checks::Checks},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{
            Subscription,
            SubscriptionStatus::{Active, Parked, PastDue, Trialing},
            change::Changed,
        },
    },
    input::body,
};

body! {
    pub struct RescheduleInput {
        /// The day of the next charge.
        pub next_bill_date: NaiveDate,
        /// Only this charge moves; else the schedule starts anew there. The days up to the next billing day are then prorated or
        /// free, as `first_period` says; by `full` and `free` a billing day may be passed over.
        pub keep_anchor: bool = false,
    }
}

/// Moves the next charge. With `keep_anchor` only that one; else the schedule starts anew there.
pub async fn reschedule(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    input: RescheduleInput,
    preview: bool,
) -> Result<ChangePreview> {
    let RescheduleInput { next_bill_date: date, keep_anchor } = input;
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    let today = edit.subscription.today(edit.now);
    must_be_movable(&edit)?;
    let mut checks = Checks::default();
    check(app, &mut checks, &edit.subscription, date, keep_anchor, today);
    checks.done()?;
    edit.subscription.reschedule(date, keep_anchor, &app.rules);
    edit.finish(preview, Changed::on(today), "subscription.rescheduled", json!({ "keep_anchor": keep_anchor })).await
}

/// Refuses where the next charge cannot be moved to any date, by whichever verb.
pub(super) fn must_be_movable(edit: &SubscriptionEdit) -> Result<()> {
    edit.must_be("rescheduled", &[Trialing, Active, PastDue, Parked])?;
    edit.must_not_wait_to_pause()?;
    if edit.subscription.has_movable_charge(&edit.app.rules) {
        return Ok(());
    }
    Err(BillingError::WrongState("no charge is to come that could be moved".to_owned()))
}

/// Checks the date to which the next charge of these terms is to be moved.
pub(super) fn check(app: &App, checks: &mut Checks, terms: &Subscription, date: NaiveDate, keep_anchor: bool, today: NaiveDate) {
    if let Err(wrong) = terms.may_reschedule(date, keep_anchor, today, &app.rules) {
        checks.fault("next_bill_date", wrong.to_string());
    }
}
