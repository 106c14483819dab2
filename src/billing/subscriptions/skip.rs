//! Skip: the next charges are passed over.

use serde_json::json;

use super::edit::{ChangePreview, SubscriptionEdit};
use crate::{
    billing::{App, BillingError, Result, checks::Checks},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, PastDue, Trialing},
            change::Changed,
        },
    },
};

/// Passes over the next charges; they do not count toward the duration.
pub async fn skip(app: &App, actor: &Actor, id: SubscriptionId, cycles: i64, preview: bool) -> Result<ChangePreview> {
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("told to skip", &[Trialing, Active, PastDue])?;
    edit.must_not_wait_to_pause()?;
    let mut checks = Checks::default();
    checks.within("cycles", cycles, 1..=1000);
    checks.done()?;
    if edit.subscription.upcoming(&app.rules, 1).is_empty() {
        return Err(BillingError::WrongState("no charge is to come that could be skipped".to_owned()));
    }
    edit.subscription.skip(cycles, &app.rules);
    let today = edit.subscription.today(edit.now);
    edit.finish(preview, Changed::on(today), "subscription.cycles_skipped", json!({ "cycles": cycles })).await
}
