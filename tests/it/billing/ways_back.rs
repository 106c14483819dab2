//! Ways back: what was given up is collected after all, and a subscription that was cancelled goes on by its old schedule.

use rebilld::{
    billing::{
        BillingError, customers, invoices,
        payment_methods::{self, PaymentMethodInput},
        subscriptions::{
            cancel::{CancelInput, cancel},
            edit::ChangePreview,
            reactivate::{ReactivateInput, reactivate},
        },
    },
    domain::{
        event::Actor,
        id::CustomerId,
        invoice::{Invoice, InvoiceStatus},
        subscription::{CollectDebt, ReactivateFrom, Subscription, SubscriptionStatus, When},
    },
};

use crate::{installments::monthly, world::*};

const SYSTEM: Actor = Actor::System;
const POOR: &str = "decline2020000000000";

/// Monthly from 10 January on, never paid: cancelled by the ladder on 17 January.
async fn lapsed(world: &World) -> (CustomerId, Subscription) {
    let customer = world.customer("UTC").await;
    world.method(customer, false, POOR).await;
    let subscription = world.add(world.monthly(customer, "2026-01-10").await).await;
    world.advance("2026-01-20T00:00:00Z").await;
    let subscription = world.subscription(&subscription).await;
    assert_eq!(subscription.status, SubscriptionStatus::Cancelled);
    assert_eq!(world.invoices().await[0].status, InvoiceStatus::Uncollectible);
    (customer, subscription)
}

async fn good_card(world: &World, customer: CustomerId) {
    let input = PaymentMethodInput { default: Some(true), ..vault(&world.token()) };
    payment_methods::add(&world.app, &SYSTEM, &customer.to_string(), input).await.expect("added");
}

async fn back(world: &World, subscription: &Subscription, collect: CollectDebt, from: ReactivateFrom) -> ChangePreview {
    let input = || ReactivateInput { collect, from };
    let preview = reactivate(&world.app, &SYSTEM, subscription.id, input(), true).await.expect("previewed");
    assert_eq!(world.subscription(subscription).await.status, SubscriptionStatus::Cancelled, "a preview stores nothing");
    let done = reactivate(&world.app, &SYSTEM, subscription.id, input(), false).await.expect("reactivated");
    assert_eq!((&preview.lines, preview.amount, &preview.reopened), (&done.lines, done.amount, &done.reopened));
    assert_eq!(preview.upcoming, done.upcoming);
    done
}

fn billed(invoices: &[Invoice]) -> Vec<(Option<i64>, i64, String, InvoiceStatus)> {
    let mut all: Vec<_> =
        invoices.iter().map(|it| (it.cycle, it.subtotal, it.due_at.date_naive().to_string(), it.status)).collect();
    all.sort_by(|one, other| one.2.cmp(&other.2));
    all
}

on_both! {
    async fn a_debt_that_was_given_up_is_collected_from_a_new_card(world: World) {
        let (customer, subscription) = lapsed(&world).await;
        good_card(&world, customer).await;
        let invoice = world.invoices().await.remove(0);
        let open = invoices::collect(&world.app, &SYSTEM, invoice.id).await.expect("collected");
        assert_eq!((open.status, open.dunning_step), (InvoiceStatus::Open, 0));
        world.advance("2026-01-20T01:00:00Z").await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid);
        assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::Cancelled, "paying a debt revives nothing");
        let refused = invoices::collect(&world.app, &SYSTEM, invoice.id).await;
        assert!(matches!(refused, Err(BillingError::WrongState(_))), "{refused:?}");
        world.prove().await;
    }

    async fn a_debt_that_is_refused_again_goes_down_the_whole_ladder_and_is_given_up_again(world: World) {
        let (_, subscription) = lapsed(&world).await;
        let invoice = world.invoices().await.remove(0);
        let attempts = invoice.attempts;
        invoices::collect(&world.app, &SYSTEM, invoice.id).await.expect("collected");
        world.advance("2026-02-20T00:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.status, invoice.attempts), (InvoiceStatus::Uncollectible, 2 * attempts));
        assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::Cancelled);
        world.prove().await;
    }

    async fn credit_pays_a_debt_that_is_opened_again(world: World) {
        let (customer, _) = lapsed(&world).await;
        let key = customer.to_string();
        customers::give_credit(&world.app, &SYSTEM, &key, 1000, None, "gift".into()).await.expect("given");
        let invoice = world.invoices().await.remove(0);
        assert_eq!(invoice.status, InvoiceStatus::Uncollectible, "what was given up is not paid unasked");
        let paid = invoices::collect(&world.app, &SYSTEM, invoice.id).await.expect("collected");
        assert_eq!((paid.status, paid.amount_due(), paid.credit_paid), (InvoiceStatus::Paid, 0, 1000));
        world.prove().await;
    }

    async fn an_installment_that_was_given_up_is_collected_by_its_invoice(world: World) {
        let plan = world.plan_with(POOR, |customer| monthly(customer, "2026-01-10", 3)).await;
        let customer = plan.schedule.plan.customer_id;
        world.advance("2026-01-20T00:00:00Z").await;
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.status, invoice.installment_plan_id), (InvoiceStatus::Uncollectible, Some(plan.schedule.plan.id)));
        good_card(&world, customer).await;
        invoices::collect(&world.app, &SYSTEM, invoice.id).await.expect("collected");
        world.advance("2026-01-20T01:00:00Z").await;
        assert_eq!(world.invoices().await[0].status, InvoiceStatus::Paid);
        world.prove().await;
    }

    async fn a_lapsed_subscription_goes_on_by_its_old_dates_with_its_debt(world: World) {
        let (customer, subscription) = lapsed(&world).await;
        good_card(&world, customer).await;
        let done = back(&world, &subscription, CollectDebt::Open, ReactivateFrom::NextBillDate).await;
        assert_eq!((done.subscription.status, done.subscription.cancelled_at), (SubscriptionStatus::Active, None));
        assert_eq!((done.amount, done.reopened.len(), done.subscription.next_bill_date), (0, 1, Some(date("2026-02-10"))));
        world.advance("2026-03-11T00:00:00Z").await;
        let paid = |cycle, day: &str| (Some(cycle), 1000, day.to_owned(), InvoiceStatus::Paid);
        assert_eq!(billed(&world.invoices().await), [paid(0, "2026-01-10"), paid(1, "2026-02-10"), paid(2, "2026-03-10")]);
        assert_eq!(world.prove().await, 3);
    }

    async fn months_in_between_are_not_billed_and_the_debt_may_stay(world: World) {
        let (customer, subscription) = lapsed(&world).await;
        good_card(&world, customer).await;
        world.advance("2026-04-25T00:00:00Z").await;
        // 15 of 30 days are left to the next charge.
        let done = back(&world, &subscription, CollectDebt::None, ReactivateFrom::Now).await;
        assert_eq!((done.amount, done.reopened.len(), done.subscription.next_bill_date), (500, 0, Some(date("2026-05-10"))));
        world.advance("2026-05-11T00:00:00Z").await;
        let one = |cycle, amount, day: &str, status| (cycle, amount, day.to_owned(), status);
        assert_eq!(billed(&world.invoices().await), [
            one(Some(0), 1000, "2026-01-10", InvoiceStatus::Uncollectible),
            one(None, 500, "2026-04-25", InvoiceStatus::Paid),
            one(Some(1), 1000, "2026-05-10", InvoiceStatus::Paid),
        ]);
        world.prove().await;
    }

    async fn days_that_a_cancellation_gave_back_are_billed_again(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let terms = Subscription { amount: 3100, ..world.monthly(customer, "2026-01-01").await };
        let subscription = world.add(terms).await;
        world.advance("2026-01-11T08:00:00Z").await;
        let input = CancelInput { when: When::Now, credit: true };
        let gone = cancel(&world.app, &SYSTEM, subscription.id, input, false).await.expect("cancelled");
        assert_eq!(gone.credit, 2100);
        world.advance("2026-01-16T08:00:00Z").await;
        // Five days went by unpaid: 16 are left. The credit pays for them.
        let done = back(&world, &subscription, CollectDebt::Open, ReactivateFrom::Now).await;
        assert_eq!((done.amount, done.balance, done.subscription.next_bill_date), (1600, (2100, 500), Some(date("2026-02-01"))));
        world.prove().await;
    }

    async fn what_has_nothing_to_come_or_was_not_cancelled_is_refused(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let running = world.add(world.monthly(customer, "2026-01-10").await).await;
        let over = Subscription { ends_on: Some(date("2026-02-10")), ..world.monthly(customer, "2026-01-10").await };
        let over = world.add(over).await;
        world.advance("2026-01-15T00:00:00Z").await;
        let input = CancelInput { when: When::Now, credit: false };
        cancel(&world.app, &SYSTEM, over.id, input, false).await.expect("cancelled");
        world.advance("2026-03-15T00:00:00Z").await;
        for (subscription, word) in [(&running, "active"), (&over, "subscribe the customer anew")] {
            let input = ReactivateInput::default();
            let refused = reactivate(&world.app, &SYSTEM, subscription.id, input, false).await.expect_err("refused");
            assert!(refused.to_string().contains(word), "{refused}");
        }
    }
}
