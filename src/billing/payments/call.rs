//! The calls about a payment: charge, capture, void and lookup.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    billing::{
        App, Result,
        gateway_operations::run::{GatewayCall, Purpose, keep_lease, make},
        gateways::Call,
    },
    domain::payment::{
        Outcome, Payment,
        transition::{PaymentReply, PaymentStep},
    },
    gateway::{Charge, Configured, Found, Mandate, Other, ReturnOutcome, Sent, Source},
};

struct PaymentCall<'a> {
    payment: &'a Payment,
    step: PaymentStep,
}

/// Asks the gateway. None: not asked, since another daemon has taken the payment over.
pub(crate) async fn ask(app: &App, gateway: &Arc<Configured>, payment: &Payment, step: PaymentStep) -> Option<PaymentReply> {
    make(app, gateway, PaymentCall { payment, step }).await
}

impl GatewayCall for PaymentCall<'_> {
    type Answer = PaymentReply;

    fn subject(&self) -> String {
        self.payment.id.to_string()
    }

    fn purpose(&self) -> Purpose {
        match self.step {
            PaymentStep::Charge | PaymentStep::Capture => Purpose::Move,
            PaymentStep::Void => Purpose::Void,
            PaymentStep::LookUp => Purpose::LookUp,
        }
    }

    async fn begin(&mut self, app: &App) -> Result<bool> {
        keep_lease(app, self.payment).await
    }

    fn circuit_call(&self, app: &App) -> Option<Call> {
        Some(Call::of(app, self.payment))
    }

    /// What is authorized already is captured all the same: the authorization may run out before the gateway is back.
    fn postponed(&self, until: DateTime<Utc>) -> Option<PaymentReply> {
        (self.step == PaymentStep::Charge).then_some(PaymentReply::Paused(until))
    }

    async fn call(&self, gateway: &Configured) -> PaymentReply {
        let Self { payment, step } = self;
        let charge = charge_of(payment);
        let transaction_id = payment.transaction_id.as_deref().unwrap_or_default();
        match step {
            PaymentStep::Charge => PaymentReply::Outcome(gateway.adapter.charge(&charge).await),
            PaymentStep::Capture => PaymentReply::Outcome(gateway.adapter.capture(transaction_id, &charge).await),
            PaymentStep::LookUp => match gateway.adapter.look_up(&sent(payment)).await {
                Found::Outcome(outcome) => PaymentReply::Outcome(outcome),
                Found::Several { best, others } => several(gateway, payment, &charge, best, others).await,
                Found::Nothing => PaymentReply::NotFound,
                Found::Disagrees { message } => PaymentReply::Disagrees(message),
                Found::NoAnswer { message } => PaymentReply::NoAnswer(message),
            },
            PaymentStep::Void => {
                let voided = gateway.adapter.void(transaction_id, &charge).await;
                tracing::info!(payment = %payment.id, ?voided, "authorization voided");
                PaymentReply::Voided(voided)
            }
        }
    }

    fn unknown(&self, message: String) -> PaymentReply {
        match self.step {
            PaymentStep::Charge | PaymentStep::Capture => PaymentReply::Outcome(Outcome::Unknown { message }),
            PaymentStep::LookUp => PaymentReply::NoAnswer(message),
            PaymentStep::Void => PaymentReply::Voided(ReturnOutcome::Unknown { message }),
        }
    }

    fn refusal(&self, answer: &PaymentReply) -> Option<String> {
        answer.account_refusal()
    }

    fn is_accepted(&self, answer: &PaymentReply) -> bool {
        answer.is_accepted()
    }

    fn fault(&self, answer: &PaymentReply) -> Option<(String, Option<TimeDelta>)> {
        answer.gateway_fault()
    }
}

/// Several under one reference. If they are authorized, one of them is ours and the others are voided. If money was taken more than once,
/// a person decides.
async fn several(gateway: &Configured, payment: &Payment, charge: &Charge, best: Outcome, others: Vec<Other>) -> PaymentReply {
    for orphan in others.iter().filter(|other| other.taken_minor.is_none()) {
        let voided = gateway.adapter.void(&orphan.transaction_id, charge).await;
        tracing::warn!(payment = %payment.id, orphan = orphan.transaction_id, ?voided, "authorized more than once: one is voided");
    }
    if others.iter().any(|other| other.taken_minor.is_some()) {
        PaymentReply::TakenTwice { best, others }
    } else {
        PaymentReply::Outcome(best)
    }
}

pub(crate) fn charge_of(payment: &Payment) -> Charge {
    let source = match (&payment.prior_transaction_id, &payment.customer_token) {
        (Some(transaction_id), _) => Source::PriorTransaction { transaction_id: transaction_id.clone() },
        (None, token) => Source::VaultToken {
            customer_token: token.clone().unwrap_or_default(),
            payment_method_token: payment.payment_method_token.clone(),
        },
    };
    Charge {
        reference: payment.reference.clone(),
        idempotency_key: payment.idempotency_key.clone(),
        source,
        amount_minor: payment.amount,
        currency: payment.currency,
        description: payment.description.clone(),
        // A vault customer's first transaction is not known to us; a prior transaction is itself the mandate.
        mandate: Mandate { reason: payment.reason, initial_transaction_id: payment.prior_transaction_id.clone() },
    }
}

fn sent(payment: &Payment) -> Sent {
    Sent {
        reference: payment.reference.clone(),
        amount_minor: payment.amount,
        currency: payment.currency,
        transaction_id: payment.transaction_id.clone(),
        sent_at: payment.sent_at,
    }
}
