//! Whether a stored customer or card is gone from FluidPay's vault: proven by reads, since a wrong address answers "not found", too.

use serde_json::{Value, json};

use super::{
    super::{Charge, http::HttpAnswer, statuses},
    FluidPay,
};
use crate::domain::payment::{Decline, DeclineClass, Outcome};

/// What the vault says about a stored customer.
enum Stored {
    There(Value),
    NotFound,
    NoAnswer,
}

impl FluidPay {
    /// A charge that was answered with 404: the stored customer or card is gone, or something else is.
    pub(super) async fn not_found(&self, charge: &Charge, customer: &str, method: Option<&str>, message: &str) -> Outcome {
        let secrets = [Some(customer), method].map(Option::unwrap_or_default);
        let (class, message) = match self.stored(customer).await {
            Stored::NoAnswer => (DeclineClass::GatewayFault, message.to_owned()),
            Stored::There(found) if lacks(&found, method) => {
                (DeclineClass::NewCardNeeded, "the gateway no longer has the customer's card".to_owned())
            }
            Stored::There(_) => (statuses::class(404), message.to_owned()),
            // A mistyped address must not tell every customer that their card is no good: so the account itself has to answer.
            Stored::NotFound => match self.account_answers(charge).await {
                Some(true) => (DeclineClass::NewCardNeeded, "the gateway no longer has the customer".to_owned()),
                Some(false) => (DeclineClass::AccountRefused, format!("nothing is found at this address: {message}")),
                None => (DeclineClass::GatewayFault, message.to_owned()),
            },
        };
        let decline = Decline { class, code: "http_404".to_owned(), message: self.http.clean(&message, &secrets) };
        Outcome::Declined { decline, transaction_id: None }
    }

    /// Whether the account answers a question at this address. None: it could not be asked.
    async fn account_answers(&self, charge: &Charge) -> Option<bool> {
        let order = json!({ "order_id": { "operator": "=", "value": charge.reference }, "limit": 1, "offset": 0 });
        match self.http.search("charge_refused", self.http.url(&["transaction", "search"]), &order).await {
            Ok(answer) => Some(matches!(answer, HttpAnswer::Done(_))),
            Err(_) => None,
        }
    }

    /// By the old path, then by the new one. Only where both find nothing is the customer gone.
    async fn stored(&self, customer: &str) -> Stored {
        let old = self.read(&["customer", customer]).await;
        let new = self.read(&["vault", customer]).await;
        match (old, new) {
            // The new path lists every card.
            (_, Stored::There(found)) | (Stored::There(found), Stored::NotFound) => Stored::There(found),
            (Stored::NotFound, Stored::NotFound) => Stored::NotFound,
            _ => Stored::NoAnswer,
        }
    }

    async fn read(&self, path: &[&str]) -> Stored {
        match self.http.get("charge_refused", self.http.url(path)).await {
            Ok(HttpAnswer::Done(body)) => Stored::There(body),
            Ok(HttpAnswer::Refused { status: 404, .. }) => Stored::NotFound,
            Ok(HttpAnswer::Refused { .. }) | Err(_) => Stored::NoAnswer,
        }
    }
}

/// Whether a stored customer has no such card or account; without a token, whether it has none at all.
fn lacks(found: &Value, method: Option<&str>) -> bool {
    let payments = found.pointer("/data/data/customer/payments").or_else(|| found.pointer("/data/customer/payments"));
    // An answer in another shape proves nothing.
    let Some(payments) = payments.and_then(Value::as_object) else { return false };
    let mut ids = payments.values().filter_map(Value::as_array).flatten().filter_map(|stored| stored.get("id")?.as_str());
    match method {
        Some(token) => !ids.any(|id| id == token),
        None => ids.next().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_only_missing_from_an_answer_that_lists_cards() {
        let with = |cards: Value| json!({ "data": { "data": { "customer": { "payments": { "cards": cards, "ach": null } } } } });
        let one = with(json!([{ "id": "a" }]));
        assert_eq!([Some("a"), Some("b"), None].map(|token| lacks(&one, token)), [false, true, false]);
        assert_eq!([Some("a"), None].map(|token| lacks(&with(Value::Null), token)), [true, true]);
        assert!(!lacks(&json!({ "data": { "id": "x" } }), Some("b")));
    }
}
