//! Which calendars of bank holidays the settings must have. `rebilld check` asks once, before a start, and reads whole tables.

use super::{Db, Result};

/// The calendars that date anything that has not ended.
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
