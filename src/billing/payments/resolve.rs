//! What an operator found out about a parked payment: the payment is closed by that.

use super::SettlementBatch;
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        event::Actor,
        id::PaymentId,
        payment::{Payment, Resolution},
    },
    store,
};

/// Closes a payment that no gateway could say anything about. `amount`: what was really taken, where that is less than was asked.
pub async fn resolve(
    app: &App,
    actor: &Actor,
    id: PaymentId,
    resolution: Resolution,
    transaction_id: Option<String>,
    amount: Option<i64>,
    note: &str,
) -> Result<Payment> {
    let Some(seen) = store::payments::get(&app.db, id).await? else { return Err(BillingError::not_found("payment", id)) };
    let mut tx = app.db.begin().await?;
    let mut batch = SettlementBatch::load(app, &mut tx, &[&seen], |_| false).await?;
    let payment = batch.resolve_parked(id, resolution, transaction_id, amount, note, actor)?;
    batch.save(&mut tx).await?;
    tx.commit().await?;
    app.wakeups.collect.notify_one();
    Ok(payment)
}
