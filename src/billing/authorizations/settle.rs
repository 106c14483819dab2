//! Writes an answer about an authorization down. Whatever it is, the subscription is looked at again, which finds what is to be done next.

use chrono::{DateTime, Utc};

use super::event;
use crate::{
    billing::{App, Result, gateway_operations::retry, payment_methods::end_mandates},
    config::DEFAULT_AUTHORIZATION_LIFETIME,
    domain::{
        authorization::{
            Authorization,
            transition::{AuthorizationReply, Effect, Facts, Transition, decide, decide_late},
        },
        event::Event,
        subscription::Subscription,
    },
    store::{self, Tx},
};

/// Writes an answer down; says what to ask next, if anything. Tries again where the database was in the way: money may be authorized.
pub(super) async fn settle(app: &App, claimed: &Authorization, answer: &AuthorizationReply) -> Result<Option<Authorization>> {
    retry::settle(app, claimed.id, || once(app, claimed, answer)).await
}

async fn once(app: &App, claimed: &Authorization, answer: &AuthorizationReply) -> Result<Option<Authorization>> {
    let mut tx = app.db.begin().await?;
    // The subscription first, as everyone locks.
    let Some(subscription) = store::subscriptions::lock(&mut tx, claimed.subscription_id).await? else { return Ok(None) };
    let Some(authorization) = store::authorizations::lock(&mut tx, claimed.id).await? else { return Ok(None) };
    if authorization.lease_token != claimed.lease_token {
        if let Some(again) = decide_late(authorization, claimed.status, answer, app.clock.now()) {
            store::authorizations::save(&mut tx, &[again]).await?;
            tx.commit().await?;
            app.wakeups.look_up.notify_one();
        }
        return Ok(None);
    }
    let now = app.now_in(&mut tx, authorization.timeline).await?;
    let before = authorization.status;
    let transition = decided(app, authorization, &subscription, answer, now);
    save(app, &mut tx, subscription, &transition, now).await?;
    tx.commit().await?;
    let Transition { authorization, calls_again, .. } = transition;
    if authorization.status != before {
        app.wakeups.authorize.notify_one();
    }
    Ok(calls_again.then_some(authorization))
}

fn decided(
    app: &App,
    authorization: Authorization,
    subscription: &Subscription,
    answer: &AuthorizationReply,
    now: DateTime<Utc>,
) -> Transition {
    let lifetime = app.config.gateways.get(&authorization.gateway).map(|gateway| gateway.authorization_lifetime);
    let facts = Facts {
        now,
        wall: app.clock.now(),
        lease: app.config.collection.lease,
        lifetime: lifetime.unwrap_or(DEFAULT_AUTHORIZATION_LIFETIME),
        lookups: &app.config.collection.lookup_policy(),
        owner: &app.instance,
        is_wanted: authorization.is_wanted_by(subscription, now),
    };
    decide(authorization, answer, &facts)
}

async fn save(app: &App, tx: &mut Tx, mut subscription: Subscription, transition: &Transition, now: DateTime<Utc>) -> Result<()> {
    let Transition { authorization, effects, .. } = transition;
    let mut events: Vec<Event> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit { kind, data } => Some(event(app, authorization, now, kind, data.clone())),
            Effect::LookAgain | Effect::EndMandate => None,
        })
        .collect();
    if effects.contains(&Effect::LookAgain) {
        subscription.authorize_at = subscription.authorize_days_before.map(|_| now);
        store::authorizations::save_next_look(tx, &[subscription]).await?;
    }
    store::authorizations::save(tx, std::slice::from_ref(authorization)).await?;
    if effects.contains(&Effect::EndMandate) {
        let methods: Vec<_> = authorization.payment_method_id.into_iter().collect();
        events.extend(end_mandates(app, tx, &methods, authorization.timeline, now).await?);
    }
    store::events::append(tx, &events).await?;
    Ok(())
}
