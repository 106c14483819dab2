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
        /// Only this charge moves; else the schedule starts anew there.
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
    edit.must_be("rescheduled", &[Trialing, Active, PastDue, Parked])?;
    edit.must_not_wait_to_pause()?;
    let today = edit.subscription.today(edit.now);
    let coming = edit.subscription.upcoming(&app.rules, 2);
    if coming.is_empty() && edit.subscription.status != Parked {
        return Err(BillingError::WrongState("no charge is to come that could be moved".to_owned()));
    }
    let mut checks = Checks::default();
    checks.next_bill_date(date, today, edit.subscription.ends_on);
    if let Some(after) = coming.get(1).filter(|after| keep_anchor && date >= after.period_start) {
        // Past the one after it, that would be billed twice in a row.
        checks.fault("next_bill_date", format!("must be before the charge after it, {}", after.period_start));
    }
    checks.done()?;
    edit.subscription.reschedule(date, keep_anchor, &app.rules);
    edit.finish(preview, Changed::on(today), "subscription.rescheduled", json!({ "keep_anchor": keep_anchor })).await
}
