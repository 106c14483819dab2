//! Every status of an authorization with every answer and every fact, and the rules that hold for all of them.

use super::*;
use crate::domain::{
    authorization::tests::{at, authorization, subscription},
    id::Id,
};

const LEASE: TimeDelta = TimeDelta::minutes(5);

fn policy() -> LookupPolicy {
    LookupPolicy { backoff: [1, 5, 60].map(TimeDelta::minutes).to_vec(), repeats: 7 }
}

fn wall() -> DateTime<Utc> {
    at("2026-01-07T11:01:00Z")
}

/// By the customer's clock.
fn now() -> DateTime<Utc> {
    at("2026-01-08T00:00:00Z")
}

fn facts(lookups: &LookupPolicy, is_wanted: bool) -> Facts<'_> {
    Facts { now: now(), wall: wall(), lease: LEASE, lifetime: TimeDelta::days(7), lookups, owner: "b", is_wanted }
}

fn authorized() -> Outcome {
    Outcome::Authorized { transaction_id: "found".to_owned() }
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { transaction_id: "found".to_owned(), amount_minor: 1000 }
}

fn declined(class: DeclineClass) -> Outcome {
    let decline = Decline { class, code: "05".to_owned(), message: "no".to_owned() };
    Outcome::Declined { decline, transaction_id: Some("found".to_owned()) }
}

fn gateway_error() -> Outcome {
    Outcome::GatewayError { message: "away".to_owned(), retry_after: None }
}

fn unknown() -> Outcome {
    Outcome::Unknown { message: "no answer".to_owned() }
}

fn answers() -> Vec<AuthorizationReply> {
    use AuthorizationReply::{NoAnswer, NotFound, Outcome as Says, Several, Voided};
    let mut answers: Vec<AuthorizationReply> = [authorized(), succeeded(), gateway_error(), unknown()].map(Says).to_vec();
    answers.extend(DeclineClass::ALL.iter().map(|class| Says(declined(*class))));
    for best in [authorized(), succeeded(), declined(DeclineClass::Soft)] {
        answers.extend([false, true].map(|others_voided| Several { best: best.clone(), others_voided }));
    }
    answers.extend([NotFound, NoAnswer("no answer".to_owned())]);
    answers.extend([
        Voided(ReturnOutcome::Returned { transaction_id: None, voided: true }),
        Voided(ReturnOutcome::Refused { code: "captured".to_owned(), message: "it was taken".to_owned() }),
        Voided(ReturnOutcome::GatewayError { message: "away".to_owned() }),
        Voided(ReturnOutcome::Unknown { message: "no answer".to_owned() }),
    ]);
    answers
}

struct Case {
    before: Authorization,
    answer: AuthorizationReply,
    is_wanted: bool,
    after: Transition,
}

impl Case {
    /// What the answer says of the authorization, from a call or from a lookup.
    fn outcome(&self) -> Option<&Outcome> {
        match &self.answer {
            AuthorizationReply::Outcome(outcome) | AuthorizationReply::Several { best: outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    fn is_undecided(&self) -> bool {
        matches!(self.before.status, Status::Pending | Status::Unknown)
    }

    fn is_closed(&self) -> bool {
        matches!(self.before.status, Status::Declined | Status::GatewayError | Status::Voided | Status::Lost)
    }

    fn emits(&self) -> Vec<&'static str> {
        let kind = |effect: &Effect| if let Effect::Emit { kind, .. } = effect { Some(*kind) } else { None };
        self.after.effects.iter().filter_map(kind).collect()
    }
}

/// All combinations: status, answer, whether it is wanted, lookups so far, whether it was taken already.
fn cases() -> Vec<Case> {
    let policy = policy();
    let mut cases = Vec::new();
    for status in Status::ALL {
        for answer in answers() {
            for is_wanted in [false, true] {
                for lookups in [0, 1, 9, 10] {
                    for amount_taken in [None, Some(1)] {
                        let before = Authorization {
                            lookups,
                            amount_taken,
                            lease_owner: Some("a".to_owned()),
                            lease_expires_at: Some(wall()),
                            next_lookup_at: Some(wall()),
                            transaction_id: Some("known".to_owned()),
                            expires_at: None,
                            ..authorization(*status)
                        };
                        let after = decide(before.clone(), &answer, &facts(&policy, is_wanted));
                        cases.push(Case { before, answer: answer.clone(), is_wanted, after });
                    }
                }
            }
        }
    }
    cases
}

/// The whole table in words: the status after.
fn expected(case: &Case) -> Status {
    let spent = policy().is_spent(case.before.lookups + 1);
    let first = case.before.lookups == 0;
    match case.before.status {
        Status::Pending | Status::Unknown => match &case.answer {
            AuthorizationReply::Voided(_) => case.before.status,
            AuthorizationReply::NotFound if case.is_wanted => Status::Pending,
            AuthorizationReply::NotFound => Status::GatewayError,
            AuthorizationReply::Outcome(Outcome::GatewayError { .. }) if first => Status::GatewayError,
            AuthorizationReply::Outcome(Outcome::Unknown { .. }) if first => Status::Unknown,
            AuthorizationReply::Outcome(Outcome::Declined { decline, .. }) => match decline.class {
                DeclineClass::GatewayFault | DeclineClass::AccountRefused | DeclineClass::ChargeRefused => Status::GatewayError,
                _ => Status::Declined,
            },
            _ if matches!(case.outcome(), Some(Outcome::Authorized { .. } | Outcome::Succeeded { .. })) => Status::Authorized,
            _ if spent => Status::Lost,
            _ => Status::Unknown,
        },
        Status::Voiding => match &case.answer {
            AuthorizationReply::Voided(ReturnOutcome::Returned { .. }) => Status::Voided,
            AuthorizationReply::Voided(ReturnOutcome::Refused { .. }) => Status::Lost,
            AuthorizationReply::Voided(_)
            | AuthorizationReply::NoAnswer(_)
            | AuthorizationReply::Outcome(Outcome::Unknown { .. })
                if spent =>
            {
                Status::Lost
            }
            _ => Status::Voiding,
        },
        status => match case.outcome() {
            Some(Outcome::Authorized { .. }) if case.is_closed() => Status::Voiding,
            _ => status,
        },
    }
}

#[test]
fn every_combination_leads_where_the_table_says() {
    let cases = cases();
    assert_eq!(cases.len(), 9 * (4 + 8 + 6 + 2 + 4) * 2 * 4 * 2);
    for case in cases {
        assert_eq!(case.after.authorization.status, expected(&case), "{:?} {:?}", case.before, case.answer);
    }
}

#[test]
fn only_what_the_gateway_has_never_seen_is_asked_for_again() {
    for case in cases() {
        let sent_again = case.after.calls_again && case.after.authorization.status == Status::Pending;
        let allowed = case.is_undecided() && case.answer == AuthorizationReply::NotFound && case.is_wanted;
        assert_eq!(sent_again, allowed, "{:?} {:?}", case.before, case.answer);
        let leased = case.after.authorization.lease_owner.as_deref() == Some("b");
        assert_eq!(leased, sent_again, "who calls again has the lease");
        if sent_again {
            let Authorization { reference, idempotency_key, lookups, .. } = &case.after.authorization;
            assert_eq!((reference, idempotency_key), (&case.before.reference, &case.before.idempotency_key));
            assert_eq!(*lookups, case.before.lookups + 1, "it counts, so that it is verified later");
        }
    }
}

#[test]
fn what_is_not_wanted_is_never_authorized_again() {
    for case in cases() {
        let status = case.after.authorization.status;
        assert_eq!(status == Status::Used, case.before.status == Status::Used, "only a payment uses it");
        if case.is_closed() || case.before.status == Status::Voiding {
            assert_ne!(status, Status::Authorized, "{:?} {:?}", case.before, case.answer);
        }
    }
}

#[test]
fn a_closed_authorization_changes_only_by_what_the_gateway_has_of_it() {
    for case in cases().iter().filter(|case| case.is_closed()) {
        let after = &case.after;
        match case.outcome() {
            Some(Outcome::Authorized { .. }) => {
                assert_eq!((after.authorization.status, after.calls_again), (Status::Voiding, true));
                assert_eq!(after.authorization.lease_token, case.before.lease_token + 1);
                assert_eq!(case.emits(), ["authorization.orphaned"]);
            }
            Some(Outcome::Succeeded { .. }) if case.before.amount_taken.is_none() => {
                assert_eq!((after.authorization.status, after.authorization.amount_taken), (case.before.status, Some(1000)));
                assert_eq!(case.emits(), ["authorization.taken"]);
            }
            _ => {
                let Authorization { lookups, next_lookup_at, lease_owner, lease_expires_at, .. } = after.authorization.clone();
                let looked_up = Authorization { lease_owner, lease_expires_at, lookups, next_lookup_at, ..case.before.clone() };
                assert_eq!(after.authorization, looked_up, "{:?}", case.answer);
                assert_eq!(case.emits(), [""; 0]);
            }
        }
    }
}

#[test]
fn the_subscription_is_looked_at_again_after_each_change_but_a_second_call() {
    for case in cases() {
        let status = case.after.authorization.status;
        let changed = status != case.before.status && status != Status::Pending;
        assert_eq!(case.after.effects.contains(&Effect::LookAgain), changed, "{:?} {:?}", case.before, case.answer);
    }
}

#[test]
fn the_issuers_stop_ends_the_mandate() {
    for case in cases() {
        let stop = matches!(&case.answer, AuthorizationReply::Outcome(Outcome::Declined { decline, .. })
            if decline.class == DeclineClass::StopRecurring);
        assert_eq!(case.after.effects.contains(&Effect::EndMandate), stop && case.is_undecided());
    }
    // By then the customer may have given a new mandate.
    let policy = policy();
    let stopped = Authorization { decline_class: Some(DeclineClass::StopRecurring), ..authorization(Status::Declined) };
    for answer in answers() {
        let after = decide(stopped.clone(), &answer, &facts(&policy, true));
        assert!(!after.effects.contains(&Effect::EndMandate), "told once, and not at each lookup: {answer:?}");
    }
}

#[test]
fn what_nobody_knows_and_what_was_sent_twice_is_looked_up() {
    for case in cases() {
        let Authorization { status, next_lookup_at, lookups, .. } = case.after.authorization;
        if matches!(status, Status::Unknown | Status::Voiding) && status != case.before.status {
            assert!(next_lookup_at.is_some(), "{:?} {:?}", case.before, case.answer);
        }
        let ended = case.is_undecided() && matches!(status, Status::Declined | Status::GatewayError | Status::Lost);
        if ended && lookups > 0 {
            assert_eq!(next_lookup_at, Some(case.before.called_at + LEASE), "an earlier call may still arrive");
        }
        if case.before.status == Status::Voiding && status == Status::Voided {
            assert!(next_lookup_at.is_some(), "the call that is voided may still arrive");
        }
    }
}

#[test]
fn lookups_wait_longer_each_time_until_it_is_left_to_run_out() {
    let policy = policy();
    let mut transition = decide(authorization(Status::Pending), &AuthorizationReply::Outcome(unknown()), &facts(&policy, true));
    let mut waits = Vec::new();
    while transition.authorization.status == Status::Unknown {
        waits.extend(transition.authorization.next_lookup_at.map(|at| (at - wall()).num_minutes()));
        let silence = AuthorizationReply::NoAnswer("no answer".to_owned());
        transition = decide(transition.authorization, &silence, &facts(&policy, true));
    }
    assert_eq!(waits, [0, 1, 5, 60, 60, 60, 60, 60, 60, 60, 60]);
    assert_eq!(transition.authorization.status, Status::Lost);
}

#[test]
fn the_gateway_keeps_it_from_the_call_on_of_which_a_test_clock_knows_nothing() {
    let policy = policy();
    let expires = |timeline| {
        let before = Authorization { timeline, ..authorization(Status::Pending) };
        decide(before, &AuthorizationReply::Outcome(authorized()), &facts(&policy, true)).authorization.expires_at
    };
    let called_at = authorization(Status::Pending).called_at;
    assert_eq!(expires(Timeline::Wall), Some(called_at + TimeDelta::days(7)));
    assert_eq!(expires(Timeline::Test(Id::from_bits(1))), Some(now() + TimeDelta::days(7)));
}

#[test]
fn what_comes_after_the_lease_is_looked_up_once_more_where_nobody_else_would() {
    for status in Status::ALL {
        for called in Status::ALL {
            for answer in answers() {
                let before = authorization(*status);
                let again = decide_late(before.clone(), *called, &answer, wall());
                let nobody = !matches!(status, Status::Pending | Status::Unknown | Status::Voiding);
                let may_exist =
                    matches!(answer, AuthorizationReply::Outcome(Outcome::Authorized { .. } | Outcome::Unknown { .. }));
                assert_eq!(again.is_some(), nobody && may_exist && *called == Status::Pending);
                if let Some(again) = again {
                    let lease_token = before.lease_token + 1;
                    assert_eq!(again, Authorization { next_lookup_at: Some(wall()), lease_token, ..before });
                }
            }
        }
    }
}

#[test]
fn it_is_wanted_for_the_coming_cycle_until_the_bill_date() {
    let subscription = subscription();
    let open = authorization(Status::Unknown);
    assert!(open.is_wanted_by(&subscription, open.bill_at - TimeDelta::seconds(1)));
    assert!(!open.is_wanted_by(&subscription, open.bill_at), "billing takes over");
    let later = Authorization { cycle: 1, ..open.clone() };
    assert!(!later.is_wanted_by(&subscription, now()));
    let stopped = Subscription { next_bill_at: None, ..subscription };
    assert!(!open.is_wanted_by(&stopped, now()));
}
