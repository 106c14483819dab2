//! Roll-outs at the server: nothing without a list, nothing but what was listed, and who may ask.

use serde_json::{Value, json};

use super::{TestServer, on_both};

async fn subscribe(server: &TestServer, more: Value) -> String {
    let mut body = json!({"customer": {"id": "ada"}, "plan_id": "gold"});
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    server.made("/v1/subscriptions", body).await["id"].as_str().expect("id").to_owned()
}

/// Ada on a clock at 2026-06-01, a plan of 20.00 and an add-on of 2.00 in it for three charges.
async fn shop(server: &TestServer) -> String {
    let clock = server.clock("2026-06-01T00:00:00Z").await;
    server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
    server.made("/v1/add-ons", json!({"name": "Extra", "amount": 200, "duration": 3, "reference": "extra"})).await;
    let plan = json!({"name": "Gold", "reference": "gold", "amount": 2000, "billing_frequency": "monthly", "billing_days": "1",
        "add_ons": [{"id": "extra"}]});
    server.made("/v1/plans", plan).await;
    clock
}

async fn of(server: &TestServer, id: &str) -> Value {
    server.get(&format!("/v1/subscriptions/{id}")).await.ok(200)
}

on_both! {
    async fn nothing_is_rolled_out_that_was_not_listed(server: &TestServer) {
        shop(server).await;
        let (plain, own) = (subscribe(server, json!({})).await, subscribe(server, json!({"amount": 1})).await);
        server.patch("/v1/plans/gold", json!({"amount": 2500})).await.ok(200);
        assert_eq!(of(server, &plain).await["amount"], 2000, "an edit alone changes nothing");
        let ask = async |body: Value| server.post("/v1/plans/gold/roll-out", body).await;
        assert_eq!(ask(json!({"when": "next_cycle"})).await.faults(), ["revision"]);
        let rows = server.rows().await;
        let listed = ask(json!({"when": "next_cycle", "preview": true})).await.ok(200);
        assert_eq!(server.rows().await, rows);
        let totals = json!({"subscriptions": 1, "left_alone": {"overridden": 1}, "currencies": [
            {"currency": "USD", "subscriptions": 1, "amount": 0, "credit": 0, "next_before": 2200, "next_after": 2700}]});
        assert_eq!(listed["totals"], totals);
        let line = &listed["data"][0];
        assert_eq!((&line["subscription_id"], &line["before"], &line["after"]), (&json!(plain), &json!({"amount": 2000}), &json!({"amount": 2500})));
        assert_eq!((&line["next_before"], &line["next_after"], &line["effective_date"]), (&json!(2200), &json!(2700), &json!("2026-06-01")));
        let revision = listed["revision"].clone();
        // Other options, an edit, even one that takes back what it changed: another list.
        server.conflicts("/v1/plans/gold/roll-out", json!({"when": "now", "revision": revision})).await;
        server.conflicts("/v1/plans/gold/roll-out", json!({"when": "next_cycle", "overrides": "replace", "revision": revision})).await;
        server.conflicts("/v1/plans/gold/roll-out", json!({"when": "next_cycle", "fields": ["amount"], "revision": revision})).await;
        server.wall.set("2026-06-01T12:00:01Z".parse().expect("instant"));
        server.patch("/v1/plans/gold", json!({"amount": 2600})).await.ok(200);
        let refused = ask(json!({"when": "next_cycle", "revision": revision})).await.problem(409);
        assert!(refused["detail"].as_str().expect("detail").contains("preview: true"), "{refused}");
        // `period_end` is the word, as in a change; the older one means the same list.
        let listed = ask(json!({"when": "period_end", "preview": true})).await.ok(200);
        let done = ask(json!({"when": "next_cycle", "revision": listed["revision"]})).await.ok(200);
        assert_eq!(done["when"], "period_end");
        assert_eq!((&done["status"], &done["subscriptions_changed"], &done["left_alone"]), (&json!("done"), &json!(1), &json!({"overridden": 1})));
        assert_eq!((&of(server, &plain).await["amount"], &of(server, &own).await["amount"]), (&json!(2600), &json!(1)));
        let shown = server.get(&format!("/v1/roll-outs/{}", done["id"].as_str().expect("id"))).await.ok(200);
        assert_eq!(shown, done);
        assert_eq!(server.get("/v1/roll-outs?status=done").await.ok(200)["data"], json!([done]));
        assert_eq!(server.get("/v1/roll-outs?status=running").await.ok(200)["data"], json!([]));
        let events = server.get(&format!("/v1/events?subject={plain}&type=subscription.changed")).await.ok(200);
        let event = &events["data"][0];
        assert_eq!((&event["data"]["roll_out"], &event["actor"]), (&done["id"], &done["created_by"]));
        assert_eq!((&event["data"]["before"]["amount"], &event["data"]["after"]["amount"]), (&json!(2000), &json!(2600)));
        // And once more, with nothing left to do.
        let listed = ask(json!({"when": "next_cycle", "preview": true})).await.ok(200);
        assert_eq!(listed["totals"]["left_alone"], json!({"overridden": 1, "unchanged": 1}));
        let forced = ask(json!({"when": "next_cycle", "preview": true, "overrides": "replace"})).await.ok(200);
        assert_eq!(forced["data"][0]["subscription_id"], json!(own));
    }

    async fn an_add_on_follows_into_plans_and_keeps_its_count(server: &TestServer) {
        let clock = shop(server).await;
        let dear = json!({"name": "Dear", "reference": "dear", "amount": 1, "billing_frequency": "monthly", "add_ons": [{"id": "extra", "amount": 999}]});
        server.made("/v1/plans", dear).await;
        let old = subscribe(server, json!({})).await;
        let own = subscribe(server, json!({"add_ons": [{"id": "extra", "amount": 5}]})).await;
        server.bill(&clock, "2026-07-15T00:00:00Z").await;
        server.patch("/v1/add-ons/extra", json!({"amount": 300})).await.ok(200);
        server.patch("/v1/add-ons/extra", json!({"amount": 400})).await.ok(200);
        let path = "/v1/add-ons/extra/roll-out";
        let listed = server.post(path, json!({"when": "next_cycle", "preview": true})).await.ok(200);
        let plans: Vec<&Value> = listed["plans"].as_array().expect("plans").iter().map(|line| &line["name"]).collect();
        assert_eq!(plans, ["Gold"], "the dear one has a price of its own");
        assert_eq!((&listed["totals"]["subscriptions"], &listed["data"][0]["next_after"]), (&json!(1), &json!(2400)));
        let done = server.post(path, json!({"when": "next_cycle", "revision": listed["revision"]})).await.ok(200);
        assert_eq!((&done["plans_changed"], &done["subscriptions_changed"], &done["left_alone"]), (&json!(1), &json!(1), &json!({"overridden": 1})));
        assert_eq!(of(server, &own).await["add_ons"][0]["amount"], 5);
        let new = subscribe(server, json!({})).await;
        assert_eq!(of(server, &new).await["add_ons"][0]["amount"], 400);
        // June and July had it; August is the third of three.
        server.bill(&clock, "2026-10-15T00:00:00Z").await;
        let invoices = server.invoices().await;
        let billed: Vec<i64> =
            invoices.iter().filter(|it| it.subscription_id.is_some_and(|id| id.to_string() == old)).map(|it| it.subtotal).collect();
        assert_eq!(billed, [2200, 2200, 2400, 2000, 2000]);
        // The plan's own history knows what the roll-out has made of it.
        server.patch("/v1/plans/gold", json!({"add_ons": []})).await.ok(200);
        let listed = server.post("/v1/plans/gold/roll-out", json!({"when": "next_cycle", "preview": true})).await.ok(200);
        let lost: Vec<&Value> = listed["data"].as_array().expect("lines").iter().map(|line| &line["after"]["add_ons"]).collect();
        assert_eq!(lost, [&json!([]), &json!([])]);
    }

    async fn a_change_of_currency_is_no_roll_out(server: &TestServer) {
        shop(server).await;
        subscribe(server, json!({})).await;
        server.patch("/v1/plans/gold", json!({"currency": "EUR"})).await.ok(200);
        for body in [json!({"when": "now", "preview": true}), json!({"when": "next_cycle", "revision": "x"})] {
            let refused = server.post("/v1/plans/gold/roll-out", body).await.problem(409);
            let detail = refused["detail"].as_str().expect("detail");
            assert!(detail.contains("from USD to EUR"), "{detail}");
        }
        // A later edit can be rolled out, to who pays in that currency.
        server.patch("/v1/plans/gold", json!({"amount": 2500})).await.ok(200);
        let listed = server.post("/v1/plans/gold/roll-out", json!({"when": "now", "preview": true})).await.ok(200);
        assert_eq!(listed["totals"]["left_alone"], json!({"other_currency": 1}));
    }

    async fn only_a_key_that_writes_rolls_out(server: &TestServer) {
        shop(server).await;
        let body = || Some(json!({"when": "next_cycle", "preview": true}).to_string().into_bytes());
        for noun in ["plans/gold", "add-ons/extra", "discounts/less"] {
            server.send("POST", &format!("/v1/{noun}/roll-out"), &server.read, &[], body()).await.problem(403);
        }
        server.send("POST", "/v1/plans/gold/roll-out", &server.write, &[], body()).await.ok(200);
        server.send("GET", "/v1/roll-outs", &server.read, &[], None).await.ok(200);
        server.post("/v1/discounts/less/roll-out", json!({"when": "now", "preview": true})).await.problem(404);
        let both = json!({"when": "now", "revision": "x"});
        assert_eq!(server.post("/v1/plans/gold/roll-out?after=sub_01h455vb4pex5vsknk084sn02q", both).await.faults(), ["after"]);
    }

    async fn a_long_list_comes_in_pages_and_its_totals_once(server: &TestServer) {
        shop(server).await;
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(subscribe(server, json!({})).await);
        }
        server.patch("/v1/plans/gold", json!({"name": "Gold II"})).await.ok(200);
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/plans/gold/roll-out?limit=2{after}");
            let page = server.post(&path, json!({"when": "now", "preview": true})).await.ok(200);
            assert_eq!(page["totals"].is_null(), !after.is_empty());
            seen.extend(page["data"].as_array().expect("lines").iter().map(|line| line["subscription_id"].as_str().expect("id").to_owned()));
            after = format!("&after={}", seen.last().expect("a line"));
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!(seen, all);
    }
}
