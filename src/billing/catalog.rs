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
        money::{MAX_AMOUNT_MINOR, Percentage},
    },
    input::{Patch, body},
    store::{self, catalog::CatalogKind, db::Record},
};

body! {
    /// Exactly one of amount and percentage.
    #[derive(Default)]
    pub struct EntryInput {
        /// The id of the record in another system. Requests may use this id in place of ours.
        pub reference: Option<String> line up to 255,
        pub name: String line up to 255,
        pub description: Option<String> up to 1000,
        /// Minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Percent of the base charge, with at most three decimals.
        pub percentage: Option<Percentage>,
        /// To how many charges it applies; 0 = always.
        pub duration: Option<i64> in 0..=100_000,
    }
}

body! {
    /// What is left out stays. An amount takes the place of a percentage, and the other way round.
    #[derive(Default)]
    pub struct EntryPatch {
        pub reference: Patch<String> line up to 255,
        pub name: Option<String> line up to 255,
        pub description: Option<String> up to 1000,
        /// Minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Percent of the base charge, with at most three decimals.
        pub percentage: Option<Percentage>,
        /// To how many charges it applies; 0 = always.
        pub duration: Option<i64> in 0..=100_000,
    }
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
    if input.amount.is_none() && input.percentage.is_none() {
        checks.fault("amount", "is required, or a percentage in its place");
    }
    checks.reference::<K>(input.reference.as_deref());
    let (amount, percentage) = value(&mut checks, input.amount, input.percentage).unwrap_or_default();
    let duration = input.duration.unwrap_or(0);
    checks.within("duration", duration, 0..=MAX_COUNT);
    checks.done()?;
    let now = app.clock.now();
    let entry = Entry::<K> {
        id: app.id(),
        reference: input.reference,
        name: input.name,
        description: input.description.unwrap_or_default(),
        amount,
        percentage,
        duration,
        created_at: now,
        updated_at: now,
    };
    let mut tx = app.db.begin().await?;
    store::catalog::insert(&mut tx, &entry).await.map_err(BillingError::reference_taken(K::NOUN))?;
    let event = app.event(Timeline::Wall, now, actor, &format!("{}.created", K::WORD), entry.id, json!({ "after": entry }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(entry)
}

pub async fn update<K: Told>(app: &App, actor: &Actor, key: &str, patch: EntryPatch) -> Result<Entry<K>>
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
    put_over(&mut checks, &mut entry, patch);
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

fn put_over<K: Told>(checks: &mut Checks, entry: &mut Entry<K>, patch: EntryPatch) {
    checks.reference::<K>(patch.reference.value().map(String::as_str));
    if let Some(reference) = patch.reference.change() {
        entry.reference = reference;
    }
    if let Some(name) = patch.name {
        entry.name = name;
    }
    if let Some(description) = patch.description {
        entry.description = description;
    }
    if let Some(value) = value(checks, patch.amount, patch.percentage) {
        (entry.amount, entry.percentage) = value;
    }
    if let Some(duration) = patch.duration {
        checks.within("duration", duration, 0..=MAX_COUNT);
        entry.duration = duration;
    }
}

/// The columns of an amount or a percentage. None: neither is given, or a fault was noted.
fn value(checks: &mut Checks, amount: Option<i64>, percentage: Option<Percentage>) -> Option<(Option<i64>, Option<i64>)> {
    adjustment(checks, "", amount, percentage).map(|adjustment| match adjustment {
        Adjustment::Amount(amount) => (Some(amount), None),
        Adjustment::Percentage(percentage) => (None, Some(percentage.thousandths())),
    })
}
