//! Pauses over HTTP: at once, with credit, and at the period's end; and what of it a preview says without leaving a trace.

use rebilld::domain::invoice::InvoiceStatus;
use serde_json::{Value, json};

use super::{
    TestServer,
    actions::{Stage, balance, stage},
    on_both,
};

/// Asks for a preview, which must leave no trace, and then acts: the subscription is the one that was foreseen. Answers the preview.
pub async fn foreseen(server: &TestServer, stage: &Stage, verb: &str, body: Value) -> Value {
    let before = server.rows().await;
    let mut preview = body.clone();
    preview["preview"] = json!(true);
    let path = if verb.is_empty() { stage.path.clone() } else { stage.act(verb) };
    let method = if verb.is_empty() { "PATCH" } else { "POST" };
    let send =
        async |body: &Value| server.send(method, &path, &server.admin, &[], Some(body.to_string().into_bytes())).await.ok(200);
    let foreseen = send(&preview).await;
    assert_eq!(server.rows().await, before, "{verb} {body}: a preview stored something");
    let credit = balance(server).await;
    let invoices = server.invoices().await.len();
    let mut done = send(&body).await;
    let outcome = done.as_object_mut().expect("an object").remove("outcome").expect("what it did");
    assert_eq!(foreseen["subscription"], done, "{verb} {body}");
    for (figure, value) in outcome.as_object().expect("figures") {
        assert_eq!(foreseen[figure], *value, "{figure} of {verb} {body}");
    }
    let schedule = server.get(&format!("{}/schedule?count=3", stage.path)).await.ok(200);
    assert_eq!(foreseen["upcoming"], schedule["data"], "{verb} {body}");
    // The money is what was said.
    let opened = server.invoices().await.split_off(invoices);
    let used: i64 = opened.iter().map(|invoice| invoice.credit_applied).sum();
    assert_eq!(balance(server).await - credit + used, foreseen["credit"].as_i64().expect("credit"), "{verb} {body}");
    if !opened.is_empty() {
        let lines: Vec<_> = opened.iter().flat_map(|invoice| invoice.lines.clone()).collect();
        assert_eq!(json!(lines), foreseen["lines"], "{verb} {body}");
        assert_eq!(json!(opened.iter().map(|invoice| invoice.subtotal).sum::<i64>()), foreseen["amount"], "{verb} {body}");
    }
    foreseen
}

on_both! {
    async fn a_pause_with_credit_taken_back_on_the_same_day_costs_nothing(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.pay_all().await;
        let schedule = server.get(&stage.act("schedule")).await.ok(200);
        let paused = foreseen(server, &stage, "pause", json!({"credit": true})).await;
        // 15 of 30 days.
        assert_eq!((&paused["amount"], &paused["credit"], &paused["effective_date"]), (&json!(0), &json!(1500), &json!("2026-06-16")));
        let shown = &paused["subscription"];
        assert_eq!((&shown["resume_prorated"], &shown["paused_on"], &shown["period"]["end"]), (&json!(true), &json!("2026-06-16"), &json!("2026-06-16")));
        assert_eq!(balance(server).await, 1500);
        let resumed = foreseen(server, &stage, "resume", json!({})).await;
        assert_eq!((&resumed["amount"], &resumed["lines"][0]["days"], &resumed["lines"][0]["of_days"]), (&json!(1500), &json!(15), &json!(30)));
        assert_eq!(balance(server).await, 0);
        let invoices = server.invoices().await;
        let stub = invoices.last().expect("the days charged again");
        assert_eq!((stub.cycle, stub.subtotal, stub.total, stub.status), (None, 1500, 0, InvoiceStatus::Paid));
        assert_eq!(server.get(&stage.act("schedule")).await.ok(200), schedule);
        assert_eq!(resumed["subscription"]["cycles_billed"], 1);
    }

    async fn days_given_back_by_a_pause_are_not_given_back_again(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.pay_all().await;
        server.post(&stage.act("pause"), json!({"credit": true})).await.ok(200);
        let cancelled = foreseen(server, &stage, "cancel", json!({"when": "now", "credit": true})).await;
        assert_eq!((&cancelled["credit"], balance(server).await), (&json!(0), 1500));
    }

    async fn credit_for_days_never_paid_is_not_kept_when_they_are_voided(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        // The month is open; its days come back as credit, and pay for themselves when it goes on.
        server.post(&stage.act("pause"), json!({"credit": true})).await.ok(200);
        server.post(&stage.act("resume"), json!({})).await.ok(200);
        let cancelled = foreseen(server, &stage, "cancel", json!({"when": "now", "credit": true})).await;
        assert_eq!((&cancelled["credit"], balance(server).await), (&json!(0), 0));
    }

    async fn a_pause_with_credit_ends_by_itself_with_the_days_to_the_next_charge(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.pay_all().await;
        let paused = foreseen(server, &stage, "pause", json!({"credit": true, "until": "2026-07-22"})).await;
        // 10 of the 31 days of July: 967.74.
        let (first, next) = (&paused["upcoming"][0], &paused["upcoming"][1]);
        assert_eq!((&first["cycle"], &first["bill_date"], &first["period_end"], &first["amount"]), (&Value::Null, &json!("2026-07-22"), &json!("2026-08-01"), &json!(968)));
        assert_eq!((&next["cycle"], &next["bill_date"], &next["amount"]), (&json!(1), &json!("2026-08-01"), &json!(3000)));
        assert_eq!((&paused["subscription"]["next_bill_date"], &paused["subscription"]["next_amount"]), (&json!("2026-07-22"), &json!(968)));
        server.bill(&stage.clock, "2026-08-02T00:00:00Z").await;
        let invoices = server.invoices().await;
        let billed: Vec<_> = invoices.iter().skip(2).map(|invoice| (invoice.cycle, invoice.subtotal, invoice.due_at.date_naive().to_string())).collect();
        assert_eq!(billed, [(None, 968, "2026-07-22".to_owned()), (Some(1), 3000, "2026-08-01".to_owned())]);
        let after = server.get(&stage.path).await.ok(200);
        assert_eq!((&after["status"], &after["resume_prorated"], &after["paused_on"]), (&json!("active"), &json!(false), &Value::Null));
    }

    async fn a_daemon_that_was_down_over_a_pause_ends_where_one_that_was_not_does(server: &TestServer) {
        let mut ends = Vec::new();
        for down in [false, true] {
            let clock = server.clock("2026-06-01T00:00:00Z").await;
            let ada = server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock})).await;
            let made = server.made("/v1/subscriptions", json!({"customer": {"id": ada["id"]}, "amount": 3000, "billing_frequency": "monthly"})).await;
            let path = format!("/v1/subscriptions/{}", made["id"].as_str().expect("id"));
            server.bill(&clock, "2026-06-16T12:00:00Z").await;
            server.post(&format!("{path}/pause"), json!({"when": "period_end", "until": "2026-08-10"})).await.ok(200);
            if down {
                server.jump(&clock, "2026-09-05T00:00:00Z").await;
            }
            server.bill(&clock, "2026-09-05T00:00:00Z").await;
            let mut end = server.get(&path).await.ok(200);
            for name in ["id", "customer", "clock_id", "created_at", "updated_at"] {
                end.as_object_mut().expect("object").remove(name);
            }
            assert_eq!((&end["status"], &end["cycles_billed"], &end["next_bill_date"]), (&json!("active"), &json!(2), &json!("2026-10-01")), "{down}");
            ends.push(end);
        }
        assert_eq!(ends[0], ends[1]);
    }

    async fn a_pause_at_the_periods_end_waits_for_it_and_can_be_undone(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.refuses("POST", &stage.act("pause"), &[
            (json!({"when": "period_end", "until": "2026-07-01"}), &["until"]),
            (json!({"when": "period_end", "credit": true}), &["credit"]),
            (json!({"when": "period_end", "credit": true, "until": "2026-06-20"}), &["credit", "until"]),
            (json!({"when": "later"}), &["when"]),
        ]).await;
        let waiting = foreseen(server, &stage, "pause", json!({"when": "period_end"})).await;
        assert_eq!((&waiting["effective_date"], &waiting["upcoming"], &waiting["credit"]), (&json!("2026-07-01"), &json!([]), &json!(0)));
        let shown = &waiting["subscription"];
        assert_eq!((&shown["status"], &shown["pause_at_period_end"], &shown["next_bill_date"]), (&json!("active"), &json!(true), &Value::Null));
        for (verb, body) in [
            ("pause", json!({"when": "period_end"})),
            ("cancel", json!({"when": "period_end"})),
            ("resume", json!({})),
            ("skip", json!({})),
            ("reschedule", json!({"next_bill_date": "2026-07-05"})),
        ] {
            server.conflicts(&stage.act(verb), body).await;
        }
        server.patch(&stage.path, json!({"next_bill_date": "2026-07-05"})).await.problem(409);
        let kept = foreseen(server, &stage, "keep", json!({})).await;
        assert_eq!((&kept["subscription"]["pause_at_period_end"], &kept["subscription"]["next_bill_date"]), (&json!(false), &json!("2026-07-01")));
        // A change that waits for the period's end applies after the pause.
        server.post(&stage.act("change"), json!({"amount": 500, "when": "period_end"})).await.ok(200);
        let waiting = foreseen(server, &stage, "pause", json!({"when": "period_end", "until": "2026-08-15"})).await;
        assert_eq!((&waiting["upcoming"][0]["bill_date"], &waiting["upcoming"][0]["amount"]), (&json!("2026-09-01"), &json!(500)));
        server.bill(&stage.clock, "2026-07-15T00:00:00Z").await;
        let paused = server.get(&stage.path).await.ok(200);
        assert_eq!((&paused["status"], &paused["paused_on"], &paused["paused_until"]), (&json!("paused"), &json!("2026-07-01"), &json!("2026-08-15")));
        assert_eq!(paused["pause_at_period_end"], false);
        server.bill(&stage.clock, "2026-09-02T00:00:00Z").await;
        assert_eq!(server.invoices().await.iter().map(|invoice| invoice.subtotal).collect::<Vec<_>>(), [3000, 500]);
        // A trial goes on to its end first.
        let trial = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly", "trial_days": 30})).await;
        let trial = server.post(&format!("/v1/subscriptions/{}/pause", trial["id"].as_str().expect("id")), json!({"when": "period_end"})).await.ok(200);
        assert_eq!((&trial["status"], &trial["pause_at_period_end"]), (&json!("trialing"), &json!(true)));
    }

    async fn every_action_can_be_previewed(server: &TestServer) {
        let stage = stage(server, json!({"duration": 9})).await;
        foreseen(server, &stage, "skip", json!({"cycles": 2})).await;
        foreseen(server, &stage, "reschedule", json!({"next_bill_date": "2026-07-20"})).await;
        foreseen(server, &stage, "reschedule", json!({"next_bill_date": "2026-07-25", "keep_anchor": true})).await;
        let patched = foreseen(server, &stage, "", json!({"amount": 700, "next_bill_date": "2026-07-10", "timezone": "Pacific/Auckland"})).await;
        assert_eq!((&patched["upcoming"][0]["bill_at"], &patched["upcoming"][0]["amount"]), (&json!("2026-07-09T18:00:00Z"), &json!(700)));
        foreseen(server, &stage, "cancel", json!({"when": "period_end"})).await;
        foreseen(server, &stage, "keep", json!({})).await;
        foreseen(server, &stage, "pause", json!({"until": "2026-08-01"})).await;
        foreseen(server, &stage, "resume", json!({})).await;
        let cancelled = foreseen(server, &stage, "cancel", json!({"when": "now", "credit": true})).await;
        assert_eq!((&cancelled["subscription"]["status"], &cancelled["upcoming"]), (&json!("cancelled"), &json!([])));
        // Of one that is parked.
        let body = json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly", "next_bill_date": "2026-01-01", "backdated": true});
        let made = server.made("/v1/subscriptions", body).await;
        let parked = Stage { clock: stage.clock.clone(), path: format!("/v1/subscriptions/{}", made["id"].as_str().expect("id")) };
        server.bill(&stage.clock, "2026-06-16T12:00:00Z").await;
        let unparked = foreseen(server, &parked, "unpark", json!({"bill": "all"})).await;
        assert_eq!((&unparked["amount"], unparked["lines"].as_array().map(Vec::len)), (&json!(600), Some(6)));
    }

    async fn a_key_belongs_to_the_request_in_earnest_and_not_to_its_preview(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        let path = stage.act("pause");
        let first = server.post_with_key(&path, "k", json!({"preview": true})).await.ok(200);
        server.post(&stage.act("change"), json!({"amount": 4000, "when": "now"})).await.ok(200);
        let again = server.post_with_key(&path, "k", json!({"preview": true})).await;
        assert_eq!(again.header("idempotent-replayed"), "");
        assert_ne!(first, again.ok(200), "an old preview");
        server.post_with_key(&path, "k", json!({})).await.ok(200);
        assert_eq!(server.post_with_key(&path, "k", json!({})).await.header("idempotent-replayed"), "true");
    }

    async fn terms_of_the_start_are_refused_by_name_and_may_be_repeated(server: &TestServer) {
        let stage = stage(server, json!({"initial_payment_amount": 100})).await;
        server.refuses("PATCH", &stage.path, &[
            (json!({"currency": "EUR"}), &["currency"]),
            (json!({"first_period": "free"}), &["first_period"]),
            (json!({"initial_payment_amount": 5, "trial_days": 3}), &["initial_payment_amount", "trial_days"]),
            (json!({"dunning_policy_id": "x", "authorize_days_before": 31}), &["authorize_days_before"]),
            (json!({"timezone": "Mars/Olympus"}), &["timezone"]),
            (json!({"preview": true, "currency": "EUR"}), &["currency"]),
        ]).await;
        server.refuses("POST", &stage.act("change"), &[(json!({"when": "now", "currency": "EUR"}), &["currency"])]).await;
        let same = json!({"currency": "USD", "first_period": "full", "initial_payment_amount": 100, "dunning_policy_id": null, "authorize_days_before": 0});
        server.patch(&stage.path, same).await.ok(200);
        // The end of a trial moves with the first charge.
        let trial = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly", "trial_days": 30})).await;
        let path = format!("/v1/subscriptions/{}/reschedule", trial["id"].as_str().expect("id"));
        let moved = server.post(&path, json!({"next_bill_date": "2026-08-01"})).await.ok(200);
        assert_eq!((&moved["status"], &moved["trial_ends_on"]), (&json!("trialing"), &json!("2026-08-01")));
    }
}
