//! Authorized early, captured on the bill date: what is reserved is what is charged, once, and nothing stays reserved in vain.

use chrono::{DateTime, Utc};
use rebilld::{
    billing::{
        self, customers, payment_methods,
        subscriptions::{
            cancel::{CancelInput, cancel},
            pause::{self, PauseInput},
            reschedule::{self, RescheduleInput},
            skip,
            terms::TermsInput,
            update::{self, SubscriptionPatch},
        },
    },
    domain::{
        authorization::{Authorization, AuthorizationStatus as Status},
        clock::Timeline,
        event::Actor,
        id::CustomerId,
        payment::PaymentStatus,
        payment_method::MethodKind,
        subscription::{Subscription, SubscriptionStatus, When},
    },
    gateway::{Charge, Mandate, ReturnOutcome, Source},
    input::Patch,
    sandbox::{Movement, Rule},
    store,
};
use serde_json::json;

use crate::world::*;

pub(super) const OPERATOR: Actor = Actor::System;

pub(super) fn rule(fault: &str, operation: &str, times: u32) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": times })).expect("a rule")
}

/// 10.00 a month from this date on, authorized three days before.
pub(super) async fn early(world: &World, paylike: bool, start: &str) -> Subscription {
    let customer = world.customer("UTC").await;
    let token = if paylike { world.prior() } else { world.token() };
    world.method(customer, paylike, &token).await;
    world.add(Subscription { authorize_days_before: Some(3), ..world.monthly(customer, start).await }).await
}

pub(super) async fn of_both(world: &World, start: &str) -> [Subscription; 2] {
    [early(world, false, start).await, early(world, true, start).await]
}

pub(super) async fn authorizations(world: &World) -> Vec<Authorization> {
    world.app.db.query("select * from authorizations order by id").all().await.expect("rows")
}

pub(super) async fn statuses(world: &World) -> Vec<Status> {
    authorizations(world).await.iter().map(|authorization| authorization.status).collect()
}

/// All that is reserved at the gateways, minor units.
pub(super) fn reserved(world: &World) -> Vec<i64> {
    world.sandbox.sandbox().authorized().into_iter().map(|(_, amount)| amount).collect()
}

pub(super) fn captured(world: &World) -> Vec<i64> {
    world.sandbox.ledger().iter().filter(|entry| entry.kind == Movement::Capture).map(|entry| entry.amount).collect()
}

fn charged(world: &World) -> usize {
    world.sandbox.ledger().iter().filter(|entry| entry.kind == Movement::Charge).count()
}

pub(super) async fn told(world: &World, kind: &str) -> usize {
    world.events(None).await.iter().filter(|told| *told == kind).count()
}

async fn now(world: &World) -> DateTime<Utc> {
    world.app.now_of(Timeline::Test(world.clock)).await.expect("now")
}

/// What is due where the clock stands.
pub(super) async fn settle_down(world: &World) {
    let now = now(world).await;
    world.advance(&now.to_rfc3339()).await;
}

on_both! {
    async fn what_is_reserved_before_the_bill_date_is_captured_on_it(world: World) {
        of_both(&world, "2026-01-10").await;
        world.advance("2026-01-07T05:59:00Z").await;
        assert!(reserved(&world).is_empty(), "not before the third day ahead, at the hour of billing");
        world.advance("2026-01-07T06:00:00Z").await;
        assert_eq!(reserved(&world), [1000, 1000]);
        assert!(world.invoices().await.is_empty() && world.sandbox.ledger().is_empty());
        let held = authorizations(&world).await;
        assert!(held.iter().all(|it| it.status == Status::Authorized && it.cycle == 0 && it.bill_at == at("2026-01-10T06:00:00Z")));
        world.advance("2026-01-10T06:00:00Z").await;
        assert!(reserved(&world).is_empty());
        assert_eq!((captured(&world), charged(&world)), (vec![1000, 1000], 0));
        let held = authorizations(&world).await;
        for payment in world.payments().await {
            let held = held.iter().find(|held| Some(held.id) == payment.authorization_id).expect("reserved for it");
            assert_eq!((payment.status, payment.attempt), (PaymentStatus::Succeeded, 1));
            assert_eq!((held.status, held.payment_id), (Status::Used, Some(payment.id)));
            assert_eq!(&payment.reference, &held.reference);
            assert_eq!(payment.transaction_id, held.transaction_id);
        }
        assert_eq!(world.prove().await, 2);
    }

    async fn a_jump_over_many_dates_is_the_same_as_many_steps(world: World) {
        of_both(&world, "2026-01-31").await;
        world.advance("2026-07-01T00:00:00Z").await;
        assert_eq!((world.prove().await, charged(&world), captured(&world).len()), (12, 0, 12));
        assert!(reserved(&world).is_empty(), "{:?}", authorizations(&world).await);
        assert_eq!(told(&world, "authorization.succeeded").await, 12);
        assert_eq!(told(&world, "authorization.voided").await, 0);
    }

    async fn every_fault_leaves_one_charge_and_nothing_reserved(world: World) {
        of_both(&world, "2026-01-10").await;
        let mut month = 1;
        for fault in ["drop_before", "drop_after", "500", "status_after:500", "429", "delay:450"] {
            for operation in ["authorize", "capture"] {
                world.sandbox.sandbox().add_fault(rule(fault, operation, 1));
                let date = at("2026-01-10T00:00:00Z").checked_add_months(chrono::Months::new(month)).expect("date");
                world.advance(&date.to_rfc3339()).await;
                assert_eq!(world.prove().await, 2 * month as usize, "{fault} on {operation}");
                world.sandbox.sandbox().clear_faults();
                month += 1;
            }
        }
        assert!(world.invoices().await.iter().all(|invoice| invoice.dunning_step == 0), "faults spend no dunning step");
        assert_eq!(told(&world, "authorization.declined").await, 0, "nobody is told of an outage as of a declined card");
    }

    async fn a_decline_warns_and_the_bill_date_charges_all_the_same(world: World) {
        let subs = of_both(&world, "2026-01-10").await;
        for (gateway, fault) in [("fluidpay", "decline:202"), ("paylike", "decline:7")] {
            let rule = json!({ "match": { "operation": "authorize", "gateway": gateway }, "fault": fault, "times": 1 });
            world.sandbox.sandbox().add_fault(serde_json::from_value(rule).expect("a rule"));
        }
        world.advance("2026-01-09T00:00:00Z").await;
        let held = authorizations(&world).await;
        assert_eq!(held.iter().map(|it| it.status).collect::<Vec<_>>(), [Status::Declined; 2], "asked once each");
        assert!(held.iter().all(|it| it.decline_code.is_some() && it.decline_class.is_some()));
        assert_eq!(told(&world, "authorization.declined").await, 2);
        for sub in &subs {
            assert_eq!(world.subscription(sub).await.status, SubscriptionStatus::Active);
        }
        world.advance("2026-01-10T07:00:00Z").await;
        assert!(world.invoices().await.iter().all(|invoice| invoice.dunning_step == 0));
        assert_eq!(world.prove().await, 2);
        assert!(world.payments().await.iter().all(|payment| payment.authorization_id.is_none()));
    }

    async fn cancel_pause_skip_and_a_new_date_give_the_money_free(world: World) {
        for paylike in [false, true] {
            let start = "2026-01-10";
            let subs = [
                early(&world, paylike, start).await,
                early(&world, paylike, start).await,
                early(&world, paylike, start).await,
                early(&world, paylike, start).await,
            ];
            let ids = subs.map(|sub| sub.id);
            if !paylike {
                world.advance("2026-01-08T00:00:00Z").await;
            }
            settle_down(&world).await;
            assert_eq!(reserved(&world), [1000; 4]);
            cancel(&world.app, &OPERATOR, ids[0], CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled");
            pause::pause(&world.app, &OPERATOR, ids[1], PauseInput { until: None, when: When::Now, credit: false }, false).await.expect("paused");
            skip::skip(&world.app, &OPERATOR, ids[2], 1, false).await.expect("skipped");
            reschedule::reschedule(&world.app, &OPERATOR, ids[3], RescheduleInput { next_bill_date: date("2026-01-20"), keep_anchor: false }, false).await.expect("moved");
            settle_down(&world).await;
            assert!(reserved(&world).is_empty(), "{:?}", authorizations(&world).await);
        }
        assert_eq!(told(&world, "authorization.voided").await, 8);
        world.advance("2026-01-21T00:00:00Z").await;
        // Only the one that was moved is due, and that was reserved anew.
        assert_eq!((world.prove().await, captured(&world).len()), (2, 2));
        assert!(reserved(&world).is_empty());
    }

    async fn a_preview_gives_nothing_free(world: World) {
        let sub = early(&world, false, "2026-01-10").await;
        world.advance("2026-01-08T00:00:00Z").await;
        cancel(&world.app, &OPERATOR, sub.id, CancelInput { when: When::Now, credit: false }, true).await.expect("previewed");
        reschedule::reschedule(&world.app, &OPERATOR, sub.id, RescheduleInput { next_bill_date: date("2026-01-20"), keep_anchor: false }, true).await.expect("previewed");
        settle_down(&world).await;
        assert_eq!((reserved(&world), statuses(&world).await), (vec![1000], vec![Status::Authorized]));
    }

    async fn more_to_pay_is_reserved_anew_and_less_is_captured_in_part(world: World) {
        for (paylike, amount) in [(false, 1500), (false, 600), (true, 1500), (true, 600)] {
            let sub = early(&world, paylike, "2026-01-10").await;
            if world.sandbox.sandbox().authorized().is_empty() {
                world.advance("2026-01-08T00:00:00Z").await;
            }
            settle_down(&world).await;
            let input = TermsInput { amount: Some(amount), ..TermsInput::default() };
            update::update(&world.app, &OPERATOR, sub.id, SubscriptionPatch { terms: input, ..Default::default() }, false).await.expect("changed");
        }
        settle_down(&world).await;
        // 10.00 is enough for 6.00 where a part of it is captured once at most; it is not for 15.00.
        let mut held = reserved(&world);
        held.sort_unstable();
        assert_eq!(held, [600, 1000, 1500, 1500]);
        world.advance("2026-01-10T07:00:00Z").await;
        let mut taken = captured(&world);
        taken.sort_unstable();
        assert_eq!((taken, charged(&world)), (vec![600, 600, 1500, 1500], 0));
        assert!(reserved(&world).is_empty(), "what was too much is given free");
        assert_eq!(world.prove().await, 4);
    }

    async fn the_rest_is_given_free_though_the_answer_to_the_capture_was_lost(world: World) {
        for sub in of_both(&world, "2026-01-10").await {
            world.advance("2026-01-08T00:00:00Z").await;
            let input = TermsInput { amount: Some(600), ..TermsInput::default() };
            update::update(&world.app, &OPERATOR, sub.id, SubscriptionPatch { terms: input, ..Default::default() }, false).await.expect("changed");
        }
        assert_eq!(reserved(&world), [1000, 1000]);
        world.sandbox.sandbox().add_fault(rule("drop_after", "capture", 2));
        world.advance("2026-01-10T07:00:00Z").await;
        assert_eq!((world.prove().await, captured(&world), reserved(&world)), (2, vec![600, 600], vec![]));
    }

    async fn a_card_is_not_asked_more_often_than_its_cap_allows(world: World) {
        let customer = world.customer("UTC").await;
        let token = world.token();
        world.method(customer, false, &token).await;
        for _ in 0..5 {
            world.add(Subscription { authorize_days_before: Some(3), ..world.monthly(customer, "2026-01-10").await }).await;
        }
        world.sandbox.sandbox().add_fault(rule("decline:202", "authorize", 0));
        world.sandbox.sandbox().add_fault(rule("decline:202", "charge", 0));
        world.advance("2026-01-08T05:00:00Z").await;
        assert_eq!(statuses(&world).await, [Status::Declined; 2], "two in 24 hours");
        world.advance("2026-01-09T05:00:00Z").await;
        assert_eq!(statuses(&world).await, [Status::Declined; 4]);
        world.advance("2026-01-11T00:00:00Z").await;
        let mut asked: Vec<_> = authorizations(&world).await.iter().map(|it| it.created_at).collect();
        asked.extend(world.payments().await.iter().map(|payment| payment.created_at));
        asked.sort_unstable();
        assert!(asked.windows(3).all(|three| three[2] - three[0] >= chrono::TimeDelta::hours(24)), "{asked:?}");
    }

    async fn credit_given_in_between_is_used_first(world: World) {
        for paylike in [false, true] {
            let part = early(&world, paylike, "2026-01-10").await.customer_id;
            let whole = early(&world, paylike, "2026-01-10").await.customer_id;
            if !paylike {
                world.advance("2026-01-08T00:00:00Z").await;
            }
            settle_down(&world).await;
            for (customer, credit) in [(part, 400), (whole, 5000)] {
                let customer = customer.to_string();
                customers::give_credit(&world.app, &OPERATOR, &customer, credit, None, "gift".into()).await.expect("given");
            }
        }
        world.advance("2026-01-12T00:00:00Z").await;
        assert_eq!((captured(&world), charged(&world)), (vec![600, 600], 0));
        assert!(reserved(&world).is_empty(), "{:?}", authorizations(&world).await);
        assert_eq!(world.prove().await, 2);
    }

    async fn another_card_is_reserved_in_place_of_the_old_one(world: World) {
        let subs = of_both(&world, "2026-01-10").await;
        world.sandbox.sandbox().add_fault(rule("decline:202", "authorize", 1));
        world.advance("2026-01-08T00:00:00Z").await;
        assert_eq!(reserved(&world).len(), 1);
        let mut fresh = Vec::new();
        for (paylike, customer) in [(false, subs[0].customer_id), (true, subs[1].customer_id)] {
            fresh.push(replace(&world, customer, paylike).await);
        }
        settle_down(&world).await;
        // The warned customer's new card is tried at once; the other's old one is given free.
        assert_eq!(reserved(&world).len(), 2);
        let open: Vec<_> = authorizations(&world).await.into_iter().filter(|it| it.status == Status::Authorized).collect();
        assert!(open.iter().all(|it| [&it.customer_token, &it.prior_transaction_id].into_iter().flatten().any(|token| fresh.contains(token))));
        world.advance("2026-01-10T07:00:00Z").await;
        assert_eq!((world.prove().await, captured(&world).len()), (2, 2));
        assert!(reserved(&world).is_empty());
    }

    async fn what_would_expire_is_reserved_anew_in_time(world: World) {
        for paylike in [false, true] {
            let sub = early(&world, paylike, "2026-01-31").await;
            let mut longer = world.subscription(&sub).await;
            // Four times as long as a reservation lives.
            longer.authorize_days_before = Some(28);
            longer.refresh(&world.app.rules);
            let mut tx = world.app.db.begin().await.expect("tx");
            store::subscriptions::save(&mut tx, &[longer]).await.expect("saved");
            tx.commit().await.expect("commit");
        }
        world.advance("2026-01-31T07:00:00Z").await;
        let held = authorizations(&world).await;
        // From 3 January on every six and a half days, the last on 29 January.
        assert_eq!(held.iter().filter(|it| it.cycle == 0).count(), 10, "{held:#?}");
        assert!(held.windows(2).all(|pair| pair[0].status.is_open() || pair[0].resolved_at.is_some()));
        for it in held.iter().filter(|it| it.status == Status::Voided) {
            assert!(it.expires_at > it.resolved_at, "given free after it had run out: {it:?}");
        }
        assert_eq!((world.prove().await, captured(&world).len(), charged(&world)), (2, 2, 0));
        assert!(reserved(&world).len() <= 2, "only those of the next month");
    }

    async fn a_reservation_the_gateway_let_go_of_is_charged_anew_with_no_step_spent(world: World) {
        of_both(&world, "2026-01-10").await;
        world.advance("2026-01-08T00:00:00Z").await;
        for it in authorizations(&world).await {
            void_by_hand(&world, &it).await;
        }
        world.advance("2026-01-11T00:00:00Z").await;
        assert_eq!(world.prove().await, 2);
        let payments = world.payments().await;
        assert_eq!(payments.iter().filter(|payment| payment.status == PaymentStatus::GatewayError).count(), 2);
        assert!(payments.iter().all(|payment| payment.decline_class.is_none()));
        assert!(world.invoices().await.iter().all(|invoice| invoice.dunning_step == 0));
        assert_eq!(told(&world, "payment.reservation_lost").await, 2);
        assert!(reserved(&world).is_empty());
    }

    async fn no_cycle_that_will_not_come_is_authorized(world: World) {
        for paylike in [false, true] {
            let sub = early(&world, paylike, "2026-01-10").await;
            // Two charges, and no third.
            let input = TermsInput { duration: Some(2), ..TermsInput::default() };
            update::update(&world.app, &OPERATOR, sub.id, SubscriptionPatch { terms: input, ..Default::default() }, false).await.expect("changed");
            let ending = early(&world, paylike, "2026-01-10").await;
            let input = TermsInput { ends_on: Patch::Value(date("2026-02-10")), ..TermsInput::default() };
            update::update(&world.app, &OPERATOR, ending.id, SubscriptionPatch { terms: input, ..Default::default() }, false).await.expect("changed");
            let last = early(&world, paylike, "2026-01-10").await;
            if !paylike {
                world.advance("2026-01-10T07:00:00Z").await;
            }
            settle_down(&world).await;
            cancel(&world.app, &OPERATOR, last.id, CancelInput { when: When::PeriodEnd, credit: false }, false).await.expect("cancelled");
        }
        world.advance("2026-06-01T00:00:00Z").await;
        assert_eq!(world.prove().await, 8);
        assert!(reserved(&world).is_empty());
        assert_eq!(authorizations(&world).await.iter().filter(|it| it.status == Status::Voided).count(), 0);
    }

    async fn nothing_is_reserved_or_captured_at_a_gateway_that_rests(world: World) {
        of_both(&world, "2026-01-10").await;
        billing::gateways::pause(&world.app, &OPERATOR, "fluid", "").await.expect("paused");
        world.advance("2026-01-09T00:00:00Z").await;
        assert_eq!(authorizations(&world).await.len(), 1, "only at the other gateway");
        billing::gateways::resume(&world.app, &OPERATOR, "fluid").await.expect("resumed");
        billing::gateways::pause(&world.app, &OPERATOR, "paylike", "").await.expect("paused");
        world.advance("2026-01-10T12:00:00Z").await;
        assert_eq!((captured(&world).len(), reserved(&world)), (1, vec![1000]), "what is reserved waits for its gateway");
        billing::gateways::resume(&world.app, &OPERATOR, "paylike").await.expect("resumed");
        world.advance("2026-01-12T00:00:00Z").await;
        assert_eq!((world.prove().await, captured(&world).len(), charged(&world)), (2, 2, 0));
        assert!(reserved(&world).is_empty());
    }

    async fn a_gateway_that_does_not_answer_is_not_asked_for_every_subscription(world: World) {
        for _ in 0..40 {
            early(&world, false, "2026-01-10").await;
        }
        let mut config = world.app.config.clone();
        config.gateways.get_mut("fluid").expect("configured").max_in_flight = 2;
        let mut world = world;
        world.app = app(world.app.db.clone(), config, "early");
        let sandbox = world.sandbox.sandbox().clone();
        sandbox.add_fault(rule("503", "authorize", 0));
        sandbox.add_fault(rule("503", "charge", 0));
        world.advance("2026-01-07T06:00:30Z").await;
        assert!(sandbox.struck() < 40, "{} calls", sandbox.struck());
        assert_eq!(told(&world, "gateway.circuit_opened").await, 1);
        sandbox.clear_faults();
        world.advance("2026-01-10T12:00:00Z").await;
        assert_eq!((world.prove().await, captured(&world).len()), (40, 40));
        assert!(reserved(&world).is_empty());
    }

    async fn a_method_that_is_asked_for_payment_reserves_nothing(world: World) {
        let sub = early(&world, false, "2026-01-10").await;
        let mut tx = world.app.db.begin().await.expect("tx");
        tx.query("delete from payment_methods").run().await.expect("gone");
        tx.commit().await.expect("commit");
        world.advance("2026-01-09T00:00:00Z").await;
        assert!(statuses(&world).await.is_empty());
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
    }
}

/// A new default card.
async fn replace(world: &World, customer: CustomerId, paylike: bool) -> String {
    let token = if paylike { world.prior() } else { world.token() };
    let input = payment_methods::PaymentMethodInput {
        gateway: if paylike { "paylike" } else { "fluid" }.into(),
        kind: if paylike { MethodKind::PriorTransaction } else { MethodKind::VaultToken },
        customer_token: (!paylike).then(|| token.clone()),
        payment_method_token: None,
        transaction_id: paylike.then(|| token.clone()),
        channels: None,
        expires: None,
        last_four: None,
        default: Some(true),
        priority: None,
    };
    billing::payment_methods::add(&world.app, &OPERATOR, &customer.to_string(), input).await.expect("added");
    token
}

pub(super) fn charge_of(authorization: &Authorization) -> Charge {
    let transaction_id = authorization.prior_transaction_id.clone().unwrap_or_default();
    Charge {
        reference: authorization.reference.clone(),
        idempotency_key: String::new(),
        source: Source::PriorTransaction { transaction_id },
        amount_minor: authorization.amount,
        currency: authorization.currency,
        description: String::new(),
        mandate: Mandate::default(),
    }
}

/// As a gateway does whose reservations run out, or somebody in its console.
async fn void_by_hand(world: &World, authorization: &Authorization) {
    let gateway = world.app.gateways.get(&authorization.gateway).expect("configured");
    let id = authorization.transaction_id.as_deref().expect("an id");
    let released = gateway.adapter.void(id, &charge_of(authorization)).await;
    assert!(matches!(released, ReturnOutcome::Returned { .. }), "{released:?}");
}
