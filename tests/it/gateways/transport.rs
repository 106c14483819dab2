//! What a bad line means: certainly not processed, or unknown. Guards "never twice": nothing is resent behind our back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use rebilld::{
    domain::payment::{DeclineClass, Outcome},
    gateway::{Found, Gateway},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{KEY, fluidpay, paylike, prior_charge, sent, vault_charge};

const TIMEOUT: Duration = Duration::from_millis(400);

/// What the server does with a request it has read.
#[derive(Clone)]
enum Act {
    Answer(String),
    /// Closes without a word.
    Close,
    Sleep,
}

/// A server that reads whole requests and does as told, one act after the other over all connections; then it closes.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}/api", listener.local_addr().expect("address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, acts.clone(), Arc::clone(&seen)));
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("unpoisoned").clone()
    }
}

async fn connection(mut stream: TcpStream, acts: Vec<Act>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let index = {
            let mut seen = seen.lock().expect("unpoisoned");
            seen.push(request);
            seen.len() - 1
        };
        match acts.get(index) {
            Some(Act::Answer(text)) => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Some(Act::Sleep) => tokio::time::sleep(TIMEOUT * 3).await,
            Some(Act::Close) | None => return,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

fn approved(reference: &str) -> Act {
    let data = serde_json::json!({
        "id": "b7kgflt1tlv51er0fts0", "type": "sale", "amount": 2500, "currency": "usd", "order_id": reference,
        "status": "pending_settlement", "response": "approved", "response_code": 100,
    });
    answer("200 OK", "content-type: application/json\r\n", &serde_json::json!({ "status": "success", "data": data }).to_string())
}

async fn charge_against(act: Act) -> (Outcome, Vec<String>) {
    let server = Server::start(vec![act]).await;
    let outcome = fluidpay(&server.url, TIMEOUT).charge(&vault_charge("REF1", "customer_token")).await;
    (outcome, server.requests())
}

#[tokio::test]
async fn what_never_connected_was_certainly_not_processed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    for url in [format!("http://{address}"), "http://no-such-host.invalid/api".to_owned()] {
        for outcome in [
            fluidpay(&url, TIMEOUT * 5).charge(&vault_charge("REF1", "customer_token")).await,
            paylike(&url, TIMEOUT * 5).charge(&prior_charge("REF1", "prior_id")).await,
        ] {
            assert!(matches!(outcome, Outcome::GatewayError { retry_after: None, .. }), "{url}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_was_certainly_not_processed() {
    // Accepts the connection and stays silent: the request itself is never written.
    let server = Server::start(vec![Act::Sleep]).await;
    let url = server.url.replace("http://", "https://");
    let outcome = fluidpay(&url, TIMEOUT).charge(&vault_charge("REF1", "customer_token")).await;
    assert!(matches!(outcome, Outcome::GatewayError { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_line_lost_after_sending_is_unknown_and_never_resent() {
    let (outcome, requests) = charge_against(Act::Close).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(requests.len(), 1);
    let (outcome, requests) = charge_against(Act::Sleep).await;
    assert!(matches!(&outcome, Outcome::Unknown { message } if message.contains("400 ms")), "{outcome:?}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_closes_under_a_charge_is_unknown_and_never_resent() {
    let server = Server::start(vec![approved("REF1"), Act::Close, approved("REF2")]).await;
    let gateway = fluidpay(&server.url, TIMEOUT);
    let first = gateway.charge(&vault_charge("REF1", "customer_token")).await;
    assert!(matches!(first, Outcome::Succeeded { amount_minor: 2500, .. }), "{first:?}");
    let second = gateway.charge(&vault_charge("REF2", "customer_token")).await;
    assert!(matches!(second, Outcome::Unknown { .. }), "{second:?}");
    assert_eq!(server.requests().len(), 2, "a request that was written must never be written again");
}

#[tokio::test]
async fn too_many_requests_is_certainly_not_processed_and_says_when_to_come_back() {
    let (outcome, _) = charge_against(answer("429 Too Many Requests", "retry-after: 7\r\n", "{}")).await;
    let Outcome::GatewayError { retry_after, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(retry_after, Some(TimeDelta::seconds(7)));
    let dated = "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:29:00 GMT\r\n";
    let (outcome, _) = charge_against(answer("429 Too Many Requests", dated, "slow down")).await;
    assert!(matches!(outcome, Outcome::GatewayError { retry_after: Some(wait), .. } if wait.num_seconds() == 60), "{outcome:?}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_believed_is_unknown() {
    let large = "x".repeat(2 << 20);
    for act in [
        answer("500 Internal Server Error", "", r#"{"status":"failed","msg":"declined"}"#),
        answer("502 Bad Gateway", "", "<html>"),
        answer("503 Service Unavailable", "retry-after: 5\r\n", ""),
        answer("302 Found", "location: http://127.0.0.1:9/\r\n", ""),
        answer("408 Request Timeout", "", ""),
        answer("200 OK", "", "<html>hello</html>"),
        answer("200 OK", "", ""),
        answer("200 OK", "", r#"{"status":"success"}"#),
        answer("200 OK", "", &large),
        Act::Answer("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"status\":".into()),
        Act::Answer("nonsense\r\n\r\n".into()),
    ] {
        let (outcome, requests) = charge_against(act).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        assert_eq!(requests.len(), 1);
    }
}

#[tokio::test]
async fn a_refused_key_is_the_operators_fault_and_shows_no_secret() {
    let echo = format!(r#"{{"status":"failed","msg":"bad key {KEY} for customer_token 4111111111111111","data":null}}"#);
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let (outcome, requests) = charge_against(answer(status, "", &echo)).await;
        let Outcome::Declined { decline, transaction_id: None } = outcome else { panic!("{outcome:?}") };
        assert_eq!(decline.class, DeclineClass::AccountRefused);
        assert_eq!(decline.message, "bad key *** for *** ****");
        let head = requests[0].to_ascii_lowercase();
        assert!(head.starts_with("post /api/transaction http/1.1"), "{head}");
        assert!(head.contains(&format!("authorization: {KEY}\r\n")) && head.contains("user-agent: rebilld/"), "{head}");
    }
}

#[tokio::test]
async fn a_missing_paylike_transaction_is_told_from_a_wrong_address() {
    let gone = || answer("404 Not Found", "", r#"{"message":"not found"}"#);
    let wrong = || answer("400 Bad Request", "", r#"[{"field":"transactionId","message":"is not known"}]"#);
    let merchant = || answer("200 OK", "", r#"{"merchant":{"id":"m"}}"#);
    let elsewhere = || answer("200 OK", "", r#"{"transaction":{"id":"prior_id","merchantId":"another"}}"#);
    for (acts, class) in [
        (vec![gone(), gone(), merchant()], DeclineClass::NewCardNeeded),
        (vec![wrong(), gone(), merchant()], DeclineClass::NewCardNeeded),
        (vec![gone(), gone(), gone()], DeclineClass::AccountRefused),
        (vec![wrong(), elsewhere()], DeclineClass::ChargeRefused),
        (vec![gone(), Act::Close], DeclineClass::GatewayFault),
    ] {
        let server = Server::start(acts).await;
        let outcome = paylike(&server.url, TIMEOUT).charge(&prior_charge("REF1", "prior_id")).await;
        assert!(matches!(&outcome, Outcome::Declined { decline, .. } if decline.class == class), "{outcome:?}");
        // The empty user and the key: base64 of `:api_key_of_the_merchant`.
        assert!(server.requests()[0].contains("authorization: Basic OmFwaV9rZXlfb2ZfdGhlX21lcmNoYW50\r\n"));
    }
}

#[tokio::test]
async fn a_customer_gone_from_fluidpays_vault_is_told_from_a_wrong_address() {
    let gone = || answer("404 Not Found", "", r#"{"status":"failed","msg":"customer not found"}"#);
    let there = |cards: &str| {
        answer(
            "200 OK",
            "",
            &format!(r#"{{"status":"success","data":{{"data":{{"customer":{{"payments":{{"cards":{cards}}}}}}}}}}}"#),
        )
    };
    let old = || answer("200 OK", "", r#"{"status":"success","data":{"id":"customer_token"}}"#);
    let account = || answer("200 OK", "", r#"{"status":"success","data":null}"#);
    let broken = || answer("403 Forbidden", "", "{}");
    for (acts, class) in [
        (vec![gone(), gone(), gone(), account()], DeclineClass::NewCardNeeded),
        // Only both together say that the customer is gone, and only where the account answers.
        (vec![gone(), gone(), there(r#"[{"id":"a"}]"#)], DeclineClass::ChargeRefused),
        (vec![gone(), old(), gone()], DeclineClass::ChargeRefused),
        (vec![gone(), gone(), gone(), gone()], DeclineClass::AccountRefused),
        (vec![gone(), gone(), broken()], DeclineClass::GatewayFault),
        (vec![gone(), broken(), gone()], DeclineClass::GatewayFault),
        (vec![gone(), gone(), gone(), Act::Close], DeclineClass::GatewayFault),
        (vec![gone(), old(), there("null")], DeclineClass::NewCardNeeded),
    ] {
        let server = Server::start(acts).await;
        let outcome = fluidpay(&server.url, TIMEOUT).charge(&vault_charge("REF1", "customer_token")).await;
        assert!(matches!(&outcome, Outcome::Declined { decline, .. } if decline.class == class), "{class}: {outcome:?}");
        let asked = server.requests();
        assert!(
            asked[1].starts_with("GET /api/customer/customer_token ") && asked[2].starts_with("GET /api/vault/customer_token "),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn a_list_that_never_ends_or_never_moves_is_no_proof_of_absence() {
    let element = r#"{"id":"69a3d5e00000000000000001","created":"2026-03-01T07:00:00Z","custom":{"reference":"OTHER"}}"#;
    let page = answer("200 OK", "content-type: application/json\r\n", &format!("[\n{element},\n]"));
    let server = Server::start(vec![page; 3]).await;
    let at = "2026-03-01T06:00:00Z".parse().expect("instant");
    let found = paylike(&server.url, TIMEOUT).look_up(&sent(&prior_charge("REF1", "prior_id"), at)).await;
    assert!(matches!(found, Found::NoAnswer { .. }), "{found:?}");
    assert!(server.requests()[1].contains("limit=100&before=69a3d5e00000000000000001"));
}
