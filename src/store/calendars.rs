//! Calendars of bank holidays by name: which of them the settings must have. Asked once, before a start, and reads whole tables.

use super::{Db, Result};

/// The calendars of bank holidays by which anything is or will be dated that has not ended.
pub async fn in_use(db: &Db) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = db
        .query(
            "select holiday_calendar from subscriptions where holiday_calendar is not null and status not in ('completed', 'cancelled')
             union select holiday_calendar from plans where holiday_calendar is not null
             union select holiday_calendar from installment_plans where holiday_calendar is not null and ended_at is null
             order by 1",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
