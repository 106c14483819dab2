//! What a second lookup says about a payment that never arrived and was given up.

use serde_json::json;

use super::{Facts, PaymentReply, PaymentStep, Transition};
use crate::domain::payment::{Outcome, Payment};

/// The payment stays closed. If the gateway could not say, it is asked again.
pub(super) fn on_second_look(mut payment: Payment, answer: &PaymentReply, facts: &Facts) -> Transition {
    const UNEXPECTED: &str = "payment.unexpected_success";
    payment.lease_owner = None;
    payment.next_lookup_at = None;
    match answer {
        PaymentReply::Outcome(Outcome::Authorized { transaction_id }) => {
            payment.transaction_id = Some(transaction_id.clone());
            let data = json!({ "transaction_id": transaction_id });
            Transition::to(payment).event("payment.orphaned_authorization", data).then(PaymentStep::Void)
        }
        PaymentReply::NoAnswer(_) | PaymentReply::Outcome(Outcome::Unknown { .. } | Outcome::GatewayError { .. }) => {
            payment.lookups += 1;
            let again = !facts.lookups.is_spent(payment.lookups);
            payment.next_lookup_at = again.then(|| facts.wall + facts.lookups.delay(payment.lookups));
            Transition::to(payment)
        }
        PaymentReply::Disagrees(message) => Transition::to(payment).alarm(
            UNEXPECTED,
            json!({ "message": message }),
            "the gateway has what had been given up, and not as it was asked for",
        ),
        PaymentReply::TakenTwice { .. } => Transition::to(payment).alarm(
            UNEXPECTED,
            json!({ "message": "taken more than once" }),
            "the gateway has taken what had been given up, more than once",
        ),
        PaymentReply::NotFound
        | PaymentReply::Voided(_)
        | PaymentReply::Paused(_)
        | PaymentReply::Outcome(Outcome::Succeeded { .. } | Outcome::Declined { .. }) => Transition::to(payment),
    }
}
