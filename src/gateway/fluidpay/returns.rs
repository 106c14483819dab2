//! Giving FluidPay money back: a void before settlement, a refund after it. The gateway settles once a night.

use serde_json::json;

use super::{
    super::{
        Return, ReturnFound, ReturnOutcome,
        remote_state::RemoteState,
        returns::{ReturnProgress, refused},
    },
    FluidPay,
    wire::{Envelope, Transaction},
};

impl FluidPay {
    /// Undoes the whole of an unsettled transaction.
    pub(super) async fn void(&self, operation: &'static str, id: &str) -> ReturnOutcome {
        let voided = ReturnOutcome::Returned { transaction_id: None, voided: true };
        match self.post(operation, &["transaction", id, "void"], None).await {
            Ok(Envelope::Data(data)) => match Transaction::read(&data).map(|transaction| transaction.state(0)) {
                // The seed answers without data.
                None | Some(RemoteState::Voided) => voided,
                Some(_) => self.undone(operation, id, None).await,
            },
            Ok(Envelope::Failed { status, message }) => {
                let message = self.http.clean(&message, &[]);
                self.undone(operation, id, Some(refused(&format!("http_{status}"), message))).await
            }
            Ok(Envelope::Strange) => self.undone(operation, id, None).await,
            Err(no_answer) => no_answer.into(),
        }
    }

    /// After a void that was refused or said something else: the transaction itself decides.
    async fn undone(&self, operation: &'static str, id: &str, refusal: Option<ReturnOutcome>) -> ReturnOutcome {
        match self.get(operation, id).await {
            Ok(transaction) if transaction.state(0) == RemoteState::Voided => {
                ReturnOutcome::Returned { transaction_id: None, voided: true }
            }
            Ok(transaction) => refusal.unwrap_or_else(|| refused("not_voided", format!("it is still {}", transaction.status))),
            Err(message) => ReturnOutcome::Unknown { message },
        }
    }

    pub(super) async fn return_money(&self, order: &Return) -> ReturnOutcome {
        let transaction = match self.get("give_back", &order.transaction_id).await {
            Ok(transaction) => transaction,
            // Only read so far: certainly nothing was returned.
            Err(message) => return ReturnOutcome::GatewayError { message },
        };
        if let Some(outcome) = progress(&transaction, order).outcome() {
            return outcome;
        }
        let whole = order.returned_minor == 0 && order.amount_minor == order.captured_minor;
        match transaction.status.as_str() {
            "pending_settlement" | "authorized" if whole => self.void("give_back", &order.transaction_id).await,
            "pending_settlement" | "authorized" => refused(
                "not_settled",
                "part of a charge can only be given back after the gateway's nightly settlement: try again tomorrow, or give back all of it".into(),
            ),
            "settled" | "partially_refunded" => self.refund(order).await,
            other => refused("wrong_state", format!("the transaction is {other} at the gateway")),
        }
    }

    async fn refund(&self, order: &Return) -> ReturnOutcome {
        let path = ["transaction", order.transaction_id.as_str(), "refund"];
        match self.post("give_back", &path, Some(&json!({ "amount": order.amount_minor }))).await {
            Ok(Envelope::Data(data)) => {
                let Some(transaction) = Transaction::read(&data) else {
                    return ReturnOutcome::Returned { transaction_id: None, voided: false };
                };
                match transaction.state(order.amount_minor) {
                    RemoteState::Declined(decline) | RemoteState::Doubtful(decline) => {
                        refused(&decline.code, self.http.clean(&decline.message, &[]))
                    }
                    RemoteState::Unclear(message) => ReturnOutcome::Unknown { message },
                    _ => {
                        let own = (transaction.id != order.transaction_id).then_some(transaction.id);
                        ReturnOutcome::Returned { transaction_id: own, voided: false }
                    }
                }
            }
            Ok(Envelope::Failed { status, message }) => refused(&format!("http_{status}"), self.http.clean(&message, &[])),
            Ok(Envelope::Strange) => ReturnOutcome::Unknown { message: "the answer is not in the gateway's format".into() },
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
    let after = order.returned_minor + order.amount_minor;
    let theirs = match transaction.status.as_str() {
        "voided" | "reversed" if order.returned_minor == 0 && after == order.captured_minor => {
            return ReturnProgress::Made { voided: true };
        }
        "voided" | "reversed" => order.captured_minor,
        // Older accounts give no amount; the status still says that it was the whole.
        "refunded" => transaction.refunded.filter(|&amount| amount > 0).unwrap_or(order.captured_minor),
        "partially_refunded" => match transaction.refunded.filter(|&amount| amount > 0) {
            Some(amount) => amount,
            None => return ReturnProgress::Other("part of it was refunded, and the gateway does not say how much".into()),
        },
        _ => transaction.refunded.unwrap_or(0),
    };
    ReturnProgress::of(order, theirs, false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::money::Currency;

    fn after(status: &str, refunded: Option<i64>, returned_minor: i64, amount_minor: i64) -> ReturnProgress {
        let value = json!({ "id": "t1", "status": status, "amount": 1000, "amount_refunded": refunded });
        let transaction = Transaction::read(&value).expect("readable");
        let order =
            Return { transaction_id: "t1".into(), amount_minor, captured_minor: 1000, returned_minor, currency: Currency::USD };
        progress(&transaction, &order)
    }

    #[test]
    fn a_repeated_return_is_recognised_and_a_foreign_one_is_not_taken_for_ours() {
        assert_eq!(after("settled", Some(0), 0, 400), ReturnProgress::Before);
        assert_eq!(after("settled", None, 0, 400), ReturnProgress::Before);
        assert_eq!(after("partially_refunded", Some(400), 0, 400), ReturnProgress::Made { voided: false });
        assert_eq!(after("partially_refunded", Some(400), 400, 600), ReturnProgress::Before);
        assert_eq!(after("refunded", None, 400, 600), ReturnProgress::Made { voided: false });
        assert_eq!(after("voided", Some(0), 0, 1000), ReturnProgress::Made { voided: true });
        assert!(matches!(after("voided", Some(0), 0, 400), ReturnProgress::Other(_)));
        assert!(matches!(after("partially_refunded", Some(300), 0, 400), ReturnProgress::Other(_)));
        assert!(matches!(after("partially_refunded", None, 400, 100), ReturnProgress::Other(_)));
    }
}
