//! Every status of a refund with every answer and every fact, and the rules that hold for all of them.

use super::*;
use crate::domain::{
    clock::Timeline,
    id::Id,
    invoice::InvoiceStatus,
    lookup::LONGEST_OUTAGE,
    money::Currency,
    refund::RefundTo,
    samples::{self, at},
};

fn policy() -> LookupPolicy {
    LookupPolicy { backoff: [1, 5, 60].map(TimeDelta::minutes).to_vec(), repeats: 7 }
}

fn wall() -> DateTime<Utc> {
    at("2026-03-01T12:00:00Z")
}

/// By the customer's clock.
fn now() -> DateTime<Utc> {
    at("2027-01-01T00:00:00Z")
}

fn facts(lookups: &LookupPolicy, nothing_claimed: bool) -> Facts<'_> {
    Facts { now: now(), wall: wall(), lookups, is_gateway_down: false, nothing_claimed }
}

/// 3.00 of a payment of 10.00, of which 1.00 had gone back before.
fn rows(status: RefundStatus) -> RefundRows {
    let payment = Payment { amount_refunded: 100, ..samples::payment() };
    let invoice = Invoice { status: InvoiceStatus::Paid, amount_paid: 1000, amount_refunded: 100, ..samples::invoice() };
    let refund = Refund {
        id: Id::from_bits(9),
        payment_id: Some(payment.id),
        invoice_id: invoice.id,
        timeline: Timeline::Wall,
        destination: RefundTo::Method,
        amount: 300,
        returned_before: 100,
        currency: Currency::USD,
        reason: String::new(),
        status,
        voided: false,
        transaction_id: None,
        message: None,
        lease_owner: Some("a".to_owned()),
        lease_token: 1,
        lease_expires_at: Some(wall()),
        lookups: 0,
        next_lookup_at: Some(wall()),
        sent_at: at("2026-03-01T11:00:00Z"),
        created_at: at("2026-03-01T11:00:00Z"),
        resolved_at: None,
    };
    RefundRows { refund, payment, invoice }
}

fn returned() -> ReturnOutcome {
    ReturnOutcome::Returned { transaction_id: Some("r".to_owned()), voided: true }
}

fn unknown() -> ReturnOutcome {
    ReturnOutcome::Unknown { message: "no answer".to_owned() }
}

fn outcomes() -> [ReturnOutcome; 4] {
    let refused = ReturnOutcome::Refused { code: "05".to_owned(), message: "no".to_owned() };
    [returned(), refused, ReturnOutcome::GatewayError { message: "never arrived".to_owned() }, unknown()]
}

struct Case {
    before: RefundRows,
    answer: RefundReply,
    nothing_claimed: bool,
    after: Option<Transition>,
}

impl Case {
    fn status_after(&self) -> Option<RefundStatus> {
        self.after.as_ref().map(|after| after.rows.refund.status)
    }

    /// Whether this was the last lookup. The call itself, also one that comes late, is no lookup.
    fn is_spent(&self) -> bool {
        self.before.refund.status == RefundStatus::Unknown && policy().is_spent(self.before.refund.lookups + 1)
    }
}

/// All combinations: status, answer, who gives it, claims, lookups so far, what the payment has given back, overpayment.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in RefundStatus::ALL {
        for outcome in outcomes() {
            for nothing_claimed in [false, true] {
                for lookups in [0, 1, 10, 11] {
                    // As when it was sent; with this refund; with something else.
                    for amount_refunded in [100, 400, 250] {
                        for overpayment in [0, 200, 1000] {
                            let mut before = rows(*status);
                            before.refund.lookups = lookups;
                            before.payment.amount_refunded = amount_refunded;
                            before.payment.overpayment = overpayment;
                            let mut answers = vec![RefundReply::Gateway(outcome.clone())];
                            if matches!(outcome, ReturnOutcome::Returned { .. } | ReturnOutcome::GatewayError { .. }) {
                                answers.push(RefundReply::Operator(outcome.clone()));
                            }
                            for answer in answers {
                                let policy = policy();
                                let after = decide(before.clone(), &answer, &facts(&policy, nothing_claimed));
                                cases.push(Case { before: before.clone(), answer, nothing_claimed, after });
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

/// The whole table in words: the status after, none where nothing changes.
fn expected(case: &Case) -> Option<RefundStatus> {
    use RefundStatus::{GatewayError, Parked, Pending, Refused, Succeeded, Unknown};
    let RefundRows { refund, payment, .. } = &case.before;
    let untouched = payment.amount_refunded == refund.returned_before;
    let given_up = matches!(refund.status, GatewayError | Parked) && untouched;
    let waits = match &case.answer {
        RefundReply::Operator(_) => refund.status == Parked,
        RefundReply::Gateway(outcome) => match (refund.status, outcome) {
            (Pending | Unknown, _) => true,
            (_, ReturnOutcome::Returned { .. }) => given_up,
            (_, ReturnOutcome::Unknown { .. }) => given_up && case.nothing_claimed,
            _ => false,
        },
    };
    let after = match case.answer.outcome() {
        // Found under another refund that had been given up.
        ReturnOutcome::Returned { .. } if payment.amount_refunded == refund.returned_before + refund.amount => GatewayError,
        ReturnOutcome::Returned { .. } => Succeeded,
        ReturnOutcome::Refused { .. } => Refused,
        ReturnOutcome::GatewayError { .. } => GatewayError,
        ReturnOutcome::Unknown { .. } if case.is_spent() => Parked,
        ReturnOutcome::Unknown { .. } => Unknown,
    };
    waits.then_some(after)
}

#[test]
fn every_combination_leads_where_the_table_says() {
    let cases = cases();
    assert_eq!(cases.len(), 6 * 2 * 4 * 3 * 3 * (4 + 2));
    for case in cases {
        assert_eq!(case.status_after(), expected(&case), "{:?} {:?}", case.before.refund, case.answer);
    }
}

#[test]
fn money_is_booked_once_and_only_when_the_refund_succeeds() {
    for case in cases() {
        let Some(after) = &case.after else { continue };
        let succeeded = after.rows.refund.status == RefundStatus::Succeeded;
        let booked = if succeeded { 300 } else { 0 };
        assert_eq!(after.rows.payment.amount_refunded, case.before.payment.amount_refunded + booked);
        let overpayment = case.before.payment.overpayment_in(100, 300);
        let of_invoice = if succeeded { 300 - overpayment } else { 0 };
        assert_eq!(after.rows.invoice.amount_refunded, case.before.invoice.amount_refunded + of_invoice);
        if succeeded {
            let policy = policy();
            for outcome in outcomes() {
                for answer in [RefundReply::Gateway(outcome.clone()), RefundReply::Operator(outcome)] {
                    let again = decide(after.rows.clone(), &answer, &facts(&policy, true));
                    assert_eq!(again, None, "a refund that succeeded takes no further answer");
                }
            }
        }
    }
}

#[test]
fn nothing_but_a_certain_answer_closes_a_refund() {
    for case in cases() {
        let certain = !matches!(case.answer.outcome(), ReturnOutcome::Unknown { .. });
        let closed =
            matches!(case.status_after(), Some(RefundStatus::Succeeded | RefundStatus::Refused | RefundStatus::GatewayError));
        assert_eq!(closed, case.after.is_some() && certain, "{:?} {:?}", case.before.refund, case.answer);
    }
}

#[test]
fn a_refund_without_an_outcome_has_a_lookup_or_an_operator_and_no_lease() {
    for case in cases() {
        let Some(Transition { rows: RefundRows { refund, .. }, .. }) = &case.after else { continue };
        let unknown = refund.status == RefundStatus::Unknown;
        assert_eq!(refund.next_lookup_at.is_some(), unknown);
        assert_eq!(refund.resolved_at, (!unknown && refund.status != RefundStatus::Parked).then(now));
        assert_eq!((&refund.lease_owner, refund.lease_expires_at), (&None, None));
    }
}

#[test]
fn an_overpayment_is_tried_again_when_the_gateway_did_not_take_it_back() {
    for case in cases() {
        let Some(after) = &case.after else { continue };
        let payment = &after.rows.payment;
        let owed = payment.overpayment > payment.amount_refunded;
        let failed = matches!(after.rows.refund.status, RefundStatus::Refused | RefundStatus::GatewayError);
        assert_eq!(after.effects.contains(&Effect::RetryOverpayment), owed && failed);
        assert!(owed || payment.return_at.is_none());
    }
}

#[test]
fn claims_are_needed_only_where_they_change_the_decision() {
    let policy = policy();
    for case in cases() {
        if !case.before.needs_claims(case.answer.outcome()) {
            let other = decide(case.before.clone(), &case.answer, &facts(&policy, !case.nothing_claimed));
            assert_eq!(other, case.after);
        }
    }
}

#[test]
fn lookups_wait_longer_each_time_and_end_with_an_operator() {
    let policy = policy();
    let mut current = rows(RefundStatus::Pending);
    let mut waits = Vec::new();
    while current.refund.status != RefundStatus::Parked {
        let after = decide(current, &RefundReply::Gateway(unknown()), &facts(&policy, false)).expect("it waits");
        current = after.rows;
        waits.extend(current.refund.next_lookup_at.map(|at| (at - wall()).num_minutes()));
    }
    assert_eq!(waits, [0, 1, 5, 60, 60, 60, 60, 60, 60, 60, 60]);
}

#[test]
fn a_long_outage_spends_no_lookup_but_does_not_last_for_ever() {
    let policy = policy();
    let down = Facts { is_gateway_down: true, ..facts(&policy, false) };
    let mut before = rows(RefundStatus::Unknown);
    before.refund.lookups = 10;
    let look = |rows| decide(rows, &RefundReply::Gateway(unknown()), &down).expect("it waits").rows.refund;
    let after = look(before.clone());
    assert_eq!((after.status, after.lookups), (RefundStatus::Unknown, 10));
    before.refund.sent_at = wall() - LONGEST_OUTAGE;
    assert_eq!(look(before).status, RefundStatus::Parked);
}

#[test]
fn a_refund_whose_daemon_fell_silent_is_looked_up_as_often() {
    let policy = policy();
    let mut current = rows(RefundStatus::Unknown);
    let mut lookups = 0;
    while current.refund.status != RefundStatus::Parked {
        current = decide(current, &RefundReply::Gateway(unknown()), &facts(&policy, false)).expect("it waits").rows;
        lookups += 1;
    }
    assert_eq!(lookups, 11);
}

#[test]
fn the_time_in_which_it_may_arrive_counts_from_when_it_was_last_sent() {
    let policy = policy();
    let sent = |status| {
        let after = decide(rows(status), &RefundReply::Gateway(unknown()), &facts(&policy, true)).expect("it waits");
        after.rows.refund.sent_at == wall()
    };
    assert!(sent(RefundStatus::Pending) && sent(RefundStatus::GatewayError) && sent(RefundStatus::Parked));
    assert!(!sent(RefundStatus::Unknown), "a lookup sends nothing");
}

#[test]
fn a_refund_that_is_not_found_is_given_a_lease_to_arrive() {
    let refund = rows(RefundStatus::Unknown).refund;
    let lease = TimeDelta::minutes(5);
    let early = refund.not_found(refund.sent_at + lease - TimeDelta::seconds(1), lease);
    assert!(matches!(early, ReturnOutcome::Unknown { .. }), "{early:?}");
    let late = refund.not_found(refund.sent_at + lease, lease);
    assert!(matches!(late, ReturnOutcome::GatewayError { .. }), "{late:?}");
}

#[test]
fn a_payment_that_has_given_all_back_is_refunded() {
    let policy = policy();
    let mut before = rows(RefundStatus::Pending);
    before.refund.amount = 900;
    let after = decide(before, &RefundReply::Gateway(returned()), &facts(&policy, false)).expect("it waits").rows;
    assert_eq!((after.payment.status, after.payment.amount_refunded), (PaymentStatus::Refunded, 1000));
    assert_eq!((after.refund.voided, after.refund.transaction_id.as_deref()), (true, Some("r")));
    assert_eq!(after.invoice.updated_at, now());
}
