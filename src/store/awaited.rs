//! When something is next to be done by real time, whatever clock it is of. Each part is one step in an index.

use chrono::{DateTime, Utc};

use super::{Db, Result};

type At = (Option<DateTime<Utc>>,);

/// The end of the first claim, or the first look-up, of payments, authorizations and refunds.
pub async fn look_up(db: &Db) -> Result<Option<DateTime<Utc>>> {
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

/// The first call about a payment request, or the first surplus to be given back.
pub async fn request(db: &Db) -> Result<Option<DateTime<Utc>>> {
    let row: At = db
        .query(
            "select min(awaited_at) from (
                 select min(next_check_at) as awaited_at from payment_requests where next_check_at is not null
                 union all select min(return_at) from payments where return_at is not null) as awaited",
        )
        .one()
        .await?;
    Ok(row.0)
}
