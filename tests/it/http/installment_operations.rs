//! Every operation on an installment plan over HTTP can be previewed: the preview stores nothing and is what then happens.

use serde_json::{Value, json};

use super::{TestServer, on_both};

/// 100.00 in three from 31 January on, after a down payment of 10.00 that is due on 10 January; one failure defaults it.
async fn plan(server: &TestServer, more: Value) -> Value {
    let clock = server.clock("2026-01-10T10:00:00Z").await;
    let ada = server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock})).await;
    let mut body = json!({
        "customer": {"id": ada["id"]}, "description": "Bicycle", "amount": 10_000, "installments": 3, "default_after": 1,
        "down_payment": {"amount": 1000}, "billing_frequency": "monthly", "first_date": "2026-01-31",
    });
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    server.made("/v1/installment-plans", body).await
}

fn path(plan: &Value, rest: &str) -> String {
    format!("/v1/installment-plans/{}{rest}", plan["id"].as_str().expect("id"))
}

fn parts(plan: &Value) -> Vec<String> {
    let text = |name: &str, part: &Value| part[name].to_string().replace('"', "");
    let parts = plan["installments"].as_array().expect("installments").iter();
    parts.map(|part| ["number", "date", "amount", "status"].map(|name| text(name, part)).join(" ")).collect()
}

/// Asks for a preview, then in earnest: the same but for the ids of new invoices, and only the second leaves a trace.
async fn operate(server: &TestServer, method: &str, path: &str, body: Value) -> Value {
    let before = server.rows().await;
    let mut asked = body.clone();
    asked["preview"] = json!(true);
    let send =
        async |body: &Value| server.send(method, path, &server.write, &[], Some(body.to_string().into_bytes())).await.ok(200);
    let mut foreseen = send(&asked).await;
    assert_eq!(server.rows().await, before, "a preview stored something: {path}");
    let done = send(&body).await;
    assert_ne!(server.rows().await, before, "{path} stored nothing");
    let news = done["installments"].as_array().expect("installments").iter();
    for (foreseen, done) in foreseen["installments"].as_array_mut().expect("installments").iter_mut().zip(news) {
        if foreseen["invoice_id"].is_null() {
            foreseen["invoice_id"] = done["invoice_id"].clone();
        }
    }
    assert_eq!(foreseen, done, "{path} {body}");
    done
}

async fn write_off(server: &TestServer, plan: &Value, place: usize) -> Value {
    let invoice = plan["installments"][place]["invoice_id"].as_str().expect("an invoice");
    server.post(&format!("/v1/invoices/{invoice}/mark_uncollectible"), json!({})).await.ok(200);
    server.get(&path(plan, "")).await.ok(200)
}

on_both! {
    async fn every_operation_is_what_its_preview_said(server: &TestServer) {
        let plan = plan(server, json!({})).await;
        let to = |rest: &str| path(&plan, rest);
        operate(server, "PATCH", &to("/installments/1"), json!({"date": "2026-02-05", "amount": 4000})).await;
        operate(server, "POST", &to("/installments/2/split"), json!({"parts": [{"date": "2026-02-28", "amount": 1000}, {"date": "2026-03-10", "amount": 2000}]})).await;
        let skipped = operate(server, "POST", &to("/skip"), json!({"cycles": 2})).await;
        assert_eq!(parts(&skipped)[1..], [
            "1 2026-04-05 4000 scheduled", "2 2026-04-30 1000 scheduled", "3 2026-05-31 2000 scheduled", "4 2026-05-10 2000 scheduled",
        ]);
        let again = operate(server, "POST", &to("/reschedule"), json!({"next_date": "2026-02-01"})).await;
        assert_eq!(parts(&again)[1..], [
            "1 2026-02-01 4000 scheduled", "2 2026-03-01 1000 scheduled", "3 2026-04-01 2000 scheduled", "4 2026-03-11 2000 scheduled",
        ]);
        operate(server, "POST", &to("/installments/2/pay"), json!({})).await;
        let defaulted = write_off(server, &plan, 0).await;
        assert_eq!((&defaulted["status"], &defaulted["balance"], &defaulted["failed_in_a_row"]), (&json!("defaulted"), &json!(10_000), &json!(1)));
        let restored = operate(server, "POST", &to("/restore"), json!({"arrears": "end"})).await;
        assert_eq!((&restored["status"], &restored["failed_in_a_row"], &restored["due_at"]), (&json!("open"), &json!(0), &json!("2026-02-01T06:00:00Z")));
        assert_eq!((parts(&restored)[0].as_str(), parts(&restored)[5].as_str()), ("0 2026-01-10 1000 moved", "5 2026-05-01 1000 scheduled"));
        let off = operate(server, "POST", &to("/pay-off"), json!({})).await;
        assert_eq!((&off["pending"], &off["balance"], &off["due_at"]), (&json!(10_000), &json!(10_000), &Value::Null));
        let cancelled = operate(server, "POST", &to("/cancel"), json!({})).await;
        assert_eq!((&cancelled["status"], &cancelled["balance"]), (&json!("cancelled"), &json!(0)));
        let events = server.get(&format!("/v1/events?subject={}&type=installment_plan.restored", plan["id"].as_str().expect("id"))).await.ok(200);
        assert_eq!(events["data"][0]["data"]["arrears"], "end");
    }

    async fn a_plan_is_restored_by_collecting_or_by_spreading(server: &TestServer) {
        let collected = plan(server, json!({})).await;
        let seen = write_off(server, &collected, 0).await;
        let again = operate(server, "POST", &path(&collected, "/restore"), json!({})).await;
        assert_eq!((parts(&again)[0].as_str(), &again["pending"]), ("0 2026-01-10 1000 due", &json!(1000)), "collect is the default");
        assert_eq!(again["installments"][0]["invoice_id"], seen["installments"][0]["invoice_id"], "by the invoice it has");
        server.conflicts(&path(&collected, "/restore"), json!({})).await;

        let spread = plan(server, json!({})).await;
        let invoice = write_off(server, &spread, 0).await["installments"][0]["invoice_id"].as_str().expect("id").to_owned();
        let again = operate(server, "POST", &path(&spread, "/restore"), json!({"arrears": "spread"})).await;
        assert_eq!(parts(&again), ["0 2026-01-10 1000 moved", "1 2026-01-31 3333 scheduled", "2 2026-02-28 3333 scheduled", "3 2026-03-31 3334 scheduled"]);
        assert_eq!(server.get(&format!("/v1/invoices/{invoice}")).await.ok(200)["status"], "void");
        server.refuses("POST", &path(&spread, "/restore"), &[(json!({"arrears": "forgive"}), &["arrears"])]).await;
    }

    async fn installments_until_a_date_and_what_cannot_be_moved(server: &TestServer) {
        let until = plan(server, json!({"installments": null, "until": "2026-06-30"})).await;
        assert_eq!((parts(&until).len(), &until["repay_by"]), (7, &json!("2026-06-30")));
        server.refuses("POST", &path(&until, "/skip"), &[(json!({"cycles": 0}), &["cycles"]), (json!({"cycles": 1001}), &["cycles"])]).await;
        server.refuses("POST", &path(&until, "/reschedule"), &[(json!({}), &["next_date"]), (json!({"next_date": "2026-01-09"}), &["next_date"])]).await;
        let explicit = json!({
            "installments": null, "billing_frequency": null, "first_date": null, "down_payment": null,
            "schedule": [{"date": "2026-02-01", "amount": 4000}, {"date": "2026-02-15", "amount": 6000}],
        });
        let explicit = plan(server, explicit).await;
        server.conflicts(&path(&explicit, "/skip"), json!({})).await;
        let moved = operate(server, "POST", &path(&explicit, "/reschedule"), json!({"next_date": "2026-03-20"})).await;
        assert_eq!(parts(&moved), ["1 2026-03-20 4000 scheduled", "2 2026-04-03 6000 scheduled"]);
        assert_eq!((&moved["installments"][0]["late"], &moved["paid_elsewhere"]), (&json!(false), &json!(0)));
    }
}
