//! Lists: newest first, page by page in both directions, nothing twice and nothing left out.

use serde_json::Value;

use super::{TestServer, bad_input::stage::Stage, on_both};

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().expect("data").iter().map(|row| row["id"].as_str().expect("id").to_owned()).collect()
}

async fn seven(server: &TestServer) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..7 {
        made.insert(0, server.clock("2026-01-01T00:00:00Z").await);
    }
    made
}

on_both! {
    async fn pages_go_back_and_forth(server: &TestServer) {
        let all = seven(server).await;
        let list = server.get("/v1/clocks").await.ok(200);
        assert_eq!((ids(&list), &list["has_more"]), (all.clone(), &false.into()));

        let mut seen = Vec::new();
        let mut path = "/v1/clocks?limit=3".to_owned();
        loop {
            let list = server.get(&path).await.ok(200);
            seen.extend(ids(&list));
            if list["has_more"] == false {
                break;
            }
            path = format!("/v1/clocks?limit=3&before={}", seen.last().expect("rows"));
        }
        assert_eq!(seen, all);

        // Newer than the oldest: the three next to it, still newest first.
        let list = server.get(&format!("/v1/clocks?limit=3&after={}", all[6])).await.ok(200);
        assert_eq!((ids(&list), &list["has_more"]), (all[3..6].to_vec(), &true.into()));
        let list = server.get(&format!("/v1/clocks?limit=3&after={}", all[3])).await.ok(200);
        assert_eq!((ids(&list), &list["has_more"]), (all[0..3].to_vec(), &false.into()));
        // A full page at the end promises nothing.
        let list = server.get("/v1/clocks?limit=7").await.ok(200);
        assert_eq!((ids(&list).len(), &list["has_more"]), (7, &false.into()));
        // The row of a cursor may be gone meanwhile.
        server.delete(&format!("/v1/clocks/{}", all[2])).await;
        let list = server.get(&format!("/v1/clocks?limit=2&before={}", all[2])).await.ok(200);
        assert_eq!(ids(&list), all[3..5]);
    }

    async fn what_an_operator_holds_in_hand_is_found(server: &TestServer) {
        let stage = Stage::set(server).await;
        let invoice = server.get(&format!("/v1/invoices/{}", stage.names["inv_paid"])).await.ok(200);
        let number = invoice["number"].as_str().expect("a number");
        assert_eq!(ids(&server.get(&format!("/v1/invoices?number={number}")).await.ok(200)), [stage.names["inv_paid"].clone()]);
        let mut tx = server.app.db.begin().await.expect("tx");
        let named = "update payments set transaction_id = 'Tx-7' where id = $1";
        tx.query(named).bind(stage.names["pay_done"].clone()).run().await.expect("named");
        tx.commit().await.expect("commit");
        let payments = server.get("/v1/payments").await.ok(200);
        assert!(ids(&payments).len() > 1, "{payments}");
        assert_eq!(ids(&server.get("/v1/payments?transaction_id=Tx-7").await.ok(200)), [stage.names["pay_done"].clone()]);
        for nothing in ["payments?transaction_id=tx-7", "payments?transaction_id=Tx-7&status=parked", "invoices?number=none"] {
            assert_eq!(server.get(&format!("/v1/{nothing}")).await.ok(200)["data"], serde_json::json!([]), "{nothing}");
        }
        for empty in ["payments?transaction_id=", "invoices?number="] {
            server.get(&format!("/v1/{empty}")).await.problem(422);
        }
    }

    async fn filters_combine_with_pages(server: &TestServer) {
        let all = seven(server).await;
        let events = server.get("/v1/events?type=clock.created&limit=4").await.ok(200);
        assert_eq!((ids(&events).len(), &events["has_more"]), (4, &true.into()));
        let rest = server.get(&format!("/v1/events?type=clock.created&limit=4&before={}", ids(&events)[3])).await.ok(200);
        assert_eq!((ids(&rest).len(), &rest["has_more"]), (3, &false.into()));
        let one = server.get(&format!("/v1/events?type=clock.created&subject={}", all[0])).await.ok(200);
        assert_eq!(one["data"][0]["subject"], all[0].as_str());
        assert_eq!(ids(&one).len(), 1);
        let none = server.get(&format!("/v1/events?type=clock.deleted&subject={}", all[0])).await.ok(200);
        assert_eq!(none["data"], serde_json::json!([]));
        // A value is bound, never put into the statement.
        assert_eq!(server.get("/v1/events?subject=x'%20or%20'1'='1").await.ok(200)["data"], serde_json::json!([]));
    }
}
