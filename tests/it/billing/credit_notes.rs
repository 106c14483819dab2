//! Issued invoices are reduced, never edited: what is due goes down first, what was paid goes back once, and credit is used as soon as it is
//! there.

use rebilld::{
    billing::{
        BillingError, customers, invoices,
        payment_methods::add,
        refunds,
        subscriptions::{
            cancel::{CancelInput, cancel},
            change::{ChangeInput, change},
            edit::ChangePreview,
            pause::{PauseInput, pause},
            resume::resume,
            terms::TermsInput,
        },
    },
    domain::{
        credit_note::{CreditNote, CreditReason},
        event::Actor,
        frequency::Frequency,
        id::CustomerId,
        invoice::{Invoice, InvoiceStatus, RefundTo},
        subscription::{Subscription, SubscriptionStatus, When},
    },
    store,
};

use crate::world::*;

const SYSTEM: Actor = Actor::System;
/// Declines for lack of money, again and again.
const POOR: &str = "decline2020000000000";

async fn balance(world: &World, customer: CustomerId) -> i64 {
    store::customers::find(&world.app.db, &customer.to_string()).await.expect("read").expect("customer").balance
}

async fn notes(world: &World) -> Vec<CreditNote> {
    world.app.db.query("select * from credit_notes order by id").all().await.expect("credit notes")
}

/// A subscription from 1 March on, for this amount; its first invoice is collected, or declined.
async fn billed(world: &World, token: &str, frequency: Frequency, amount: i64) -> Subscription {
    let customer = world.customer("UTC").await;
    world.method(customer, false, token).await;
    let terms = Subscription { amount, billing_frequency: frequency, ..world.monthly(customer, "2026-03-01").await };
    let subscription = world.add(terms).await;
    world.advance("2026-03-02T00:00:00Z").await;
    subscription
}

async fn change_to(world: &World, subscription: &Subscription, terms: TermsInput) -> ChangePreview {
    let input = |terms: TermsInput| ChangeInput { when: When::Now, terms };
    let preview = change(&world.app, &SYSTEM, subscription.id, input(terms.clone()), true).await.expect("previewed");
    let done = change(&world.app, &SYSTEM, subscription.id, input(terms), false).await.expect("changed");
    the_same(&preview, &done);
    done
}

/// A preview and the verb itself say the same.
fn the_same(preview: &ChangePreview, done: &ChangePreview) {
    assert_eq!(
        (&preview.lines, preview.amount, preview.credit, preview.balance),
        (&done.lines, done.amount, done.credit, done.balance)
    );
    let figures = |outcome: &ChangePreview| -> Vec<_> {
        let of = |note: &CreditNote| {
            (note.number.clone(), note.invoice_id, note.lines.clone(), note.pre_payment_amount, note.to_balance, note.to_invoice)
        };
        outcome.credit_notes.iter().map(of).collect()
    };
    assert_eq!(figures(preview), figures(done));
    assert_eq!(preview.subscription.status, done.subscription.status);
}

fn amount(amount: i64) -> TermsInput {
    TermsInput { amount: Some(amount), ..TermsInput::default() }
}

async fn cancel_with_credit(world: &World, subscription: &Subscription) -> ChangePreview {
    let input = || CancelInput { when: When::Now, credit: true };
    let preview = cancel(&world.app, &SYSTEM, subscription.id, input(), true).await.expect("previewed");
    let done = cancel(&world.app, &SYSTEM, subscription.id, input(), false).await.expect("cancelled");
    the_same(&preview, &done);
    done
}

fn due(invoices: &[Invoice]) -> Vec<i64> {
    invoices.iter().filter(|invoice| invoice.status == InvoiceStatus::Open).map(Invoice::amount_due).collect()
}

on_both! {
    async fn a_downgrade_of_an_unpaid_year_leaves_the_rest_owed_and_no_credit(world: World) {
        let subscription = billed(&world, POOR, Frequency::Yearly, 120_000).await;
        let done = change_to(&world, &subscription, amount(1200)).await;
        // One of 365 days at the old price, 364 at the new one.
        let invoices = world.invoices().await;
        assert_eq!((due(&invoices), due(&invoices).iter().sum::<i64>()), (vec![329, 1197], 1526));
        assert_eq!((done.credit, done.balance, balance(&world, subscription.customer_id).await), (0, (0, 0), 0));
        let note = &notes(&world).await[0];
        assert_eq!((note.number.as_str(), note.reason, note.amount, note.pre_payment_amount), ("CN-000001", CreditReason::Changed, 119_671, 119_671));
        let line = &note.lines[0];
        assert_eq!((line.amount, line.days, line.of_days), (119_671, Some(364), Some(365)));
        assert_eq!(line.period.map(|period| (period.start, period.end)), Some((date("2026-03-02"), date("2027-03-01"))));
        // It is given up, and takes nothing with it: not a unit of credit came from it.
        world.advance("2026-09-02T00:00:00Z").await;
        assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::Cancelled);
        assert_eq!(balance(&world, subscription.customer_id).await, 0);
        world.prove().await;
    }

    async fn whatever_cuts_unpaid_days_gives_no_credit(world: World) {
        let mut world = world;
        let quantity = TermsInput { quantity: Some(1), ..TermsInput::default() };
        let ends = TermsInput { ends_on: rebilld::input::Patch::Value(date("2026-03-11")), ..TermsInput::default() };
        let quarterly = TermsInput { billing_frequency: Some(Frequency::Quarterly), ..TermsInput::default() };
        for (terms, owed) in [(quantity, vec![6200]), (ends, vec![200, 1800]), (quarterly, vec![200, 6200]), (amount(3100), vec![200, 3000])] {
            world.another_clock().await;
            let subscription = billed(&world, POOR, Frequency::Monthly, 6200).await;
            let done = change_to(&world, &subscription, terms).await;
            let invoices = world.invoices().await;
            let own: Vec<Invoice> = invoices.into_iter().filter(|invoice| invoice.subscription_id == Some(subscription.id)).collect();
            assert_eq!((done.credit, balance(&world, subscription.customer_id).await), (0, 0));
            assert_eq!(due(&own), owed);
        }
        world.prove().await;
    }

    async fn a_pause_before_anything_was_paid_only_lowers_what_is_due(world: World) {
        let subscription = billed(&world, POOR, Frequency::Monthly, 3100).await;
        let input = || PauseInput { until: None, when: When::Now, credit: true };
        let preview = pause(&world.app, &SYSTEM, subscription.id, input(), true).await.expect("previewed");
        let done = pause(&world.app, &SYSTEM, subscription.id, input(), false).await.expect("paused");
        the_same(&preview, &done);
        assert_eq!((done.credit, done.credit_notes.len(), due(&world.invoices().await)), (0, 1, vec![100]));
        // The days are owed again when the pause ends.
        let back = resume(&world.app, &SYSTEM, subscription.id, false).await.expect("resumed");
        assert_eq!((back.amount, due(&world.invoices().await), balance(&world, subscription.customer_id).await), (3000, vec![100, 3000], 0));
        world.prove().await;
    }

    async fn cancelling_after_an_unpaid_downgrade_leaves_no_credit(world: World) {
        let subscription = billed(&world, POOR, Frequency::Yearly, 120_000).await;
        change_to(&world, &subscription, amount(1200)).await;
        let done = cancel_with_credit(&world, &subscription).await;
        assert_eq!((done.credit, balance(&world, subscription.customer_id).await), (0, 0));
        assert_eq!(due(&world.invoices().await), [0_i64; 0]);
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Void));
        world.prove().await;
    }

    async fn credit_for_unused_days_leaves_the_rest_to_be_refunded(world: World) {
        let subscription = billed(&world, &world.token(), Frequency::Monthly, 3100).await;
        world.advance("2026-03-11T08:00:00Z").await;
        let done = cancel_with_credit(&world, &subscription).await;
        assert_eq!((done.credit, done.balance), (2100, (0, 2100)));
        let invoice = world.invoices().await.remove(0);
        let account = invoice.account(0);
        assert_eq!((invoice.credited(), account.creditable, invoice.refundable(RefundTo::Method, 0)), (2100, 1000, 1000));
        let refused = refunds::refund(&world.app, &SYSTEM, invoice.id, Some(1001), "asked for").await;
        assert!(matches!(refused, Err(BillingError::Invalid(_))), "{refused:?}");
        world.sandbox.sandbox().settle();
        refunds::refund(&world.app, &SYSTEM, invoice.id, None, "asked for").await.expect("refunded");
        let refused = refunds::refund(&world.app, &SYSTEM, invoice.id, Some(1), "again").await;
        assert!(matches!(refused, Err(BillingError::WrongState(_))), "{refused:?}");
        let refused = refunds::to_credit(&world.app, &SYSTEM, invoice.id, Some(1), "again").await;
        assert!(refused.is_err(), "{refused:?}");
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.amount_refunded, invoice.credited(), balance(&world, subscription.customer_id).await), (1000, 3100, 2100));
        let made: Vec<_> = notes(&world).await.iter().map(|note| (note.reason, note.to_balance, note.to_method)).collect();
        assert_eq!(made, [(CreditReason::UnusedDays, 2100, 0), (CreditReason::Refunded, 0, 1000)]);
        world.prove().await;
    }

    async fn what_an_upgrade_used_is_not_refunded_as_well(world: World) {
        let subscription = billed(&world, &world.token(), Frequency::Monthly, 3100).await;
        world.advance("2026-03-11T08:00:00Z").await;
        let done = change_to(&world, &subscription, amount(6200)).await;
        assert_eq!((done.amount, done.credit, done.credit_notes[0].to_invoice), (2100, 0, 2100));
        world.advance("2026-03-11T12:00:00Z").await;
        let first = world.invoices().await.remove(0);
        world.sandbox.sandbox().settle();
        refunds::refund(&world.app, &SYSTEM, first.id, None, "asked for").await.expect("refunded");
        assert_eq!(world.invoices().await[0].amount_refunded, 1000);
        // 52.00 came, 10.00 went back, 42.00 paid for 21 days at the new price.
        let done = cancel_with_credit(&world, &subscription).await;
        assert_eq!((done.credit, balance(&world, subscription.customer_id).await), (4200, 4200));
        world.prove().await;
    }

    async fn two_changes_and_a_cancellation_give_back_what_was_paid_and_no_more(world: World) {
        let subscription = billed(&world, &world.token(), Frequency::Monthly, 3000).await;
        world.advance("2026-03-11T08:00:00Z").await;
        change_to(&world, &subscription, amount(6000)).await;
        world.advance("2026-03-16T08:00:00Z").await;
        let done = change_to(&world, &subscription, amount(1500)).await;
        assert_eq!(done.credit, 3097 - 774);
        world.advance("2026-03-21T08:00:00Z").await;
        cancel_with_credit(&world, &subscription).await;
        let (invoices, payments) = (world.invoices().await, world.payments().await);
        let received: i64 = payments.iter().map(|payment| payment.amount_captured).sum();
        assert_eq!((invoices.len(), received), (3, 3000 + 2033));
        // Ten days at 30.00, five at 60.00, five at 15.00 a month of 31 days: what is left is credit.
        let worth = 968 + 968 + 242;
        assert!((balance(&world, subscription.customer_id).await - (received - worth)).abs() <= 2);
        world.prove().await;
    }

    async fn credit_that_comes_late_pays_what_is_open(world: World) {
        let subscription = billed(&world, POOR, Frequency::Monthly, 3000).await;
        let key = subscription.customer_id.to_string();
        let give = async |amount| customers::give_credit(&world.app, &SYSTEM, &key, amount, None, "gift".into()).await.expect("given").1;
        assert_eq!(give(1000).await, 0);
        let invoice = world.invoices().await.remove(0);
        assert_eq!((invoice.amount_due(), invoice.amount_paid, invoice.total, invoice.status), (2000, 1000, 3000, InvoiceStatus::Open));
        // The next attempt asks for the rest.
        add(&world.app, &SYSTEM, &key, vault(&world.token())).await.expect("added");
        world.advance("2026-03-03T00:00:00Z").await;
        let paid: Vec<i64> = world.payments().await.iter().map(|payment| payment.amount_captured).filter(|amount| *amount > 0).collect();
        assert_eq!((paid, world.invoices().await[0].status), (vec![2000], InvoiceStatus::Paid));
        world.prove().await;
    }

    async fn credit_that_covers_a_debt_ends_it_without_a_gateway(world: World) {
        let subscription = billed(&world, POOR, Frequency::Monthly, 3000).await;
        assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::PastDue);
        let asked = world.payments().await.len();
        let key = subscription.customer_id.to_string();
        let (_, left) = customers::give_credit(&world.app, &SYSTEM, &key, 3500, None, "gift".into()).await.expect("given");
        assert_eq!((left, world.invoices().await[0].status), (500, InvoiceStatus::Paid));
        assert_eq!(world.subscription(&subscription).await.status, SubscriptionStatus::Active);
        world.advance("2026-03-20T00:00:00Z").await;
        assert_eq!(world.payments().await.len(), asked, "no gateway is asked");
        world.prove().await;
    }

    async fn credit_that_was_there_unseen_is_used_inside_the_claim(world: World) {
        let subscription = billed(&world, POOR, Frequency::Monthly, 3000).await;
        // As if the invoice had been in another's hands when the credit came.
        let granted = rebilld::domain::customer::Credit {
            id: world.app.id(), customer_id: subscription.customer_id, amount: 3000, currency: subscription.currency,
            reason: "gift".into(), invoice_id: None, created_at: at("2026-03-02T00:00:00Z"),
        };
        let mut tx = world.app.db.begin().await.expect("tx");
        let found = store::customers::lock(&mut tx, &subscription.customer_id.to_string()).await.expect("read").expect("customer");
        let rich = rebilld::domain::customer::Customer { balance: 3000, ..found };
        store::customers::save_balances(&mut tx, &[rich], &[granted]).await.expect("saved");
        tx.commit().await.expect("commit");
        let asked = world.payments().await.len();
        world.advance("2026-03-20T00:00:00Z").await;
        assert_eq!((world.payments().await.len(), world.invoices().await[0].status), (asked, InvoiceStatus::Paid));
        assert_eq!(balance(&world, subscription.customer_id).await, 0);
        world.prove().await;
    }

    async fn a_void_gives_back_credit_that_pays_another_invoice(world: World) {
        let subscription = billed(&world, POOR, Frequency::Monthly, 3000).await;
        let key = subscription.customer_id.to_string();
        customers::give_credit(&world.app, &SYSTEM, &key, 1000, None, "gift".into()).await.expect("given");
        let terms = Subscription { amount: 700, ..world.monthly(subscription.customer_id, "2026-03-03").await };
        world.add(terms).await;
        world.advance("2026-03-04T00:00:00Z").await;
        let all = world.invoices().await;
        let first = all.iter().find(|invoice| invoice.subscription_id == Some(subscription.id)).expect("one");
        let voided = invoices::void(&world.app, &SYSTEM, first.id, "a mistake").await.expect("voided");
        assert_eq!((voided.status, voided.amount_due(), voided.credited()), (InvoiceStatus::Void, 0, 3000));
        let second = world.invoices().await.into_iter().find(|invoice| invoice.id != first.id).expect("two");
        assert_eq!((second.status, second.amount_paid, balance(&world, subscription.customer_id).await), (InvoiceStatus::Paid, 700, 300));
        let note = notes(&world).await.remove(0);
        assert_eq!((note.reason, note.pre_payment_amount, note.to_balance), (CreditReason::Void, 2000, 1000));
        world.prove().await;
    }
}
