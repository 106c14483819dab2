//! Catalog verbs: add-ons and discounts. Plans and subscriptions hold copies, so nothing here changes a running one.

use serde_json::json;

use super::{
    App, BillingError, Result,
    checks::{Checks, MAX_COUNT, adjustment},
};
use crate::{
    domain::{
        catalog::Entry,
        clock::Timeline,
        event::{Actor, difference},
        id::{AddOn, Discount},
        invoice::Adjustment,
        money::Percentage,
    },
    store::{self, catalog::CatalogKind, db::Record},
};

/// Fields to create or change an add-on or a discount. `None`: left out, so the default or the present value.
#[derive(Debug, Clone, Default)]
pub struct EntryInput {
    /// `Some(None)` takes it away.
    pub reference: Option<Option<String>>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub amount: Option<i64>,
    pub percentage: Option<Percentage>,
    pub duration: Option<i64>,
}

/// The first part of the names of its events.
pub trait Told: CatalogKind {
    const WORD: &'static str;
}
impl Told for AddOn {
    const WORD: &'static str = "add_on";
}
impl Told for Discount {
    const WORD: &'static str = "discount";
}

pub async fn create<K: Told>(app: &App, actor: &Actor, input: EntryInput) -> Result<Entry<K>>
where
    Entry<K>: Record,
{
    let mut checks = Checks::default();
    if input.name.is_none() {
        checks.fault("name", "is required");
    }
    if input.amount.is_none() && input.percentage.is_none() {
        checks.fault("amount", "is required, or a percentage in its place");
    }
    let now = app.clock.now();
    let mut entry = Entry::<K> {
        id: app.id(),
        reference: None,
        name: String::new(),
        description: String::new(),
        amount: Some(0),
        percentage: None,
        duration: 0,
        created_at: now,
        updated_at: now,
    };
    put(&mut checks, &mut entry, input);
    checks.done()?;
    let mut tx = app.db.begin().await?;
    store::catalog::insert(&mut tx, &entry).await.map_err(BillingError::reference_taken(K::NOUN))?;
    let event = app.event(Timeline::Wall, now, actor, &format!("{}.created", K::WORD), entry.id, json!({ "after": entry }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(entry)
}

pub async fn update<K: Told>(app: &App, actor: &Actor, key: &str, input: EntryInput) -> Result<Entry<K>>
where
    Entry<K>: Record,
{
    let mut tx = app.db.begin().await?;
    let before = store::catalog::lock::<K>(&mut tx, key).await?.ok_or_else(|| BillingError::not_found(K::NOUN, key))?;
    let now = app.clock.now();
    let mut entry = Entry::<K> {
        id: before.id,
        reference: before.reference.clone(),
        name: before.name.clone(),
        description: before.description.clone(),
        updated_at: now,
        ..before
    };
    let mut checks = Checks::default();
    put(&mut checks, &mut entry, input);
    checks.done()?;
    store::catalog::save(&mut tx, &entry).await.map_err(BillingError::reference_taken(K::NOUN))?;
    let event = app.event(Timeline::Wall, now, actor, &format!("{}.updated", K::WORD), entry.id, difference(&before, &entry));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(entry)
}

/// Plans and subscriptions that use it keep their copies.
pub async fn delete<K: Told>(app: &App, actor: &Actor, key: &str) -> Result<()>
where
    Entry<K>: Record,
{
    let mut tx = app.db.begin().await?;
    let entry = store::catalog::lock::<K>(&mut tx, key).await?.ok_or_else(|| BillingError::not_found(K::NOUN, key))?;
    store::catalog::delete(&mut tx, entry.id).await?;
    let now = app.clock.now();
    let event = app.event(Timeline::Wall, now, actor, &format!("{}.deleted", K::WORD), entry.id, json!({ "before": entry }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(())
}

fn put<K: Told>(checks: &mut Checks, entry: &mut Entry<K>, input: EntryInput) {
    if let Some(reference) = input.reference {
        checks.reference::<K>(reference.as_deref());
        entry.reference = reference;
    }
    if let Some(name) = input.name {
        entry.name = name;
    }
    if let Some(description) = input.description {
        entry.description = description;
    }
    match adjustment(checks, "", input.amount, input.percentage) {
        Some(Adjustment::Amount(amount)) => (entry.amount, entry.percentage) = (Some(amount), None),
        Some(Adjustment::Percentage(percentage)) => (entry.amount, entry.percentage) = (None, Some(percentage.thousandths())),
        None => {}
    }
    if let Some(duration) = input.duration {
        checks.within("duration", duration, 0..=MAX_COUNT);
        entry.duration = duration;
    }
}
