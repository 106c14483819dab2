//! Random sequences of what operators do, over HTTP on both databases: each preview is what the action then does, and what is shown
//! afterwards is what the bill run opens.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{TestServer, on_both};

/// Numbers from a seed, so that what failed can be done again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let n = self.below(all.len() as u64);
        &all[usize::try_from(n).expect("small")]
    }

    fn day_after(&mut self, now: DateTime<Utc>, within: u64) -> NaiveDate {
        now.date_naive().checked_add_days(Days::new(2 + self.below(within))).expect("date")
    }

    fn terms(&mut self) -> Value {
        let (frequency, days) = *self.of(&[
            ("monthly", None),
            ("monthly", Some("31")),
            ("monthly", Some("1")),
            ("weekly", Some("1,4")),
            ("daily", Some("10")),
            ("twice_monthly", Some("1,15")),
            ("quarterly", None),
        ]);
        json!({"amount": self.below(9000), "quantity": 1 + self.below(3), "billing_frequency": frequency, "billing_days": days})
    }

    fn change(&mut self) -> Value {
        let mut change = match self.below(5) {
            0 => self.terms(),
            1 => json!({"quantity": 1 + self.below(3)}),
            2 => json!({"add_ons": [{"id": "extra", "duration": self.below(3)}]}),
            3 => json!({"add_ons": [], "discounts": [{"id": "less"}]}),
            _ => json!({"amount": self.below(9000)}),
        };
        if self.below(3) == 0 {
            change["keep_anchor"] = json!(self.below(2) == 0);
        }
        change
    }

    /// Method, verb, body.
    fn action(&mut self, now: DateTime<Utc>) -> (&'static str, &'static str, Value) {
        let coin = |dice: &mut Self| dice.below(2) == 0;
        match self.below(12) {
            0 | 1 => {
                let until = coin(self).then(|| self.day_after(now, 60));
                ("POST", "pause", json!({"until": until, "credit": coin(self)}))
            }
            2 => {
                let until = coin(self).then(|| self.day_after(now, 90));
                ("POST", "pause", json!({"until": until, "when": "period_end"}))
            }
            3 | 4 => ("POST", "resume", json!({})),
            5 => ("POST", "skip", json!({"cycles": 1 + self.below(2)})),
            6 => ("POST", "reschedule", json!({"next_bill_date": self.day_after(now, 40), "keep_anchor": coin(self)})),
            7 => {
                let mut change = self.change();
                change["when"] = json!("period_end");
                ("POST", "change", change)
            }
            8 => ("PATCH", "", self.change()),
            9 => match self.below(3) {
                0 => ("POST", "cancel", json!({"when": "period_end"})),
                1 => ("POST", "keep", json!({})),
                _ => ("POST", "change", json!({"when": "now", "ends_on": self.day_after(now, 90)})),
            },
            _ => {
                let mut change = self.change();
                change["when"] = json!("now");
                ("POST", "change", change)
            }
        }
    }
}

async fn billed(server: &TestServer, path: &str, after: usize) -> Vec<Value> {
    let id = path.rsplit('/').next().expect("id").to_owned();
    let own = server.invoices().await.into_iter().filter(|invoice| invoice.subscription_id.is_some_and(|s| s.to_string() == id));
    own.skip(after)
        .map(|invoice| {
            assert_eq!(invoice.lines.iter().map(|line| line.amount).sum::<i64>(), invoice.subtotal, "lines of {}", invoice.number);
            json!({"cycle": invoice.cycle, "period_start": invoice.period_start, "period_end": invoice.period_end, "lines": invoice.lines, "amount": invoice.subtotal})
        })
        .collect()
}

async fn sequence(server: &TestServer, seed: u64) -> usize {
    let mut dice = Dice(seed);
    let start: DateTime<Utc> = "2026-01-20T12:00:00Z".parse().expect("instant");
    let clock = server.clock("2026-01-20T12:00:00Z").await;
    let customer =
        server.made("/v1/customers", json!({"name": "Ada", "clock_id": clock})).await["id"].as_str().expect("id").to_owned();
    let balance = async || server.get(&format!("/v1/customers/{customer}")).await.ok(200)["balance"].as_i64().expect("balance");
    let mut terms = dice.terms();
    terms["customer"] = json!({"id": customer});
    terms["first_period"] = json!(dice.of(&["full", "prorated", "free"]));
    terms["business_day"] = json!(dice.of(&["none", "following"]));
    if dice.below(3) == 0 {
        terms["trial_days"] = json!(dice.below(20));
    }
    let made = server.made("/v1/subscriptions", terms.clone()).await;
    let path = format!("/v1/subscriptions/{}", made["id"].as_str().expect("id"));
    let (mut now, mut acted) = (start, 0);
    let mut log = vec![terms.to_string()];
    for _ in 0..14 {
        let known = billed(server, &path, 0).await.len();
        if dice.below(3) == 0 {
            let to = now + TimeDelta::hours(i64::try_from(dice.below(24 * 35)).expect("small"));
            let shown = server.get(&format!("{path}/schedule?count=60")).await.ok(200);
            let due = |cycle: &&Value| {
                cycle["bill_at"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok()).is_some_and(|at| at <= to)
            };
            let mut foreseen: Vec<Value> = shown["data"].as_array().expect("cycles").iter().take_while(due).cloned().collect();
            for cycle in &mut foreseen {
                for name in ["bill_date", "bill_at"] {
                    cycle.as_object_mut().expect("object").remove(name);
                }
            }
            server.bill(&clock, &to.to_rfc3339()).await;
            now = to;
            log.push(format!("to {to}"));
            assert_eq!(billed(server, &path, known).await, foreseen, "seed {seed}: {log:#?}");
            continue;
        }
        let (method, verb, body) = dice.action(now);
        let target = if verb.is_empty() { path.clone() } else { format!("{path}/{verb}") };
        let send =
            async |body: &Value| server.send(method, &target, &server.admin, &[], Some(body.to_string().into_bytes())).await;
        let mut preview = body.clone();
        preview["preview"] = json!(true);
        let (rows, credit) = (server.rows().await, balance().await);
        let foreseen = send(&preview).await;
        assert_eq!(server.rows().await, rows, "seed {seed}: a preview of {verb} {body} stored something");
        let done = send(&body).await;
        log.push(format!("{verb} {body}: {}", done.status));
        assert_eq!(foreseen.status, done.status, "seed {seed}: {foreseen:?} {log:#?}");
        assert!([200, 409, 422].contains(&done.status), "seed {seed}: {done:?} {log:#?}");
        if done.status != 200 {
            continue;
        }
        acted += 1;
        let (foreseen, mut done) = (foreseen.json(), done.json());
        if let Some(outcome) = done.as_object_mut().expect("an object").remove("outcome") {
            for (figure, value) in outcome.as_object().expect("figures") {
                assert_eq!(foreseen[figure], *value, "seed {seed}: {figure}: {log:#?}");
            }
        }
        let subscription = if verb == "change" { &done["subscription"] } else { &done };
        assert_eq!(foreseen["subscription"], *subscription, "seed {seed}: {log:#?}");
        assert_eq!(
            foreseen["upcoming"],
            server.get(&format!("{path}/schedule?count=3")).await.ok(200)["data"],
            "seed {seed}: {log:#?}"
        );
        let opened = billed(server, &path, known).await;
        let used: i64 = server
            .invoices()
            .await
            .iter()
            .filter(|i| i.subscription_id.is_some_and(|s| path.ends_with(&s.to_string())))
            .skip(known)
            .map(|i| i.credit_applied)
            .sum();
        assert_eq!(json!(balance().await - credit + used), foreseen["credit"], "seed {seed}: {log:#?}");
        if let [invoice] = &opened[..] {
            assert_eq!(
                (&invoice["lines"], &invoice["amount"]),
                (&foreseen["lines"], &foreseen["amount"]),
                "seed {seed}: {log:#?}"
            );
        } else {
            assert!(opened.is_empty(), "seed {seed}: {log:#?}");
        }
    }
    acted
}

on_both! {
    async fn previews_are_what_is_done_and_shown_what_is_billed(server: &TestServer) {
        server.made("/v1/add-ons", json!({"name": "Extra", "amount": 200, "reference": "extra"})).await;
        server.made("/v1/discounts", json!({"name": "Less", "percentage": 12.5, "reference": "less"})).await;
        let mut acted = 0;
        for seed in 0..16 {
            acted += sequence(server, seed).await;
        }
        assert!(acted > 60, "only {acted} actions were allowed");
    }
}
