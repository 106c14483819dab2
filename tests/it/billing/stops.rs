//! Pausing, resuming and cancelling while money is owed or on its way.

use rebilld::{
    billing::subscriptions::{
        cancel::{self, CancelInput},
        change::{self, ChangeInput},
        pause::{self, PauseInput},
        resume,
        terms::TermsInput,
    },
    domain::{
        clock::TestClock,
        event::Actor,
        frequency::Frequency,
        invoice::InvoiceStatus,
        plan::WhilePastDue,
        subscription::{Subscription, SubscriptionStatus, When},
    },
    sandbox::{Rule, Script},
    store,
};
use serde_json::json;

use crate::world::*;

/// Moves the clock without doing any work.
async fn set_clock(world: &World, now: &str) {
    let mut tx = world.app.db.begin().await.expect("tx");
    let clock = store::clocks::lock(&mut tx, world.clock).await.expect("read").expect("clock");
    store::clocks::save(&mut tx, TestClock { now_at: at(now), ..clock }).await.expect("moved");
    tx.commit().await.expect("commit");
}

on_both! {
    async fn a_subscription_that_owes_is_past_due_again_after_a_pause(world: World) {
        let customer = world.customer("UTC").await;
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [202, 202].into(), ..Script::default() });
        world.method(customer, false, &token).await;
        let sub = world.add(world.monthly(customer, "2026-01-10").await).await;
        world.advance("2026-01-10T12:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        pause::pause(&world.app, &Actor::System, sub.id, PauseInput { until: None, when: When::Now, credit: false }, false).await.expect("paused");
        let back = resume::resume(&world.app, &Actor::System, sub.id, false).await.expect("resumed");
        assert_eq!(back.subscription.status, SubscriptionStatus::PastDue);
        world.advance("2026-01-14T00:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        assert_eq!(world.prove().await, 1);
    }

    async fn a_pause_that_ends_by_itself_forgets_no_debt(world: World) {
        let customer = world.customer("UTC").await;
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [202, 202].into(), ..Script::default() });
        world.method(customer, false, &token).await;
        let daily = Subscription { billing_frequency: Frequency::Daily, while_past_due: WhilePastDue::Hold, ..world.monthly(customer, "2026-01-10").await };
        let sub = world.add(daily).await;
        world.advance("2026-01-10T12:00:00Z").await;
        pause::pause(&world.app, &Actor::System, sub.id, PauseInput { until: Some(date("2026-01-12")), when: When::Now, credit: false }, false).await.expect("paused");
        world.advance("2026-01-12T12:00:00Z").await;
        // Declined twice by now: nothing is billed on top of that.
        let back = world.subscription(&sub).await;
        assert_eq!((back.status, back.due_at), (SubscriptionStatus::PastDue, None));
        assert_eq!(world.invoices().await.iter().filter(|invoice| invoice.cycle.is_some()).count(), 1);
        world.advance("2026-01-13T23:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        world.prove().await;
    }

    async fn cancelling_between_charge_and_answer_loses_no_money(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let sub = world.add(world.monthly(customer, "2026-01-10").await).await;
        // The charge is made, its answer lost, and the lookup does not come through yet.
        let rule = |fault: &str, operation: &str| -> Rule {
            serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": 0 })).expect("a rule")
        };
        world.sandbox.sandbox().add_fault(rule("drop_after", "charge"));
        world.sandbox.sandbox().add_fault(rule("500", "lookup"));
        let now = at("2026-01-10T06:00:00Z");
        set_clock(&world, "2026-01-10T06:00:00Z").await;
        rebilld::billing::subscriptions::open_due::open_due(&world.app, sub.timeline, now).await.expect("billed");
        rebilld::billing::collection::run::collect_due(&world.app, sub.timeline, now).await.expect("collected");
        let cancelled = cancel::cancel(&world.app, &Actor::System, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        assert_eq!(cancelled.subscription.status, SubscriptionStatus::Cancelled);
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Open, "its payment's settlement decides");
        world.sandbox.sandbox().clear_faults();
        world.advance("2026-01-11T00:00:00Z").await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
        assert_eq!(world.prove().await, 1);
    }

    async fn an_upgrade_is_collected_at_once_and_the_year_adds_up(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let sub = world.add(world.monthly(customer, "2026-01-01").await).await;
        world.advance("2026-01-16T12:00:00Z").await;
        let dearer = TermsInput { amount: Some(2000), ..TermsInput::default() };
        let changed = change::change(&world.app, &Actor::System, sub.id, ChangeInput { when: When::Now, terms: dearer }, false).await.expect("changed");
        // 16 of 31 days are left.
        assert_eq!((changed.amount, changed.credit), (1032 - 516, 0));
        world.advance("2026-12-31T12:00:00Z").await;
        assert_eq!(world.invoices().await.iter().map(|invoice| invoice.total).sum::<i64>(), 1000 + 516 + 11 * 2000);
        assert_eq!(world.prove().await, 13);
    }
}
