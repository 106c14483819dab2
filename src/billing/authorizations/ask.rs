//! The calls about an authorization: each answer is settled before the next call.

use chrono::{DateTime, TimeDelta, Utc};

use super::settle::settle;
use crate::{
    billing::{
        App, Result,
        gateway_operations::run::{GatewayCall, Purpose, keep_lease, make},
        gateways::{Call, ProbeSlot},
    },
    domain::{
        authorization::{Authorization, AuthorizationStatus, transition::AuthorizationReply as Answer},
        payment::{Outcome, Reason},
    },
    gateway::{Charge, Configured, Found, Mandate, Other, ReturnOutcome, Sent, Source},
};

/// Takes an authorization through its gateway calls. Every answer is settled before the next call.
pub(crate) async fn execute(app: &App, mut authorization: Authorization) {
    let through = authorization.status == AuthorizationStatus::Pending;
    let _place = ProbeSlot::of(app, Call::authorizing(app, &authorization), through);
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

async fn ask(app: &App, authorization: &Authorization) -> Option<Answer> {
    match app.gateways.get(&authorization.gateway) {
        Some(gateway) => make(app, gateway, AuthorizationCall(authorization)).await,
        None => Some(Answer::NoAnswer(format!("gateway {} is not configured", authorization.gateway))),
    }
}

struct AuthorizationCall<'a>(&'a Authorization);

impl GatewayCall for AuthorizationCall<'_> {
    type Answer = Answer;

    fn subject(&self) -> String {
        self.0.id.to_string()
    }

    fn purpose(&self) -> Purpose {
        match self.0.status {
            AuthorizationStatus::Pending => Purpose::Move,
            AuthorizationStatus::Voiding => Purpose::Void,
            _ => Purpose::LookUp,
        }
    }

    async fn begin(&mut self, app: &App) -> Result<bool> {
        keep_lease(app, self.0).await
    }

    fn circuit_call(&self, app: &App) -> Option<Call> {
        Some(Call::authorizing(app, self.0))
    }

    /// The subscription is decided about again, so it need not wait here.
    fn postponed(&self, _until: DateTime<Utc>) -> Option<Answer> {
        let message = "not sent: the gateway is paused".to_owned();
        let not_sent = Answer::Outcome(Outcome::GatewayError { message, retry_after: None });
        (self.purpose() == Purpose::Move).then_some(not_sent)
    }

    async fn call(&self, gateway: &Configured) -> Answer {
        let charge = charge_of(self.0);
        match self.0.status {
            AuthorizationStatus::Pending => Answer::Outcome(gateway.adapter.authorize(&charge).await),
            AuthorizationStatus::Voiding => {
                let id = self.0.transaction_id.as_deref().unwrap_or_default();
                Answer::Voided(gateway.adapter.void(id, &charge).await)
            }
            _ => look_up(gateway, self.0, &charge).await,
        }
    }

    fn unknown(&self, message: String) -> Answer {
        match self.0.status {
            AuthorizationStatus::Pending => Answer::Outcome(Outcome::Unknown { message }),
            AuthorizationStatus::Voiding => Answer::Voided(ReturnOutcome::Unknown { message }),
            _ => Answer::NoAnswer(message),
        }
    }

    fn refusal(&self, answer: &Answer) -> Option<String> {
        if let Answer::Outcome(outcome) = answer { outcome.account_refusal() } else { None }
    }

    fn is_accepted(&self, answer: &Answer) -> bool {
        matches!(answer, Answer::Outcome(outcome) if outcome.is_accepted())
    }

    fn fault(&self, answer: &Answer) -> Option<(String, Option<TimeDelta>)> {
        match answer {
            Answer::Outcome(outcome) => outcome.gateway_fault(),
            Answer::Voided(outcome) => outcome.gateway_fault(),
            _ => None,
        }
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
