//! Installment plans taken over amid their course: what was paid elsewhere counts as paid, and is never charged.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::{InstallmentPlanRow, Nows, PAGE, Prepared, Sheet, again, payers};
use crate::{
    billing::{
        App, Result,
        checks::Checks,
        installment_plans::create::{self, InstallmentPlanRefs},
    },
    domain::{
        event::{Actor, Event},
        installment_plan::{Installment, InstallmentPlan, InstallmentSchedule},
    },
    store::{self, Tx},
};

pub(crate) async fn prepare(
    app: &App,
    prepared: &mut Prepared,
    rows: Vec<InstallmentPlanRow>,
    unread: &HashSet<String>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let payers = payers(app, prepared, rows.iter().map(|row| &row.input.customer.id)).await?;
    let references: Vec<&str> = rows.iter().filter_map(|row| row.input.reference.as_deref()).collect();
    let mut there = HashMap::new();
    for page in references.chunks(PAGE) {
        there.extend(store::installments::referenced(&app.db, page).await?);
    }
    let mut nows = Nows::default();
    let mut lines = HashMap::new();
    for InstallmentPlanRow { line, input } in rows {
        let mut checks = Checks::default();
        let key = input.reference.clone().unwrap_or_default();
        if let Some(known) = there.get(&key) {
            checks.fault("reference", format!("is {known}'s already: this row has been imported before"));
        }
        again(&mut checks, &mut lines, key, line);
        let customer = payers.get(&input.customer.id);
        let now = nows.of(app, customer).await?;
        let told_already = customer.is_none() && unread.contains(&input.customer.id);
        let named = InstallmentPlanRefs { customer, methods: &[], policy: None };
        match create::draft(app, &mut checks, &named, input, now) {
            Ok(schedule) => prepared.installment_plans.push((line, schedule)),
            // What does not add up has been told of, unless this program is wrong.
            Err(unsound) if checks.is_clean() => checks.fault("", unsound.to_string()),
            Err(_) => {}
        }
        prepared.note(Sheet::InstallmentPlans, line, checks, |field| !(told_already && field == "customer.id"));
    }
    Ok(())
}

/// Writes them, in pages.
pub(crate) async fn store(app: &App, tx: &mut Tx, actor: &Actor, plans: &[(u64, InstallmentSchedule)]) -> store::Result<()> {
    for page in plans.chunks(PAGE) {
        let plans: Vec<InstallmentPlan> = page.iter().map(|(_, schedule)| schedule.plan.clone()).collect();
        let parts: Vec<Installment> = page.iter().flat_map(|(_, schedule)| schedule.installments.clone()).collect();
        store::installments::insert_many(tx, &plans, &parts).await?;
        let created = |(_, schedule): &(u64, InstallmentSchedule)| {
            let plan = &schedule.plan;
            let data = json!({ "after": schedule });
            app.event(plan.timeline, plan.created_at, actor, "installment_plan.created", plan.id, data)
        };
        store::events::append(tx, &page.iter().map(created).collect::<Vec<Event>>()).await?;
    }
    Ok(())
}
