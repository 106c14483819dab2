//! Subscribing and changing terms over HTTP: what is copied, what is refused, and what is said of the next charge.

use serde_json::{Value, json};

use super::{TestServer, on_both};

const SUBSCRIPTIONS: &str = "/v1/subscriptions";

/// A customer `ada` in Auckland on a clock that stands at noon UTC on 31 January 2026, when it is February there.
async fn ada(server: &TestServer) -> String {
    let clock = server.clock("2026-01-31T12:00:00Z").await;
    server
        .made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock, "timezone": "Pacific/Auckland"}))
        .await;
    clock
}

fn of_ada(terms: Value) -> Value {
    let mut body = json!({"customer": {"id": "ada"}});
    body.as_object_mut().expect("object").extend(terms.as_object().expect("object").clone());
    body
}

fn monthly(terms: Value) -> Value {
    let mut body = of_ada(json!({"amount": 1000, "billing_frequency": "monthly"}));
    body.as_object_mut().expect("object").extend(terms.as_object().expect("object").clone());
    body
}

async fn gold(server: &TestServer) -> Value {
    server.made("/v1/add-ons", json!({"name": "Extra", "amount": 200, "reference": "extra"})).await;
    server.made("/v1/discounts", json!({"name": "Less", "percentage": 10, "reference": "less"})).await;
    server.made("/v1/plans", json!({
        "name": "Gold", "reference": "gold", "amount": 2000, "billing_frequency": "twice_monthly", "billing_days": "1,15", "duration": 24,
        "trial_days": 10, "catch_up": "skip", "while_past_due": "hold", "add_ons": [{"id": "extra"}], "discounts": [{"id": "less"}],
    })).await
}

on_both! {
    async fn a_plan_is_copied_and_overridden(server: &TestServer) {
        ada(server).await;
        let plan = gold(server).await;
        let copied = server.made(SUBSCRIPTIONS, of_ada(json!({"plan_id": "gold"}))).await;
        assert_eq!((&copied["plan_id"], &copied["status"], &copied["description"]), (&plan["id"], &json!("trialing"), &json!("Gold")));
        // Today is 1 February by the customer's clock and zone; six o'clock in Auckland is 17:00 UTC the day before.
        assert_eq!((&copied["next_bill_date"], &copied["next_bill_at"]), (&json!("2026-02-11"), &json!("2026-02-10T17:00:00Z")));
        assert_eq!((&copied["amount"], &copied["duration"], &copied["catch_up"], &copied["while_past_due"]), (&json!(2000), &json!(24), &json!("skip"), &json!("hold")));
        assert_eq!((&copied["total_add_ons"], &copied["total_adds"], &copied["total_discounts"], &copied["next_amount"]), (&json!(200), &json!(200), &json!(200), &json!(2000)));
        assert_eq!((&copied["cycles_billed"], &copied["period"]), (&json!(0), &Value::Null));

        let overridden = server.made(SUBSCRIPTIONS, of_ada(json!({
            "plan_id": plan["id"], "amount": 500, "quantity": 3, "billing_frequency": "monthly", "add_ons": [], "trial_days": 0,
            "discounts": null, "metadata": {"seat": "A"}, "timezone": "UTC",
        }))).await;
        assert_eq!((&overridden["status"], &overridden["next_bill_date"]), (&json!("active"), &json!("2026-01-31")));
        // The plan's days mean nothing to another frequency; an empty list takes the add-ons away, null does not.
        assert_eq!((&overridden["billing_days"], &overridden["add_ons"]), (&Value::Null, &json!([])));
        assert_eq!((&overridden["total_discounts"], &overridden["next_amount"]), (&json!(150), &json!(1350)));

        // The copy is its own: the plan changes and goes, the subscription does not.
        server.patch("/v1/plans/gold", json!({"amount": 1})).await.ok(200);
        server.delete("/v1/plans/gold").await;
        let path = format!("{SUBSCRIPTIONS}/{}", copied["id"].as_str().expect("id"));
        assert_eq!(server.get(&path).await.ok(200), copied);
        assert_eq!(server.get(&format!("{SUBSCRIPTIONS}?status=trialing")).await.ok(200)["data"], json!([copied]));
    }

    async fn paysleys_names_mean_the_same(server: &TestServer) {
        ada(server).await;
        let ours = server.made(SUBSCRIPTIONS, monthly(json!({"next_bill_date": "2026-03-01", "duration": 6}))).await;
        let theirs = server.made(SUBSCRIPTIONS, of_ada(json!({
            "amount": 1000, "payment_frequency": "MONTHLY", "payment_start_date": "2026-02-28T11:00:00.000Z", "total_number_of_payments": 6,
        }))).await;
        for term in ["billing_frequency", "next_bill_date", "duration", "next_bill_at", "next_amount"] {
            assert_eq!(ours[term], theirs[term], "{term}");
        }
        server.made(SUBSCRIPTIONS, monthly(json!({"duration": 6, "total_number_of_payments": 6}))).await;
        server.refuses("POST", SUBSCRIPTIONS, &[
            (monthly(json!({"payment_frequency": "WEEKLY"})), &["payment_frequency"]),
            (monthly(json!({"duration": 6, "total_number_of_payments": 7})), &["total_number_of_payments"]),
        ]).await;
    }

    async fn an_initial_payment_is_owed_at_once_beside_the_schedule(server: &TestServer) {
        ada(server).await;
        server.made("/v1/customers/ada/credits", json!({"amount": 300})).await;
        let made = server.made(SUBSCRIPTIONS, monthly(json!({"initial_payment_amount": 500, "next_bill_date": "2026-03-01"}))).await;
        assert_eq!(made["initial_payment_amount"], 500);
        let invoices = server.invoices().await;
        let [invoice] = &invoices[..] else { panic!("{invoices:?}") };
        assert_eq!((invoice.cycle, invoice.subtotal, invoice.credit_applied, invoice.total), (None, 500, 300, 200));
        assert_eq!((invoice.lines[0].kind.as_str(), invoice.number.as_str()), ("initial", "INV-000001"));
        assert!(invoice.next_attempt_at.is_some());
        assert_eq!(server.get("/v1/customers/ada").await.ok(200)["balance"], 0);
    }

    async fn subscribing_refuses_what_cannot_be_billed(server: &TestServer) {
        ada(server).await;
        gold(server).await;
        server.made("/v1/plans", json!({"name": "Euro", "reference": "euro", "amount": 1, "currency": "EUR", "billing_frequency": "monthly"})).await;
        server.refuses("POST", SUBSCRIPTIONS, &[
            (json!({}), &["customer"]),
            (json!({"customer": {}}), &["customer.id"]),
            (json!({"customer": "ada"}), &["customer"]),
            (json!({"customer": {"id": "nobody"}}), &["customer.id", "amount", "billing_frequency"]),
            (json!({"customer": {"id": "nobody"}, "plan_id": "nothing"}), &["customer.id", "plan_id"]),
            (of_ada(json!({"plan_id": "euro", "currency": "USD"})), &["currency"]),
            (monthly(json!({"next_bill_date": "2026-01-31"})), &["next_bill_date"]),
            (monthly(json!({"next_bill_date": "31.1.2026"})), &["next_bill_date"]),
            (monthly(json!({"ends_on": "2026-02-01"})), &["ends_on"]),
            (monthly(json!({"quantity": 0})), &["quantity"]),
            (monthly(json!({"amount": 999_999_999_999_i64, "quantity": 2})), &["quantity"]),
            (monthly(json!({"billing_days": "0,1"})), &["billing_days"]),
            (monthly(json!({"timezone": "Nowhere"})), &["timezone"]),
            (monthly(json!({"trial_days": 7, "next_bill_date": "2026-03-01"})), &["trial_days"]),
            (monthly(json!({"first_period": "half"})), &["first_period"]),
            (monthly(json!({"initial_payment_amount": -1})), &["initial_payment_amount"]),
            (monthly(json!({"payment_method_id": "pm_01h455vb4pex5vsknk084sn02q"})), &["payment_method_id"]),
            (monthly(json!({"dunning_policy_id": "x"})), &["dunning_policy_id"]),
            (monthly(json!({"authorize_days_before": 31})), &["authorize_days_before"]),
            (monthly(json!({"business_day": "following", "holiday_calendar": "us"})), &["holiday_calendar"]),
            (monthly(json!({"discounts": [{"id": "less"}, {"id": "more"}]})), &["discounts[1].id"]),
            (monthly(json!({"status": "active"})), &["status"]),
        ]).await;
        // What does no harm is taken.
        let nothing = json!({"dunning_policy_id": null, "authorize_days_before": 0, "business_day": "following", "backdated": true, "next_bill_date": "2026-01-05"});
        let made = server.made(SUBSCRIPTIONS, monthly(nothing)).await;
        assert_eq!(made["next_bill_date"], "2026-01-05");
    }

    async fn a_free_first_period_begins_at_the_first_anchor(server: &TestServer) {
        ada(server).await;
        let bill = |first: &str| monthly(json!({"billing_days": "15", "first_period": first, "next_bill_date": "2026-02-05"}));
        for (first, date, amount) in [("full", "2026-02-05", 1000), ("prorated", "2026-02-05", 323), ("free", "2026-02-15", 1000)] {
            let made = server.made(SUBSCRIPTIONS, bill(first)).await;
            assert_eq!((&made["next_bill_date"], &made["next_amount"]), (&json!(date), &json!(amount)), "{first}");
            // A charge that an operator moves to a day before the anchor is a charge, not a free one.
            let path = format!("{SUBSCRIPTIONS}/{}/reschedule", made["id"].as_str().expect("id"));
            let moved = server.post(&path, json!({"next_bill_date": "2026-02-07"})).await.ok(200);
            assert!(moved["next_amount"].as_i64() > Some(200) && moved["next_bill_date"] == "2026-02-07", "{moved}");
        }
    }

    async fn patched_terms_hold_from_the_next_cycle_on(server: &TestServer) {
        let clock = ada(server).await;
        gold(server).await;
        let made = server.made(SUBSCRIPTIONS, monthly(json!({"timezone": "UTC", "next_bill_date": "2026-02-10"}))).await;
        let path = format!("{SUBSCRIPTIONS}/{}", made["id"].as_str().expect("id"));
        server.bill(&clock, "2026-02-20T00:00:00Z").await;
        let changed = server.patch(&path, json!({"customer": {"id": "ada"}, "amount": 3000, "quantity": 2, "add_ons": [{"id": "extra", "duration": 1}]})).await.ok(200);
        assert_eq!((&changed["next_bill_date"], &changed["next_amount"], &changed["total_add_ons"]), (&json!("2026-03-10"), &json!(6200), &json!(200)));
        assert_eq!(changed["period"], json!({"start": "2026-02-10", "end": "2026-03-10"}));
        assert_eq!(server.invoices().await.len(), 1, "nothing is charged now");
        // The whole body once more, as the seed's clients send it, moves nothing.
        let again = server.patch(&path, json!({"next_bill_date": "2026-03-10", "billing_frequency": "monthly", "plan_id": null})).await.ok(200);
        assert_eq!(again["next_bill_date"], "2026-03-10");
        let moved = server.patch(&path, json!({"next_bill_date": "2026-03-05"})).await.ok(200);
        assert_eq!(moved["next_bill_date"], "2026-03-05");
        // Another plan brings its terms, but what is said beside it.
        let planned = server.patch(&path, json!({"plan_id": "gold", "amount": 9})).await.ok(200);
        assert_eq!((&planned["billing_frequency"], &planned["billing_days"], &planned["amount"]), (&json!("twice_monthly"), &json!("1,15"), &json!(9)));
        assert_eq!((&planned["next_bill_date"], &planned["discounts"][0]["percentage"]), (&json!("2026-03-05"), &json!(10)));

        server.made("/v1/customers", json!({"name": "Bob", "reference": "bob"})).await;
        server.refuses("PATCH", &path, &[
            (json!({"customer": {"id": "bob"}}), &["customer.id"]),
            (json!({"plan_id": "nothing"}), &["plan_id"]),
            (json!({"next_bill_date": "2026-02-19"}), &["next_bill_date"]),
            (json!({"ends_on": "2026-02-20"}), &["ends_on"]),
            (json!({"ends_on": "2026-03-01", "next_bill_date": "2026-03-01"}), &["next_bill_date"]),
            (json!({"duration": 1}), &["duration"]),
            (json!({"billing_days": "15"}), &["billing_days"]),
            (json!({"billing_frequency": "weekly", "billing_days": "8"}), &["billing_days"]),
            (json!({"amount": 999_999_999_999_i64}), &["quantity"]),
            (json!({"currency": "EUR"}), &["currency"]),
            (json!({"add_ons": [{"id": "no"}], "amount": 5}), &["add_ons[0].id"]),
        ]).await;
        server.patch(&format!("{SUBSCRIPTIONS}/sub_01h455vb4pex5vsknk084sn02q"), json!({})).await.problem(404);
        server.patch(&format!("{SUBSCRIPTIONS}/nothing"), json!({})).await.problem(404);
    }
}
