//! Every request body of the seed gateway's chapter on recurring billing, replayed as it stands in the document.

use serde_json::{Value, json};

use super::{TestServer, on_both};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/seeds/003_caf4bf5276a6b8f3.txt");

/// One request of the document: what it names (`plan`), whose id follows in the address, and the body.
struct Sample {
    noun: String,
    id: Option<String>,
    body: Value,
}

/// The chapter's requests that have a body, in order. None where the documents are not at hand.
fn samples() -> Option<Vec<Sample>> {
    let Ok(text) = std::fs::read_to_string(DOCUMENT) else {
        println!("left out: the seed documents are not at hand");
        return None;
    };
    let start = text.find("\nRecurring\n\nCreate a Add On").expect("the chapter");
    let chapter = &text[start..start + text[start..].find("\nTerminals\n").expect("the next chapter")];
    let mut samples = Vec::new();
    let mut rest = chapter;
    while let Some(at) = rest.find("-d '") {
        let (body, after) = rest[at + 4..].split_once('\'').expect("the body's end");
        let address = after.split_once("URL_GOES_HERE/recurring/").expect("an address").1;
        let address = address.split_once('"').expect("the address's end").0;
        let mut parts = address.split('/');
        samples.push(Sample {
            noun: parts.next().expect("a noun").to_owned(),
            id: parts.next().map(str::to_owned),
            body: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")),
        });
        rest = after;
    }
    Some(samples)
}

/// Every value that was sent is in the answer, ids apart: they are ours.
fn echoed(sent: &Value, answer: &Value, at: &str) {
    match (sent, answer) {
        (Value::Object(fields), _) => {
            for (name, value) in fields.iter().filter(|(name, _)| !matches!(name.as_str(), "id" | "plan_id")) {
                echoed(value, &answer[name], &format!("{at}.{name}"));
            }
        }
        (Value::Array(items), Value::Array(answers)) => {
            assert_eq!(items.len(), answers.len(), "{at}");
            items.iter().zip(answers).for_each(|(item, answer)| echoed(item, answer, at));
        }
        _ => assert_eq!(sent, answer, "{at}"),
    }
}

/// The catalog, plan and customer that the chapter speaks of, known here by its ids, on a clock that shows its day.
pub async fn stage(server: &TestServer) -> String {
    let clock = server.clock("2017-11-20T16:00:00Z").await;
    let amount =
        |reference: &str| json!({"reference": reference, "name": "test", "description": "", "amount": 100, "duration": 0});
    for reference in ["b75cvl51tlv38t0o7o30", "b89ffdqj8m0o735i19i0"] {
        server.made("/v1/add-ons", amount(reference)).await;
    }
    server.made("/v1/discounts", amount("b89flfqj8m0o735i19ig")).await;
    let plan = json!({
        "reference": "b89g35qj8m0o735i19jg", "name": "test plan", "amount": 100, "billing_frequency": "monthly", "add_ons": null,
    });
    server.made("/v1/plans", plan).await;
    server.made("/v1/customers", json!({"reference": "b81ko5qq9qq5v460r9i0", "name": "Ada", "clock_id": clock})).await;
    clock
}

on_both! {
    async fn every_body_of_the_chapter_is_accepted(server: &TestServer) {
        let Some(samples) = samples() else { return };
        assert_eq!(samples.len(), 16, "requests with a body");
        stage(server).await;
        let mut subscription = None;
        for Sample { noun, id, body } in samples {
            let collection = match noun.as_str() {
                "addon" => "/v1/add-ons",
                "discount" => "/v1/discounts",
                "plan" => "/v1/plans",
                "subscription" => "/v1/subscriptions",
                other => panic!("what is a {other}?"),
            };
            let answer = match id {
                None => server.made(collection, body.clone()).await,
                Some(id) => {
                    // A subscription has no reference: the first of the chapter is the one it goes on to update.
                    let key = if noun == "subscription" { subscription.clone().expect("created before") } else { id };
                    server.patch(&format!("{collection}/{key}"), body.clone()).await.ok(200)
                }
            };
            echoed(&body, &answer, &noun);
            match noun.as_str() {
                "plan" => assert_eq!((&answer["total_add_ons"], &answer["total_discounts"]), (&json!(100), &json!(50))),
                "subscription" => {
                    let discounts = 50 * body["discounts"].as_array().expect("a list").len();
                    assert_eq!((&answer["total_adds"], &answer["total_discounts"]), (&json!(0), &json!(discounts)));
                    assert_eq!(answer["next_amount"], json!(100 - discounts));
                    subscription.get_or_insert(answer["id"].as_str().expect("id").to_owned());
                }
                _ => assert_eq!(answer["percentage"], Value::Null),
            }
            assert!(answer["created_at"].is_string() && answer["updated_at"].is_string());
        }
    }
}
