//! What is charged when, over a year and more, on a test clock.

use rebilld::domain::{invoice::InvoiceStatus, subscription::SubscriptionStatus};

use crate::world::*;

on_both! {
    async fn thirteen_months_of_a_31st_are_charged_at_both_gateways(world: World) {
        for paylike in [false, true] {
            let customer = world.customer("Europe/Berlin").await;
            let token = if paylike { world.prior() } else { world.token() };
            world.method(customer, paylike, &token).await;
            let sub = world.monthly(customer, "2026-01-31").await;
            world.add(sub).await;
        }
        world.advance("2027-02-01T00:00:00Z").await;
        let mut dates: Vec<String> = world.story().await;
        dates.dedup();
        assert_eq!(dates, [
            "2026-01-31 succeeded", "2026-02-28 succeeded", "2026-03-31 succeeded", "2026-04-30 succeeded", "2026-05-31 succeeded",
            "2026-06-30 succeeded", "2026-07-31 succeeded", "2026-08-31 succeeded", "2026-09-30 succeeded", "2026-10-31 succeeded",
            "2026-11-30 succeeded", "2026-12-31 succeeded", "2027-01-31 succeeded",
        ]);
        assert_eq!(world.prove().await, 26);
    }

    async fn work_due_at_the_target_itself_is_done(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        world.add(sub).await;
        world.advance("2026-01-10T06:00:00Z").await;
        assert_eq!(world.prove().await, 1);
    }

    async fn one_jump_equals_many_short_ones(world: World) {
        let mut books = Vec::new();
        for jumps in [1, 37] {
            let Some(world) = World::new(if world.app.db.is_postgres() { On::Postgres } else { On::Sqlite }).await else { return };
            for (zone, start, token) in [
                ("Pacific/Auckland", "2026-01-31", world.token()),
                ("America/New_York", "2026-02-01", "decline202".to_owned() + "0000000000"),
                ("UTC", "2026-01-15", "decline223".to_owned() + "0000000000"),
                ("Europe/Berlin", "2026-03-29", world.token()),
            ] {
                let customer = world.customer(zone).await;
                world.method(customer, false, &token).await;
                let sub = world.monthly(customer, start).await;
                world.add(sub).await;
            }
            let (start, end) = (at("2026-01-01T00:00:00Z"), at("2026-09-01T00:00:00Z"));
            for jump in 1..=jumps {
                world.advance(&(start + (end - start) * jump / jumps).to_rfc3339()).await;
            }
            world.prove().await;
            let invoices: Vec<_> = world.invoices().await.into_iter().map(|i| (i.due_at, i.total, i.status, i.amount_paid, i.dunning_step)).collect();
            let mut story = world.story().await;
            story.sort();
            books.push((invoices, story));
        }
        assert!(!books[0].0.is_empty());
        assert_eq!(books[0], books[1]);
    }

    async fn a_free_cycle_needs_no_gateway(world: World) {
        let customer = world.customer("UTC").await;
        let mut sub = world.monthly(customer, "2026-01-10").await;
        sub.amount = 0;
        sub.duration = 2;
        let sub = world.add(sub).await;
        world.advance("2026-03-01T00:00:00Z").await;
        assert!(world.payments().await.is_empty());
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Paid));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Completed);
    }

    async fn a_limited_subscription_completes_with_its_last_payment(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, true, &world.prior()).await;
        let mut sub = world.monthly(customer, "2026-01-10").await;
        sub.duration = 3;
        let sub = world.add(sub).await;
        world.advance("2026-02-20T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        world.advance("2027-01-01T00:00:00Z").await;
        assert_eq!((world.prove().await, world.subscription(&sub).await.status), (3, SubscriptionStatus::Completed));
    }
}
