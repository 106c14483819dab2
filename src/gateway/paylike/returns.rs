//! Giving Paylike money back: a void of what is reserved, a refund of what was captured.

use serde_json::json;

use super::{
    super::{
        Return, ReturnFound, ReturnOutcome,
        http::HttpAnswer,
        returns::{ReturnProgress, refused},
    },
    Paylike,
    wire::{Refusal, Transaction},
};

impl Paylike {
    /// Voids whatever a transaction still reserves.
    pub(super) async fn void_reserved(&self, id: &str) -> ReturnOutcome {
        let transaction = match self.get("release", id).await {
            Ok(transaction) => transaction,
            // Only read so far: certainly nothing was voided.
            Err(message) => return ReturnOutcome::GatewayError { message },
        };
        match transaction.pending {
            Some(pending) if pending > 0 => self.void("release", id, pending).await,
            _ if transaction.captured > 0 => refused("captured", "the money has been captured: give it back instead".into()),
            Some(_) => ReturnOutcome::Returned { transaction_id: None, voided: true },
            None => refused("no_amounts", "the gateway does not say what is reserved".into()),
        }
    }

    async fn void(&self, operation: &'static str, id: &str, amount_minor: i64) -> ReturnOutcome {
        let url = self.http.url(&["transactions", id, "voids"]);
        match self.http.post(operation, url, Some(&json!({ "amount": amount_minor }))).await {
            Ok(HttpAnswer::Done(_)) => ReturnOutcome::Returned { transaction_id: None, voided: true },
            Ok(HttpAnswer::Refused { status, body }) => match self.get(operation, id).await {
                Ok(transaction) if transaction.pending == Some(0) && transaction.captured == 0 => {
                    ReturnOutcome::Returned { transaction_id: None, voided: true }
                }
                Ok(_) => self.refused_return(Refusal::read(status, body.as_ref())),
                Err(message) => ReturnOutcome::Unknown { message },
            },
            Err(no_answer) => no_answer.into(),
        }
    }

    fn refused_return(&self, refusal: Refusal) -> ReturnOutcome {
        let decline = refusal.decline();
        refused(&decline.code, self.http.clean(&decline.message, &[]))
    }

    pub(super) async fn return_money(&self, order: &Return) -> ReturnOutcome {
        let transaction = match self.get("give_back", &order.transaction_id).await {
            Ok(transaction) => transaction,
            Err(message) => return ReturnOutcome::GatewayError { message },
        };
        if let Some(outcome) = progress(&transaction, order).outcome() {
            return outcome;
        }
        if transaction.captured == 0 {
            return match transaction.pending {
                Some(pending) if pending >= order.amount_minor => {
                    self.void("give_back", &order.transaction_id, order.amount_minor).await
                }
                _ => refused("wrong_state", "nothing was captured and nothing is reserved".into()),
            };
        }
        let url = self.http.url(&["transactions", &order.transaction_id, "refunds"]);
        match self.http.post("give_back", url, Some(&json!({ "amount": order.amount_minor }))).await {
            Ok(HttpAnswer::Done(_)) => ReturnOutcome::Returned { transaction_id: None, voided: false },
            // An earlier copy of this order may have come through in between.
            Ok(HttpAnswer::Refused { status, body }) => match self.returned(order).await {
                ReturnFound::Returned { voided } => ReturnOutcome::Returned { transaction_id: None, voided },
                ReturnFound::Nothing => self.refused_return(Refusal::read(status, body.as_ref())),
                ReturnFound::NoAnswer { message } => ReturnOutcome::Unknown { message },
            },
            Err(no_answer) => no_answer.into(),
        }
    }

    pub(super) async fn returned(&self, order: &Return) -> ReturnFound {
        let transaction = match self.get("look_up_return", &order.transaction_id).await {
            Ok(transaction) => transaction,
            Err(message) => return ReturnFound::NoAnswer { message },
        };
        progress(&transaction, order).into()
    }
}

fn progress(transaction: &Transaction, order: &Return) -> ReturnProgress {
    // Money is either still reserved and voided, or captured and refunded; a void of the rest of a capture is no return.
    let voided = transaction.captured == 0 && transaction.voided > 0;
    let theirs = if voided { transaction.voided } else { transaction.refunded };
    ReturnProgress::of(order, theirs, voided)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn after(captured: i64, refunded: i64, voided: i64, returned_minor: i64, amount_minor: i64) -> ReturnProgress {
        let value = json!({ "id": "t1", "capturedAmount": captured, "refundedAmount": refunded, "voidedAmount": voided });
        let transaction = Transaction::read(&value).expect("readable");
        let order =
            Return { transaction_id: "t1".into(), amount_minor, captured_minor: 1000, returned_minor, currency: Currency::USD };
        progress(&transaction, &order)
    }

    #[test]
    fn a_repeated_return_is_recognised_and_a_foreign_one_is_not_taken_for_ours() {
        assert_eq!(after(1000, 0, 0, 0, 400), ReturnProgress::Before);
        assert_eq!(after(1000, 400, 0, 0, 400), ReturnProgress::Made { voided: false });
        assert_eq!(after(600, 400, 0, 400, 600), ReturnProgress::Before);
        assert_eq!(after(0, 0, 1000, 0, 1000), ReturnProgress::Made { voided: true });
        assert!(matches!(after(1000, 300, 0, 0, 400), ReturnProgress::Other(_)));
        assert_eq!(after(800, 0, 200, 0, 800), ReturnProgress::Before, "a void of the rest of a capture is no return");
    }
}
