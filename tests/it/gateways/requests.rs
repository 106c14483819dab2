//! The suite every gateway must pass that asks customers, against the sandbox and its own ledger: nobody is asked in vain, nothing
//! that was paid is overlooked, and what comes too late goes back.

use std::{net::SocketAddr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    clock::Clock,
    domain::{
        money::Currency,
        payment::{DeclineClass, Outcome, Reason},
    },
    gateway::{
        Charge, Gateway, Mandate, Return, ReturnFound, ReturnOutcome, Source,
        http::Settings,
        paylike::Paylike,
        paysley::Paysley,
        requests::{Ask, Asked, Outstanding, Polled, Received, Requests, Withdrawn},
    },
    sandbox::{self, Movement, Options, PAYLIKE_KEY, PAYLIKE_MERCHANT, PAYSLEY_KEY, Pay, SandboxServer},
};
use serde_json::{Value, json};

/// Longer than a loopback call, shorter than [`LATE`].
const TIMEOUT: Duration = Duration::from_millis(500);
const LATE_MS: u64 = 900;

struct Bench {
    sandbox: SandboxServer,
    adapter: Box<dyn Gateway>,
    started: DateTime<Utc>,
    /// Paysley keeps requests and sends them; Paylike only has a link.
    keeps: bool,
}

async fn sandbox() -> SandboxServer {
    rebilld::gateway::http::install_tls();
    let now = std::sync::Arc::new(|| Clock::System.now());
    sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), now, Options::default()).await.expect("free port")
}

fn settings(base_url: String, key: &str) -> Settings {
    let merchant_id = PAYLIKE_MERCHANT.into();
    Settings { name: "sandbox".into(), base_url, api_key: key.into(), merchant_id, timeout: TIMEOUT, max_in_flight: 8 }
}

async fn paysley() -> Bench {
    let sandbox = sandbox().await;
    let adapter = Box::new(Paysley::new(&settings(format!("{}/v2", sandbox.url()), PAYSLEY_KEY)).expect("usable"));
    Bench { sandbox, adapter, started: Clock::System.now(), keeps: true }
}

async fn kurv() -> Bench {
    let sandbox = sandbox().await;
    let adapter = Box::new(Paysley::new(&settings(sandbox.url(), PAYSLEY_KEY)).expect("usable"));
    Bench { sandbox, adapter, started: Clock::System.now(), keeps: true }
}

async fn paylike() -> Bench {
    let sandbox = sandbox().await;
    let adapter = Box::new(Paylike::new(&settings(sandbox.url(), PAYLIKE_KEY)).expect("usable"));
    Bench { sandbox, adapter, started: Clock::System.now(), keeps: false }
}

impl Bench {
    fn requests(&self) -> &dyn Requests {
        self.adapter.requests().expect("asks")
    }

    fn ask(&self, reference: &str) -> Ask {
        Ask {
            reference: reference.into(),
            amount_minor: 2550,
            currency: "EUR".parse().expect("known"),
            description: "March & April".into(),
            channels: vec!["EMAIL".into(), "SMS".into()],
            name: "Ada King Lovelace".into(),
            email: Some("ada@example.com".into()),
            phone: Some("+15551234567".into()),
            locale: Some("en-US".into()),
            expires_at: self.started + chrono::TimeDelta::days(14),
            callback_url: None,
            schedule: None,
        }
    }

    fn outstanding(&self, ask: &Ask) -> Outstanding {
        Outstanding {
            reference: ask.reference.clone(),
            amount_minor: ask.amount_minor,
            currency: ask.currency,
            sent_at: self.started,
        }
    }

    async fn send(&self, ask: &Ask) -> (Option<String>, String) {
        match self.requests().ask(ask).await {
            Asked::Sent { request_id, link } => (request_id, link.expect("a link")),
            other => panic!("{other:?}"),
        }
    }

    /// The customer pays by the link.
    async fn pay(&self, reference: &str, link: &str) -> String {
        if self.keeps {
            let pay = Pay { reference: Some(reference.into()), ..Pay::default() };
            self.sandbox.sandbox().pay(pay).await.expect("paid")
        } else {
            self.sandbox.sandbox().pay_link(link, None).expect("paid")
        }
    }

    async fn look(&self, ask: &Ask) -> Vec<Received> {
        match self.requests().poll(&self.outstanding(ask)).await {
            Polled::Payments(received) => received,
            other @ Polled::NoAnswer { .. } => panic!("{other:?}"),
        }
    }

    /// What was paid, with what was only reserved captured.
    async fn poll(&self, ask: &Ask) -> Vec<Received> {
        for money in self.look(ask).await.into_iter().filter(|money| money.authorized) {
            let captured = self.adapter.capture(&money.transaction_id, &charge(&money)).await;
            assert!(matches!(captured, Outcome::Succeeded { .. }), "{captured:?}");
        }
        self.look(ask).await
    }

    fn fault(&self, operation: &str, fault: &Value, times: u64) {
        let rule = json!({ "match": { "operation": operation }, "fault": fault, "times": times });
        self.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
    }

    fn books(&self, reference: &str) -> (i64, i64) {
        let entries = self.sandbox.ledger();
        entries.iter().filter(|entry| entry.reference == reference).fold((0, 0), |(taken, back), entry| match entry.kind {
            Movement::Charge | Movement::Capture => (taken + entry.amount, back),
            _ => (taken, back + entry.amount),
        })
    }
}

fn charge(money: &Received) -> Charge {
    Charge {
        reference: "unused".into(),
        idempotency_key: "unused".into(),
        source: Source::PriorTransaction { transaction_id: "unused".into() },
        amount_minor: money.amount_minor,
        currency: money.currency,
        description: String::new(),
        mandate: Mandate { reason: Reason::Recurring, initial_transaction_id: None },
    }
}

fn received(transaction_id: &str) -> Received {
    Received {
        transaction_id: transaction_id.into(),
        amount_minor: 2550,
        currency: "EUR".parse().expect("known"),
        authorized: false,
    }
}

async fn what_is_asked_for_is_paid_and_heard_of(bench: Bench) {
    let ask = bench.ask("OK1");
    let (_, link) = bench.send(&ask).await;
    assert!(link.starts_with("https://"), "{link}");
    assert_eq!(bench.poll(&ask).await, []);
    let id = bench.pay("OK1", &link).await;
    for _ in 0..2 {
        assert_eq!(bench.poll(&ask).await, [received(&id)]);
    }
    assert_eq!(bench.books("OK1"), (2550, 0));
    assert_eq!(bench.poll(&bench.ask("OK")).await, [], "a part of a reference is another reference");
}

async fn every_exponent_goes_there_and_back(bench: Bench) {
    for (number, (amount_minor, currency)) in
        [(1, "USD"), (1234, "JPY"), (1001, "BHD"), (123_456_789_012, "USD")].into_iter().enumerate()
    {
        let ask = Ask { amount_minor, currency: currency.parse().expect("known"), ..bench.ask(&format!("EXP{number}")) };
        let (_, link) = bench.send(&ask).await;
        bench.pay(&ask.reference, &link).await;
        let heard = bench.poll(&ask).await;
        assert_eq!((heard[0].amount_minor, heard[0].currency), (amount_minor, ask.currency));
        assert_eq!(bench.books(&ask.reference), (amount_minor, 0), "{currency}");
    }
}

async fn a_look_up_that_fails_says_so_and_one_that_fails_once_is_repeated(bench: Bench) {
    let ask = bench.ask("ASK1");
    let (_, link) = bench.send(&ask).await;
    let id = bench.pay("ASK1", &link).await;
    assert_eq!(bench.poll(&ask).await, [received(&id)]);
    for fault in [json!("500"), json!("429"), json!("403"), json!("drop_before"), json!("drop_after")] {
        bench.fault("lookup", &fault, 0);
        let heard = bench.requests().poll(&bench.outstanding(&ask)).await;
        assert!(matches!(heard, Polled::NoAnswer { .. }), "{fault}: {heard:?}");
        bench.sandbox.sandbox().clear_faults();
        if fault != json!("403") {
            bench.fault("lookup", &fault, 1);
            assert_eq!(bench.poll(&ask).await, [received(&id)], "{fault}");
        }
    }
}

async fn what_was_paid_comes_back_once(bench: Bench) {
    let ask = bench.ask("BACK1");
    let (_, link) = bench.send(&ask).await;
    bench.pay("BACK1", &link).await;
    let id = bench.poll(&ask).await.remove(0).transaction_id;
    let order = |amount_minor, returned_minor| Return {
        transaction_id: id.clone(),
        amount_minor,
        captured_minor: 2550,
        returned_minor,
        currency: ask.currency,
    };
    for (order, fault, moved) in [
        (order(1000, 0), json!("drop_after"), true),
        (order(50, 1000), json!("status_after:500"), true),
        (order(500, 1050), json!("drop_before"), false),
        (order(500, 1050), json!("500"), false),
    ] {
        bench.fault("refund", &fault, 1);
        let lost = bench.adapter.give_back(&order).await;
        assert!(matches!(lost, ReturnOutcome::Unknown { .. }), "{fault}: {lost:?}");
        assert_eq!(bench.adapter.look_up_return(&order).await == ReturnFound::Returned { voided: false }, moved, "{fault}");
    }
    bench.fault("refund", &json!("429"), 1);
    assert!(matches!(bench.adapter.give_back(&order(1500, 1050)).await, ReturnOutcome::GatewayError { .. }));
    for _ in 0..2 {
        let returned = bench.adapter.give_back(&order(1500, 1050)).await;
        assert!(matches!(returned, ReturnOutcome::Returned { voided: false, .. }), "{returned:?}");
    }
    let foreign = bench.adapter.give_back(&order(1, 7)).await;
    assert!(matches!(&foreign, ReturnOutcome::Refused { code, .. } if code == "amounts_disagree"), "{foreign:?}");
    assert!(matches!(bench.adapter.give_back(&order(1, 2550)).await, ReturnOutcome::Refused { .. }));
    assert_eq!(bench.books("BACK1"), (2550, 2550));
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod paysley_keeps_it {
            $(#[tokio::test] async fn $case() { super::$case(super::paysley().await).await; })+
        }
        mod kurv_keeps_it {
            $(#[tokio::test] async fn $case() { super::$case(super::kurv().await).await; })+
        }
        mod paylikes_link_keeps_it {
            $(#[tokio::test] async fn $case() { super::$case(super::paylike().await).await; })+
        }
    };
}

contract!(
    what_is_asked_for_is_paid_and_heard_of,
    every_exponent_goes_there_and_back,
    a_look_up_that_fails_says_so_and_one_that_fails_once_is_repeated,
    what_was_paid_comes_back_once,
);

#[tokio::test]
async fn each_fault_of_asking_is_told_as_what_it_is() {
    for (fault, unknown, there) in [
        (json!("drop_before"), true, 0),
        (json!("drop_after"), true, 1),
        (json!("500"), true, 0),
        (json!("status_after:503"), true, 1),
        (json!({ "kind": "delay", "ms": LATE_MS }), true, 1),
        (json!({ "kind": "status", "status": 429, "retry_after": 3 }), false, 0),
    ] {
        let bench = paysley().await;
        bench.fault("request", &fault, 1);
        match bench.requests().ask(&bench.ask("LOST1")).await {
            Asked::Unknown { .. } => assert!(unknown, "{fault}"),
            Asked::GatewayError { retry_after, .. } => {
                assert!(!unknown && retry_after == Some(TimeDelta::seconds(3)), "{fault}");
            }
            other => panic!("{fault}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(if fault.is_object() && unknown { LATE_MS } else { 0 })).await;
        assert_eq!(bench.sandbox.sandbox().asked().len(), there, "{fault}");
    }
    let Bench { sandbox, adapter, .. } = paysley().await;
    let bench = paysley().await;
    sandbox.stop().await;
    let gone = adapter.requests().expect("asks").ask(&bench.ask("GONE1")).await;
    assert!(matches!(gone, Asked::GatewayError { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_customer_who_cannot_be_reached_is_told_from_a_wrong_setting() {
    let bench = paysley().await;
    let refused = |asked| match asked {
        Asked::Refused(decline) => (decline.class, decline.code),
        other => panic!("{other:?}"),
    };
    let unreachable = bench.requests().ask(&Ask { email: Some("nowhere".into()), ..bench.ask("NO1") }).await;
    assert_eq!(refused(unreachable), (DeclineClass::NewCardNeeded, "email".into()));
    let wrong_key = Paysley::new(&settings(format!("{}/v2", bench.sandbox.url()), "wrong")).expect("usable");
    assert_eq!(refused(wrong_key.ask(&bench.ask("NO2")).await), (DeclineClass::AccountRefused, "http_403".into()));
}

#[tokio::test]
async fn two_links_of_one_reference_are_both_heard_of() {
    let bench = paysley().await;
    let ask = bench.ask("TWO1");
    bench.fault("request", &json!("drop_after"), 1);
    assert!(matches!(bench.requests().ask(&ask).await, Asked::Unknown { .. }));
    bench.send(&ask).await;
    let mut paid = Vec::new();
    for asked in bench.sandbox.sandbox().asked() {
        let pay = Pay { transaction_id: Some(asked.transaction_id), ..Pay::default() };
        paid.push(received(&bench.sandbox.sandbox().pay(pay).await.expect("paid")));
    }
    assert_eq!(bench.poll(&ask).await, paid);
}

#[tokio::test]
async fn a_reminder_goes_out_by_the_same_request_and_not_once_it_is_paid() {
    let bench = paysley().await;
    let ask = bench.ask("AGAIN1");
    let (request_id, link) = bench.send(&ask).await;
    let reminded = bench.requests().remind(request_id.as_deref(), &ask).await;
    assert!(matches!(reminded, Asked::Sent { .. }), "{reminded:?}");
    let asked = bench.sandbox.sandbox().asked();
    assert_eq!((asked.len(), asked[0].messages), (1, 4), "two channels, twice");
    bench.pay("AGAIN1", &link).await;
    let late = bench.requests().remind(request_id.as_deref(), &ask).await;
    assert!(matches!(late, Asked::Refused(_)), "{late:?}");
    let kept = bench.requests().withdraw(&request_id.expect("an id")).await;
    assert!(matches!(kept, Withdrawn::Kept { .. }), "{kept:?}");
}

#[tokio::test]
async fn what_is_withdrawn_cannot_be_paid_and_asking_twice_does_no_harm() {
    let bench = paysley().await;
    let (request_id, _) = bench.send(&bench.ask("GONE1")).await;
    let id = request_id.expect("an id");
    bench.fault("request", &json!("drop_after"), 1);
    assert!(matches!(bench.requests().withdraw(&id).await, Withdrawn::NoAnswer { .. }));
    assert_eq!(bench.requests().withdraw(&id).await, Withdrawn::Gone);
    assert!(bench.sandbox.sandbox().pay(Pay { transaction_id: Some(id), ..Pay::default() }).await.is_err());
}

#[tokio::test]
async fn a_declined_attempt_is_no_payment() {
    let bench = paysley().await;
    let ask = bench.ask("NOK1");
    bench.send(&ask).await;
    let pay = serde_json::from_value(json!({ "reference": "NOK1", "outcome": "decline" })).expect("pay");
    bench.sandbox.sandbox().pay(pay).await.expect("tried");
    assert_eq!(bench.poll(&ask).await, []);
}

/// The amount stands in the link, where anybody can change it; and anybody can pay twice.
#[tokio::test]
async fn a_paylike_link_that_was_tampered_with_or_paid_twice_takes_the_right_money_once() {
    let bench = paylike().await;
    let ask = bench.ask("LINK1");
    let (_, link) = bench.send(&ask).await;
    assert!(link.contains("value=25.50") && link.contains("test=1") && link.contains("locale=en_US"), "{link}");
    bench.pay("LINK1", &link.replace("value=25.50", "value=0.01")).await;
    assert_eq!(bench.poll(&ask).await, []);
    let (first, second) = (bench.pay("LINK1", &link).await, bench.pay("LINK1", &link).await);
    let reserved = |id: &str| Received { authorized: true, ..received(id) };
    assert_eq!(bench.look(&ask).await, [reserved(&first), reserved(&second)], "oldest first");
    assert_eq!(bench.books("LINK1"), (0, 0), "looking takes nothing");
    bench.adapter.capture(&first, &charge(&reserved(&first))).await;
    assert_eq!(bench.look(&ask).await, [received(&first), reserved(&second)]);
    assert_eq!(bench.books("LINK1"), (2550, 0));
    assert!(bench.sandbox.sandbox().pay_link("https://pos.paylike.io/?key=nobody&test=1", None).is_err());
    assert_eq!(bench.ask("X").currency, "EUR".parse::<Currency>().expect("known"));
}

/// Accounts may be set to reserve first: then looking shows a reservation, and a capture whose answer is lost is one capture.
#[tokio::test]
async fn a_reservation_at_paysley_is_captured_once() {
    for (fault, unknown) in [("drop_before", true), ("drop_after", true), ("status_after:500", true), ("429", false)] {
        let bench = paysley().await;
        let ask = bench.ask("PRE1");
        let body = json!({
            "request_methods": ["WEB"], "reference_number": "PRE1", "email": "ada@example.com", "customer_first_name": "Ada",
            "fixed_amount": true, "currency": "EUR", "amount": 25.5, "payment_type": "PA",
        });
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().expect("client");
        let url = format!("{}/v2/payment-requests/", bench.sandbox.url());
        assert_eq!(client.post(url).bearer_auth(PAYSLEY_KEY).json(&body).send().await.expect("sent").status(), 200);
        let id = bench.pay("PRE1", "").await;
        assert_eq!(bench.look(&ask).await, [Received { authorized: true, ..received(&id) }]);
        bench.fault("capture", &json!(fault), 1);
        let lost = bench.adapter.capture(&id, &charge(&received(&id))).await;
        assert_eq!(matches!(lost, Outcome::Unknown { .. }), unknown, "{fault}: {lost:?}");
        for _ in 0..2 {
            let again = bench.adapter.capture(&id, &charge(&received(&id))).await;
            assert_eq!(again, Outcome::Succeeded { transaction_id: id.clone(), amount_minor: 2550 }, "{fault}");
        }
        assert_eq!((bench.look(&ask).await, bench.books("PRE1")), (vec![received(&id)], (2550, 0)));
    }
}
