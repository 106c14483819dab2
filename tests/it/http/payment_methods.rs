//! Payment methods over HTTP: one default at most, nothing but tokens, and no test customer at a live gateway.

use serde_json::{Value, json};

use super::{TestServer, on_both};

const OF_ADA: &str = "/v1/customers/ada/payment-methods";

on_both! {
    async fn the_first_method_is_the_default_until_another_is(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "email": "a@b.co"})).await;
        let vault = json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "tok-1", "expires": "2027-03", "last_four": "4242"});
        let first = server.made(OF_ADA, vault).await;
        assert_eq!((&first["default"], &first["customer_token"], &first["channels"]), (&json!(true), &json!("tok-1"), &json!([])));
        let second = server.made(OF_ADA, json!({"gateway": "paylike", "kind": "prior_transaction", "transaction_id": "t-1", "priority": 2})).await;
        assert_eq!(second["default"], false);
        let third = server.made(OF_ADA, json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "tok-3", "default": true})).await;
        let path = |method: &Value| format!("/v1/payment-methods/{}", method["id"].as_str().expect("id"));
        assert_eq!(server.get(&path(&first)).await.ok(200)["default"], false);

        let moved = server.patch(&path(&second), json!({"default": true, "expires": "2030-12"})).await.ok(200);
        assert_eq!((&moved["default"], &moved["expires"]), (&json!(true), &json!("2030-12")));
        assert_eq!(server.get(&path(&third)).await.ok(200)["default"], false);
        // Without the default the next by priority takes over.
        assert_eq!(server.delete(&path(&second)).await.status, 204);
        assert_eq!(server.get(&path(&first)).await.ok(200)["default"], true);
        let listed = server.get(&format!("{OF_ADA}?gateway=fluid")).await.ok(200);
        assert_eq!(listed["data"].as_array().expect("rows").len(), 2);
        // Events tell what happened, never a token.
        let events = server.get("/v1/events").await;
        assert!(!events.text.contains("tok-1") && events.text.contains("payment_method.added"));
    }

    async fn methods_refuse_what_their_gateway_would(server: &TestServer) {
        let clock = server.clock("2026-01-31T10:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        server.refuses("POST", OF_ADA, &[
            (json!({}), &["gateway", "kind"]),
            (json!({"gateway": "nowhere", "kind": "vault_token", "customer_token": "t"}), &["gateway"]),
            (json!({"gateway": "fluid", "kind": "prior_transaction", "transaction_id": "t"}), &["kind"]),
            (json!({"gateway": "fluid", "kind": "vault_token"}), &["customer_token"]),
            (json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "t", "transaction_id": "t"}), &["transaction_id"]),
            (json!({"gateway": "paylike", "kind": "prior_transaction", "customer_token": "t"}), &["customer_token", "transaction_id"]),
            (json!({"gateway": "real", "kind": "vault_token", "customer_token": "t"}), &["gateway"]),
            (json!({"gateway": "fluid", "kind": "payment_request", "channels": ["EMAIL", "FAX"]}), &["kind", "channels[0]", "channels[1]"]),
            (json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "4111 1111 1111 1111"}), &["customer_token"]),
            (json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "t", "number": "4111111111111111"}), &["number", "number"]),
            (json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "t", "expires": "03/27", "last_four": "42"}), &["expires", "last_four"]),
            (json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "t", "expires": "2027-13"}), &["expires"]),
        ]).await;
        let method = server.made(OF_ADA, json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "t"})).await;
        server.refuses("PATCH", &format!("/v1/payment-methods/{}", method["id"].as_str().expect("id")), &[
            (json!({"default": false}), &["default"]),
            (json!({"customer_token": "other"}), &["customer_token"]),
            (json!({"expires": "soon"}), &["expires"]),
        ]).await;
        // A customer of the wall clock may.
        server.made("/v1/customers", json!({"name": "Bob", "reference": "bob"})).await;
        server.made("/v1/customers/bob/payment-methods", json!({"gateway": "real", "kind": "vault_token", "customer_token": "t"})).await;
    }

    async fn a_method_that_a_subscription_names_is_not_removed(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
        server.made("/v1/customers", json!({"name": "Bob", "reference": "bob"})).await;
        let method = server.made(OF_ADA, json!({"gateway": "fluid", "kind": "vault_token", "customer_token": "t"})).await;
        let body = |customer: &str| json!({"customer": {"id": customer}, "amount": 1, "billing_frequency": "monthly", "payment_method_id": method["id"]});
        server.refuses("POST", "/v1/subscriptions", &[(body("bob"), &["payment_method_id"])]).await;
        let subscription = server.made("/v1/subscriptions", body("ada")).await;
        let path = format!("/v1/payment-methods/{}", method["id"].as_str().expect("id"));
        server.delete(&path).await.problem(409);
        let of = format!("/v1/subscriptions/{}", subscription["id"].as_str().expect("id"));
        assert_eq!(server.patch(&of, json!({"payment_method_id": null})).await.ok(200)["payment_method_id"], Value::Null);
        assert_eq!(server.delete(&path).await.status, 204);
        server.delete(&path).await.problem(404);
    }
}
