//! Test clocks over HTTP: forward only, one advance at a time, and waited for if wanted.

use std::time::Duration;

use rebilld::{
    domain::{clock::ClockStatus, id::ClockId},
    jobs, store,
};
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::{TestServer, on_both};

/// What moves clocks in a daemon, in the middle of its work: it takes the clock only when this is called.
async fn arrive(server: &TestServer, id: &str) {
    let id: ClockId = id.parse().expect("id");
    let mut tx = server.app.db.begin().await.expect("tx");
    let mut clock = store::clocks::lock(&mut tx, id).await.expect("read").expect("there");
    clock.now_at = clock.target_at.take().expect("on its way");
    clock.status = ClockStatus::Idle;
    clock.counts.insert("cycles_opened".into(), 3.into());
    store::clocks::save(&mut tx, clock).await.expect("saved");
    tx.commit().await.expect("committed");
}

on_both! {
    async fn an_advance_is_accepted_once_until_it_arrives(server: &TestServer) {
        let id = server.clock("2026-01-31T00:00:00Z").await;
        let path = format!("/v1/clocks/{id}/advance");
        let accepted = server.post(&path, json!({"by": "P1M"})).await.ok(202);
        assert_eq!(
            (&accepted["id"], &accepted["now"], &accepted["status"], &accepted["target"]),
            (&json!(id), &json!("2026-01-31T00:00:00Z"), &json!("advancing"), &json!("2026-02-28T00:00:00Z"))
        );
        server.post(&path, json!({"by": "1d"})).await.problem(409);
        server.delete(&format!("/v1/clocks/{id}")).await.problem(409);
        arrive(server, &id).await;
        let idle = server.get(&format!("/v1/clocks/{id}")).await.ok(200);
        assert_eq!((&idle["now"], &idle["status"], &idle["target"]), (&json!("2026-02-28T00:00:00Z"), &json!("idle"), &json!(null)));
        let again = server.post(&path, json!({"to": "2027-01-01T00:00:00+01:00"})).await.ok(202);
        assert_eq!((&again["target"], &again["counts"]), (&json!("2026-12-31T23:00:00Z"), &json!({})));
    }

    async fn a_clock_moves_only_forward_and_not_too_far(server: &TestServer) {
        let id = server.clock("2026-01-01T00:00:00Z").await;
        let path = format!("/v1/clocks/{id}/advance");
        for (body, field) in [
            (json!({"to": "2026-01-01T00:00:00Z"}), "to"),
            (json!({"to": "2025-01-01T00:00:00Z"}), "to"),
            (json!({"to": "2127-01-01T00:00:00Z"}), "to"),
            (json!({"by": "101y"}), "by"),
            (json!({"by": "-1d"}), "by"),
            (json!({"by": "0d"}), "by"),
            (json!({"by": "soon"}), "by"),
            (json!({"by": "4000000000mo"}), "by"),
            (json!({"by": 30}), "by"),
            (json!({"by": "1d", "to": "2026-02-01T00:00:00Z"}), "by"),
            (json!({}), "to"),
        ] {
            assert_eq!(server.post(&path, body.clone()).await.faults(), [field], "{body}");
        }
        assert_eq!(server.get(&format!("/v1/clocks/{id}")).await.ok(200)["status"], "idle");
        server.post("/v1/clocks/clk_01h455vb4pex5vsknk084sn02q/advance", json!({"by": "1d"})).await.problem(404);
        server.post("/v1/clocks/nonsense/advance", json!({"by": "1d"})).await.problem(404);
    }

    async fn waiting_ends_when_the_clock_arrives(server: &TestServer) {
        let id = server.clock("2026-01-01T00:00:00Z").await;
        let path = format!("/v1/clocks/{id}/advance?wait=true");
        let later = async {
            while server.get(&format!("/v1/clocks/{id}")).await.ok(200)["status"] != "advancing" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            arrive(server, &id).await;
        };
        let (arrived, ()) = tokio::join!(server.post(&path, json!({"by": "30d"})), later);
        let arrived = arrived.ok(200);
        assert_eq!((&arrived["now"], &arrived["status"]), (&json!("2026-01-31T00:00:00Z"), &json!("idle")));
        assert_eq!(arrived["counts"], json!({"cycles_opened": 3}));
    }

    async fn a_clock_really_travels_by_the_jobs(server: &TestServer) {
        let id = server.clock("2026-01-01T00:00:00Z").await;
        let tracker = TaskTracker::new();
        let travelling = tokio::spawn(jobs::advance::run(server.app.clone(), tracker, jobs::pulse::Pulse::new("travel")));
        let arrived = server.post(&format!("/v1/clocks/{id}/advance?wait=true"), json!({"by": "12mo"})).await.ok(200);
        assert_eq!((&arrived["now"], &arrived["status"]), (&json!("2027-01-01T00:00:00Z"), &json!("idle")));
        travelling.abort();
    }

    async fn an_advance_outlives_the_one_who_asked(server: &TestServer) {
        let id = server.clock("2026-01-01T00:00:00Z").await;
        let url = format!("{}/v1/clocks/{id}/advance?wait=true", server.base);
        let impatient = server.client.post(url).bearer_auth(&server.admin).timeout(Duration::from_millis(200)).body(r#"{"by": "1d"}"#);
        assert!(impatient.send().await.expect_err("gave up").is_timeout());
        assert_eq!(server.get(&format!("/v1/clocks/{id}")).await.ok(200)["status"], "advancing");
        arrive(server, &id).await;
    }

    async fn two_advances_at_once_are_one(server: &TestServer) {
        let id = server.clock("2026-01-01T00:00:00Z").await;
        let path = format!("/v1/clocks/{id}/advance");
        let (a, b) = tokio::join!(server.post(&path, json!({"by": "1d"})), server.post(&path, json!({"by": "2d"})));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 409]);
    }

    async fn a_removed_clock_is_gone_and_its_events_stay(server: &TestServer) {
        let id = server.clock("2026-01-01T00:00:00Z").await;
        let gone = server.delete(&format!("/v1/clocks/{id}")).await;
        assert_eq!((gone.status, gone.text.as_str()), (204, ""));
        server.get(&format!("/v1/clocks/{id}")).await.problem(404);
        server.delete(&format!("/v1/clocks/{id}")).await.problem(404);
        let events = server.get(&format!("/v1/events?subject={id}")).await.ok(200);
        assert_eq!((&events["data"][0]["type"], &events["data"][0]["clock_id"]), (&json!("clock.deleted"), &json!(id)));
    }
}
