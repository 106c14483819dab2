//! What only the inside can show: bodies read with all their faults, and a panic that stays one request's trouble.

use std::sync::Arc;

use axum::{Router, body::to_bytes, http::Request, routing::get};
use tower::ServiceExt;

use super::body::read;
use crate::{
    billing::App,
    clock::Clock,
    config::Config,
    domain::money::MAX_AMOUNT_MINOR,
    gateway::Gateways,
    input::{Patch, body},
    store::Db,
};

body! {
    /// A part.
    #[derive(serde::Serialize)]
    struct Part {
        id: String line up to 10,
        amount | price: Option<i64> in 0..=MAX_AMOUNT_MINOR,
    }
}

body! {
    /// A body with everything.
    struct Everything {
        name: String line up to 5,
        /// Said in words.
        description: String up to 5 = String::new(),
        email: Patch<String> up to 20,
        parts: Vec<Part> = Vec::new(),
        r#type: Option<bool>,
    }
}

fn faults(text: &str) -> Vec<(String, String)> {
    let problem = read::<Everything>(text.as_bytes()).expect_err("must be refused");
    assert_eq!(problem.status.as_u16(), 422, "{text}: {problem:?}");
    problem.errors.into_iter().map(|error| (error.field, error.message)).collect()
}

#[test]
fn all_faults_are_told_at_once_with_their_paths() {
    let text = r#"{"description": "too long", "parts": [{"id": "a", "amount": -1}, {"price": 1.5, "amount": 1, "x": 1}, 7],
        "type": "yes", "email": null, "more": {"a": 1}}"#;
    let fields: Vec<String> = faults(text).into_iter().map(|(field, _)| field).collect();
    let expected =
        ["more", "name", "description", "parts[0].amount", "parts[1].x", "parts[1].id", "parts[1].price", "parts[2]", "type"];
    assert_eq!(fields, expected);
}

#[test]
fn null_absent_and_a_value_are_three_things() {
    let email = |text: &str| read::<Everything>(text.as_bytes()).expect("fine").email;
    assert_eq!(email(r#"{"name": "a"}"#), Patch::Absent);
    assert_eq!(email(r#"{"name": "a", "email": null}"#).change(), Some(None));
    assert_eq!(email(r#"{"name": "a", "email": "x"}"#), Patch::Value("x".into()));
    let whole = read::<Everything>(
        r#"{"name": " a ", "parts": [{"id": "p", "price": 3}], "description": null, "type": true}"#.as_bytes(),
    )
    .expect("fine");
    assert_eq!((whole.name.as_str(), whole.description.as_str(), whole.r#type), ("a", "", Some(true)));
    assert_eq!((whole.parts[0].id.as_str(), whole.parts[0].amount), ("p", Some(3)));
}

#[test]
fn huge_numbers_are_refused_wherever_they_are() {
    for number in [
        "9223372036854775808",
        "1e400",
        "1e30",
        "99999999999999999999999999",
        "1000000000000",
        "-1",
        "1.0",
        "\"1\"",
        "true",
        "[]",
    ] {
        let text = format!(r#"{{"name": "a", "parts": [{{"id": "b", "amount": {number}}}]}}"#);
        match read::<Everything>(text.as_bytes()).expect_err(number) {
            // Beyond what a float can hold, it is no JSON that anybody reads.
            problem if number == "1e400" => assert_eq!(problem.status.as_u16(), 400),
            problem => assert_eq!(problem.errors[0].field, "parts[0].amount", "{number}"),
        }
    }
}

#[test]
fn an_amount_in_major_units_is_told_how_to_be_written() {
    let told = |text: &str| {
        let amounts = faults(text).into_iter().filter(|(field, _)| field.ends_with("amount"));
        amounts.map(|(_, message)| message).collect::<Vec<_>>()
    };
    let expected = |example: &str| format!("must be a whole number in minor units: 1250 for {example}");
    for amount in ["12.5", "\"39,00\"", "\"1250\"", "true"] {
        assert_eq!(told(&format!(r#"{{"name": "a", "parts": [{{"id": "b", "amount": {amount}}}]}}"#)), [expected("12.50")]);
    }
    // The currency of the object, or else of the one around it; what comes after has the outer one again.
    let parts = r#"[{"id": "b", "amount": 0.5}, {"id": "c", "amount": 0.5, "currency": "BHD"}, {"id": "d", "amount": 0.5}]"#;
    let inner = told(&format!(r#"{{"name": "a", "currency": "JPY", "parts": {parts}}}"#));
    assert_eq!(inner, [expected("1250 JPY"), expected("1.250 BHD"), expected("1250 JPY")]);
    let unknown = told(&format!(r#"{{"name": "a", "currency": "nope", "parts": {parts}}}"#));
    assert_eq!(unknown, [expected("12.50"), expected("1.250 BHD"), expected("12.50")]);
    // Too large an amount is a whole number all the same.
    let large = told(r#"{"name": "a", "parts": [{"id": "b", "amount": 18446744073709551615}]}"#);
    assert_eq!(large, ["must be from 0 to 999999999999"]);
}

#[test]
fn what_is_not_json_is_400_and_not_repeated() {
    for bad in [
        "",
        "  ",
        "{",
        "{\"name\": 4111111111111111",
        "nul",
        "{} {}",
        "{'a': 1}",
        r#"{"name": "a", "name": "b"}"#,
        "[".repeat(1000).as_str(),
    ] {
        let problem = read::<Everything>(bad.as_bytes()).expect_err(bad);
        assert_eq!(problem.status.as_u16(), 400, "{bad}");
        assert!(!problem.detail.contains("4111"), "{}", problem.detail);
    }
    assert_eq!(read::<Everything>(b"{\"name\": \"\xff\"}").expect_err("no UTF-8").status.as_u16(), 400);
    for not_an_object in ["[]", "1", "null", "\"a\""] {
        assert_eq!(faults(not_an_object)[0].0, "");
    }
}

#[test]
fn a_card_number_is_refused_wherever_it_hides_and_never_repeated() {
    for (text, field) in [
        (r#"{"name": "4111111111111111"}"#, "name"),
        (r#"{"name": "a", "description": 4111111111111111}"#, "description"),
        (r#"{"name": "a", "description": 4111111111111111.0}"#, "description"),
        (r#"{"name": "a", "description": 4.111111111111111e15}"#, "description"),
        (r#"{"name": "a", "description": "4111 1111-1111 1111"}"#, "description"),
        (r#"{"name": "a", "more": {"deep": [{"x": "card 4111111111111111!"}]}}"#, "more.deep[0].x"),
        (r#"{"name": "a", "4111111111111111": 1}"#, ""),
    ] {
        let faults = faults(text);
        assert!(faults.iter().any(|fault| fault.0 == field && fault.1.contains("card number")), "{text}: {faults:?}");
        assert!(!format!("{faults:?}").contains("4111"), "{faults:?}");
    }
    assert!(faults(r#"{"name": "a\u0000"}"#)[0].1.contains("U+0000"));
}

#[test]
fn the_schema_says_what_the_reader_does() {
    let schema = serde_json::to_value(<Everything as utoipa::PartialSchema>::schema()).expect("JSON");
    assert_eq!(schema["required"], serde_json::json!(["name"]));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["description"]["description"], "Said in words.");
    assert_eq!(schema["properties"]["description"]["maxLength"], 5);
    assert_eq!(schema["properties"]["parts"]["items"]["properties"]["amount"]["type"], serde_json::json!(["integer", "null"]));
    assert!(schema["properties"]["type"].is_object());
}

async fn boom(method: axum::http::Method) {
    assert!(method.is_safe() && !method.is_safe(), "secret");
}

#[tokio::test]
async fn a_panic_is_one_requests_500_and_shows_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let db = Db::open(&format!("sqlite://{}/t.db", folder.path().display()), 1, true).await.expect("database");
    let app = Arc::new(App::new(db, Clock::System, Config::defaults(), Gateways::default(), [1; 32]));
    let routes = Router::new().route("/boom", get(boom).post(boom));
    let router = super::with_layers(routes, app, tokio_util::task::TaskTracker::new());
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).uri("/boom").body(axum::body::Body::empty()).expect("request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 500);
        let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
        let body = to_bytes(response.into_body(), 10_000).await.expect("body");
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(problem["request_id"], id);
        assert!(!problem.to_string().contains("secret"));
    }
}
