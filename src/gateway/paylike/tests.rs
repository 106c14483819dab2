//! Paylike without a network: which of several transactions counts.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;

fn settings(merchant_id: &str) -> Settings {
    Settings {
        name: "paylike".into(),
        base_url: "http://127.0.0.1:9".into(),
        api_key: "secret_key".into(),
        merchant_id: merchant_id.into(),
        timeout: Duration::from_secs(1),
        max_in_flight: 1,
    }
}

fn sent() -> Sent {
    let sent_at: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().expect("instant");
    Sent { reference: "REF1".into(), amount_minor: 2500, currency: "EUR".parse().expect("known"), transaction_id: None, sent_at }
}

fn transaction(id: &str, pending: i64, captured: i64, created: &str) -> Transaction {
    let value = json!({
        "id": id, "created": created, "currency": "EUR", "amount": 2500, "pendingAmount": pending, "capturedAmount": captured,
        "voidedAmount": 2500 - pending - captured, "custom": { "reference": "REF1" }, "successful": true, "error": false,
    });
    Transaction::read(&value).expect("readable")
}

#[test]
fn of_several_matches_the_captured_one_counts_then_the_newest_reserved() {
    let (old, new) = ("2026-03-01T06:00:01Z", "2026-03-01T06:05:00Z");
    let adapter = Paylike::new(&settings("m1")).expect("usable settings");
    let pick = |matches: Vec<Transaction>| adapter.pick(&sent(), matches);
    let id = |found: Found| match found {
        Found::Outcome(Outcome::Succeeded { transaction_id, .. }) => format!("taken {transaction_id}"),
        Found::Outcome(Outcome::Authorized { transaction_id }) => format!("reserved {transaction_id}"),
        other => format!("{other:?}"),
    };
    assert_eq!(pick(Vec::new()), Found::Nothing);
    let both = |found: Found, best: &str, other: (&str, Option<i64>)| match found {
        Found::Several { best: Outcome::Succeeded { transaction_id, .. } | Outcome::Authorized { transaction_id }, others } => {
            assert_eq!(transaction_id, best);
            let others: Vec<_> = others.iter().map(|other| (other.transaction_id.as_str(), other.taken_minor)).collect();
            assert_eq!(others, [other]);
        }
        other => panic!("{other:?}"),
    };
    both(pick(vec![transaction("a", 0, 2500, old), transaction("b", 2500, 0, new)]), "a", ("b", None));
    both(pick(vec![transaction("a", 2500, 0, old), transaction("b", 2500, 0, new)]), "b", ("a", None));
    both(pick(vec![transaction("a", 0, 2500, old), transaction("b", 0, 2500, new)]), "b", ("a", Some(2500)));
    assert_eq!(id(pick(vec![transaction("a", 2500, 0, old), transaction("b", 0, 0, new)])), "reserved a");
    let voided = pick(vec![transaction("b", 0, 0, new)]);
    assert!(matches!(voided, Found::Outcome(Outcome::Declined { decline, .. }) if decline.class == DeclineClass::TryLater));
}

#[test]
fn another_amount_under_our_reference_is_left_to_the_operator() {
    let mut other = sent();
    other.amount_minor = 9900;
    let adapter = Paylike::new(&settings("m1")).expect("usable settings");
    let found = adapter.pick(&other, vec![transaction("a", 0, 2500, "2026-03-01T06:00:01Z")]);
    assert!(matches!(found, Found::Disagrees { message } if message.contains("9900") && message.contains("2500")));
}

#[test]
fn a_merchant_id_is_needed() {
    assert!(Paylike::new(&settings("")).is_err());
}
