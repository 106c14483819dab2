//! Unpark: an operator says what becomes of the cycles that were too many to bill unasked, and billing goes on.

use serde_json::json;

use super::{
    edit::{ChangePreview, SubscriptionEdit},
    open_due::draft,
};
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        event::Actor,
        id::SubscriptionId,
        plan::CatchUp,
        subscription::{SubscriptionStatus::Parked, change::Changed},
        text_enum,
    },
};

text_enum! {
    /// What becomes of the cycles that were missed.
    pub enum Missed {
        All = "all",
        Current = "current",
        None = "none",
    }
}

/// `bill` left out: what the subscription's own catch-up says.
pub async fn unpark(app: &App, actor: &Actor, id: SubscriptionId, bill: Option<Missed>, preview: bool) -> Result<ChangePreview> {
    let mut held = SubscriptionEdit::take(app, actor, id).await?;
    held.must_be("unparked", &[Parked])?;
    if held.subscription.schedule().is_none() {
        return Err(BillingError::WrongState("its billing terms are not valid: mend them with PATCH first".to_owned()));
    }
    let bill = match bill {
        Some(Missed::All) => CatchUp::BillAll,
        Some(Missed::Current) => CatchUp::BillCurrent,
        Some(Missed::None) => CatchUp::Skip,
        None => held.subscription.catch_up,
    };
    let cycles = held.subscription.unpark(held.now, &app.rules, bill);
    let opened = cycles.len();
    let today = held.subscription.today(held.now);
    let lines = cycles.iter().flat_map(|cycle| cycle.lines.clone()).collect();
    let changed = Changed { lines, amount: cycles.iter().map(|cycle| cycle.amount).sum(), ..Changed::on(today) };
    let drafts = cycles.into_iter().map(|cycle| draft(&held.subscription, cycle)).collect();
    held.open(drafts).await?;
    held.finish(preview, changed, "subscription.unparked", json!({ "bill": bill, "cycles": opened })).await
}
