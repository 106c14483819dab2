//! Resume: the schedule goes on after a pause, and days that were credited are charged again.

use serde_json::json;

use super::{
    edit::{ChangePreview, SubscriptionEdit},
    open_due::draft,
};
use crate::{
    billing::{App, Result},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{SubscriptionStatus::Paused, change::Changed},
    },
};

/// Ends a pause now. Days of a period that the pause gave back as credit are charged from today on.
pub async fn resume(app: &App, actor: &Actor, id: SubscriptionId, preview: bool) -> Result<ChangePreview> {
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("resumed", &[Paused])?;
    let today = edit.subscription.today(edit.now);
    let mut changed = Changed::on(today);
    if let Some(mut days) = edit.subscription.resume(today, &app.rules) {
        days.bill_at = edit.now;
        (changed.lines, changed.amount) = (days.lines.clone(), days.amount);
        let draft = draft(&edit.subscription, days);
        edit.open(vec![draft]).await?;
    }
    let told = json!({ "amount": changed.amount });
    edit.finish(preview, changed, "subscription.resumed", told).await
}
