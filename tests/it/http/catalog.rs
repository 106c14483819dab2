//! Add-ons, discounts and plans over HTTP: what they take, what they refuse, and that editing one changes no other.

use serde_json::{Value, json};

use super::{TestServer, on_both};

on_both! {
    async fn entries_are_made_changed_and_removed(server: &TestServer) {
        for (path, prefix) in [("/v1/add-ons", "addon_"), ("/v1/discounts", "disc_")] {
            let made = server.made(path, json!({"name": "Extra", "percentage": 12.5, "reference": "ours-1"})).await;
            let id = made["id"].as_str().expect("id");
            assert!(id.starts_with(prefix));
            assert_eq!((&made["amount"], &made["percentage"], &made["duration"]), (&Value::Null, &json!(12.5), &json!(0)));
            // By id and by reference it is the same thing.
            for key in [id, "ours-1"] {
                assert_eq!(server.get(&format!("{path}/{key}")).await.ok(200), made);
            }
            let changed = server.patch(&format!("{path}/ours-1"), json!({"amount": 300, "duration": 2})).await.ok(200);
            assert_eq!((&changed["amount"], &changed["percentage"], &changed["duration"]), (&json!(300), &Value::Null, &json!(2)));
            assert_eq!(changed["name"], "Extra");
            let unchanged = server.patch(&format!("{path}/{id}"), json!({})).await.ok(200);
            assert_eq!(unchanged["amount"], 300);
            assert_eq!(server.get(&format!("{path}?reference=ours-1")).await.ok(200)["data"][0]["id"], json!(id));
            assert_eq!(server.delete(&format!("{path}/{id}")).await.status, 204);
            for method in ["GET", "DELETE"] {
                server.send(method, &format!("{path}/{id}"), &server.admin, &[], None).await.problem(404);
            }
            let events = server.get(&format!("/v1/events?subject={id}")).await.ok(200);
            assert_eq!(events["data"].as_array().expect("events").len(), 4);
            assert_eq!(events["data"][2]["data"]["after"]["amount"], 300);
        }
    }

    async fn entries_refuse_what_makes_no_charge(server: &TestServer) {
        for path in ["/v1/add-ons", "/v1/discounts"] {
            let made = server.made(path, json!({"name": "One", "amount": 1, "reference": "taken"})).await;
            server.refuses("POST", path, &[
                (json!({}), &["name"]),
                (json!({"name": "x"}), &["amount"]),
                (json!({"name": "x", "amount": 1, "percentage": 1}), &["percentage"]),
                (json!({"name": "x", "amount": -1}), &["amount"]),
                (json!({"name": "x", "amount": 1_000_000_000_000_i64}), &["amount"]),
                (json!({"name": "x", "amount": 1.5}), &["amount"]),
                (json!({"name": "x", "amount": "100"}), &["amount"]),
                (json!({"name": "x", "percentage": 1.0005}), &["percentage"]),
                (json!({"name": "x", "percentage": 1001}), &["percentage"]),
                (json!({"name": "x", "amount": 1, "duration": -1}), &["duration"]),
                (json!({"name": "x", "amount": 1, "price": 1}), &["price"]),
                (json!({"name": "x", "amount": 1, "reference": "taken"}), &["reference"]),
                (json!({"name": "x", "amount": 1, "reference": "a b"}), &["reference"]),
                (json!({"name": "x", "amount": 1, "reference": made["id"]}), &["reference"]),
                (json!({"name": "", "amount": -1, "duration": "x"}), &["name", "amount", "duration"]),
            ]).await;
            server.refuses("PATCH", &format!("{path}/taken"), &[
                (json!({"amount": 1, "percentage": 1}), &["percentage"]),
                (json!({"duration": -1}), &["duration"]),
                (json!({"id": "x"}), &["id"]),
            ]).await;
        }
    }

    async fn a_plan_copies_its_modifiers_with_overrides(server: &TestServer) {
        let extra = server.made("/v1/add-ons", json!({"name": "Extra", "description": "more", "percentage": 10, "duration": 3})).await;
        let less = server.made("/v1/discounts", json!({"name": "Less", "amount": 50, "reference": "less"})).await;
        let plan = server.made("/v1/plans", json!({
            "name": "Gold", "amount": 2000, "currency": "eur", "billing_frequency": "Monthly", "billing_days": " 31 ",
            "reference": "gold", "trial_days": 14, "catch_up": "skip", "business_day": "following",
            "add_ons": [{"id": extra["id"]}, {"id": extra["id"], "amount": 5, "name": "Flat"}],
            "discounts": [{"id": "less", "percentage": 25, "duration": 1}],
        })).await;
        assert_eq!(plan["currency"], "EUR");
        assert_eq!((&plan["billing_frequency"], &plan["billing_days"], &plan["billing_cycle_interval"]), (&json!("monthly"), &json!("31"), &json!(1)));
        assert_eq!((&plan["total_add_ons"], &plan["total_discounts"]), (&json!(205), &json!(500)));
        assert_eq!(plan["add_ons"][0], json!({"id": extra["id"], "name": "Extra", "description": "more", "amount": null, "percentage": 10, "duration": 3}));
        assert_eq!(plan["add_ons"][1]["amount"], 5);
        assert_eq!(plan["discounts"][0]["id"], less["id"]);

        // The catalog forgets; the plan keeps its copies, even when they are sent again.
        assert_eq!(server.delete(&format!("/v1/add-ons/{}", extra["id"].as_str().expect("id"))).await.status, 204);
        let again = server.patch("/v1/plans/gold", json!({"add_ons": [{"id": extra["id"]}], "discounts": []})).await.ok(200);
        assert_eq!((&again["add_ons"][0]["percentage"], &again["discounts"]), (&json!(10), &json!([])));
        // Days of one frequency mean nothing to another.
        let weekly = server.patch("/v1/plans/gold", json!({"billing_frequency": "weekly"})).await.ok(200);
        assert_eq!(weekly["billing_days"], Value::Null);
        assert_eq!(server.get("/v1/plans?currency=EUR").await.ok(200)["data"][0]["id"], plan["id"]);
        assert_eq!(server.delete("/v1/plans/gold").await.status, 204);
        server.get("/v1/plans/gold").await.problem(404);
    }

    async fn plans_refuse_terms_that_cannot_be_billed(server: &TestServer) {
        server.made("/v1/add-ons", json!({"name": "Extra", "amount": 5, "reference": "extra"})).await;
        let plan = |change: Value| {
            let mut body = json!({"name": "Gold", "amount": 2000, "billing_frequency": "monthly"});
            body.as_object_mut().expect("object").extend(change.as_object().expect("object").clone());
            body
        };
        server.made("/v1/plans", plan(json!({"reference": "gold"}))).await;
        server.refuses("POST", "/v1/plans", &[
            (json!({}), &["name", "amount", "billing_frequency"]),
            (plan(json!({"billing_frequency": "hourly"})), &["billing_frequency"]),
            (plan(json!({"billing_cycle_interval": 0})), &["billing_cycle_interval"]),
            (plan(json!({"billing_days": "32"})), &["billing_days"]),
            (plan(json!({"billing_days": "1,15"})), &["billing_days"]),
            (plan(json!({"billing_days": 15})), &["billing_days"]),
            (plan(json!({"billing_frequency": "twice_monthly", "billing_days": "15,1"})), &["billing_days"]),
            (plan(json!({"billing_frequency": "one_time", "billing_days": "1"})), &["billing_days"]),
            (plan(json!({"duration": -1})), &["duration"]),
            (plan(json!({"trial_days": -1})), &["trial_days"]),
            (plan(json!({"currency": "XXX"})), &["currency"]),
            (plan(json!({"catch_up": "later"})), &["catch_up"]),
            (plan(json!({"holiday_calendar": "us"})), &["holiday_calendar"]),
            (plan(json!({"business_day": "following", "holiday_calendar": "us"})), &["holiday_calendar"]),
            (plan(json!({"reference": "gold"})), &["reference"]),
            (plan(json!({"add_ons": [{"id": "nothing"}]})), &["add_ons[0].id"]),
            (plan(json!({"add_ons": [{"id": "extra"}, {"id": "extra", "amount": 1, "percentage": 1}]})), &["add_ons[1].percentage"]),
            (plan(json!({"add_ons": [{"id": "extra", "amount": -1}], "discounts": [{"name": "x"}]})), &["add_ons[0].amount", "discounts[0].id"]),
            (plan(json!({"add_ons": {}})), &["add_ons"]),
            (plan(json!({"billing_cycle_interval": 1, "billing_days": "32", "duration": 0, "discounts": [{"id": "no"}]})), &["discounts[0].id", "billing_days"]),
        ]).await;
        server.refuses("PATCH", "/v1/plans/gold", &[
            (json!({"billing_days": "0,31"}), &["billing_days"]),
            (json!({"amount": null, "duration": 100_001}), &["duration"]),
        ]).await;
        server.patch("/v1/plans/nothing", json!({})).await.problem(404);
    }
}
