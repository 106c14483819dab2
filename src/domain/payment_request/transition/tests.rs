//! Every status of a payment request with every answer that can meet it and every fact, and the rules that hold for all of them.

use super::*;
use crate::domain::{
    clock::Timeline,
    frequency::Frequency,
    id::Id,
    money::Currency,
    payment::PaymentStatus,
    samples::{self, at},
};

fn lookups() -> LookupPolicy {
    LookupPolicy { backoff: [1, 5, 60].map(TimeDelta::minutes).to_vec(), repeats: 7 }
}

fn polls() -> LookupPolicy {
    LookupPolicy { backoff: [2, 30].map(TimeDelta::minutes).to_vec(), repeats: 0 }
}

fn wall() -> DateTime<Utc> {
    at("2026-03-01T12:00:00Z")
}

/// By the customer's clock.
fn now() -> DateTime<Utc> {
    at("2027-01-01T00:00:00Z")
}

/// 10.00 by e-mail; a schedule of three months where the role says so.
fn request(status: RequestStatus, role: Role) -> PaymentRequest {
    let schedule = role == Role::Schedule;
    PaymentRequest {
        id: Id::from_bits(8),
        invoice_id: (!schedule).then(|| samples::invoice().id),
        customer_id: Id::from_bits(3),
        payment_method_id: None,
        timeline: Timeline::Wall,
        gateway: "paysley".to_owned(),
        role,
        reference: "R".to_owned(),
        status,
        ending: None,
        channels: vec!["EMAIL".to_owned()],
        name: "Ann".to_owned(),
        email: Some("ann@example.com".to_owned()),
        phone: None,
        locale: None,
        description: String::new(),
        amount: 1000,
        currency: Currency::USD,
        payment_frequency: schedule.then_some(Frequency::Monthly),
        payment_start_at: schedule.then(|| at("2026-03-02T00:00:00Z")),
        total_number_of_payments: schedule.then_some(3),
        initial_payment_amount: None,
        agreement_id: None,
        request_id: Some("q".to_owned()),
        link: None,
        message: None,
        kept: false,
        asks: 1,
        reminders: 0,
        remind: false,
        expires_at: at("2027-01-14T00:00:00Z"),
        next_reminder_at: None,
        lease_owner: Some("a".to_owned()),
        lease_token: 1,
        checks: 0,
        next_check_at: Some(wall()),
        claimed_at: Some(wall()),
        notified_at: None,
        gateway_expires_at: at("2026-03-14T00:00:00Z"),
        sent_at: at("2026-03-01T00:00:00Z"),
        created_at: at("2026-12-31T00:00:00Z"),
        resolved_at: None,
    }
}

fn money(amount_minor: i64, currency: Currency, authorized: bool) -> Received {
    Received { transaction_id: format!("t{amount_minor}{currency}{authorized}"), amount_minor, currency, authorized }
}

fn asked() -> Vec<Asked> {
    let refused = |class| Asked::Refused(Decline { class, code: "05".to_owned(), message: "no".to_owned() });
    vec![
        Asked::Sent { request_id: Some("q".to_owned()), link: Some("l".to_owned()) },
        refused(DeclineClass::Hard),
        refused(DeclineClass::GatewayFault),
        Asked::GatewayError { message: "away".to_owned(), retry_after: None },
        Asked::Unknown { message: "no answer".to_owned() },
    ]
}

fn polled() -> Vec<RequestReply> {
    let dollars = |amount, authorized| money(amount, Currency::USD, authorized);
    let payments = [
        vec![],
        vec![dollars(1000, false)],
        vec![dollars(400, false), dollars(600, false)],
        vec![money(1000, "EUR".parse().expect("a currency"), false)],
        vec![dollars(1000, true)],
    ];
    let mut polled: Vec<Polled> = payments.into_iter().map(Polled::Payments).collect();
    polled.push(Polled::NoAnswer { message: "no answer".to_owned() });
    polled.into_iter().map(RequestReply::Polled).collect()
}

fn withdrawn() -> Vec<RequestReply> {
    let message = "no".to_owned();
    [Withdrawn::Gone, Withdrawn::Kept { message: message.clone() }, Withdrawn::NoAnswer { message }]
        .map(RequestReply::Withdrawn)
        .to_vec()
}

/// The answers to the calls that are made in a status.
fn answers(request: &PaymentRequest) -> Vec<RequestReply> {
    let mut answers = polled();
    match (request.status, request.ending) {
        (RequestStatus::Pending | RequestStatus::Unknown, None) => answers.extend(asked().into_iter().map(RequestReply::Asked)),
        (RequestStatus::Sent | RequestStatus::Running, None) if request.remind => {
            answers.extend(asked().into_iter().map(RequestReply::Reminded));
        }
        (status, Some(_)) if status.is_open() => answers.extend(withdrawn()),
        _ => {}
    }
    answers
}

/// What a case is decided from, beside the request and the answer.
#[derive(Debug, Clone)]
struct Given {
    invoice: Invoice,
    is_wanted: bool,
    in_flight: bool,
    booked: Vec<Payment>,
}

impl Given {
    fn decide(&self, request: &PaymentRequest, answer: &RequestReply) -> Transition {
        let facts = Facts {
            now: now(),
            wall: wall(),
            lookups: &lookups(),
            polls: &polls(),
            sends: true,
            invoice: request.invoice_id.map(|_| &self.invoice),
            is_wanted: self.is_wanted || request.invoice_id.is_none(),
            in_flight: self.in_flight,
            booked: &self.booked,
        };
        decide(request.clone(), answer, &facts)
    }
}

fn given() -> Vec<Given> {
    let open = samples::invoice();
    let planned = Invoice { next_attempt_at: Some(now()), ..samples::invoice() };
    let paid = Invoice { status: InvoiceStatus::Paid, ..samples::invoice() };
    let captured = Payment { status: PaymentStatus::Unknown, amount_captured: 0, ..samples::payment() };
    let mut given = Vec::new();
    for (invoice, is_wanted) in [(open, true), (planned, true), (paid, false)] {
        for (in_flight, booked) in [(false, vec![]), (true, vec![]), (true, vec![captured.clone()])] {
            given.push(Given { invoice: invoice.clone(), is_wanted, in_flight, booked });
        }
    }
    given
}

struct Case {
    before: PaymentRequest,
    answer: RequestReply,
    given: Given,
    after: Transition,
}

impl Case {
    fn shown(&self) -> String {
        format!("{:?} {:?} {:?} gave {:?}", self.before, self.answer, self.given, self.after)
    }

    fn moves_money(&self) -> bool {
        let is_money =
            |effect: &Effect| matches!(effect, Effect::Receive { .. } | Effect::Capture { .. } | Effect::OpenInvoices { .. });
        self.after.effects.iter().any(is_money)
    }
}

/// All combinations: status, role, ending, reminder, calls that asked, tries, facts, and the answers that can meet them.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in RequestStatus::ALL {
        for role in Role::ALL {
            let endings = if status.is_open() { &[None, Some(Ending::Expired), Some(Ending::Withdrawn)][..] } else { &[None] };
            for ending in endings {
                for (asks, checks, remind) in [(0, 0, false), (1, 0, true), (2, 9, false), (2, 10, true)] {
                    let before = PaymentRequest { ending: *ending, asks, checks, remind, ..request(*status, *role) };
                    for answer in answers(&before) {
                        for given in given() {
                            let after = given.decide(&before, &answer);
                            cases.push(Case { before: before.clone(), answer: answer.clone(), given, after });
                        }
                    }
                }
            }
        }
    }
    assert!(cases.len() > 10_000, "{}", cases.len());
    cases
}

#[test]
fn only_a_poll_that_found_nothing_leads_to_a_request() {
    for case in cases() {
        let asks = case.after.next == Some(RequestStep::Ask);
        let waits = matches!(case.before.status, RequestStatus::Pending | RequestStatus::Unknown) && case.before.ending.is_none();
        let nothing = matches!(&case.answer, RequestReply::Polled(Polled::Payments(received))
            if received.iter().all(|money| money.authorized && !case.given.is_wanted));
        assert!(!asks || waits && nothing, "{}", case.shown());
        let unasked = case.before.role != Role::Schedule || case.before.asks == 0;
        assert!(!asks || unasked, "a second link may begin a second schedule: {}", case.shown());
    }
}

#[test]
fn what_has_come_is_booked_once() {
    for case in cases().iter().filter(|case| case.moves_money()) {
        assert!(case.answer.brings_money(), "{}", case.shown());
        let RequestReply::Polled(Polled::Payments(received)) = &case.answer else { continue };
        let mut given = case.given.clone();
        given.booked.extend(received.iter().map(|money| Payment {
            transaction_id: Some(money.transaction_id.clone()),
            amount_captured: money.amount_minor,
            currency: money.currency,
            ..samples::payment()
        }));
        let again = Case {
            after: given.decide(&case.after.request, &case.answer),
            given,
            before: case.before.clone(),
            answer: case.answer.clone(),
        };
        assert!(!again.moves_money(), "{}", again.shown());
    }
}

#[test]
fn all_that_was_taken_is_booked_whatever_the_request_has_become() {
    for case in cases().iter().filter(|case| case.before.role != Role::Schedule) {
        let RequestReply::Polled(Polled::Payments(received)) = &case.answer else { continue };
        let taken: Vec<&Received> = received.iter().filter(|money| !money.authorized).collect();
        let booked: Vec<&Received> = case
            .after
            .effects
            .iter()
            .filter_map(|effect| if let Effect::Receive { money, .. } = effect { Some(money) } else { None })
            .collect();
        assert_eq!(booked, taken, "{}", case.shown());
        let whole = taken.iter().any(|money| money.currency == Currency::USD);
        assert!(!whole || case.after.request.status == RequestStatus::Paid, "{}", case.shown());
    }
}

#[test]
fn a_closed_request_changes_only_by_money_that_came() {
    for case in cases().iter().filter(|case| !case.before.status.is_open()) {
        assert!(case.after.next.is_none() || case.before.role == Role::Schedule, "{}", case.shown());
        if !case.answer.brings_money() {
            assert_eq!(case.after.request.status, case.before.status, "{}", case.shown());
            assert_eq!(case.after.effects, [], "{}", case.shown());
        }
    }
}

#[test]
fn authorized_money_is_captured_only_where_it_is_wanted_and_nothing_else_is_under_way() {
    for case in cases() {
        if case.after.effects.iter().any(|effect| matches!(effect, Effect::Capture { .. })) {
            let Given { is_wanted, in_flight, .. } = case.given;
            assert!(is_wanted && !in_flight && case.before.ending != Some(Ending::Withdrawn), "{}", case.shown());
            assert!(case.before.status.is_open(), "{}", case.shown());
        }
    }
}

#[test]
fn the_end_of_a_request_decides_for_an_invoice_that_waits_for_nothing_else() {
    for case in cases() {
        let decided = case.after.effects.iter().any(|effect| {
            use Effect::{Decline, GatewayFault, GiveUpForGood, LastRequestFault, PlanIfUnplanned};
            matches!(effect, Decline(_) | GatewayFault(_) | LastRequestFault | GiveUpForGood | PlanIfUnplanned)
        });
        if decided {
            let Given { invoice, in_flight, .. } = &case.given;
            assert!(case.before.status.is_open() && !case.after.request.status.is_open(), "{}", case.shown());
            assert!(matches!(case.before.role, Role::Attempt | Role::Last), "{}", case.shown());
            assert!(invoice.status == InvoiceStatus::Open && invoice.next_attempt_at.is_none() && !in_flight, "{}", case.shown());
        }
    }
}

#[test]
fn an_open_request_is_called_about_now_or_later_and_a_closed_one_is_resolved() {
    for case in cases() {
        let Transition { request, next, .. } = &case.after;
        assert_eq!(request.lease_owner.is_none(), next.is_none(), "claimed until its last call: {}", case.shown());
        if request.status.is_open() {
            assert!(next.is_some() || request.next_check_at.is_some(), "{}", case.shown());
            assert!(
                next.is_some()
                    || request.ending.is_none()
                    || !matches!(case.answer, RequestReply::Withdrawn(_))
                    || request.next_check_at > Some(wall()),
                "{}",
                case.shown()
            );
        } else if case.before.status.is_open() {
            assert_eq!((request.resolved_at, request.ending, request.remind), (Some(now()), None, false), "{}", case.shown());
        }
    }
}

#[test]
fn a_request_that_is_being_closed_is_withdrawn_after_every_poll_without_money() {
    for case in cases() {
        let open = case.after.request.status.is_open();
        let nothing = case.answer == RequestReply::Polled(Polled::Payments(Vec::new())) && case.given.booked.is_empty();
        if open && nothing && case.before.ending.is_some() {
            assert_eq!(case.after.next, Some(RequestStep::Withdraw), "{}", case.shown());
        }
    }
}

#[test]
fn events_name_neither_address_nor_phone() {
    for case in cases() {
        for effect in &case.after.effects {
            if let Effect::Emit { data, .. } = effect {
                assert!(!data.to_string().contains("ann@example.com"), "{}", case.shown());
            }
        }
    }
}

#[test]
fn tries_wait_longer_each_time_and_end_with_an_operator() {
    let unanswered = RequestReply::Asked(Asked::Unknown { message: "no answer".to_owned() });
    let given = given().swap_remove(0);
    let mut current = request(RequestStatus::Pending, Role::Attempt);
    let mut waits = Vec::new();
    while current.status != RequestStatus::Parked {
        current = given.decide(&current, &unanswered).request;
        if current.status == RequestStatus::Unknown {
            waits.extend(current.next_check_at.map(|at| (at - wall()).num_minutes()));
        }
    }
    assert_eq!(waits, [1, 5, 60, 60, 60, 60, 60, 60, 60, 60]);
}

#[test]
fn a_reminder_that_cannot_be_sent_is_left() {
    let unanswered = RequestReply::Reminded(Asked::GatewayError { message: "away".to_owned(), retry_after: None });
    let before = PaymentRequest { remind: true, checks: 10, ..request(RequestStatus::Sent, Role::Attempt) };
    let after = given().swap_remove(0).decide(&before, &unanswered).request;
    assert_eq!((after.status, after.remind), (RequestStatus::Sent, false));
}

#[test]
fn what_was_heard_during_a_poll_brings_the_next_forward_but_not_at_once() {
    let given = given().swap_remove(0);
    let nothing = RequestReply::Polled(Polled::Payments(Vec::new()));
    let before = PaymentRequest { notified_at: Some(wall()), checks: 1, ..request(RequestStatus::Sent, Role::Attempt) };
    let after = given.decide(&before, &nothing).request;
    assert_eq!(after.next_check_at, Some(wall() + TimeDelta::seconds(1)));
    let unheard = PaymentRequest { notified_at: None, ..before };
    assert_eq!(given.decide(&unheard, &nothing).request.next_check_at, Some(wall() + TimeDelta::minutes(30)));
}

#[test]
fn a_late_agreement_runs_and_is_stopped() {
    let given = given().swap_remove(0);
    let first = RequestReply::Polled(Polled::Payments(vec![money(1000, Currency::USD, false)]));
    for (status, next) in [(RequestStatus::Sent, None), (RequestStatus::Expired, Some(RequestStep::Withdraw))] {
        let after = given.decide(&request(status, Role::Schedule), &first);
        assert_eq!((after.request.status, after.next), (RequestStatus::Running, next));
    }
}
