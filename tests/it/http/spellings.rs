//! The words of two seed gateways for "how often": every documented value of Paysley's, and what each documented pair of
//! `billing_frequency` and `billing_days` means.

use serde_json::{Value, json};

use super::{TestServer, on_both};

/// Paysley's frequencies as its documents spell them, with what they are here, and the first three charges from 31 January 2026.
const PAYSLEY: [(&str, &str, &[&str]); 7] = [
    ("ONE-TIME", "one_time", &["2026-01-31"]),
    // So in its example for PHP.
    ("one-time", "one_time", &["2026-01-31"]),
    ("WEEKLY", "weekly", &["2026-01-31", "2026-02-07", "2026-02-14"]),
    ("MONTHLY", "monthly", &["2026-01-31", "2026-02-28", "2026-03-31"]),
    ("QUARTERLY", "quarterly", &["2026-01-31", "2026-04-30", "2026-07-31"]),
    ("YEARLY", "yearly", &["2026-01-31", "2027-01-31", "2028-01-31"]),
    // Not in its list; the other gateway's word in the same spelling.
    ("TWICE-MONTHLY", "twice_monthly", &["2026-01-31", "2026-02-16", "2026-02-28"]),
];

fn dates(schedule: &Value) -> Vec<&str> {
    schedule["data"].as_array().expect("charges").iter().map(|charge| charge["bill_date"].as_str().expect("a date")).collect()
}

on_both! {
    async fn every_frequency_of_paysleys_is_read_at_every_door(server: &TestServer) {
        let clock = server.clock("2026-01-30T10:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock, "timezone": "Africa/Johannesburg"})).await;
        for (theirs, ours, expected) in PAYSLEY {
            // An instant, as they write it: late in the evening there is the 31st in Johannesburg.
            let start = "2026-01-30T23:59:59.000Z";
            let plan = server.made("/v1/plans", json!({"name": theirs, "amount": 150_012, "payment_frequency": theirs, "total_number_of_payments": 3})).await;
            assert_eq!((&plan["billing_frequency"], &plan["duration"]), (&json!(ours), &json!(3)), "{theirs}");
            let patched = server.patch(&format!("/v1/plans/{}", plan["id"].as_str().expect("id")), json!({"payment_frequency": theirs})).await.ok(200);
            assert_eq!(patched["billing_frequency"], ours);
            let made = server.made("/v1/subscriptions", json!({
                "customer": {"id": "ada"}, "amount": 150_012, "payment_frequency": theirs, "payment_start_date": start,
                "initial_payment_amount": 500, "total_number_of_payments": 3,
            })).await;
            assert_eq!((&made["billing_frequency"], &made["duration"], &made["next_bill_date"]), (&json!(ours), &json!(3), &json!("2026-01-31")));
            let path = format!("/v1/subscriptions/{}/schedule", made["id"].as_str().expect("id"));
            assert_eq!(dates(&server.get(&path).await.ok(200)), expected, "{theirs}");
            let preview = json!({"payment_frequency": theirs, "payment_start_date": start, "total_number_of_payments": 3, "timezone": "Africa/Johannesburg"});
            assert_eq!(dates(&server.post("/v1/schedules/preview", preview).await.ok(200)), expected, "{theirs}");
        }
    }

    async fn what_paysley_leaves_empty_is_left_out(server: &TestServer) {
        let clock = server.clock("2026-01-30T10:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        let empty = json!({"payment_frequency": "ONE-TIME", "payment_start_date": "", "total_number_of_payments": "", "amount": 5});
        let mut body = empty.clone();
        body["customer"] = json!({"id": "ada"});
        let made = server.made("/v1/subscriptions", body).await;
        assert_eq!((&made["next_bill_date"], &made["duration"]), (&json!("2026-01-30"), &json!(0)));
        assert_eq!(dates(&server.post("/v1/schedules/preview", empty).await.ok(200)), ["2026-06-01"]);
        server.refuses("POST", "/v1/subscriptions", &[
            (json!({"customer": {"id": "ada"}, "amount": 5, "payment_frequency": ""}), &["billing_frequency"]),
            // Our own names mean what they say.
            (json!({"customer": {"id": "ada"}, "amount": 5, "billing_frequency": ""}), &["billing_frequency"]),
            (json!({"customer": {"id": "ada"}, "amount": 5, "billing_frequency": "monthly", "next_bill_date": ""}), &["next_bill_date"]),
            (json!({"customer": {"id": "ada"}, "amount": 5, "payment_frequency": "FORTNIGHTLY"}), &["payment_frequency"]),
            (json!({"customer": {"id": "ada"}, "amount": 5, "payment_frequency": "WEEKLY", "payment_start_date": "soon"}), &["payment_start_date"]),
            (json!({"customer": {"id": "ada"}, "amount": 5, "payment_frequency": "WEEKLY", "total_number_of_payments": "3"}), &["total_number_of_payments"]),
        ]).await;
    }

    /// `next_bill_date` is "the next (or first) date to be billed"; the charges after it follow the days.
    async fn each_documented_pair_of_frequency_and_days_means_what_it_says(server: &TestServer) {
        for (frequency, interval, days, charges) in [
            // The chapter's own samples, from its own dates.
            ("twice_monthly", 1, "1,15", ["2017-11-22", "2017-12-01", "2017-12-15", "2018-01-01"]),
            ("twice_monthly", 1, "1,15", ["2019-11-21", "2019-12-01", "2019-12-15", "2020-01-01"]),
            ("daily", 1, "7", ["2019-11-21", "2019-11-28", "2019-12-05", "2019-12-12"]),
            ("daily", 2, "7", ["2019-11-21", "2019-12-05", "2019-12-19", "2020-01-02"]),
            ("monthly", 3, "15", ["2019-11-21", "2020-02-15", "2020-05-15", "2020-08-15"]),
            // The rest of what the two fields can say.
            ("daily", 1, "1", ["2019-11-29", "2019-11-30", "2019-12-01", "2019-12-02"]),
            ("daily", 1, "30", ["2019-11-21", "2019-12-21", "2020-01-20", "2020-02-19"]),
            ("weekly", 1, "1", ["2019-11-21", "2019-11-25", "2019-12-02", "2019-12-09"]),
            ("weekly", 2, "5", ["2019-11-21", "2019-11-22", "2019-12-06", "2019-12-20"]),
            ("twice_monthly", 1, "15,0", ["2020-02-01", "2020-02-15", "2020-02-29", "2020-03-15"]),
            ("twice_monthly", 1, "15,31", ["2021-02-01", "2021-02-15", "2021-02-28", "2021-03-15"]),
            ("monthly", 1, "0", ["2019-11-30", "2019-12-31", "2020-01-31", "2020-02-29"]),
            ("monthly", 1, "31", ["2019-11-30", "2019-12-31", "2020-01-31", "2020-02-29"]),
            ("monthly", 1, "1", ["2019-11-21", "2019-12-01", "2020-01-01", "2020-02-01"]),
            ("monthly", 12, "29", ["2020-02-29", "2021-02-28", "2022-02-28", "2023-02-28"]),
            ("quarterly", 1, "0", ["2019-11-30", "2020-02-29", "2020-05-31", "2020-08-31"]),
            ("yearly", 1, "0", ["2020-02-29", "2021-02-28", "2022-02-28", "2023-02-28"]),
            ("yearly", 1, "15", ["2019-11-21", "2020-11-15", "2021-11-15", "2022-11-15"]),
        ] {
            let body = json!({"next_bill_date": charges[0], "billing_frequency": frequency, "billing_cycle_interval": interval,
                "billing_days": days, "count": 4, "amount": 100});
            assert_eq!(dates(&server.post("/v1/schedules/preview", body).await.ok(200)), charges, "{frequency} {interval} {days}");
        }
    }
}
