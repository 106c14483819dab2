//! What an operator does to a plan while it runs: move, re-amount, split, pay early, pay off, cancel, collect again.

use rebilld::{
    billing::{
        BillingError,
        collection::run,
        installment_plans::change::{self, InstallmentPlanPatch},
        payment_methods::{self, PaymentMethodInput},
    },
    domain::{
        clock::Timeline,
        installment_plan::{
            InstallmentPlanStatus::{Cancelled, Defaulted, Open, Paid},
            change::Spread,
        },
        invoice::InvoiceStatus,
    },
    input::Patch,
    sandbox::Script,
};

use super::*;

fn refused(outcome: Result<Overview, BillingError>) {
    assert!(matches!(outcome, Err(BillingError::WrongState(_))), "{outcome:?}");
}

on_both! {
    async fn an_installment_is_moved_and_charged_on_its_new_day_only(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-10", 3)).await;
        world.move_to(&plan, 1, "2026-01-20").await;
        let moved = world.move_to(&plan, 2, "2026-01-15").await;
        assert_eq!(moved.schedule.plan.due_at, Some(at("2026-01-15T06:00:00Z")));
        world.advance("2026-12-01T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-15 succeeded", "2026-01-20 succeeded", "2026-03-10 succeeded"]);
        assert_eq!((world.prove().await, world.overview(&plan).await.schedule.plan.status), (3, Paid));
        refused(manual_operations::change(&world.app, &OPERATOR, &key(&plan), 1, Some(date("2027-01-01")), None, None).await);
    }

    async fn other_amounts_and_splits_still_come_to_the_total(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-10", 4)).await;
        world.advance("2026-01-11T00:00:00Z").await;
        let (app, id) = (&world.app, key(&plan));
        manual_operations::change(app, &OPERATOR, &id, 2, None, Some(4000), None).await.expect("re-amounted");
        manual_operations::change(app, &OPERATOR, &id, 4, None, Some(1500), Some(Spread::Even)).await.expect("re-amounted");
        let split = manual_operations::split(app, &OPERATOR, &id, 3, &[(date("2026-03-10"), 1000), (date("2026-03-20"), 2000)]).await.expect("split");
        assert_eq!(parts(&split), [
            "1 2026-01-10 2500 paid", "2 2026-02-10 3000 scheduled", "3 2026-03-10 1000 scheduled", "4 2026-04-10 1500 scheduled",
            "5 2026-03-20 2000 scheduled",
        ]);
        world.advance("2026-05-01T00:00:00Z").await;
        let charged: Vec<i64> = world.payments().await.iter().map(|payment| payment.amount).collect();
        assert_eq!((charged, world.prove().await), (vec![2500, 3000, 1000, 2000, 1500], 5));
        assert_eq!(world.plan_events(&plan).await.iter().filter(|kind| *kind == "installment_plan.changed").count(), 3);
    }

    async fn paid_early_is_not_charged_again_on_its_day(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-10", 3)).await;
        let early = manual_operations::pay(&world.app, &OPERATOR, &key(&plan), 2).await.expect("paid");
        assert_eq!((parts(&early)[1].as_str(), money(&early)), ("2 2026-02-10 3333 due", (0, 3333, 10_000)));
        world.advance("2026-01-02T00:00:00Z").await;
        assert_eq!(money(&world.overview(&plan).await), (3333, 0, 6667));
        refused(manual_operations::pay(&world.app, &OPERATOR, &key(&plan), 2).await);
        world.advance("2026-06-01T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-01 succeeded", "2026-01-10 succeeded", "2026-03-10 succeeded"]);
        assert_eq!((world.prove().await, world.overview(&plan).await.schedule.plan.status), (3, Paid));
    }

    async fn a_pay_off_is_one_invoice_for_all_that_is_to_come(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-10", 12)).await;
        world.advance("2026-02-20T00:00:00Z").await;
        let off = manual_operations::pay_off(&world.app, &OPERATOR, &key(&plan)).await.expect("paid off");
        assert_eq!((money(&off), off.schedule.plan.due_at), ((1666, 8334, 8334), None));
        world.advance("2027-06-01T00:00:00Z").await;
        let charged: Vec<i64> = world.payments().await.iter().map(|payment| payment.amount).collect();
        assert_eq!((charged, world.prove().await), (vec![833, 833, 8334], 3));
        let last = world.invoices().await.pop().expect("an invoice");
        assert_eq!((last.lines.len(), last.installment_number), (10, Some(3)));
        assert_eq!(world.overview(&plan).await.schedule.plan.status, Paid);
        refused(manual_operations::pay_off(&world.app, &OPERATOR, &key(&plan)).await);
    }

    async fn what_failed_is_collected_again_by_the_invoice_it_has(world: World) {
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [202; 15].into(), ..Script::default() });
        let plan = world.plan_with(&token, |customer| monthly(customer, "2026-01-10", 4)).await;
        world.advance("2026-04-01T00:00:00Z").await;
        assert_eq!(world.overview(&plan).await.schedule.plan.status, Defaulted);
        let again = manual_operations::pay(&world.app, &OPERATOR, &key(&plan), 1).await.expect("again");
        assert_eq!((parts(&again)[0].as_str(), money(&again)), ("1 2026-01-10 2500 due", (0, 2500, 10_000)));
        world.advance("2026-04-02T00:00:00Z").await;
        let still = world.overview(&plan).await;
        assert_eq!((still.schedule.plan.status, money(&still), still.schedule.plan.due_at), (Defaulted, (2500, 0, 7500), None));
        manual_operations::pay_off(&world.app, &OPERATOR, &key(&plan)).await.expect("paid off");
        world.advance("2026-04-03T00:00:00Z").await;
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.invoices().await.len()), (Paid, 4));
        assert_eq!(world.prove().await, 4);
    }

    async fn a_cancelled_plan_charges_nothing_more_and_keeps_what_is_paid(world: World) {
        let token = world.token();
        world.sandbox.sandbox().set_script(&token, Script { declines: [0, 202, 202].into(), ..Script::default() });
        let plan = world.plan_with(&token, |customer| monthly(customer, "2026-01-10", 3)).await;
        world.advance("2026-02-11T12:00:00Z").await;
        let cancelled = manual_operations::cancel(&world.app, &OPERATOR, &key(&plan)).await.expect("cancelled");
        assert_eq!((cancelled.schedule.plan.status, money(&cancelled)), (Cancelled, (3333, 0, 0)));
        assert_eq!(parts(&cancelled), ["1 2026-01-10 3333 paid", "2 2026-02-10 3333 cancelled", "3 2026-03-10 3334 cancelled"]);
        world.advance("2026-12-01T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 succeeded", "2026-02-10 declined", "2026-02-11 declined"]);
        let statuses: Vec<_> = world.invoices().await.iter().map(|invoice| invoice.status).collect();
        assert_eq!((statuses, world.prove().await), (vec![InvoiceStatus::Paid, InvoiceStatus::Void], 1));
        for outcome in [
            manual_operations::cancel(&world.app, &OPERATOR, &key(&plan)).await,
            manual_operations::pay(&world.app, &OPERATOR, &key(&plan), 2).await,
            manual_operations::split(&world.app, &OPERATOR, &key(&plan), 2, &[]).await,
        ] {
            refused(outcome);
        }
    }

    async fn another_method_of_the_plan_pays_what_failed_at_once(world: World) {
        let plan = world.plan_with("decline2020000000000", |customer| monthly(customer, "2026-01-10", 2)).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let customer = plan.schedule.plan.customer_id.to_string();
        let spare = PaymentMethodInput { default: Some(false), ..vault(&world.token()) };
        let spare = payment_methods::add(&world.app, &OPERATOR, &customer, spare).await.expect("added");
        let named = InstallmentPlanPatch { description: Some("Braces".into()), ..InstallmentPlanPatch::default() };
        change::update(&world.app, &OPERATOR, &key(&plan), named).await.expect("named");
        world.advance("2026-01-10T08:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined"], "another name is no way to pay");
        let patch = InstallmentPlanPatch { payment_method_id: Patch::Value(spare.id), ..InstallmentPlanPatch::default() };
        change::update(&world.app, &OPERATOR, &key(&plan), patch).await.expect("changed");
        world.advance("2026-01-10T08:00:01Z").await;
        assert_eq!(world.story().await, ["2026-01-10 declined", "2026-01-10 succeeded"]);
        assert_eq!((money(&world.overview(&plan).await), world.prove().await), ((5000, 0, 5000), 1));
    }

    async fn a_new_payment_method_pays_what_failed_at_once(world: World) {
        let plan = world.plan_with("decline2020000000000", |customer| monthly(customer, "2026-01-10", 2)).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let customer = plan.schedule.plan.customer_id.to_string();
        let method = PaymentMethodInput { default: Some(true), ..vault(&world.token()) };
        let method = payment_methods::add(&world.app, &OPERATOR, &customer, method).await.expect("added");
        run::collect_due(&world.app, Timeline::Test(world.clock), at("2026-01-10T07:00:00Z")).await.expect("collected");
        let plan = world.overview(&plan).await;
        assert_eq!((plan.schedule.plan.status, money(&plan)), (Open, (5000, 0, 5000)));

        let patch = InstallmentPlanPatch { payment_method_id: Patch::Value(method.id), ..InstallmentPlanPatch::default() };
        change::update(&world.app, &OPERATOR, &key(&plan), patch).await.expect("named");
        let kept = payment_methods::delete(&world.app, &OPERATOR, method.id).await;
        assert!(matches!(kept, Err(BillingError::WrongState(_))), "a plan still names it: {kept:?}");
        world.advance("2026-03-01T00:00:00Z").await;
        assert_eq!((world.prove().await, world.overview(&plan).await.schedule.plan.status), (2, Paid));
        payment_methods::delete(&world.app, &OPERATOR, method.id).await.expect("a plan that has ended names nothing");
    }
}
