//! Add-ons and discounts: two tables of one shape.

use super::{
    Db, Result, Tx,
    db::{Record, Row},
};
use crate::domain::{
    catalog::Entry,
    id::{AddOn, Discount, Id, Kind},
};

/// A kind of catalog entry and the statements over its table.
pub trait CatalogKind: Kind {
    const TABLE: &'static str;
    /// What people call one of them.
    const NOUN: &'static str;
    const FIND: &'static str;
    const FIND_MANY: &'static str;
    const LOCK: &'static str;
    const DELETE: &'static str;
}

macro_rules! shelves {
    ($($kind:ident, $table:literal, $noun:literal;)+) => {$(
        impl CatalogKind for $kind {
            const TABLE: &'static str = $table;
            const NOUN: &'static str = $noun;
            const FIND: &'static str = concat!("select * from ", $table, " where id = $1 or reference = $1");
            const FIND_MANY: &'static str =
                concat!("select * from ", $table, " where id in list($1) or reference in list($2)");
            const LOCK: &'static str = concat!("select * from ", $table, " where id = $1 or reference = $1 for update");
            const DELETE: &'static str = concat!("delete from ", $table, " where id = $1");
        }
    )+};
}
shelves! {
    AddOn, "add_ons", "add-on";
    Discount, "discounts", "discount";
}

impl<K: CatalogKind> Row for Entry<K> {
    const TABLE: &'static str = <K as CatalogKind>::TABLE;
    const UNSAVED: &'static [&'static str] = &["created_at"];
}

pub async fn insert<K: CatalogKind>(tx: &mut Tx, entry: &Entry<K>) -> Result<()> {
    tx.insert_rows(std::slice::from_ref(entry)).await
}

pub async fn save<K: CatalogKind>(tx: &mut Tx, entry: &Entry<K>) -> Result<()> {
    tx.save_rows(std::slice::from_ref(entry)).await?;
    Ok(())
}

/// By id or reference.
pub async fn find<K: CatalogKind>(db: &Db, key: &str) -> Result<Option<Entry<K>>>
where
    Entry<K>: Record,
{
    db.query(K::FIND).bind(key.to_owned()).optional().await
}

/// Finds an entry by id or reference inside a transaction.
pub async fn find_in<K: CatalogKind>(tx: &mut Tx, key: &str) -> Result<Option<Entry<K>>>
where
    Entry<K>: Record,
{
    tx.query(K::FIND).bind(key.to_owned()).optional().await
}

/// All entries that the keys name, by id or reference.
pub async fn find_many<K: CatalogKind>(tx: &mut Tx, keys: &[&str]) -> Result<Vec<Entry<K>>>
where
    Entry<K>: Record,
{
    tx.query(K::FIND_MANY).bind_list(keys).bind_list(keys).all().await
}

pub async fn lock<K: CatalogKind>(tx: &mut Tx, key: &str) -> Result<Option<Entry<K>>>
where
    Entry<K>: Record,
{
    tx.query(K::LOCK).bind(key.to_owned()).optional().await
}

/// Deletes an entry. Plans and subscriptions keep their copies.
pub async fn delete<K: CatalogKind>(tx: &mut Tx, id: Id<K>) -> Result<()> {
    tx.query(K::DELETE).bind(id).run().await?;
    Ok(())
}
