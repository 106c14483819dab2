//! Caps on declined attempts: by credential, whoever is charged and for whatever, also after a restart.

use chrono::TimeDelta;
use rebilld::{
    billing::{self, payment_methods::PaymentMethodInput},
    config::{Caps, Config},
    domain::{
        clock::Timeline, dunning::Postponement, event::Actor, id::CustomerId, invoice::InvoiceStatus, payment::PaymentStatus,
        subscription::Subscription,
    },
    gateway::Gateways,
    jobs,
    sandbox::Script,
    store::Db,
};

use crate::world::*;

async fn monthly(world: &World, customer: CustomerId, start: &str) -> Subscription {
    let mut sub = world.monthly(customer, start).await;
    sub.duration = 1;
    world.add(sub).await
}

async fn customer_with(world: &World, token: &str) -> CustomerId {
    let customer = world.customer("UTC").await;
    world.method(customer, false, token).await;
    customer
}

/// Instants of declined attempts, as `10 06:00:00`.
async fn declined(world: &World) -> Vec<String> {
    let payments = world.payments().await;
    let declined = payments.iter().filter(|payment| payment.status == PaymentStatus::Declined);
    declined.map(|payment| payment.created_at.format("%d %H:%M:%S").to_string()).collect()
}

/// No stretch of 24 hours has more than two of these instants.
fn within_the_cap(instants: &[chrono::DateTime<chrono::Utc>]) -> bool {
    let mut sorted = instants.to_vec();
    sorted.sort();
    sorted.windows(3).all(|three| three[2] - three[0] >= chrono::TimeDelta::hours(24))
}

on_both! {
    async fn an_operator_cannot_charge_a_card_beyond_the_cap_and_the_window_opens_to_the_second(world: World) {
        let customer = customer_with(&world, "decline2020000000000").await;
        monthly(&world, customer, "2026-01-10").await;
        world.advance("2026-01-10T09:30:15Z").await;
        let invoice = world.invoices().await.remove(0);
        for _ in 0..2 {
            billing::invoices::collect(&world.app, &Actor::System, invoice.id).await.expect("asked");
            world.advance("2026-01-10T09:30:15Z").await;
        }
        assert_eq!(declined(&world).await, ["10 06:00:00", "10 09:30:15"], "the third is not made");
        let waiting = world.invoices().await.remove(0);
        assert_eq!((waiting.next_attempt_at, waiting.postponed_by), (Some(at("2026-01-11T06:00:00Z")), Some(Postponement::Cap)));
        assert_eq!((waiting.dunning_step, waiting.attempts), (2, 2), "no step is spent");
        assert!(world.events(Some(waiting.id.to_string())).await.contains(&"invoice.postponed".to_owned()));
        world.advance("2026-01-11T05:59:59Z").await;
        assert_eq!(declined(&world).await.len(), 2);
        world.advance("2026-01-11T06:00:00Z").await;
        assert_eq!(declined(&world).await.last().expect("one"), "11 06:00:00");
        assert_eq!(world.invoices().await[0].postponed_by, None);
        assert_eq!(world.prove().await, 0);
    }

    async fn what_is_due_together_at_one_card_is_not_tried_beyond_the_cap(world: World) {
        // Two customers whose methods are one card, five things due at one instant, and one the evening before.
        let (ada, bob) = (customer_with(&world, "decline2020000000000").await, customer_with(&world, "decline2020000000000").await);
        for customer in [ada, ada, ada, bob, bob] {
            monthly(&world, customer, "2026-01-10").await;
        }
        world.advance("2026-01-10T06:00:00Z").await;
        assert_eq!(declined(&world).await, ["10 06:00:00", "10 06:00:00"]);
        let waiting: Vec<_> = world.invoices().await.into_iter().filter(|invoice| invoice.dunning_step == 0).collect();
        assert_eq!(waiting.len(), 3);
        assert!(waiting.iter().all(|invoice| invoice.next_attempt_at == Some(at("2026-01-11T06:00:00Z")) && invoice.postponed_by == Some(Postponement::Cap)));
        world.advance("2026-01-31T00:00:00Z").await;
        let instants: Vec<_> = world.payments().await.iter().map(|payment| payment.created_at).collect();
        assert!(within_the_cap(&instants), "{instants:?}");
        assert!(instants.len() <= 15, "{} in 30 days", instants.len());
        assert_eq!(world.prove().await, 0);
    }

    async fn a_good_card_pays_all_that_is_due_together_at_once(world: World) {
        let customer = customer_with(&world, &world.token()).await;
        for _ in 0..40 {
            monthly(&world, customer, "2026-01-10").await;
        }
        world.advance("2026-01-10T06:00:00Z").await;
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
        assert!(world.payments().await.iter().all(|payment| payment.created_at == at("2026-01-10T06:00:00Z")), "none has to wait");
        assert_eq!(world.prove().await, 40);
    }

    async fn a_restarted_daemon_and_another_one_count_the_same_attempts(world: World) {
        let customer = customer_with(&world, "decline2020000000000").await;
        monthly(&world, customer, "2026-01-10").await;
        world.advance("2026-01-10T06:00:00Z").await;
        let other = world.another("second").await;
        monthly(&world, customer, "2026-01-10").await;
        world.set_out("2026-01-10T08:00:00Z").await;
        for clock in billing::test_clocks::advance::claim(&other).await.expect("claimed") {
            jobs::advance::advance(&other, clock).await.expect("advanced");
        }
        monthly(&world, customer, "2026-01-10").await;
        world.advance("2026-01-10T23:00:00Z").await;
        assert_eq!(declined(&world).await, ["10 06:00:00", "10 06:00:00"], "two by two daemons, and no third");
        assert_eq!(world.prove().await, 0);
    }

    async fn two_daemons_that_claim_at_the_same_time_keep_one_cap(world: World) {
        let customer = customer_with(&world, "decline2020000000000").await;
        for _ in 0..6 {
            monthly(&world, customer, "2026-01-10").await;
        }
        world.advance("2026-01-10T05:59:59Z").await;
        let timeline = Timeline::Test(world.clock);
        let now = at("2026-01-10T06:00:00Z");
        let mut tx = world.app.db.begin().await.expect("tx");
        let clock = rebilld::store::clocks::lock(&mut tx, world.clock).await.expect("read").expect("clock");
        rebilld::store::clocks::save(&mut tx, rebilld::domain::clock::TestClock { now_at: now, ..clock }).await.expect("moved");
        tx.commit().await.expect("commit");
        billing::subscriptions::open_due::open_due(&world.app, timeline, now).await.expect("billed");
        let other = world.another("second").await;
        let (mine, theirs) = tokio::join!(
            billing::collection::run::collect_due(&world.app, timeline, now),
            billing::collection::run::collect_due(&other, timeline, now),
        );
        mine.expect("collected");
        theirs.expect("collected");
        assert_eq!(declined(&world).await.len(), 2);
        assert_eq!(world.prove().await, 0);
    }

    async fn a_new_card_is_charged_at_once_for_all_that_waits_for_the_old_one(world: World) {
        let customer = customer_with(&world, "decline2020000000000").await;
        for _ in 0..3 {
            monthly(&world, customer, "2026-01-10").await;
        }
        world.advance("2026-01-10T07:00:00Z").await;
        assert_eq!(declined(&world).await.len(), 2);
        let new = PaymentMethodInput { default: Some(true), ..vault(&world.token()) };
        billing::payment_methods::add(&world.app, &Actor::System, &customer.to_string(), new).await.expect("added");
        world.advance("2026-01-10T07:00:01Z").await;
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid && invoice.postponed_by.is_none()));
        assert_eq!(world.prove().await, 3);
    }

    async fn a_gateways_own_caps_hold_over_the_common_ones(world: World) {
        let mut config: Config = world.app.config.clone();
        config.gateways.get_mut("fluid").expect("fluid").caps = Caps([(TimeDelta::hours(24), 0), (TimeDelta::days(30), 3)].into());
        let db = Db::open(&world.url, 8, false).await.expect("database");
        let own = app(db, config, "own");
        let customer = customer_with(&world, "decline2020000000000").await;
        for _ in 0..5 {
            monthly(&world, customer, "2026-01-10").await;
        }
        world.set_out("2026-01-10T06:00:00Z").await;
        for clock in billing::test_clocks::advance::claim(&own).await.expect("claimed") {
            jobs::advance::advance(&own, clock).await.expect("advanced");
        }
        assert_eq!(declined(&world).await.len(), 3, "any number in 24 hours, three in 30 days");
        let waits: Vec<_> = world.invoices().await.into_iter().filter(|invoice| invoice.dunning_step == 0).collect();
        assert!(waits.iter().all(|invoice| invoice.next_attempt_at == Some(at("2026-02-09T06:00:00Z"))));
        assert!(Gateways::connect(&own.config.gateways).is_ok());
    }

    async fn a_gateways_fault_is_no_declined_attempt(world: World) {
        let card = world.token();
        world.sandbox.sandbox().set_script(&card, Script { declines: [301, 421, 430].into(), ..Script::default() });
        let customer = customer_with(&world, &card).await;
        monthly(&world, customer, "2026-01-10").await;
        world.advance("2026-01-10T08:00:00Z").await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid, "a fourth attempt on the same day");
        assert_eq!(world.prove().await, 1);
    }
}
