//! Money that came twice: by a card and by a request, or by two links. The later goes back by itself, as a recorded refund.

use crate::{
    billing::{App, Result, refunds},
    store,
};

/// How many payments are claimed at a time.
const BATCH: i64 = 50;

/// Gives back what is due of it. Answers for how many payments that was tried.
pub async fn return_overpayments(app: &App) -> Result<usize> {
    let mut tried = 0;
    while !app.stopping.is_cancelled() {
        let now = app.clock.now();
        let mut tx = app.db.begin().await?;
        let claimed = store::payments::claim_returns(&mut tx, now, now + app.config.collection.lease, BATCH).await?;
        if claimed.is_empty() {
            break;
        }
        tx.commit().await?;
        tried += claimed.len();
        for payment in claimed {
            refunds::overpayment(app, &payment).await?;
        }
    }
    Ok(tried)
}
