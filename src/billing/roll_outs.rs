//! Roll out: takes an edit of a plan, add-on or discount to the subscriptions that hold its terms, after a list of what it will
//! change.
//!
//! An edit by itself changes no subscription. The list and the change are the same pure code; what is rolled out are the terms that
//! were listed, whatever becomes of the entry meanwhile.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{App, BillingError, Result, catalog::Told};
use crate::{
    domain::{
        catalog::Entry,
        clock::Timeline,
        count,
        event::{Actor, difference},
        id::{AddOn, Discount},
        plan::Plan,
        roll_out::{EntryType, LeftAlone, LeftAloneReason, Options, RollOut, RollOutStatus, Versions, history},
    },
    store::{self, Tx, db::Record},
};

mod apply;
mod evaluate;
mod list;

pub use apply::{carry_on, step, work};
pub use list::{CurrencySums, Listed, PlanLine, RollOutTotals, SubscriptionLine, list};

/// The entry that is rolled out, and by which edits it came to its terms.
struct Target {
    entry_id: String,
    versions: Versions,
    /// Stands for exactly this list: another edit or other options have another.
    revision: String,
}

/// Finds the entry by id or reference, with its history; locked if it is not only looked at.
async fn target(tx: &mut Tx, entry: EntryType, key: &str, options: &Options, lock: bool) -> Result<Target> {
    let (entry_id, versions) = match entry {
        EntryType::Plan => plan(tx, key, lock).await?,
        EntryType::AddOn => modifier::<AddOn>(tx, key, lock, Versions::AddOn).await?,
        EntryType::Discount => modifier::<Discount>(tx, key, lock, Versions::Discount).await?,
    };
    let text = serde_json::to_vec(&(&entry_id, &versions, options)).map_err(store::Error::from)?;
    let revision = Sha256::digest(&text).iter().take(12).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    Ok(Target { entry_id, versions, revision })
}

async fn plan(tx: &mut Tx, key: &str, lock: bool) -> Result<(String, Versions)> {
    let plan = if lock { store::plans::lock(tx, key).await? } else { store::plans::find_in(tx, key).await? };
    let plan = plan.ok_or_else(|| BillingError::not_found("plan", key))?;
    let id = plan.id.to_string();
    let to = plan.currency;
    let plans = history(plan, &store::events::data_of(tx, &id, "plan.updated").await?);
    if let Some(from) = plans.get(1).map(|before| before.currency).filter(|from| *from != to) {
        return Err(BillingError::WrongState(format!(
            "the last edit changed the currency from {from} to {to}, which cannot be rolled out: what customers agreed to pay is in \
             {from}; put it back, and make another plan for {to}"
        )));
    }
    Ok((id, Versions::Plan(plans)))
}

async fn modifier<K: Told>(
    tx: &mut Tx,
    key: &str,
    lock: bool,
    of: fn(Vec<crate::domain::invoice::Modifier>) -> Versions,
) -> Result<(String, Versions)>
where
    Entry<K>: Record,
{
    let entry = if lock { store::catalog::lock::<K>(tx, key).await? } else { store::catalog::find_in::<K>(tx, key).await? };
    let entry = entry.ok_or_else(|| BillingError::not_found(K::NOUN, key))?;
    let id = entry.id.to_string();
    let edits = store::events::data_of(tx, &id, &format!("{}.updated", K::WORD)).await?;
    Ok((id, of(history(entry, &edits).iter().map(Entry::as_modifier).collect())))
}

/// The fields that were asked for, as they are kept: all of them for none.
fn checked(entry: EntryType, mut options: Options) -> Result<Options> {
    let Some(fields) = &mut options.fields else { return Ok(options) };
    if fields.is_empty() {
        return Err(BillingError::invalid("fields", "must name a field; left out, all are rolled out"));
    }
    if let Some(at) = fields.iter().position(|field| !field.is_of(entry)) {
        return Err(BillingError::invalid(
            format!("fields[{at}]"),
            "is no field of this entry that subscriptions hold a copy of",
        ));
    }
    fields.sort_unstable();
    fields.dedup();
    Ok(options)
}

/// Starts a roll-out, and changes the plans that hold a copy of an add-on or discount. The subscriptions follow by [`step`].
/// `revision`: of the list that is to be applied.
pub async fn start(
    app: &App,
    actor: &Actor,
    entry: EntryType,
    key: &str,
    options: Options,
    revision: Option<String>,
) -> Result<RollOut> {
    let options = checked(entry, options)?;
    let mut tx = app.db.begin().await?;
    let Target { entry_id, versions, revision: current } = target(&mut tx, entry, key, &options, true).await?;
    match revision {
        None => {
            return Err(BillingError::invalid(
                "revision",
                "is required: ask with preview: true what would change, and repeat its revision",
            ));
        }
        Some(listed) if listed != current => {
            return Err(BillingError::WrongState(
                "what was listed is not what would be applied: the entry was edited since, or other options are asked for now; ask \
                 with preview: true again"
                    .to_owned(),
            ));
        }
        Some(_) => {}
    }
    let now = app.clock.now();
    let mut left_alone = LeftAlone::new();
    let ended = ended(&mut tx, &versions).await?;
    if ended > 0 {
        left_alone.insert(LeftAloneReason::Ended, ended);
    }
    let mut roll_out = RollOut {
        id: app.id(),
        entry_type: entry,
        entry_id,
        revision: current,
        options,
        versions,
        status: RollOutStatus::Running,
        actor: actor.text(),
        done_through: None,
        plans_changed: 0,
        subscriptions_changed: 0,
        left_alone,
        created_at: now,
        finished_at: None,
    };
    let plans = plans(&mut tx, &roll_out.versions, &roll_out.options, &roll_out.entry_id, true).await?;
    roll_out.plans_changed = count(plans.len());
    store::roll_outs::insert(&mut tx, &roll_out).await.map_err(|error| match error {
        store::Error::Conflict => {
            BillingError::WrongState("another roll-out of it is running: wait until that is done".to_owned())
        }
        other => other.into(),
    })?;
    let data =
        json!({ "entry_type": entry, "entry_id": roll_out.entry_id, "revision": roll_out.revision, "options": roll_out.options });
    let mut events = vec![app.event(Timeline::Wall, now, actor, "roll_out.started", roll_out.id, data)];
    let mut changed = Vec::with_capacity(plans.len());
    for (before, after) in plans {
        let after = Plan { updated_at: now, ..after };
        let mut data = difference(&before, &after);
        data["roll_out"] = json!(roll_out.id);
        events.push(app.event(Timeline::Wall, now, actor, "plan.updated", after.id, data));
        changed.push(after);
    }
    store::plans::save_many(&mut tx, &changed).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    app.wakeups.roll_outs.notify_one();
    Ok(roll_out)
}

/// The plans that an edit of an add-on or discount changes: before and after.
async fn plans(tx: &mut Tx, versions: &Versions, options: &Options, entry: &str, lock: bool) -> Result<Vec<(Plan, Plan)>> {
    if versions.entry_type() == EntryType::Plan {
        return Ok(Vec::new());
    }
    let plans = if lock { store::plans::lock_with(tx, entry).await? } else { store::plans::with(tx, entry).await? };
    Ok(plans.into_iter().filter_map(|plan| Some((plan.clone(), versions.in_plan(options, &plan)?))).collect())
}

/// How many have ended that were made from a plan.
async fn ended(tx: &mut Tx, versions: &Versions) -> Result<i64> {
    match versions {
        Versions::Plan(plans) => match plans.first() {
            Some(plan) => Ok(store::subscriptions::ended_of_plan(tx, plan.id).await?),
            None => Ok(0),
        },
        Versions::AddOn(_) | Versions::Discount(_) => Ok(0),
    }
}
