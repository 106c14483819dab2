//! Customers and their credit over HTTP.

use serde_json::{Value, json};

use super::{TestServer, on_both};

on_both! {
    async fn customers_are_made_changed_and_removed(server: &TestServer) {
        let clock = server.clock("2026-01-31T10:00:00Z").await;
        let ada = server.made("/v1/customers", json!({
            "name": "Ada", "email": "ada@example.com", "phone": "+44 20 7946 0000", "locale": "en-GB", "timezone": "Europe/London",
            "currency": "GBP", "reference": "crm-7", "metadata": {"tier": 1}, "clock_id": clock,
        })).await;
        assert_eq!((&ada["balance"], &ada["clock_id"], &ada["timezone"]), (&json!(0), &json!(clock), &json!("Europe/London")));
        assert_eq!(ada["created_at"], "2026-01-31T10:00:00Z");
        let plain = server.made("/v1/customers", json!({"name": "Bob"})).await;
        assert_eq!((&plain["currency"], &plain["timezone"], &plain["clock_id"]), (&json!("USD"), &json!("UTC"), &Value::Null));

        let changed = server.patch("/v1/customers/crm-7", json!({"phone": null, "name": "Ada L.", "clock_id": clock})).await.ok(200);
        assert_eq!((&changed["phone"], &changed["email"], &changed["metadata"]), (&Value::Null, &json!("ada@example.com"), &json!({"tier": 1})));
        assert_eq!(server.get(&format!("/v1/customers?clock_id={clock}")).await.ok(200)["data"], json!([changed]));
        assert_eq!(server.delete("/v1/customers/crm-7").await.status, 204);
        server.get("/v1/customers/crm-7").await.problem(404);
    }

    async fn customers_are_found_by_their_address_in_any_case(server: &TestServer) {
        let mut made = Vec::new();
        for address in ["Ada@Example.com", "ada@example.com", "bob@example.com"] {
            made.insert(0, server.made("/v1/customers", json!({"name": "Ada", "email": address})).await);
        }
        for (query, found) in [("ADA@example.COM", &made[1..]), ("Ada@Example.com", &made[1..]), ("bob@Example.com", &made[..1]), ("ad_@example.com", &[])] {
            assert_eq!(server.get(&format!("/v1/customers?email={query}")).await.ok(200)["data"], json!(found), "{query}");
        }
        let second = server.get("/v1/customers?email=ADA@example.com&limit=1").await.ok(200);
        assert_eq!((&second["data"], &second["has_more"]), (&json!([made[1]]), &json!(true)));
        let next = format!("/v1/customers?email=ADA@example.com&limit=1&before={}", made[1]["id"].as_str().expect("id"));
        assert_eq!(server.get(&next).await.ok(200)["data"], json!([made[2]]));
        // As it was written.
        assert_eq!(made[2]["email"], "Ada@Example.com");
    }

    async fn customers_refuse_what_could_not_be_reached(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        let with = |field: &str, value: Value| { let mut body = json!({"name": "x"}); body[field] = value; body };
        server.refuses("POST", "/v1/customers", &[
            (json!({}), &["name"]),
            (with("email", json!("not an address")), &["email"]),
            (with("email", json!("a@b.co\r\nBcc: c@d.ee")), &["email"]),
            (with("phone", json!("call me")), &["phone"]),
            (with("locale", json!("english please")), &["locale"]),
            (with("timezone", json!("Mars/Olympus")), &["timezone"]),
            (with("currency", json!("XYZ")), &["currency"]),
            (with("reference", json!("ada")), &["reference"]),
            (with("reference", json!("cus_1")), &["reference"]),
            (with("metadata", json!([])), &["metadata"]),
            (with("metadata", json!({"card": "4111111111111111"})), &["metadata.card"]),
            (with("clock_id", json!("clk_01h455vb4pex5vsknk084sn02q")), &["clock_id"]),
            (json!({"name": "x", "email": "a", "phone": "b", "locale": "?"}), &["email", "phone", "locale"]),
        ]).await;
        let clock = server.clock("2026-01-31T10:00:00Z").await;
        server.refuses("PATCH", "/v1/customers/ada", &[(json!({"clock_id": clock}), &["clock_id"]), (json!({"email": ""}), &["email"])]).await;
    }

    async fn credit_is_a_ledger_whose_sum_is_the_balance(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        let given = server.made("/v1/customers/ada/credits", json!({"amount": 500, "currency": "USD", "reason": "sorry"})).await;
        assert_eq!((&given["amount"], &given["balance"], &given["reason"]), (&json!(500), &json!(500), &json!("sorry")));
        server.made("/v1/customers/ada/credits", json!({"amount": 1})).await;
        assert_eq!(server.get("/v1/customers/ada").await.ok(200)["balance"], 501);
        let ledger = server.get("/v1/customers/ada/credits").await.ok(200);
        assert_eq!(ledger["data"].as_array().expect("rows").iter().map(|row| row["amount"].as_i64().expect("amount")).collect::<Vec<_>>(), [1, 500]);
        server.refuses("POST", "/v1/customers/ada/credits", &[
            (json!({}), &["amount"]),
            (json!({"amount": 0}), &["amount"]),
            (json!({"amount": -5}), &["reason"]),
            (json!({"amount": -999_999, "reason": "more than there is"}), &["amount"]),
            (json!({"amount": 5, "currency": "EUR"}), &["currency"]),
            (json!({"amount": 999_999_999_999_i64}), &["amount"]),
        ]).await;
        server.refuses("PATCH", "/v1/customers/ada", &[(json!({"currency": "EUR"}), &["currency"])]).await;
        server.post("/v1/customers/nobody/credits", json!({"amount": 1})).await.problem(404);
    }

    async fn a_customer_who_is_billed_is_not_removed(server: &TestServer) {
        let clock = server.clock("2026-01-31T10:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        let subscription = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly"})).await;
        server.delete("/v1/customers/ada").await.problem(409);
        server.bill(&clock, "2026-02-01T00:00:00Z").await;
        server.post(&format!("/v1/subscriptions/{}/cancel", subscription["id"].as_str().expect("id")), json!({"when": "now"})).await.ok(200);
        server.delete("/v1/customers/ada").await.problem(409);
    }
}
