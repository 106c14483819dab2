//! Every answer to every payment, against a table of rules; and what must hold whatever the rules say.

use serde_json::json;

use super::*;
use crate::domain::{
    clock::Timeline,
    id::Id,
    lookup::LONGEST_OUTAGE,
    money::Currency,
    payment::{DeclineClass, Reason},
    payment_method::MethodKind,
};

use PaymentStatus::{Authorized, Declined, GatewayError, Parked, Pending, Refunded, Succeeded, Unknown};

const STATUSES: [PaymentStatus; 8] = [Pending, Authorized, Succeeded, Declined, GatewayError, Unknown, Parked, Refunded];
const BOTH: [bool; 2] = [true, false];
const LEASE: TimeDelta = TimeDelta::minutes(1);

/// What is known of calls before the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Never,
    /// It was looked up or sent again once.
    Before,
    /// It was looked up as often as the policy allows.
    TooOften,
    /// The gateway has answered with transaction `t1`.
    Answered,
}

const SENT: [Sent; 4] = [Sent::Never, Sent::Before, Sent::TooOften, Sent::Answered];

/// One row: a payment, an answer and the facts.
#[derive(Debug, Clone)]
struct Case {
    status: PaymentStatus,
    sent: Sent,
    /// It captures what was authorized before the bill date.
    is_captured_authorization: bool,
    /// Its gateway is to be asked again.
    is_lookup_due: bool,
    is_test_clock: bool,
    name: &'static str,
    answer: PaymentReply,
    is_ours: bool,
    is_wanted: bool,
    is_gateway_down: bool,
    may_resend: bool,
    /// A late call would have arrived by now.
    has_had_time: bool,
}

fn wall() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().expect("an instant")
}

/// By the payment's own clock.
fn now() -> DateTime<Utc> {
    "2026-03-05T06:00:00Z".parse().expect("an instant")
}

fn open_again() -> DateTime<Utc> {
    now() + TimeDelta::minutes(20)
}

fn answers() -> Vec<(&'static str, PaymentReply)> {
    let decline = |class| Decline { class, code: "05".to_owned(), message: "no".to_owned() };
    let succeeded = |id: &str| Outcome::Succeeded { transaction_id: id.to_owned(), amount_minor: 900 };
    let authorized = |id: &str| Outcome::Authorized { transaction_id: id.to_owned() };
    let declined = |class| Outcome::Declined { decline: decline(class), transaction_id: None };
    let others = vec![Other { transaction_id: "t8".to_owned(), taken_minor: Some(1000) }];
    let message = || "lost".to_owned();
    let voided = ReturnOutcome::Returned { transaction_id: None, voided: true };
    vec![
        ("success t1", PaymentReply::Outcome(succeeded("t1"))),
        ("success t9", PaymentReply::Outcome(succeeded("t9"))),
        ("authorized t1", PaymentReply::Outcome(authorized("t1"))),
        ("authorized t9", PaymentReply::Outcome(authorized("t9"))),
        ("decline", PaymentReply::Outcome(declined(DeclineClass::Soft))),
        ("mandate ended", PaymentReply::Outcome(declined(DeclineClass::StopRecurring))),
        ("gateway error", PaymentReply::Outcome(Outcome::GatewayError { message: message(), retry_after: None })),
        ("unknown", PaymentReply::Outcome(Outcome::Unknown { message: message() })),
        ("not found", PaymentReply::NotFound),
        ("no answer", PaymentReply::NoAnswer(message())),
        ("disagrees", PaymentReply::Disagrees(message())),
        ("taken twice", PaymentReply::TakenTwice { best: succeeded("t9"), others }),
        ("voided", PaymentReply::Voided(voided)),
        ("not voided", PaymentReply::Voided(ReturnOutcome::Unknown { message: message() })),
        ("paused", PaymentReply::Paused(open_again())),
    ]
}

/// Every combination that can differ.
fn cases() -> impl Iterator<Item = Case> {
    let flags = |count: u32| (0..1u32 << count).map(|bits| move |flag: u32| bits >> flag & 1 == 1);
    let rows = STATUSES.into_iter().flat_map(|status| SENT.map(|sent| (status, sent)));
    rows.flat_map(move |(status, sent)| {
        answers().into_iter().flat_map(move |(name, answer)| {
            // Only these depend on the clock that drives the invoice.
            let clocks: &[bool] = if matches!(name, "not found" | "paused") { &BOTH } else { &[false] };
            // And only this one on whether a charge may be sent again.
            let is_not_found = name == "not found";
            flags(if is_not_found { 7 } else { 5 }).flat_map(move |flag| {
                let answer = answer.clone();
                clocks.iter().map(move |is_test_clock| Case {
                    status,
                    sent,
                    is_captured_authorization: flag(0),
                    is_lookup_due: flag(1),
                    is_test_clock: *is_test_clock,
                    name,
                    answer: answer.clone(),
                    is_ours: flag(2),
                    is_wanted: flag(3),
                    is_gateway_down: flag(4),
                    may_resend: !is_not_found || flag(5),
                    has_had_time: !is_not_found || flag(6),
                })
            })
        })
    })
}

fn lookups() -> LookupPolicy {
    LookupPolicy { backoff: [1, 5].map(TimeDelta::minutes).to_vec(), repeats: 3 }
}

impl Case {
    fn payment(&self) -> Payment {
        Payment {
            id: Id::from_bits(1),
            invoice_id: Id::from_bits(2),
            customer_id: Id::from_bits(3),
            payment_method_id: Some(Id::from_bits(4)),
            payment_request_id: None,
            timeline: if self.is_test_clock { Timeline::Test(Id::from_bits(5)) } else { Timeline::Wall },
            attempt: 1,
            gateway: "main".to_owned(),
            kind: MethodKind::VaultToken,
            reference: "R".to_owned(),
            idempotency_key: "K".to_owned(),
            customer_token: Some("token".to_owned()),
            payment_method_token: None,
            prior_transaction_id: None,
            credential: None,
            reason: Reason::Recurring,
            description: String::new(),
            amount: 1000,
            amount_captured: 0,
            amount_refunded: 0,
            overpayment: 0,
            amount_disputed: 0,
            currency: Currency::USD,
            status: self.status,
            transaction_id: (self.sent == Sent::Answered).then(|| "t1".to_owned()),
            authorization_id: self.is_captured_authorization.then(|| Id::from_bits(6)),
            decline_class: None,
            decline_code: None,
            decline_message: None,
            lease_owner: Some("daemon".to_owned()),
            lease_token: if self.is_ours { 2 } else { 3 },
            lease_expires_at: Some(wall()),
            lookups: match self.sent {
                Sent::Never | Sent::Answered => 0,
                Sent::Before => 1,
                Sent::TooOften => 5,
            },
            next_lookup_at: self.is_lookup_due.then(wall),
            sent_at: wall() - TimeDelta::hours(1),
            called_at: if self.has_had_time { wall() - LEASE } else { wall() },
            created_at: now(),
            resolved_at: (!self.status.is_open()).then(now),
            return_at: None,
        }
    }

    fn facts(&self) -> Facts<'static> {
        Facts {
            wall: wall(),
            now: now(),
            instance: "daemon",
            lease: LEASE,
            lookups: lookups(),
            lease_token: 2,
            is_ours: self.is_ours,
            is_wanted: self.is_wanted,
            is_gateway_down: self.is_gateway_down,
            resend: if self.may_resend { Resend::Allowed } else { Resend::NotBefore(open_again()) },
        }
    }

    fn decide(&self) -> Transition {
        decide(&self.payment(), &self.answer, &self.facts())
    }

    fn is_success(&self) -> bool {
        matches!(self.name, "success t1" | "success t9")
    }

    fn is_decline(&self) -> bool {
        matches!(self.name, "decline" | "mandate ended")
    }

    fn has_money(&self) -> bool {
        matches!(self.status, Succeeded | Refunded)
    }

    /// The first rule that fits: the payment's new status, its events, the effects on the invoice, and the next call.
    fn rule(&self) -> String {
        let is_closed = matches!(self.status, Succeeded | Declined | GatewayError | Parked | Refunded);
        let is_second_look = self.is_ours && self.is_lookup_due;
        // Money that came is always recorded, and somebody is told where nobody expected it.
        if self.is_success() && self.has_money() {
            self.second_success().to_owned()
        } else if self.is_success() {
            if is_closed { "succeeded unexpected_success Paid" } else { "succeeded Paid" }.to_owned()
        } else if is_closed && is_second_look {
            format!("{}{}", self.status, self.second_look())
        } else if is_closed || !self.is_ours && !self.is_decline() {
            self.late().to_owned()
        } else {
            self.open()
        }
    }

    fn second_success(&self) -> &'static str {
        let is_known = self.sent == Sent::Answered && self.name == "success t1";
        if is_known { "" } else { "taken_twice" }
    }

    fn second_look(&self) -> &'static str {
        match self.name {
            "authorized t1" | "authorized t9" => " orphaned_authorization then Void",
            "disagrees" | "taken twice" => " unexpected_success",
            _ => "",
        }
    }

    fn late(&self) -> &'static str {
        let is_answered = self.sent == Sent::Answered;
        match self.name {
            "authorized t1" if is_answered => "",
            // Another daemon may be about to capture it.
            "authorized t1" | "authorized t9" if self.status.is_open() && !is_answered => "orphaned_authorization",
            "authorized t1" | "authorized t9" => "orphaned_authorization then Void",
            "unknown" if self.status == GatewayError && !self.is_wanted => "unknown unknown",
            _ => "",
        }
    }

    fn open(&self) -> String {
        let was_sent = self.sent != Sent::Never;
        let look_up_later =
            if self.sent == Sent::TooOften && !self.is_gateway_down { "parked parked" } else { "unknown looked_up" };
        let rule = match self.name {
            "authorized t1" | "authorized t9" if self.is_wanted => "authorized then Capture",
            "authorized t1" | "authorized t9" => "unknown then Void",
            "decline" | "mandate ended" if !self.is_wanted && self.sent == Sent::Answered => "gateway_error NotWanted",
            "decline" | "mandate ended" if self.is_captured_authorization => "gateway_error reservation_lost AuthorizationFailed",
            "decline" => "declined declined Declined",
            "mandate ended" => "declined declined EndMandate Declined",
            "gateway error" if was_sent => look_up_later,
            "gateway error" => "gateway_error GatewayFault",
            "unknown" => "unknown unknown",
            "not found" if self.is_wanted && self.may_resend => "pending then Charge",
            "not found" if self.is_wanted && self.is_test_clock && self.has_had_time => "gateway_error WaitForGateway",
            "not found" if self.is_wanted => "unknown",
            "not found" if self.has_had_time => "gateway_error NotWanted",
            "not found" => return self.status.to_string(),
            "no answer" | "not voided" => look_up_later,
            "disagrees" => "parked parked",
            "taken twice" => "parked taken_twice parked",
            "voided" => "gateway_error NotWanted",
            "paused" if was_sent => "unknown",
            "paused" => "gateway_error WaitForGateway",
            other => panic!("no rule for {other}"),
        };
        rule.to_owned()
    }
}

/// The same words as the rules: status, events, effects, next call.
fn words(transition: &Transition) -> String {
    let status = transition.payment.iter().map(|payment| payment.status.to_string());
    let events = transition.events.iter().map(|event| event.kind.trim_start_matches("payment.").to_owned());
    let effects = transition.effects.iter().map(|effect| format!("{effect:?}").chars().take_while(|c| *c != '(').collect());
    let next = transition.next.iter().map(|(step, _)| format!("then {step:?}"));
    status.chain(events).chain(effects).chain(next).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_answer_to_every_payment_follows_the_rules() {
    let mut rows = 0;
    for case in cases() {
        assert_eq!(words(&case.decide()), case.rule(), "{case:?}");
        rows += 1;
    }
    assert_eq!(rows, 8 * 4 * (13 * 32 + 2 * 32 + 2 * 128));
}

#[test]
fn money_that_came_is_recorded_or_somebody_is_told() {
    for case in cases().filter(Case::is_success) {
        let transition = case.decide();
        let is_recorded = transition.payment.as_ref().is_some_and(|payment| {
            (payment.status, payment.amount_captured) == (Succeeded, 900) && transition.effects == [Effect::Paid]
        });
        let is_known = case.has_money() && case.payment().transaction_id.as_deref() == Some("t1") && case.name == "success t1";
        let is_told = transition.events.iter().any(|event| event.alarm.is_some());
        assert!(is_recorded || is_told || is_known, "{case:?}");
        assert!(is_told || is_known || !case.status.is_closed(), "{case:?}");
    }
}

#[test]
fn nothing_but_not_found_charges_again_and_then_as_the_same_payment() {
    for case in cases() {
        let Some((PaymentStep::Charge, payment)) = case.decide().next else { continue };
        assert!(case.answer == PaymentReply::NotFound && case.is_ours && case.is_wanted && case.may_resend, "{case:?}");
        assert!(!case.status.is_closed(), "{case:?}");
        let before = case.payment();
        let same = |payment: &Payment| (payment.reference.clone(), payment.idempotency_key.clone(), payment.amount);
        assert_eq!(same(&payment), same(&before));
        assert_eq!((payment.status, payment.lease_expires_at), (Pending, Some(wall() + LEASE)));
        assert!(payment.lookups > before.lookups || case.is_gateway_down, "{case:?}");
    }
}

#[test]
fn an_unknown_outcome_ends_nothing_and_charges_nothing() {
    for case in cases().filter(|case| case.name == "unknown") {
        let transition = case.decide();
        assert_eq!((transition.effects, transition.next), (Vec::new(), None), "{case:?}");
        if case.is_ours && !case.status.is_closed() {
            let payment = transition.payment.expect("changed");
            assert_eq!((payment.status, payment.called_at), (Unknown, wall()), "{case:?}");
        }
    }
}

#[test]
fn a_closed_payment_changes_only_by_success_or_by_a_call_that_was_late() {
    for case in cases().filter(|case| case.status.is_closed() && !case.is_success()) {
        let transition = case.decide();
        // A call was under way when another daemon gave the payment up.
        let was_late = case.status == GatewayError && case.name == "unknown" && !case.is_wanted;
        let status = transition.payment.as_ref().map_or(case.status, |payment| payment.status);
        assert!(status == case.status || was_late && status == Unknown, "{case:?}");
        assert!(transition.effects.is_empty(), "{case:?}");
        assert!(matches!(transition.next, None | Some((PaymentStep::Void, _))), "{case:?}");
    }
}

#[test]
fn an_answer_to_a_lost_claim_sends_nothing_but_a_void() {
    for case in cases().filter(|case| !case.is_ours) {
        let transition = case.decide();
        let Some((step, payment)) = transition.next else { continue };
        assert_eq!((step, payment.lease_token, transition.payment), (PaymentStep::Void, 2, None), "{case:?}");
    }
}

#[test]
fn a_payment_that_stays_open_is_called_looked_up_or_parked() {
    for case in cases() {
        let transition = case.decide();
        let Some(payment) = transition.payment else { continue };
        let goes_on = transition.next.is_some() || payment.next_lookup_at.is_some() || payment.status == Parked;
        assert_eq!(payment.status.is_open(), payment.resolved_at.is_none(), "{case:?}");
        assert!(!payment.status.is_open() || goes_on, "{case:?}");
    }
}

fn case(status: PaymentStatus, sent: Sent, name: &str) -> Case {
    let is_plain = |case: &Case| case.is_ours && case.is_wanted && !case.is_captured_authorization && !case.is_lookup_due;
    let is_usual = |case: &Case| is_plain(case) && !case.is_gateway_down && !case.is_test_clock && case.has_had_time;
    let mut found = cases().filter(|case| (case.status, case.sent, case.name) == (status, sent, name) && is_usual(case));
    found.next().expect("such a case")
}

fn next_lookup(case: &Case) -> Option<DateTime<Utc>> {
    case.decide().payment.expect("changed").next_lookup_at
}

#[test]
fn the_first_lookup_is_immediate_and_later_ones_wait() {
    assert_eq!(next_lookup(&case(Pending, Sent::Never, "unknown")), Some(wall()));
    assert_eq!(next_lookup(&case(Pending, Sent::Before, "unknown")), Some(wall() + TimeDelta::minutes(1)));
    assert_eq!(next_lookup(&case(Unknown, Sent::Before, "no answer")), Some(wall() + TimeDelta::minutes(5)));
}

#[test]
fn what_is_not_wanted_is_looked_up_when_a_late_call_has_arrived_and_once_more_a_day_later() {
    let given_up = Case { is_wanted: false, ..case(Unknown, Sent::Before, "not found") };
    assert_eq!(next_lookup(&given_up), Some(wall() + TimeDelta::days(1)));
    let too_early = Case { has_had_time: false, ..given_up };
    assert_eq!(next_lookup(&too_early), Some(wall() + LEASE));
    let voiding = Case { is_wanted: false, ..case(Pending, Sent::Never, "authorized t9") };
    assert_eq!(next_lookup(&voiding), Some(wall() + LEASE));
}

#[test]
fn a_paused_gateway_is_waited_for_by_the_clock_of_the_payment() {
    let waits = Case { may_resend: false, ..case(Unknown, Sent::Before, "not found") };
    assert_eq!(next_lookup(&waits), Some(open_again()));
    let on_test_clock = Case { is_test_clock: true, has_had_time: false, ..waits };
    assert_eq!(next_lookup(&on_test_clock), Some(wall() + LEASE));
    let not_sent = case(Pending, Sent::Never, "paused").decide();
    assert_eq!(not_sent.effects, [Effect::WaitForGateway(open_again())]);
}

#[test]
fn a_long_outage_spends_no_lookup_but_does_not_last_for_ever() {
    let spent = Case { is_gateway_down: true, ..case(Unknown, Sent::TooOften, "no answer") };
    let mut payment = spent.payment();
    let status = |payment: &Payment| decide(payment, &spent.answer, &spent.facts()).payment.map(|it| (it.status, it.lookups));
    assert_eq!(status(&payment), Some((Unknown, 5)));
    payment.sent_at = wall() - LONGEST_OUTAGE;
    assert_eq!(status(&payment), Some((Parked, 6)));
}

#[test]
fn what_is_sent_again_and_again_and_never_found_waits_for_an_operator() {
    let found_nothing = Case { may_resend: true, ..case(Unknown, Sent::TooOften, "not found") };
    let mut payment = found_nothing.payment();
    let status = |payment: &Payment, case: &Case| decide(payment, &case.answer, &case.facts()).payment.map(|it| it.status);
    assert_eq!(status(&payment, &found_nothing), Some(Pending));
    payment.lookups += 1;
    payment.decline_message = Some("status 409: Conflict".to_owned());
    assert_eq!(status(&payment, &found_nothing), Some(Parked));
    let parked = decide(&payment, &found_nothing.answer, &found_nothing.facts()).payment.expect("changed");
    assert!(parked.decline_message.is_some_and(|message| message.ends_with("never found: status 409: Conflict")));
    assert_eq!(status(&payment, &Case { is_gateway_down: true, ..found_nothing }), Some(Pending), "an outage explains it");
}

#[test]
fn a_payment_taken_twice_names_each_transaction_and_waits_for_an_operator() {
    let transition = case(Unknown, Sent::Before, "taken twice").decide();
    let payment = transition.payment.expect("changed");
    assert_eq!((payment.status, payment.transaction_id.as_deref()), (Parked, Some("t9")));
    let message = payment.decline_message.expect("a message");
    assert!(message.contains("2 times") && message.contains("t9 (900), t8 (1000)"), "{message}");
    let transactions = json!([{ "transaction_id": "t9", "amount": 900 }, { "transaction_id": "t8", "amount": 1000 }]);
    assert_eq!(transition.events[0].data["transactions"], transactions);
}

#[test]
fn a_decline_of_an_authorization_that_the_customer_made_plans_the_invoice_anew() {
    let declined = case(Authorized, Sent::Answered, "decline");
    let payment = Payment { payment_request_id: Some(Id::from_bits(7)), ..declined.payment() };
    assert_eq!(decide(&payment, &declined.answer, &declined.facts()).effects, [Effect::PlanNow]);
}
