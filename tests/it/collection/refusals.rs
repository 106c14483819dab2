//! What a gateway refuses for other reasons than the customer: it is told, nobody pays for it with a dunning step, and it goes on once
//! it is mended.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    billing::{self, App, collection::run::collect_due, gateways::refusals, invariants, payments::look_up::look_up_payments},
    clock::Clock,
    config::Config,
    domain::{
        clock::Timeline,
        event::Actor,
        invoice::{Invoice, InvoiceStatus},
        payment::{DeclineClass, PaymentStatus},
        subscription::{Subscription, SubscriptionStatus},
    },
    gateway::Gateways,
    sandbox::{Rule, Script},
    store::{Db, gateways},
};
use serde_json::json;

use super::early::{authorizations, early};
use crate::world::*;

fn rule(fault: &str, token: &str) -> Rule {
    serde_json::from_value(json!({ "match": { "token": token }, "fault": fault, "times": 0 })).expect("a rule")
}

/// A customer of FluidPay with a monthly subscription from 10 January on, and the token.
async fn subscribed(world: &World) -> (Subscription, String) {
    let token = world.token();
    let customer = world.customer("UTC").await;
    world.method(customer, false, &token).await;
    (world.add(world.monthly(customer, "2026-01-10").await).await, token)
}

async fn scripted(world: &World, codes: &[u16]) -> Subscription {
    let (subscription, token) = subscribed(world).await;
    world.sandbox.sandbox().set_script(&token, Script { declines: codes.iter().copied().collect(), ..Script::default() });
    subscription
}

/// Another daemon on the database of the world, with other settings.
async fn with(world: &World, change: impl FnOnce(&mut Config)) -> Arc<App> {
    let mut config = world.app.config.clone();
    change(&mut config);
    app(Db::open(&world.url, 8, false).await.expect("database"), config, "other")
}

async fn with_wrong_key(world: &World) -> Arc<App> {
    with(world, |config| config.gateways.get_mut("fluid").expect("fluid").api_key = "revoked".into()).await
}

/// Names and details of the health lines that do not hold.
async fn broken(world: &World) -> Vec<(&'static str, Vec<String>)> {
    let all = invariants::check(&world.app).await.expect("checked");
    all.into_iter().filter(|one| !one.holds()).map(|one| (one.invariant.name, one.found.ids)).collect()
}

fn names<T>(broken: &[(&'static str, T)]) -> Vec<&'static str> {
    broken.iter().map(|line| line.0).collect()
}

async fn told(world: &World, kind: &str) -> usize {
    world.events(None).await.iter().filter(|told| *told == kind).count()
}

async fn of(world: &World, subscription: &Subscription) -> Vec<Invoice> {
    world.invoices().await.into_iter().filter(|invoice| invoice.subscription_id == Some(subscription.id)).collect()
}

on_both! {
    async fn a_wrong_key_rests_its_gateway_is_told_once_and_costs_nobody_a_step(world: World) {
        let mut world = world;
        let right = world.app.clone();
        let mut subscriptions = Vec::new();
        for _ in 0..6 {
            subscriptions.push(subscribed(&world).await.0);
        }
        let elsewhere = world.customer("UTC").await;
        world.method(elsewhere, true, &world.prior()).await;
        let elsewhere = world.add(world.monthly(elsewhere, "2026-01-10").await).await;

        world.app = with_wrong_key(&world).await;
        world.advance("2026-02-14T07:00:00Z").await;
        let payments: Vec<_> = world.payments().await.into_iter().filter(|payment| payment.gateway == "fluid").collect();
        assert!(payments.iter().all(|payment| payment.decline_class == Some(DeclineClass::AccountRefused)), "{payments:?}");
        // At first all six are under way; after that one a day.
        let mut days: Vec<_> = payments.iter().map(|payment| payment.created_at.date_naive()).filter(|day| *day > date("2026-01-10")).collect();
        assert_eq!(days.len(), 35);
        days.dedup();
        assert_eq!(days.len(), 35, "no two on a day");
        let tried: std::collections::BTreeSet<_> = payments.iter().skip(6).map(|payment| payment.invoice_id).collect();
        assert!(tried.len() > 1, "not always the same invoice");
        for subscription in &subscriptions {
            assert_eq!(world.subscription(subscription).await.status, SubscriptionStatus::Active);
            assert!(of(&world, subscription).await.iter().all(|invoice| (invoice.status, invoice.dunning_step) == (InvoiceStatus::Open, 0)));
        }
        assert!(of(&world, &elsewhere).await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid), "other gateways go on");
        assert_eq!((told(&world, "gateway.refused").await, told(&world, "gateway.resumed").await, told(&world, "invoice.dunning").await), (1, 0, 0));
        let lines = broken(&world).await;
        assert_eq!(names(&lines), ["invoices_refused", "gateways_refused"]);
        assert_eq!(lines[1].1, ["fluid (unauthorized (http_401))"]);

        // The same key again changes nothing; another key ends it, and what waited is due at once.
        refusals::forget_replaced_keys(&world.app).await.expect("looked");
        assert_eq!(told(&world, "gateway.resumed").await, 0);
        world.app = right;
        refusals::forget_replaced_keys(&world.app).await.expect("looked");
        world.advance("2026-02-14T07:00:01Z").await;
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
        assert_eq!((told(&world, "gateway.refused").await, told(&world, "gateway.resumed").await), (1, 1));
        assert_eq!(broken(&world).await, []);
        assert_eq!(world.prove().await, 14);
    }

    async fn a_probe_that_succeeds_ends_a_refusal_for_everybody(world: World) {
        for code in [440, 27] {
            let paylike = code == 27;
            let mut invoices = Vec::new();
            for index in 0..3 {
                let token = if paylike { world.prior() } else { world.token() };
                let customer = world.customer("UTC").await;
                world.method(customer, paylike, &token).await;
                let start = if paylike { "2026-01-20" } else { "2026-01-10" };
                let mut subscription = world.monthly(customer, start).await;
                subscription.duration = 1;
                invoices.push(world.add(subscription).await);
                if index == 0 {
                    // Alone at first, so that the others find the gateway at rest.
                    world.sandbox.sandbox().set_script(&token, Script { declines: [code].into(), ..Script::default() });
                    world.advance(&format!("{start}T06:00:00Z")).await;
                }
            }
            let start = if paylike { "2026-01-20" } else { "2026-01-10" };
            world.advance(&format!("{start}T23:00:00Z")).await;
            for invoice in &invoices {
                assert_eq!(of(&world, invoice).await[0].status, InvoiceStatus::Open, "{code}");
            }
            let gateway = if paylike { "paylike" } else { "fluid" };
            assert_eq!(names(&broken(&world).await), ["gateways_refused"]);
            assert_eq!(gateways::refused(&world.app.db).await.expect("read")[0].gateway, gateway);
            // The next day one goes first, and the others follow at once.
            let next = at(&format!("{start}T06:00:00Z")) + TimeDelta::days(1);
            world.advance(&(next + TimeDelta::seconds(1)).to_rfc3339()).await;
            for invoice in &invoices {
                assert_eq!(of(&world, invoice).await[0].status, InvoiceStatus::Paid, "{code}");
            }
            assert_eq!(broken(&world).await, []);
        }
        assert_eq!((told(&world, "gateway.refused").await, told(&world, "gateway.resumed").await), (2, 2));
        assert_eq!(world.prove().await, 6);
    }

    async fn in_real_time_every_daemon_rests_and_probes_come_along_growing_waits(world: World) {
        for _ in 0..5 {
            subscribed(&world).await;
        }
        billing::subscriptions::open_due::open_due(&world.app, Timeline::Test(world.clock), at("2026-01-10T06:00:00Z")).await.expect("opened");
        world.app.db.query("update invoices set timeline = 'wall'").run().await.expect("moved");
        let wrong = with_wrong_key(&world).await;
        let clock = Clock::manual(world.app.clock.now());
        let by_hand = |app: &App, config: Config| {
            let gateways = Gateways::connect(&config.gateways).expect("gateways");
            Arc::new(App::new(app.db.clone(), clock.clone(), config, gateways, [9; 32]))
        };
        let [one, other] = [by_hand(&wrong, wrong.config.clone()), by_hand(&world.app, wrong.config.clone())];
        let collect = async |app: &Arc<App>| collect_due(app, Timeline::Wall, app.clock.now()).await.expect("collected").payments;
        let begun = clock.now();
        collect(&one).await;
        let mut probed: Vec<DateTime<Utc>> = Vec::new();
        for minute in 1..=180 {
            clock.set(begun + TimeDelta::minutes(minute));
            // Whichever daemon comes first: there is one probe, and none of the other one.
            let made = if minute % 2 == 0 { [collect(&one).await, collect(&other).await] } else { [collect(&other).await, collect(&one).await] };
            if made != [0, 0] {
                assert_eq!(made, [1, 0], "minute {minute}");
                probed.push(clock.now());
            }
        }
        let waits: Vec<i64> = probed.windows(2).map(|pair| (pair[1] - pair[0]).num_minutes()).collect();
        // What was refused itself waits a second longer than a minute.
        assert_eq!((probed[0] - begun, waits), (TimeDelta::minutes(2), vec![5, 15, 60]), "then six hours, and a day");
        assert_eq!(told(&world, "gateway.refused").await, 1);
        let refused = gateways::refused(&world.app.db).await.expect("read").remove(0);
        assert_eq!((refused.refused_at, refused.next_probe_at > clock.now()), (begun, true));

        // An operator has mended the account at the gateway and says so.
        let right = by_hand(&world.app, world.app.config.clone());
        assert_eq!(collect(&right).await, 0, "it rests as well");
        billing::gateways::resume(&right, &Actor::System, "fluid").await.expect("resumed");
        assert_eq!(collect(&right).await, 5);
        assert!(billing::gateways::resume(&right, &Actor::System, "fluid").await.is_err(), "there is nothing to resume");
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
    }

    async fn a_gateway_that_asks_customers_rests_as_well(world: World) {
        let mut world = world;
        let right = world.app.clone();
        let customer = world.customer("UTC").await;
        world.asks(customer, &["EMAIL"]).await;
        let subscription = world.add(world.monthly(customer, "2026-01-10").await).await;
        world.app = with(&world, |config| config.gateways.get_mut("paysley").expect("paysley").api_key = "revoked".into()).await;
        world.advance("2026-01-13T07:00:00Z").await;
        let lines = broken(&world).await;
        assert_eq!(names(&lines), ["invoices_refused", "gateways_refused"], "{lines:?}");
        assert!(world.requests().await.len() <= 4, "one a day");
        assert_eq!(of(&world, &subscription).await[0].dunning_step, 0);
        assert_eq!((told(&world, "gateway.refused").await, told(&world, "invoice.dunning").await), (1, 0));
        world.app = right;
        world.advance("2026-01-14T08:00:00Z").await;
        assert_eq!(told(&world, "gateway.resumed").await, 1, "the next request went out");
        assert_eq!(broken(&world).await, [], "whoever was asked is waited for");
    }

    async fn a_charge_that_no_waiting_mends_is_parked_with_its_reason(world: World) {
        let subscription = scripted(&world, &[410]).await;
        world.advance("2026-02-09T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"], "it is not repeated by itself");
        let invoice = of(&world, &subscription).await.remove(0);
        assert_eq!((invoice.status, invoice.next_attempt_at, invoice.dunning_step), (InvoiceStatus::Open, None, 0));
        assert!(invoice.parked_reason.as_deref().is_some_and(|reason| reason.contains("configuration") && reason.ends_with("(410)")), "{invoice:?}");
        let lines = broken(&world).await;
        assert_eq!(names(&lines), ["invoices_parked", "invoices_refused"]);
        assert_eq!(lines[0].1, [invoice.id.to_string()]);
        assert_eq!((told(&world, "invoice.parked").await, told(&world, "invoice.dunning").await), (1, 0));

        billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("collected");
        assert_eq!(of(&world, &subscription).await[0].parked_reason, None);
        world.advance("2026-02-09T00:00:01Z").await;
        assert_eq!(of(&world, &subscription).await[0].status, InvoiceStatus::Paid);
        assert_eq!(broken(&world).await, []);
        assert_eq!(world.prove().await, 1);
    }

    async fn another_card_is_charged_at_once_for_what_is_parked(world: World) {
        let subscription = scripted(&world, &[410]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let card = billing::payment_methods::PaymentMethodInput { default: Some(true), ..vault(&world.token()) };
        billing::payment_methods::add(&world.app, &Actor::System, &subscription.customer_id.to_string(), card).await.expect("added");
        world.advance("2026-01-10T07:00:01Z").await;
        assert_eq!(of(&world, &subscription).await[0].status, InvoiceStatus::Paid);
        assert_eq!(broken(&world).await, []);
    }

    async fn what_a_rule_engine_declines_climbs_the_ladder_and_is_parked_at_its_end(world: World) {
        let mut world = world;
        for code in [300, 310] {
            let subscription = scripted(&world, &[code; 5]).await;
            world.advance("2026-01-13T06:00:00Z").await;
            assert!(names(&broken(&world).await).contains(&"invoices_refused"), "{code}: after two days");
            world.advance("2026-02-09T00:00:00Z").await;
            let invoice = of(&world, &subscription).await.remove(0);
            assert_eq!((invoice.status, invoice.dunning_step, invoice.attempts), (InvoiceStatus::Open, 5, 5));
            assert!(invoice.is_parked() && invoice.parked_reason.as_deref().is_some_and(|reason| reason.ends_with(&format!("({code})"))), "{invoice:?}");
            assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::PastDue, "it is not given up");
            billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("collected");
            world.advance("2026-02-09T00:00:01Z").await;
            assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::Active);
            assert_eq!(broken(&world).await, []);
            world.another_clock().await;
        }
    }

    async fn a_customers_decline_among_refusals_ends_their_silence(world: World) {
        let subscription = scripted(&world, &[310, 202, 202, 202, 202]).await;
        world.advance("2026-01-12T07:00:00Z").await;
        let invoice = of(&world, &subscription).await.remove(0);
        assert_eq!((invoice.refused_at, invoice.dunning_step), (None, 2));
        world.advance("2026-02-09T00:00:00Z").await;
        assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::Cancelled, "the ladder ended by a soft decline");
        assert_eq!(broken(&world).await, []);
    }

    async fn a_customer_or_card_that_is_gone_needs_a_new_one(world: World) {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(5)).build().expect("client");
        let delete = async |path: &str| {
            let url = format!("{}/api/{path}", world.sandbox.url());
            let answer = client.delete(url).header("authorization", FLUIDPAY_KEY).send().await.expect("sent");
            assert!(answer.status().is_success(), "{path}: {answer:?}");
        };
        let (gone, token) = subscribed(&world).await;
        delete(&format!("vault/{token}")).await;
        let (cardless, token) = subscribed(&world).await;
        let shown: serde_json::Value = serde_json::from_str(
            &client.get(format!("{}/api/vault/{token}", world.sandbox.url())).header("authorization", FLUIDPAY_KEY).send().await.expect("sent").text().await.expect("text"),
        ).expect("JSON");
        let card = shown["data"]["data"]["customer"]["payments"]["cards"][0]["id"].as_str().expect("a card").to_owned();
        delete(&format!("vault/customer/{token}/card/{card}")).await;
        world.advance("2026-01-16T00:00:00Z").await;
        for subscription in [&gone, &cardless] {
            let invoice = of(&world, subscription).await.remove(0);
            assert_eq!((invoice.decline_class, invoice.decline_code.as_deref()), (Some(DeclineClass::NewCardNeeded), Some("http_404")));
            assert_eq!((invoice.attempts, world.subscription(subscription).await.status), (1, SubscriptionStatus::PastDue));
        }
        assert_eq!(broken(&world).await, []);
        world.advance("2026-01-17T07:00:00Z").await;
        assert_eq!(world.subscription(&gone).await.status, SubscriptionStatus::Cancelled);
    }

    async fn the_processors_outage_is_the_gateways_and_a_duplicate_is_tried_again(world: World) {
        let mut all = Vec::new();
        for code in [400, 421, 301, 430] {
            all.push((code, scripted(&world, &[code, code]).await));
        }
        world.advance("2026-01-10T08:00:00Z").await;
        for (code, subscription) in &all {
            let invoice = of(&world, subscription).await.remove(0);
            assert_eq!((invoice.status, invoice.dunning_step, invoice.attempts), (InvoiceStatus::Paid, 0, 3), "{code}");
        }
        assert_eq!((told(&world, "invoice.dunning").await, told(&world, "gateway.circuit_opened").await), (0, 0));
        assert_eq!(world.prove().await, 4);

        // Five in a row that the processor did not answer open the circuit; as many duplicates do not.
        for (code, opened) in [(430, 0), (421, 1)] {
            world.sandbox.sandbox().clear_faults();
            world.sandbox.sandbox().add_fault(serde_json::from_value(json!({ "match": { "operation": "charge" }, "fault": format!("decline:{code}"), "times": 0 })).expect("a rule"));
            for _ in 0..3 {
                let (subscription, _) = subscribed(&world).await;
                drop(subscription);
            }
            let now = world.app.now_of(Timeline::Test(world.clock)).await.expect("now");
            world.advance(&(now + TimeDelta::hours(1)).to_rfc3339()).await;
            assert_eq!(told(&world, "gateway.circuit_opened").await, opened, "{code}");
        }
        assert_eq!(told(&world, "invoice.dunning").await, 0);
    }

    async fn an_early_authorization_that_a_rule_engine_declines_is_repeated_along_growing_waits(world: World) {
        let mut world = world;
        world.app = with(&world, |config| {
            config.collection.caps = Default::default();
            config.collection.caps.0 = [(TimeDelta::hours(24), 0), (TimeDelta::days(30), 0)].into();
        }).await;
        let subscription = early(&world, false, "2026-01-10").await;
        let token: (String,) = world.app.db.query("select customer_token from payment_methods").one().await.expect("a method");
        world.sandbox.sandbox().add_fault(rule("decline:310", &token.0));
        world.advance("2026-01-10T05:59:00Z").await;
        let asked: Vec<DateTime<Utc>> = authorizations(&world).await.iter().map(|authorization| authorization.created_at).collect();
        let waits: Vec<i64> = asked.windows(2).map(|pair| (pair[1] - pair[0]).num_minutes()).collect();
        assert_eq!(waits, [1, 5, 15, 60, 360, 1440, 1440]);
        assert_eq!(told(&world, "authorization.declined").await, 1, "the customer is warned once");
        world.sandbox.sandbox().clear_faults();
        world.advance("2026-01-10T06:00:00Z").await;
        assert_eq!(of(&world, &subscription).await[0].status, InvoiceStatus::Paid, "the bill date charges all the same");
    }

    async fn an_unknown_payment_of_a_refused_account_is_not_parked(world: World) {
        let mut world = world;
        let right = world.app.clone();
        let (subscription, _) = subscribed(&world).await;
        world.app = with(&world, |config| {
            config.gateways.get_mut("fluid").expect("fluid").api_key = "revoked".into();
            config.collection.lease = TimeDelta::milliseconds(200);
        }).await;
        let timeline = Timeline::Test(world.clock);
        world.set_clock("2026-01-10T06:00:00Z").await;
        billing::subscriptions::open_due::open_due(&world.app, timeline, at("2026-01-10T06:00:00Z")).await.expect("opened");
        billing::collection::claim::claim_only(&world.app, timeline, at("2026-01-10T06:00:00Z")).await.expect("claimed");
        world.app.db.query("update payments set status = 'unknown', lease_owner = null, lease_expires_at = null, next_lookup_at = sent_at").run().await.expect("lost");
        for _ in 0..30 {
            look_up_payments(&world.app, None).await.expect("looked up");
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
        assert_eq!(world.payments().await[0].status, PaymentStatus::Unknown, "a lookup without a key says nothing");
        assert_eq!(told(&world, "gateway.refused").await, 1, "a lookup finds out as well");
        world.app = right;
        refusals::forget_replaced_keys(&world.app).await.expect("looked");
        world.advance("2026-01-10T06:01:00Z").await;
        assert_eq!(of(&world, &subscription).await[0].status, InvoiceStatus::Paid);
        assert_eq!(world.prove().await, 1);
    }
}
