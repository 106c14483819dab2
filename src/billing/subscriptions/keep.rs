//! Keep: undoes a cancellation, a pause or a change that waits for the period's end.

use serde_json::json;

use super::edit::{ChangePreview, SubscriptionEdit};
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, Parked, PastDue, Paused, Trialing},
            change::Changed,
        },
    },
};

/// Undoes a cancellation, a pause or a change that waits for the period's end.
pub async fn keep(app: &App, actor: &Actor, id: SubscriptionId, preview: bool) -> Result<ChangePreview> {
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("kept", &[Trialing, Active, PastDue, Paused, Parked])?;
    let subscription = &mut edit.subscription;
    if !subscription.cancel_at_period_end && !subscription.pause_at_period_end && subscription.pending_change.is_none() {
        return Err(BillingError::WrongState("nothing waits for the period's end".to_owned()));
    }
    if subscription.pause_at_period_end {
        subscription.pause_at_period_end = false;
        subscription.paused_until = None;
    }
    subscription.cancel_at_period_end = false;
    subscription.pending_change = None;
    let today = subscription.today(edit.now);
    edit.finish(preview, Changed::on(today), "subscription.kept", json!({})).await
}
