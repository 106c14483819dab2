//! The operator's hand on a subscription over HTTP: each action, the states that refuse it, and that a preview is the truth.

use rebilld::domain::invoice::InvoiceStatus;
use serde_json::{Value, json};

use super::{TestServer, on_both};

/// A monthly subscription of 30.00 USD in UTC from 1 June 2026 on, billed once, on a clock that stands at noon on 16 June.
pub struct Stage {
    pub clock: String,
    pub path: String,
}

pub async fn stage(server: &TestServer, more: Value) -> Stage {
    let clock = server.clock("2026-06-01T00:00:00Z").await;
    server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
    let mut body = json!({"customer": {"id": "ada"}, "amount": 3000, "billing_frequency": "monthly", "description": "Gym"});
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    let made = server.made("/v1/subscriptions", body).await;
    let stage = Stage { clock, path: format!("/v1/subscriptions/{}", made["id"].as_str().expect("id")) };
    server.bill(&stage.clock, "2026-06-16T12:00:00Z").await;
    stage
}

impl Stage {
    pub fn act(&self, verb: &str) -> String {
        format!("{}/{verb}", self.path)
    }
}

pub async fn balance(server: &TestServer) -> i64 {
    server.get("/v1/customers/ada").await.ok(200)["balance"].as_i64().expect("balance")
}

/// Sends a change as a preview and then in earnest: the same answer, and only the second leaves a trace.
async fn change(server: &TestServer, stage: &Stage, change: Value) -> Value {
    let before = server.rows().await;
    let mut preview = change.clone();
    preview["preview"] = json!(true);
    let foreseen = server.post(&stage.act("change"), preview).await.ok(200);
    assert_eq!(server.rows().await, before, "a preview stored something");
    let done = server.post(&stage.act("change"), change.clone()).await.ok(200);
    assert_eq!(foreseen, done, "{change}");
    assert_eq!(server.get(&stage.path).await.ok(200), done["subscription"]);
    done
}

fn amounts(changed: &Value) -> Vec<(&str, i64)> {
    let lines = changed["lines"].as_array().expect("lines");
    lines.iter().map(|line| (line["kind"].as_str().expect("kind"), line["amount"].as_i64().expect("amount"))).collect()
}

on_both! {
    async fn a_dearer_plan_is_charged_for_the_rest_of_the_period(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.pay_all().await;
        server.made("/v1/plans", json!({"name": "Gold", "reference": "gold", "amount": 6000, "billing_frequency": "monthly"})).await;
        // 15 of 30 days are left.
        let changed = change(server, &stage, json!({"plan_id": "gold", "when": "now"})).await;
        assert_eq!(amounts(&changed), [("credit", -1500), ("proration", 3000)]);
        assert_eq!((&changed["effective_date"], &changed["amount"], &changed["credit"]), (&json!("2026-06-16"), &json!(1500), &json!(0)));
        assert_eq!((&changed["subscription"]["amount"], &changed["subscription"]["next_bill_date"]), (&json!(6000), &json!("2026-07-01")));
        let invoice = server.invoices().await.pop().expect("an invoice");
        assert_eq!((invoice.cycle, invoice.total, invoice.status), (None, 1500, InvoiceStatus::Open));
        // A second change credits what the first one charged, not what the month had cost before it.
        server.bill(&stage.clock, "2026-06-21T12:00:00Z").await;
        server.pay_all().await;
        let changed = change(server, &stage, json!({"amount": 3000, "when": "now"})).await;
        assert_eq!(amounts(&changed), [("credit", -2000), ("proration", 1000), ("credit_carried", 1000)]);
        assert_eq!((&changed["amount"], &changed["credit"]), (&json!(0), &json!(1000)));
        assert_eq!(balance(server).await, 1000);
        // And a third what the second one did, though nothing was left to pay for it.
        let changed = change(server, &stage, json!({"quantity": 2, "when": "now"})).await;
        assert_eq!(amounts(&changed), [("credit", -1000), ("proration", 2000)]);
        let invoice = server.invoices().await.pop().expect("an invoice");
        assert_eq!((invoice.subtotal, invoice.credit_applied, invoice.status), (1000, 1000, InvoiceStatus::Paid));
        assert_eq!(balance(server).await, 0);
    }

    async fn a_new_interval_starts_anew_today(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.pay_all().await;
        let changed = change(server, &stage, json!({"billing_frequency": "yearly", "amount": 30000, "when": "now"})).await;
        assert_eq!(amounts(&changed), [("credit", -1500), ("base", 30000)]);
        assert_eq!((&changed["amount"], &changed["subscription"]["next_bill_date"]), (&json!(28500), &json!("2027-06-16")));
        assert_eq!(changed["subscription"]["period"], json!({"start": "2026-06-16", "end": "2027-06-16"}));
        assert_eq!(server.invoices().await.pop().expect("an invoice").cycle, Some(1));
        // Its credit line is no part of what the year costs: all of it but today is given back.
        server.pay_all().await;
        let back = change(server, &stage, json!({"amount": 0, "when": "now"})).await;
        assert_eq!(back["credit"], 30000);
    }

    async fn a_change_at_the_periods_end_waits_and_can_be_undone(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        let changed = change(server, &stage, json!({"amount": 100, "billing_frequency": "weekly", "when": "period_end"})).await;
        assert_eq!((&changed["effective_date"], &changed["amount"]), (&json!("2026-07-01"), &json!(100)));
        let subscription = &changed["subscription"];
        assert_eq!((&subscription["amount"], &subscription["next_amount"]), (&json!(3000), &json!(100)));
        assert_eq!(subscription["pending_change"]["amount"], 100);
        // The next word stands on what waits already.
        server.post(&stage.act("change"), json!({"billing_days": "1,4", "when": "period_end"})).await.ok(200);
        let kept = server.post(&stage.act("keep"), json!({})).await.ok(200);
        assert_eq!((&kept["pending_change"], &kept["next_amount"]), (&Value::Null, &json!(3000)));
        server.conflicts(&stage.act("keep"), json!({})).await;
        server.post(&stage.act("change"), json!({"amount": 700, "billing_days": "31", "when": "period_end"})).await.ok(200);
        // Terms that what waits would not fit are refused, or billing would stop there.
        server.refuses("PATCH", &stage.path, &[(json!({"billing_frequency": "weekly"}), &["billing_frequency"])]).await;
        // The next charge is on the first of the new days.
        server.bill(&stage.clock, "2026-07-30T00:00:00Z").await;
        assert_eq!(server.invoices().await.len(), 1);
        server.bill(&stage.clock, "2026-08-01T00:00:00Z").await;
        assert_eq!(server.invoices().await.pop().expect("an invoice").total, 700);
        assert_eq!(server.get(&stage.path).await.ok(200)["amount"], 700);
    }

    async fn credit_in_another_currency_is_refused_with_a_way_out(server: &TestServer) {
        let stage = stage(server, json!({"currency": "EUR"})).await;
        server.pay_all().await;
        let refused = async |verb: &str, body: Value| {
            let mut previewed = body.clone();
            previewed["preview"] = json!(true);
            let before = server.rows().await;
            let told = server.post(&stage.act(verb), body).await.problem(409)["detail"].as_str().expect("detail").to_owned();
            assert_eq!(server.post(&stage.act(verb), previewed).await.problem(409)["detail"], told.as_str());
            assert_eq!(server.rows().await, before);
            told
        };
        let downgrade = || json!({"amount": 100, "when": "now"});
        let kept = "EUR would be owed to a customer whose credit is kept in USD: ";
        let set = "set the customer's `currency` to EUR, as there was no credit so far, or ";
        let wait = "let it wait for the period's end (`when`: `period_end`), as nothing is owed then";
        assert_eq!(refused("change", downgrade()).await, format!("{kept}{set}{wait}"));
        for (verb, body) in [("pause", json!({"credit": true})), ("cancel", json!({"when": "now", "credit": true}))] {
            assert_eq!(refused(verb, body).await, format!("{kept}{set}leave out `credit`"), "{verb}");
        }
        // Once there was credit, its currency stays.
        server.made("/v1/customers/ada/credits", json!({"amount": 5})).await;
        assert_eq!(refused("change", downgrade()).await, format!("{kept}{wait}"));
        // What is said can be done.
        let waits = server.post(&stage.act("change"), json!({"amount": 100, "when": "period_end", "preview": true})).await.ok(200);
        assert_eq!(waits["credit"], 0);
        let mut tx = server.app.db.begin().await.expect("tx");
        tx.query("delete from credits").run().await.expect("deleted");
        tx.query("update customers set balance = 0").run().await.expect("emptied");
        tx.commit().await.expect("commit");
        server.patch("/v1/customers/ada", json!({"currency": "EUR"})).await.ok(200);
        server.post(&stage.act("change"), downgrade()).await.ok(200);
        assert!(server.get("/v1/customers/ada").await.ok(200)["balance"].as_i64().expect("balance") > 0);
    }

    async fn changes_refuse_terms_that_do_not_fit(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.made("/v1/plans", json!({"name": "Euro", "reference": "euro", "amount": 1, "currency": "EUR", "billing_frequency": "monthly"})).await;
        server.refuses("POST", &stage.act("change"), &[
            (json!({}), &["when"]),
            (json!({"when": "later"}), &["when"]),
            (json!({"when": "now", "plan_id": "nothing"}), &["plan_id"]),
            (json!({"when": "now", "plan_id": "euro"}), &["plan_id"]),
            (json!({"when": "now", "billing_days": "40", "quantity": 0}), &["quantity"]),
            (json!({"when": "now", "billing_days": "40", "duration": 1}), &["billing_days", "duration"]),
            (json!({"when": "period_end", "preview": true, "amount": -1}), &["amount"]),
            (json!({"when": "now", "next_bill_date": "2026-07-01"}), &["next_bill_date"]),
        ]).await;
        // Before the first charge there is nothing to settle: the trial goes on.
        let trial = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly", "trial_days": 30})).await;
        let trial = Stage { clock: stage.clock.clone(), path: format!("/v1/subscriptions/{}", trial["id"].as_str().expect("id")) };
        let changed = change(server, &trial, json!({"billing_frequency": "yearly", "amount": 900, "when": "now"})).await;
        assert_eq!((amounts(&changed), &changed["effective_date"]), (vec![], &json!("2026-07-16")));
        assert_eq!((&changed["subscription"]["status"], &changed["subscription"]["next_amount"]), (&json!("trialing"), &json!(900)));
    }

    async fn a_pause_is_never_billed(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.refuses("POST", &stage.act("pause"), &[
            (json!({"until": "2026-06-16"}), &["until"]),
            (json!({"until": "never"}), &["until"]),
            (json!({"for": 1}), &["for"]),
        ]).await;
        let paused = server.send("POST", &stage.act("pause"), &server.admin, &[], None).await.ok(200);
        assert_eq!((&paused["status"], &paused["next_bill_date"], &paused["next_amount"]), (&json!("paused"), &Value::Null, &Value::Null));
        assert_eq!(server.get(&stage.act("schedule")).await.ok(200)["data"], json!([]));
        for verb in ["pause", "skip", "unpark"] {
            server.conflicts(&stage.act(verb), json!({})).await;
        }
        server.conflicts(&stage.act("change"), json!({"when": "now", "amount": 1})).await;
        server.conflicts(&stage.act("reschedule"), json!({"next_bill_date": "2026-07-05"})).await;
        server.bill(&stage.clock, "2026-08-20T00:00:00Z").await;
        let resumed = server.post(&stage.act("resume"), json!({})).await.ok(200);
        assert_eq!((&resumed["status"], &resumed["next_bill_date"]), (&json!("active"), &json!("2026-09-01")));
        server.conflicts(&stage.act("resume"), json!({})).await;
        let until = server.post(&stage.act("pause"), json!({"until": "2026-10-15"})).await.ok(200);
        assert_eq!((&until["paused_until"], &until["next_bill_date"]), (&json!("2026-10-15"), &json!("2026-11-01")));
        server.bill(&stage.clock, "2026-11-02T00:00:00Z").await;
        assert_eq!(server.invoices().await.len(), 2);
        assert_eq!(server.get(&stage.path).await.ok(200)["status"], "active");
    }

    async fn charges_are_skipped_and_moved(server: &TestServer) {
        let stage = stage(server, json!({"duration": 4})).await;
        let skipped = server.post(&stage.act("skip"), json!({"cycles": 2})).await.ok(200);
        assert_eq!((&skipped["next_bill_date"], &skipped["cycles_billed"]), (&json!("2026-09-01"), &json!(1)));
        server.refuses("POST", &stage.act("skip"), &[(json!({"cycles": 0}), &["cycles"]), (json!({"cycles": 1001}), &["cycles"])]).await;
        let moved = server.post(&stage.act("reschedule"), json!({"next_bill_date": "2026-09-20", "keep_anchor": true})).await.ok(200);
        assert_eq!(moved["next_bill_date"], "2026-09-20");
        let schedule = server.get(&stage.act("schedule")).await.ok(200);
        let dates: Vec<&Value> = schedule["data"].as_array().expect("cycles").iter().map(|cycle| &cycle["bill_date"]).collect();
        assert_eq!(dates, ["2026-09-20", "2026-10-01", "2026-11-01"], "skipped charges do not count");
        server.refuses("POST", &stage.act("reschedule"), &[
            (json!({}), &["next_bill_date"]),
            (json!({"next_bill_date": "2026-06-15"}), &["next_bill_date"]),
            (json!({"next_bill_date": "2026-10-01", "keep_anchor": true}), &["next_bill_date"]),
        ]).await;
        let anew = server.post(&stage.act("reschedule"), json!({"next_bill_date": "2026-07-10"})).await.ok(200);
        assert_eq!(anew["next_bill_date"], "2026-07-10");
        let schedule = server.get(&stage.act("schedule")).await.ok(200);
        assert_eq!(schedule["data"][1]["bill_date"], "2026-08-10");
    }

    async fn skipping_the_only_charge_completes(server: &TestServer) {
        let stage = stage(server, json!({"billing_frequency": "one_time", "next_bill_date": "2026-07-01"})).await;
        let done = server.post(&stage.act("skip"), json!({})).await.ok(200);
        assert_eq!((&done["status"], &done["next_bill_date"]), (&json!("completed"), &Value::Null));
        for (verb, body) in [("skip", json!({})), ("pause", json!({})), ("cancel", json!({"when": "now"})), ("keep", json!({})), ("retry", json!({}))] {
            server.conflicts(&stage.act(verb), body).await;
        }
        server.patch(&stage.path, json!({"amount": 1})).await.problem(409);
    }

    async fn cancelling_now_stops_everything(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        server.made("/v1/customers/ada/credits", json!({"amount": 250})).await;
        server.post(&stage.act("change"), json!({"amount": 6000, "when": "now"})).await.ok(200);
        assert_eq!(balance(server).await, 0);
        server.refuses("POST", &stage.act("cancel"), &[(json!({}), &["when"]), (json!({"when": "never"}), &["when"])]).await;
        // Nothing was paid, so nothing comes back but the credit that was used.
        let cancelled = server.post(&stage.act("cancel"), json!({"when": "now", "credit": true})).await.ok(200);
        assert_eq!((&cancelled["status"], &cancelled["next_bill_date"]), (&json!("cancelled"), &Value::Null));
        assert_eq!(cancelled["cancelled_at"], "2026-06-16T12:00:00Z");
        let invoices = server.invoices().await;
        assert!(invoices.len() == 2 && invoices.iter().all(|invoice| invoice.status == InvoiceStatus::Void && invoice.next_attempt_at.is_none()));
        assert_eq!(balance(server).await, 250);
        server.conflicts(&stage.act("cancel"), json!({"when": "now"})).await;
        server.conflicts(&stage.act("cancel"), json!({"when": "period_end"})).await;
        server.bill(&stage.clock, "2027-06-16T12:00:00Z").await;
        assert_eq!(server.invoices().await.len(), 2);
    }

    async fn cancelling_paid_days_gives_credit_when_asked(server: &TestServer) {
        let clock = server.clock("2026-06-01T00:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        server.made("/v1/customers/ada/credits", json!({"amount": 3000})).await;
        let made = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 3000, "billing_frequency": "monthly"})).await;
        server.bill(&clock, "2026-06-21T12:00:00Z").await;
        assert_eq!((balance(server).await, server.invoices().await[0].status), (0, InvoiceStatus::Paid));
        server.post(&format!("/v1/subscriptions/{}/cancel", made["id"].as_str().expect("id")), json!({"when": "now", "credit": true})).await.ok(200);
        // 10 of 30 days.
        assert_eq!(balance(server).await, 1000);
    }

    async fn cancelling_at_the_periods_end_waits_for_it(server: &TestServer) {
        let stage = stage(server, json!({})).await;
        let waiting = server.post(&stage.act("cancel"), json!({"when": "period_end"})).await.ok(200);
        assert_eq!((&waiting["status"], &waiting["cancel_at_period_end"], &waiting["next_bill_date"]), (&json!("active"), &json!(true), &Value::Null));
        server.conflicts(&stage.act("cancel"), json!({"when": "period_end"})).await;
        server.conflicts(&stage.act("pause"), json!({})).await;
        server.conflicts(&stage.act("change"), json!({"when": "period_end", "amount": 1})).await;
        let kept = server.post(&stage.act("keep"), json!({})).await.ok(200);
        assert_eq!((&kept["cancel_at_period_end"], &kept["next_bill_date"]), (&json!(false), &json!("2026-07-01")));
        server.post(&stage.act("cancel"), json!({"when": "period_end"})).await.ok(200);
        server.bill(&stage.clock, "2026-07-02T00:00:00Z").await;
        assert_eq!(server.get(&stage.path).await.ok(200)["status"], "cancelled");
        assert_eq!(server.invoices().await.len(), 1);
    }

    async fn a_parked_subscription_goes_on_as_the_operator_says(server: &TestServer) {
        let clock = server.clock("2026-06-16T12:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        for (bill, cycles) in [(json!({"bill": "none"}), 0), (json!({"bill": "current"}), 1), (json!({}), 6)] {
            let body = json!({"customer": {"id": "ada"}, "amount": 100, "billing_frequency": "monthly", "next_bill_date": "2026-01-01", "backdated": true});
            let made = server.made("/v1/subscriptions", body).await;
            let path = format!("/v1/subscriptions/{}", made["id"].as_str().expect("id"));
            server.bill(&clock, "2026-06-16T12:00:00Z").await;
            let parked = server.get(&path).await.ok(200);
            assert_eq!((&parked["status"], &parked["next_bill_date"]), (&json!("parked"), &Value::Null));
            assert!(parked["parked_reason"].is_string());
            for verb in ["pause", "resume", "skip"] {
                server.conflicts(&format!("{path}/{verb}"), json!({})).await;
            }
            server.refuses("POST", &format!("{path}/unpark"), &[(json!({"bill": "some"}), &["bill"])]).await;
            let before = server.invoices().await.len();
            let free = server.post(&format!("{path}/unpark"), bill).await.ok(200);
            assert_eq!((&free["status"], &free["next_bill_date"], &free["cycles_billed"]), (&json!("active"), &json!("2026-07-01"), &json!(cycles)));
            assert_eq!(server.invoices().await.len() - before, cycles);
            server.conflicts(&format!("{path}/unpark"), json!({})).await;
        }
    }
}
