//! `/v1/gateways`: what an operator sees of a gateway and does about it, and what nobody sees.

use rebilld::{
    domain::{breaker::CallResult, clock::Timeline, id::Payment},
    store,
};
use serde_json::json;

use super::{TestServer, on_both};

on_both! {
    async fn every_gateway_is_shown_without_key_or_address(server: &TestServer) {
        let list = server.get("/v1/gateways").await;
        for secret in ["127.0.0.1", "\"none\"", "merchant_id", "api_key", "base_url"] {
            assert!(!list.text.contains(secret), "{secret}: {list:?}");
        }
        let list = list.ok(200);
        let names: Vec<&str> = list["data"].as_array().expect("data").iter().map(|gateway| gateway["name"].as_str().expect("name")).collect();
        assert_eq!(names, ["fluid", "paylike", "paysley", "real"]);
        assert_eq!(
            server.get("/v1/gateways/real").await.ok(200),
            json!({
                "name": "real", "kind": "fluidpay", "mode": "live", "live": true, "in_flight": 0, "max_in_flight": 1, "state": "closed",
                "since": null, "until": null, "reason": null, "consecutive_faults": 0, "paused": null,
            })
        );
        server.get("/v1/gateways/nope").await.problem(404);
        server.post("/v1/gateways/nope/pause", json!({})).await.problem(404);
        server.post("/v1/gateways/nope/resume", json!({})).await.problem(404);
    }

    async fn an_open_circuit_is_shown_measured_and_named(server: &TestServer) {
        let health = server.app.gateways.health("fluid").expect("configured");
        let fault = CallResult::Fault { message: "status 503".into(), retry_after: None };
        for _ in 0..5 {
            health.note(Timeline::Wall, server.wall.now(), &[], server.app.id::<Payment>().into(), &fault);
        }
        let shown = server.get("/v1/gateways/fluid").await.ok(200);
        assert_eq!((&shown["state"], &shown["reason"], &shown["consecutive_faults"]), (&json!("open"), &json!("status 503"), &json!(5)));
        assert_eq!((&shown["since"], &shown["until"]), (&json!("2026-06-01T12:00:00Z"), &json!("2026-06-01T12:00:30Z")));
        let billing = server.get("/v1/health/billing").await.ok(200);
        let check = billing["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "gateways_paused").expect("a line").clone();
        assert_eq!((&check["ok"], &check["count"]), (&json!(false), &json!(1)));
        assert!(check["detail"].as_str().is_some_and(|detail| detail.ends_with(": fluid")), "{check}");
        server.wall.set("2026-06-01T12:00:30Z".parse().expect("instant"));
        assert_eq!(server.get("/v1/gateways/fluid").await.ok(200)["state"], "half_open");
    }

    async fn a_refused_account_is_shown_measured_and_resumed(server: &TestServer) {
        let refused = store::gateways::GatewayRefusal {
            gateway: "fluid".into(),
            reason: "unauthorized (http_401)".into(),
            key_digest: "of another".into(),
            probes: 0,
            refused_at: server.wall.now(),
            next_probe_at: "2026-06-01T12:01:00Z".parse().expect("instant"),
        };
        let mut tx = server.app.db.begin().await.expect("tx");
        store::gateways::refuse(&mut tx, refused).await.expect("refused");
        tx.commit().await.expect("commit");
        let shown = server.get("/v1/gateways/fluid").await.ok(200);
        assert_eq!((&shown["state"], &shown["reason"], &shown["paused"]), (&json!("refused"), &json!("unauthorized (http_401)"), &json!(null)));
        assert_eq!((&shown["since"], &shown["until"]), (&json!("2026-06-01T12:00:00Z"), &json!("2026-06-01T12:01:00Z")));
        server.measures("rebilld_gateway_state{gateway=\"fluid\"} 4").await;
        let billing = server.get("/v1/health/billing").await.ok(200);
        let check = billing["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "gateways_refused").expect("a line").clone();
        assert!(check["ok"] == false && check["detail"].as_str().is_some_and(|detail| detail.ends_with(": fluid (unauthorized (http_401))")), "{check}");
        let resumed = server.post("/v1/gateways/fluid/resume", json!({})).await.ok(200);
        assert_eq!((&resumed["state"], &resumed["reason"]), (&json!("closed"), &json!(null)));
        server.post("/v1/gateways/fluid/resume", json!({})).await.problem(409);
        let told = server.get("/v1/events?subject=fluid").await.ok(200);
        assert_eq!((&told["data"][0]["type"], &told["data"][0]["data"]["ended_by"]), (&json!("gateway.resumed"), &json!("operator")));
    }

    async fn a_pause_is_recorded_with_who_and_why(server: &TestServer) {
        server.post("/v1/gateways/fluid/resume", json!({})).await.problem(409);
        let paused = server.send("POST", "/v1/gateways/fluid/pause", &server.write, &[], Some(br#"{"reason": "they move house"}"#.to_vec())).await.ok(200);
        assert_eq!((&paused["paused"]["reason"], &paused["paused"]["paused_at"]), (&json!("they move house"), &json!("2026-06-01T12:00:00Z")));
        let actor = paused["paused"]["actor"].as_str().expect("an actor").to_owned();
        assert!(actor.starts_with("key_"), "{actor}");
        server.post("/v1/gateways/fluid/pause", json!({})).await.problem(409);
        let metrics = server.get("/metrics").await;
        assert!(metrics.text.contains("rebilld_gateway_state{gateway=\"fluid\"}") && metrics.text.contains("rebilld_gateway_in_flight{gateway=\"fluid\"} 0"), "{}", metrics.text);
        rebilld::billing::invariants::watch(&server.app).await.expect("watched");
        server.measures("rebilld_invariant_violations{invariant=\"gateways_paused\"} 1").await;
        let resumed = server.post("/v1/gateways/fluid/resume", json!({})).await.ok(200);
        assert_eq!(resumed["paused"], json!(null));
        let events = server.get("/v1/events?subject=fluid").await.ok(200);
        let told: Vec<(&str, &str)> = events["data"].as_array().expect("data").iter().map(|event| (event["type"].as_str().expect("type"), event["actor"].as_str().expect("actor"))).collect();
        assert_eq!((told[0].0, told[1]), ("gateway.resumed", ("gateway.paused", actor.as_str())));
    }
}
