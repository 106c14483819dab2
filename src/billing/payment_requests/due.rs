//! What falls due by a timeline's own clock: reminders and expiries. Both only mark the request; the gateway is called after that.

use chrono::{DateTime, Utc};

use crate::{
    billing::{App, Result},
    domain::{clock::Timeline, payment_request::next_reminder},
    store,
};

/// Marks everything due on a timeline by now. Answers how many requests that were.
pub async fn due(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<u64> {
    let wall = app.clock.now();
    let mut tx = app.db.begin().await?;
    // First: an expired request is not reminded of.
    let expired = store::payment_requests::expire(&mut tx, timeline, now, wall).await?;
    let mut reminded = store::payment_requests::lock_to_remind(&mut tx, timeline, now, app.config.billing.batch.into()).await?;
    for request in &mut reminded {
        let after = &app.config.collection.payment_request_reminders;
        request.next_reminder_at = next_reminder(after, request.created_at, now, request.expires_at);
        if request.status.is_open() && request.ending.is_none() {
            request.remind = true;
            request.checks = 0;
            request.next_check_at = Some(wall);
        }
    }
    let marked = expired + reminded.len() as u64;
    if marked > 0 {
        store::payment_requests::save(&mut tx, &reminded).await?;
        tx.commit().await?;
    }
    Ok(marked)
}
