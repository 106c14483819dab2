//! Keep: undoes a cancellation, a pause or a change that waits for the period's end, one at a time.

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

/// Undoes a cancellation, a pause or a change that waits for the period's end: of two, the one that was asked for last.
pub async fn keep(app: &App, actor: &Actor, id: SubscriptionId, preview: bool) -> Result<ChangePreview> {
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("kept", &[Trialing, Active, PastDue, Paused, Parked])?;
    let Some(undone) = edit.subscription.keep() else {
        return Err(BillingError::WrongState("nothing waits for the period's end".to_owned()));
    };
    let today = edit.subscription.today(edit.now);
    let outcome = edit.finish(preview, Changed::on(today), "subscription.kept", json!({ "undone": undone })).await?;
    Ok(ChangePreview { undone: Some(undone), ..outcome })
}
