//! The calls of one payment: each answer of its gateway is settled before the next call.

use std::future::Future;

use crate::{
    billing::{
        App,
        gateways::{Call, ProbeSlot},
        payments::{call::ask, settle::Settler},
    },
    domain::payment::{
        Payment,
        transition::{PaymentReply, PaymentStep},
    },
};

/// Takes one claimed payment through its gateway calls. Every answer is settled before the next call. Returns the credential if money
/// moved.
pub(crate) fn execute<'a>(
    app: &'a App,
    payment: Payment,
    step: PaymentStep,
    settler: &'a Settler,
) -> impl Future<Output = Option<String>> + 'a {
    // Taken before the first poll: a future that is dropped before it gives the slot back, too.
    let slot = ProbeSlot::of(app, Call::of(app, &payment), step != PaymentStep::LookUp);
    async move {
        let _slot = slot;
        call_by_call(app, payment, step, settler).await
    }
}

async fn call_by_call(app: &App, mut payment: Payment, mut step: PaymentStep, settler: &Settler) -> Option<String> {
    let Some(gateway) = app.gateways.get(&payment.gateway).cloned() else {
        // It left the configuration. The payment is looked up later, and parked for an operator in the end.
        let message = format!("gateway {} is not configured", payment.gateway);
        settler.report(payment, PaymentReply::NoAnswer(message)).await;
        return None;
    };
    loop {
        let answer = ask(app, &gateway, &payment, step).await?;
        let credential = payment.credential.clone().filter(|_| answer.is_success());
        match settler.report(payment, answer).await {
            Some((next, claimed)) => (step, payment) = (next, claimed),
            None => return credential,
        }
    }
}
