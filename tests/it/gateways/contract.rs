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
        Charge, Found, Gateway, Return, ReturnFound, ReturnOutcome, Sent, fluidpay::FluidPay, http::Settings, paylike::Paylike,
    },
    sandbox::{self, Kind, Options, Running},
};
use serde_json::{Value, json};

use super::{prior_charge, sent, vault_charge};

/// Longer than a loopback call, shorter than [`LATE`].
const TIMEOUT: Duration = Duration::from_millis(500);
const LATE_MS: u64 = 900;

/// A gateway to be tested, and the sandbox that plays its other side.
struct Bench {
    sandbox: Running,
    adapter: Box<dyn Gateway>,
    charge: fn(&str, &str) -> Charge,
    token: String,
    /// The gateway's code for insufficient funds.
    insufficient: u16,
    started: DateTime<Utc>,
}

async fn sandbox() -> Running {
    let now = std::sync::Arc::new(|| Clock::System.now());
    sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), now, Options::default()).await.expect("free port")
}

async fn fixtures(sandbox: &Running) -> Value {
    rebilld::gateway::http::install_tls();
    let url = format!("{}/_sandbox/fixtures", sandbox.url());
    reqwest::get(url).await.expect("reachable").json().await.expect("JSON")
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
    Bench { sandbox, adapter, charge: vault_charge, token, insufficient: 202, started: Clock::System.now() }
}

async fn paylike() -> Bench {
    let sandbox = sandbox().await;
    let fixtures = fixtures(&sandbox).await;
    let settings = settings(sandbox.url(), &fixtures["paylike"]["api_key"], &fixtures["paylike"]["merchant_id"]);
    let token = sandbox.sandbox().paylike_tokens(1).remove(0);
    let adapter = Box::new(Paylike::new(&settings).expect("usable settings"));
    Bench { sandbox, adapter, charge: prior_charge, token, insufficient: 7, started: Clock::System.now() }
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
            Kind::Charge | Kind::Capture => (taken + entry.amount, back),
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
        self.taken(self.finish(outcome, charge).await, charge)
    }

    fn taken(&self, outcome: Outcome, charge: &Charge) -> String {
        match outcome {
            Outcome::Succeeded { transaction_id, amount_minor } if amount_minor == charge.amount_minor => transaction_id,
            other => panic!("{other:?}"),
        }
    }

    fn order(&self, transaction_id: &str, amount_minor: i64, returned_minor: i64, currency: Currency) -> Return {
        Return { transaction_id: transaction_id.into(), amount_minor, captured_minor: 2500, returned_minor, currency }
    }
}

/// The look-up's word as an outcome that can be finished.
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
        assert_eq!(bench.taken(outcome(found), &charge), id);
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
    bench.taken(bench.finish(found, &charge).await, &charge);
    assert_eq!(bench.books("BACK1"), (2500, 0));
}

async fn a_late_answer_is_unknown_and_the_money_is_found_later(bench: Bench) {
    let charge = bench.charge("LATE1");
    bench.fault_at_charge(json!({ "kind": "delay", "ms": LATE_MS }));
    let late = bench.adapter.charge(&charge).await;
    assert!(matches!(late, Outcome::Unknown { .. }), "{late:?}");
    bench.calm();
    tokio::time::sleep(Duration::from_millis(LATE_MS)).await;
    let found = outcome(bench.adapter.look_up(&bench.sent(&charge, None)).await);
    bench.taken(bench.finish(found, &charge).await, &charge);
    assert_eq!(bench.books("LATE1"), (2500, 0));
}

async fn too_many_requests_is_certainly_not_processed(bench: Bench) {
    bench.fault_at_charge(json!({ "kind": "status", "status": 429, "retry_after": 3 }));
    let refused = bench.adapter.charge(&bench.charge("SLOW1")).await;
    assert!(matches!(refused, Outcome::GatewayError { retry_after: Some(wait), .. } if wait.as_secs() == 3), "{refused:?}");
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
        bench.fault(&["lookup"], json!(fault));
        let found = bench.adapter.look_up(&bench.sent(&charge, None)).await;
        assert!(matches!(found, Found::NoAnswer { .. }), "{fault}: {found:?}");
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
    assert_eq!(bench.taken(again, &charge), id);
    assert_eq!(bench.books("CAP1"), (2500, 0));
}

async fn a_capture_that_got_lost_is_decided_by_the_transaction(bench: Bench) {
    for (reference, fault, moved) in [("CAP2", "drop_before", false), ("CAP3", "drop_after", true)] {
        let charge = bench.charge(reference);
        let Outcome::Authorized { transaction_id } = bench.adapter.charge(&charge).await else { return };
        bench.fault(&["capture"], json!(fault));
        let lost = bench.adapter.capture(&transaction_id, &charge).await;
        assert!(matches!(lost, Outcome::Unknown { .. }), "{fault}: {lost:?}");
        let found = outcome(bench.adapter.look_up(&bench.sent(&charge, Some(&transaction_id))).await);
        assert_eq!(matches!(found, Outcome::Succeeded { .. }), moved, "{fault}: {found:?}");
        bench.taken(bench.finish(found, &charge).await, &charge);
        assert_eq!(bench.books(reference), (2500, 0));
    }
}

async fn a_released_authorization_takes_nothing_and_cannot_be_captured(bench: Bench) {
    let charge = bench.charge("FREE1");
    let Outcome::Authorized { transaction_id } = bench.adapter.charge(&charge).await else { return };
    for _ in 0..2 {
        let released = bench.adapter.release(&transaction_id, &charge).await;
        assert!(matches!(released, ReturnOutcome::Returned { voided: true, .. }), "{released:?}");
    }
    let late = bench.adapter.capture(&transaction_id, &charge).await;
    assert!(matches!(late, Outcome::Declined { .. }), "{late:?}");
    assert_eq!(bench.books("FREE1"), (0, 0));
}

async fn money_is_given_back_whole_before_settlement(bench: Bench) {
    let charge = bench.charge("VOID1");
    let id = bench.take(&charge).await;
    let order = bench.order(&id, 2500, 0, charge.currency);
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
    let first = bench.order(&id, 1000, 0, charge.currency);
    bench.fault(&["refund"], json!("drop_after"));
    let lost = bench.adapter.give_back(&first).await;
    assert!(matches!(lost, ReturnOutcome::Unknown { .. }), "{lost:?}");
    assert_eq!(bench.adapter.look_up_return(&first).await, ReturnFound::Returned { voided: false });
    let second = bench.order(&id, 1500, 1000, charge.currency);
    bench.fault(&["refund"], json!("drop_before"));
    let lost = bench.adapter.give_back(&second).await;
    assert!(matches!(lost, ReturnOutcome::Unknown { .. }), "{lost:?}");
    assert_eq!(bench.adapter.look_up_return(&second).await, ReturnFound::Nothing);
    let returned = bench.adapter.give_back(&second).await;
    assert!(matches!(returned, ReturnOutcome::Returned { voided: false, .. }), "{returned:?}");
    let too_much = bench.adapter.give_back(&bench.order(&id, 1, 2500, charge.currency)).await;
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
    a_late_answer_is_unknown_and_the_money_is_found_later,
    too_many_requests_is_certainly_not_processed,
    a_server_error_is_unknown_whether_or_not_money_moved,
    a_lookup_that_fails_says_so,
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
    let refused = bench.adapter.give_back(&bench.order(&id, 1000, 0, charge.currency)).await;
    assert!(matches!(&refused, ReturnOutcome::Refused { code, .. } if code == "not_settled"), "{refused:?}");
    assert_eq!(bench.books("WAIT1"), (2500, 0));
}
