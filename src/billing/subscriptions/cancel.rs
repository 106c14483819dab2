//! Cancel: at once, or at the period's end.

use serde_json::json;

use super::edit::{ChangePreview, SubscriptionEdit};
use crate::{
    billing::{App, BillingError, Result, invoices::void::void_invoices},
    domain::{
        credit_note::CreditReason,
        event::Actor,
        id::SubscriptionId,
        subscription::{
            SubscriptionStatus::{Active, Cancelled, Parked, PastDue, Paused, Trialing},
            When,
            change::Changed,
        },
    },
    input::body,
    store,
};

body! {
    pub struct CancelInput {
        /// `now` also voids what is still owed. `period_end` goes on to the end of the paid period first; where none runs, to the end of
        /// the trial or of the skipped cycle, or to the day before the first charge. Until then `keep` undoes it.
        pub when: When,
        /// With `now`: what was paid for days to come goes to the customer's credit.
        pub credit: bool = false,
    }
}

/// Cancelling now stops everything: open invoices are voided; one with a payment under way is left to that payment's
/// settlement. `credit`: what was paid for days to come goes to the customer's credit.
pub async fn cancel(app: &App, actor: &Actor, id: SubscriptionId, input: CancelInput, preview: bool) -> Result<ChangePreview> {
    let CancelInput { when, credit } = input;
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("cancelled", &[Trialing, Active, PastDue, Paused, Parked])?;
    let today = edit.subscription.today(edit.now);
    if when == When::PeriodEnd && !matches!(edit.subscription.status, Paused | Parked) {
        if edit.subscription.cancel_at_period_end {
            return Err(BillingError::WrongState("it is cancelled at the period's end already".to_owned()));
        }
        edit.must_not_wait_to_pause()?;
        if let Some(end) = edit.subscription.period_end_on(today, &app.rules) {
            if credit {
                return Err(BillingError::invalid(
                    "credit",
                    "only goes with when: now, as nothing is left unused at the period's end",
                ));
            }
            edit.subscription.cancel_on(end);
            return edit.finish(preview, Changed::on(end), "subscription.cancel_scheduled", json!({})).await;
        }
    }
    let open = store::invoices::lock_open_of_subscription(&mut edit.tx, id).await?;
    let mut changed = Changed::on(today);
    let mut given_back = Vec::new();
    if credit {
        let mut unused = edit.unused_days(today).await?;
        // What nobody has paid anything for is voided as a whole.
        let is_unpaid = |id| open.iter().any(|invoice| invoice.id == id && invoice.paid_by_gateways() == 0);
        unused.retain(|unused| !unused.days.invoice_id.is_some_and(is_unpaid));
        changed.credit = unused.iter().map(|unused| unused.reduction.post_payment).sum();
        edit.credit(&unused, changed.credit, CreditReason::UnusedDays).await?;
        given_back.extend(unused.into_iter().map(|unused| unused.days));
    }
    let open = store::invoices::lock_open_of_subscription(&mut edit.tx, id).await?;
    let now = edit.now;
    edit.subscription.end(Cancelled, now);
    if !given_back.is_empty() {
        // Whoever takes it up again in this period is charged for these days anew.
        edit.subscription.period_end = Some(today);
        edit.subscription.credited_days = Some(given_back);
    }
    let events = void_invoices(&mut edit.tx, app, now, actor, open, "the subscription was cancelled").await?;
    edit.events.extend(events);
    edit.finish(preview, changed, "subscription.cancelled", json!({ "reason": "by the operator" })).await
}
