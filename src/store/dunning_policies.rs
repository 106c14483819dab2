//! Dunning policies: a handful of rows, read whole.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{dunning::Policy, id::DunningPolicyId};

impl Row for Policy {
    const TABLE: &'static str = "dunning_policies";
    const UNSAVED: &'static [&'static str] = &["created_at"];
}

pub async fn insert(tx: &mut Tx, policy: &Policy) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(policy)).await
}

pub async fn save(tx: &mut Tx, policy: &Policy) -> Result<()> {
    tx.save_rows(std::slice::from_ref(policy)).await?;
    Ok(())
}

/// By id or reference.
pub async fn find(db: &Db, key: &str) -> Result<Option<Policy>> {
    db.query("select * from dunning_policies where id = $1 or reference = $1").bind(key.to_owned()).optional().await
}

/// Finds a policy by id or reference and keeps it until the commit, for a caller that is about to name it.
pub async fn hold(tx: &mut Tx, key: &str) -> Result<Option<Policy>> {
    tx.query("select * from dunning_policies where id = $1 or reference = $1 for share").bind(key.to_owned()).optional().await
}

pub async fn lock(tx: &mut Tx, key: &str) -> Result<Option<Policy>> {
    tx.query("select * from dunning_policies where id = $1 or reference = $1 for update").bind(key.to_owned()).optional().await
}

/// All policies, in the order of their ids.
pub async fn lock_all(tx: &mut Tx) -> Result<Vec<Policy>> {
    tx.query("select * from dunning_policies order by id for update").all().await
}

/// The policies with these ids, and the default.
pub async fn in_force(tx: &mut Tx, named: &[DunningPolicyId]) -> Result<Vec<Policy>> {
    tx.query("select * from dunning_policies where id in list($1) or is_default").bind_list(named).all().await
}

pub async fn clear_default(tx: &mut Tx) -> Result<()> {
    tx.query("update dunning_policies set is_default = false where is_default").run().await?;
    Ok(())
}

/// A plan that names the policy, or a subscription or installment plan that does and has not ended.
pub async fn named_by(tx: &mut Tx, id: DunningPolicyId) -> Result<Option<String>> {
    let found: Option<(String,)> = tx
        .query(
            "select id from plans where dunning_policy_id = $1
             union all
             select id from subscriptions where dunning_policy_id = $1 and status not in ('cancelled', 'completed')
             union all
             select id from installment_plans where dunning_policy_id = $1 and ended_at is null limit 1",
        )
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|row| row.0))
}

pub async fn delete(tx: &mut Tx, id: DunningPolicyId) -> Result<()> {
    tx.query("delete from dunning_policies where id = $1").bind(id).run().await?;
    Ok(())
}
