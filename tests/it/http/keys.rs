//! Who is let in, how far, and that a key's text is told once.

use rebilld::billing;
use serde_json::json;

use super::{TestServer, on_both};

on_both! {
    async fn nobody_gets_in_without_a_key(server: &TestServer) {
        for key in ["", "rk_unknown"] {
            for path in ["/v1/clocks", "/v1/api-keys", "/v1/health/billing", "/v1/clocks/clk_x"] {
                let refused = server.send("GET", path, key, &[], None).await;
                refused.problem(401);
                assert!(refused.header("www-authenticate").starts_with("Bearer"), "{refused:?}");
            }
            // Before the body is looked at.
            server.send("POST", "/v1/clocks", key, &[], Some(b"{".to_vec())).await.problem(401);
        }
        for scheme in ["Basic abc", "Bearer", "Bearer ", &server.admin] {
            server.send("GET", "/v1/clocks", "", &[("authorization", scheme)], None).await.problem(401);
        }
        let any_case = format!("bearer {}", server.admin);
        server.send("GET", "/v1/clocks", "", &[("authorization", &any_case)], None).await.ok(200);
    }

    async fn a_key_reaches_as_far_as_its_scope(server: &TestServer) {
        let clock = || Some(json!({"name": "c", "now": "2026-01-01T00:00:00Z"}).to_string().into_bytes());
        server.send("GET", "/v1/clocks", &server.read, &[], None).await.ok(200);
        let refused = server.send("POST", "/v1/clocks", &server.read, &[], clock()).await;
        assert!(refused.problem(403)["detail"].as_str().expect("detail").contains("`write`"));
        assert!(refused.header("www-authenticate").contains("scope=\"write\""), "{refused:?}");
        let made = server.send("POST", "/v1/clocks", &server.write, &[], clock()).await.ok(201);
        let path = format!("/v1/clocks/{}", made["id"].as_str().expect("id"));
        for (method, path) in [("DELETE", path.as_str()), ("GET", "/v1/api-keys"), ("POST", "/v1/api-keys"), ("POST", "/v1/jobs/bill_run/run")] {
            let refused = server.send(method, path, &server.write, &[], None).await;
            assert!(refused.problem(403)["detail"].as_str().expect("detail").contains("`admin`"), "{method} {path}");
        }
        assert_eq!(server.delete(&path).await.status, 204);
    }

    async fn a_keys_text_is_told_once_and_a_revoked_key_is_out_at_once(server: &TestServer) {
        let made = server.post("/v1/api-keys", json!({"name": "ci", "scope": "write"})).await.ok(201);
        let (id, text) = (made["id"].as_str().expect("id"), made["key"].as_str().expect("key"));
        assert!(text.starts_with("rk_") && text.len() > 40 && text.ends_with(made["last_four"].as_str().expect("last four")), "{made}");
        server.send("GET", "/v1/clocks", text, &[], None).await.ok(200);
        let list = server.get("/v1/api-keys").await;
        assert!(!list.text.contains(text) && !list.text.contains("digest"), "{list:?}");
        assert_eq!(list.ok(200)["data"][0]["id"], id);
        let events = server.get(&format!("/v1/events?subject={id}")).await;
        assert!(!events.text.contains(text), "{events:?}");
        assert_eq!(events.ok(200)["data"][0]["type"], "api_key.created");
        assert!(events.json()["data"][0]["actor"].as_str().expect("actor").starts_with("key_"));

        assert_eq!(server.delete(&format!("/v1/api-keys/{id}")).await.status, 204);
        server.send("GET", "/v1/clocks", text, &[], None).await.problem(401);
        assert_eq!(server.delete(&format!("/v1/api-keys/{id}")).await.status, 204);
        server.delete("/v1/api-keys/key_01h455vb4pex5vsknk084sn02q").await.problem(404);
        server.delete("/v1/api-keys/nonsense").await.problem(404);
    }

    async fn the_key_of_the_settings_is_there_once_however_often_it_starts(server: &TestServer) {
        billing::api_keys::bootstrap(&server.app).await.expect("again");
        billing::api_keys::bootstrap(&server.app).await.expect("and again");
        let list = server.get("/v1/api-keys").await.ok(200);
        let named: Vec<_> = list["data"].as_array().expect("list").iter().filter(|key| key["name"] == "bootstrap").collect();
        assert_eq!(named.len(), 1, "{list}");
        assert_eq!(named[0]["scope"], "admin");
    }

    async fn a_repeated_creation_never_tells_the_key_again(server: &TestServer) {
        let body = json!({"name": "ci", "scope": "read"});
        let first = server.post_with_key("/v1/api-keys", "make-ci", body.clone()).await.ok(201);
        let again = server.post_with_key("/v1/api-keys", "make-ci", body).await;
        assert_eq!(again.header("idempotent-replayed"), "true");
        let again = again.ok(201);
        assert_eq!(again["id"], first["id"]);
        assert!(first["key"].is_string() && again["key"].is_null(), "{again}");
    }
}
