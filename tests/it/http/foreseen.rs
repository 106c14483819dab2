//! What was foreseen is what is billed: a preview, a subscription's schedule, and the invoices of the year that follows agree in
//! every date, period, line and amount.

use std::time::Duration;

use rebilld::{
    billing,
    domain::{api_key::Scope, event::Actor},
    http,
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::world::{World, on_both};

/// The world's server.
struct Client {
    base: String,
    key: String,
    client: reqwest::Client,
}

impl Client {
    async fn of(world: &World) -> Self {
        let (_, key) = billing::api_keys::create(&world.app, &Actor::System, "test", Scope::Admin).await.expect("key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        // Ends with the test's runtime.
        tokio::spawn(http::serve(listener, world.app.clone(), CancellationToken::new()));
        Self { base, key, client: reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("client") }
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, text) = (response.status(), response.text().await.expect("text"));
        assert!(status.is_success(), "{path} {body:?}: {status} {text}");
        serde_json::from_str(&text).expect("json")
    }

    async fn get(&self, path: &str) -> Value {
        self.send(reqwest::Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.send(reqwest::Method::POST, path, Some(body)).await
    }
}

/// Terms with the first charge, and what is said of the zone.
fn cases() -> Vec<(&'static str, &'static str, Value)> {
    let extra = json!([{"id": "extra", "duration": 3}, {"id": "share"}]);
    let less = json!([{"id": "less", "duration": 2}, {"id": "off", "amount": 50}]);
    vec![
        ("America/New_York", "2026-01-31", json!({"billing_frequency": "monthly", "billing_days": "31", "amount": 1999})),
        (
            "Pacific/Auckland",
            "2026-01-31",
            json!({"billing_frequency": "monthly", "billing_days": "0", "amount": 1000, "add_ons": extra, "discounts": less}),
        ),
        ("Europe/Berlin", "2026-02-28", json!({"billing_frequency": "monthly", "amount": 999, "quantity": 3})),
        (
            "America/Sao_Paulo",
            "2026-01-14",
            json!({"billing_frequency": "monthly", "billing_days": "31", "amount": 1001, "first_period": "prorated", "add_ons": extra}),
        ),
        (
            "Asia/Kathmandu",
            "2026-01-14",
            json!({"billing_frequency": "monthly", "billing_days": "1", "amount": 1001, "first_period": "free"}),
        ),
        (
            "Pacific/Kiritimati",
            "2026-01-05",
            json!({"billing_frequency": "twice_monthly", "billing_days": "15,31", "amount": 777, "first_period": "prorated"}),
        ),
        (
            "America/Los_Angeles",
            "2026-01-04",
            json!({"billing_frequency": "twice_monthly", "billing_days": "1,15", "billing_cycle_interval": 2, "amount": 500}),
        ),
        (
            "Australia/Lord_Howe",
            "2026-01-02",
            json!({"billing_frequency": "weekly", "billing_days": "1,4", "billing_cycle_interval": 3, "amount": 300, "first_period": "free"}),
        ),
        ("Africa/Casablanca", "2026-01-03", json!({"billing_frequency": "weekly", "amount": 250, "duration": 10})),
        (
            "UTC",
            "2026-01-10",
            json!({"billing_frequency": "daily", "billing_days": "7", "billing_cycle_interval": 2, "amount": 100}),
        ),
        (
            "Europe/London",
            "2026-01-10",
            json!({"billing_frequency": "daily", "billing_days": "30", "amount": 100, "ends_on": "2026-07-01"}),
        ),
        (
            "Asia/Tokyo",
            "2026-01-31",
            json!({"billing_frequency": "quarterly", "billing_days": "31", "amount": 9000, "discounts": less}),
        ),
        (
            "America/St_Johns",
            "2026-02-21",
            json!({"billing_frequency": "monthly", "billing_days": "15", "billing_cycle_interval": 3, "amount": 4000, "first_period": "prorated"}),
        ),
        (
            "UTC",
            "2026-01-17",
            json!({"billing_frequency": "monthly", "billing_days": "15", "amount": 3100, "first_period": "prorated", "ends_on": "2026-05-05"}),
        ),
        (
            "UTC",
            "2026-01-17",
            json!({"billing_frequency": "monthly", "billing_days": "31", "amount": 3100, "ends_on": "2026-01-25"}),
        ),
        ("Europe/Paris", "2026-03-29", json!({"billing_frequency": "yearly", "amount": 12_000, "quantity": 2, "add_ons": extra})),
        (
            "UTC",
            "2026-05-16",
            json!({"billing_frequency": "monthly", "amount": 100, "business_day": "modified_following", "duration": 7}),
        ),
        (
            "America/Chicago",
            "2026-01-31",
            json!({"billing_frequency": "monthly", "billing_days": "31", "amount": 100, "business_day": "preceding"}),
        ),
        (
            "UTC",
            "2026-06-06",
            json!({"billing_frequency": "one_time", "amount": 4242, "business_day": "following", "discounts": less}),
        ),
        ("UTC", "2026-01-20", json!({"billing_frequency": "monthly", "amount": 40, "discounts": [{"id": "off"}], "duration": 4})),
    ]
}

fn with(terms: &Value, more: Value) -> Value {
    let mut all: Map<String, Value> = terms.as_object().expect("terms").clone();
    all.extend(more.as_object().expect("more").clone());
    all.into()
}

/// What an invoice and a charge foreseen must have in common.
fn told(cycle: &Value, period: (&Value, &Value), at: &Value, lines: &Value, amount: &Value) -> String {
    format!("{cycle} {} to {} at {at}: {amount} {lines}", period.0, period.1)
}

on_both! {
    async fn a_year_is_billed_as_it_was_foreseen(world: World) {
        const END: &str = "2027-01-01T00:00:00Z";
        let client = Client::of(&world).await;
        client.post("/v1/add-ons", &json!({"name": "Extra", "amount": 200, "reference": "extra"})).await;
        client.post("/v1/add-ons", &json!({"name": "Share", "percentage": 7.125, "reference": "share"})).await;
        client.post("/v1/discounts", &json!({"name": "Less", "percentage": 33.333, "reference": "less"})).await;
        client.post("/v1/discounts", &json!({"name": "Off", "amount": 100, "reference": "off"})).await;
        let mut foreseen = Vec::new();
        for (i, (zone, start, terms)) in cases().into_iter().enumerate() {
            let reference = format!("c{i}");
            let customer = json!({"name": "Ada", "reference": reference, "clock_id": world.clock, "timezone": zone});
            client.post("/v1/customers", &customer).await;
            let token = json!({"gateway": "fluid", "kind": "vault_token", "customer_token": world.token()});
            client.post(&format!("/v1/customers/{reference}/payment-methods"), &token).await;
            let terms = with(&terms, json!({"description": format!("Case {i}")}));
            let preview = with(&terms, json!({"start_date": start, "timezone": zone, "count": 60}));
            let preview = client.post("/v1/schedules/preview", &preview).await["data"].clone();
            let made = client.post("/v1/subscriptions", &with(&terms, json!({"customer": {"id": reference}, "next_bill_date": start}))).await;
            let id = made["id"].as_str().expect("id").to_owned();
            let schedule = client.get(&format!("/v1/subscriptions/{id}/schedule?count=60")).await["data"].clone();
            assert_eq!(preview, schedule, "{zone} {terms}");
            assert_eq!((&made["next_bill_at"], &made["next_amount"]), (&schedule[0]["bill_at"], &schedule[0]["amount"]));
            foreseen.push((id, terms, schedule));
        }
        // One leap, some days, and the rest: it must make no difference.
        for to in ["2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z", "2026-09-15T06:00:00Z", END] {
            world.advance(to).await;
        }
        let mut billed = 0;
        for (id, terms, schedule) in &foreseen {
            let list = client.get(&format!("/v1/invoices?subscription_id={id}&limit=250")).await;
            assert_eq!(list["has_more"], false);
            let mut invoices = list["data"].as_array().expect("invoices").clone();
            invoices.reverse();
            let found: Vec<String> = invoices.iter().map(|invoice| {
                told(&invoice["cycle"], (&invoice["period"]["start"], &invoice["period"]["end"]), &invoice["due_at"], &invoice["lines"], &invoice["subtotal"])
            }).collect();
            let by_then = |charge: &&Value| charge["bill_at"].as_str().is_some_and(|at| at <= END);
            let expected: Vec<String> = schedule.as_array().expect("charges").iter().filter(by_then).map(|charge| {
                told(&charge["cycle"], (&charge["period_start"], &charge["period_end"]), &charge["bill_at"], &charge["lines"], &charge["amount"])
            }).collect();
            assert_eq!(found, expected, "{terms}");
            assert!(!found.is_empty() && found.len() < 60, "{terms}: {} charges", found.len());
            assert!(invoices.iter().all(|invoice| invoice["status"] == "paid"), "{terms}");
            billed += found.len();
            // And what is said to come now is what was said to come after these.
            let rest = client.get(&format!("/v1/subscriptions/{id}/schedule?count=10")).await["data"].clone();
            let said: Vec<&Value> = schedule.as_array().expect("charges").iter().skip(found.len()).collect();
            for (now, before) in rest.as_array().expect("charges").iter().zip(said) {
                assert_eq!(now, before, "{terms}");
            }
        }
        assert!(billed > 150, "only {billed}");
        world.prove().await;
    }
}
