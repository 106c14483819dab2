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
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("unparked", &[Parked])?;
    if edit.subscription.schedule().is_none() {
        return Err(BillingError::WrongState("its billing terms are not valid: mend them with PATCH first".to_owned()));
    }
    let bill = match bill {
        Some(Missed::All) => CatchUp::BillAll,
        Some(Missed::Current) => CatchUp::BillCurrent,
        Some(Missed::None) => CatchUp::Skip,
        None => edit.subscription.catch_up,
    };
    let cycles = edit.subscription.unpark(edit.now, &app.rules, bill);
    let opened = cycles.len();
    let today = edit.subscription.today(edit.now);
    let lines = cycles.iter().flat_map(|cycle| cycle.lines.clone()).collect();
    let changed = Changed { lines, amount: cycles.iter().map(|cycle| cycle.amount).sum(), ..Changed::on(today) };
    let drafts = cycles.into_iter().map(|cycle| draft(&edit.subscription, cycle)).collect();
    edit.open(drafts).await?;
    edit.finish(preview, changed, "subscription.unparked", json!({ "bill": bill, "cycles": opened })).await
}
