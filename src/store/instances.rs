//! Instances: the daemons that work on this database, each with the token of its latest run.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx};

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Instance {
    pub name: String,
    /// Another in each run.
    pub token: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    /// None: it runs, or died.
    pub stopped_at: Option<DateTime<Utc>>,
}

/// Records that this run has begun, in place of the previous run.
pub async fn arrive(tx: &mut Tx, instance: Instance) -> Result<()> {
    tx.query(
        "insert into instances (name, token, version, started_at, seen_at) values ($1, $2, $3, $4, $5)
         on conflict (name) do update set token = excluded.token, version = excluded.version, started_at = excluded.started_at,
             seen_at = excluded.seen_at, stopped_at = null",
    )
    .bind(instance.name)
    .bind(instance.token)
    .bind(instance.version)
    .bind(instance.started_at)
    .bind(instance.seen_at)
    .run()
    .await?;
    Ok(())
}

pub async fn get(db: &Db, name: &str) -> Result<Option<Instance>> {
    db.query("select * from instances where name = $1").bind(name.to_owned()).optional().await
}

/// Records a heartbeat. Returns false if another daemon has started under this name.
pub async fn beat(tx: &mut Tx, name: &str, token: &str, now: DateTime<Utc>) -> Result<bool> {
    let beaten = tx
        .query("update instances set seen_at = $1 where name = $2 and token = $3")
        .bind(now)
        .bind(name.to_owned())
        .bind(token.to_owned())
        .run()
        .await?;
    Ok(beaten > 0)
}

/// Records an orderly end.
pub async fn leave(tx: &mut Tx, name: &str, token: &str, now: DateTime<Utc>) -> Result<()> {
    tx.query("update instances set seen_at = $1, stopped_at = $1 where name = $2 and token = $3")
        .bind(now)
        .bind(name.to_owned())
        .bind(token.to_owned())
        .run()
        .await?;
    Ok(())
}

/// An instance and what it works on.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Seen {
    pub name: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub stopped_at: Option<DateTime<Utc>>,
    /// Payments and refunds that it charges or looks up.
    pub payments_claimed: i64,
    pub clocks_claimed: i64,
}

/// All instances, by name: there are as many as daemons.
pub async fn all(db: &Db) -> Result<Vec<Seen>> {
    db.query(
        "select i.name, i.version, i.started_at, i.seen_at, i.stopped_at,
             (select count(*) from payments p where p.lease_owner = i.name and p.status in ('pending', 'authorized', 'unknown'))
             + (select count(*) from refunds r where r.lease_owner = i.name and r.status in ('pending', 'unknown', 'parked'))
                 as payments_claimed,
             (select count(*) from clocks c where c.lease_owner = i.name) as clocks_claimed
         from instances i order by i.name",
    )
    .all()
    .await
}

/// Removes the instances that nobody has seen since.
pub async fn remove_older(tx: &mut Tx, oldest: DateTime<Utc>) -> Result<u64> {
    tx.query("delete from instances where seen_at < $1").bind(oldest).run().await
}
