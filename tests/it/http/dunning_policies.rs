//! Dunning policies over HTTP: made, changed, assigned, removed; and what the settings say of them.

use rebilld::{billing::dunning_policies::configure, config::Config};
use serde_json::{Value, json};

use super::{TestServer, on_both};

fn gentle() -> Value {
    json!({
        "name": "Gentle", "reference": "gentle",
        "steps": [{"after_days": 1, "channels": ["email"]}, {"after_days": 3, "at": "18:30", "channels": ["email", "sms"], "next_method": true}],
        "by_class": {"hard": {"steps": [{"after_days": 0, "next_method": true}], "final_action": "pause"}},
        "final_action": "mark_uncollectible",
    })
}

fn id(made: &Value) -> String {
    made["id"].as_str().expect("id").to_owned()
}

async fn subscribed(server: &TestServer, more: Value) -> Value {
    let mut body = json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly"});
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    server.made("/v1/subscriptions", body).await
}

/// The settings with these policies, and `default` as `collection.dunning_policy`.
fn settings(policies: &[(&str, u32)], default: &str) -> Config {
    let mut text: String = format!("[collection]\ndunning_policy = \"{default}\"\nfinal_action = \"pause\"\n");
    for (name, days) in policies {
        text.push_str(&format!("[dunning.{name}]\nsteps = [{{ after_days = {days}, channels = [\"sms\"] }}]\n"));
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let nothing: [(&str, &str); 0] = [];
    rebilld::config::load_from(Some(file.path()), nothing, None).expect("settings")
}

on_both! {
    async fn a_policy_is_made_shown_changed_and_removed(server: &TestServer) {
        let made = server.post_with_key("/v1/dunning-policies", "once", gentle()).await.ok(201);
        assert_eq!(server.post_with_key("/v1/dunning-policies", "once", gentle()).await.ok(201), made, "the same request again");
        let key = id(&made);
        assert!(key.starts_with("dun_"));
        assert_eq!(made["steps"][0], json!({"after_days": 1, "at": null, "channels": ["email"], "next_method": false}));
        assert_eq!(made["steps"][1], json!({"after_days": 3, "at": "18:30", "channels": ["email", "sms"], "next_method": true}));
        assert_eq!((&made["by_class"]["hard"]["final_action"], &made["by_class"]["soft"]), (&json!("pause"), &Value::Null));
        assert_eq!((&made["final_action"], &made["is_default"], &made["source"]), (&json!("mark_uncollectible"), &json!(false), &json!("api")));
        for path in [key.as_str(), "gentle"] {
            assert_eq!(server.get(&format!("/v1/dunning-policies/{path}")).await.ok(200), made);
        }
        let plain = server.made("/v1/dunning-policies", json!({"name": "Plain", "steps": []})).await;
        assert_eq!((&plain["final_action"], &plain["reference"]), (&json!("cancel"), &Value::Null), "the configured one");
        let list = server.get("/v1/dunning-policies?limit=1").await.ok(200);
        assert_eq!((&list["data"][0]["id"], &list["has_more"]), (&plain["id"], &json!(true)));
        assert_eq!(server.get("/v1/dunning-policies?reference=gentle").await.ok(200)["data"][0]["id"], made["id"]);
        let changed = server.patch("/v1/dunning-policies/gentle", json!({"by_class": null, "steps": [{"after_days": 2}]})).await.ok(200);
        assert_eq!((&changed["by_class"]["hard"], &changed["steps"][0]["after_days"], &changed["name"]), (&Value::Null, &json!(2), &json!("Gentle")));
        assert_eq!(server.delete("/v1/dunning-policies/gentle").await.status, 204);
        server.get(&format!("/v1/dunning-policies/{key}")).await.problem(404);
        let events = server.get(&format!("/v1/events?subject={key}")).await.ok(200);
        let told: Vec<&str> = events["data"].as_array().expect("events").iter().map(|event| event["type"].as_str().expect("type")).collect();
        assert_eq!(told, ["dunning_policy.deleted", "dunning_policy.updated", "dunning_policy.created"]);
        let update = &events["data"][1];
        assert_eq!((&update["data"]["before"]["steps"][0]["after_days"], &update["data"]["after"]["steps"][0]["after_days"]), (&json!(1), &json!(2)));
        assert!(update["actor"].as_str().expect("actor").starts_with("key_"));
    }

    async fn a_policy_that_cannot_be_climbed_is_refused_with_every_fault(server: &TestServer) {
        server.made("/v1/dunning-policies", gentle()).await;
        server.refuses("POST", "/v1/dunning-policies", &[
            (json!({}), &["name", "steps"]),
            (json!({"name": "x", "steps": [], "reference": "gentle"}), &["reference"]),
            (json!({"name": "x", "steps": [{"after_days": 366, "at": "25:00", "channels": ["fax"], "every": 1}], "final_action": "shout"}),
             &["steps[0].every", "steps[0].after_days", "steps[0].at", "steps[0].channels[0]", "final_action"]),
            (json!({"name": "x", "steps": [{"after_days": 2}, {"after_days": 2}, {"after_days": 1}], "by_class": {"soft": {"steps": [{"after_days": 1}, {"after_days": 0}]}}}),
             &["steps[1].after_days", "steps[2].after_days", "by_class.soft.steps[1].after_days"]),
        ]).await;
        server.refuses("PATCH", "/v1/dunning-policies/gentle", &[
            (json!({"steps": [{"after_days": 3}, {"after_days": 3}], "name": ""}), &["name"]),
            (json!({"steps": [{"after_days": 3}, {"after_days": 3}]}), &["steps[1].after_days"]),
        ]).await;
    }

    async fn a_policy_is_assigned_by_plan_and_by_subscription(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        let (gentle, strict) = (id(&server.made("/v1/dunning-policies", gentle()).await),
            id(&server.made("/v1/dunning-policies", json!({"name": "Strict", "reference": "strict", "steps": []})).await));
        let plan = server.made("/v1/plans", json!({"name": "Gold", "reference": "gold", "amount": 5, "billing_frequency": "monthly", "dunning_policy_id": "gentle"})).await;
        assert_eq!(plan["dunning_policy_id"], json!(gentle));
        let by_plan = subscribed(server, json!({"plan_id": "gold"})).await;
        assert_eq!(by_plan["dunning_policy_id"], json!(gentle), "copied like any other term");
        let own = subscribed(server, json!({"plan_id": "gold", "dunning_policy_id": "strict"})).await;
        assert_eq!(own["dunning_policy_id"], json!(strict));
        assert_eq!(subscribed(server, json!({})).await["dunning_policy_id"], Value::Null);
        let path = format!("/v1/subscriptions/{}", id(&own));
        assert_eq!(server.patch(&path, json!({"dunning_policy_id": gentle})).await.ok(200)["dunning_policy_id"], json!(gentle));
        assert_eq!(server.patch(&path, json!({"quantity": 2})).await.ok(200)["dunning_policy_id"], json!(gentle), "left alone");
        assert_eq!(server.patch(&path, json!({"dunning_policy_id": null})).await.ok(200)["dunning_policy_id"], Value::Null);
        server.patch("/v1/plans/gold", json!({"dunning_policy_id": "strict"})).await.ok(200);
        assert_eq!(server.get(&format!("/v1/subscriptions/{}", id(&by_plan))).await.ok(200)["dunning_policy_id"], json!(gentle), "a plan edit changes no running one");
        let parts = json!({"customer": {"id": "ada"}, "amount": 900, "installments": 3, "billing_frequency": "monthly", "dunning_policy_id": "gentle"});
        let parts = server.made("/v1/installment-plans", parts).await;
        assert_eq!(parts["dunning_policy_id"], json!(gentle));
        let path = format!("/v1/installment-plans/{}", id(&parts));
        assert_eq!(server.patch(&path, json!({"dunning_policy_id": "strict"})).await.ok(200)["dunning_policy_id"], json!(strict));
        for (method, path) in [("POST", "/v1/subscriptions"), ("PATCH", &*format!("/v1/subscriptions/{}", id(&own)))] {
            let body = if method == "POST" { json!({"customer": {"id": "ada"}, "amount": 1, "billing_frequency": "monthly", "dunning_policy_id": "nobody"}) } else { json!({"dunning_policy_id": "nobody"}) };
            server.refuses(method, path, &[(body, &["dunning_policy_id"])]).await;
        }
    }

    async fn a_policy_in_use_or_default_is_not_removed(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        for reference in ["a", "b", "c"] {
            server.made("/v1/dunning-policies", json!({"name": reference, "reference": reference, "steps": []})).await;
        }
        let gone = async |reference: &str| server.delete(&format!("/v1/dunning-policies/{reference}")).await;
        server.made("/v1/plans", json!({"name": "Gold", "reference": "gold", "amount": 5, "billing_frequency": "monthly", "dunning_policy_id": "a"})).await;
        assert!(gone("a").await.problem(409)["detail"].as_str().expect("detail").contains("plan_"));
        server.patch("/v1/plans/gold", json!({"dunning_policy_id": null})).await.ok(200);
        let sub = id(&subscribed(server, json!({"dunning_policy_id": "a"})).await);
        assert!(gone("a").await.problem(409)["detail"].as_str().expect("detail").contains(&sub));
        server.post(&format!("/v1/subscriptions/{sub}/cancel"), json!({"when": "now"})).await.ok(200);
        assert_eq!(gone("a").await.status, 204, "what has ended does not count");
        assert_eq!(server.patch("/v1/dunning-policies/b", json!({"is_default": true})).await.ok(200)["is_default"], json!(true));
        gone("b").await.problem(409);
        assert_eq!(server.patch("/v1/dunning-policies/c", json!({"is_default": true})).await.ok(200)["is_default"], json!(true));
        assert_eq!(server.get("/v1/dunning-policies/b").await.ok(200)["is_default"], json!(false), "one at most");
        assert_eq!(gone("b").await.status, 204);
        server.patch("/v1/dunning-policies/c", json!({"is_default": false})).await.ok(200);
        assert_eq!(gone("c").await.status, 204);
    }

    async fn policies_of_the_settings_are_there_and_only_change_there(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        server.made("/v1/dunning-policies", json!({"name": "Mine", "reference": "mine", "steps": [], "is_default": true})).await;
        configure(&server.app, &settings(&[("one", 1), ("two", 2)], "two")).await.expect("taken over");
        let (one, two) = (server.get("/v1/dunning-policies/one").await.ok(200), server.get("/v1/dunning-policies/two").await.ok(200));
        assert_eq!((&one["source"], &one["final_action"], &one["is_default"], &two["is_default"]), (&json!("configuration"), &json!("pause"), &json!(false), &json!(true)));
        assert_eq!(server.get("/v1/dunning-policies/mine").await.ok(200)["is_default"], json!(false), "the settings name the default");
        assert_eq!(server.app.dunning_rules().final_action.as_str(), "pause");
        let before = server.rows().await;
        assert!(configure(&server.app, &settings(&[("one", 1), ("two", 2)], "two")).await.expect("taken over").is_empty());
        for answer in [server.patch("/v1/dunning-policies/one", json!({"name": "x"})).await, server.delete("/v1/dunning-policies/one").await,
            server.patch("/v1/dunning-policies/mine", json!({"is_default": true})).await] {
            assert!(answer.problem(409)["detail"].as_str().expect("detail").contains("settings"));
        }
        assert_eq!(server.rows().await, before);
        let sub = subscribed(server, json!({"dunning_policy_id": "one"})).await;
        assert_eq!(sub["dunning_policy_id"], one["id"]);
        // Read again: one has left and is in use, two has left, and mine is written there now.
        configure(&server.app, &settings(&[("mine", 9)], "")).await.expect("taken over");
        let one = server.get("/v1/dunning-policies/one").await.ok(200);
        assert_eq!((&one["source"], &one["steps"][0]["after_days"]), (&json!("api"), &json!(1)));
        server.get("/v1/dunning-policies/two").await.problem(404);
        let mine = server.get("/v1/dunning-policies/mine").await.ok(200);
        assert_eq!((&mine["source"], &mine["steps"][0]["after_days"], &mine["is_default"]), (&json!("configuration"), &json!(9), &json!(false)));
        server.patch("/v1/dunning-policies/one", json!({"is_default": true})).await.ok(200);
    }
}
