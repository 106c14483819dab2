//! Gateways that are not charged now: what is due at one that is down or paused waits without an attempt; all else goes on.
//!
//! Guards "a gateway outage is never shown as a declined card": a closed circuit calls, an open one waits, a half-open one lets a
//! few payments through. A test clock lives through an outage in its own time, along `collection.gateway_fault_backoff`.

pub mod refusals;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{App, BillingError, Result};
use crate::{
    domain::{
        account_refusal::BETWEEN_PROBES,
        authorization::Authorization,
        breaker::{Admission, CallResult, CircuitChange, OperationId},
        clock::Timeline,
        event::Actor,
        payment::{Payment, transition::Resend},
        payment_request::PaymentRequest,
    },
    gateway::circuit::{Health, OperatorPause},
    store::{
        self, Tx,
        gateways::{GatewayPause, GatewayRefusal},
    },
};

/// Invoices that are brought forward by one statement.
const BROUGHT_FORWARD: i64 = 10_000;

/// What a claim may send to which gateway.
pub(crate) struct Admissions<'a> {
    app: &'a App,
    timeline: Timeline,
    now: DateTime<Utc>,
    /// Of the gateways that are not charged freely.
    holds: BTreeMap<&'a str, Admission>,
    /// Gateways that refuse the merchant's account.
    refusals: Vec<GatewayRefusal>,
    /// Those of them to which one more payment goes, to see whether that is over.
    probed: Vec<GatewayRefusal>,
}

impl<'a> Admissions<'a> {
    pub(crate) async fn read(app: &'a App, tx: &mut Tx, timeline: Timeline, now: DateTime<Utc>) -> Result<Self> {
        let refusals = remember(app, tx).await?;
        let all = app.gateways.all().map(|(name, health)| (name, hold(app, health, timeline, now)));
        let holds = all.filter(|(_, hold)| *hold != Admission::Free).collect();
        Ok(Self { app, timeline, now, holds, refusals, probed: Vec::new() })
    }

    /// Until when this gateway is not charged. None: it may be charged now.
    pub(crate) fn until(&self, gateway: &str) -> Option<DateTime<Utc>> {
        match self.holds.get(gateway)? {
            Admission::Free => None,
            Admission::NotBefore(until) => Some(*until),
            // By then the probes under way will have shown how the gateway is.
            Admission::Probes(places) => (*places == 0).then(|| self.now + first_wait(self.app, gateway, self.timeline)),
        }
    }

    /// One more goes there.
    pub(crate) fn take(&mut self, gateway: &str) {
        if let Some(Admission::Probes(places)) = self.holds.get_mut(gateway) {
            *places = places.saturating_sub(1);
        }
        self.take_request(gateway);
    }

    /// Like [`Self::take`], for a request to pay: only a refusal of the account counts it.
    pub(crate) fn take_request(&mut self, gateway: &str) {
        let Some(index) = self.refusals.iter().position(|row| row.gateway == gateway) else { return };
        let (Some((name, _)), Some(health)) = (self.holds.get_key_value(gateway), self.app.gateways.health(gateway)) else {
            return;
        };
        let (name, mut row) = (*name, self.refusals.swap_remove(index));
        let next = if self.timeline == Timeline::Wall {
            let next = refusals::probe(self.app, &mut row);
            self.probed.push(row);
            next
        } else {
            self.now + BETWEEN_PROBES
        };
        health.grant_probe(self.timeline, next);
        self.holds.insert(name, Admission::NotBefore(next));
    }

    /// Saves which gateways are probed.
    pub(crate) async fn save(&self, tx: &mut Tx) -> Result<()> {
        for row in &self.probed {
            store::gateways::save_refusal(tx, row.clone()).await?;
        }
        Ok(())
    }
}

/// Reads what operators have paused, and which gateways refuse the account, on whichever daemon. Answers the refusals.
pub(crate) async fn remember(app: &App, tx: &mut Tx) -> Result<Vec<GatewayRefusal>> {
    let pauses = store::gateways::pauses(tx).await?;
    for (name, health) in app.gateways.all() {
        let pause = pauses.iter().find(|pause| pause.gateway == name);
        health.set_pause(pause.map(|pause| OperatorPause { reason: pause.reason.clone(), paused_at: pause.paused_at }));
    }
    refusals::remember(app, tx).await
}

fn hold(app: &App, health: &Health, timeline: Timeline, now: DateTime<Utc>) -> Admission {
    health.hold(timeline, now, longest_wait(app))
}

fn longest_wait(app: &App) -> TimeDelta {
    app.config.collection.gateway_fault_backoff.last().copied().unwrap_or(TimeDelta::days(1))
}

/// How long a circuit stays open on a test clock.
fn waits(app: &App) -> &[TimeDelta] {
    &app.config.collection.gateway_fault_backoff
}

/// How long a circuit first stays open.
fn first_wait(app: &App, gateway: &str, timeline: Timeline) -> TimeDelta {
    let real = app.gateways.health(gateway).filter(|_| timeline == Timeline::Wall).map(|health| health.shortest_wait());
    real.or_else(|| waits(app).first().copied()).unwrap_or(TimeDelta::minutes(1))
}

/// Until when a gateway is not charged: it is paused, or its circuit is open.
pub(crate) fn rests_until(app: &App, gateway: &str, timeline: Timeline, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match hold(app, app.gateways.health(gateway)?, timeline, now) {
        Admission::NotBefore(until) => Some(until),
        Admission::Free | Admission::Probes(_) => None,
    }
}

/// A call that moves or authorizes money: at which gateway, by whose clock, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    gateway: String,
    timeline: Timeline,
    /// By that clock. A test clock stands still while something is under way.
    now: DateTime<Utc>,
    order: OperationId,
}

impl Call {
    pub(crate) fn of(app: &App, payment: &Payment) -> Self {
        let Payment { id, timeline, gateway, created_at, .. } = payment;
        Self::new(app, gateway, *timeline, *created_at, *id)
    }

    pub(crate) fn authorizing(app: &App, authorization: &Authorization) -> Self {
        let Authorization { id, timeline, gateway, created_at, .. } = authorization;
        Self::new(app, gateway, *timeline, *created_at, *id)
    }

    pub(crate) fn asking(app: &App, request: &PaymentRequest) -> Self {
        let PaymentRequest { id, timeline, gateway, created_at, .. } = request;
        Self::new(app, gateway, *timeline, *created_at, *id)
    }

    fn new(app: &App, gateway: &str, timeline: Timeline, created_at: DateTime<Utc>, order: impl Into<OperationId>) -> Self {
        let now = if timeline == Timeline::Wall { app.clock.now() } else { created_at };
        Self { gateway: gateway.to_owned(), timeline, now, order: order.into() }
    }
}

/// Lets a payment through that may be sent again, or says when to try. `now` is of its timeline.
pub(crate) fn send_again(app: &App, payment: &Payment, now: DateTime<Utc>) -> Resend {
    let Some(health) = app.gateways.health(&payment.gateway) else { return Resend::Allowed };
    match hold(app, health, payment.timeline, now) {
        Admission::Free => Resend::Allowed,
        Admission::Probes(places) if places > 0 || health.is_probe(payment.timeline, payment.id.into()) => {
            if health.refused().is_some() {
                // Here nothing is written: another daemon may send another one, which does no harm.
                health.grant_probe(payment.timeline, now + first_wait(app, &payment.gateway, payment.timeline));
            }
            health.let_through(payment.timeline, payment.id.into());
            Resend::Allowed
        }
        Admission::Probes(_) => Resend::NotBefore(now + first_wait(app, &payment.gateway, payment.timeline)),
        Admission::NotBefore(until) => Resend::NotBefore(until),
    }
}

/// Frees the slot of a probe when its operation has ended, in whatever way.
pub(crate) struct ProbeSlot<'a>(&'a App, Call);

impl<'a> ProbeSlot<'a> {
    /// Of a call that was claimed. With `through` it goes to the gateway: as a probe where the circuit is half open.
    pub(crate) fn of(app: &'a App, call: Call, through: bool) -> Self {
        if let Some(health) = app.gateways.health(&call.gateway).filter(|_| through) {
            health.let_through(call.timeline, call.order);
        }
        Self(app, call)
    }
}

impl Drop for ProbeSlot<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.0.gateways.health(&self.1.gateway) {
            health.leave(self.1.timeline, self.1.order);
        }
    }
}

/// Until when a call that waited for its turn must not be made after all: its gateway went down meanwhile.
pub(crate) fn too_late_for(app: &App, call: &Call) -> Option<DateTime<Utc>> {
    let health = app.gateways.health(&call.gateway)?;
    match health.hold_call(call.timeline, call.now, longest_wait(app), call.order) {
        Admission::NotBefore(until) => Some(until),
        Admission::Free | Admission::Probes(_) => None,
    }
}

/// Notes what a call met. The first to open or close a circuit says so.
pub(crate) async fn note(app: &App, call: &Call, met: CallResult) {
    let Some(health) = app.gateways.health(&call.gateway) else { return };
    let change = health.note(call.timeline, call.now, waits(app), call.order, &met);
    let Some(change) = change else { return };
    if let Err(error) = tell(app, call, change, &met).await {
        tracing::warn!(%error, gateway = call.gateway, "a change of the circuit could not be recorded");
    }
}

async fn tell(app: &App, call: &Call, change: CircuitChange, met: &CallResult) -> Result<()> {
    let Call { gateway, timeline, now, .. } = call;
    let (timeline, now) = (*timeline, *now);
    let mut tx = app.db.begin().await?;
    let event = match change {
        CircuitChange::Opened => {
            let until = rests_until(app, gateway, timeline, now);
            let reason = if let CallResult::Fault { message, .. } = met { message.as_str() } else { "" };
            tracing::warn!(gateway, reason, ?until, "the gateway is left alone: what is due there waits");
            let data = json!({ "until": until, "reason": reason });
            app.event(timeline, now, &Actor::System, "gateway.circuit_opened", gateway, data)
        }
        CircuitChange::Closed => {
            tracing::info!(gateway, "the gateway answers again: what waits there goes on");
            store::gateways::look_up_now(&mut tx, gateway, app.clock.now()).await?;
            app.wakeups.look_up.notify_one();
            app.event(timeline, now, &Actor::System, "gateway.circuit_closed", gateway, json!({}))
        }
    };
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    if change == CircuitChange::Closed {
        bring_forward(app, timeline, now, now + first_wait(app, gateway, timeline)).await?;
        app.wakeups.collect.notify_one();
    }
    Ok(())
}

/// Charges nothing more at a gateway, on any daemon, until somebody resumes it. What is under way may end.
pub async fn pause(app: &App, actor: &Actor, gateway: &str, reason: &str) -> Result<()> {
    let health = app.gateways.health(gateway).ok_or_else(|| BillingError::not_found("gateway", gateway))?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let row = GatewayPause { gateway: gateway.to_owned(), reason: reason.to_owned(), actor: actor.text(), paused_at: now };
    match store::gateways::pause(&mut tx, row).await {
        Err(store::Error::Conflict) => return Err(BillingError::WrongState(format!("gateway {gateway} is paused already"))),
        done => done?,
    }
    let event = app.event(Timeline::Wall, now, actor, "gateway.paused", gateway, json!({ "reason": reason }));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    health.set_pause(Some(OperatorPause { reason: reason.to_owned(), paused_at: now }));
    Ok(())
}

/// Ends a pause, and a refusal of the account: what waits for the gateway is due at once.
pub async fn resume(app: &App, actor: &Actor, gateway: &str) -> Result<()> {
    let health = app.gateways.health(gateway).ok_or_else(|| BillingError::not_found("gateway", gateway))?;
    let was_refused = refusals::end(app, actor, gateway, "operator").await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let Some(row) = store::gateways::resume(&mut tx, gateway).await? else {
        return if was_refused {
            Ok(())
        } else {
            Err(BillingError::WrongState(format!("gateway {gateway} is not paused, and does not refuse the account")))
        };
    };
    let event = app.event(Timeline::Wall, now, actor, "gateway.resumed", gateway, json!({ "paused_at": row.paused_at }));
    store::events::append(&mut tx, &[event]).await?;
    store::gateways::look_up_now(&mut tx, gateway, now).await?;
    tx.commit().await?;
    health.set_pause(None);
    let until = OperatorPause { reason: row.reason, paused_at: row.paused_at }.look_again(now);
    bring_forward(app, Timeline::Wall, now, until).await?;
    app.wakeups.collect.notify_one();
    app.wakeups.look_up.notify_one();
    Ok(())
}

/// What waits for a gateway until this instant is due at once. Whatever waits for another one is made to wait again.
async fn bring_forward(app: &App, timeline: Timeline, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<()> {
    loop {
        let mut tx = app.db.begin().await?;
        let moved = store::gateways::bring_forward(&mut tx, timeline, now, until, BROUGHT_FORWARD).await?;
        tx.commit().await?;
        if moved < BROUGHT_FORWARD as u64 {
            return Ok(());
        }
    }
}
