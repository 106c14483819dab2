//! The forecast against what a test clock then really opens, and what it refuses.

mod simulate;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rebilld::{
    billing::{
        customers::{self, CustomerInput},
        forecast::{ForecastInput, forecast},
        installment_plans::create::{DownPaymentInput, InstallmentPlanInput},
    },
    domain::{
        calendar::{BusinessDay, local_date},
        clock::Timeline,
        event::Actor,
        forecast::Interval,
        frequency::Frequency,
        id::CustomerId,
        invoice::{Adjustment, Modifier},
        money::{Currency, Percentage},
        plan::{CatchUp, WhilePastDue},
        proration::FirstPeriod,
        subscription::{Change, Subscription, SubscriptionStatus},
    },
};
use serde_json::json;

use crate::{
    http, installments,
    world::{World, date, on_both},
};

type Sums = BTreeMap<(NaiveDate, Currency), (i64, i64)>;

fn modifier(adjustment: Adjustment, duration: i64) -> Modifier {
    let text = || "extra".to_owned();
    Modifier { id: text(), name: text(), description: text(), adjustment, duration, applied_from: 0 }
}

/// One of everything that changes what is charged when. The clock stands at 1 January 2026.
async fn everything(world: &World, customers: &[CustomerId]) -> Vec<Subscription> {
    let mut all = Vec::new();
    let frequencies = [
        (Frequency::Daily, 1, None),
        (Frequency::Daily, 2, Some("7")),
        (Frequency::Weekly, 1, Some("1,4")),
        (Frequency::TwiceMonthly, 1, Some("15,31")),
        (Frequency::Monthly, 1, Some("31")),
        (Frequency::Monthly, 5, None),
        (Frequency::Quarterly, 1, Some("7")),
        (Frequency::Yearly, 1, None),
        (Frequency::OneTime, 1, None),
    ];
    for (i, (frequency, interval, days)) in frequencies.into_iter().enumerate() {
        let mut subscription = world.monthly(customers[i % customers.len()], "2026-01-20").await;
        subscription.amount = 1000 + 7 * rebilld::domain::count(i);
        subscription.billing_frequency = frequency;
        subscription.billing_cycle_interval = interval;
        subscription.billing_days = days.map(str::to_owned);
        all.push(subscription);
    }
    let monthly = |i: usize, start: &'static str| world.monthly(customers[i % customers.len()], start);
    let with = |mut subscription: Subscription, change: fn(&mut Subscription)| {
        change(&mut subscription);
        subscription
    };
    all.push(with(monthly(0, "2026-02-28").await, |s| s.add_ons = vec![modifier(Adjustment::Amount(333), 3)]));
    all.push(with(monthly(1, "2026-03-31").await, |s| {
        let percent = Percentage::from_thousandths(12_500).expect("percentage");
        s.discounts = vec![modifier(Adjustment::Percentage(percent), 2), modifier(Adjustment::Amount(2000), 1)];
    }));
    all.push(with(monthly(2, "2026-01-15").await, |s| s.duration = 4));
    all.push(with(monthly(4, "2026-01-15").await, |s| {
        s.quantity = 3;
        s.add_ons = vec![modifier(Adjustment::Amount(111), 2), modifier(Adjustment::Amount(5), 0)];
        s.pending_change = Some(Change { quantity: Some(2), ..Change::default() });
    }));
    // Cut at both ends, by a calendar of its own.
    all.push(with(monthly(5, "2026-02-10").await, |s| {
        s.billing_days = Some("31".into());
        s.first_period = FirstPeriod::Prorated;
        s.ends_on = Some(date("2026-09-09"));
        s.business_day = BusinessDay::Following;
        s.holiday_calendar = Some("somewhere".into());
    }));
    all.push(with(monthly(4, "2026-01-30").await, |s| s.billing_frequency = Frequency::Daily));
    all.push(with(monthly(5, "2026-01-30").await, |s| s.billing_frequency = Frequency::Weekly));
    all.push(with(monthly(3, "2026-01-15").await, |s| s.ends_on = Some(date("2026-04-20"))));
    all.push(with(monthly(0, "2026-03-01").await, |s| {
        s.status = SubscriptionStatus::Trialing;
        s.trial_ends_on = Some(date("2026-03-01"));
    }));
    all.push(with(monthly(1, "2026-01-10").await, |s| {
        s.pending_change = Some(Change {
            amount: Some(4321),
            billing_frequency: Some(Frequency::Weekly),
            billing_days: Some(None),
            ..Change::default()
        });
    }));
    all.push(with(monthly(2, "2026-01-05").await, |s| {
        s.status = SubscriptionStatus::Paused;
        s.paused_until = Some(date("2026-05-20"));
    }));
    all.push(with(monthly(3, "2026-01-05").await, |s| s.status = SubscriptionStatus::Paused));
    all.push(with(monthly(0, "2026-01-05").await, |s| {
        s.status = SubscriptionStatus::Parked;
        s.parked_reason = Some("a test".into());
    }));
    all.push(with(monthly(1, "2026-01-05").await, |s| {
        s.cancel_at_period_end = true;
        s.period_end = Some(date("2026-02-05"));
    }));
    all.push(with(monthly(2, "2026-01-05").await, |s| {
        s.status = SubscriptionStatus::PastDue;
        s.while_past_due = WhilePastDue::Hold;
    }));
    // Moved beyond the charge after it, which waits for it.
    all.push(with(monthly(3, "2026-01-05").await, |s| s.moved_to = Some(date("2026-02-10"))));
    all.push(with(monthly(0, "2026-01-31").await, |s| s.business_day = BusinessDay::ModifiedFollowing));
    all.push(with(monthly(1, "2026-02-14").await, |s| {
        s.billing_days = Some("31".into());
        s.first_period = FirstPeriod::Prorated;
        s.currency = "JPY".parse().expect("currency");
    }));
    // Three months behind, and only the last of them is billed.
    all.push(with(monthly(2, "2025-10-12").await, |s| s.catch_up = CatchUp::BillCurrent));
    // Further behind than the limit: parked by the first bill run.
    all.push(monthly(3, "2025-03-12").await);
    all
}

/// What was really opened, but for these, by the day on which the customer's calendar stood.
async fn opened(world: &World, before: &[String], interval: Interval, (from, to): (&str, &str)) -> Sums {
    let range = rebilld::domain::forecast::Range { from: date(from), to: date(to), interval };
    let mut sums = Sums::new();
    for invoice in world.invoices().await.iter().filter(|invoice| invoice.subtotal > 0 && !before.contains(&invoice.number)) {
        let day = local_date(invoice.created_at, invoice.timezone.0);
        if let Some((start, _)) = range.part(day) {
            let sum = sums.entry((start, invoice.currency)).or_default();
            *sum = (sum.0 + 1, sum.1 + invoice.subtotal);
        }
    }
    sums
}

on_both! {
    async fn a_forecast_is_what_the_clock_then_opens(world: World) {
        // Half of them are a day away from UTC's when their six in the morning comes.
        let zones = ["America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu", "Pacific/Chatham"];
        let mut customers = Vec::new();
        for zone in zones {
            let customer = world.customer(zone).await;
            let token = world.token();
            world.method(customer, false, &token).await;
            customers.push(customer);
        }
        for subscription in everything(&world, &customers).await {
            world.add(subscription).await;
        }
        let installments = |i: usize, first_date, count| InstallmentPlanInput {
            down_payment: Some(DownPaymentInput { amount: Some(1234), percentage: None }),
            ..installments::monthly(customers[i], first_date, count)
        };
        world.plan(installments(0, "2026-02-28", 4)).await;
        world.plan(installments(1, "2026-11-30", 9)).await;
        // Down payments are owed at once: they are open already.
        let before: Vec<String> = world.invoices().await.into_iter().map(|invoice| invoice.number).collect();
        let mut foretold = Vec::new();
        let year = ("2026-01-01", "2027-01-01");
        let ranges = [year, ("2026-01-01", "2026-06-17"), ("2026-06-17", "2027-01-01"), ("2026-02-28", "2026-03-01")];
        for (interval, (from, to)) in Interval::ALL.iter().flat_map(|interval| ranges.map(|range| (*interval, range))) {
            let input = ForecastInput { from: Some(date(from)), to: Some(date(to)), interval: Some(interval), clock_id: Some(Timeline::Test(world.clock)) };
            let forecast = forecast(&world.app, input).await.expect("a forecast");
            let sums: Sums =
                forecast.sums.iter().map(|((start, _, currency, _), sum)| ((*start, *currency), (sum.charges, sum.amount))).collect();
            assert_eq!(sums.values().map(|sum| sum.0).sum::<i64>(), forecast.totals().values().map(|sum| sum.charges).sum::<i64>());
            foretold.push((interval, from, to, sums));
        }
        world.advance("2027-01-02T12:00:00Z").await;
        for (interval, from, to, sums) in foretold {
            let opened = opened(&world, &before, interval, (from, to)).await;
            let spans: BTreeSet<_> = sums.keys().chain(opened.keys()).collect();
            let differing: Vec<_> = spans.into_iter().filter(|span| sums.get(*span) != opened.get(*span)).collect();
            assert!(differing.is_empty(), "{interval} {from} {to}: {differing:?}\nforetold {sums:?}\nopened {opened:?}");
            assert!((from, to) != year || (sums.len() > 20 && sums.keys().any(|key| key.1 != Currency::USD)), "{sums:?}");
            assert!(!sums.is_empty(), "{interval} {from} {to}");
        }
    }

    async fn what_is_owed_already_and_credit_are_no_part_of_a_forecast(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, "decline2020000000000").await;
        let subscription = world.monthly(customer, "2026-01-01").await;
        world.add(subscription).await;
        world.advance("2026-01-01T12:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-01 declined"]);
        let key = customer.to_string();
        customers::give_credit(&world.app, &Actor::System, &key, 700, None, "sorry".into()).await.expect("credit");
        // Somebody who lives by another clock.
        let elsewhere = CustomerInput { name: "Ben".into(), ..CustomerInput::default() };
        let elsewhere = customers::create(&world.app, &Actor::System, elsewhere).await.expect("customer");
        let mut other = world.monthly(elsewhere.id, "2026-01-20").await;
        other.timeline = Timeline::Wall;
        world.add(other).await;
        let forecast = async |from: &str, to: &str| {
            let input = ForecastInput { from: Some(date(from)), to: Some(date(to)), interval: Some(Interval::Month), clock_id: Some(Timeline::Test(world.clock)) };
            let totals = forecast(&world.app, input).await.expect("a forecast").totals();
            totals.values().map(|sum| (sum.charges, sum.amount)).collect::<Vec<_>>()
        };
        // The invoice of January is open, and will be tried again in January: neither is a charge to come.
        assert_eq!(forecast("2026-01-01", "2026-02-01").await, []);
        // Nor is anything before today, however far back it is asked for.
        assert_eq!(forecast("2025-01-01", "2026-02-01").await, []);
        // What will be invoiced, of which the credit pays a part.
        assert_eq!(forecast("2026-02-01", "2026-03-01").await, [(1, 1000)]);
        assert_eq!(forecast("2026-01-01", "2027-01-01").await, [(11, 11_000)]);
    }

    async fn a_forecast_reads_past_its_batches_and_counts_each_subscription_once(world: World) {
        let customer = world.customer("UTC").await;
        let mut subscriptions = Vec::new();
        for _ in 0..1203 {
            let mut subscription = world.monthly(customer, "2026-01-20").await;
            subscription.refresh(&world.app.rules);
            subscriptions.push(subscription);
        }
        let mut tx = world.app.db.begin().await.expect("tx");
        rebilld::store::subscriptions::insert(&mut tx, &subscriptions).await.expect("subscriptions");
        tx.commit().await.expect("commit");
        let input = ForecastInput {
            from: Some(date("2026-01-01")),
            to: Some(date("2026-03-01")),
            interval: Some(Interval::Month),
            clock_id: Some(Timeline::Test(world.clock)),
        };
        let forecast = forecast(&world.app, input.clone()).await.expect("a forecast");
        assert_eq!(forecast.sums.values().map(|sum| (sum.charges, sum.amount)).collect::<Vec<_>>(), [(1203, 1_203_000); 2]);
        // Nobody lives by the wall clock, and unasked it is about everybody.
        let of = async |clock_id| {
            let input = ForecastInput { clock_id, ..input.clone() };
            self::forecast(&world.app, input).await.expect("a forecast").sums
        };
        assert!(of(Some(Timeline::Wall)).await.is_empty());
        assert_eq!(of(None).await, forecast.sums);
    }
}

http::on_both! {
    async fn the_forecast_over_http(server: &http::TestServer) {
        // The wall clock stands at 1 June 2026, noon.
        let customer = server.made("/v1/customers", json!({"name": "Ada", "timezone": "Europe/Berlin"})).await;
        let body = json!({"customer": {"id": customer["id"]}, "amount": 1250, "billing_frequency": "weekly", "next_bill_date": "2026-06-05"});
        server.made("/v1/subscriptions", body).await;
        let forecast = server.get("/v1/forecast?from=2026-06-01&to=2026-07-01&interval=week").await.ok(200);
        assert_eq!(
            forecast,
            json!({
                "from": "2026-06-01", "to": "2026-07-01", "interval": "week",
                "data": [
                    {"start": "2026-06-01", "end": "2026-06-08", "currency": "USD", "clock_id": null, "charges": 1, "amount": 1250},
                    {"start": "2026-06-08", "end": "2026-06-15", "currency": "USD", "clock_id": null, "charges": 1, "amount": 1250},
                    {"start": "2026-06-15", "end": "2026-06-22", "currency": "USD", "clock_id": null, "charges": 1, "amount": 1250},
                    {"start": "2026-06-22", "end": "2026-06-29", "currency": "USD", "clock_id": null, "charges": 1, "amount": 1250},
                ],
                "totals": [{"start": "2026-06-01", "end": "2026-07-01", "currency": "USD", "clock_id": null, "charges": 4, "amount": 5000}],
            })
        );
        // Somebody on a test clock that stands a year earlier is told apart.
        let clock = server.made("/v1/clocks", json!({"name": "then", "now": "2025-06-01T12:00:00Z"})).await;
        let then = server.made("/v1/customers", json!({"name": "Then", "clock_id": clock["id"]})).await;
        let body = json!({"customer": {"id": then["id"]}, "amount": 70, "billing_frequency": "monthly", "next_bill_date": "2025-06-10"});
        server.made("/v1/subscriptions", body).await;
        let totals = async |query: &str| {
            let forecast = server.get(&format!("/v1/forecast?from=2026-06-01&to=2026-07-01&interval=month{query}")).await.ok(200);
            assert_eq!(forecast["data"], forecast["totals"]);
            let rows = forecast["totals"].as_array().expect("totals").clone();
            rows.iter().map(|row| (row["clock_id"].clone(), row["amount"].clone())).collect::<Vec<_>>()
        };
        let (wall, test) = ((json!(null), json!(5000)), (clock["id"].clone(), json!(70)));
        assert_eq!(totals("").await, [wall.clone(), test.clone()]);
        assert_eq!(totals("&clock_id=wall").await, [wall]);
        assert_eq!(totals(&format!("&clock_id={}", clock["id"].as_str().expect("id"))).await, [test]);
        // Today, for a year, day by day.
        let by_itself = server.get("/v1/forecast?clock_id=wall").await.ok(200);
        assert_eq!((&by_itself["from"], &by_itself["to"], &by_itself["interval"]), (&json!("2026-06-01"), &json!("2027-06-01"), &json!("day")));
        assert_eq!(by_itself["data"].as_array().map(Vec::len), Some(52));
        for (query, fields) in [
            ("from=2026-06-01&to=2026-06-01", &["to"][..]),
            ("from=2026-06-01&to=2036-06-02&interval=month", &["to"]),
            ("from=2026-06-01&to=2036-06-01&interval=day", &["interval"]),
            ("from=june&to=2026-13-01&interval=year", &["from", "to", "interval"]),
            ("unknown=1", &["unknown"]),
            ("clock_id=clk_01h455vb4pex5vsknk084sn02q", &["clock_id"]),
            ("clock_id=earth", &["clock_id"]),
        ] {
            assert_eq!(server.get(&format!("/v1/forecast?{query}")).await.faults(), fields, "{query}");
        }
        server.get("/v1/forecast?from=2026-06-01&to=2036-06-01&interval=month").await.ok(200);
        assert_eq!(server.send("GET", "/v1/forecast", "", &[], None).await.status, 401);
    }
}
