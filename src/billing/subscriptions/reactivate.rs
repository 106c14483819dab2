//! Reactivate: a cancelled subscription goes on by its old schedule, with or without what it owed.

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
        subscription::{CollectDebt, ReactivateFrom, SubscriptionStatus::Cancelled, change::Changed},
    },
    input::body,
    store,
};

body! {
    #[derive(Default)]
    pub struct ReactivateInput {
        /// `open`: invoices that were given up are collected now; `none`: they stay so.
        pub collect: CollectDebt = CollectDebt::default(),
        /// `now`: the days up to the next charge are billed by day, if nobody has paid for them; `next_bill_date`: they are free.
        pub from: ReactivateFrom = ReactivateFrom::default(),
    }
}

/// Takes a cancelled subscription up again. Its dates stay where they were; charges that fell into the meantime are not billed.
pub async fn reactivate(
    app: &App,
    actor: &Actor,
    id: SubscriptionId,
    input: ReactivateInput,
    preview: bool,
) -> Result<ChangePreview> {
    let ReactivateInput { collect, from } = input;
    let mut edit = SubscriptionEdit::lock(app, actor, id).await?;
    edit.must_be("reactivated", &[Cancelled])?;
    let today = edit.subscription.today(edit.now);
    let mut changed = Changed::on(today);
    let stub = edit.subscription.reactivate(today, from == ReactivateFrom::Now, &app.rules);
    edit.subscription.refresh(&app.rules);
    if stub.is_none() && edit.subscription.next_bill_at.is_none() {
        return Err(BillingError::WrongState(
            "it has no charge to come, since its duration or its end date is over: subscribe the customer anew".to_owned(),
        ));
    }
    if collect == CollectDebt::Open {
        let mut given_up = store::invoices::lock_uncollectible_of_subscription(&mut edit.tx, id).await?;
        for invoice in &mut given_up {
            invoice.reopen(edit.now);
            invoice.collect_now(edit.now);
            let data = json!({ "subscription_id": id, "amount_due": invoice.amount_due() });
            edit.events.push(app.event(invoice.timeline, edit.now, actor, "invoice.reopened", invoice.id, data));
            edit.reopened.push(invoice.id);
        }
        store::invoices::save(&mut edit.tx, &given_up).await?;
        edit.collect |= !given_up.is_empty();
    }
    if let Some(mut days) = stub {
        days.bill_at = edit.now;
        (changed.lines, changed.amount) = (days.lines.clone(), days.amount);
        let draft = draft(&edit.subscription, days);
        edit.open(vec![draft]).await?;
    }
    let told = json!({ "collect": collect, "from": from, "amount": changed.amount, "reopened_invoices": edit.reopened });
    edit.finish(preview, changed, "subscription.reactivated", told).await
}
