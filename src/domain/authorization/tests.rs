//! What is decided about a subscription's authorization, case by case.

use super::*;
use crate::domain::{
    frequency::Frequency,
    id::Id,
    subscription::{Subscription, SubscriptionStatus},
};

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn rules() -> Rules {
    Rules { bill_at: "06:00:00".parse().expect("a time"), holidays: Default::default(), catch_up_limit: 3 }
}

/// 10.00 a month from 10 January on, authorized three days before.
pub(super) fn subscription() -> Subscription {
    let beginning = Subscription::beginning(
        Id::from_bits(1),
        Id::from_bits(2),
        Currency::USD,
        "America/New_York".parse().expect("zone"),
        Frequency::Monthly,
        "2026-01-10".parse().expect("date"),
        at("2026-01-01T00:00:00Z"),
    );
    let mut subscription = Subscription { amount: 1000, authorize_days_before: Some(3), ..beginning };
    subscription.refresh(&rules());
    subscription
}

fn card(token: &str) -> Credential {
    Credential {
        payment_method_id: None,
        gateway: "fluid".into(),
        kind: MethodKind::VaultToken,
        customer_token: Some(token.into()),
        payment_method_token: None,
        prior_transaction_id: None,
        in_part: true,
    }
}

pub(super) fn authorization(status: AuthorizationStatus) -> Authorization {
    Authorization {
        id: Id::from_bits(3),
        subscription_id: Id::from_bits(1),
        customer_id: Id::from_bits(2),
        cycle: 0,
        attempt: 1,
        payment_method_id: None,
        timeline: Timeline::Wall,
        gateway: "fluid".into(),
        kind: MethodKind::VaultToken,
        reference: "R".into(),
        idempotency_key: "K".into(),
        customer_token: Some("a".into()),
        payment_method_token: None,
        prior_transaction_id: None,
        credential: "fluid:a".into(),
        description: String::new(),
        amount: 1000,
        currency: Currency::USD,
        bill_at: at("2026-01-10T11:00:00Z"),
        status,
        transaction_id: Some("t".into()),
        payment_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        void_reason: None,
        lease_owner: None,
        lease_token: 1,
        lease_expires_at: None,
        lookups: 0,
        next_lookup_at: None,
        sent_at: at("2026-01-07T11:00:00Z"),
        called_at: at("2026-01-07T11:00:00Z"),
        expires_at: Some(at("2026-01-14T11:00:00Z")),
        created_at: at("2026-01-07T11:00:00Z"),
        resolved_at: None,
        amount_taken: None,
    }
}

fn decided(subscription: &Subscription, now: &str, open: Option<&Authorization>, last: Option<&Authorization>) -> Decision {
    let (rules, card) = (rules(), card("a"));
    let credential = Some(&card);
    let waits = &[TimeDelta::hours(1), TimeDelta::hours(6)];
    decide(&Look { subscription, now: at(now), rules: &rules, open, waits: false, last, credential, credit: 0, try_waits: waits })
}

const AHEAD: &str = "2026-01-08T00:00:00Z";

#[test]
fn it_is_asked_for_so_many_local_days_before_at_the_hour_of_billing() {
    let sub = subscription();
    let from = at("2026-01-07T11:00:00Z");
    assert_eq!(decided(&sub, "2026-01-07T10:59:59Z", None, None), Decision::Nothing(Some(from)));
    let asked = Decision::Authorize { cycle: 0, attempt: 1, amount: 1000, bill_at: at("2026-01-10T11:00:00Z") };
    assert_eq!(decided(&sub, "2026-01-07T11:00:00Z", None, None), asked);
    assert_eq!(decided(&sub, "2026-01-10T11:00:00Z", None, None), Decision::Nothing(None), "billing takes over");
    let never = Subscription { authorize_days_before: Some(0), ..sub };
    assert_eq!(decided(&never, AHEAD, None, None), Decision::Nothing(None));
}

#[test]
fn what_is_on_its_way_is_waited_for() {
    use AuthorizationStatus::{Pending, Unknown, Voiding};
    let mut sub = subscription();
    for status in [Pending, Unknown, Voiding] {
        assert_eq!(decided(&sub, AHEAD, Some(&authorization(status)), None), Decision::Nothing(None));
    }
    sub.end(SubscriptionStatus::Cancelled, at(AHEAD));
    assert_eq!(
        decided(&sub, AHEAD, Some(&authorization(Unknown)), None),
        Decision::Nothing(None),
        "its answer brings the next look"
    );
}

#[test]
fn what_does_not_fit_any_more_is_given_free() {
    let held = authorization(AuthorizationStatus::Authorized);
    let sub = subscription();
    let keeps = |sub: &Subscription| decided(sub, AHEAD, Some(&held), None) == Decision::Nothing(None);
    assert!(keeps(&sub));
    assert!(keeps(&Subscription { amount: 600, ..sub.clone() }), "less is captured in part");
    let mut ended = sub.clone();
    ended.end(SubscriptionStatus::Cancelled, at(AHEAD));
    let mut moved = sub.clone();
    moved.reschedule("2026-02-20".parse().expect("date"), false, &rules());
    for changed in [
        Subscription { amount: 1001, ..sub.clone() },
        Subscription { amount: 0, ..sub.clone() },
        Subscription { currency: "EUR".parse().expect("currency"), ..sub.clone() },
        Subscription { authorize_days_before: Some(0), ..sub.clone() },
        Subscription { status: SubscriptionStatus::Paused, ..sub.clone() },
        Subscription { pause_at_period_end: true, ..sub.clone() },
        Subscription { next_cycle: 1, ..sub.clone() },
        ended,
        moved,
    ] {
        assert!(!keeps(&changed), "{changed:?}");
    }
    let elsewhere = Authorization { customer_token: Some("b".into()), ..held.clone() };
    assert!(matches!(decided(&sub, AHEAD, Some(&elsewhere), None), Decision::Void(_)));
    let whole = Credential { in_part: false, ..card("a") };
    let covers = |amount| held.covers(amount, Currency::USD, &whole, at(AHEAD)).is_ok();
    assert_eq!(
        (covers(999), covers(1000), covers(1001)),
        (false, true, false),
        "where a second capture of a part could be taken"
    );
}

#[test]
fn it_is_renewed_before_it_runs_out_unless_the_bill_date_comes_first() {
    let mut held = authorization(AuthorizationStatus::Authorized);
    held.expires_at = Some(at("2026-01-09T12:00:00Z"));
    let sub = subscription();
    assert_eq!(decided(&sub, AHEAD, Some(&held), None), Decision::Nothing(Some(at("2026-01-09T00:00:00Z"))));
    assert!(matches!(decided(&sub, "2026-01-09T00:00:00Z", Some(&held), None), Decision::Void(_)));
}

#[test]
fn a_declined_card_is_asked_once_and_a_fault_again_later() {
    let sub = subscription();
    let mut last = authorization(AuthorizationStatus::Declined);
    last.resolved_at = Some(at("2026-01-07T23:30:00Z"));
    assert_eq!(decided(&sub, AHEAD, None, Some(&last)), Decision::Nothing(None));
    let cheaper = Subscription { amount: 999, ..sub.clone() };
    assert!(matches!(decided(&cheaper, AHEAD, None, Some(&last)), Decision::Authorize { .. }));
    let other = Authorization { customer_token: Some("b".into()), ..last.clone() };
    assert!(matches!(decided(&sub, AHEAD, None, Some(&other)), Decision::Authorize { .. }), "another card may do");
    for status in [AuthorizationStatus::GatewayError, AuthorizationStatus::Lost] {
        last.status = status;
        assert_eq!(decided(&sub, AHEAD, None, Some(&last)), Decision::Nothing(Some(at("2026-01-08T00:30:00Z"))));
        assert!(matches!(decided(&sub, "2026-01-08T00:30:00Z", None, Some(&last)), Decision::Authorize { .. }));
    }
}

#[test]
fn what_may_pass_is_asked_again_along_growing_waits() {
    let sub = subscription();
    let mut last = authorization(AuthorizationStatus::Declined);
    last.decline_class = Some(DeclineClass::TryLater);
    last.resolved_at = Some(at("2026-01-07T23:30:00Z"));
    for (attempt, again) in [(1, "2026-01-08T00:30:00Z"), (2, "2026-01-08T05:30:00Z"), (7, "2026-01-08T05:30:00Z")] {
        last.attempt = attempt;
        assert_eq!(decided(&sub, AHEAD, None, Some(&last)), Decision::Nothing(Some(at(again))));
        let Decision::Authorize { attempt: next, .. } = decided(&sub, again, None, Some(&last)) else { panic!("asked again") };
        assert_eq!(next, attempt + 1);
    }
    // A charge that is refused for what it is waits for its bill date, which tells an operator.
    last.status = AuthorizationStatus::GatewayError;
    last.decline_class = Some(DeclineClass::ChargeRefused);
    assert_eq!(decided(&sub, "2026-01-09T00:00:00Z", None, Some(&last)), Decision::Nothing(None));
    let other = Authorization { customer_token: Some("b".into()), ..last };
    assert!(matches!(decided(&sub, "2026-01-09T00:00:00Z", None, Some(&other)), Decision::Authorize { .. }));
}
