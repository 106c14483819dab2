//! When there is something to do next. Each tick asks this first, in one read for each job; each part is one step in an index.

use chrono::{DateTime, Utc};

use super::{Db, Result};
use crate::domain::clock::Timeline;

type At = (Option<DateTime<Utc>>,);

/// The first cycle or installment of a timeline that must be billed.
pub async fn bill(db: &Db, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let row: At = db
        .query(
            "select min(awaited_at) from (
                 select min(due_at) as awaited_at from subscriptions where timeline = $1 and due_at is not null
                 union all select min(due_at) from installment_plans where timeline = $1 and due_at is not null) as awaited",
        )
        .bind(timeline)
        .one()
        .await?;
    Ok(row.0)
}

/// The first reminder or expiry of a payment request, by its own clock. On the wall clock also the first call about any request, and
/// the first overpayment to return: gateways live by real time, whatever clock a customer is on.
pub async fn request(db: &Db, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let row: At = db
        .query(
            "select min(awaited_at) from (
                 select min(expires_at) as awaited_at from payment_requests
                     where timeline = $1 and status in ('pending', 'unknown', 'sent') and ending is null
                 union all select min(next_reminder_at) from payment_requests where timeline = $1 and next_reminder_at is not null
                 union all select min(next_check_at) from payment_requests where $2 and next_check_at is not null
                 union all select min(return_at) from payments where $2 and return_at is not null) as awaited",
        )
        .bind(timeline)
        .bind(timeline == Timeline::Wall)
        .one()
        .await?;
    Ok(row.0)
}

/// The end of the first claim, or the first lookup, of payments, authorizations and refunds, of any timeline.
pub async fn lookup(db: &Db) -> Result<Option<DateTime<Utc>>> {
    let row: At = db
        .query(
            "select min(awaited_at) from (
                 select min(lease_expires_at) as awaited_at from payments where lease_expires_at is not null
                 union all select min(next_lookup_at) from payments where next_lookup_at is not null
                 union all select min(lease_expires_at) from authorizations where lease_expires_at is not null
                 union all select min(next_lookup_at) from authorizations where next_lookup_at is not null
                 union all select min(lease_expires_at) from refunds where lease_expires_at is not null
                 union all select min(next_lookup_at) from refunds where next_lookup_at is not null) as awaited",
        )
        .one()
        .await?;
    Ok(row.0)
}
