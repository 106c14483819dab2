//! Refunds over HTTP: shown on the invoice with where they went, and as entries of the customer's credit.

use serde_json::{Value, json};

use super::{TestServer, on_both};

/// An invoice of 30.00 that credit has paid all of.
async fn paid(server: &TestServer) -> Value {
    let clock = server.clock("2026-06-01T00:00:00Z").await;
    server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
    server.made("/v1/customers/ada/credits", json!({"amount": 3500, "reason": "gift"})).await;
    let subscription = json!({"customer": {"id": "ada"}, "amount": 3000, "billing_frequency": "monthly", "duration": 1});
    server.made("/v1/subscriptions", subscription).await;
    server.bill(&clock, "2026-06-01T12:00:00Z").await;
    server.get("/v1/invoices").await.ok(200)["data"][0].clone()
}

on_both! {
    async fn a_refund_to_credit_is_shown_where_it_came_from_and_where_it_went(server: &TestServer) {
        let invoice = paid(server).await;
        let path = format!("/v1/invoices/{}", invoice["id"].as_str().expect("id"));
        let refunded = server.post(&format!("{path}/refund"), json!({"amount": 1200, "reason": "late", "to": "credit"})).await.ok(200);
        for (field, value) in [("status", json!("paid")), ("credit_applied", json!(3000)), ("amount_refunded", json!(0)), ("amount_credited", json!(1200))] {
            assert_eq!(refunded[field], value, "{field}");
        }
        let refund = &refunded["refunds"][0];
        for (field, value) in [("to", json!("credit")), ("amount", json!(1200)), ("status", json!("succeeded")), ("payment_id", Value::Null), ("reason", json!("late"))] {
            assert_eq!(refund[field], value, "{field}");
        }
        assert_eq!(server.get(&path).await.ok(200), refunded);
        // Nothing came through a gateway, so nothing can go back through one; that is the default.
        for body in [json!({"reason": "x"}), json!({"reason": "x", "to": "method"}), json!({"reason": "x", "to": null, "amount": 1})] {
            server.conflicts(&format!("{path}/refund"), body).await;
        }
        server.refuses("POST", &format!("{path}/refund"), &[(json!({"reason": "x", "to": "credit", "amount": 1801}), &["amount"])]).await;
        let entries = server.get("/v1/customers/ada/credits").await.ok(200);
        let shown: Vec<(Value, Value, Value)> = entries["data"]
            .as_array()
            .expect("entries")
            .iter()
            .map(|entry| (entry["amount"].clone(), entry["reason"].clone(), entry["invoice_id"].clone()))
            .collect();
        let number = invoice["number"].as_str().expect("number");
        let id = &invoice["id"];
        assert_eq!(shown, [
            (json!(1200), json!(format!("Refund of {number}: late")), id.clone()),
            (json!(-3000), json!(format!("Used for {number}")), id.clone()),
            (json!(3500), json!("gift"), Value::Null),
        ]);
        let taken = server.made("/v1/customers/ada/credits", json!({"amount": -700, "reason": "a mistake"})).await;
        assert_eq!((&taken["amount"], &taken["balance"]), (&json!(-700), &json!(1000)));
    }

    async fn credit_in_another_currency_takes_no_refund(server: &TestServer) {
        let invoice = paid(server).await;
        let path = format!("/v1/invoices/{}/refund", invoice["id"].as_str().expect("id"));
        // The ledger keeps its currency, so only an invoice in another can differ.
        let mut tx = server.app.db.begin().await.expect("tx");
        tx.query("update invoices set currency = 'EUR'").run().await.expect("changed");
        tx.commit().await.expect("commit");
        let before = server.rows().await;
        let said = server.post(&path, json!({"reason": "x", "to": "credit"})).await.problem(409);
        assert!(said["detail"].as_str().expect("detail").contains("is in USD and this invoice in EUR"), "{said}");
        assert_eq!(server.rows().await, before);
    }
}
