//! Installment plans over HTTP: previews, changes that keep the total, and what the operator is told. Nothing is collected here.

use serde_json::{Value, json};

use super::{TestServer, on_both};

/// A customer on a clock that stands at 10 January 2026, and the terms of 100.00 in three for them.
async fn terms(server: &TestServer) -> Value {
    let clock = server.clock("2026-01-10T10:00:00Z").await;
    let ada = server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock, "timezone": "Europe/Berlin"})).await;
    json!({
        "customer": {"id": ada["id"]}, "description": "Bicycle", "amount": 10_000, "currency": "USD", "installments": 3,
        "billing_frequency": "monthly", "billing_cycle_interval": 1, "first_date": "2026-01-31",
    })
}

fn with(terms: &Value, changes: Value) -> Value {
    let mut terms = terms.clone();
    for (name, value) in changes.as_object().expect("changes") {
        terms[name] = value.clone();
        if value.is_null() {
            terms.as_object_mut().expect("terms").remove(name);
        }
    }
    terms
}

fn path(plan: &Value, rest: &str) -> String {
    format!("/v1/installment-plans/{}{rest}", plan["id"].as_str().expect("id"))
}

/// Number, date, amount and status of each.
fn parts(plan: &Value) -> Vec<String> {
    let installments = plan["installments"].as_array().expect("installments");
    let sum: i64 = installments.iter().map(|part| part["amount"].as_i64().expect("amount")).sum();
    assert_eq!(plan["amount"], sum, "{plan}");
    let text = |name: &str, part: &Value| part[name].to_string().replace('"', "");
    installments.iter().map(|part| ["number", "date", "amount", "status"].map(|name| text(name, part)).join(" ")).collect()
}

on_both! {
    async fn a_plan_is_previewed_made_shown_and_listed(server: &TestServer) {
        let terms = terms(server).await;
        let terms = with(&terms, json!({"down_payment": {"percentage": 12.5}, "reference": "order-7", "metadata": {"shop": 3}}));
        let before = server.rows().await;
        let preview = server.post("/v1/installment-plans/preview", terms.clone()).await.ok(200);
        assert_eq!((&preview["id"], &preview["pending"], &preview["balance"]), (&Value::Null, &json!(0), &json!(10_000)));
        assert_eq!(parts(&preview), [
            "0 2026-01-10 1250 scheduled", "1 2026-01-31 2916 scheduled", "2 2026-02-28 2916 scheduled", "3 2026-03-31 2918 scheduled",
        ]);
        assert_eq!(server.rows().await, before, "a preview stores nothing");

        let plan = server.made("/v1/installment-plans", terms.clone()).await;
        assert_eq!(parts(&plan)[..2], ["0 2026-01-10 1250 due", "1 2026-01-31 2916 scheduled"]);
        for (field, value) in [
            ("status", json!("open")), ("paid", json!(0)), ("pending", json!(1250)), ("balance", json!(10_000)), ("refunded", json!(0)),
            ("repay_by", json!("2026-03-31")), ("due_at", json!("2026-01-31T05:00:00Z")), ("default_after", json!(3)),
            ("failed_in_a_row", json!(0)), ("timezone", json!("Europe/Berlin")), ("down_payment", json!(1250)),
            ("metadata", json!({"shop": 3})), ("customer", terms["customer"].clone()), ("created_at", json!("2026-01-10T10:00:00Z")),
        ] {
            assert_eq!(plan[field], value, "{field}");
        }
        for key in [plan["id"].as_str().expect("id"), "order-7"] {
            assert_eq!(server.get(&format!("/v1/installment-plans/{key}")).await.ok(200), plan);
        }
        let invoice = plan["installments"][0]["invoice_id"].as_str().expect("an invoice");
        let invoice = server.get(&format!("/v1/invoices/{invoice}")).await.ok(200);
        assert_eq!((&invoice["installment_plan_id"], &invoice["installment_number"], &invoice["total"]), (&plan["id"], &json!(0), &json!(1250)));
        assert_eq!((&invoice["lines"][0]["kind"], &invoice["description"]), (&json!("down_payment"), &json!("Bicycle: Down payment")));
        let of_plan = server.get(&format!("/v1/invoices?installment_plan_id={}", plan["id"].as_str().expect("id"))).await.ok(200);
        assert_eq!(of_plan["data"].as_array().map(Vec::len), Some(1));

        server.refuses("POST", "/v1/installment-plans", &[(terms.clone(), &["reference"])]).await;
        let other = server.made("/v1/installment-plans", with(&terms, json!({"reference": null, "default_after": 0}))).await;
        let customer = terms["customer"]["id"].as_str().expect("id");
        let listed = server.get(&format!("/v1/installment-plans?customer_id={customer}&status=open")).await.ok(200);
        assert_eq!(listed["data"], json!([other, plan]));
        assert_eq!(server.get("/v1/installment-plans?reference=order-7").await.ok(200)["data"], json!([plan]));
        assert_eq!(server.get("/v1/installment-plans?status=paid").await.ok(200)["data"], json!([]));
        server.get("/v1/installment-plans/inst_01h455vb4pex5vsknk084sn02q").await.problem(404);
    }

    async fn terms_and_explicit_dates_make_plans_too(server: &TestServer) {
        let terms = terms(server).await;
        let preview = async |changes: Value| parts(&server.post("/v1/installment-plans/preview", with(&terms, changes)).await.ok(200));
        let by_term = json!({"installments": null, "term": 7, "term_units": "months", "billing_cycle_interval": 2, "first_date": null});
        assert_eq!(preview(by_term).await, ["1 2026-01-10 3333 scheduled", "2 2026-03-10 3333 scheduled", "3 2026-05-10 3334 scheduled"]);
        let after_down = json!({"installments": 2, "billing_days": "15", "first_date": null, "down_payment": {"amount": 1}});
        assert_eq!(preview(after_down).await, ["0 2026-01-10 1 scheduled", "1 2026-01-15 4999 scheduled", "2 2026-02-15 5000 scheduled"]);
        let explicit = json!({
            "installments": null, "billing_frequency": null, "billing_cycle_interval": null, "first_date": null,
            "down_payment": {"amount": 1000}, "schedule": [{"date": "2026-06-01", "amount": 8999}, {"date": "2026-01-10", "amount": 1}],
        });
        assert_eq!(preview(explicit.clone()).await, ["0 2026-01-10 1000 scheduled", "1 2026-01-10 1 scheduled", "2 2026-06-01 8999 scheduled"]);
        let plan = server.made("/v1/installment-plans", with(&terms, explicit)).await;
        assert_eq!((&plan["billing_frequency"], &plan["billing_cycle_interval"]), (&Value::Null, &Value::Null));
    }

    async fn changes_keep_the_total(server: &TestServer) {
        let terms = terms(server).await;
        let plan = server.made("/v1/installment-plans", terms).await;
        let one = |number: i64| path(&plan, &format!("/installments/{number}"));
        let moved = server.patch(&one(1), json!({"date": "2026-02-05", "amount": 5000})).await.ok(200);
        assert_eq!(parts(&moved), ["1 2026-02-05 5000 scheduled", "2 2026-02-28 3333 scheduled", "3 2026-03-31 1667 scheduled"]);
        assert_eq!(moved["due_at"], "2026-02-05T05:00:00Z");
        let even = server.patch(&one(1), json!({"amount": 4999, "spread": "even"})).await.ok(200);
        assert_eq!(parts(&even), ["1 2026-02-05 4999 scheduled", "2 2026-02-28 2500 scheduled", "3 2026-03-31 2501 scheduled"]);
        let split = server.post(&format!("{}/split", one(2)), json!({"parts": [
            {"date": "2026-02-28", "amount": 2000}, {"date": "2026-04-30", "amount": 500},
        ]})).await.ok(200);
        assert_eq!(parts(&split)[1..], ["2 2026-02-28 2000 scheduled", "3 2026-03-31 2501 scheduled", "4 2026-04-30 500 scheduled"]);
        assert_eq!(split["repay_by"], "2026-04-30");
        let paid = server.post(&format!("{}/pay", one(4)), json!({})).await.ok(200);
        assert_eq!((parts(&paid)[3].as_str(), &paid["pending"], &paid["repay_by"]), ("4 2026-04-30 500 due", &json!(500), &json!("2026-04-30")));
        server.conflicts(&format!("{}/split", one(4)), json!({"parts": [{"date": "2026-02-28", "amount": 200}, {"date": "2026-04-30", "amount": 300}]})).await;
        let off = server.post(&path(&plan, "/pay-off"), json!({})).await.ok(200);
        assert_eq!((&off["pending"], &off["due_at"], parts(&off).iter().all(|part| part.ends_with("due"))), (&json!(10_000), &Value::Null, true));
        assert_eq!(off["installments"][0]["invoice_id"], off["installments"][2]["invoice_id"]);
        let cancelled = server.send("POST", &path(&plan, "/cancel"), &server.write, &[], None).await.ok(200);
        assert_eq!((&cancelled["status"], &cancelled["balance"], &cancelled["pending"]), (&json!("cancelled"), &json!(0), &json!(0)));
        assert!(parts(&cancelled).iter().all(|part| part.ends_with("cancelled")));
        for action in ["/cancel", "/pay-off", "/installments/1/pay"] {
            server.conflicts(&path(&plan, action), json!({})).await;
        }
        let events = server.get(&format!("/v1/events?subject={}", plan["id"].as_str().expect("id"))).await.ok(200);
        let kinds: Vec<&str> = events["data"].as_array().expect("events").iter().map(|event| event["type"].as_str().expect("type")).collect();
        let changed = "installment_plan.changed";
        assert_eq!(kinds, ["installment_plan.cancelled", changed, changed, changed, changed, changed, "installment_plan.created"]);
        assert_eq!(events["data"][4]["data"]["number"], 1);
    }

    async fn what_goes_with_a_plan_can_change(server: &TestServer) {
        let terms = terms(server).await;
        let plan = server.made("/v1/installment-plans", with(&terms, json!({"reference": "a"}))).await;
        let body = json!({"reference": "b", "description": "Tandem", "default_after": 5, "metadata": {"x": 1}});
        let changed = server.patch("/v1/installment-plans/a", body.clone()).await.ok(200);
        for (field, value) in body.as_object().expect("body") {
            assert_eq!(changed[field], *value, "{field}");
        }
        assert_eq!((&changed["id"], parts(&changed)), (&plan["id"], parts(&plan)));
        let cleared = server.patch("/v1/installment-plans/b", json!({"reference": null, "payment_method_id": null})).await.ok(200);
        assert_eq!((&cleared["reference"], &cleared["description"]), (&Value::Null, &json!("Tandem")));
        server.refuses("PATCH", &path(&plan, ""), &[
            (json!({"amount": 5}), &["amount"]),
            (json!({"reference": "inst_x", "default_after": -1}), &["default_after"]),
            (json!({"reference": "inst_x", "payment_method_id": "pm_01h455vb4pex5vsknk084sn02q"}), &["reference", "payment_method_id"]),
        ]).await;
        let customer = format!("/v1/customers/{}", terms["customer"]["id"].as_str().expect("id"));
        server.delete(&customer).await.problem(409);
        server.post(&path(&plan, "/cancel"), json!({})).await.ok(200);
        assert_eq!(server.delete(&customer).await.status, 204);
        server.get(&path(&plan, "")).await.problem(404);
    }

    async fn bad_terms_are_named_and_change_nothing(server: &TestServer) {
        let terms = terms(server).await;
        let schedule = |parts: Value| with(&terms, json!({
            "installments": null, "billing_frequency": null, "billing_cycle_interval": null, "first_date": null, "schedule": parts,
        }));
        let table = [
            (json!({}), &["customer", "amount"][..]),
            (with(&terms, json!({"customer": {"id": "nobody"}, "amount": 0})), &["amount"]),
            (with(&terms, json!({"customer": {"id": "nobody"}, "first_date": null})), &["customer.id"]),
            (with(&terms, json!({"installments": 0})), &["installments"]),
            (with(&terms, json!({"installments": 1001})), &["installments"]),
            (with(&terms, json!({"installments": null})), &["installments"]),
            (with(&terms, json!({"amount": 2})), &["installments"]),
            (with(&terms, json!({"term": 3, "term_units": "months"})), &["term"]),
            (with(&terms, json!({"installments": null, "term": 3})), &["term_units"]),
            (with(&terms, json!({"term_units": "weeks"})), &["term_units"]),
            (with(&terms, json!({"installments": null, "term": 3, "term_units": "days"})), &["term_units"]),
            (with(&terms, json!({"installments": null, "term": 3, "term_units": "weeks"})), &["term"]),
            (with(&terms, json!({"installments": null, "term": 100, "term_units": "years", "billing_frequency": "daily"})), &["term"]),
            (with(&terms, json!({"billing_frequency": null})), &["billing_frequency"]),
            (with(&terms, json!({"billing_frequency": "one_time"})), &["installments"]),
            (with(&terms, json!({"billing_days": "32"})), &["billing_days"]),
            (with(&terms, json!({"first_date": "2026-01-09"})), &["first_date"]),
            (with(&terms, json!({"first_date": "tomorrow"})), &["first_date"]),
            (with(&terms, json!({"down_payment": {}})), &["down_payment"]),
            (with(&terms, json!({"down_payment": {"amount": 1, "percentage": 1}})), &["down_payment.percentage"]),
            (with(&terms, json!({"down_payment": {"percentage": 100}})), &["down_payment.percentage"]),
            (with(&terms, json!({"down_payment": {"amount": 10_000}})), &["down_payment.amount"]),
            (with(&terms, json!({"down_payment": {"amount": -1}})), &["down_payment.amount"]),
            (with(&terms, json!({"down_payment": {"amount": 9998}})), &["installments"]),
            (with(&terms, json!({"default_after": -1})), &["default_after"]),
            (with(&terms, json!({"holiday_calendar": "mars"})), &["holiday_calendar"]),
            (with(&terms, json!({"holiday_calendar": "mars", "business_day": "following"})), &["holiday_calendar"]),
            (with(&terms, json!({"payment_method_id": "pm_01h455vb4pex5vsknk084sn02q"})), &["payment_method_id"]),
            (with(&terms, json!({"instalments": 3})), &["instalments"]),
            (with(&terms, json!({"description": "4111111111111111"})), &["description"]),
            (schedule(json!([])), &["schedule"]),
            (schedule(json!([{"date": "2026-02-01", "amount": 9999}])), &["schedule"]),
            (schedule(json!([{"date": "2026-01-09", "amount": 10_000}])), &["schedule[0].date"]),
            (schedule(json!([{"date": "2026-02-01", "amount": 0}])), &["schedule[0].amount"]),
            (schedule(json!([{"date": "2026-02-01"}])), &["schedule[0].amount"]),
            (with(&schedule(json!([{"date": "2026-02-01", "amount": 10_000}])), json!({"installments": 1, "first_date": "2026-02-01"})), &["installments", "first_date"]),
        ];
        server.refuses("POST", "/v1/installment-plans", &table).await;
        server.refuses("POST", "/v1/installment-plans/preview", &table).await;
    }

    async fn bad_changes_are_named_and_change_nothing(server: &TestServer) {
        let plan = server.made("/v1/installment-plans", terms(server).await).await;
        let one = path(&plan, "/installments/1");
        server.refuses("PATCH", &one, &[
            (json!({}), &[""]),
            (json!({"spread": "even"}), &[""]),
            (json!({"date": "2026-03-01", "spread": "even"}), &["spread"]),
            (json!({"amount": 100, "spread": "first"}), &["spread"]),
            (json!({"amount": 0}), &["amount"]),
            (json!({"amount": 6667}), &["amount"]),
            (json!({"amount": 9999, "spread": "even"}), &["amount"]),
            (json!({"date": "2026-01-09"}), &["date"]),
            (json!({"number": 2}), &["number"]),
        ]).await;
        let part = |date: &str, amount: i64| json!({"date": date, "amount": amount});
        server.refuses("POST", &format!("{one}/split"), &[
            (json!({}), &["parts"]),
            (json!({"parts": []}), &["parts"]),
            (json!({"parts": [part("2026-02-01", 3333)]}), &["parts"]),
            (json!({"parts": [part("2026-02-01", 3333), part("2026-02-02", 1)]}), &["parts"]),
            (json!({"parts": [part("2026-02-01", 3333), part("2026-02-02", 0)]}), &["parts[1].amount"]),
            (json!({"parts": [part("2026-02-01", 3332), part("2026-01-02", 1)]}), &["parts[1].date"]),
        ]).await;
        for number in ["0", "4", "x", "-1", "99999999999999999999"] {
            server.post(&path(&plan, &format!("/installments/{number}/pay")), json!({})).await.problem(404);
        }
        let read_only = server.send("POST", &path(&plan, "/cancel"), &server.read, &[], None).await;
        assert_eq!(read_only.status, 403);
        server.refuses("POST", &path(&plan, "/pay-off"), &[(json!({"amount": 5}), &["amount"])]).await;
    }

    async fn a_repeat_by_its_key_makes_one_plan(server: &TestServer) {
        let terms = terms(server).await;
        let first = server.post_with_key("/v1/installment-plans", "k1", terms.clone()).await.ok(201);
        assert_eq!(server.post_with_key("/v1/installment-plans", "k1", terms).await.ok(201), first);
        assert_eq!(server.get("/v1/installment-plans").await.ok(200)["data"].as_array().map(Vec::len), Some(1));
    }
}
