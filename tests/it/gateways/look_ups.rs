//! Lookups against odds: months later, in lists that move while they are read, and with answers that make no sense.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use rebilld::{
    clock::Clock,
    domain::payment::Outcome,
    gateway::{Charge, Found, Gateway, fluidpay::FluidPay, paylike::Paylike},
    sandbox::{self, FLUIDPAY_KEY, Options, PAYLIKE_KEY, PAYLIKE_MERCHANT, Rule, SandboxServer},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{fluidpay as fluidpay_at, paylike as paylike_at, prior_charge, sent, settings, vault_charge};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A sandbox whose clock can be put ahead by so many days.
async fn sandbox() -> (SandboxServer, Arc<AtomicI64>) {
    rebilld::gateway::http::install_tls();
    let days = Arc::new(AtomicI64::new(0));
    let ahead = days.clone();
    let now = Arc::new(move || Clock::System.now() + TimeDelta::days(ahead.load(Ordering::SeqCst)));
    (sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), now, Options::default()).await.expect("free port"), days)
}

fn both(sandbox: &SandboxServer) -> [(Box<dyn Gateway>, Charge); 2] {
    let fluid = rebilld::gateway::http::Settings {
        api_key: FLUIDPAY_KEY.to_owned().into(),
        ..settings(&format!("{}/api", sandbox.url()), TIMEOUT)
    };
    let paylike = rebilld::gateway::http::Settings {
        api_key: PAYLIKE_KEY.to_owned().into(),
        merchant_id: PAYLIKE_MERCHANT.into(),
        ..settings(&sandbox.url(), TIMEOUT)
    };
    let token = sandbox.sandbox().fluidpay_tokens(1, "late").remove(0);
    let prior = sandbox.sandbox().paylike_tokens(1).remove(0);
    [
        (Box::new(FluidPay::new(&fluid).expect("usable")), vault_charge("LATE1", &token)),
        (Box::new(Paylike::new(&paylike).expect("usable")), prior_charge("LATE2", &prior)),
    ]
}

fn rule(fault: &str, operation: &str) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": 1 })).expect("a rule")
}

fn is_found(found: &Found) -> bool {
    matches!(found, Found::Outcome(Outcome::Succeeded { .. } | Outcome::Authorized { .. }))
}

#[tokio::test]
async fn a_payment_is_found_when_the_default_window_of_four_months_is_over() {
    let (sandbox, days) = sandbox().await;
    for (adapter, charge) in both(&sandbox) {
        let sent_at = Clock::System.now();
        adapter.charge(&charge).await;
        days.store(150, Ordering::SeqCst);
        let found = adapter.look_up(&sent(&charge, sent_at)).await;
        assert!(is_found(&found), "{found:?}");
        days.store(0, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_list_that_moves_while_it_is_read_hides_nothing() {
    let (sandbox, _) = sandbox().await;
    let sandbox = Arc::new(sandbox);
    for (adapter, charge) in both(&sandbox) {
        let sent_at = Clock::System.now();
        adapter.charge(&charge).await;
        sandbox.sandbox().paylike_tokens(450);
        let busy = sandbox.clone();
        let others = tokio::task::spawn_blocking(move || {
            for _ in 0..400 {
                busy.sandbox().paylike_tokens(10);
                std::thread::yield_now();
            }
        });
        while !others.is_finished() {
            let found = adapter.look_up(&sent(&charge, sent_at)).await;
            assert!(is_found(&found), "{found:?}");
        }
        others.await.expect("done");
    }
}

#[tokio::test]
async fn a_partial_approval_that_got_lost_is_found_with_its_true_amount() {
    let (sandbox, _) = sandbox().await;
    let [(adapter, _), _] = both(&sandbox);
    for (reference, fault) in [("HALF1", "drop_after"), ("HALF2", "status_after:500")] {
        let charge = Charge {
            reference: reference.into(),
            idempotency_key: reference.into(),
            ..vault_charge(reference, "partial1100000000000")
        };
        let started = Clock::System.now();
        sandbox.sandbox().add_fault(rule(fault, "charge"));
        assert!(matches!(adapter.charge(&charge).await, Outcome::Unknown { .. }));
        let found = adapter.look_up(&sent(&charge, started)).await;
        assert!(matches!(found, Found::Outcome(Outcome::Succeeded { amount_minor: 1250, .. })), "{found:?}");
    }
    // Of a reservation a part is worth nothing: it is given free.
    let charge =
        Charge { reference: "HALF3".into(), idempotency_key: "HALF3".into(), ..vault_charge("HALF3", "partial1100000000000") };
    let part = adapter.authorize(&charge).await;
    assert!(matches!(part, Outcome::Declined { .. }), "{part:?}");
    assert_eq!(sandbox.sandbox().authorized(), []);
}

#[tokio::test]
async fn money_reserved_is_captured_once_and_its_rest_given_free() {
    let (sandbox, _) = sandbox().await;
    let mut all = 0;
    for (adapter, charge) in both(&sandbox) {
        let Outcome::Authorized { transaction_id } = adapter.authorize(&charge).await else { panic!("reserved") };
        let amount = if adapter.capabilities().captures_in_part { 900 } else { charge.amount_minor };
        all += amount;
        let less = Charge { amount_minor: amount, ..charge.clone() };
        for _ in 0..2 {
            let taken = adapter.capture(&transaction_id, &less).await;
            assert!(matches!(taken, Outcome::Succeeded { amount_minor, .. } if amount_minor == amount), "{taken:?}");
        }
        let mut asked = sent(&less, Clock::System.now());
        asked.transaction_id = Some(transaction_id.clone());
        let found = adapter.look_up(&asked).await;
        assert!(matches!(found, Found::Outcome(Outcome::Succeeded { amount_minor, .. }) if amount_minor == amount), "{found:?}");
        let released = adapter.void(&transaction_id, &charge).await;
        assert!(matches!(released, rebilld::gateway::ReturnOutcome::Refused { .. }), "what was captured stays: {released:?}");
    }
    assert_eq!(sandbox.sandbox().authorized(), []);
    assert_eq!(sandbox.ledger().iter().map(|entry| entry.amount).sum::<i64>(), all);
}

/// A server that gives every request the same answer.
async fn always(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 16_384];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    let head =
                        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
                    if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(body.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_proves_nothing() {
    rebilld::gateway::http::install_tls();
    let now = Clock::System.now();
    for body in [
        "",
        "null",
        "7",
        "\"ok\"",
        "<html>busy</html>",
        "{}",
        "{\"hello\": 1}",
        "{\"status\": \"success\"}",
        "{\"status\": \"success\", \"data\": 7}",
        "{\"status\": \"success\", \"data\": [{}]}",
        "{\"status\": \"success\", \"data\": [{\"id\": \"x\", \"order_id\": \"another\", \"status\": \"settled\"}]}",
        "{\"status\": \"success\", \"data\": [{\"id\": \"x\", \"order_id\": \"ODD1\", \"status\": \"on holiday\"}]}",
        "{\"transactions\": 7}",
        "[{\"amount\": 2500}]",
        "[7]",
        "[{\"id\": \"560fd96b7973ff3d2362a78c\", \"custom\": {\"reference\": \"ODD1\"}}]",
    ] {
        let url = always(body).await;
        for (adapter, charge) in [
            (Box::new(fluidpay_at(&url, TIMEOUT)) as Box<dyn Gateway>, vault_charge("ODD1", "t")),
            (Box::new(paylike_at(&url, TIMEOUT)), prior_charge("ODD1", "t")),
        ] {
            let found = adapter.look_up(&sent(&charge, now)).await;
            assert!(matches!(found, Found::NoAnswer { .. }), "{body}: {found:?}");
        }
    }
}
