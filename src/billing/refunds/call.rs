//! The calls about a refund: money is given back, or the gateway is asked what became of it. Each answer is settled.

use chrono::TimeDelta;

use super::settle::settle;
use crate::{
    billing::{
        App, Result,
        gateway_operations::run::{GatewayCall, Purpose, keep_lease, make},
        gateways::Call,
    },
    domain::{payment::Payment, refund::Refund},
    gateway::{Configured, Return, ReturnFound, ReturnOutcome},
    store,
};

struct RefundCall<'a> {
    app: &'a App,
    refund: &'a Refund,
    payment: &'a Payment,
    purpose: Purpose,
}

impl GatewayCall for RefundCall<'_> {
    type Answer = ReturnOutcome;

    fn subject(&self) -> String {
        self.refund.id.to_string()
    }

    fn purpose(&self) -> Purpose {
        self.purpose
    }

    async fn begin(&mut self, app: &App) -> Result<bool> {
        keep_lease(app, self.refund).await
    }

    /// It is never postponed: a person waits for the answer, or money is owed to the customer.
    fn circuit_call(&self, app: &App) -> Option<Call> {
        Some(Call::of(app, self.payment))
    }

    async fn call(&self, gateway: &Configured) -> ReturnOutcome {
        let order = Return {
            transaction_id: self.payment.transaction_id.clone().unwrap_or_default(),
            amount_minor: self.refund.amount,
            captured_minor: self.payment.amount_captured,
            returned_minor: self.refund.returned_before,
            currency: self.refund.currency,
        };
        if self.purpose == Purpose::Move {
            return gateway.adapter.give_back(&order).await;
        }
        match gateway.adapter.look_up_return(&order).await {
            ReturnFound::Returned { voided } => ReturnOutcome::Returned { transaction_id: None, voided },
            ReturnFound::Nothing => self.refund.not_found(self.app.clock.now(), self.app.config.collection.lease),
            ReturnFound::NoAnswer { message } => ReturnOutcome::Unknown { message },
        }
    }

    fn unknown(&self, message: String) -> ReturnOutcome {
        ReturnOutcome::Unknown { message }
    }

    fn fault(&self, answer: &ReturnOutcome) -> Option<(String, Option<TimeDelta>)> {
        answer.gateway_fault()
    }
}

/// Gives the money back. A refund that waited too long for its turn is left as it is: whether it was sent is being looked up.
pub(super) async fn give_back(app: &App, refund: Refund, payment: &Payment) -> Result<Refund> {
    let Some(gateway) = app.gateways.get(&payment.gateway) else {
        let message = format!("gateway {} is not configured", payment.gateway);
        return settle(app, refund, ReturnOutcome::GatewayError { message }).await;
    };
    let call = RefundCall { app, refund: &refund, payment, purpose: Purpose::Move };
    match make(app, gateway, call).await {
        Some(outcome) => settle(app, refund, outcome).await,
        None => Ok(refund),
    }
}

/// Asks the gateway what became of a refund.
pub(super) async fn look_up(app: &App, refund: Refund) -> Result<()> {
    let Some(payment_id) = refund.payment_id else { return Ok(()) };
    let Some(payment) = store::payments::get(&app.db, payment_id).await? else { return Ok(()) };
    let outcome = match app.gateways.get(&payment.gateway) {
        Some(gateway) => {
            make(app, gateway, RefundCall { app, refund: &refund, payment: &payment, purpose: Purpose::LookUp }).await
        }
        // It left the configuration: asked again later, and parked for an operator in the end.
        None => Some(ReturnOutcome::Unknown { message: format!("gateway {} is not configured", payment.gateway) }),
    };
    if let Some(outcome) = outcome {
        settle(app, refund, outcome).await?;
    }
    Ok(())
}
