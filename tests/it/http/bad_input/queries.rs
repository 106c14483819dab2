//! Every parameter of every query, and every id in a path.

use std::collections::BTreeSet;

use form_urlencoded::byte_serialize;
use serde_json::Value;

use super::{
    super::{TestServer, on_both},
    stage::Stage,
    sweep::{address, document, named, operations},
    wrong::resolved,
};

/// Texts that a parameter must refuse.
fn wrong(schema: &Value, name: &str) -> Vec<String> {
    let mut wrong = vec!["a\0b".to_owned(), "bell \u{7}".into(), super::wrong::CARD.into(), "x".repeat(2000)];
    let is = |kind: &str| super::wrong::has_type(schema, kind);
    if is("integer") {
        let numbers = ["", "x", "-1", "0", "1.5", "1e3", "99999999999999999999", " 5", "+", "0x10", "true"];
        wrong.extend(numbers.map(str::to_owned));
        wrong.extend(schema["maximum"].as_i64().map(|most| (most + 1).to_string()));
    }
    if is("boolean") {
        wrong.extend(["", "1", "TRUE", "yes", "null"].map(str::to_owned));
    }
    if schema["pattern"].is_string() || name == "before" || name == "after" {
        let ids = ["", "x", "zzz_01h455vb4pex5vsknk084sn02q", "plan_81h455vb4pex5vsknk084sn02q", "plan_", "' or 1=1 --"];
        wrong.extend(ids.map(str::to_owned));
    }
    if schema["enum"].is_array() {
        wrong.extend(["", "no such word", "OPEN"].map(str::to_owned));
    }
    if name == "currency" {
        wrong.extend(["", "XXXX", "ZZZ"].map(str::to_owned));
    }
    wrong
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

on_both! {
    async fn every_parameter_of_every_query_refuses_what_is_wrong(server: &TestServer) {
        let stage = Stage::set(server).await;
        let document = document(server).await;
        let before = stage.fingerprint(server).await;
        let mut tried = BTreeSet::new();
        for (method, path, operation) in operations(&document, &["get", "post", "patch", "delete"]) {
            if !path.starts_with("/v1/") {
                continue;
            }
            let target = stage.fill(&address(&path));
            let body = (method != "GET").then(|| b"{}".to_vec());
            let ask = async |query: String| server.send(&method, &format!("{target}?{query}"), &server.admin, &[], body.clone()).await;
            for unknown in ["no_such_parameter=1", "Limit=1", "%20limit=1", "4111111111111111=1", "a%00b=1"] {
                let answer = ask(unknown.to_owned()).await;
                assert_eq!(answer.status, 422, "{method} {path}?{unknown}: {answer:?}");
                assert!(!answer.faults().is_empty() && !answer.text.contains("4111"), "{answer:?}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "query") {
                let name = parameter["name"].as_str().expect("a name");
                let schema = resolved(&document, &parameter["schema"]);
                for text in wrong(schema, name) {
                    let query = format!("{}={}", encoded(name), encoded(&text));
                    named(&ask(query.clone()).await, name, &format!("{method} {path}?{query}"));
                    tried.insert(format!("{method} {path}?{query}"));
                }
                let twice = format!("{name}=1&{name}=2");
                named(&ask(twice.clone()).await, name, &format!("{method} {path}?{twice}"));
            }
            let now = stage.fingerprint(server).await;
            assert!(now == before, "{method} {path} changed something by a refused query");
        }
        assert!(tried.len() > 300, "only {}", tried.len());
    }

    async fn an_unknown_id_in_a_path_is_404_for_every_operation(server: &TestServer) {
        let stage = Stage::set(server).await;
        let document = document(server).await;
        let before = stage.fingerprint(server).await;
        let mut tried = 0;
        for (method, path, _) in operations(&document, &["get", "post", "patch", "delete"]) {
            if !path.contains("{id}") && !path.contains("{name}") {
                continue;
            }
            let kinds = ["addon", "disc", "plan", "cus", "pm", "clk", "key", "sub", "inst", "inv", "pay", "evt"];
            let unknown = kinds.map(|kind| format!("{kind}_01h455vb4pex5vsknk084sn02q"));
            // Something that is there, of another kind.
            let there = |name: &str| stage.names[name].clone();
            let other = if path.starts_with("/v1/customers/") { there("plan") } else { there("cus") };
            let odd = ["x", "%00", "a%2Fb", "%20", "..%2F", "%F0%9F%98%80", "4111111111111111", "4111%201111%201111%201111", "' or 1=1 --", "null"].map(str::to_owned);
            for id in unknown.into_iter().chain([other]).chain(odd) {
                let target = path.replace("{id}", &id).replace("{name}", &id).replace(' ', "%20");
                // A body that says nothing wrong: those that need one are refused for it first.
                let answer = server.send(&method, &target, &server.admin, &[], (method != "GET").then(|| b"{}".to_vec())).await;
                let body_first = matches!(method.as_str(), "POST" | "PATCH") && answer.status == 422;
                if !body_first {
                    answer.problem(404);
                }
                assert!(!answer.text.contains("4111"), "{method} {target}: {answer:?}");
                tried += 1;
            }
            assert!(stage.fingerprint(server).await == before, "{method} {path} changed something");
        }
        assert!(tried > 300, "only {tried}");
    }
}
