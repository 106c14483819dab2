//! Dates that operators move: what "at the period's end" means where no period is billed, and that no edit charges a stub in full.

use serde_json::{Value, json};

use super::{TestServer, actions::Stage, on_both, pauses::foreseen};

/// A customer of the clock's own, who subscribes: monthly, 30.00 USD, unless other terms are given.
async fn subscribed(server: &TestServer, now: &str, more: Value) -> Stage {
    let clock = server.clock(now).await;
    // Whose balance `foreseen` looks at; there may be one already.
    server.post("/v1/customers", json!({"name": "Ada", "reference": "ada"})).await;
    let ada = server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock})).await;
    let mut body = json!({"customer": {"id": ada["id"]}, "amount": 3000, "billing_frequency": "monthly"});
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    let made = server.made("/v1/subscriptions", body).await;
    Stage { clock, path: format!("/v1/subscriptions/{}", made["id"].as_str().expect("id")) }
}

/// A subscription that no period runs of, the date on which what stands for its period ends, and the date of its next charge.
async fn without_a_period(server: &TestServer, situation: &str) -> (Stage, &'static str, &'static str) {
    let stage = match situation {
        "trial" => subscribed(server, "2026-03-01T12:00:00Z", json!({"trial_days": 14})).await,
        "ahead" => subscribed(server, "2026-03-01T12:00:00Z", json!({"next_bill_date": "2026-03-20"})).await,
        "tomorrow" => subscribed(server, "2026-03-01T12:00:00Z", json!({"next_bill_date": "2026-03-02"})).await,
        _ => {
            let stage = subscribed(server, "2026-02-01T00:00:00Z", json!({})).await;
            server.bill(&stage.clock, "2026-02-10T12:00:00Z").await;
            let cycles = if situation == "skipped" { 1 } else { 2 };
            server.post(&stage.act("skip"), json!({ "cycles": cycles })).await.ok(200);
            server.bill(&stage.clock, "2026-03-05T12:00:00Z").await;
            stage
        }
    };
    let (end, next) = match situation {
        "trial" => ("2026-03-15", "2026-03-15"),
        "ahead" => ("2026-03-19", "2026-03-20"),
        // That day is over already: there must be time to undo it.
        "tomorrow" => ("2026-03-02", "2026-03-02"),
        "skipped" => ("2026-04-01", "2026-04-01"),
        _ => ("2026-04-01", "2026-05-01"),
    };
    (stage, end, next)
}

const SITUATIONS: [&str; 5] = ["trial", "ahead", "tomorrow", "skipped", "two skipped"];

async fn shown(server: &TestServer, stage: &Stage) -> Value {
    let mut shown = server.get(&stage.path).await.ok(200);
    shown.as_object_mut().expect("object").remove("updated_at");
    shown
}

/// Day, first and last day, and amount of the next charges.
async fn charges(server: &TestServer, stage: &Stage, count: usize) -> Vec<String> {
    let schedule = server.get(&format!("{}/schedule?count={count}", stage.path)).await.ok(200);
    let text = |charge: &Value, name: &str| charge[name].to_string().replace('"', "");
    let told = |charge: &Value| ["bill_date", "period_start", "period_end", "amount"].map(|name| text(charge, name)).join(" ");
    schedule["data"].as_array().expect("charges").iter().map(told).collect()
}

on_both! {
    async fn a_cancellation_waits_for_the_end_of_what_stands_for_a_period(server: &TestServer) {
        for situation in SITUATIONS {
            let (stage, end, next) = without_a_period(server, situation).await;
            let invoices = server.invoices().await.len();
            let before = shown(server, &stage).await;
            assert_eq!(before["next_bill_date"], next, "{situation}");
            let cancelled = foreseen(server, &stage, "cancel", json!({"when": "period_end"})).await;
            assert_eq!(cancelled["effective_date"], end, "{situation}");
            let waiting = shown(server, &stage).await;
            assert_eq!((&waiting["status"], &waiting["cancel_at_period_end"], &waiting["next_bill_date"]), (&before["status"], &json!(true), &Value::Null), "{situation}");
            let kept = foreseen(server, &stage, "keep", json!({})).await;
            assert_eq!((&kept["undone"], &shown(server, &stage).await), (&json!("cancel"), &before), "{situation}");
            server.post(&stage.act("cancel"), json!({"when": "period_end"})).await.ok(200);
            // Until then it can be undone.
            server.bill(&stage.clock, &format!("{end}T05:59:59Z")).await;
            assert_eq!(shown(server, &stage).await["status"], before["status"], "{situation}");
            server.bill(&stage.clock, &format!("{end}T06:00:00Z")).await;
            let after = shown(server, &stage).await;
            assert_eq!((&after["status"], &after["cancel_at_period_end"]), (&json!("cancelled"), &json!(false)), "{situation}");
            assert_eq!(after["cancelled_at"], format!("{end}T06:00:00Z"), "{situation}");
            server.bill(&stage.clock, "2026-07-01T12:00:00Z").await;
            assert_eq!(server.invoices().await.len(), invoices, "{situation}: never charged");
        }
    }

    async fn a_pause_waits_for_the_end_of_what_stands_for_a_period(server: &TestServer) {
        for situation in SITUATIONS {
            let (stage, end, _) = without_a_period(server, situation).await;
            let invoices = server.invoices().await.len();
            let before = shown(server, &stage).await;
            server.refuses("POST", &stage.act("pause"), &[(json!({"when": "period_end", "until": end}), &["until"])]).await;
            let paused = foreseen(server, &stage, "pause", json!({"when": "period_end", "until": "2026-06-10"})).await;
            assert_eq!(paused["effective_date"], end, "{situation}");
            let waiting = shown(server, &stage).await;
            assert_eq!((&waiting["status"], &waiting["pause_at_period_end"]), (&before["status"], &json!(true)), "{situation}");
            server.conflicts(&stage.act("cancel"), json!({"when": "period_end"})).await;
            server.conflicts(&stage.act("pause"), json!({"when": "period_end"})).await;
            let kept = foreseen(server, &stage, "keep", json!({})).await;
            assert_eq!((&kept["undone"], &shown(server, &stage).await), (&json!("pause"), &before), "{situation}");
            server.post(&stage.act("pause"), json!({"when": "period_end", "until": "2026-06-10"})).await.ok(200);
            let coming = charges(server, &stage, 2).await;
            server.bill(&stage.clock, &format!("{end}T05:59:59Z")).await;
            assert_eq!(shown(server, &stage).await["status"], before["status"], "{situation}");
            server.bill(&stage.clock, &format!("{end}T06:00:00Z")).await;
            let after = shown(server, &stage).await;
            assert_eq!((&after["status"], &after["paused_on"]), (&json!("paused"), &json!(end)), "{situation}");
            assert_eq!(charges(server, &stage, 2).await, coming, "{situation}: as it was shown");
            server.bill(&stage.clock, "2026-06-11T12:00:00Z").await;
            assert_eq!(server.invoices().await.len(), invoices, "{situation}: what falls into the pause is not billed");
        }
    }

    async fn a_change_waits_for_the_first_charge_after_it(server: &TestServer) {
        for situation in SITUATIONS {
            let (stage, _, next) = without_a_period(server, situation).await;
            let before = shown(server, &stage).await;
            let change = |preview: bool| json!({"when": "period_end", "amount": 1200, "preview": preview});
            let preview = server.post(&stage.act("change"), change(true)).await.ok(200);
            let changed = server.post(&stage.act("change"), change(false)).await.ok(200);
            assert_eq!((&preview, &changed["effective_date"], &changed["amount"]), (&changed, &json!(next), &json!(1200)), "{situation}");
            assert_eq!(changed["subscription"]["amount"], 3000, "{situation}");
            let kept = foreseen(server, &stage, "keep", json!({})).await;
            assert_eq!((&kept["undone"], &shown(server, &stage).await), (&json!("change"), &before), "{situation}");
            server.post(&stage.act("change"), change(false)).await.ok(200);
            let invoices = server.invoices().await.len();
            server.bill(&stage.clock, &format!("{next}T06:00:00Z")).await;
            let opened: Vec<i64> = server.invoices().await.split_off(invoices).iter().map(|invoice| invoice.total).collect();
            assert_eq!((opened, &shown(server, &stage).await["amount"]), (vec![1200], &json!(1200)), "{situation}");
        }
    }

    async fn keep_undoes_one_thing_at_a_time_the_latest_first(server: &TestServer) {
        let change = ("change", json!({"when": "period_end", "amount": 1200}));
        let pause = ("pause", json!({"when": "period_end"}));
        let cancel = ("cancel", json!({"when": "period_end"}));
        for (first, second) in [(&change, &cancel), (&change, &pause), (&pause, &change)] {
            let stage = subscribed(server, "2026-03-01T00:00:00Z", json!({})).await;
            server.bill(&stage.clock, "2026-03-10T12:00:00Z").await;
            let before = shown(server, &stage).await;
            server.post(&stage.act(first.0), first.1.clone()).await.ok(200);
            let one = shown(server, &stage).await;
            server.post(&stage.act(second.0), second.1.clone()).await.ok(200);
            let undone = foreseen(server, &stage, "keep", json!({})).await;
            assert_eq!((&undone["undone"], &shown(server, &stage).await), (&json!(second.0), &one), "{} {}", first.0, second.0);
            let undone = foreseen(server, &stage, "keep", json!({})).await;
            assert_eq!((&undone["undone"], &shown(server, &stage).await), (&json!(first.0), &before), "{} {}", first.0, second.0);
            server.conflicts(&stage.act("keep"), json!({})).await;
            let kept = server.get("/v1/events?type=subscription.kept&limit=2").await.ok(200);
            let told: Vec<&Value> = kept["data"].as_array().expect("events").iter().map(|event| &event["data"]["undone"]).collect();
            assert_eq!(told, [first.0, second.0], "newest first");
        }
    }

    async fn a_patch_refuses_the_dates_that_a_reschedule_refuses(server: &TestServer) {
        let stage = subscribed(server, "2026-03-10T12:00:00Z", json!({"next_bill_date": "2026-03-15", "ends_on": "2026-08-01"})).await;
        for (date, keep_anchor, refused) in [
            // Behind the next charge: two cycles would be charged at one instant.
            ("2026-05-01", true, true), ("2026-04-15", true, true), ("2026-04-14", true, false),
            ("2026-03-09", true, true), ("2026-03-09", false, true), ("2026-03-10", false, false),
            ("2026-08-01", false, true), ("2026-07-31", false, false), ("2026-05-01", false, false),
        ] {
            let body = json!({"next_bill_date": date, "keep_anchor": keep_anchor, "preview": true});
            let patched = server.patch(&stage.path, body.clone()).await;
            let rescheduled = server.post(&stage.act("reschedule"), body).await;
            assert_eq!(patched.status, if refused { 422 } else { 200 }, "{date} {keep_anchor}: {patched:?}");
            assert_eq!(patched.status, rescheduled.status, "{date} {keep_anchor}");
            if refused {
                assert_eq!(patched.json()["errors"], rescheduled.json()["errors"], "{date} {keep_anchor}");
            } else {
                assert_eq!(patched.json()["upcoming"], rescheduled.json()["upcoming"], "{date} {keep_anchor}");
            }
        }
        // Nor is a charge moved that a cancellation keeps from coming.
        server.post(&stage.act("cancel"), json!({"when": "period_end"})).await.ok(200);
        server.conflicts(&stage.act("reschedule"), json!({"next_bill_date": "2026-03-20"})).await;
        server.patch(&stage.path, json!({"next_bill_date": "2026-03-20"})).await.problem(409);
    }

    async fn new_billing_days_alone_charge_no_stub(server: &TestServer) {
        let gap = ["2026-04-20 2026-04-20 2026-05-20 3000", "2026-05-20 2026-05-20 2026-06-20 3000"];
        let later = ["2026-05-10 2026-05-10 2026-06-10 3000", "2026-06-10 2026-06-10 2026-07-10 3000"];
        for first_period in ["full", "prorated", "free"] {
            for keep_anchor in [None, Some(true), Some(false)] {
                for (days, expected) in [("20", gap), ("10", later)] {
                    let more = json!({"next_bill_date": "2026-03-15", "billing_days": "15", "first_period": first_period});
                    let stage = subscribed(server, "2026-03-10T12:00:00Z", more).await;
                    server.bill(&stage.clock, "2026-03-20T12:00:00Z").await;
                    let mut patch = json!({ "billing_days": days });
                    if let Some(keep) = keep_anchor {
                        patch["keep_anchor"] = json!(keep);
                    }
                    foreseen_patch(server, &stage, &patch).await;
                    assert_eq!(charges(server, &stage, 2).await, expected, "{first_period} {keep_anchor:?} {days}");
                }
            }
        }
        // Before the first charge, and as a change that waits.
        let stage = subscribed(server, "2026-03-01T12:00:00Z", json!({"trial_days": 14})).await;
        server.patch(&stage.path, json!({"billing_days": "20"})).await.ok(200);
        assert_eq!(charges(server, &stage, 1).await, ["2026-03-20 2026-03-20 2026-04-20 3000"]);
        let stage = subscribed(server, "2026-03-15T00:00:00Z", json!({"billing_days": "15"})).await;
        server.bill(&stage.clock, "2026-03-20T12:00:00Z").await;
        server.post(&stage.act("change"), json!({"when": "period_end", "billing_days": "20"})).await.ok(200);
        assert_eq!(charges(server, &stage, 2).await, gap);
        let invoices = server.invoices().await.len();
        server.bill(&stage.clock, "2026-04-21T12:00:00Z").await;
        assert_eq!(server.invoices().await.len(), invoices + 1);
        // At once, the days up to the first new day are charged by day: 27 are left, 20 March to 20 April has 31.
        let stage = subscribed(server, "2026-03-15T00:00:00Z", json!({"billing_days": "15"})).await;
        server.bill(&stage.clock, "2026-03-19T12:00:00Z").await;
        server.pay_all().await;
        let changed = server.post(&stage.act("change"), json!({"when": "now", "billing_days": "20"})).await.ok(200);
        // 27 of 31 days back, and one of the 28 days of 20 February to 20 March.
        assert_eq!((changed["lines"][0]["amount"].as_i64(), changed["lines"][1]["amount"].as_i64()), (Some(-2613), Some(107)), "{changed}");
        assert_eq!(charges(server, &stage, 1).await, ["2026-03-20 2026-03-20 2026-04-20 3000"]);
    }

    async fn a_moved_schedule_charges_no_stub_in_full(server: &TestServer) {
        // Every three months on the 15th.
        let quarterly = json!({"billing_frequency": "monthly", "billing_cycle_interval": 3, "billing_days": "15", "next_bill_date": "2026-03-15", "amount": 9100});
        let table: [(&str, &str, [&str; 2]); 7] = [
            // The 15 July is nearer than half a period.
            ("full", "2026-07-01", ["2026-07-01 2026-07-01 2026-10-15 9100", "2026-10-15 2026-10-15 2027-01-15 9100"]),
            // 14 of the 91 days from 15 April to 15 July.
            ("prorated", "2026-07-01", ["2026-07-01 2026-07-01 2026-07-15 1400", "2026-07-15 2026-07-15 2026-10-15 9100"]),
            // The days before the 15 July are free, and the charge is for the period from there.
            ("free", "2026-07-01", ["2026-07-01 2026-07-01 2026-10-15 9100", "2026-10-15 2026-10-15 2027-01-15 9100"]),
            // The next 15th of the phase is 87 days away.
            ("full", "2026-07-20", ["2026-07-20 2026-07-20 2026-10-15 9100", "2026-10-15 2026-10-15 2027-01-15 9100"]),
            // On the day itself there is no stub.
            ("full", "2026-07-15", ["2026-07-15 2026-07-15 2026-10-15 9100", "2026-10-15 2026-10-15 2027-01-15 9100"]),
            ("prorated", "2026-07-15", ["2026-07-15 2026-07-15 2026-10-15 9100", "2026-10-15 2026-10-15 2027-01-15 9100"]),
            ("free", "2026-07-15", ["2026-07-15 2026-07-15 2026-10-15 9100", "2026-10-15 2026-10-15 2027-01-15 9100"]),
        ];
        for by_patch in [false, true] {
            for (first_period, date, expected) in table {
                let mut terms = quarterly.clone();
                terms["first_period"] = json!(first_period);
                let stage = subscribed(server, "2026-03-10T12:00:00Z", terms).await;
                server.bill(&stage.clock, "2026-03-20T12:00:00Z").await;
                let (verb, body) = (if by_patch { "" } else { "reschedule" }, json!({ "next_bill_date": date }));
                foreseen(server, &stage, verb, body).await;
                assert_eq!(charges(server, &stage, 2).await, expected, "{first_period} {date}");
                let invoices = server.invoices().await.len();
                let second = expected[1].split(' ').next().expect("a date");
                server.bill(&stage.clock, &format!("{second}T12:00:00Z")).await;
                let billed: i64 = server.invoices().await.split_off(invoices).iter().map(|invoice| invoice.total).sum();
                let shown: i64 = expected.iter().map(|charge| charge.rsplit(' ').next().expect("an amount").parse::<i64>().expect("an amount")).sum();
                assert_eq!(billed, shown, "{first_period} {date}");
            }
        }
        // A new interval starts anew at the next charge: 20 April is nearer than half of two months.
        let stage = subscribed(server, "2026-03-15T00:00:00Z", json!({"billing_days": "15"})).await;
        server.bill(&stage.clock, "2026-03-20T12:00:00Z").await;
        server.patch(&stage.path, json!({"billing_cycle_interval": 2, "billing_days": "20"})).await.ok(200);
        assert_eq!(charges(server, &stage, 2).await, ["2026-04-15 2026-04-15 2026-06-20 3000", "2026-06-20 2026-06-20 2026-08-20 3000"]);
        // And at once: the month that was paid is given back from today on, and the first new period is charged in full.
        for first_period in ["full", "free"] {
            let stage = subscribed(server, "2026-03-15T00:00:00Z", json!({"billing_days": "15", "first_period": first_period})).await;
            server.bill(&stage.clock, "2026-03-20T12:00:00Z").await;
            server.pay_all().await;
            let change = json!({"when": "now", "billing_cycle_interval": 2, "billing_days": "25"});
            let changed = server.post(&stage.act("change"), change).await.ok(200);
            // 26 of 31 days of 30.00 back: 25.16.
            assert_eq!((&changed["amount"], &changed["subscription"]["next_bill_date"]), (&json!(3000 - 2516), &json!("2026-05-25")), "{changed}");
        }
    }

    async fn a_business_day_rule_shortens_no_trial(server: &TestServer) {
        // 14 March 2026 is a Saturday, and so is 31 January.
        for (now, more, expected) in [
            ("2026-03-01T12:00:00Z", json!({"trial_days": 13, "business_day": "preceding"}), "2026-03-16"),
            ("2026-03-01T12:00:00Z", json!({"trial_days": 13, "business_day": "following"}), "2026-03-16"),
            ("2026-01-20T12:00:00Z", json!({"trial_days": 11, "business_day": "modified_following"}), "2026-02-02"),
            // Made on the day itself.
            ("2026-03-14T03:00:00Z", json!({"business_day": "preceding"}), "2026-03-16"),
            // A charge that was to come all along is moved as the rule says.
            ("2026-03-01T12:00:00Z", json!({"next_bill_date": "2026-03-14", "business_day": "preceding"}), "2026-03-13"),
            // Charged for the past if that is asked for.
            ("2026-03-20T12:00:00Z", json!({"next_bill_date": "2026-03-14", "backdated": true, "business_day": "preceding"}), "2026-03-13"),
        ] {
            let stage = subscribed(server, now, more.clone()).await;
            assert_eq!(shown(server, &stage).await["next_bill_date"], expected, "{more}");
            let due = format!("{expected}T06:00:00Z");
            let invoices = server.invoices().await.len();
            server.bill(&stage.clock, if due.as_str() < now { now } else { &due }).await;
            let opened = server.invoices().await.split_off(invoices);
            assert_eq!(opened.iter().map(|invoice| invoice.due_at.to_rfc3339()).collect::<Vec<_>>(), [due.replace('Z', "+00:00")], "{more}");
        }
        let clock = server.clock("2026-03-14T03:00:00Z").await;
        let ada = server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock})).await;
        let plan = json!({"customer": {"id": ada["id"]}, "amount": 100, "currency": "USD", "installments": 2, "billing_frequency": "monthly",
            "business_day": "preceding"});
        let made = server.made("/v1/installment-plans", plan).await;
        assert_eq!(made["due_at"], "2026-03-16T06:00:00Z");
    }

    async fn after_a_down_payment_the_dates_are_counted_from_today(server: &TestServer) {
        for (now, more, expected) in [
            ("2025-01-31T12:00:00Z", json!({}), ["2025-02-28", "2025-03-31", "2025-04-30", "2025-05-31", "2025-06-30"]),
            ("2025-01-30T12:00:00Z", json!({}), ["2025-02-28", "2025-03-30", "2025-04-30", "2025-05-30", "2025-06-30"]),
            ("2024-02-29T12:00:00Z", json!({"billing_frequency": "yearly"}), ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29", "2029-02-28"]),
            ("2024-08-31T12:00:00Z", json!({"billing_frequency": "quarterly"}), ["2024-11-30", "2025-02-28", "2025-05-31", "2025-08-31", "2025-11-30"]),
            ("2025-01-31T12:00:00Z", json!({"billing_days": "15"}), ["2025-02-15", "2025-03-15", "2025-04-15", "2025-05-15", "2025-06-15"]),
            ("2025-01-31T12:00:00Z", json!({"installments": null, "until": "2025-06-30"}), ["2025-02-28", "2025-03-31", "2025-04-30", "2025-05-31", "2025-06-30"]),
        ] {
            let clock = server.clock(now).await;
            let ada = server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock})).await;
            let mut terms = json!({"customer": {"id": ada["id"]}, "amount": 60_000, "currency": "USD", "down_payment": {"amount": 10_000},
                "installments": 5, "billing_frequency": "monthly"});
            for (name, value) in more.as_object().expect("terms") {
                terms[name] = value.clone();
            }
            let dates = |plan: &Value| -> Vec<String> {
                let installments = plan["installments"].as_array().expect("installments");
                installments[1..].iter().map(|part| part["date"].as_str().expect("a date").to_owned()).collect()
            };
            let preview = server.post("/v1/installment-plans/preview", terms.clone()).await.ok(200);
            let plan = server.made("/v1/installment-plans", terms).await;
            assert_eq!((dates(&preview), dates(&plan)), (expected.map(str::to_owned).to_vec(), expected.map(str::to_owned).to_vec()), "{more}");
            // A month left out later: on the same days.
            let path = format!("/v1/installment-plans/{}/skip", plan["id"].as_str().expect("id"));
            let skipped = server.post(&path, json!({"cycles": 1})).await.ok(200);
            assert_eq!(dates(&skipped)[..4], expected[1..], "{more}");
        }
    }
}

async fn foreseen_patch(server: &TestServer, stage: &Stage, patch: &Value) {
    let mut preview = patch.clone();
    preview["preview"] = json!(true);
    let foreseen = server.patch(&stage.path, preview).await.ok(200);
    server.patch(&stage.path, patch.clone()).await.ok(200);
    let schedule = server.get(&format!("{}/schedule?count=3", stage.path)).await.ok(200);
    assert_eq!(foreseen["upcoming"], schedule["data"], "{patch}");
}
