//! Trials, first periods, ends, durations and initial payments where they meet, as tables worked out by hand: the preview, the
//! subscription's schedule and the invoices.

use serde_json::{Value, json};

use super::{TestServer, on_both};

/// Day of the charge, its period, and its amount.
type Charges = &'static [(&'static str, &'static str, &'static str, i64)];

/// Monthly on the 31st, 31.00, from Thursday 15 January 2026; the stub lies in 31 December to 31 January.
fn terms(more: Value) -> Value {
    let mut terms = json!({"billing_frequency": "monthly", "billing_days": "31", "amount": 3100, "next_bill_date": "2026-01-15"});
    terms.as_object_mut().expect("terms").extend(more.as_object().expect("more").clone());
    terms
}

fn told(data: &Value) -> Vec<(String, String, String, i64)> {
    let text = |value: &Value| value.as_str().expect("a date").to_owned();
    let charge = |charge: &Value| {
        let amount = charge["amount"].as_i64().expect("an amount");
        (text(&charge["bill_date"]), text(&charge["period_start"]), text(&charge["period_end"]), amount)
    };
    data["data"].as_array().expect("charges").iter().map(charge).collect()
}

fn expected(charges: Charges) -> Vec<(String, String, String, i64)> {
    charges.iter().map(|(day, start, end, amount)| ((*day).to_owned(), (*start).to_owned(), (*end).to_owned(), *amount)).collect()
}

async fn ada(server: &TestServer) {
    let clock = server.clock("2026-01-10T12:00:00Z").await;
    server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
}

/// Subscribes; answers the subscription and its next two charges.
async fn subscribed(server: &TestServer, terms: &Value, count: usize) -> (Value, Vec<(String, String, String, i64)>) {
    let mut body = terms.clone();
    body["customer"] = json!({"id": "ada"});
    let made = server.made("/v1/subscriptions", body).await;
    let path = format!("/v1/subscriptions/{}/schedule?count={count}", made["id"].as_str().expect("id"));
    let schedule = told(&server.get(&path).await.ok(200));
    (made, schedule)
}

on_both! {
    async fn first_periods_ends_and_durations_cut_where_they_should(server: &TestServer) {
        ada(server).await;
        let table: &[(Value, Charges)] = &[
            (json!({}), &[("2026-01-15", "2026-01-15", "2026-01-31", 3100), ("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            // 16 of the 31 days.
            (json!({"first_period": "prorated"}), &[("2026-01-15", "2026-01-15", "2026-01-31", 1600), ("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            (json!({"first_period": "free"}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100), ("2026-02-28", "2026-02-28", "2026-03-31", 3100)]),
            // An end within the stub: 10 of 31 days; of a stub paid in full, 10 of its 16 days, 19.375.
            (json!({"first_period": "prorated", "ends_on": "2026-01-25"}), &[("2026-01-15", "2026-01-15", "2026-01-25", 1000)]),
            (json!({"ends_on": "2026-01-25"}), &[("2026-01-15", "2026-01-15", "2026-01-25", 1938)]),
            // Over before the free days are.
            (json!({"first_period": "free", "ends_on": "2026-01-25"}), &[]),
            (json!({"first_period": "free", "ends_on": "2026-01-31"}), &[]),
            (json!({"first_period": "free", "ends_on": "2026-02-01"}), &[("2026-01-31", "2026-01-31", "2026-02-01", 111)]),
            // A stub that is charged counts as one of the charges, free days do not.
            (json!({"duration": 1}), &[("2026-01-15", "2026-01-15", "2026-01-31", 3100)]),
            (json!({"duration": 1, "first_period": "prorated"}), &[("2026-01-15", "2026-01-15", "2026-01-31", 1600)]),
            (json!({"duration": 1, "first_period": "free"}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            // Whichever comes first, the end date or the last charge; on the end date itself nothing is charged.
            (json!({"next_bill_date": "2026-01-31", "duration": 3, "ends_on": "2026-03-15"}),
                &[("2026-01-31", "2026-01-31", "2026-02-28", 3100), ("2026-02-28", "2026-02-28", "2026-03-15", 1500)]),
            (json!({"next_bill_date": "2026-01-31", "duration": 1, "ends_on": "2026-03-15"}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            (json!({"next_bill_date": "2026-01-31", "ends_on": "2026-02-28"}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            // On an anchor there is no stub, whatever is said of it.
            (json!({"next_bill_date": "2026-01-31", "first_period": "prorated", "duration": 1}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            (json!({"next_bill_date": "2026-01-31", "first_period": "free", "duration": 1}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            // Other frequencies: 10 to 15 January is 5 of 14 days; Wednesday to Monday 5 of 7; to the quarter's 15 May 83 of 89.
            (json!({"billing_frequency": "twice_monthly", "billing_days": "1,15", "amount": 1400, "next_bill_date": "2026-01-10", "first_period": "prorated"}),
                &[("2026-01-10", "2026-01-10", "2026-01-15", 500), ("2026-01-15", "2026-01-15", "2026-02-01", 1400)]),
            (json!({"billing_frequency": "weekly", "billing_days": "1", "amount": 700, "next_bill_date": "2026-01-14", "first_period": "prorated"}),
                &[("2026-01-14", "2026-01-14", "2026-01-19", 500), ("2026-01-19", "2026-01-19", "2026-01-26", 700)]),
            (json!({"billing_cycle_interval": 3, "billing_days": "15", "amount": 8900, "next_bill_date": "2026-02-21", "first_period": "prorated"}),
                &[("2026-02-21", "2026-02-21", "2026-05-15", 8300), ("2026-05-15", "2026-05-15", "2026-08-15", 8900)]),
            (json!({"billing_frequency": "yearly", "billing_days": "1", "amount": 36_500, "next_bill_date": "2026-01-11", "first_period": "prorated"}),
                &[("2026-01-11", "2026-01-11", "2027-01-01", 35_500), ("2027-01-01", "2027-01-01", "2028-01-01", 36_500)]),
            (json!({"billing_frequency": "one_time", "billing_days": null, "first_period": "prorated"}), &[("2026-01-15", "2026-01-15", "2026-01-16", 3100)]),
            (json!({"billing_frequency": "daily", "billing_days": "7", "first_period": "free", "duration": 1}), &[("2026-01-15", "2026-01-15", "2026-01-22", 3100)]),
        ];
        for (more, charges) in table {
            let terms = terms(more.clone());
            let mut preview = terms.clone();
            preview["count"] = json!(2);
            let foreseen = told(&server.post("/v1/schedules/preview", preview).await.ok(200));
            assert_eq!(foreseen, expected(charges), "{more}");
            let (made, schedule) = subscribed(server, &terms, 2).await;
            assert_eq!(schedule, expected(charges), "{more}");
            assert_eq!(made["next_bill_date"].as_str(), charges.first().map(|charge| charge.0), "{more}");
        }
    }

    async fn a_trial_puts_the_start_off_and_the_rest_follows_from_there(server: &TestServer) {
        ada(server).await;
        // From 10 January; the first charge is on the day after the trial.
        let table: &[(Value, Charges)] = &[
            (json!({"trial_days": 10}), &[("2026-01-20", "2026-01-20", "2026-01-31", 3100), ("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            // 11 of 31 days.
            (json!({"trial_days": 10, "first_period": "prorated"}), &[("2026-01-20", "2026-01-20", "2026-01-31", 1100), ("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            (json!({"trial_days": 10, "first_period": "free"}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100), ("2026-02-28", "2026-02-28", "2026-03-31", 3100)]),
            (json!({"trial_days": 21, "first_period": "prorated"}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100), ("2026-02-28", "2026-02-28", "2026-03-31", 3100)]),
            // The trial is no charge and no part of what ends.
            (json!({"trial_days": 21, "duration": 1}), &[("2026-01-31", "2026-01-31", "2026-02-28", 3100)]),
            (json!({"trial_days": 10, "ends_on": "2026-01-25", "first_period": "prorated"}), &[("2026-01-20", "2026-01-20", "2026-01-25", 500)]),
            (json!({"trial_days": 10, "billing_days": null}), &[("2026-01-20", "2026-01-20", "2026-02-20", 3100), ("2026-02-20", "2026-02-20", "2026-03-20", 3100)]),
            (json!({"trial_days": 10, "billing_frequency": "one_time", "billing_days": null}), &[("2026-01-20", "2026-01-20", "2026-01-21", 3100)]),
        ];
        for (more, charges) in table {
            let mut terms = terms(more.clone());
            terms.as_object_mut().expect("terms").remove("next_bill_date");
            let (made, schedule) = subscribed(server, &terms, 2).await;
            assert_eq!(schedule, expected(charges), "{more}");
            assert_eq!(made["status"], "trialing", "{more}");
        }
        let ended = json!({"customer": {"id": "ada"}, "amount": 1, "billing_frequency": "monthly", "trial_days": 10, "ends_on": "2026-01-20"});
        server.refuses("POST", "/v1/subscriptions", &[(ended, &["ends_on"])]).await;
    }

    async fn an_initial_payment_neither_moves_nor_counts_as_a_charge(server: &TestServer) {
        ada(server).await;
        let rest = json!({"trial_days": 10, "first_period": "prorated", "duration": 2});
        let mut terms = terms(rest);
        terms.as_object_mut().expect("terms").remove("next_bill_date");
        let (_, without) = subscribed(server, &terms, 5).await;
        assert_eq!(server.invoices().await.len(), 0);
        terms["initial_payment_amount"] = json!(500);
        let (made, with) = subscribed(server, &terms, 5).await;
        assert_eq!(with, without);
        assert_eq!(with, expected(&[("2026-01-20", "2026-01-20", "2026-01-31", 1100), ("2026-01-31", "2026-01-31", "2026-02-28", 3100)]));
        let invoices = server.invoices().await;
        assert_eq!(invoices.iter().map(|invoice| (invoice.cycle, invoice.subtotal)).collect::<Vec<_>>(), [(None, 500)]);
        assert_eq!((&made["status"], &made["cycles_billed"]), (&json!("trialing"), &json!(0)));
    }
}
