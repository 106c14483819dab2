//! The calls about an authorization: each answer is settled before the next call.

use super::settle::settle;
use crate::{
    billing::{
        App,
        gateway_operations::catch_panic,
        gateways::{self, Call, ProbeSlot},
    },
    domain::{
        authorization::{Authorization, AuthorizationStatus, transition::AuthorizationAnswer as Answer},
        payment::{Outcome, Reason},
    },
    gateway::{Charge, Configured, Found, Mandate, Other, ReturnOutcome, Sent, Source, circuit::listening},
};

/// Takes an authorization through its gateway calls. Every answer is settled before the next call.
pub(crate) async fn drive(app: &App, mut authorization: Authorization) {
    let through = authorization.status == AuthorizationStatus::Pending;
    let _place = ProbeSlot::of(app, Call::reserving(app, &authorization), through);
    loop {
        let Some(answer) = ask(app, &authorization).await else { return };
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

/// None: another daemon may have taken the authorization over.
async fn ask(app: &App, authorization: &Authorization) -> Option<Answer> {
    let Some(gateway) = app.gateways.get(&authorization.gateway) else {
        return Some(Answer::NoAnswer(format!("gateway {} is not configured", authorization.gateway)));
    };
    let Ok(_permit) = gateway.permits.acquire().await else { return None };
    let waited_too_long = authorization.lease_expires_at.is_some_and(|expires| expires <= app.clock.now());
    if authorization.status == AuthorizationStatus::Pending && waited_too_long {
        return None;
    }
    let asked = Call::reserving(app, authorization);
    if authorization.status == AuthorizationStatus::Pending && gateways::too_late_for(app, &asked).is_some() {
        let message = "not sent: the gateway is paused".to_owned();
        return Some(Answer::Outcome(Outcome::GatewayError { message, retry_after: None }));
    }
    let unknown = |message| Answer::Outcome(Outcome::Unknown { message });
    let (answer, line) = listening(catch_panic(authorization.id, &gateway.name, call(gateway, authorization), unknown)).await;
    if authorization.status == AuthorizationStatus::Pending {
        let fault = if let Answer::Outcome(outcome) = &answer { outcome.gateway_fault() } else { None };
        gateways::note(app, &asked, line.met(fault)).await;
    }
    Some(answer)
}

async fn call(gateway: &Configured, authorization: &Authorization) -> Answer {
    let charge = charge_of(authorization);
    match authorization.status {
        AuthorizationStatus::Pending => Answer::Outcome(gateway.adapter.authorize(&charge).await),
        AuthorizationStatus::Voiding => {
            let id = authorization.transaction_id.as_deref().unwrap_or_default();
            Answer::Voided(gateway.adapter.void(id, &charge).await)
        }
        _ => look_up(gateway, authorization, &charge).await,
    }
}

/// By its reference: that finds all that there is under it.
async fn look_up(gateway: &Configured, authorization: &Authorization, charge: &Charge) -> Answer {
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
            let others_voided = void_others(gateway, authorization, charge, &best, &others).await;
            Answer::Several { best, others_voided }
        }
        Found::Nothing => Answer::NotFound,
        Found::Disagrees { message } | Found::NoAnswer { message } => Answer::NoAnswer(message),
    }
}

/// Voids what is authorized under the reference beside the one that is kept. Answers whether all of it was.
async fn void_others(
    gateway: &Configured,
    authorization: &Authorization,
    charge: &Charge,
    best: &Outcome,
    others: &[Other],
) -> bool {
    let (best_id, best_authorized) = match best {
        Outcome::Authorized { transaction_id } => (Some(transaction_id), Some(transaction_id)),
        Outcome::Succeeded { transaction_id, .. } => (Some(transaction_id), None),
        _ => (None, None),
    };
    let kept = authorization.transaction_id.as_ref().or(best_id);
    let orphaned = others.iter().filter(|other| other.taken_minor.is_none()).map(|other| &other.transaction_id);
    let mut all = true;
    for orphaned in orphaned.chain(best_authorized).filter(|orphaned| Some(*orphaned) != kept) {
        let voided = gateway.adapter.void(orphaned, charge).await;
        tracing::warn!(authorization = %authorization.id, orphaned, ?voided, "authorized twice: one is voided");
        all &= matches!(voided, ReturnOutcome::Returned { .. });
    }
    all
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
