//! The schedule of a subscription and the preview of its terms are the same, and storing is no part of it.

use serde_json::{Value, json};

use super::{TestServer, on_both};

on_both! {
    async fn a_preview_is_what_the_subscription_will_do(server: &TestServer) {
        let clock = server.clock("2026-01-01T00:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        server.made("/v1/add-ons", json!({"name": "Extra", "amount": 200, "reference": "extra"})).await;
        let terms = [
            json!({"billing_frequency": "monthly", "billing_days": "31", "amount": 999}),
            json!({"billing_frequency": "twice_monthly", "billing_days": "1,15", "amount": 100, "first_period": "prorated"}),
            json!({"billing_frequency": "daily", "billing_days": "7", "billing_cycle_interval": 2, "amount": 100, "duration": 5}),
            json!({"billing_frequency": "weekly", "billing_days": "1,4", "amount": 100, "first_period": "free", "timezone": "America/New_York"}),
            json!({"billing_frequency": "monthly", "billing_days": "15", "billing_cycle_interval": 3, "amount": 100, "business_day": "modified_following"}),
            json!({"billing_frequency": "yearly", "amount": 100, "ends_on": "2029-06-01", "quantity": 3, "add_ons": [{"id": "extra", "duration": 2}]}),
            json!({"billing_frequency": "one_time", "amount": 100, "description": "Once"}),
        ];
        for terms in terms {
            let mut subscription = terms.clone();
            subscription["customer"] = json!({"id": "ada"});
            subscription["next_bill_date"] = json!("2026-01-17");
            let made = server.made("/v1/subscriptions", subscription).await;
            let mut preview = terms.clone();
            preview["start_date"] = json!("2026-01-17");
            preview["count"] = json!(30);
            let before = server.rows().await;
            let foreseen = server.post("/v1/schedules/preview", preview).await.ok(200);
            assert_eq!(server.rows().await, before, "a preview stored something");
            let schedule = server.get(&format!("/v1/subscriptions/{}/schedule?count=30", made["id"].as_str().expect("id"))).await.ok(200);
            assert_eq!(foreseen, schedule, "{terms}");
            assert_eq!((&schedule["data"][0]["bill_at"], &schedule["data"][0]["amount"]), (&made["next_bill_at"], &made["next_amount"]));
        }
    }

    async fn a_last_day_of_month_never_drifts(server: &TestServer) {
        let body = json!({"start_date": "2027-10-31", "billing_frequency": "monthly", "billing_days": "0", "count": 6, "bill_at": "23:30", "timezone": "Asia/Tokyo"});
        let dates = server.post("/v1/schedules/preview", body).await.ok(200);
        let dates: Vec<&Value> = dates["data"].as_array().expect("cycles").iter().map(|cycle| &cycle["bill_date"]).collect();
        assert_eq!(dates, ["2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31"]);
        let first = server.post("/v1/schedules/preview", json!({"billing_frequency": "daily", "count": 1, "bill_at": "23:30", "start_date": "2026-06-01"})).await.ok(200);
        assert_eq!(first["data"][0]["bill_at"], "2026-06-01T23:30:00Z");
        // Left out: twelve charges from today, by the wall clock.
        let today = server.post("/v1/schedules/preview", json!({"billing_frequency": "monthly"})).await.ok(200);
        assert_eq!((&today["data"][0]["bill_date"], today["data"].as_array().map(Vec::len)), (&json!("2026-06-01"), Some(12)));
    }

    async fn previews_refuse_what_subscribing_would(server: &TestServer) {
        server.refuses("POST", "/v1/schedules/preview", &[
            (json!({}), &["billing_frequency"]),
            (json!({"billing_frequency": "monthly", "count": 0}), &["count"]),
            (json!({"billing_frequency": "monthly", "count": 1001}), &["count"]),
            (json!({"billing_frequency": "monthly", "billing_days": "32"}), &["billing_days"]),
            (json!({"billing_frequency": "monthly", "bill_at": "25:00"}), &["bill_at"]),
            (json!({"billing_frequency": "monthly", "bill_at": "6:00"}), &["bill_at"]),
            (json!({"billing_frequency": "monthly", "start_date": "2026-02-30"}), &["start_date"]),
            (json!({"billing_frequency": "monthly", "start_date": "2026-02-01", "ends_on": "2026-02-01"}), &["ends_on"]),
            (json!({"billing_frequency": "monthly", "add_ons": [{"id": "no"}]}), &["add_ons[0].id"]),
            (json!({"billing_frequency": "monthly", "timezone": "x", "amount": -1}), &["amount", "timezone"]),
        ]).await;
        let clock = server.clock("2026-01-01T00:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        let made = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 1, "billing_frequency": "monthly"})).await;
        let path = format!("/v1/subscriptions/{}/schedule", made["id"].as_str().expect("id"));
        assert_eq!(server.get(&path).await.ok(200)["data"].as_array().map(Vec::len), Some(12));
        for (query, field) in [("count=0", "count"), ("count=1001", "count"), ("count=x", "count"), ("n=1", "n")] {
            assert_eq!(server.get(&format!("{path}?{query}")).await.faults(), [field]);
        }
    }
}
