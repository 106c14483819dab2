//! Every operation that takes a body, every field of it, everything that could be wrong with it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    super::{Answer, TestServer, on_both},
    stage::Stage,
    wrong::{self, has_type, resolved},
};

/// A body that would be accepted, for every operation that takes one. Ids stand as `{name}` of the stage.
fn good(operation: &str) -> Option<Value> {
    let modifiers = json!({"add_ons": [{"id": "extra", "amount": 5}], "discounts": [{"id": "less", "duration": 3}]});
    let with = |mut body: Value| {
        body.as_object_mut().expect("object").extend(modifiers.as_object().expect("object").clone());
        body
    };
    Some(match operation {
        "POST /v1/add-ons" | "POST /v1/discounts" => json!({"name": "More", "amount": 1}),
        "PATCH /v1/add-ons/{addon}" | "PATCH /v1/discounts/{disc}" => json!({"name": "More"}),
        "POST /v1/plans/{plan}/roll-out" | "POST /v1/add-ons/{addon}/roll-out" | "POST /v1/discounts/{disc}/roll-out" => {
            json!({"when": "next_cycle", "preview": true})
        }
        "POST /v1/plans" => with(json!({"name": "Silver", "amount": 1, "billing_frequency": "monthly"})),
        "PATCH /v1/plans/{plan}" => with(json!({"name": "Silver"})),
        "POST /v1/dunning-policies" => json!({
            "name": "Slow", "steps": [{"after_days": 1, "at": "07:00", "channels": ["email"], "next_method": true}],
            "by_class": {"hard": {"steps": [{"after_days": 0}], "final_action": "pause"}},
        }),
        "PATCH /v1/dunning-policies/{dun}" => json!({"steps": [{"after_days": 1}]}),
        "POST /v1/customers" => json!({"name": "Bob"}),
        "PATCH /v1/customers/{cus}" => json!({"name": "Bob"}),
        "POST /v1/customers/{cus}/credits" => json!({"amount": 1}),
        "POST /v1/customers/{cus}/payment-methods" => {
            json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "tok2"})
        }
        "PATCH /v1/payment-methods/{pm}" => json!({"priority": 5}),
        "POST /v1/clocks" => json!({"name": "c", "now": "2026-01-01T00:00:00Z"}),
        "POST /v1/clocks/{clk}/advance" => json!({}),
        "POST /v1/api-keys" => json!({"name": "k", "scope": "read"}),
        "POST /v1/schedules/preview" => with(json!({"billing_frequency": "monthly", "start_date": "2026-06-01"})),
        "POST /v1/subscriptions" => with(json!({"customer": {"id": "ada"}, "amount": 1, "billing_frequency": "monthly"})),
        "PATCH /v1/subscriptions/{sub}" => with(json!({"customer": {"id": "ada"}, "amount": 7})),
        "POST /v1/subscriptions/{sub}/change" => with(json!({"when": "period_end", "amount": 7})),
        "POST /v1/subscriptions/{sub}/reschedule" => json!({"next_bill_date": "2026-07-09"}),
        "POST /v1/subscriptions/{sub}/cancel" => json!({"when": "now"}),
        "POST /v1/invoices/{inv_paid}/refund" => json!({"reason": "unhappy"}),
        "POST /v1/payment-requests" => json!({"invoice_id": "{inv_stuck}", "gateway": "paysley"}),
        "POST /v1/payments/{pay}/resolve" => json!({"outcome": "declined", "note": "asked them"}),
        "POST /v1/refunds/{refund}/resolve" => json!({"outcome": "succeeded", "note": "asked them"}),
        "POST /v1/installment-plans" | "POST /v1/installment-plans/preview" => json!({
            "customer": {"id": "ada"}, "amount": 1000, "installments": 3, "billing_frequency": "monthly", "down_payment": {"amount": 100},
        }),
        "PATCH /v1/installment-plans/{inst}" => json!({"description": "Tandem"}),
        "PATCH /v1/installment-plans/{inst}/installments/3" => json!({"date": "2026-08-01", "amount": 250}),
        "POST /v1/installment-plans/{inst}/installments/3/split" => {
            json!({"parts": [{"date": "2026-08-01", "amount": 50}, {"date": "2026-08-02", "amount": 250}]})
        }
        "POST /v1/installment-plans/{inst}/reschedule" => json!({"next_date": "2026-07-15"}),
        "POST /v1/installment-plans/{inst_defaulted}/restore"
        | "POST /v1/installment-plans/{inst}/skip"
        | "POST /v1/installment-plans/{inst}/installments/3/pay"
        | "POST /v1/installment-plans/{inst}/pay-off"
        | "POST /v1/installment-plans/{inst}/cancel"
        | "POST /v1/subscriptions/{sub}/pause"
        | "POST /v1/subscriptions/{paused}/resume"
        | "POST /v1/subscriptions/{cancelled}/reactivate"
        | "POST /v1/subscriptions/{sub}/skip"
        | "POST /v1/subscriptions/{sub}/keep"
        | "POST /v1/subscriptions/{sub}/retry"
        | "POST /v1/subscriptions/{parked}/unpark"
        | "POST /v1/invoices/{inv}/void"
        | "POST /v1/invoices/{inv}/mark_uncollectible"
        | "POST /v1/invoices/{inv}/collect"
        | "POST /v1/payment-requests/{preq}/withdraw"
        | "POST /v1/payment-requests/{preq}/remind"
        | "POST /v1/payment-requests/{preq}/check"
        | "POST /v1/jobs/bill/run"
        | "POST /v1/gateways/fluid/resume" => json!({}),
        "POST /v1/gateways/fluid/pause" => json!({"reason": "they asked for it"}),
        _ => return None,
    })
}

/// The document's path with what stands on the stage.
pub fn address(path: &str) -> String {
    let named = match path {
        path if path.starts_with("/v1/jobs/{name}") => path.replace("{name}", "bill"),
        path if path.starts_with("/v1/gateways/{name}") => path.replace("{name}", "fluid"),
        path if path.ends_with("/refund") => path.replace("{id}", "{inv_paid}"),
        path if path.ends_with("/restore") => path.replace("{id}", "{inst_defaulted}"),
        path if path.ends_with("/unpark") => path.replace("{id}", "{parked}"),
        path if path.ends_with("/reactivate") => path.replace("{id}", "{cancelled}"),
        path if path.ends_with("/resume") => path.replace("{id}", "{paused}"),
        path => {
            let kinds = [
                ("/v1/add-ons", "addon"),
                ("/v1/discounts", "disc"),
                ("/v1/plans", "plan"),
                ("/v1/dunning-policies", "dun"),
                ("/v1/customers", "cus"),
                ("/v1/payment-methods", "pm"),
                ("/v1/clocks", "clk"),
                ("/v1/api-keys", "key"),
                ("/v1/subscriptions", "sub"),
                ("/v1/installment-plans", "inst"),
                ("/v1/invoices", "inv"),
                ("/v1/payments", "pay"),
                ("/v1/payment-requests", "preq"),
                ("/v1/roll-outs", "roll"),
                ("/v1/authorizations", "auth"),
                ("/v1/refunds", "refund"),
                ("/v1/credit-notes", "cn"),
                ("/v1/disputes", "dsp"),
            ];
            match kinds.iter().find(|(prefix, _)| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))) {
                Some((_, name)) => path.replace("{id}", &format!("{{{name}}}")).replace("{number}", "3"),
                None => path.to_owned(),
            }
        }
    };
    assert!(!named.contains("{id}"), "{path}: nothing on the stage stands for its id");
    named
}

pub async fn document(server: &TestServer) -> Value {
    server.get("/openapi.json").await.ok(200)
}

/// Method, path and operation of everything in the document.
pub fn operations<'d>(document: &'d Value, methods: &'d [&str]) -> Vec<(String, String, &'d Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if methods.contains(&method.as_str()) {
                found.push((method.to_uppercase(), path.clone(), operation));
            }
        }
    }
    found
}

/// A body with one thing wrong, and the field that must be named for it.
struct Bad {
    body: Value,
    field: String,
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// Puts what is wrong into a good body, place by place.
fn bads(document: &Value, schema: &Value, good: &Value, pointer: &str, at: &str, found: &mut Vec<Bad>) {
    let put = |name: &str, value: Value| {
        let mut body = good.clone();
        body.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").insert(name.to_owned(), value);
        body
    };
    let none = Map::new();
    for (name, property) in schema["properties"].as_object().unwrap_or(&none) {
        let property = resolved(document, property);
        let field = join(at, name);
        for value in wrong::values(property, name) {
            found.push(Bad { body: put(name, value), field: field.clone() });
        }
        let inside = good.pointer(&format!("{pointer}/{name}"));
        if has_type(property, "array") && inside.is_some_and(|list| list[0].is_object()) {
            let items = resolved(document, &property["items"]);
            bads(document, items, good, &format!("{pointer}/{name}/0"), &format!("{field}[0]"), found);
        } else if inside.is_some_and(Value::is_object) {
            bads(document, property, good, &format!("{pointer}/{name}"), &field, found);
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut body = good.clone();
        body.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").remove(name);
        found.push(Bad { body, field: join(at, name) });
    }
    found.push(Bad { body: put("no_such_field", json!(1)), field: join(at, "no_such_field") });
    found.push(Bad { body: put("Amount", json!(1)), field: join(at, "Amount") });
    // Named by the place it stands in.
    found.push(Bad { body: put("4111111111111111", json!(1)), field: at.to_owned() });
}

/// Of what else must be named: two fields that do not go together.
fn contradictions(operation: &str) -> Vec<(Value, &'static str)> {
    match operation {
        "POST /v1/add-ons" | "POST /v1/discounts" => {
            vec![
                (json!({"name": "x", "amount": 1, "percentage": 1}), "percentage"),
                (json!({"name": "x"}), "amount"),
                (json!({"name": "x", "amount": null, "percentage": null}), "amount"),
            ]
        }
        "PATCH /v1/add-ons/{addon}" | "PATCH /v1/discounts/{disc}" => vec![(json!({"amount": 1, "percentage": 1}), "percentage")],
        "POST /v1/plans" => vec![
            (json!({"name": "x", "amount": 1, "billing_frequency": "weekly", "billing_days": "8"}), "billing_days"),
            (
                json!({"name": "x", "amount": 1, "billing_frequency": "monthly", "add_ons": [{"id": "extra", "amount": 1, "percentage": 1}]}),
                "add_ons[0].percentage",
            ),
            (json!({"name": "x", "amount": 1, "billing_frequency": "monthly", "reference": "gold"}), "reference"),
            (json!({"name": "x", "amount": 1, "billing_frequency": "monthly", "reference": "plan_mine"}), "reference"),
            (
                json!({"name": "x", "amount": 1, "billing_frequency": "monthly", "payment_frequency": "weekly"}),
                "payment_frequency",
            ),
            (json!({"name": "x", "amount": 1, "billing_frequency": "twice_monthly", "billing_days": "15"}), "billing_days"),
        ],
        "POST /v1/dunning-policies" | "PATCH /v1/dunning-policies/{dun}" => {
            let with = |steps: Value| json!({"name": "x", "steps": steps});
            vec![
                (with(json!([{"after_days": 1}, {"after_days": 1}])), "steps[1].after_days"),
                (with(json!([{"after_days": 2}, {"after_days": 1}])), "steps[1].after_days"),
                (with(json!([{"after_days": 1, "at": "07:00"}, {"after_days": 1, "at": "06:59"}])), "steps[1].after_days"),
                (with(json!([{"after_days": 1, "at": "7:00"}])), "steps[0].at"),
                (with(json!([{"after_days": 1, "at": "24:00"}])), "steps[0].at"),
                (with(json!([{"after_days": 1, "channels": ["email", "email"]}])), "steps[0].channels[1]"),
                (with(json!([{"after_days": 1, "channels": ["fax"]}])), "steps[0].channels[0]"),
                (
                    json!({"name": "x", "steps": [], "by_class": {"hard": {"steps": [{"after_days": 3}, {"after_days": 2}]}}}),
                    "by_class.hard.steps[1].after_days",
                ),
                (json!({"name": "x", "steps": [], "by_class": {"stop_recurring": {"steps": []}}}), "by_class.stop_recurring"),
                (json!({"name": "x", "steps": [], "reference": "dun_x"}), "reference"),
            ]
        }
        "POST /v1/plans/{plan}/roll-out" => vec![
            (json!({"when": "now"}), "revision"),
            (json!({"when": "now", "fields": [], "preview": true}), "fields"),
            (json!({"when": "now", "fields": ["amount", "description"]}), "fields[1]"),
            (json!({"when": "now", "fields": ["amount", "currency"]}), "fields[1]"),
            (json!({"when": "now", "fields": ["amount", 7]}), "fields[1]"),
        ],
        "POST /v1/add-ons/{addon}/roll-out" | "POST /v1/discounts/{disc}/roll-out" => vec![
            (json!({"when": "next_cycle", "revision": ""}), "revision"),
            (json!({"when": "next_cycle", "fields": ["billing_days"], "preview": true}), "fields[0]"),
        ],
        "POST /v1/customers" => vec![
            (json!({"name": "x", "reference": "ada"}), "reference"),
            (json!({"name": "x", "reference": "cus_x"}), "reference"),
        ],
        "POST /v1/customers/{cus}/credits" => {
            vec![
                (json!({"amount": 1, "currency": "EUR"}), "currency"),
                (json!({"amount": 999_999_999_999_i64}), "amount"),
                (json!({"amount": 0}), "amount"),
                (json!({"amount": -1}), "reason"),
                (json!({"amount": -1, "reason": " "}), "reason"),
                (json!({"amount": -101, "reason": "mistake"}), "amount"),
            ]
        }
        "POST /v1/customers/{cus}/payment-methods" => vec![
            (json!({"gateway": "fluid", "kind": "vault_token"}), "customer_token"),
            (json!({"gateway": "fluid", "kind": "prior_transaction", "transaction_id": "t"}), "kind"),
            (json!({"gateway": "real", "kind": "vault_token", "customer_token": "t"}), "gateway"),
        ],
        "POST /v1/clocks/{clk}/advance" => vec![
            (json!({}), "to"),
            (json!({"to": "2026-07-01T00:00:00Z", "by": "1d"}), "by"),
            (json!({"to": "2026-06-01T00:00:00Z"}), "to"),
            (json!({"to": "2999-06-01T00:00:00Z"}), "to"),
        ],
        "POST /v1/schedules/preview" => {
            vec![(json!({"billing_frequency": "monthly", "start_date": "2026-06-01", "ends_on": "2026-06-01"}), "ends_on")]
        }
        "POST /v1/subscriptions" => vec![
            (json!({"customer": {"id": "ada"}}), "amount"),
            (json!({"customer": {"id": "ada"}, "plan_id": "gold", "next_bill_date": "2026-06-01"}), "next_bill_date"),
            (json!({"customer": {"id": "ada"}, "plan_id": "gold", "ends_on": "2026-06-16"}), "ends_on"),
            (json!({"customer": {"id": "ada"}, "plan_id": "gold", "amount": 999_999_999_999_i64, "quantity": 2}), "quantity"),
        ],
        "PATCH /v1/subscriptions/{sub}" | "POST /v1/subscriptions/{sub}/reschedule" => {
            vec![(json!({"next_bill_date": "2026-06-01"}), "next_bill_date")]
        }
        "POST /v1/subscriptions/{sub}/pause" => {
            vec![(json!({"until": "2026-06-16"}), "until"), (json!({"until": "2020-01-01"}), "until")]
        }
        "POST /v1/installment-plans" | "POST /v1/installment-plans/preview" => vec![
            (json!({"customer": {"id": "ada"}, "amount": 2, "installments": 3, "billing_frequency": "daily"}), "installments"),
            (json!({"customer": {"id": "ada"}, "amount": 9, "billing_frequency": "daily", "term": 3}), "term_units"),
            (json!({"customer": {"id": "ada"}, "amount": 9, "schedule": [{"date": "2026-07-01", "amount": 8}]}), "schedule"),
            (json!({"customer": {"id": "ada"}, "amount": 9, "billing_frequency": "daily", "until": "2026-06-15"}), "until"),
            (json!({"customer": {"id": "ada"}, "amount": 9, "billing_frequency": "daily", "until": "2036-06-15"}), "until"),
            (
                json!({"customer": {"id": "ada"}, "amount": 9, "billing_frequency": "daily", "until": "2026-07-15", "installments": 2}),
                "until",
            ),
            (
                json!({"customer": {"id": "ada"}, "amount": 9, "schedule": [{"date": "2026-06-15", "amount": 9}]}),
                "schedule[0].date",
            ),
        ],
        "PATCH /v1/installment-plans/{inst}/installments/3" => vec![
            (json!({}), ""),
            (json!({"date": "2026-06-15"}), "date"),
            (json!({"amount": 999}), "amount"),
            (json!({"spread": "even", "date": "2026-07-01"}), "spread"),
        ],
        "POST /v1/installment-plans/{inst}/reschedule" => vec![(json!({"next_date": "2026-06-15"}), "next_date")],
        "POST /v1/installment-plans/{inst}/installments/3/split" => {
            vec![(json!({"parts": [{"date": "2026-08-01", "amount": 50}, {"date": "2026-08-02", "amount": 51}]}), "parts")]
        }
        "POST /v1/payments/{pay}/resolve" => vec![
            (json!({"outcome": "declined", "note": "x", "amount": 1}), "amount"),
            (json!({"outcome": "not_processed", "note": "x", "transaction_id": "t"}), "transaction_id"),
            (json!({"outcome": "succeeded", "note": "x", "amount": 999_999_999_999_i64}), "amount"),
        ],
        "POST /v1/refunds/{refund}/resolve" => {
            vec![(json!({"outcome": "not_processed", "note": "x", "transaction_id": "t"}), "transaction_id")]
        }
        "POST /v1/payment-requests" => {
            let schedule = |more: Value| {
                let mut body = json!({"customer": {"id": "ada"}, "amount": 1000, "payment_frequency": "monthly", "payment_start_date": "2999-01-01"});
                body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
                body
            };
            vec![
                (json!({}), "invoice_id"),
                (json!({"invoice_id": "{inv}"}), "gateway"),
                (json!({"invoice_id": "{inv}", "gateway": "fluid"}), "gateway"),
                (json!({"invoice_id": "{inv}", "gateway": "nobody"}), "gateway"),
                (json!({"invoice_id": "{inv}", "gateway": "paysley", "channels": []}), "channels"),
                (json!({"invoice_id": "{inv}", "gateway": "paysley", "channels": ["EMAIL", "SMS"]}), "channels[1]"),
                (json!({"invoice_id": "{inv}", "gateway": "paysley", "channels": ["PIGEON"]}), "channels[0]"),
                (json!({"invoice_id": "{inv}", "gateway": "paysley", "amount": 1}), "amount"),
                (json!({"customer": {"id": "ada"}}), "amount"),
                (schedule(json!({"payment_frequency": "daily"})), "payment_frequency"),
                (schedule(json!({"payment_frequency": "ONE-TIME"})), "payment_frequency"),
                (schedule(json!({"payment_start_date": "2026-01-01"})), "payment_start_date"),
                (schedule(json!({"amount": 0})), "amount"),
                (schedule(json!({"initial_payment_amount": 0})), "initial_payment_amount"),
                (schedule(json!({"gateway": "paylike"})), "gateway"),
            ]
        }
        "POST /v1/invoices/{inv_paid}/refund" => vec![
            (json!({"amount": 900_001, "reason": "x"}), "amount"),
            (json!({"amount": 900_001, "reason": "x", "to": "credit"}), "amount"),
            (json!({"amount": 1, "to": "credit"}), "reason"),
            (json!({"amount": 1, "reason": "x", "to": "cash"}), "to"),
        ],
        _ => Vec::new(),
    }
}

/// 422 that names the field or something inside it, and repeats no card number.
pub fn named(answer: &Answer, field: &str, sent: &str) {
    let shown: String = sent.chars().take(300).collect();
    assert_eq!(answer.status, 422, "{shown}: {answer:?}");
    let faults = answer.faults();
    let inside = |fault: &String| {
        fault == field || fault.strip_prefix(field).is_some_and(|rest| field.is_empty() || rest.starts_with(['.', '[']))
    };
    assert!(faults.iter().any(inside), "{shown} names {faults:?}, not {field}");
    assert!(!answer.text.contains("4111"), "{shown} is repeated: {}", answer.text);
    assert!(answer.text.len() < 20_000, "{shown}: an answer of {} bytes", answer.text.len());
}

on_both! {
    async fn every_field_of_every_body_refuses_what_is_wrong(server: &TestServer) {
        let stage = Stage::set(server).await;
        let document = document(server).await;
        let before = stage.fingerprint(server).await;
        assert!(before.len() > 40, "{before:#?}");
        let (mut tried, mut seen) = (0, BTreeSet::new());
        for (method, path, operation) in operations(&document, &["post", "patch", "put"]) {
            let named_path = address(&path);
            let name = format!("{method} {named_path}");
            let good = good(&name).unwrap_or_else(|| panic!("{name}: say in `good` what it would accept"));
            let target = stage.fill(&named_path);
            let send = async |body: Vec<u8>| server.send(&method, &target, &server.admin, &[], Some(body)).await;
            let unchanged = async |sent: &str| {
                let now = stage.fingerprint(server).await;
                assert!(now == before, "{name} {} changed {:?}", sent.chars().take(300).collect::<String>(), now.iter().filter(|line| !before.contains(line)).collect::<Vec<_>>());
            };
            for broken in ["{", "{\"a\": }", "nul", "{} {}", "[1,", "\"\u{1}\"", "{'a': 1}", "name=x&amount=1"] {
                send(broken.into()).await.problem(400);
                unchanged(broken).await;
            }
            for not_an_object in ["[]", "[{}]", "\"x\"", "7", "null", "true", "1e30"] {
                named(&send(not_an_object.into()).await, "", not_an_object);
                unchanged(not_an_object).await;
            }
            let schema = resolved(&document, &operation["requestBody"]["content"]["application/json"]["schema"]);
            let mut all = Vec::new();
            bads(&document, schema, &good, "", "", &mut all);
            all.extend(contradictions(&name).into_iter().map(|(body, field)| Bad { body, field: field.to_owned() }));
            for Bad { body, field } in all {
                let sent = stage.fill(&body.to_string());
                named(&send(sent.clone().into_bytes()).await, &field, &format!("{name} {sent}"));
                unchanged(&sent).await;
                tried += 1;
            }
            seen.insert(name);
        }
        assert!(seen.len() >= 30 && tried > 2000, "only {} operations, {tried} bodies", seen.len());
    }

    async fn every_good_body_is_good(server: &TestServer) {
        // Else the sweep would prove nothing.
        let stage = Stage::set(server).await;
        for (method, path, _) in operations(&document(server).await, &["post", "patch"]) {
            let name = format!("{method} {}", address(&path));
            let mut body = good(&name).expect("a body");
            if name.ends_with("/advance") {
                body = json!({"by": "1d"});
            }
            // These ask a gateway or wait for a job, or need another state; tried elsewhere.
            let elsewhere = ["/refund", "/run", "/keep", "/retry", "/collect", "/resolve", "/resume", "/unpark", "/mark_uncollectible"];
            if elsewhere.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            let fresh = json!({"customer": {"id": "ada"}, "amount": 1, "billing_frequency": "monthly"});
            let fresh = server.made("/v1/subscriptions", fresh).await["id"].as_str().expect("id").to_owned();
            let fresh_plan = server.made("/v1/installment-plans", super::stage::installment_plan()).await["id"].as_str().expect("id").to_owned();
            let target = stage.fill(&address(&path).replace("{sub}", &fresh).replace("{inst}", &fresh_plan));
            let answer = server.send(&method, &target, &server.admin, &[], Some(stage.fill(&body.to_string()).into_bytes())).await;
            assert!((200..300).contains(&answer.status), "{name} {body}: {answer:?}");
        }
    }
}
