//! The suite every gateway must pass, against the sandbox and its own ledger. Guards "never twice" and "never lost" at the wire.

use std::{net::SocketAddr, time::Duration};

use chrono::{DateTime, Utc};
use rebilld::{
    clock::Clock,
    domain::{
        money::Currency,
        payment::{DeclineClass, Outcome},
    },
    gateway::{
        Charge, Found, Gateway, Return, ReturnFound, ReturnOutcome, Sent,
        fluidpay::FluidPay,
        http::{Settings, install_tls},
        paylike::Paylike,
    },
    sandbox::{self, Movement, Options, SandboxServer},
};
use serde_json::{Value, json};

use super::{prior_charge, sent, vault_charge};

/// Longer than a loopback call, shorter than [`LATE`].
const TIMEOUT: Duration = Duration::from_millis(500);
const LATE_MS: u64 = 900;

/// A gateway to be tested, and the sandbox that plays its other side.
struct Bench {
    sandbox: SandboxServer,
    adapter: Box<dyn Gateway>,
    charge: fn(&str, &str) -> Charge,
    token: String,
    /// The gateway's code for insufficient funds.
    insufficient: u16,
    started: DateTime<Utc>,
    /// Reserves by hand where the adapter itself never does: FluidPay's `authorize`, address and key.
    authorize: Option<(String, String)>,
}

async fn sandbox() -> SandboxServer {
    let now = std::sync::Arc::new(|| Clock::System.now());
    sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), now, Options::default()).await.expect("free port")
}

async fn fixtures(sandbox: &SandboxServer) -> Value {
    let url = format!("{}/_sandbox/fixtures", sandbox.url());
    client().get(url).send().await.expect("reachable").json().await.expect("JSON")
}

fn client() -> reqwest::Client {
    install_tls();
    reqwest::Client::builder().timeout(TIMEOUT).build().expect("a client")
}

fn settings(base_url: String, key: &Value, merchant_id: &Value) -> Settings {
    Settings {
        name: "sandbox".into(),
        base_url,
        api_key: key.as_str().expect("a key").into(),
        merchant_id: merchant_id.as_str().unwrap_or_default().into(),
        timeout: TIMEOUT,
        max_in_flight: 8,
    }
}

async fn fluidpay() -> Bench {
    let sandbox = sandbox().await;
    let fixtures = fixtures(&sandbox).await;
    let settings = settings(format!("{}/api", sandbox.url()), &fixtures["fluidpay"]["api_key"], &Value::Null);
    let token = sandbox.sandbox().fluidpay_tokens(1, "contract").remove(0);
    let adapter = Box::new(FluidPay::new(&settings).expect("usable settings"));
    let key = fixtures["fluidpay"]["api_key"].as_str().expect("a key").to_owned();
    let authorize = Some((format!("{}/transaction", settings.base_url), key));
    Bench { sandbox, adapter, charge: vault_charge, token, insufficient: 202, started: Clock::System.now(), authorize }
}

async fn paylike() -> Bench {
    let sandbox = sandbox().await;
    let fixtures = fixtures(&sandbox).await;
    let settings = settings(sandbox.url(), &fixtures["paylike"]["api_key"], &fixtures["paylike"]["merchant_id"]);
    let token = sandbox.sandbox().paylike_tokens(1).remove(0);
    let adapter = Box::new(Paylike::new(&settings).expect("usable settings"));
    Bench { sandbox, adapter, charge: prior_charge, token, insufficient: 7, started: Clock::System.now(), authorize: None }
}

impl Bench {
    fn charge(&self, reference: &str) -> Charge {
        (self.charge)(reference, &self.token)
    }

    /// The fault strikes once, at the next call that fits.
    fn fault(&self, operation: &[&str], fault: Value) {
        for operation in operation {
            let rule = json!({ "match": { "operation": operation }, "fault": fault });
            self.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
        }
    }

    fn fault_at_charge(&self, fault: Value) {
        self.fault(&["charge", "authorize"], fault);
    }

    fn calm(&self) {
        self.sandbox.sandbox().clear_faults();
    }

    fn sent(&self, charge: &Charge, transaction_id: Option<&str>) -> Sent {
        Sent { transaction_id: transaction_id.map(str::to_owned), ..sent(charge, self.started) }
    }

    /// What the gateway's own books say about a reference: taken, given back.
    fn books(&self, reference: &str) -> (i64, i64) {
        let entries = self.sandbox.ledger();
        let ours = entries.iter().filter(|entry| entry.reference == reference);
        ours.fold((0, 0), |(taken, back), entry| match entry.kind {
            Movement::Charge | Movement::Capture => (taken + entry.amount, back),
            _ => (taken, back + entry.amount),
        })
    }

    /// Takes the money in as many steps as the gateway needs.
    async fn finish(&self, outcome: Outcome, charge: &Charge) -> Outcome {
        match outcome {
            Outcome::Authorized { transaction_id } => self.adapter.capture(&transaction_id, charge).await,
            other => other,
        }
    }

    async fn take(&self, charge: &Charge) -> String {
        let outcome = self.adapter.charge(charge).await;
        taken(self.finish(outcome, charge).await, charge)
    }

    /// Money that is reserved and not taken: the id.
    async fn reserve(&self, charge: &Charge) -> String {
        let Some((url, key)) = &self.authorize else {
            match self.adapter.charge(charge).await {
                Outcome::Authorized { transaction_id } => return transaction_id,
                other => panic!("{other:?}"),
            }
        };
        let customer = json!({ "id": self.token });
        let body = json!({
            "type": "authorize", "amount": charge.amount_minor, "currency": charge.currency.code(), "order_id": charge.reference,
            "payment_method": { "customer": customer },
        });
        let answer = client().post(url).header("authorization", key).json(&body).send().await.expect("reachable");
        let answer: Value = answer.json().await.expect("JSON");
        answer["data"]["id"].as_str().expect("an id").to_owned()
    }
}

fn taken(outcome: Outcome, charge: &Charge) -> String {
    match outcome {
        Outcome::Succeeded { transaction_id, amount_minor } if amount_minor == charge.amount_minor => transaction_id,
        other => panic!("{other:?}"),
    }
}

fn order(transaction_id: &str, amount_minor: i64, returned_minor: i64, currency: Currency) -> Return {
    Return { transaction_id: transaction_id.into(), amount_minor, captured_minor: 2500, returned_minor, currency }
}

/// The lookup's word as an outcome that can be finished.
fn outcome(found: Found) -> Outcome {
    match found {
        Found::Outcome(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

async fn money_is_taken_once_and_found_again(bench: Bench) {
    let charge = bench.charge("OK1");
    let id = bench.take(&charge).await;
    assert_eq!(bench.books("OK1"), (2500, 0));
    for known in [None, Some(id.as_str())] {
        let found = bench.adapter.look_up(&bench.sent(&charge, known)).await;
        assert_eq!(taken(outcome(found), &charge), id);
    }
    assert_eq!(bench.adapter.look_up(&bench.sent(&bench.charge("NEVER1"), None)).await, Found::Nothing);
}

async fn a_decline_carries_code_and_class_and_takes_nothing(bench: Bench) {
    bench.fault_at_charge(json!(format!("decline:{}", bench.insufficient)));
    let Outcome::Declined { decline, .. } = bench.adapter.charge(&bench.charge("NO1")).await else { panic!("a decline") };
    assert_eq!((decline.class, decline.code), (DeclineClass::Soft, bench.insufficient.to_string()));
    assert_eq!(bench.books("NO1"), (0, 0));
}

async fn a_call_lost_on_the_way_there_is_nothing_and_may_be_sent_again(bench: Bench) {
    let charge = bench.charge("LOST1");
    bench.fault_at_charge(json!("drop_before"));
    let lost = bench.adapter.charge(&charge).await;
    assert!(matches!(lost, Outcome::Unknown { .. }), "{lost:?}");
    bench.calm();
    assert_eq!(bench.adapter.look_up(&bench.sent(&charge, None)).await, Found::Nothing);
    bench.take(&charge).await;
    assert_eq!(bench.books("LOST1"), (2500, 0));
}

async fn a_call_lost_on_the_way_back_is_found(bench: Bench) {
    let charge = bench.charge("BACK1");
    bench.fault_at_charge(json!("drop_after"));
    let lost = bench.adapter.charge(&charge).await;
    assert!(matches!(lost, Outcome::Unknown { .. }), "{lost:?}");
    bench.calm();
    let found = outcome(bench.adapter.look_up(&bench.sent(&charge, None)).await);
    taken(bench.finish(found, &charge).await, &charge);
    assert_eq!(bench.books("BACK1"), (2500, 0));
}

async fn one_reference_in_many_storms_takes_money_once(bench: Bench) {
    let faults = ["drop_before", "500", "drop_after", "status_after:503", "drop_before"];
    for (round, storm) in faults.iter().flat_map(|first| faults.map(|second| [*first, second])).enumerate() {
        let charge = bench.charge(&format!("STORM{round}"));
        let mut id = None;
        let mut next = bench.adapter.look_up(&bench.sent(&charge, None)).await;
        for step in 0..12 {
            // Both steps of a charge meet the storm; then it calms down.
            match storm.get(step) {
                Some(fault) => bench.fault(&["charge", "authorize", "capture"], json!(fault)),
                None => bench.calm(),
            }
            let outcome = match next {
                Found::Nothing => bench.adapter.charge(&charge).await,
                Found::Outcome(outcome) => bench.finish(outcome, &charge).await,
                Found::Several { best, others } => panic!("{best:?} and {others:?}"),
                Found::Disagrees { message } | Found::NoAnswer { message } => panic!("{message}"),
            };
            next = match outcome {
                Outcome::Succeeded { transaction_id, .. } => {
                    id = Some(transaction_id);
                    break;
                }
                authorized @ Outcome::Authorized { .. } => Found::Outcome(authorized),
                Outcome::Unknown { .. } => bench.adapter.look_up(&bench.sent(&charge, None)).await,
                other => panic!("{storm:?}: {other:?}"),
            };
        }
        bench.calm();
        assert!(id.is_some(), "{storm:?} was never over");
        assert_eq!(bench.books(&charge.reference), (2500, 0), "{storm:?}");
    }
    assert_eq!(bench.sandbox.summary().charged_twice, Vec::<String>::new());
}

async fn a_late_answer_is_unknown_and_the_money_is_found_later(bench: Bench) {
    let charge = bench.charge("LATE1");
    bench.fault_at_charge(json!({ "kind": "delay", "ms": LATE_MS }));
    let late = bench.adapter.charge(&charge).await;
    assert!(matches!(late, Outcome::Unknown { .. }), "{late:?}");
    bench.calm();
    tokio::time::sleep(Duration::from_millis(LATE_MS)).await;
    let found = outcome(bench.adapter.look_up(&bench.sent(&charge, None)).await);
    taken(bench.finish(found, &charge).await, &charge);
    assert_eq!(bench.books("LATE1"), (2500, 0));
}

async fn too_many_requests_is_certainly_not_processed(bench: Bench) {
    bench.fault_at_charge(json!({ "kind": "status", "status": 429, "retry_after": 3 }));
    let refused = bench.adapter.charge(&bench.charge("SLOW1")).await;
    assert!(matches!(refused, Outcome::GatewayError { retry_after: Some(wait), .. } if wait.num_seconds() == 3), "{refused:?}");
}

async fn a_server_error_is_unknown_whether_or_not_money_moved(bench: Bench) {
    for (reference, fault, moved) in [("ERR1", "500", false), ("ERR2", "status_after:500", true), ("ERR3", "503", false)] {
        let charge = bench.charge(reference);
        bench.fault_at_charge(json!(fault));
        let unknown = bench.adapter.charge(&charge).await;
        assert!(matches!(unknown, Outcome::Unknown { .. }), "{fault}: {unknown:?}");
        bench.calm();
        let found = bench.adapter.look_up(&bench.sent(&charge, None)).await;
        assert_eq!(found != Found::Nothing, moved, "{fault}: {found:?}");
    }
}

async fn a_lookup_that_fails_says_so(bench: Bench) {
    let charge = bench.charge("ASK1");
    bench.take(&charge).await;
    for fault in ["500", "429", "404", "403", "drop_before", "drop_after"] {
        // A read that fails is asked again by itself, twice.
        for _ in 0..3 {
            bench.fault(&["lookup"], json!(fault));
        }
        let found = bench.adapter.look_up(&bench.sent(&charge, None)).await;
        assert!(matches!(found, Found::NoAnswer { .. }), "{fault}: {found:?}");
        bench.calm();
    }
}

async fn a_lookup_that_fails_once_is_asked_again(bench: Bench) {
    let charge = bench.charge("ASK2");
    bench.take(&charge).await;
    for fault in ["500", "429", "drop_before", "drop_after"] {
        bench.fault(&["lookup"], json!(fault));
        let found = bench.adapter.look_up(&bench.sent(&charge, None)).await;
        assert!(matches!(found, Found::Outcome(_)), "{fault}: {found:?}");
        bench.calm();
    }
}

async fn a_gateway_that_is_gone_is_certainly_not_charging(bench: Bench) {
    let charge = bench.charge("GONE1");
    bench.take(&charge).await;
    let Bench { sandbox, adapter, .. } = bench;
    sandbox.stop().await;
    let refused = adapter.charge(&Charge { reference: "GONE2".into(), ..charge }).await;
    assert!(matches!(refused, Outcome::GatewayError { .. }), "{refused:?}");
}

async fn a_repeated_capture_takes_nothing_more(bench: Bench) {
    let charge = bench.charge("CAP1");
    let id = bench.take(&charge).await;
    let again = bench.adapter.capture(&id, &charge).await;
    assert_eq!(taken(again, &charge), id);
    assert_eq!(bench.books("CAP1"), (2500, 0));
}

async fn a_capture_that_got_lost_is_decided_by_the_transaction(bench: Bench) {
    for (reference, fault, moved) in [("CAP2", "drop_before", false), ("CAP3", "drop_after", true)] {
        let charge = bench.charge(reference);
        let transaction_id = bench.reserve(&charge).await;
        bench.fault(&["capture"], json!(fault));
        let lost = bench.adapter.capture(&transaction_id, &charge).await;
        assert!(matches!(lost, Outcome::Unknown { .. }), "{fault}: {lost:?}");
        let found = outcome(bench.adapter.look_up(&bench.sent(&charge, Some(&transaction_id))).await);
        assert_eq!(matches!(found, Outcome::Succeeded { .. }), moved, "{fault}: {found:?}");
        taken(bench.finish(found, &charge).await, &charge);
        assert_eq!(bench.books(reference), (2500, 0));
    }
}

async fn a_released_authorization_takes_nothing_and_cannot_be_captured(bench: Bench) {
    let charge = bench.charge("FREE1");
    let transaction_id = bench.reserve(&charge).await;
    for _ in 0..2 {
        let released = bench.adapter.void(&transaction_id, &charge).await;
        assert!(matches!(released, ReturnOutcome::Returned { voided: true, .. }), "{released:?}");
    }
    let late = bench.adapter.capture(&transaction_id, &charge).await;
    assert!(matches!(late, Outcome::Declined { .. }), "{late:?}");
    assert_eq!(bench.books("FREE1"), (0, 0));
}

async fn money_is_given_back_whole_before_settlement(bench: Bench) {
    let charge = bench.charge("VOID1");
    let id = bench.take(&charge).await;
    let order = order(&id, 2500, 0, charge.currency);
    assert_eq!(bench.adapter.look_up_return(&order).await, ReturnFound::Nothing);
    for _ in 0..2 {
        let returned = bench.adapter.give_back(&order).await;
        assert!(matches!(returned, ReturnOutcome::Returned { .. }), "{returned:?}");
        assert!(matches!(bench.adapter.look_up_return(&order).await, ReturnFound::Returned { .. }));
    }
    assert_eq!(bench.books("VOID1"), (2500, 2500), "a repeated return must move nothing");
}

async fn money_is_given_back_in_parts_after_settlement(bench: Bench) {
    let charge = bench.charge("PART1");
    let id = bench.take(&charge).await;
    bench.sandbox.sandbox().settle();
    let first = order(&id, 1000, 0, charge.currency);
    bench.fault(&["refund"], json!("drop_after"));
    let lost = bench.adapter.give_back(&first).await;
    assert!(matches!(lost, ReturnOutcome::Unknown { .. }), "{lost:?}");
    assert_eq!(bench.adapter.look_up_return(&first).await, ReturnFound::Returned { voided: false });
    let second = order(&id, 1500, 1000, charge.currency);
    bench.fault(&["refund"], json!("drop_before"));
    let lost = bench.adapter.give_back(&second).await;
    assert!(matches!(lost, ReturnOutcome::Unknown { .. }), "{lost:?}");
    assert_eq!(bench.adapter.look_up_return(&second).await, ReturnFound::Nothing);
    let returned = bench.adapter.give_back(&second).await;
    assert!(matches!(returned, ReturnOutcome::Returned { voided: false, .. }), "{returned:?}");
    let too_much = bench.adapter.give_back(&order(&id, 1, 2500, charge.currency)).await;
    assert!(matches!(too_much, ReturnOutcome::Refused { .. }), "{too_much:?}");
    assert_eq!(bench.books("PART1"), (2500, 2500));
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod fluidpay_keeps_it {
            $(#[tokio::test] async fn $case() { super::$case(super::fluidpay().await).await; })+
        }
        mod paylike_keeps_it {
            $(#[tokio::test] async fn $case() { super::$case(super::paylike().await).await; })+
        }
    };
}

contract!(
    money_is_taken_once_and_found_again,
    a_decline_carries_code_and_class_and_takes_nothing,
    a_call_lost_on_the_way_there_is_nothing_and_may_be_sent_again,
    a_call_lost_on_the_way_back_is_found,
    one_reference_in_many_storms_takes_money_once,
    a_late_answer_is_unknown_and_the_money_is_found_later,
    too_many_requests_is_certainly_not_processed,
    a_server_error_is_unknown_whether_or_not_money_moved,
    a_lookup_that_fails_says_so,
    a_lookup_that_fails_once_is_asked_again,
    a_gateway_that_is_gone_is_certainly_not_charging,
    a_repeated_capture_takes_nothing_more,
    a_capture_that_got_lost_is_decided_by_the_transaction,
    a_released_authorization_takes_nothing_and_cannot_be_captured,
    money_is_given_back_whole_before_settlement,
    money_is_given_back_in_parts_after_settlement,
);

/// FluidPay settles at night; before that a charge comes back whole or not at all.
#[tokio::test]
async fn part_of_an_unsettled_charge_tells_the_operator_to_wait() {
    let bench = fluidpay().await;
    let charge = bench.charge("WAIT1");
    let id = bench.take(&charge).await;
    let refused = bench.adapter.give_back(&order(&id, 1000, 0, charge.currency)).await;
    assert!(matches!(&refused, ReturnOutcome::Refused { code, .. } if code == "not_settled"), "{refused:?}");
    assert_eq!(bench.books("WAIT1"), (2500, 0));
}

/// Every decline that the sandbox knows, by the token that earns it.
#[tokio::test]
async fn every_decline_code_arrives_with_its_class() {
    use DeclineClass::*;
    for (mut bench, gateway, list, token) in
        [(fluidpay().await, "fluidpay", "tokens", "token"), (paylike().await, "paylike", "prior_transactions", "transaction_id")]
    {
        let fixtures = fixtures(&bench.sandbox).await;
        let mut seen = 0;
        for (number, fixture) in fixtures[gateway][list].as_array().expect("a list").iter().enumerate() {
            let Some(code) = ["response_code", "code"].iter().find_map(|field| fixture[field].as_u64()) else { continue };
            fixture[token].as_str().expect("a token").clone_into(&mut bench.token);
            let charge = bench.charge(&format!("CODE{number}"));
            let expected = match (gateway, code) {
                ("fluidpay", 301 | 400 | 421 | 430) => GatewayFault,
                ("fluidpay", 223 | 240) | ("paylike", 6 | 30 | 31) => NewCardNeeded,
                ("fluidpay", 261 | 262) => StopRecurring,
                ("fluidpay", 204 | 220..=226 | 250..=253) | ("paylike", 10 | 29) => Hard,
                ("fluidpay", 300 | 310) => TryLater,
                ("fluidpay", 410) | ("paylike", 14..=24) => ChargeRefused,
                ("fluidpay", 440) | ("paylike", 26..=28) => AccountRefused,
                ("paylike", 1..=5 | 13) => continue, // depends on whose fault the sandbox says it is
                _ => Soft,
            };
            let mut outcome = bench.adapter.charge(&charge).await;
            if let Outcome::Unknown { .. } = outcome {
                assert_eq!(expected, GatewayFault, "{code} may hide a charge");
                outcome = match bench.adapter.look_up(&bench.sent(&charge, None)).await {
                    Found::Outcome(outcome) => outcome,
                    other => panic!("{code}: {other:?}"),
                };
            }
            let Outcome::Declined { decline, .. } = outcome else { panic!("{code}: {outcome:?}") };
            assert_eq!((decline.class, decline.code), (expected, code.to_string()));
            seen += 1;
        }
        assert!(seen > 10, "{gateway} shows only {seen} declines");
        assert_eq!(bench.sandbox.ledger().len(), 0);
    }
}

/// A partial approval is told as what it is; a declined refund gives nothing back.
#[tokio::test]
async fn fluidpays_special_cards_are_understood() {
    let mut bench = fluidpay().await;
    "partial1100000000000".clone_into(&mut bench.token);
    let outcome = bench.adapter.charge(&bench.charge("HALF1")).await;
    let Outcome::Succeeded { amount_minor, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((amount_minor, bench.books("HALF1")), (1250, (1250, 0)));

    "refunddeclines000000".clone_into(&mut bench.token);
    let charge = bench.charge("KEEP1");
    let id = bench.take(&charge).await;
    bench.sandbox.sandbox().settle();
    let refused = bench.adapter.give_back(&order(&id, 2500, 0, charge.currency)).await;
    assert!(matches!(refused, ReturnOutcome::Refused { .. }), "{refused:?}");
    assert_eq!(bench.books("KEEP1"), (2500, 0));
}

/// The same key inside its window: the gateway answers with the first transaction, and nothing more is taken.
#[tokio::test]
async fn a_charge_sent_twice_to_fluidpay_is_one_charge() {
    let bench = fluidpay().await;
    let charge = bench.charge("SAME1");
    let first = bench.take(&charge).await;
    assert_eq!(bench.take(&charge).await, first);
    assert_eq!(bench.books("SAME1"), (2500, 0));
}

/// Paylike's lists come in pages: a payment behind many newer ones is still found.
#[tokio::test]
async fn a_payment_behind_many_others_is_found() {
    let bench = paylike().await;
    let charge = bench.charge("DEEP1");
    let id = bench.take(&charge).await;
    bench.sandbox.sandbox().paylike_tokens(350);
    let found = bench.adapter.look_up(&bench.sent(&charge, None)).await;
    assert_eq!(taken(outcome(found), &charge), id);
}
