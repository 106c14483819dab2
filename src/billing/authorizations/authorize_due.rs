//! Decides for each subscription that is due whether its coming charge is authorized, and records what is to be asked.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{ask::execute, event};
use crate::{
    billing::{
        App, Result,
        collection::allowance::{Credentials, SuccessTally, Target},
        gateways::Admissions,
    },
    domain::{
        authorization::{Authorization, AuthorizationStatus, Credential, Decision, Look, decide},
        cap::{self, Allowance},
        clock::Timeline,
        id::{AuthorizationId, SubscriptionId},
        invoice::InvoiceStatus,
        payment_method::MethodKind,
        subscription::Subscription,
    },
    store::{
        self, Tx,
        authorizations::{InvoiceState, Payer},
    },
};

/// How long one waits whose card is being asked for something else.
const BEHIND: TimeDelta = TimeDelta::minutes(1);

/// What a run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// Subscriptions that were looked at.
    pub subscriptions: usize,
    pub asked: usize,
    pub voided: usize,
}

/// Looks at every subscription of a timeline that is due by `now`, until none is: authorizes what is coming and voids what is not
/// wanted any more.
pub async fn authorize_due(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<Looked> {
    let mut looked = Looked::default();
    while !app.stopping.is_cancelled() {
        let batch = look(app, timeline, now).await?;
        looked.subscriptions += batch.subscriptions;
        looked.asked += batch.authorize.len();
        looked.voided += batch.void.len();
        if batch.subscriptions == 0 {
            break;
        }
        let calls = batch.authorize.into_iter().chain(batch.void);
        stream::iter(calls).for_each_concurrent(None, |authorization| execute(app, authorization)).await;
    }
    Ok(looked)
}

#[derive(Default)]
struct Batch {
    subscriptions: usize,
    authorize: Vec<Authorization>,
    void: Vec<Authorization>,
}

/// Decides about a batch of subscriptions in one transaction, and records what is to be asked.
async fn look(app: &App, timeline: Timeline, now: DateTime<Utc>) -> Result<Batch> {
    let mut tx = app.db.begin().await?;
    let mut due = store::authorizations::due(&mut tx, timeline, now, app.config.billing.batch.into()).await?;
    if due.is_empty() {
        return Ok(Batch::default());
    }
    let known = Known::read(app, &mut tx, timeline, &due).await?;
    let mut holds = Admissions::read(app, &mut tx, timeline, now).await?;
    let targets: Vec<Target> = known.credentials.values().map(target).collect();
    let accepted = SuccessTally::default();
    let mut credentials = Credentials::of(app, &mut tx, timeline, now, &targets, &accepted).await?;
    let wall = app.clock.now();
    let mut batch = Batch { subscriptions: due.len(), ..Batch::default() };
    let mut events = Vec::new();
    for subscription in &mut due {
        subscription.authorize_at = None;
        match decide(&known.look(app, subscription, now)) {
            Decision::Nothing(again_at) => subscription.authorize_at = again_at,
            Decision::Void(reason) => {
                if let Some(mut open) = known.open.get(&subscription.id).cloned() {
                    open.void(reason, wall, app.config.collection.lease);
                    batch.void.push(open);
                }
            }
            Decision::Authorize { cycle, attempt, amount, bill_at } => {
                if let Some(credential) = known.credentials.get(&subscription.id) {
                    // On the bill date at the latest the charge comes, if it still can.
                    let wait = holds.until(&credential.gateway).or_else(|| match credentials.charge(target(credential)) {
                        Allowance::Now => None,
                        Allowance::Blocked => Some(now + BEHIND),
                        Allowance::At(until) => Some(until),
                    });
                    if wait.is_some() {
                        subscription.authorize_at = wait.filter(|until| *until < bill_at);
                        continue;
                    }
                    holds.take(&credential.gateway);
                    let authorization = anew(app, subscription, credential, (cycle, attempt, amount, bill_at), now);
                    events.push(event(app, &authorization, now, "authorization.created", json!({})));
                    batch.authorize.push(authorization);
                }
            }
        }
    }
    store::authorizations::insert(&mut tx, &batch.authorize).await?;
    store::authorizations::save(&mut tx, &batch.void).await?;
    holds.save(&mut tx).await?;
    store::authorizations::save_next_look(&mut tx, &due).await?;
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(batch)
}

/// What a batch is decided from.
struct Known {
    open: HashMap<SubscriptionId, Authorization>,
    over: HashMap<SubscriptionId, Authorization>,
    invoice_states: HashMap<AuthorizationId, InvoiceState>,
    payers: HashMap<SubscriptionId, Payer>,
    credentials: HashMap<SubscriptionId, Credential>,
}

impl Known {
    async fn read(app: &App, tx: &mut Tx, timeline: Timeline, due: &[Subscription]) -> Result<Self> {
        let ids: Vec<SubscriptionId> = due.iter().map(|subscription| subscription.id).collect();
        // If a subscription has several, keep the one that blocks a new authorization: one that is not being voided wins.
        let open = store::authorizations::lock_open_of(tx, &ids).await?;
        let open_ids: Vec<AuthorizationId> = open.iter().map(|authorization| authorization.id).collect();
        let mut by_subscription = HashMap::new();
        for authorization in open {
            let voiding = authorization.status == AuthorizationStatus::Voiding;
            let one = by_subscription.entry(authorization.subscription_id).or_insert_with(|| authorization.clone());
            if !voiding {
                *one = authorization;
            }
        }
        let invoice_states = store::authorizations::invoices_of(tx, &open_ids).await?;
        let over = store::authorizations::over_of(tx, &ids).await?;
        let payers = store::authorizations::payers_of(tx, &ids).await?;
        let credentials =
            payers.iter().filter_map(|payer| Some((payer.subscription_id, credential(app, timeline, payer)?))).collect();
        Ok(Self {
            open: by_subscription,
            over: over.into_iter().map(|authorization| (authorization.subscription_id, authorization)).collect(),
            invoice_states: invoice_states.into_iter().map(|standing| (standing.id, standing)).collect(),
            payers: payers.into_iter().map(|payer| (payer.subscription_id, payer)).collect(),
            credentials,
        })
    }

    fn look<'a>(&'a self, app: &'a App, subscription: &'a Subscription, now: DateTime<Utc>) -> Look<'a> {
        let open = self.open.get(&subscription.id);
        let standing = open.and_then(|open| self.invoice_states.get(&open.id));
        let payer = self.payers.get(&subscription.id).filter(|payer| payer.currency == subscription.currency);
        Look {
            subscription,
            now,
            rules: &app.rules,
            open,
            waits: standing.is_some_and(|invoice| invoice.status == InvoiceStatus::Open && invoice.attempts == 0),
            last: self.over.get(&subscription.id),
            credential: self.credentials.get(&subscription.id),
            credit: payer.map_or(0, |payer| payer.balance),
            try_waits: &app.config.collection.gateway_fault_backoff,
        }
    }
}

/// The credential that a gateway can authorize, if the payer has one.
fn credential(app: &App, timeline: Timeline, payer: &Payer) -> Option<Credential> {
    let kind = payer.kind.filter(|kind| *kind != MethodKind::PaymentRequest)?;
    let gateway = payer.gateway.clone()?;
    let configured = app.gateways.get(&gateway).filter(|gateway| !gateway.live || timeline == Timeline::Wall)?;
    let in_part = configured.adapter.capabilities().captures_in_part;
    Some(Credential {
        payment_method_id: payer.payment_method_id,
        gateway,
        kind,
        customer_token: payer.customer_token.clone(),
        payment_method_token: payer.payment_method_token.clone(),
        prior_transaction_id: payer.transaction_id.clone(),
        in_part,
    })
}

/// What caps count.
fn target(of: &Credential) -> Target {
    let tokens = [&of.customer_token, &of.payment_method_token, &of.prior_transaction_id];
    Target { gateway: of.gateway.clone(), credential: cap::credential(&of.gateway, tokens.map(|token| token.as_deref())) }
}

fn anew(
    app: &App,
    subscription: &Subscription,
    credential: &Credential,
    (cycle, attempt, amount, bill_at): (i64, i64, i64, DateTime<Utc>),
    now: DateTime<Utc>,
) -> Authorization {
    let wall = app.clock.now();
    let id: AuthorizationId = app.ids.next(wall);
    Authorization {
        id,
        subscription_id: subscription.id,
        customer_id: subscription.customer_id,
        cycle,
        attempt,
        payment_method_id: credential.payment_method_id,
        timeline: subscription.timeline,
        gateway: credential.gateway.clone(),
        kind: credential.kind,
        reference: id.short_reference(),
        idempotency_key: id.to_string(),
        customer_token: credential.customer_token.clone(),
        payment_method_token: credential.payment_method_token.clone(),
        prior_transaction_id: credential.prior_transaction_id.clone(),
        credential: target(credential).credential,
        description: subscription.description.clone(),
        amount,
        currency: subscription.currency,
        bill_at,
        status: AuthorizationStatus::Pending,
        transaction_id: None,
        payment_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        void_reason: None,
        lease_owner: Some(app.instance.clone()),
        lease_token: 1,
        lease_expires_at: Some(wall + app.config.collection.lease),
        lookups: 0,
        next_lookup_at: None,
        sent_at: wall,
        called_at: wall,
        expires_at: None,
        created_at: now,
        resolved_at: None,
        amount_taken: None,
    }
}
