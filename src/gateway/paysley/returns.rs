//! Giving back what a customer paid through Paysley. It has no void; refunds stand in the payment history beside their payment.

use serde_json::json;

use super::{
    super::{
        Return, ReturnFound, ReturnOutcome,
        http::HttpAnswer,
        returns::{ReturnProgress, refused},
    },
    Paysley,
    wire::{Payment, Refusal, amount, succeeded},
};

impl Paysley {
    /// What the gateway has given back of a payment so far, minor units.
    async fn given_back(&self, operation: &'static str, order: &Return) -> Result<i64, String> {
        let url = self.http.url(&["payments", &order.transaction_id]);
        let body = self.read(self.http.get(operation, url).await)?;
        let payment = Payment::read(&body).filter(|payment| payment.id == order.transaction_id);
        let reference = payment.and_then(|payment| payment.reference).ok_or("the answer does not show the payment asked for")?;
        let mut sum = 0;
        for entry in self.history(operation, &reference).await? {
            if entry.is_return() && entry.succeeded && entry.of.as_deref() == Some(&*order.transaction_id) {
                sum += entry.amount_minor().ok_or_else(|| format!("the amount of refund {} cannot be read", entry.id))?;
            }
        }
        Ok(sum)
    }

    pub(super) async fn return_money(&self, order: &Return) -> ReturnOutcome {
        let theirs = match self.given_back("give_back", order).await {
            Ok(theirs) => theirs,
            Err(message) => return ReturnOutcome::GatewayError { message },
        };
        if let Some(outcome) = ReturnProgress::of(order, theirs, false).outcome() {
            return outcome;
        }
        let url = self.http.url(&["refunds", &order.transaction_id]);
        let body = json!({ "amount": amount(order.amount_minor, order.currency) });
        let refusal = match self.http.post("give_back", url, Some(&body)).await {
            Ok(HttpAnswer::Done(body)) if succeeded(&body) => return done(),
            Ok(HttpAnswer::Done(body)) => Refusal::read(400, Some(&body)),
            Ok(HttpAnswer::Refused { status, body }) => Refusal::read(status, body.as_ref()),
            Err(no_answer) => return no_answer.into(),
        };
        // An earlier copy of this order may have come through in between.
        match self.returned(order).await {
            ReturnFound::Returned { .. } => done(),
            ReturnFound::Nothing => refused(&refusal.code, self.http.clean(&refusal.message, &[])),
            ReturnFound::NoAnswer { message } => ReturnOutcome::Unknown { message },
        }
    }

    pub(super) async fn returned(&self, order: &Return) -> ReturnFound {
        match self.given_back("look_up_return", order).await {
            Ok(theirs) => ReturnProgress::of(order, theirs, false).into(),
            Err(message) => ReturnFound::NoAnswer { message },
        }
    }
}

fn done() -> ReturnOutcome {
    ReturnOutcome::Returned { transaction_id: None, voided: false }
}
