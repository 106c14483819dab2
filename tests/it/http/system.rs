//! Liveness, metrics, the description of the API, jobs and the invariants; and the shape of answers that no endpoint made.

use std::{fs, path::Path};

use rebilld::{billing, http::auth::ADMIN_ONLY, jobs};
use serde_json::{Map, json};

use super::{Door, on_both};

on_both! {
    async fn no_key_is_needed_for_what_shows_nothing(door) {
        for path in ["/healthz", "/readyz"] {
            door.send("GET", path, "", &[], None).await.ok(200);
        }
        let metrics = door.send("GET", "/metrics", "", &[], None).await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.header("content-type").starts_with("text/plain"));
        for gauge in ["rebilld_invoices_open", "rebilld_payments_unknown", "rebilld_payments_parked", "rebilld_subscriptions_parked"] {
            assert!(metrics.text.contains(gauge), "no {gauge}");
        }
    }

    async fn answers_that_no_endpoint_made_are_problems_too(door) {
        door.get("/nowhere").await.problem(404);
        door.get("/v1/nowhere").await.problem(404);
        let refused = door.send("PUT", "/v1/clocks", &door.admin, &[], None).await;
        refused.problem(405);
        let allow = refused.header("allow");
        assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
        let given = door.send("GET", "/v1/nowhere", "", &[("x-request-id", "mine-1")], None).await;
        assert_eq!(given.header("x-request-id"), "mine-1");
        let own = door.send("GET", "/healthz", "", &[("x-request-id", "no blanks")], None).await;
        assert!(own.header("x-request-id").starts_with("req_"), "{own:?}");
    }

    async fn a_database_that_is_gone_is_503_and_shows_nothing(door) {
        door.app.db.close().await;
        let refused = door.send("GET", "/readyz", "", &[], None).await;
        refused.problem(503);
        let refused = door.get("/v1/clocks").await;
        assert!([500, 503].contains(&refused.status), "{refused:?}");
        let problem = refused.problem(refused.status);
        assert_eq!(problem["request_id"], refused.header("x-request-id"));
        assert!(!refused.text.contains("select") && !refused.text.contains("pool"), "{refused:?}");
        door.send("GET", "/healthz", "", &[], None).await.ok(200);
        assert_eq!(door.send("GET", "/metrics", "", &[], None).await.status, 200);
    }

    async fn every_job_is_listed_and_its_runs_are_kept(door) {
        let list = door.get("/v1/jobs").await.ok(200);
        let names: Vec<&str> = list["data"].as_array().expect("data").iter().map(|job| job["name"].as_str().expect("name")).collect();
        assert_eq!(names, jobs::JOBS.iter().map(|job| job.name).collect::<Vec<_>>());
        door.post("/v1/jobs/nonsense/run", json!({})).await.problem(404);
        let counts = Map::from_iter([("cycles_opened".to_owned(), json!(2))]);
        billing::runs::record(&door.app, "bill_run", door.wall.now(), Ok(counts)).await.expect("kept");
        billing::runs::record(&door.app, "collection", door.wall.now(), Err("no gateway".into())).await.expect("kept");
        let runs = door.get("/v1/runs?job=bill_run").await.ok(200);
        assert_eq!((runs["data"].as_array().expect("data").len(), &runs["data"][0]["counts"]), (1, &json!({"cycles_opened": 2})));
        assert_eq!(door.get("/v1/runs").await.ok(200)["data"][0]["error"], "no gateway");
        let list = door.get("/v1/jobs").await.ok(200);
        assert_eq!(list["data"][0]["last_run"]["result"], "ok");
    }

    async fn a_job_that_is_asked_for_runs_and_answers(door) {
        // Stands in for the daemon's own task.
        let app = door.app.clone();
        let answering = tokio::spawn(async move {
            app.bells.housekeeping.notified().await;
            assert!(app.bells.asked.lock().expect("bells").contains("housekeeping"));
            billing::runs::record(&app, "housekeeping", app.clock.now(), Ok(Map::new())).await.expect("kept");
        });
        let run = door.send("POST", "/v1/jobs/housekeeping/run", &door.admin, &[], None).await.ok(200);
        assert_eq!((&run["job"], &run["result"]), (&json!("housekeeping"), &json!("ok")));
        answering.await.expect("answered");
    }

    async fn a_sound_database_breaks_no_invariant(door) {
        let health = door.get("/v1/health/billing").await.ok(200);
        assert_eq!(health["ok"], true, "{health}");
        assert!(health["checks"].as_array().expect("checks").len() >= 8);
        for check in health["checks"].as_array().expect("checks") {
            assert_eq!((&check["ok"], &check["count"]), (&json!(true), &json!(0)), "{check}");
        }
        assert_eq!(health["parked"], json!({"subscriptions": [], "payments": [], "refunds": []}));
    }
}

/// Every route that any file of the endpoint declares, as (method, path).
fn declared() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/api");
    let mut declared = Vec::new();
    let files = fs::read_dir(folder).expect("folder").map(|file| file.expect("file").path());
    for file in files.filter(|file| file.is_file()) {
        let text = fs::read_to_string(file).expect("text");
        for attribute in text.split("#[utoipa::path(").skip(1) {
            let method: String = attribute.trim_start().chars().take_while(char::is_ascii_lowercase).collect();
            let path = attribute.split("path = ").nth(1).expect("a path");
            // In a macro it stands where the macro is used.
            if let Some(path) = path.strip_prefix('"') {
                declared.push((method, path.split('"').next().expect("its end").to_owned()));
            }
        }
        for used in text.split("entry_endpoints!(").skip(1) {
            let quoted: Vec<&str> = used.split('"').skip(1).step_by(2).collect();
            let [_, all, one] = quoted[..] else { continue };
            let routes = [("get", all), ("post", all), ("get", one), ("patch", one), ("delete", one)];
            declared.extend(routes.map(|(method, path)| (method.to_owned(), path.to_owned())));
        }
    }
    declared
}

async fn described(door: &Door) -> serde_json::Value {
    door.send("GET", "/openapi.json", "", &[], None).await.ok(200)
}

on_both! {
    async fn every_route_is_described_and_every_description_answers(door) {
        let openapi = described(door).await;
        assert_eq!(openapi["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
        let declared = declared();
        assert!(declared.len() >= 15, "{declared:?}");
        for (method, path) in &declared {
            let operation = &openapi["paths"][path][method];
            assert!(operation.is_object(), "{method} {path} is declared and not routed");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            let filled = path.replace("{id}", "x").replace("{name}", "x").replace("{number}", "1");
            let answer = door.send(&method.to_uppercase(), &filled, "", &[], None).await;
            let expected: &[u16] = if path.starts_with("/v1/") { &[401] } else { &[200] };
            assert!(expected.contains(&answer.status), "{method} {path}: {answer:?}");
        }
        let described: usize = openapi["paths"].as_object().expect("paths").values().map(|item| item.as_object().expect("item").len()).sum();
        assert_eq!(described, declared.len());
    }

    async fn references_lead_somewhere_and_admin_routes_exist(door) {
        let openapi = described(door).await;
        let text = openapi.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(openapi["components"]["schemas"][reference].is_object(), "no schema {reference}");
        }
        for (method, path) in ADMIN_ONLY {
            // One is a colleague's who has not come yet.
            if *path != "/v1/payments/{id}/resolve" {
                assert!(openapi["paths"][*path][method.as_str().to_lowercase()].is_object(), "no {method} {path}");
            }
        }
    }
}
