//! Occurrences of scheduled jobs. Each job has one row, and a conditional update of it lets one daemon take an occurrence.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx};

/// The latest occurrence of a job that any daemon has taken.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Occurrence {
    pub job: String,
    pub occurs_at: DateTime<Utc>,
    pub lease_owner: Option<String>,
    pub lease_expires_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
}

/// Who takes what, and until when. `again`: also if it is done, since somebody asked for it.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    pub job: &'a str,
    pub owner: &'a str,
    pub occurs_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub again: bool,
}

/// Takes an occurrence that nobody has taken, or whose daemon has gone silent; but not while an earlier one runs.
pub async fn claim(tx: &mut Tx, claim: Claim<'_>) -> Result<bool> {
    let taken = tx
        .query(
            "insert into occurrences (job, occurs_at, lease_owner, lease_expires_at) values ($1, $2, $3, $4)
             on conflict (job) do update set
                 occurs_at = case when occurrences.occurs_at > excluded.occurs_at then occurrences.occurs_at else excluded.occurs_at end,
                 lease_owner = excluded.lease_owner, lease_expires_at = excluded.lease_expires_at, done_at = null
             where occurrences.done_at is not null and (occurrences.occurs_at < excluded.occurs_at or $6 = 1)
                 or occurrences.done_at is null and occurrences.lease_expires_at <= $5",
        )
        .bind(claim.job.to_owned())
        .bind(claim.occurs_at)
        .bind(claim.owner.to_owned())
        .bind(claim.until)
        .bind(claim.now)
        .bind(i64::from(claim.again))
        .run()
        .await?;
    Ok(taken > 0)
}

pub async fn of_job(db: &Db, job: &str) -> Result<Option<Occurrence>> {
    db.query("select * from occurrences where job = $1").bind(job.to_owned()).optional().await
}

/// Renews a claim. Returns false if another daemon holds it now.
pub async fn keep(tx: &mut Tx, job: &str, owner: &str, until: DateTime<Utc>) -> Result<bool> {
    let kept = tx
        .query("update occurrences set lease_expires_at = $1 where job = $2 and lease_owner = $3")
        .bind(until)
        .bind(job.to_owned())
        .bind(owner.to_owned())
        .run()
        .await?;
    Ok(kept > 0)
}

/// Marks an occurrence as done. Returns false if another daemon has taken it over.
pub async fn finish(tx: &mut Tx, job: &str, owner: &str, now: DateTime<Utc>) -> Result<bool> {
    let done = tx
        .query(
            "update occurrences set done_at = $1, lease_owner = null, lease_expires_at = null where job = $2 and lease_owner = $3",
        )
        .bind(now)
        .bind(job.to_owned())
        .bind(owner.to_owned())
        .run()
        .await?;
    Ok(done > 0)
}

/// Lets everybody take at once what the previous run of this daemon had taken.
pub async fn release(tx: &mut Tx, now: DateTime<Utc>, owner: &str) -> Result<u64> {
    tx.query("update occurrences set lease_expires_at = $1 where lease_owner = $2 and lease_expires_at > $1")
        .bind(now)
        .bind(owner.to_owned())
        .run()
        .await
}
