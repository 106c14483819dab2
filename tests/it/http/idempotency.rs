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

async fn clocks(door: &TestServer) -> usize {
    door.get("/v1/clocks").await.ok(200)["data"].as_array().expect("data").len()
}

async fn admin_id(door: &TestServer) -> ApiKeyId {
    let list = door.get("/v1/api-keys").await.ok(200);
    let key = list["data"].as_array().expect("data").iter().find(|key| key["name"] == "bootstrap").expect("there").clone();
    key["id"].as_str().expect("id").parse().expect("id")
}

on_both! {
    async fn a_repeat_gets_the_first_answer_and_does_nothing(door: &TestServer) {
        let first = door.post_with_key("/v1/clocks", "k1", clock("a")).await;
        let again = door.post_with_key("/v1/clocks", "k1", clock("a")).await;
        assert_eq!((again.status, again.json(), again.header("content-type")), (201, first.ok(201), "application/json"));
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
        // A refusal is an answer, too.
        let first = door.post_with_key("/v1/clocks", "k2", json!({})).await;
        let again = door.post_with_key("/v1/clocks", "k2", json!({})).await;
        assert_eq!((first.faults(), again.header("idempotent-replayed")), (again.faults(), "true"));
        assert_eq!(clocks(door).await, 1);
    }

    async fn another_request_under_the_same_key_is_409(door: &TestServer) {
        door.post_with_key("/v1/clocks", "k", clock("a")).await.ok(201);
        door.post_with_key("/v1/clocks", "k", clock("b")).await.problem(409);
        door.post_with_key("/v1/api-keys", "k", json!({"name": "x", "scope": "read"})).await.problem(409);
        // Keys belong to whoever asks.
        let other = door.send("POST", "/v1/clocks", &door.write, &[("idempotency-key", "k")], Some(clock("b").to_string().into_bytes())).await;
        other.ok(201);
        assert_eq!(clocks(door).await, 2);
        for bad in ["", "   ", &"x".repeat(256)] {
            assert_eq!(door.post_with_key("/v1/clocks", bad, clock("a")).await.faults(), ["Idempotency-Key"]);
        }
        door.post_with_key("/v1/clocks", &"x".repeat(255), clock("a")).await.ok(201);
    }

    async fn many_at_once_do_it_once(door: &TestServer) {
        let answers = join_all((0..20).map(|_| door.post_with_key("/v1/clocks", "k", clock("a")))).await;
        for answer in &answers {
            assert!([201, 409].contains(&answer.status), "{answer:?}");
        }
        assert!(answers.iter().any(|answer| answer.status == 201));
        assert_eq!(clocks(door).await, 1);
    }

    async fn what_a_crash_cut_off_is_not_repeated_blindly(door: &TestServer) {
        let owner = admin_id(door).await;
        let first = door.post_with_key("/v1/clocks", "seen", clock("a")).await.ok(201);
        assert_eq!(first["name"], "a");
        // What a daemon leaves that dies between the beginning and the answer: the digest is of this very request.
        let mut tx = door.app.db.begin().await.expect("tx");
        tx.query("update idempotency_keys set status = null, body = null where api_key_id = $1").bind(owner).run().await.expect("cut off");
        tx.commit().await.expect("committed");
        let refused = door.post_with_key("/v1/clocks", "seen", clock("a")).await.problem(409);
        assert!(refused["detail"].as_str().expect("detail").contains("did not finish"), "{refused}");
        assert_eq!(clocks(door).await, 1);
    }

    async fn a_key_whose_request_failed_here_is_free_again(door: &TestServer) {
        let owner = admin_id(door).await;
        assert_eq!(idempotency::begin(&door.app, owner, "k", "digest").await.expect("begun"), idempotency::Begun::First);
        assert_eq!(idempotency::begin(&door.app, owner, "k", "digest").await.expect("begun"), idempotency::Begun::Unfinished);
        idempotency::free(&door.app, owner, "k").await.expect("freed");
        assert_eq!(idempotency::begin(&door.app, owner, "k", "other").await.expect("begun"), idempotency::Begun::First);
    }

    async fn a_day_later_the_key_is_new_and_housekeeping_removes_it(door: &TestServer) {
        door.post_with_key("/v1/clocks", "k", clock("a")).await.ok(201);
        door.post_with_key("/v1/clocks", "l", clock("l")).await.ok(201);
        door.wall.set(door.wall.now() + TimeDelta::hours(23));
        door.post_with_key("/v1/clocks", "k", clock("b")).await.problem(409);
        assert_eq!(housekeeping::housekeeping(&door.app).await.expect("kept").idempotency_keys, 0);
        door.wall.set(door.wall.now() + TimeDelta::hours(1));
        door.post_with_key("/v1/clocks", "k", clock("b")).await.ok(201);
        assert_eq!(housekeeping::housekeeping(&door.app).await.expect("removed").idempotency_keys, 1);
        assert_eq!(clocks(door).await, 3);
    }
}
