//! The pretend Paylike: lists byte by byte, amounts that cannot be spent twice, both forms of a 400.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{MERCHANT, PAYLIKE_APP, PRIOR, World, authorization, paylike_authorization};

const BAD: StatusCode = StatusCode::BAD_REQUEST;
const CREATED: StatusCode = StatusCode::CREATED;

fn transactions() -> String {
    format!("/merchants/{MERCHANT}/transactions")
}

async fn text(world: &World, path: &str) -> String {
    let request = world.client.get(format!("{}{path}", world.running.url()));
    let answer = request.header("authorization", paylike_authorization()).send().await.expect("answer");
    assert!(answer.headers()["content-type"].to_str().expect("text").contains("json"));
    answer.text().await.expect("body")
}

#[tokio::test]
async fn lists_are_one_element_on_each_line_even_when_empty() {
    let world = World::new().await;
    assert_eq!(text(&world, &format!("/merchants/{MERCHANT}/users?limit=5")).await, "[\n]");
    assert_eq!(text(&world, &format!("/disputes?limit=5&filter[merchantId]={MERCHANT}")).await, "[\n]");
    let ids = [world.authorize("L1", 100).await, world.authorize("L2", 100).await, world.authorize("L3", 100).await];
    for path in [format!("{}?limit=2", transactions()), format!("{}/?limit=2", transactions())] {
        let list = text(&world, &path).await;
        let lines: Vec<&str> = list.split('\n').collect();
        assert_eq!((lines.len(), lines[0], lines[3]), (4, "[", "]"), "{list}");
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("one element")["id"].clone();
        assert_eq!(parse(lines[1].strip_suffix(',').expect("a comma between elements")), ids[2]);
        assert_eq!(parse(lines[2]), ids[1]);
        assert!(serde_json::from_str::<Vec<Value>>(&list).is_ok(), "other clients read the list whole");
    }
    assert!(!text(&world, &format!("/transactions/{PRIOR}")).await.contains('\n'), "an object is one line");
}

#[tokio::test]
async fn lists_are_paged_by_id_and_after_turns_them_round() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(world.authorize(&format!("N{number}"), 100).await);
    }
    let page = async |query: &str| {
        let list: Vec<Value> = serde_json::from_str(&text(&world, &format!("{}?{query}", transactions())).await).expect("list");
        list.iter().filter_map(|found| ids.iter().position(|id| found["id"] == **id)).collect::<Vec<_>>()
    };
    assert_eq!(page("limit=2").await, [4, 3]);
    assert_eq!(page(&format!("limit=2&before={}", ids[3])).await, [2, 1]);
    assert_eq!(page(&format!("limit=2&after={}", ids[1])).await, [2, 3]);
    assert_eq!(page(&format!("limit=9&after={}&before={}", ids[0], ids[4])).await, [3, 2, 1]);
    // An id that is made from a date alone is a cursor too.
    assert_eq!(page(&format!("limit=9&after={}0000000000000000", &ids[0][..8])).await, [0, 1, 2, 3, 4]);
    let (status, faults) = world.paylike("GET", &transactions(), Value::Null).await;
    assert_eq!((status, &faults[0]["field"]), (BAD, &json!("limit")));
}

#[tokio::test]
async fn amounts_are_tracked_and_only_captures_and_refunds_reach_the_ledger() {
    let world = World::new().await;
    let id = world.authorize("T1", 300).await;
    assert!(world.ledger().is_empty(), "an authorization moves no money");
    let act = async |action: &str, body: Value| {
        let (status, body) = world.paylike("POST", &format!("/transactions/{id}/{action}"), body).await;
        (status.as_u16(), body)
    };
    assert_eq!(act("captures", json!({ "amount": 301 })).await.0, 400);
    assert_eq!(act("captures", json!({ "amount": 200, "currency": "USD" })).await.0, 400);
    assert_eq!(act("refunds", json!({ "amount": 1 })).await.0, 409);
    let (status, captured) = act("captures", json!({ "amount": 200, "currency": "EUR", "descriptor": "x" })).await;
    assert_eq!((status, &captured["transaction"]["pendingAmount"]), (201, &json!(100)));
    assert_eq!(act("voids", json!({ "amount": 60 })).await.0, 201);
    assert_eq!(act("captures", json!({ "amount": 50 })).await.0, 400);
    assert_eq!(act("captures", json!({ "amount": 40 })).await.0, 201);
    assert_eq!(act("captures", json!({ "amount": 40 })).await.0, 409, "a repeated capture is a conflict");
    assert_eq!(act("refunds", json!({ "amount": 120 })).await.0, 201);
    assert_eq!(act("refunds", json!({ "amount": 121 })).await.0, 400);
    let (_, shown) = world.paylike("GET", &format!("/transactions/{id}"), Value::Null).await;
    let shown = &shown["transaction"];
    let amounts =
        ["amount", "pendingAmount", "capturedAmount", "refundedAmount", "voidedAmount"].map(|field| shown[field].as_i64());
    assert_eq!(amounts, [300, 0, 240, 120, 60].map(Some));
    let trail: Vec<_> = shown["trail"].as_array().expect("trail").iter().map(|step| step["amount"].as_i64()).collect();
    assert_eq!(trail, [200, 60, 40, 120].map(Some));
    assert_eq!((&shown["trail"][1]["void"], &shown["trail"][3]["refund"]), (&json!(true), &json!(true)));
    assert_eq!(world.ledger(), ["capture T1 200", "capture T1 40", "refund T1 120"]);
    let line = shown["trail"][0]["lineId"].as_str().expect("line");
    assert_eq!(world.paylike("GET", &format!("/lines/{line}"), Value::Null).await.1["balance"], 200);
}

#[tokio::test]
async fn concurrent_captures_never_take_more_than_was_authorized() {
    let world = Arc::new(World::new().await);
    let id = world.authorize("R1", 300).await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (world, path) = (Arc::clone(&world), format!("/transactions/{id}/captures"));
            tokio::spawn(async move { world.paylike("POST", &path, json!({ "amount": 10 })).await.0 })
        })
        .collect();
    let mut captured = 0;
    for task in tasks {
        captured += i32::from(task.await.expect("answered") == CREATED);
    }
    assert_eq!((captured, world.running.summary().net["EUR"]), (30, 300));
}

#[tokio::test]
async fn a_400_is_a_list_of_fields_or_a_processing_error() {
    let world = World::new().await;
    let (status, faults) = world.paylike("POST", &transactions(), json!({ "amount": "100", "currency": "EURO" })).await;
    let fields: Vec<_> = faults.as_array().expect("array").iter().map(|fault| fault["field"].as_str()).collect();
    assert_eq!((status, fields), (BAD, vec![Some("currency"), Some("amount"), Some("transactionId")]));
    assert!(faults.as_array().is_some_and(|faults| faults.iter().all(|fault| fault["message"].is_string())));
    let declined = authorization("560fd96b7973ff3d23620007", "E1", 100);
    let (status, error) = world.paylike("POST", &transactions(), declined).await;
    assert_eq!((status, &error["code"], &error["client"], &error["merchant"]), (BAD, &json!(7), &json!(true), &json!(false)));
    assert_eq!(world.paylike("POST", &transactions(), authorization(PRIOR, "E2", 3_000_006)).await.1["code"], 6);
    // A declined attempt is stored, and cannot be captured.
    let (_, listed) = world.paylike("GET", &format!("{}?limit=1", transactions()), Value::Null).await;
    assert_eq!((&listed[0]["successful"], &listed[0]["custom"]["reference"]), (&json!(false), &json!("E2")));
    let path = format!("/transactions/{}/captures", listed[0]["id"].as_str().expect("id"));
    assert_eq!(world.paylike("POST", &path, json!({ "amount": 1 })).await.0, StatusCode::CONFLICT);
    assert!(world.ledger().is_empty());
}

#[tokio::test]
async fn forms_with_brackets_do_what_json_does() {
    let world = World::new().await;
    let post = async |path: &str, form: &str| {
        let request = world.client.post(format!("{}{path}", world.running.url())).body(form.to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        super::read(request.header("authorization", paylike_authorization()).send().await.expect("answer")).await
    };
    let form = "currency=DKK&email=a%40example.com&website=https://example.com&descriptor=Coffee&test=yes&company[country]=DK";
    let (status, merchant) = post("/merchants", form).await;
    assert_eq!((status, &merchant["merchant"]["test"]), (CREATED, &json!(true)), "{merchant}");
    assert_eq!(merchant["merchant"]["company"]["country"], "DK");
    let form = format!("transactionId={PRIOR}&currency=EUR&amount=250&custom[reference]=F1");
    let (status, made) = post(&transactions(), &form).await;
    assert_eq!(status, CREATED, "{made}");
    let id = made["transaction"]["id"].as_str().expect("id");
    assert_eq!(post(&format!("/transactions/{id}/captures"), "amount=250").await.0, CREATED);
    assert_eq!(world.ledger(), ["capture F1 250"]);
}

#[tokio::test]
async fn keys_open_only_their_own_merchants() {
    let world = World::new().await;
    let get = async |path: &str, authorization: &str| {
        let request = world.client.get(format!("{}{path}", world.running.url()));
        request.header("authorization", authorization).send().await.expect("answer").status()
    };
    assert_eq!(get("/me", "").await, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/me", "Basic bm9ib2R5Og==").await, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/me", &paylike_authorization()).await, StatusCode::OK);
    let made = world.client.post(format!("{}/apps", world.running.url())).send().await.expect("answer");
    let (status, app) = super::read(made).await;
    assert_eq!(status, CREATED, "an app is made without a key");
    let request = world.client.get(format!("{}/merchants/{MERCHANT}", world.running.url()));
    let stranger = request.basic_auth("", app["app"]["key"].as_str()).send().await.expect("answer");
    assert_eq!(stranger.status(), StatusCode::FORBIDDEN);
    let mine = format!("/identities/{PAYLIKE_APP}/merchants?limit=10&filter[test]=true");
    assert_eq!(world.paylike("GET", &mine, Value::Null).await.1.as_array().map(Vec::len), Some(2));
    for missing in
        ["/transactions/560fd96b7973ff3d2362ffff", "/transactions/short", "/nowhere", "/cards/560fd96b7973ff3d2362ffff"]
    {
        assert_eq!(get(missing, &paylike_authorization()).await, StatusCode::NOT_FOUND, "{missing}");
    }
    let update = world.paylike("PUT", &format!("/merchants/{MERCHANT}"), json!({ "name": "New" })).await;
    assert_eq!(update, (StatusCode::NO_CONTENT, Value::Null));
}
