//! Dunning policies at work: their steps and hours, another method, changes under way, and how dunning_rules end.

use rebilld::{
    billing::{
        self,
        customers::CustomerRef,
        dunning_policies::{ByClassInput, DunningPolicyInput, DunningPolicyPatch, OverrideInput, StepInput},
        installment_plans::create::{InstallmentPlanInput, PartInput},
        subscriptions::{cancel::CancelInput, terms::TermsInput, update::SubscriptionPatch},
    },
    domain::{
        dunning::{Channel, FinalAction, Policy},
        event::Actor,
        id::{CustomerId, DunningPolicyId},
        invoice::InvoiceStatus,
        payment::{DeclineClass, PaymentStatus},
        payment_method::{MethodKind, PaymentMethod},
        subscription::{Subscription, SubscriptionStatus},
    },
    input::Patch,
    sandbox::Script,
    store,
};
use serde_json::{Value, json};

use crate::world::*;

fn step(after_days: i64) -> StepInput {
    StepInput { after_days, channels: Some(vec![Channel::Email]), ..StepInput::default() }
}

fn through(after_days: i64) -> StepInput {
    StepInput { next_method: true, ..step(after_days) }
}

async fn policy(world: &World, input: DunningPolicyInput) -> Policy {
    let input = DunningPolicyInput { name: "Own".into(), ..input };
    billing::dunning_policies::create(&world.app, &Actor::System, input).await.expect("made")
}

async fn steps(world: &World, steps: Vec<StepInput>) -> DunningPolicyId {
    policy(world, DunningPolicyInput { steps, ..DunningPolicyInput::default() }).await.id
}

/// A customer with these cards, the first being the default, the others in order of priority.
async fn customer(world: &World, zone: &str, tokens: &[&str]) -> CustomerId {
    let customer = world.customer(zone).await;
    for (i, token) in tokens.iter().enumerate() {
        card(world, customer, token, i, None).await;
    }
    customer
}

async fn card(world: &World, customer: CustomerId, token: &str, i: usize, expires: Option<&str>) -> PaymentMethod {
    let now = world.app.clock.now();
    let method = PaymentMethod {
        id: world.app.id(),
        customer_id: customer,
        gateway: "fluid".into(),
        kind: MethodKind::VaultToken,
        customer_token: Some(token.into()),
        payment_method_token: None,
        transaction_id: None,
        channels: vec![],
        expires: expires.map(str::to_owned),
        last_four: None,
        is_default: i == 0,
        priority: rebilld::domain::count(i),
        mandate_ended_at: None,
        created_at: now,
        updated_at: now,
    };
    let mut tx = world.app.db.begin().await.expect("tx");
    store::payment_methods::insert(&mut tx, &method).await.expect("method");
    tx.commit().await.expect("commit");
    method
}

async fn once(world: &World, customer: CustomerId, policy: Option<DunningPolicyId>) -> Subscription {
    let mut sub = world.monthly(customer, "2026-01-10").await;
    (sub.duration, sub.dunning_policy_id) = (1, policy);
    world.add(sub).await
}

/// When what was charged to which card, and what came of it: `10 06:00 decline202 declined`.
async fn charged(world: &World) -> Vec<String> {
    let payments = world.payments().await;
    let line = |payment: &rebilld::domain::payment::Payment| {
        let token = payment.customer_token.clone().unwrap_or_default();
        format!("{} {} {}", payment.created_at.format("%d %H:%M"), token.trim_end_matches('0'), payment.status)
    };
    payments.iter().map(line).collect()
}

/// What was told of failures, oldest first.
async fn told(world: &World) -> Vec<Value> {
    let rows: Vec<(sqlx::types::Json<Value>,)> =
        world.app.db.query("select data from events where type = 'invoice.dunning' order by id").all().await.expect("events");
    rows.into_iter().map(|row| row.0.0).collect()
}

fn scripted(world: &World, codes: &[u16]) -> String {
    let token = world.token();
    world.sandbox.sandbox().set_script(&token, Script { declines: codes.iter().copied().collect(), ..Script::default() });
    token
}

const SOFT: &str = "decline2020000000000";
const STOLEN: &str = "decline2520000000000";

on_both! {
    async fn steps_stand_at_their_own_local_hours(world: World) {
        let customer = customer(&world, "Europe/Berlin", &[SOFT]).await;
        let evening = StepInput { at: Some("18:30".parse().expect("hour")), ..step(2) };
        let own = steps(&world, vec![step(1), evening, step(4)]).await;
        let sub = once(&world, customer, Some(own)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        assert_eq!(charged(&world).await, ["10 05:00 decline202 declined", "11 05:00 decline202 declined", "12 17:30 decline202 declined", "14 05:00 decline202 declined"]);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
    }

    async fn a_failure_tells_all_that_a_message_needs_and_no_token(world: World) {
        let customer = customer(&world, "UTC", &[SOFT]).await;
        let by_sms = StepInput { channels: Some(vec![Channel::Email, Channel::Sms]), ..step(3) };
        let own = policy(&world, DunningPolicyInput { steps: vec![step(1), by_sms], final_action: Some(FinalAction::MarkUncollectible), ..DunningPolicyInput::default() }).await;
        let sub = once(&world, customer, Some(own.id)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        let all = told(&world).await;
        assert_eq!(all[1], json!({
            "customer_id": customer, "subscription_id": sub.id, "installment_plan_id": null, "dunning_policy_id": own.id,
            "amount_due": 1000, "currency": "USD", "class": "soft", "code": "202", "step": 2, "steps": 2, "channels": ["email", "sms"],
            "next_attempt_at": "2026-01-13T06:00:00Z", "next_method": false, "gives_up_at": null, "final_action": "mark_uncollectible", "is_final": false,
        }));
        let short: Vec<_> = all.iter().map(|told| (told["step"].clone(), told["next_attempt_at"].clone(), told["is_final"].clone())).collect();
        assert_eq!(short, [
            (json!(1), json!("2026-01-11T06:00:00Z"), json!(false)),
            (json!(2), json!("2026-01-13T06:00:00Z"), json!(false)),
            (json!(3), Value::Null, json!(true)),
        ]);
        assert!(all.iter().all(|told| !told.to_string().contains("decline202")));
    }

    async fn a_step_charges_the_next_stored_method_and_the_one_after_goes_back(world: World) {
        let customer = customer(&world, "UTC", &[SOFT, "decline2030000000000"]).await;
        let own = steps(&world, vec![step(1), through(2), step(4)]).await;
        once(&world, customer, Some(own)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        assert_eq!(charged(&world).await, ["10 06:00 decline202 declined", "11 06:00 decline202 declined", "12 06:00 decline203 declined", "14 06:00 decline202 declined"]);
    }

    async fn a_gateways_fault_leaves_the_turn_with_the_next_method(world: World) {
        let second = scripted(&world, &[421]);
        let customer = customer(&world, "UTC", &[SOFT, &second]).await;
        let own = steps(&world, vec![through(1), step(2)]).await;
        once(&world, customer, Some(own)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        let token = second.trim_end_matches('0');
        assert_eq!(charged(&world).await, ["10 06:00 decline202 declined".to_owned(), format!("11 06:00 {token} declined"), format!("11 06:01 {token} succeeded")]);
        assert_eq!(world.prove().await, 1);
    }

    async fn a_method_that_cannot_be_charged_is_passed_over(world: World) {
        let customer = customer(&world, "UTC", &[SOFT]).await;
        card(&world, customer, "decline2010000000000", 1, Some("2025-12")).await;
        card(&world, customer, SOFT, 2, None).await;
        let live = card(&world, customer, "decline2010000000000", 3, None).await;
        world.app.db.query("update payment_methods set gateway = 'gone' where id = $1").bind(live.id).run().await.expect("set");
        card(&world, customer, "decline2000000000000", 4, Some("2026-01")).await;
        let own = steps(&world, vec![through(1), through(2)]).await;
        once(&world, customer, Some(own)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        // Expired, the same card again, another's gateway: none of them. After the last one there is only its own.
        assert_eq!(charged(&world).await, ["10 06:00 decline202 declined", "11 06:00 decline2 declined", "12 06:00 decline202 declined"]);
        assert_eq!(told(&world).await[1]["next_method"], json!(false), "no other is left");
    }

    async fn a_stolen_card_falls_through_at_once_and_is_never_charged_again(world: World) {
        let good = scripted(&world, &[202]);
        let customer = customer(&world, "UTC", &[STOLEN, &good]).await;
        let own = steps(&world, vec![step(1), through(3), step(5)]).await;
        let sub = once(&world, customer, Some(own)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        let token = good.trim_end_matches('0');
        // The first failure is hard: at once. The second is soft: its step, by the card that may still pay.
        assert_eq!(charged(&world).await, ["10 06:00 decline252 declined".to_owned(), format!("10 06:00 {token} declined"), format!("13 06:00 {token} succeeded")]);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Completed);
        assert_eq!(world.prove().await, 1);
    }

    async fn without_a_word_about_it_no_other_method_is_charged(world: World) {
        let good = world.token();
        let customer = customer(&world, "UTC", &[STOLEN, &good]).await;
        once(&world, customer, None).await;
        world.advance("2026-01-31T00:00:00Z").await;
        assert_eq!(charged(&world).await, ["10 06:00 decline252 declined"]);
    }

    async fn what_is_written_for_a_class_is_followed(world: World) {
        let hard = OverrideInput { steps: vec![through(0), step(2)], final_action: Some(FinalAction::Pause) };
        let own = policy(&world, DunningPolicyInput {
            steps: vec![step(1)],
            by_class: Some(ByClassInput { hard: Some(hard), ..ByClassInput::default() }),
            final_action: Some(FinalAction::Cancel),
            ..DunningPolicyInput::default()
        }).await;
        let stolen = customer(&world, "UTC", &[STOLEN, "decline2530000000000"]).await;
        let stolen = once(&world, stolen, Some(own.id)).await;
        let soft = customer(&world, "UTC", &[SOFT]).await;
        let soft = once(&world, soft, Some(own.id)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        let mut all = charged(&world).await;
        all.sort();
        assert_eq!(all, ["10 06:00 decline202 declined", "10 06:00 decline252 declined", "10 06:00 decline253 declined", "11 06:00 decline202 declined", "12 06:00 decline252 declined"]);
        assert_eq!(world.subscription(&stolen).await.status, SubscriptionStatus::Paused);
        assert_eq!(world.subscription(&soft).await.status, SubscriptionStatus::Cancelled);
    }

    async fn the_default_policy_holds_where_none_is_named(world: World) {
        policy(&world, DunningPolicyInput { steps: vec![step(2)], is_default: true, ..DunningPolicyInput::default() }).await;
        let own = steps(&world, vec![step(6)]).await;
        let customer = customer(&world, "UTC", &[SOFT]).await;
        once(&world, customer, None).await;
        world.advance("2026-01-31T00:00:00Z").await;
        assert_eq!(charged(&world).await, ["10 06:00 decline202 declined", "12 06:00 decline202 declined"]);
        let mut sub = world.monthly(customer, "2026-02-10").await;
        (sub.duration, sub.dunning_policy_id) = (1, Some(own));
        world.add(sub).await;
        world.advance("2026-02-28T00:00:00Z").await;
        assert_eq!(charged(&world).await[2..], ["10 06:00 decline202 declined", "16 06:00 decline202 declined"]);
    }

    async fn a_changed_policy_holds_from_the_next_failure_on(world: World) {
        let customer = customer(&world, "UTC", &[SOFT]).await;
        let own = steps(&world, vec![step(2), step(4), step(6)]).await;
        let sub = once(&world, customer, Some(own)).await;
        world.advance("2026-01-11T00:00:00Z").await;
        let change = DunningPolicyPatch { steps: Some(vec![step(1), step(9), step(12)]), final_action: Some(FinalAction::Pause), ..DunningPolicyPatch::default() };
        billing::dunning_policies::update(&world.app, &Actor::System, &own.to_string(), change).await.expect("changed");
        // What was scheduled stays on the 12th; the second failure is followed by the second step, as it is then.
        world.advance("2026-01-20T00:00:00Z").await;
        assert_eq!(charged(&world).await, ["10 06:00 decline202 declined", "12 06:00 decline202 declined", "19 06:00 decline202 declined"]);
        // Another policy for the subscription is the same: from the next failure on, which is the fourth.
        let short = steps(&world, vec![step(1)]).await;
        let terms = TermsInput { dunning_policy_id: Patch::Value(short.to_string()), ..Default::default() };
        billing::subscriptions::update::update(&world.app, &Actor::System, sub.id, SubscriptionPatch { terms, ..Default::default() }, false).await.expect("patched");
        world.advance("2026-01-31T00:00:00Z").await;
        assert_eq!(charged(&world).await[3..], ["22 06:00 decline202 declined"]);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled, "by the policy it is under then");
    }

    async fn each_final_action_ends_a_ladder_in_its_own_way(world: World) {
        use FinalAction::{Cancel, MarkUncollectible, Pause, PaymentRequest};
        let mut subscriptions = Vec::new();
        for action in [Cancel, Pause, MarkUncollectible, PaymentRequest] {
            let own = policy(&world, DunningPolicyInput { steps: vec![step(1)], final_action: Some(action), ..DunningPolicyInput::default() }).await;
            let card = scripted(&world, &[202, 202]);
            let customer = customer(&world, "UTC", &[&card]).await;
            let mut sub = world.monthly(customer, "2026-01-10").await;
            sub.dunning_policy_id = Some(own.id);
            subscriptions.push(world.add(sub).await);
        }
        world.advance("2026-02-10T07:00:00Z").await;
        let mut found = Vec::new();
        for sub in &subscriptions {
            let invoices = world.invoices().await;
            let mine: Vec<InvoiceStatus> = invoices.iter().filter(|invoice| invoice.subscription_id == Some(sub.id)).map(|invoice| invoice.status).collect();
            found.push((world.subscription(sub).await.status, mine));
        }
        use InvoiceStatus::{Paid, Uncollectible};
        assert_eq!(found[..3], [
            (SubscriptionStatus::Cancelled, vec![Uncollectible]),
            (SubscriptionStatus::Paused, vec![Uncollectible]),
            (SubscriptionStatus::Active, vec![Uncollectible, Paid]),
        ]);
        assert_eq!(found[3].0, SubscriptionStatus::Active, "it goes on; what becomes of the request is told elsewhere");
        world.prove().await;
    }

    async fn the_rest_of_a_partial_approval_stays_on_the_ladder_until_it_is_paid(world: World) {
        let card = scripted(&world, &[110, 110]);
        let customer = customer(&world, "UTC", &[&card]).await;
        let sub = once(&world, customer, None).await;
        world.advance("2026-01-10T06:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.amount_paid, invoice.amount_due(), invoice.dunning_step, invoice.next_attempt_at), (500, 500, 1, Some(at("2026-01-11T06:00:00Z"))));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        world.advance("2026-01-20T00:00:00Z").await;
        let asked: Vec<_> = world.payments().await.iter().map(|payment| (payment.amount, payment.amount_captured)).collect();
        assert_eq!(asked, [(1000, 500), (500, 250), (250, 250)], "the rest, exactly");
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Completed);
        assert_eq!((told(&world).await[0]["amount_due"].clone(), told(&world).await[1]["amount_due"].clone()), (json!(500), json!(250)));
        assert_eq!(world.prove().await, 3);
    }

    async fn a_cancel_after_a_partial_approval_keeps_what_was_paid_and_it_can_be_given_back(world: World) {
        let card = scripted(&world, &[110, 202, 202]);
        let customer = customer(&world, "UTC", &[&card]).await;
        let own = steps(&world, vec![step(1), step(2)]).await;
        let sub = once(&world, customer, Some(own)).await;
        world.advance("2026-01-31T00:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.status, invoice.amount_paid), (InvoiceStatus::Uncollectible, 500));
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Cancelled);
        world.sandbox.sandbox().settle();
        let refunds = billing::refunds::refund(&world.app, &Actor::System, invoice.id, None, "it was cancelled").await.expect("given back");
        assert_eq!(refunds[0].amount, 500);
        world.prove().await;
    }

    async fn an_operators_cancel_after_a_partial_approval_keeps_what_was_paid(world: World) {
        let card = scripted(&world, &[110]);
        let customer = customer(&world, "UTC", &[&card]).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        let sub = world.add(sub).await;
        world.advance("2026-01-10T07:00:00Z").await;
        billing::subscriptions::cancel::cancel(&world.app, &Actor::System, sub.id, CancelInput { when: rebilld::domain::subscription::When::Now, credit: false }, false).await.expect("cancelled");
        world.advance("2026-03-01T00:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.amount_paid, invoice.next_attempt_at, world.payments().await.len()), (500, None, 1));
        world.sandbox.sandbox().settle();
        let refunds = billing::refunds::refund(&world.app, &Actor::System, invoice.id, None, "it was cancelled").await.expect("given back");
        assert_eq!(refunds[0].amount, 500);
        world.prove().await;
    }

    async fn an_installment_plan_has_its_own_policy(world: World) {
        let customer = customer(&world, "UTC", &[SOFT]).await;
        steps(&world, vec![step(3)]).await;
        let own = policy(&world, DunningPolicyInput { steps: vec![step(2)], reference: Some("parts".into()), ..DunningPolicyInput::default() }).await;
        let input = InstallmentPlanInput {
            customer: CustomerRef { id: customer.to_string() },
            amount: 900,
            schedule: Some(vec![PartInput { date: date("2026-01-10"), amount: 900 }]),
            dunning_policy_id: Some("parts".into()),
            ..Default::default()
        };
        billing::installment_plans::create::create(&world.app, &Actor::System, input).await.expect("made");
        world.advance("2026-01-31T00:00:00Z").await;
        assert_eq!(charged(&world).await, ["10 06:00 decline202 declined", "12 06:00 decline202 declined"]);
        assert_eq!(told(&world).await[0]["dunning_policy_id"], json!(own.id));
    }

    async fn the_last_decline_and_the_next_method_are_on_the_invoice(world: World) {
        let customer = customer(&world, "UTC", &[SOFT, "decline2030000000000"]).await;
        let own = steps(&world, vec![through(1), step(2)]).await;
        once(&world, customer, Some(own)).await;
        world.advance("2026-01-10T06:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.decline_class, invoice.decline_code.as_deref(), invoice.next_method), (Some(DeclineClass::Soft), Some("202"), true));
        world.advance("2026-01-11T06:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.decline_code.as_deref(), invoice.next_method), (Some("203"), false));
        assert!(world.payments().await.iter().all(|payment| payment.status == PaymentStatus::Declined && payment.credential.is_some()));
    }
}
