//! Bad input is named field by field, changes nothing, and is never repeated.

mod queries;
pub mod stage;
mod states;
mod sweep;
mod wrong;

use serde_json::{Value, json};

use super::{TestServer, on_both};

on_both! {
    async fn only_what_is_not_json_is_400(server: &TestServer) {
        for bad in [&b""[..], b"  ", b"{", b"{\"name\": \"\xff\"}", b"name=x", b"{\"name\":\"a\",\"name\":\"b\"}"] {
            server.send("POST", "/v1/clocks", &server.admin, &[], Some(bad.to_vec())).await.problem(400);
        }
        for not_an_object in [json!([]), json!(1), json!(null), json!("x")] {
            assert_eq!(server.post("/v1/clocks", not_an_object).await.faults(), [""]);
        }
        assert_eq!(server.get("/v1/clocks").await.ok(200)["data"], json!([]));
    }

    async fn all_faults_are_named_at_once(server: &TestServer) {
        let body = json!({"name": 7, "now": "yesterday", "nmae": "x"});
        assert_eq!(server.post("/v1/clocks", body).await.faults(), ["nmae", "name", "now"]);
        assert_eq!(server.post("/v1/clocks", json!({})).await.faults(), ["name", "now"]);
        for (field, value) in [
            ("name", json!("x".repeat(201))),
            ("name", json!("   ")),
            ("name", json!(null)),
            ("name", json!("a\u{0}b")),
            ("now", json!("2026-13-01T00:00:00Z")),
            ("now", json!("2026-01-01")),
            ("now", json!("99999-01-01T00:00:00Z")),
            ("now", json!(1_700_000_000)),
        ] {
            let mut body = json!({"name": "x", "now": "2026-01-01T00:00:00Z"});
            body[field] = value;
            assert_eq!(server.post("/v1/clocks", body.clone()).await.faults(), [field], "{body}");
        }
        assert_eq!(server.post("/v1/api-keys", json!({"name": "x", "scope": "root"})).await.faults(), ["scope"]);
        assert_eq!(server.get("/v1/clocks").await.ok(200)["data"], json!([]));
    }

    async fn a_card_number_is_refused_everywhere_and_never_repeated(server: &TestServer) {
        let bodies = [
            json!({"name": "4111111111111111", "now": "2026-01-01T00:00:00Z"}),
            json!({"name": "4111 1111 1111 1111", "now": "2026-01-01T00:00:00Z"}),
            json!({"name": 4_111_111_111_111_111_i64, "now": "2026-01-01T00:00:00Z"}),
            json!({"name": "x", "now": "2026-01-01T00:00:00Z", "4111111111111111": 1}),
            json!({"name": "x", "now": "2026-01-01T00:00:00Z", "card": {"number": ["4111-1111-1111-1111"]}}),
        ];
        for body in bodies {
            let refused = server.post("/v1/clocks", body.clone()).await;
            refused.problem(422);
            assert!(refused.text.contains("card number") && !refused.text.contains("4111"), "{refused:?}");
        }
        let refused = server.get("/v1/events?subject=4111111111111111").await;
        assert!(refused.faults().contains(&"subject".to_owned()) && !refused.text.contains("4111"), "{refused:?}");
        let refused = server.post_with_key("/v1/clocks", "4111111111111111", json!({"name": "x", "now": "2026-01-01T00:00:00Z"})).await;
        assert!(refused.faults() == ["Idempotency-Key"] && !refused.text.contains("4111"), "{refused:?}");
    }

    async fn a_query_that_nobody_reads_is_refused(server: &TestServer) {
        let clock = server.clock("2026-01-01T00:00:00Z").await;
        for (path, field) in [
            ("/v1/clocks?limit=0", "limit"),
            ("/v1/clocks?limit=251", "limit"),
            ("/v1/clocks?limit=ten", "limit"),
            ("/v1/clocks?limit=", "limit"),
            ("/v1/clocks?limit=1&limit=2", "limit"),
            ("/v1/clocks?before=x", "before"),
            ("/v1/clocks?before=", "before"),
            ("/v1/clocks?after=evt_01h455vb4pex5vsknk084sn02q", "after"),
            ("/v1/clocks?offset=5", "offset"),
            ("/v1/events?typ=x", "typ"),
            ("/v1/runs?jobs=x", "jobs"),
            ("/v1/jobs?x=1", "x"),
            ("/v1/health/billing?x=1", "x"),
            (&format!("/v1/clocks/{clock}?x=1"), "x"),
        ] {
            assert_eq!(server.get(path).await.faults(), [field], "{path}");
        }
        let both = format!("/v1/clocks?before={clock}&after={clock}");
        assert_eq!(server.get(&both).await.faults(), ["after"]);
        let wait = format!("/v1/clocks/{clock}/advance?wait=maybe");
        assert_eq!(server.post(&wait, json!({"by": "1d"})).await.faults(), ["wait"]);
        assert_eq!(server.post("/v1/clocks?dry_run=true", json!({"name": "x", "now": "2026-01-01T00:00:00Z"})).await.faults(), ["dry_run"]);
    }

    async fn any_content_type_will_do(server: &TestServer) {
        for kind in ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"] {
            let body = json!({"name": kind, "now": "2026-01-01T00:00:00+02:00"}).to_string().into_bytes();
            let made = server.send("POST", "/v1/clocks", &server.admin, &[("content-type", kind)], Some(body)).await.ok(201);
            assert_eq!(made["now"], "2025-12-31T22:00:00Z");
        }
    }

    async fn a_body_over_a_mebibyte_is_413(server: &TestServer) {
        let body: Value = json!({"name": "x".repeat(1_100_000), "now": "2026-01-01T00:00:00Z"});
        server.post("/v1/clocks", body.clone()).await.problem(413);
        server.post_with_key("/v1/clocks", "big", body).await.problem(413);
    }
}
