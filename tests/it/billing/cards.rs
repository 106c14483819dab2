//! A customer brings another card: what was declined is collected at once, and only what that card is for.

use futures_util::future::join_all;
use rebilld::{
    billing::{
        customers,
        payment_methods::{self, PaymentMethodInput, PaymentMethodPatch},
        subscriptions::{
            cancel::{self, CancelInput},
            change::{self, ChangeInput},
            retry,
            terms::TermsInput,
            update::{self, SubscriptionPatch},
        },
    },
    domain::{
        event::Actor,
        frequency::Frequency,
        id::CustomerId,
        invoice::InvoiceStatus,
        payment::PaymentStatus,
        payment_method::PaymentMethod,
        subscription::{Subscription, SubscriptionStatus, When},
    },
    input::Patch,
    sandbox::Script,
    store,
};

use crate::world::*;

async fn add(world: &World, customer: CustomerId, input: PaymentMethodInput) -> PaymentMethod {
    payment_methods::add(&world.app, &Actor::System, &customer.to_string(), input).await.expect("added")
}

const DECLINES: &str = "decline2020000000000";

on_both! {
    async fn a_new_card_takes_over_from_one_that_failed(world: World) {
        let customer = world.customer("UTC").await;
        let old = add(&world, customer, vault(DECLINES)).await;
        let sub = world.add(world.monthly(customer, "2026-01-10").await).await;
        world.advance("2026-01-10T12:00:00Z").await;
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::PastDue);
        let new = add(&world, customer, vault(&world.token())).await;
        assert!(old.is_default && new.is_default);
        world.advance("2026-01-10T12:00:01Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-10 succeeded"]);
        assert_eq!(world.subscription(&sub).await.status, SubscriptionStatus::Active);
        // The next month is charged to it, too, and no second retry was left over.
        world.advance("2026-02-11T00:00:00Z").await;
        assert_eq!(world.prove().await, 2);
        assert_eq!(world.payments().await.len(), 3);
    }

    async fn a_card_that_is_no_default_retries_nothing_until_it_is(world: World) {
        let customer = world.customer("UTC").await;
        add(&world, customer, vault(DECLINES)).await;
        world.add(world.monthly(customer, "2026-01-10").await).await;
        world.advance("2026-01-10T12:00:00Z").await;
        let spare = add(&world, customer, PaymentMethodInput { default: Some(false), ..vault(&world.token()) }).await;
        world.advance("2026-01-10T13:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"]);
        let patch = PaymentMethodPatch { default: Some(true), ..PaymentMethodPatch::default() };
        assert!(payment_methods::update(&world.app, &Actor::System, spare.id, patch).await.expect("updated").is_default);
        world.advance("2026-01-10T13:00:01Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-10 succeeded"]);
        assert_eq!(world.prove().await, 1);
    }

    async fn a_subscription_with_its_own_card_is_not_retried_by_another(world: World) {
        let customer = world.customer("UTC").await;
        let own = add(&world, customer, vault(DECLINES)).await;
        let mut sub = world.monthly(customer, "2026-01-10").await;
        sub.payment_method_id = Some(own.id);
        world.add(sub).await;
        world.advance("2026-01-10T12:00:00Z").await;
        add(&world, customer, vault(&world.token())).await;
        world.advance("2026-01-10T13:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"], "the failing card would only have been asked again");
    }

    async fn whichever_door_another_card_comes_by_it_is_charged_at_once(world: World) {
        let mut subs = Vec::new();
        for door in ["patch", "patch to null", "change now", "delete"] {
            let customer = world.customer("UTC").await;
            // A card of its own: one that was declined for somebody else would not even be asked.
            let token = world.token();
            world.sandbox.sandbox().set_script(&token, Script { declines: [202; 9].into(), ..Script::default() });
            let failing = add(&world, customer, vault(&token)).await;
            let default = Some(door == "patch to null");
            let good = add(&world, customer, PaymentMethodInput { default, ..vault(&world.token()) }).await;
            let mut sub = world.monthly(customer, "2026-01-10").await;
            sub.payment_method_id = (door != "delete").then_some(failing.id);
            subs.push((door, world.add(sub).await, failing, good));
        }
        world.advance("2026-01-10T12:00:00Z").await;
        let before = world.invoices().await;
        for (door, sub, failing, good) in &subs {
            assert_eq!(world.subscription(sub).await.status, SubscriptionStatus::PastDue, "{door}");
            let terms = |payment_method_id| TermsInput { payment_method_id, ..TermsInput::default() };
            let patch = |method| SubscriptionPatch { terms: terms(method), ..SubscriptionPatch::default() };
            let (app, actor) = (&world.app, &Actor::System);
            match *door {
                "patch" => {
                    update::update(app, actor, sub.id, patch(Patch::Value(good.id)), true).await.expect("shown");
                    assert_eq!(world.invoices().await, before, "a preview collects nothing");
                    drop(update::update(app, actor, sub.id, patch(Patch::Value(good.id)), false).await.expect("changed"));
                }
                "patch to null" => drop(update::update(app, actor, sub.id, patch(Patch::Null), false).await.expect("changed")),
                "change now" => {
                    let input = ChangeInput { when: When::Now, terms: terms(Patch::Value(good.id)) };
                    drop(change::change(app, actor, sub.id, input, false).await.expect("changed"));
                }
                _ => payment_methods::delete(app, actor, failing.id).await.expect("deleted"),
            }
        }
        world.advance("2026-01-10T12:00:01Z").await;
        for (door, sub, ..) in &subs {
            assert_eq!(world.subscription(sub).await.status, SubscriptionStatus::Active, "{door}");
        }
        assert_eq!((world.prove().await, world.payments().await.len()), (subs.len(), 2 * subs.len()), "each once");
        let retried = world.events(None).await.iter().filter(|event| *event == "invoice.retried").count();
        assert_eq!(retried, subs.len());
    }

    async fn another_card_at_the_periods_end_collects_what_is_owed_with_the_next_cycle(world: World) {
        let customer = world.customer("UTC").await;
        let failing = add(&world, customer, vault(DECLINES)).await;
        let good = add(&world, customer, PaymentMethodInput { default: Some(false), ..vault(&world.token()) }).await;
        let sub = world.monthly(customer, "2026-01-10").await;
        // The next cycle begins between two steps of the ladder.
        let sub = Subscription { payment_method_id: Some(failing.id), billing_frequency: Frequency::Daily, billing_cycle_interval: 2, ..sub };
        let sub = world.add(sub).await;
        world.advance("2026-01-10T12:00:00Z").await;
        let terms = TermsInput { payment_method_id: Patch::Value(good.id), ..TermsInput::default() };
        change::change(&world.app, &Actor::System, sub.id, ChangeInput { when: When::PeriodEnd, terms }, false).await.expect("changed");
        world.advance("2026-01-12T07:00:00Z").await;
        let invoices = world.invoices().await;
        assert_eq!(invoices.iter().map(|invoice| invoice.status).collect::<Vec<_>>(), [InvoiceStatus::Paid; 2]);
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-11 declined", "2026-01-12 succeeded", "2026-01-12 succeeded"]);
        assert_eq!(world.prove().await, 2);
    }

    async fn a_payment_whose_outcome_is_open_is_left_alone(world: World) {
        let customer = world.customer("UTC").await;
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [202].into(), ..Script::default() });
        add(&world, customer, vault(&token)).await;
        let sub = world.add(world.monthly(customer, "2026-01-10").await).await;
        world.advance("2026-01-10T12:00:00Z").await;
        // As if the retry had been sent and nobody knew what came of it.
        let mut payment = world.payments().await.remove(0);
        let mut invoice = world.invoices().await.remove(0);
        payment.id = world.app.id();
        payment.reference = payment.id.short_reference();
        payment.status = PaymentStatus::Parked;
        invoice.next_attempt_at = None;
        let mut tx = world.app.db.begin().await.expect("tx");
        store::payments::insert(&mut tx, &[payment]).await.expect("payment");
        store::invoices::save(&mut tx, &[invoice]).await.expect("invoice");
        tx.commit().await.expect("commit");

        let new = add(&world, customer, vault(&world.token())).await;
        let terms = TermsInput { payment_method_id: Patch::Value(new.id), ..TermsInput::default() };
        let patch = SubscriptionPatch { terms, ..SubscriptionPatch::default() };
        update::update(&world.app, &Actor::System, sub.id, patch, false).await.expect("changed");
        assert!(retry::retry(&world.app, &Actor::System, sub.id).await.is_err());
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.next_attempt_at, invoice.status), (None, InvoiceStatus::Open));
    }

    async fn many_hands_at_once_leave_one_default_and_one_cancellation(world: World) {
        let customer = world.customer("UTC").await;
        add(&world, customer, vault(DECLINES)).await;
        let sub = world.add(world.monthly(customer, "2026-01-10").await).await;
        world.advance("2026-01-10T12:00:00Z").await;
        customers::give_credit(&world.app, &Actor::System, &customer.to_string(), 100, None, String::new()).await.expect("given");
        let tokens: Vec<String> = (0..8).map(|_| world.token()).collect();
        let adding = tokens.iter().map(|token| add(&world, customer, PaymentMethodInput { default: Some(true), ..vault(token) }));
        let cancelling = (0..4).map(|_| cancel::cancel(&world.app, &Actor::System, sub.id, CancelInput { when: When::Now, credit: true }, false));
        let key = customer.to_string();
        let giving = (0..4).map(|_| customers::give_credit(&world.app, &Actor::System, &key, 1, None, String::new()));
        let (_, cancelled, given) = tokio::join!(join_all(adding), join_all(cancelling), join_all(giving));
        assert_eq!(cancelled.iter().filter(|done| done.is_ok()).count(), 1, "{cancelled:?}");
        assert!(given.iter().all(Result::is_ok), "{given:?}");
        let methods: Vec<PaymentMethod> =
            world.app.db.query("select * from payment_methods where is_default").all().await.expect("methods");
        assert_eq!(methods.len(), 1);
        let found = store::customers::find(&world.app.db, &key).await.expect("read").expect("customer");
        assert_eq!(found.balance, 104);
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Void);
    }

    async fn an_operator_retries_at_once(world: World) {
        let customer = world.customer("UTC").await;
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [202].into(), ..Script::default() });
        add(&world, customer, vault(&token)).await;
        let sub = world.add(world.monthly(customer, "2026-01-10").await).await;
        assert!(retry::retry(&world.app, &Actor::System, sub.id).await.is_err(), "nothing is owed yet");
        world.advance("2026-01-10T12:00:00Z").await;
        retry::retry(&world.app, &Actor::System, sub.id).await.expect("retried");
        world.advance("2026-01-10T12:00:01Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-10 succeeded"]);
        assert_eq!(world.prove().await, 1);
    }
}
