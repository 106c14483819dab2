//! Reservations that end otherwise than they should: not given free, taken by somebody else, late, or made twice.

use rebilld::{
    billing::{
        self, authorizations,
        subscriptions::cancel::{CancelInput, cancel},
    },
    domain::{
        authorization::{Authorization, AuthorizationStatus as Status},
        clock::Timeline,
        subscription::{SubscriptionStatus, When},
    },
    store,
};

use super::early::*;
use crate::world::*;

on_both! {
    async fn what_cannot_be_given_free_is_asked_again_and_then_left_to_run_out(world: World) {
        let subs = of_both(&world, "2026-01-10").await;
        world.advance("2026-01-08T00:00:00Z").await;
        for (fault, sub) in [("drop_after", &subs[0]), ("drop_before", &subs[1])] {
            world.sandbox.sandbox().add_fault(rule(fault, "void", 1));
            cancel(&world.app, &OPERATOR, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
            settle_down(&world).await;
            assert_eq!(authorizations(&world).await.iter().find(|it| it.subscription_id == sub.id).map(|it| it.status), Some(Status::Voided));
        }
        assert!(reserved(&world).is_empty());
        // A gateway that does not answer at all holds up nothing for ever.
        let stuck = early(&world, false, "2026-01-20").await;
        world.advance("2026-01-18T00:00:00Z").await;
        world.sandbox.sandbox().add_fault(rule("500", "void", 0));
        cancel(&world.app, &OPERATOR, stuck.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        settle_down(&world).await;
        assert_eq!(told(&world, "authorization.lost").await, 1);
        world.advance("2026-03-01T00:00:00Z").await;
        assert_eq!(world.prove().await, 0);
    }

    async fn what_was_taken_of_a_reservation_that_nobody_wants_is_told(world: World) {
        let subs = of_both(&world, "2026-01-10").await;
        world.advance("2026-01-08T00:00:00Z").await;
        for held in authorizations(&world).await {
            let gateway = world.app.gateways.get(&held.gateway).expect("configured");
            gateway.adapter.capture(held.transaction_id.as_deref().expect("reserved"), &charge_of(&held)).await;
        }
        // Until then it could be taken back.
        world.sandbox.sandbox().settle();
        for sub in &subs {
            cancel(&world.app, &OPERATOR, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        }
        settle_down(&world).await;
        authorizations::look_up(&world.app, None).await.expect("looked up");
        let over = authorizations(&world).await;
        assert_eq!(over.iter().map(|it| (it.status, it.amount_taken)).collect::<Vec<_>>(), [(Status::Lost, Some(1000)); 2]);
        assert!(over.iter().all(|it| it.next_lookup_at.is_none()));
        assert_eq!(told(&world, "authorization.taken").await, 2);
        let all = billing::invariants::check(&world.app).await.expect("checked");
        let broken: Vec<_> = all.iter().filter(|one| !one.holds()).map(|one| (one.invariant.name, one.found.count)).collect();
        assert_eq!(broken, [("authorizations_taken", 2)]);
    }

    async fn what_arrives_after_it_was_given_up_is_given_free(world: World) {
        let sub = early(&world, true, "2026-01-10").await;
        world.sandbox.sandbox().add_fault(rule("drop_before", "authorize", 1));
        let now = at("2026-01-08T00:00:00Z");
        world.set_clock("2026-01-08T00:00:00Z").await;
        authorizations::authorize_due(&world.app, Timeline::Test(world.clock), now).await.expect("asked");
        cancel(&world.app, &OPERATOR, sub.id, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
        authorizations::look_up(&world.app, None).await.expect("looked up");
        let held = authorizations(&world).await.remove(0);
        assert_eq!((held.status, reserved(&world)), (Status::GatewayError, vec![]), "it never arrived, and is not wanted");
        assert!(held.next_lookup_at.is_some(), "it may be on its way all the same");
        let gateway = world.app.gateways.get(&held.gateway).expect("configured");
        let late = gateway.adapter.authorize(&charge_of(&held)).await;
        assert!(matches!(late, rebilld::domain::payment::Outcome::Authorized { .. }), "{late:?}");
        let mut tx = world.app.db.begin().await.expect("tx");
        let due = Authorization { next_lookup_at: Some(world.app.clock.now()), ..held };
        store::authorizations::save(&mut tx, &[due]).await.expect("due");
        tx.commit().await.expect("commit");
        authorizations::look_up(&world.app, None).await.expect("looked after");
        assert_eq!((reserved(&world), statuses(&world).await), (vec![], vec![Status::Voided]));
        assert_eq!(told(&world, "authorization.orphaned").await, 1);
    }

    async fn two_reservations_under_one_reference_do_not_both_stay(world: World) {
        let sub = early(&world, true, "2026-01-10").await;
        world.sandbox.sandbox().add_fault(rule("drop_before", "authorize", 1));
        world.advance("2026-01-08T00:00:00Z").await;
        // Sent twice, so that the first call may still arrive, as it does now. That is looked for when it must have.
        let held = authorizations(&world).await.remove(0);
        assert_eq!((held.status, reserved(&world)), (Status::Authorized, vec![1000]));
        let due = held.next_lookup_at.expect("another look");
        assert!(due > held.called_at);
        let gateway = world.app.gateways.get(&held.gateway).expect("configured");
        let late = gateway.adapter.authorize(&charge_of(&held)).await;
        assert!(matches!(late, rebilld::domain::payment::Outcome::Authorized { .. }), "{late:?}");
        assert_eq!(reserved(&world), [1000, 1000]);
        let mut tx = world.app.db.begin().await.expect("tx");
        let now = Authorization { next_lookup_at: Some(world.app.clock.now()), ..held };
        store::authorizations::save(&mut tx, &[now]).await.expect("due");
        tx.commit().await.expect("commit");
        authorizations::look_up(&world.app, None).await.expect("looked after");
        assert_eq!(reserved(&world), [1000], "one of them is given free");
        world.advance("2026-01-11T00:00:00Z").await;
        assert_eq!((world.prove().await, captured(&world)), (1, vec![1000]));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        assert!(reserved(&world).is_empty());
    }
}
