//! Roll-outs over real histories, on both databases: what was listed is what happens, once for each subscription.

mod crash;
mod crowd;
mod listed;

use std::sync::Arc;

use rebilld::{
    billing::{
        App,
        plans::{self, PlanInput, PlanPatch},
        roll_outs::{self, Listed, RollOutTotals, SubscriptionLine},
    },
    domain::{
        event::Actor,
        frequency::Frequency,
        plan::Plan,
        roll_out::{Effect, EntryType, Options, Overrides},
    },
    store::tables,
};
use serde_json::Value;

use crate::world::World;

pub fn options(when: Effect) -> Options {
    Options { when, fields: None, overrides: Overrides::Keep, keep_anchor: false }
}

pub fn priced(amount: i64) -> PlanPatch {
    PlanPatch { amount: Some(amount), ..PlanPatch::default() }
}

/// Gold, 10.00 USD a month.
pub async fn gold(world: &World) -> Plan {
    let frequency = Frequency::Monthly;
    let input = PlanInput { name: "Gold".into(), amount: 1000, billing_frequency: frequency, ..PlanInput::default() };
    plans::create(&world.app, &Actor::System, input).await.expect("a plan")
}

pub async fn edit(app: &Arc<App>, plan: &Plan, patch: PlanPatch) -> Plan {
    plans::update(app, &Actor::System, &plan.id.to_string(), patch).await.expect("edited")
}

/// Every page of the list, with the totals and the revision.
pub async fn list(app: &App, plan: &Plan, options: &Options) -> (String, RollOutTotals, Vec<SubscriptionLine>) {
    let (mut lines, mut totals, mut after): (Vec<SubscriptionLine>, _, _) = (Vec::new(), None, None);
    loop {
        let page = roll_outs::list(app, EntryType::Plan, &plan.id.to_string(), options.clone(), after, 7).await.expect("a page");
        let Listed { revision, totals: first, lines: more, has_more, .. } = page;
        totals = totals.or(first);
        lines.extend(more);
        after = lines.last().map(|line| line.subscription_id);
        if !has_more {
            return (revision, totals.expect("with the first page"), lines);
        }
    }
}

/// Every row of every table.
pub async fn everything(app: &App) -> Vec<(&'static str, Vec<Value>)> {
    let mut rows = Vec::new();
    let sink = |table: &'static tables::Table, fields| {
        rows.push((table.name, fields));
        Ok::<_, rebilld::store::Error>(())
    };
    tables::read(&app.db, tables::TABLES.iter(), sink).await.expect("read");
    rows
}
