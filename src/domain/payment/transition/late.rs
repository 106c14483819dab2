//! What an answer means that comes after another daemon has taken the payment over, or after the payment's end.

use serde_json::json;

use super::{Facts, PaymentReply, PaymentStep, Transition, open};
use crate::domain::payment::{Outcome, Payment, PaymentStatus};

pub(super) fn on_late_answer(payment: &Payment, answer: &PaymentReply, facts: &Facts) -> Transition {
    let is_another = |id: &String| payment.transaction_id.as_ref() != Some(id);
    match answer {
        PaymentReply::Outcome(Outcome::Authorized { transaction_id }) if is_another(transaction_id) => {
            orphaned(payment, transaction_id, facts)
        }
        // The call was sent after another daemon had found nothing and given the payment up. One more lookup says whether it
        // arrived.
        PaymentReply::Outcome(Outcome::Unknown { message })
            if payment.status == PaymentStatus::GatewayError && !facts.is_wanted =>
        {
            open::on_unknown(Payment { resolved_at: None, ..payment.clone() }, message, facts)
        }
        PaymentReply::Outcome(Outcome::Succeeded { transaction_id, amount_minor }) if is_another(transaction_id) => {
            let data = json!({ "transaction_id": transaction_id, "amount": amount_minor, "status": payment.status });
            let alarm = "the gateway reports a second success for one payment";
            Transition::default().alarm("payment.taken_twice", data, alarm)
        }
        _ => Transition::default(),
    }
}

fn orphaned(payment: &Payment, transaction_id: &str, facts: &Facts) -> Transition {
    let data = json!({ "transaction_id": transaction_id });
    let mut transition = Transition::default().event("payment.orphaned_authorization", data);
    // Whoever has the payment now may be about to find and capture this very authorization. An authorization runs out by itself.
    let may_be_captured = payment.status.is_open() && payment.transaction_id.is_none();
    if !may_be_captured {
        // The later of two authorizations is voided: no money has moved. The void goes out under the claim that was lost, so its
        // outcome says nothing about the payment as it is now.
        let (transaction_id, lease_token) = (Some(transaction_id.to_owned()), facts.lease_token);
        transition.next = Some((PaymentStep::Void, Payment { transaction_id, lease_token, ..payment.clone() }));
    }
    transition
}
