//! Dunning policies: made, changed and removed by an operator, or written in the settings and taken over from there.
//!
//! A change takes effect at the next failure: an attempt that is scheduled already keeps its time.

use serde_json::json;

use super::{App, BillingError, Result, checks::Checks};
use crate::{
    config::Config,
    domain::{
        clock::Timeline,
        dunning::{ByClass, Channel, DunningRules, FinalAction, LocalTime, Override, Policy, PolicySource, Step},
        event::{Actor, Event, difference},
        id::{DunningPolicy, DunningPolicyId},
    },
    input::{Patch, body},
    store::{self, Tx},
};

body! {
    /// The nth step follows the nth failure.
    #[derive(Default)]
    pub struct StepInput {
        /// Local calendar days after the first failure. 0: at once, or with `at` that very day.
        pub after_days: i64 in 0..=365,
        /// Local hour of the charge, `HH:MM`; left out: the one at which bills are run.
        pub at: Option<LocalTime>,
        /// By which the customer is told of the failure that this step follows.
        pub channels: Option<Vec<Channel>>,
        /// Charge the customer's next stored method that was not tried yet.
        pub next_method: bool = false,
    }
}

body! {
    /// Steps for one class of decline alone.
    #[derive(Default)]
    pub struct OverrideInput {
        pub steps: Vec<StepInput>,
        /// Left out: the policy's.
        pub final_action: Option<FinalAction>,
    }
}

body! {
    /// Steps for declines of one class, taken as they are written. A class that is left out follows the policy's own steps; after
    /// a `hard` or `new_card_needed` decline those only charge another method.
    #[derive(Default)]
    pub struct ByClassInput {
        pub soft: Option<OverrideInput>,
        pub try_later: Option<OverrideInput>,
        pub hard: Option<OverrideInput>,
        pub new_card_needed: Option<OverrideInput>,
    }
}

body! {
    #[derive(Default)]
    pub struct DunningPolicyInput {
        /// The id of the record in another system. Requests may use this id in place of ours.
        pub reference: Option<String> line up to 255,
        pub name: String line up to 255,
        /// Rising; none at all: the first failure is the last.
        pub steps: Vec<StepInput>,
        pub by_class: Option<ByClassInput>,
        /// What ends a ladder that did not bring the money; left out: the configured one.
        pub final_action: Option<FinalAction>,
        /// Whether it holds where neither subscription nor installment plan names one.
        pub is_default: bool = false,
    }
}

body! {
    /// What is left out stays. It holds from the next failure on: an attempt that is scheduled already stays where it is, and what
    /// follows its failure is the step after as many failures as there were by then.
    #[derive(Default)]
    pub struct DunningPolicyPatch {
        pub reference: Patch<String> line up to 255,
        pub name: Option<String> line up to 255,
        /// All of them anew.
        pub steps: Option<Vec<StepInput>>,
        /// All of it anew; null takes it away.
        pub by_class: Patch<ByClassInput>,
        pub final_action: Option<FinalAction>,
        pub is_default: Option<bool>,
    }
}

impl From<StepInput> for Step {
    fn from(input: StepInput) -> Self {
        let StepInput { after_days, at, channels, next_method } = input;
        // The field allows 365 days at most, so every number fits.
        let after_days = u32::try_from(after_days).unwrap_or(0);
        Self { after_days, at, channels: channels.unwrap_or_default(), next_method }
    }
}

impl From<OverrideInput> for Override {
    fn from(input: OverrideInput) -> Self {
        Self { steps: steps(input.steps), final_action: input.final_action }
    }
}

impl From<ByClassInput> for ByClass {
    fn from(input: ByClassInput) -> Self {
        let ByClassInput { soft, try_later, hard, new_card_needed } = input;
        let [soft, try_later, hard, new_card_needed] =
            [soft, try_later, hard, new_card_needed].map(|class| class.map(Override::from));
        Self { soft, try_later, hard, new_card_needed }
    }
}

fn steps(inputs: Vec<StepInput>) -> Vec<Step> {
    inputs.into_iter().map(Step::from).collect()
}

pub async fn create(app: &App, actor: &Actor, input: DunningPolicyInput) -> Result<Policy> {
    let mut checks = Checks::default();
    checks.reference::<DunningPolicy>(input.reference.as_deref());
    let now = app.clock.now();
    let policy = Policy {
        id: app.id(),
        reference: input.reference,
        name: input.name,
        steps: steps(input.steps),
        by_class: input.by_class.map(ByClass::from).unwrap_or_default(),
        final_action: input.final_action.unwrap_or(app.dunning_rules().final_action),
        is_default: input.is_default,
        source: PolicySource::Api,
        created_at: now,
        updated_at: now,
    };
    check(app, &mut checks, &policy);
    checks.done()?;
    let mut tx = app.db.begin().await?;
    let mut events = if policy.is_default { replace_default(app, actor, &mut tx, policy.id).await? } else { Vec::new() };
    store::dunning_policies::insert(&mut tx, &policy).await.map_err(BillingError::reference_taken("policy"))?;
    events.push(event(app, actor, "dunning_policy.created", &policy, json!({ "after": policy })));
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(policy)
}

pub async fn update(app: &App, actor: &Actor, key: &str, patch: DunningPolicyPatch) -> Result<Policy> {
    let mut tx = app.db.begin().await?;
    let before = locked(&mut tx, key).await?;
    let mut checks = Checks::default();
    checks.reference::<DunningPolicy>(patch.reference.value().map(String::as_str));
    let policy = Policy {
        reference: patch.reference.change().unwrap_or_else(|| before.reference.clone()),
        name: patch.name.unwrap_or_else(|| before.name.clone()),
        steps: patch.steps.map_or_else(|| before.steps.clone(), steps),
        by_class: match patch.by_class {
            Patch::Absent => before.by_class.clone(),
            Patch::Null => ByClass::default(),
            Patch::Value(by_class) => by_class.into(),
        },
        final_action: patch.final_action.unwrap_or(before.final_action),
        is_default: patch.is_default.unwrap_or(before.is_default),
        updated_at: app.clock.now(),
        ..before
    };
    check(app, &mut checks, &policy);
    checks.done()?;
    let becomes_default = policy.is_default && !before.is_default;
    let mut events = if becomes_default { replace_default(app, actor, &mut tx, policy.id).await? } else { Vec::new() };
    store::dunning_policies::save(&mut tx, &policy).await.map_err(BillingError::reference_taken("policy"))?;
    events.push(event(app, actor, "dunning_policy.updated", &policy, difference(&before, &policy)));
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(policy)
}

/// Refused while it is the default, or anything names it that has not ended.
pub async fn delete(app: &App, actor: &Actor, key: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let policy = locked(&mut tx, key).await?;
    if policy.is_default {
        return Err(BillingError::WrongState("it is the default: make another policy the default first".to_owned()));
    }
    if let Some(user) = store::dunning_policies::named_by(&mut tx, policy.id).await? {
        return Err(BillingError::WrongState(format!("{user} is under it: give that another policy first")));
    }
    store::dunning_policies::delete(&mut tx, policy.id).await?;
    let event = event(app, actor, "dunning_policy.deleted", &policy, json!({ "before": policy }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(())
}

async fn locked(tx: &mut Tx, key: &str) -> Result<Policy> {
    let policy = store::dunning_policies::lock(tx, key).await?.ok_or_else(|| BillingError::not_found("dunning policy", key))?;
    if policy.source == PolicySource::Configuration {
        let name = policy.reference.unwrap_or(policy.name);
        return Err(BillingError::WrongState(format!(
            "it is written in the settings, at [dunning.{name}]: change it there, and reload"
        )));
    }
    Ok(policy)
}

fn check(app: &App, checks: &mut Checks, policy: &Policy) {
    for (path, message) in policy.dunning_rules().faults(app.rules.bill_at) {
        checks.fault(path, message);
    }
}

/// Clears the mark of the present default, so that this policy can be the default. Refused where the settings name the default.
async fn replace_default(app: &App, actor: &Actor, tx: &mut Tx, id: DunningPolicyId) -> Result<Vec<Event>> {
    let all = store::dunning_policies::lock_all(tx).await?;
    let Some(before) = all.into_iter().find(|policy| policy.is_default && policy.id != id) else { return Ok(Vec::new()) };
    if before.source == PolicySource::Configuration {
        return Err(BillingError::WrongState(
            "the settings name the default, at collection.dunning_policy: change it there".to_owned(),
        ));
    }
    store::dunning_policies::clear_default(tx).await?;
    let after = Policy { is_default: false, ..before.clone() };
    Ok(vec![event(app, actor, "dunning_policy.updated", &after, difference(&before, &after))])
}

/// The policy that a request names, locked until the commit. None: there is no such policy, and a fault was added to `checks`.
pub(crate) async fn named(tx: &mut Tx, checks: &mut Checks, key: Option<&str>) -> Result<Option<DunningPolicyId>> {
    let Some(key) = key else { return Ok(None) };
    let found = store::dunning_policies::hold(tx, key).await?;
    if found.is_none() {
        checks.fault("dunning_policy_id", format!("there is no dunning policy {}", key.escape_debug()));
    }
    Ok(found.map(|policy| policy.id))
}

/// Stores the policies of the settings: at the start, and when the settings are read again. A policy that has left the settings is
/// deleted, or becomes an operator's if anything uses it. Returns what was changed, for the log.
pub async fn configure(app: &App, config: &Config) -> Result<Vec<String>> {
    match taken_over(app, config).await {
        // Another daemon started at the same moment.
        Err(BillingError::Store(store::Error::Conflict)) => taken_over(app, config).await,
        done => done,
    }
}

async fn taken_over(app: &App, config: &Config) -> Result<Vec<String>> {
    let now = app.clock.now();
    let written = config.policies();
    let default = config.collection.dunning_policy.as_str();
    let mut tx = app.db.begin().await?;
    let known = store::dunning_policies::lock_all(&mut tx).await?;
    let mut events = Vec::new();
    let mut log = Vec::new();
    let mut saved = Vec::new();
    for before in &known {
        let name = before.reference.as_deref().unwrap_or_default();
        let mut after = before.clone();
        match written.get(name) {
            Some(dunning_rules) => after = put_over(after, name, dunning_rules.clone()),
            None if before.source == PolicySource::Configuration => {
                after.is_default = false;
                if store::dunning_policies::named_by(&mut tx, before.id).await?.is_none() {
                    store::dunning_policies::delete(&mut tx, before.id).await?;
                    events.push(event(app, &Actor::System, "dunning_policy.deleted", before, json!({ "before": before })));
                    log.push(format!("{name} removed"));
                    continue;
                }
                after.source = PolicySource::Api;
                log.push(format!("{name} has left the settings, and stays as it was, since something is under it"));
            }
            None => {}
        }
        if !default.is_empty() || before.source == PolicySource::Configuration {
            after.is_default = !default.is_empty() && name == default;
        }
        if after != *before {
            after.updated_at = now;
            events.push(event(app, &Actor::System, "dunning_policy.updated", &after, difference(before, &after)));
            log.push(format!("{name} changed"));
            saved.push(after);
        }
    }
    // One at most is the default at any moment.
    saved.sort_by_key(|policy| policy.is_default);
    for policy in &saved {
        store::dunning_policies::save(&mut tx, policy).await?;
    }
    for (name, dunning_rules) in written {
        if known.iter().any(|policy| policy.reference.as_deref() == Some(name)) {
            continue;
        }
        let policy = Policy {
            id: app.id(),
            reference: Some(name.to_owned()),
            name: name.to_owned(),
            steps: Vec::new(),
            by_class: ByClass::default(),
            final_action: dunning_rules.final_action,
            is_default: name == default,
            source: PolicySource::Configuration,
            created_at: now,
            updated_at: now,
        };
        let policy = put_over(policy, name, dunning_rules);
        store::dunning_policies::insert(&mut tx, &policy).await?;
        events.push(event(app, &Actor::System, "dunning_policy.created", &policy, json!({ "after": policy })));
        log.push(format!("{name} added"));
    }
    if !events.is_empty() {
        store::events::append(&mut tx, &events).await?;
        tx.commit().await?;
    }
    app.set_dunning_rules(config.collection.dunning_rules());
    Ok(log)
}

fn put_over(policy: Policy, name: &str, dunning_rules: DunningRules) -> Policy {
    let DunningRules { steps, by_class, final_action } = dunning_rules;
    Policy { name: name.to_owned(), steps, by_class, final_action, source: PolicySource::Configuration, ..policy }
}

fn event(app: &App, actor: &Actor, kind: &str, policy: &Policy, data: serde_json::Value) -> Event {
    app.event(Timeline::Wall, app.clock.now(), actor, kind, policy.id, data)
}
