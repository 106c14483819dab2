//! Update: new terms from the next cycle on, as PATCH asks for them.

use chrono::NaiveDate;
use serde_json::json;

use super::{
    edit::{ChangePreview, SubscriptionEdit},
    reschedule::{check, must_be_movable},
    terms::{TermsInput, resolve},
};
use crate::{
    billing::{App, Result, checks::Checks, customers::CustomerRef},
    domain::{
        event::Actor,
        id::SubscriptionId,
        subscription::SubscriptionStatus::{Active, Parked, PastDue, Paused, Trialing},
    },
    input::body,
};

body! {
    /// Terms from the next cycle on. What is left out stays; null takes away.
    #[derive(Default)]
    pub struct SubscriptionPatch {
        /// May be repeated, never changed.
        pub customer: Option<CustomerRef>,
        /// Moves the next charge.
        pub next_bill_date: Option<NaiveDate>,
    }
    and pub terms: TermsInput
}

/// PATCH: terms from the next cycle on, without any charge now. `next_bill_date` is a reschedule.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    patch: SubscriptionPatch,
    preview: bool,
) -> Result<ChangePreview> {
    let SubscriptionPatch { customer, next_bill_date, terms } = patch;
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("changed", &[Trialing, Active, PastDue, Paused, Parked])?;
    let today = edit.subscription.today(edit.now);
    let mut checks = Checks::default();
    if let Some(CustomerRef { id: key }) = customer {
        let owner = edit.customer().await?;
        if key != owner.id.to_string() && Some(&key) != owner.reference.as_ref() {
            checks.fault("customer.id", "cannot be changed");
        }
    }
    let keep_anchor = terms.keep_anchor == Some(true);
    let change = resolve(app, &mut edit.tx, &mut checks, &edit.subscription, today, terms, None).await?;
    let subscription = &edit.subscription;
    let stands = [subscription.next_bill_date, subscription.next_nominal_date()];
    let moved = next_bill_date.filter(|date| !stands.contains(&Some(*date)));
    if let Some(date) = moved {
        must_be_movable(&edit)?;
        let mut terms = subscription.clone();
        if checks.is_clean() {
            terms.change_terms(change.clone(), edit.now, &app.rules);
        }
        check(app, &mut checks, &terms, date, keep_anchor, today);
    }
    checks.done()?;
    let changed = edit.subscription.change_terms(change, edit.now, &app.rules);
    if let Some(date) = moved {
        edit.subscription.reschedule(date, keep_anchor, &app.rules);
    }
    edit.finish(preview, changed, "subscription.changed", json!({ "when": "next_cycle" })).await
}
