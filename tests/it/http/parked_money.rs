//! What an operator is shown of money nobody knows about, and how they close it.

use rebilld::{domain::event::Actor, store};
use serde_json::{Value, json};

use super::{TestServer, bad_input::stage::Stage, on_both};

on_both! {
    async fn a_parked_payment_shows_what_is_needed_to_decide(server: &TestServer) {
        let stage = Stage::set(server).await;
        let id = &stage.names["pay"];
        let payment = store::payments::get(&server.app.db, id.parse().expect("id")).await.expect("read").expect("there");
        let told = |kind: &str, data: Value| server.app.event(payment.timeline, payment.created_at, &Actor::System, kind, id, data);
        let events = [
            told("payment.unknown", json!({"message": "no answer in time"})),
            told("payment.looked_up", json!({"lookups": 1, "message": "status 500: try later"})),
            told("payment.parked", json!({"message": "status 500: try later"})),
        ];
        let mut tx = server.app.db.begin().await.expect("tx");
        store::events::append(&mut tx, &events).await.expect("told");
        tx.commit().await.expect("commit");
        let path = format!("/v1/payments/{id}");
        let shown = server.get(&path).await.ok(200);
        for field in ["reference", "sent_at", "called_at", "gateway", "amount", "currency"] {
            assert!(!shown[field].is_null(), "{field}: {shown}");
        }
        let inquiry = &shown["inquiry"];
        let kinds: Vec<&str> = inquiry["answers"].as_array().expect("answers").iter().filter_map(|answer| answer["event"].as_str()).collect();
        assert_eq!(kinds, ["payment.unknown", "payment.looked_up", "payment.parked"]);
        assert_eq!(inquiry["answers"][1]["said"]["message"], "status 500: try later");
        let search = inquiry["search"].as_str().expect("a text");
        assert!(search.contains(payment.reference.as_str()) && search.contains("fluid"), "{search}");
        assert!(inquiry["hint"].as_str().expect("a text").contains("not_processed"));
        // One that was never in doubt needs none of this.
        assert_eq!(server.get(&format!("/v1/payments/{}", stage.names["pay_done"])).await.ok(200)["inquiry"], Value::Null);

        let part = json!({"outcome": "succeeded", "transaction_id": "t9", "amount": 1, "note": "seen in their console"});
        let resolved = server.post(&format!("{path}/resolve"), part.clone()).await.ok(200);
        assert_eq!((&resolved["status"], &resolved["amount_captured"], &resolved["transaction_id"]), (&json!("succeeded"), &json!(1), &json!("t9")));
        server.conflicts(&format!("{path}/resolve"), part).await;
    }

    async fn a_parked_invoice_is_listed_shown_and_collected(server: &TestServer) {
        let stage = Stage::set(server).await;
        let path = format!("/v1/invoices/{}", stage.names["inv"]);
        let mut tx = server.app.db.begin().await.expect("tx");
        let id = stage.names["inv"].parse().expect("id");
        let mut invoice = store::invoices::lock(&mut tx, id).await.expect("read").expect("there");
        invoice.park("the merchant's configuration does not allow this charge (410)", server.wall.now());
        store::invoices::save(&mut tx, &[invoice]).await.expect("saved");
        tx.commit().await.expect("commit");
        let shown = server.get(&path).await.ok(200);
        assert_eq!((&shown["status"], &shown["next_attempt_at"]), (&json!("open"), &Value::Null));
        for field in ["parked_reason", "refused_reason"] {
            assert!(shown[field].as_str().is_some_and(|reason| reason.ends_with("(410)")), "{field}: {shown}");
        }
        let health = server.get("/v1/health/billing").await.ok(200);
        assert_eq!((&health["parked"]["invoices"][0]["id"], &health["parked"]["invoices"][0]["parked_reason"]), (&shown["id"], &shown["parked_reason"]));
        let line = health["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "invoices_parked").expect("a line");
        assert_eq!((&line["ok"], &line["count"]), (&json!(false), &json!(1)));
        let collected = server.post(&format!("{path}/collect"), json!({})).await.ok(200);
        assert_eq!((&collected["parked_reason"], &collected["next_attempt_at"].is_null()), (&Value::Null, &false));
    }

    async fn a_parked_refund_is_listed_shown_and_closed(server: &TestServer) {
        let stage = Stage::set(server).await;
        let path = format!("/v1/refunds/{}", stage.names["refund"]);
        let shown = server.get(&path).await.ok(200);
        assert_eq!((&shown["status"], &shown["message"]), (&json!("parked"), &json!("no answer")));
        for (query, count) in [("", 1), ("?status=parked", 1), ("?status=succeeded", 0), ("?to=method", 1), ("?to=credit", 0)] {
            let list = server.get(&format!("/v1/refunds{query}")).await.ok(200);
            assert_eq!(list["data"].as_array().expect("a list").len(), count, "{query}");
        }
        let listed = server.get(&format!("/v1/refunds?invoice_id={}", stage.names["inv_paid"])).await.ok(200);
        assert_eq!(listed["data"], json!([shown]));
        let body = json!({"outcome": "not_processed", "note": "they have nothing"});
        assert_eq!(server.post(&format!("{path}/resolve"), body.clone()).await.ok(200)["status"], "gateway_error");
        server.conflicts(&format!("{path}/resolve"), body).await;
        server.get("/v1/refunds/ref_01h455vb4pex5vsknk084sn02q").await.problem(404);
    }

    async fn what_is_authorized_early_is_said_in_its_terms_and_can_be_changed(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        let body = json!({"customer": {"id": "ada"}, "amount": 1000, "billing_frequency": "monthly", "authorize_days_before": 5});
        let made = server.made("/v1/subscriptions", body).await;
        assert_eq!(made["authorize_days_before"], 5);
        let path = format!("/v1/subscriptions/{}", made["id"].as_str().expect("id"));
        for days in [2, 0] {
            assert_eq!(server.patch(&path, json!({"authorize_days_before": days})).await.ok(200)["authorize_days_before"], days);
        }
        assert_eq!(server.get(&path).await.ok(200)["authorization"], Value::Null);
        assert_eq!(server.get("/v1/authorizations?status=authorized").await.ok(200), json!({"data": [], "has_more": false}));
        server.get("/v1/authorizations/auth_01h455vb4pex5vsknk084sn02q").await.problem(404);
    }
}
