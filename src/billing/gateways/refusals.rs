//! Gateways that refuse the merchant's account: every daemon rests there, an operator is told once, and a probe ends it.
//!
//! Guards "nothing is refused for ever in silence". No dunning step is spent meanwhile, and no customer is told.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Call, bring_forward};
use crate::{
    billing::{App, Result},
    domain::{
        account_refusal::{AccountRefusal, BETWEEN_PROBES, next_probe_at},
        cap::credential,
        clock::Timeline,
        event::Actor,
    },
    gateway::circuit::Health,
    store::{self, Tx, gateways::GatewayRefusal},
};

/// How long after the others an invoice waits whose gateway refused the merchant's account: the next probe is another invoice.
pub(crate) const BEHIND: TimeDelta = TimeDelta::seconds(1);

/// Reads which gateways refuse the account, as whichever daemon found out. They stay locked until the transaction ends.
pub(super) async fn remember(app: &App, tx: &mut Tx) -> Result<Vec<GatewayRefusal>> {
    let refusals = store::gateways::lock_refusals(tx).await?;
    for (name, health) in app.gateways.all() {
        health.set_refused(refusals.iter().find(|refusal| refusal.gateway == name).map(known));
    }
    Ok(refusals)
}

fn known(row: &GatewayRefusal) -> AccountRefusal {
    let GatewayRefusal { reason, refused_at, next_probe_at, .. } = row.clone();
    AccountRefusal { reason, refused_at, next_probe_at }
}

/// Lets one more payment through in real time, and says when the one after it comes.
pub(super) fn probe(app: &App, row: &mut GatewayRefusal) -> DateTime<Utc> {
    row.probes += 1;
    row.next_probe_at = next_probe_at(row.probes, &app.config.collection.gateway_fault_backoff, app.clock.now());
    row.next_probe_at
}

/// Notes that a gateway refused the account, by whichever call. The first one says so.
pub(crate) async fn refuse(app: &App, gateway: &str, call: Option<&Call>, reason: &str) {
    let Some(health) = app.gateways.health(gateway) else { return };
    // What is known is not written again for each of the calls that are under way.
    let is_known = health.refused().is_some_and(|refusal| refusal.next_probe_at > app.clock.now());
    let written = if is_known { Ok(()) } else { record(app, gateway, health, reason).await };
    if let Err(error) = written {
        tracing::warn!(%error, gateway, reason, "a gateway refuses the account, which could not be recorded");
    }
    if let Some(call) = call.filter(|call| call.timeline != Timeline::Wall) {
        health.wait_with_probes(call.timeline, call.now + BETWEEN_PROBES);
    }
}

async fn record(app: &App, gateway: &str, health: &Health, reason: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let wall = app.clock.now();
    let rows = store::gateways::lock_refusals(&mut tx).await?;
    let row = if let Some(mut row) = rows.into_iter().find(|row| row.gateway == gateway) {
        reason.clone_into(&mut row.reason);
        if row.next_probe_at <= wall {
            probe(app, &mut row);
        }
        store::gateways::save_refusal(&mut tx, row.clone()).await?;
        row
    } else {
        let row = GatewayRefusal {
            gateway: gateway.to_owned(),
            reason: reason.to_owned(),
            key_digest: key_digest(app, gateway),
            probes: 0,
            refused_at: wall,
            next_probe_at: next_probe_at(0, &app.config.collection.gateway_fault_backoff, wall),
        };
        match store::gateways::refuse(&mut tx, row.clone()).await {
            // Another daemon was first, and has told.
            Err(store::Error::Conflict) => return Ok(()),
            done => done?,
        }
        let event = app.event(Timeline::Wall, wall, &Actor::System, "gateway.refused", gateway, json!({ "reason": reason }));
        store::events::append(&mut tx, &[event]).await?;
        tracing::error!(gateway, reason, "the gateway refuses the account: nothing is charged there until that is mended");
        row
    };
    tx.commit().await?;
    health.set_refused(Some(known(&row)));
    Ok(())
}

/// A call was accepted: if it was a probe, the gateway takes the account again. `begun_at`: wall time, when the call was made.
pub(crate) async fn accepted(app: &App, gateway: &str, call: Option<&Call>, begun_at: DateTime<Utc>) {
    let Some(health) = app.gateways.health(gateway) else { return };
    let Some(refusal) = health.refused() else { return };
    // A call without an order, such as a request to pay, was made since only if it was let through.
    let proves = call.map_or(refusal.refused_at < begun_at, |call| health.probes_refusal(call.order));
    if proves && let Err(error) = end(app, &Actor::System, gateway, "probe").await {
        tracing::warn!(%error, gateway, "the end of a refusal could not be recorded");
    }
}

/// Ends a refusal: what waits for the gateway is due at once, on every clock. False: there was none.
pub(super) async fn end(app: &App, actor: &Actor, gateway: &str, ended_by: &str) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let wall = app.clock.now();
    let Some(row) = store::gateways::end_refusal(&mut tx, gateway).await? else { return Ok(false) };
    let data = json!({ "refused_at": row.refused_at, "reason": row.reason, "ended_by": ended_by });
    let event = app.event(Timeline::Wall, wall, actor, "gateway.resumed", gateway, data);
    store::events::append(&mut tx, &[event]).await?;
    store::gateways::look_up_now(&mut tx, gateway, wall).await?;
    tx.commit().await?;
    tracing::info!(gateway, ended_by, "the gateway takes the account again: what waits there goes on");
    if let Some(health) = app.gateways.health(gateway) {
        health.set_refused(None);
    }
    bring_forward(app, Timeline::Wall, wall, row.next_probe_at.max(wall) + BEHIND).await?;
    for clock in store::clocks::all(&app.db).await? {
        bring_forward(app, Timeline::Test(clock.id), clock.now_at, clock.now_at + BETWEEN_PROBES + BEHIND).await?;
    }
    app.wakeups.collect.notify_one();
    app.wakeups.authorize.notify_one();
    app.wakeups.look_up.notify_one();
    Ok(true)
}

/// Ends the refusals of keys that the settings do not name any more: for the start of a daemon.
pub async fn forget_replaced_keys(app: &App) -> Result<()> {
    for row in store::gateways::refused(&app.db).await? {
        if app.gateways.get(&row.gateway).is_some() && row.key_digest != key_digest(app, &row.gateway) {
            end(app, &Actor::System, &row.gateway, "another key").await?;
        }
    }
    Ok(())
}

/// What the gateway knows the merchant by, so that it can be told from another without being kept.
fn key_digest(app: &App, gateway: &str) -> String {
    let config = app.config.gateways.get(gateway);
    let parts = config.map(|config| [config.api_key.expose_secret(), &config.merchant_id, &config.base_url]);
    credential(gateway, parts.map_or([None; 3], |parts| parts.map(Some)))
}
