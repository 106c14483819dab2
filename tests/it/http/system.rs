//! Liveness, metrics, the description of the API, jobs and the invariants; and the shape of answers that no endpoint made.

use std::{fs, path::Path};

use rebilld::{
    billing,
    http::auth::{ADMIN_ONLY, READ_ONLY},
    jobs,
};
use serde_json::{Map, json};

use super::{TestServer, on_both};

on_both! {
    async fn no_key_is_needed_for_what_shows_nothing(server: &TestServer) {
        for path in ["/healthz", "/readyz"] {
            server.send("GET", path, "", &[], None).await.ok(200);
        }
        let metrics = server.send("GET", "/metrics", "", &[], None).await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.header("content-type").starts_with("text/plain"));
        for gauge in ["rebilld_invoices_open", "rebilld_payments_unknown", "rebilld_payments_parked", "rebilld_subscriptions_parked"] {
            assert!(metrics.text.contains(gauge), "no {gauge}");
        }
    }

    async fn answers_that_no_endpoint_made_are_problems_too(server: &TestServer) {
        server.get("/nowhere").await.problem(404);
        server.get("/v1/nowhere").await.problem(404);
        let refused = server.send("PUT", "/v1/clocks", &server.admin, &[], None).await;
        refused.problem(405);
        let allow = refused.header("allow");
        assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
        let given = server.send("GET", "/v1/nowhere", "", &[("x-request-id", "mine-1")], None).await;
        assert_eq!(given.header("x-request-id"), "mine-1");
        let own = server.send("GET", "/healthz", "", &[("x-request-id", "no blanks")], None).await;
        assert!(own.header("x-request-id").starts_with("req_"), "{own:?}");
    }

    async fn a_database_that_is_gone_is_503_and_shows_nothing(server: &TestServer) {
        server.app.db.close().await;
        let refused = server.send("GET", "/readyz", "", &[], None).await;
        refused.problem(503);
        let refused = server.get("/v1/clocks").await;
        assert!([500, 503].contains(&refused.status), "{refused:?}");
        let problem = refused.problem(refused.status);
        assert_eq!(problem["request_id"], refused.header("x-request-id"));
        assert!(!refused.text.contains("select") && !refused.text.contains("pool"), "{refused:?}");
        server.send("GET", "/healthz", "", &[], None).await.ok(200);
        assert_eq!(server.send("GET", "/metrics", "", &[], None).await.status, 200);
    }

    async fn every_job_is_listed_and_its_runs_are_kept(server: &TestServer) {
        let list = server.get("/v1/jobs").await.ok(200);
        let names: Vec<&str> = list["data"].as_array().expect("data").iter().map(|job| job["name"].as_str().expect("name")).collect();
        assert_eq!(names, jobs::JOBS.iter().map(|job| job.name).collect::<Vec<_>>());
        server.post("/v1/jobs/nonsense/run", json!({})).await.problem(404);
        let counts = Map::from_iter([("cycles_opened".to_owned(), json!(2))]);
        billing::jobs::runs::record(&server.app, "bill_run", server.wall.now(), Ok(counts)).await.expect("kept");
        billing::jobs::runs::record(&server.app, "collection", server.wall.now(), Err("no gateway".into())).await.expect("kept");
        let runs = server.get("/v1/runs?job=bill_run").await.ok(200);
        assert_eq!((runs["data"].as_array().expect("data").len(), &runs["data"][0]["counts"]), (1, &json!({"cycles_opened": 2})));
        assert_eq!(server.get("/v1/runs").await.ok(200)["data"][0]["error"], "no gateway");
        let list = server.get("/v1/jobs").await.ok(200);
        assert_eq!(list["data"][0]["last_run"]["result"], "ok");
    }

    async fn a_job_that_is_asked_for_runs_and_answers(server: &TestServer) {
        // Stands in for the daemon's own task.
        let app = server.app.clone();
        let answering = tokio::spawn(async move {
            app.wakeups.housekeeping.notified().await;
            assert!(app.requested_runs.contains("housekeeping"));
            billing::jobs::runs::record(&app, "housekeeping", app.clock.now(), Ok(Map::new())).await.expect("kept");
        });
        let run = server.send("POST", "/v1/jobs/housekeeping/run", &server.admin, &[], None).await.ok(200);
        assert_eq!((&run["job"], &run["result"]), (&json!("housekeeping"), &json!("ok")));
        answering.await.expect("answered");
    }

    async fn a_sound_database_breaks_no_invariant(server: &TestServer) {
        let health = server.get("/v1/health/billing").await.ok(200);
        assert_eq!(health["ok"], true, "{health}");
        assert!(health["checks"].as_array().expect("checks").len() >= 8);
        for check in health["checks"].as_array().expect("checks") {
            assert_eq!((&check["ok"], &check["count"]), (&json!(true), &json!(0)), "{check}");
        }
        assert_eq!(health["parked"], json!({"subscriptions": [], "invoices": [], "payments": [], "refunds": [], "payment_requests": []}));
    }
}

/// Files of the endpoint that route past the description.
fn routed_past_the_description(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(routed_past_the_description(&path));
        } else if [".route(", ".route_service(", ".nest(", ".nest_service("]
            .iter()
            .any(|call| fs::read_to_string(&path).expect("text").contains(call))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Every described operation, as (method, path with its parameters filled in, path).
fn operations(openapi: &serde_json::Value) -> Vec<(String, String, String)> {
    let paths = openapi["paths"].as_object().expect("paths");
    let filled = |path: &str| path.replace("{id}", "x").replace("{name}", "x").replace("{number}", "1");
    let of = |(path, item): (&String, &serde_json::Value)| {
        let methods: Vec<String> = item.as_object().expect("item").keys().map(|method| method.to_uppercase()).collect();
        methods.into_iter().map(|method| (method, filled(path), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

async fn described(server: &TestServer) -> serde_json::Value {
    server.send("GET", "/openapi.json", "", &[], None).await.ok(200)
}

on_both! {
    async fn every_route_is_described_and_every_description_answers(server: &TestServer) {
        let openapi = described(server).await;
        assert_eq!(openapi["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
        // `routes!` routes and describes in one; anything else would be missing here. A handler in neither is dead code.
        let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/api");
        assert_eq!(routed_past_the_description(&api), Vec::<String>::new());
        let operations = operations(&openapi);
        assert!(operations.len() >= 15, "{operations:?}");
        for (method, filled, path) in &operations {
            assert!(openapi["paths"][path][method.to_lowercase()]["responses"]["default"].is_object(), "{method} {path}");
            let answer = server.send(method, filled, "", &[], None).await;
            let expected = if path.starts_with("/v1/") { 401 } else { 200 };
            assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
        }
    }

    async fn no_change_is_open_to_a_key_that_may_only_read(server: &TestServer) {
        for (method, filled, path) in operations(&described(server).await) {
            let stores_nothing = READ_ONLY.iter().any(|(known, route)| known.as_str() == method && *route == path);
            if path.starts_with("/v1/") && method != "GET" {
                let answer = server.send(&method, &filled, &server.read, &[], None).await;
                assert_eq!(answer.status, if stores_nothing { 400 } else { 403 }, "{method} {path}: {answer:?}");
            }
        }
    }

    async fn no_operation_overlooks_a_misspelt_parameter(server: &TestServer) {
        for (method, filled, path) in operations(&described(server).await) {
            if path.starts_with("/v1/") {
                let refused = server.send(&method, &format!("{filled}?limti=1"), &server.admin, &[], Some(b"{}".to_vec())).await;
                // An id that does not exist may be noticed first.
                assert!(refused.status == 404 || refused.faults().contains(&"limti".to_owned()), "{method} {path}: {refused:?}");
            }
        }
    }

    async fn a_parameter_with_a_default_is_optional_and_says_its_default(server: &TestServer) {
        let openapi = described(server).await;
        for (method, path, name, default) in [
            ("get", "/v1/subscriptions/{id}/schedule", "count", serde_json::json!(12)),
            ("post", "/v1/clocks/{id}/advance", "wait", serde_json::json!(false)),
        ] {
            let parameters = openapi["paths"][path][method]["parameters"].as_array().expect("parameters");
            let parameter = parameters.iter().find(|parameter| parameter["name"] == name).expect("it is described");
            assert_eq!((&parameter["required"], &parameter["schema"]["default"]), (&serde_json::json!(false), &default), "{path} {name}");
        }
    }

    async fn references_lead_somewhere_and_admin_routes_exist(server: &TestServer) {
        let openapi = described(server).await;
        let text = openapi.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(openapi["components"]["schemas"][reference].is_object(), "no schema {reference}");
        }
        for (method, path) in ADMIN_ONLY {
            assert!(openapi["paths"][*path][method.as_str().to_lowercase()].is_object(), "no {method} {path}");
        }
    }
}
