//! Giving Paylike money back: a void of what is reserved, a refund of what was captured.

use serde_json::json;

use super::{
    super::{Return, ReturnFound, ReturnOutcome, http::Answer},
    Paylike,
    wire::{Refusal, Transaction},
};

impl Paylike {
    /// Gives free whatever a transaction still reserves.
    pub(super) async fn give_free(&self, id: &str) -> ReturnOutcome {
        let transaction = match self.get("release", id).await {
            Ok(transaction) => transaction,
            // Only read so far: certainly nothing was given free.
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
            Ok(Answer::Done(_)) => ReturnOutcome::Returned { transaction_id: None, voided: true },
            Ok(Answer::Refused { status, body }) => match self.get(operation, id).await {
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
        match returned_so_far(&transaction, order) {
            SoFar::This { voided } => return ReturnOutcome::Returned { transaction_id: None, voided },
            SoFar::Other(message) => return refused("amounts_disagree", message),
            SoFar::Before => {}
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
            Ok(Answer::Done(_)) => ReturnOutcome::Returned { transaction_id: None, voided: false },
            // An earlier copy of this order may have come through in between.
            Ok(Answer::Refused { status, body }) => match self.returned(order).await {
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
        match returned_so_far(&transaction, order) {
            SoFar::This { voided } => ReturnFound::Returned { voided },
            SoFar::Before => ReturnFound::Nothing,
            SoFar::Other(message) => ReturnFound::NoAnswer { message },
        }
    }
}

/// How far the gateway has got with an order.
#[derive(Debug, PartialEq, Eq)]
enum SoFar {
    /// Only what we had returned before it.
    Before,
    /// This one too.
    This { voided: bool },
    /// An amount that is neither: somebody returned money at the gateway.
    Other(String),
}

fn returned_so_far(transaction: &Transaction, order: &Return) -> SoFar {
    // Money is either still reserved and voided, or captured and refunded; a void of the rest of a capture is no return.
    let voided = transaction.captured == 0 && transaction.voided > 0;
    let theirs = if voided { transaction.voided } else { transaction.refunded };
    if theirs == order.returned_minor + order.amount_minor {
        SoFar::This { voided }
    } else if theirs == order.returned_minor {
        SoFar::Before
    } else {
        SoFar::Other(format!("returned so far: {} here, {theirs} at the gateway", order.returned_minor))
    }
}

fn refused(code: &str, message: String) -> ReturnOutcome {
    ReturnOutcome::Refused { code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn so_far(captured: i64, refunded: i64, voided: i64, returned_minor: i64, amount_minor: i64) -> SoFar {
        let value = json!({ "id": "t1", "capturedAmount": captured, "refundedAmount": refunded, "voidedAmount": voided });
        let transaction = Transaction::read(&value).expect("readable");
        let order =
            Return { transaction_id: "t1".into(), amount_minor, captured_minor: 1000, returned_minor, currency: Currency::USD };
        returned_so_far(&transaction, &order)
    }

    #[test]
    fn a_repeated_return_is_recognised_and_a_foreign_one_is_not_taken_for_ours() {
        assert_eq!(so_far(1000, 0, 0, 0, 400), SoFar::Before);
        assert_eq!(so_far(1000, 400, 0, 0, 400), SoFar::This { voided: false });
        assert_eq!(so_far(600, 400, 0, 400, 600), SoFar::Before);
        assert_eq!(so_far(0, 0, 1000, 0, 1000), SoFar::This { voided: true });
        assert!(matches!(so_far(1000, 300, 0, 0, 400), SoFar::Other(_)));
        assert_eq!(so_far(800, 0, 200, 0, 800), SoFar::Before, "a void of the rest of a capture is no return");
    }
}
