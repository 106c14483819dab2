//! The same POST twice is one POST, for a day, whatever happened in between.

use chrono::TimeDelta;
use futures_util::future::join_all;
use rebilld::{
    billing::{idempotency, jobs::housekeeping},
    domain::id::ApiKeyId,
};
use serde_json::{Value, json};

use super::{TestServer, on_both};

fn clock(name: &str) -> Value {
    json!({"name": name, "now": "2026-01-01T00:00:00Z"})
}

async fn clocks(server: &TestServer) -> usize {
    server.get("/v1/clocks").await.ok(200)["data"].as_array().expect("data").len()
}

async fn admin_id(server: &TestServer) -> ApiKeyId {
    let list = server.get("/v1/api-keys").await.ok(200);
    let key = list["data"].as_array().expect("data").iter().find(|key| key["name"] == "bootstrap").expect("there").clone();
    key["id"].as_str().expect("id").parse().expect("id")
}

on_both! {
    async fn a_repeat_gets_the_first_answer_and_does_nothing(server: &TestServer) {
        let first = server.post_with_key("/v1/clocks", "k1", clock("a")).await;
        let again = server.post_with_key("/v1/clocks", "k1", clock("a")).await;
        assert_eq!((again.status, again.json(), again.header("content-type")), (201, first.ok(201), "application/json"));
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
        // A refusal is an answer, too.
        let first = server.post_with_key("/v1/clocks", "k2", json!({})).await;
        let again = server.post_with_key("/v1/clocks", "k2", json!({})).await;
        assert_eq!((first.faults(), again.header("idempotent-replayed")), (again.faults(), "true"));
        assert_eq!(clocks(server).await, 1);
    }

    async fn another_request_under_the_same_key_is_409(server: &TestServer) {
        server.post_with_key("/v1/clocks", "k", clock("a")).await.ok(201);
        server.post_with_key("/v1/clocks", "k", clock("b")).await.problem(409);
        server.post_with_key("/v1/api-keys", "k", json!({"name": "x", "scope": "read"})).await.problem(409);
        // Keys belong to whoever asks.
        let other = server.send("POST", "/v1/clocks", &server.write, &[("idempotency-key", "k")], Some(clock("b").to_string().into_bytes())).await;
        other.ok(201);
        assert_eq!(clocks(server).await, 2);
        for bad in ["", "   ", &"x".repeat(256)] {
            assert_eq!(server.post_with_key("/v1/clocks", bad, clock("a")).await.faults(), ["Idempotency-Key"]);
        }
        server.post_with_key("/v1/clocks", &"x".repeat(255), clock("a")).await.ok(201);
    }

    async fn many_at_once_do_it_once(server: &TestServer) {
        let answers = join_all((0..20).map(|_| server.post_with_key("/v1/clocks", "k", clock("a")))).await;
        for answer in &answers {
            assert!([201, 409].contains(&answer.status), "{answer:?}");
        }
        assert!(answers.iter().any(|answer| answer.status == 201));
        assert_eq!(clocks(server).await, 1);
    }

    async fn what_a_crash_cut_off_is_not_repeated_blindly(server: &TestServer) {
        let owner = admin_id(server).await;
        let first = server.post_with_key("/v1/clocks", "seen", clock("a")).await.ok(201);
        assert_eq!(first["name"], "a");
        // What a daemon leaves that dies between the beginning and the answer: the digest is of this very request.
        let mut tx = server.app.db.begin().await.expect("tx");
        tx.query("update idempotency_keys set status = null, body = null where api_key_id = $1").bind(owner).run().await.expect("cut off");
        tx.commit().await.expect("committed");
        let refused = server.post_with_key("/v1/clocks", "seen", clock("a")).await.problem(409);
        assert!(refused["detail"].as_str().expect("detail").contains("did not finish"), "{refused}");
        assert_eq!(clocks(server).await, 1);
    }

    async fn a_key_whose_request_failed_here_is_free_again(server: &TestServer) {
        let owner = admin_id(server).await;
        assert_eq!(idempotency::begin(&server.app, owner, "k", "digest").await.expect("begun"), idempotency::Begun::First);
        assert_eq!(idempotency::begin(&server.app, owner, "k", "digest").await.expect("begun"), idempotency::Begun::Unfinished);
        idempotency::free(&server.app, owner, "k").await.expect("freed");
        assert_eq!(idempotency::begin(&server.app, owner, "k", "other").await.expect("begun"), idempotency::Begun::First);
    }

    async fn a_day_later_the_key_is_new_and_housekeeping_removes_it(server: &TestServer) {
        server.post_with_key("/v1/clocks", "k", clock("a")).await.ok(201);
        server.post_with_key("/v1/clocks", "l", clock("l")).await.ok(201);
        server.wall.set(server.wall.now() + TimeDelta::hours(23));
        server.post_with_key("/v1/clocks", "k", clock("b")).await.problem(409);
        assert_eq!(housekeeping::housekeeping(&server.app).await.expect("kept").idempotency_keys, 0);
        server.wall.set(server.wall.now() + TimeDelta::hours(1));
        server.post_with_key("/v1/clocks", "k", clock("b")).await.ok(201);
        assert_eq!(housekeeping::housekeeping(&server.app).await.expect("removed").idempotency_keys, 1);
        assert_eq!(clocks(server).await, 3);
    }
}
