//! The calls about an authorization: each answer is settled before the next call.

use super::settle::settle;
use crate::{
    billing::{
        App,
        gateway_operations::catch_panic,
        gateways::{self, Call, ProbeSlot},
    },
    domain::{
        authorization::{Authorization, AuthorizationStatus},
        payment::{Outcome, Reason},
    },
    gateway::{Charge, Configured, Found, Mandate, ReturnOutcome, Sent, Source, circuit::listening},
};

/// What came back.
#[derive(Debug)]
pub(super) enum Answer {
    Outcome(Outcome),
    /// Several under one reference: the best of them, and whether the other reservations were given free.
    Cleared(Outcome, bool),
    Nothing,
    Silence(String),
    Voided(ReturnOutcome),
    /// Another daemon has taken it over.
    LeaseLost,
}

/// Takes an authorization through its gateway calls. Every answer is settled before the next call.
pub(crate) async fn drive(app: &App, mut authorization: Authorization) {
    let through = authorization.status == AuthorizationStatus::Pending;
    let _place = ProbeSlot::of(app, Call::reserving(app, &authorization), through);
    loop {
        let answer = ask(app, &authorization).await;
        match settle(app, &authorization, &answer).await {
            Ok(Some(next)) => authorization = next,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, authorization = %authorization.id, "an answer could not be written; it will be looked up");
                return;
            }
        }
    }
}

async fn ask(app: &App, authorization: &Authorization) -> Answer {
    let Some(gateway) = app.gateways.get(&authorization.gateway) else {
        return Answer::Silence(format!("gateway {} is not configured", authorization.gateway));
    };
    let Ok(_permit) = gateway.permits.acquire().await else { return Answer::LeaseLost };
    let waited_too_long = authorization.lease_expires_at.is_some_and(|expires| expires <= app.clock.now());
    if authorization.status == AuthorizationStatus::Pending && waited_too_long {
        return Answer::LeaseLost;
    }
    let asked = Call::reserving(app, authorization);
    if authorization.status == AuthorizationStatus::Pending && gateways::too_late_for(app, &asked).is_some() {
        let message = "not sent: the gateway is paused".to_owned();
        return Answer::Outcome(Outcome::GatewayError { message, retry_after: None });
    }
    let unknown = |message| Answer::Outcome(Outcome::Unknown { message });
    let (answer, line) = listening(catch_panic(authorization.id, &gateway.name, call(gateway, authorization), unknown)).await;
    if authorization.status == AuthorizationStatus::Pending {
        let fault = if let Answer::Outcome(outcome) = &answer { outcome.gateway_fault() } else { None };
        gateways::note(app, &asked, line.met(fault)).await;
    }
    answer
}

async fn call(gateway: &Configured, authorization: &Authorization) -> Answer {
    let charge = charge_of(authorization);
    match authorization.status {
        AuthorizationStatus::Pending => Answer::Outcome(gateway.adapter.authorize(&charge).await),
        AuthorizationStatus::Voiding => {
            let id = authorization.transaction_id.as_deref().unwrap_or_default();
            Answer::Voided(gateway.adapter.void(id, &charge).await)
        }
        _ => {
            // By its reference: that finds all that there is under it.
            let sent = Sent {
                reference: authorization.reference.clone(),
                amount_minor: authorization.amount,
                currency: authorization.currency,
                transaction_id: None,
                sent_at: authorization.sent_at,
            };
            match gateway.adapter.look_up(&sent).await {
                Found::Outcome(outcome) => Answer::Outcome(outcome),
                Found::Several { best, others } => {
                    let mut all = true;
                    let ours = authorization.transaction_id.as_deref().or(match &best {
                        Outcome::Authorized { transaction_id } | Outcome::Succeeded { transaction_id, .. } => {
                            Some(transaction_id)
                        }
                        _ => None,
                    });
                    let best_id = match &best {
                        Outcome::Authorized { transaction_id } => Some(transaction_id.clone()),
                        _ => None,
                    };
                    let strays =
                        others.iter().filter(|other| other.taken_minor.is_none()).map(|other| other.transaction_id.clone());
                    for stray in strays.chain(best_id).filter(|stray| Some(stray.as_str()) != ours) {
                        let released = gateway.adapter.void(&stray, &charge).await;
                        tracing::warn!(authorization = %authorization.id, stray, ?released, "reserved twice: one is given free");
                        all &= matches!(released, ReturnOutcome::Returned { .. });
                    }
                    Answer::Cleared(best, all)
                }
                Found::Nothing => Answer::Nothing,
                Found::Disagrees { message } | Found::NoAnswer { message } => Answer::Silence(message),
            }
        }
    }
}

fn charge_of(authorization: &Authorization) -> Charge {
    let source = match &authorization.prior_transaction_id {
        Some(transaction_id) => Source::PriorTransaction { transaction_id: transaction_id.clone() },
        None => Source::VaultToken {
            customer_token: authorization.customer_token.clone().unwrap_or_default(),
            payment_method_token: authorization.payment_method_token.clone(),
        },
    };
    Charge {
        reference: authorization.reference.clone(),
        idempotency_key: authorization.idempotency_key.clone(),
        source,
        amount_minor: authorization.amount,
        currency: authorization.currency,
        description: authorization.description.clone(),
        mandate: Mandate { reason: Reason::Recurring, initial_transaction_id: authorization.prior_transaction_id.clone() },
    }
}
