//! Change: new terms at the period's end, or at once with credit and charge by days.

use serde_json::json;

use super::{
    edit::{ChangePreview, SubscriptionEdit},
    terms::{TermsInput, resolve},
};
use crate::{
    billing::{App, BillingError, Result, checks::Checks},
    domain::{
        credit_note::CreditReason,
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, PastDue, Trialing},
            When,
        },
    },
    input::body,
};

body! {
    /// Any term. `now` credits unused days and charges the rest of the period; `period_end` waits for the next cycle.
    pub struct ChangeInput {
        pub when: When,
    }
    and pub terms: TermsInput
}

/// Changes now or at the period's end.
pub async fn change(app: &App, actor: &Actor, id: SubscriptionId, input: ChangeInput, preview: bool) -> Result<ChangePreview> {
    let ChangeInput { when, terms } = input;
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("changed", &[Trialing, Active, PastDue])?;
    if when == When::PeriodEnd && edit.subscription.cancel_at_period_end {
        return Err(BillingError::WrongState("it is cancelled at the period's end: undo that with keep first".to_owned()));
    }
    let today = edit.subscription.today(edit.now);
    let mut checks = Checks::default();
    let change = resolve(app, &mut edit.tx, &mut checks, &edit.subscription, today, terms, Some(when)).await?;
    checks.done()?;
    let now = edit.now;
    let changed = match when {
        When::PeriodEnd => edit.subscription.change_at_period_end(change, now, &app.rules),
        When::Now => {
            let unused = edit.unused_days(today).await?;
            let changed = edit.subscription.change_now(change, unused, now, &app.rules);
            edit.charge(&changed, CreditReason::Changed).await?;
            changed
        }
    };
    let told = json!({ "when": when, "amount": changed.amount, "credit": changed.credit });
    edit.finish(preview, changed, "subscription.changed", told).await
}
