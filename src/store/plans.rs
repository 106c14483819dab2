//! Plans.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{id::PlanId, plan::Plan};

impl Row for Plan {
    const TABLE: &'static str = "plans";
    const UNSAVED: &'static [&'static str] = &["created_at"];
}

pub async fn insert(tx: &mut Tx, plan: &Plan) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(plan)).await
}

pub async fn save(tx: &mut Tx, plan: &Plan) -> Result<()> {
    tx.save_rows(std::slice::from_ref(plan)).await?;
    Ok(())
}

/// By id or reference.
pub async fn find(db: &Db, key: &str) -> Result<Option<Plan>> {
    db.query("select * from plans where id = $1 or reference = $1").bind(key.to_owned()).optional().await
}

/// Finds a plan by id or reference inside a transaction.
pub async fn find_in(tx: &mut Tx, key: &str) -> Result<Option<Plan>> {
    tx.query("select * from plans where id = $1 or reference = $1").bind(key.to_owned()).optional().await
}

pub async fn lock(tx: &mut Tx, key: &str) -> Result<Option<Plan>> {
    tx.query("select * from plans where id = $1 or reference = $1 for update").bind(key.to_owned()).optional().await
}

/// Plans whose add-ons or discounts have this id.
pub async fn with(tx: &mut Tx, entry: &str) -> Result<Vec<Plan>> {
    tx.query("select * from plans where cast(add_ons as text) like $1 or cast(discounts as text) like $1 order by id")
        .bind(format!("%{entry}%"))
        .all()
        .await
}

/// Locks the plans whose add-ons or discounts have this id.
pub async fn lock_with(tx: &mut Tx, entry: &str) -> Result<Vec<Plan>> {
    tx.query("select * from plans where cast(add_ons as text) like $1 or cast(discounts as text) like $1 order by id for update")
        .bind(format!("%{entry}%"))
        .all()
        .await
}

pub async fn save_many(tx: &mut Tx, plans: &[Plan]) -> Result<()> {
    tx.save_rows(plans).await?;
    Ok(())
}

/// Deletes a plan. Subscriptions keep their own terms.
pub async fn delete(tx: &mut Tx, id: PlanId) -> Result<()> {
    tx.query("delete from plans where id = $1").bind(id).run().await?;
    Ok(())
}
