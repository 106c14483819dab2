//! What follows a decline: the ladder, its end, and recovery.

use rebilld::{
    domain::{invoice::InvoiceStatus, subscription::SubscriptionStatus},
    sandbox::Script,
};

use crate::world::*;

async fn one_subscription(world: &World, token: &str) -> rebilld::domain::subscription::Subscription {
    let customer = world.customer("UTC").await;
    world.method(customer, false, token).await;
    let sub = world.monthly(customer, "2026-01-10").await;
    world.add(sub).await
}

on_both! {
    async fn soft_declines_are_retried_after_1_3_5_and_7_days_then_the_subscription_ends(world: World) {
        let sub = one_subscription(&world, "decline2020000000000").await;
        world.advance("2026-01-16T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        world.advance("2026-12-31T00:00:00Z").await;
        assert_eq!(world.story().await, [
            "2026-01-10 declined", "2026-01-11 declined", "2026-01-13 declined", "2026-01-15 declined", "2026-01-17 declined",
        ]);
        let ended = world.subscription(&sub).await;
        assert_eq!((ended.status, ended.due_at), (SubscriptionStatus::Cancelled, None));
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Uncollectible);
        assert_eq!(world.prove().await, 0);
    }

    async fn a_card_that_recovers_makes_the_subscription_active_again(world: World) {
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [202, 202].into(), ..Script::default() });
        let sub = one_subscription(&world, &token).await;
        world.advance("2026-01-20T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-11 declined", "2026-01-13 succeeded"]);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        let events = world.events(Some(sub.id.to_string())).await;
        assert_eq!(events, ["subscription.past_due", "subscription.recovered"]);
        assert_eq!(world.prove().await, 1);
    }

    async fn an_expired_card_is_not_tried_again_and_the_ladder_still_ends(world: World) {
        let sub = one_subscription(&world, "decline2230000000000").await;
        world.advance("2026-01-16T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        world.advance("2026-01-18T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"]);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
    }

    async fn an_issuer_that_ends_the_mandate_cancels_at_once(world: World) {
        let sub = one_subscription(&world, "decline2610000000000").await;
        world.advance("2026-01-10T06:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
        world.advance("2026-06-01T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"]);
    }

    async fn a_customer_without_any_method_goes_down_the_ladder_without_a_call(world: World) {
        let customer = world.customer("UTC").await;
        let sub = world.monthly(customer, "2026-01-10").await;
        let sub = world.add(sub).await;
        world.advance("2026-01-12T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        world.advance("2026-01-18T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
        assert!(world.payments().await.is_empty());
    }

    async fn a_partial_approval_leaves_the_rest_owed(world: World) {
        one_subscription(&world, "partial1100000000000").await;
        world.advance("2026-01-10T06:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.amount_paid, invoice.amount_due(), invoice.status), (500, 500, InvoiceStatus::Open));
        assert_eq!(world.prove().await, 1);
    }
}
