//! Defaulted plans that go on: what failed is owed once, wherever it is put, and three failures are needed again.

use rebilld::{
    billing::{
        BillingError, customers,
        installment_plans::operate::{Operation, operate, preview},
        payment_methods::{self, PaymentMethodInput},
    },
    domain::{
        installment_plan::{
            InstallmentPlanStatus::{Defaulted, Open, Paid},
            restore::Arrears,
        },
        invoice::InvoiceStatus,
    },
    sandbox::Script,
    store,
};

use super::*;

/// Six monthly parts from 10 January, of which the card declines so many dunning_rules and then pays; on 20 March.
async fn defaulted(world: &World, dunning_rules: usize, credit: i64) -> Overview {
    let token = world.token();
    world.sandbox.sandbox().set_script(&token, Script { declines: vec![202; 5 * dunning_rules].into(), ..Script::default() });
    let customer = world.customer("UTC").await;
    world.method(customer, false, &token).await;
    if credit > 0 {
        customers::give_credit(&world.app, &OPERATOR, &customer.to_string(), credit, None, "gift".into()).await.expect("given");
    }
    let plan = world.plan(InstallmentPlanInput { amount: 9000, ..monthly(customer, "2026-01-10", 6) }).await;
    world.advance("2026-03-20T00:00:00Z").await;
    let plan = world.overview(&plan).await;
    assert_eq!((plan.schedule.plan.status, plan.schedule.plan.failed_in_a_row), (Defaulted, 3));
    plan
}

async fn restored(world: &World, plan: &Overview, arrears: Arrears) -> Overview {
    operate(&world.app, &OPERATOR, &key(plan), &Operation::Restore { arrears }).await.expect("restored")
}

const TO_COME: [&str; 3] = ["4 2026-04-10 1500 scheduled", "5 2026-05-10 1500 scheduled", "6 2026-06-10 1500 scheduled"];

on_both! {
    async fn nothing_of_a_defaulted_plan_is_charged_by_itself(world: World) {
        let weekly = |customer| InstallmentPlanInput {
            installments: Some(8),
            billing_frequency: Some(Frequency::Weekly),
            default_after: Some(2),
            ..monthly(customer, "2026-06-01", 8)
        };
        let plan = world.plan_with("decline2020000000000", weekly).await;
        world.advance("2026-06-15T07:00:00Z").await;
        assert_eq!(world.overview(&plan).await.schedule.plan.status, Defaulted);
        let attempts = world.payments().await.len();
        world.advance("2026-07-20T00:00:00Z").await;
        assert_eq!(world.payments().await.len(), attempts, "no attempt after the default");
        let open: Vec<_> = world.invoices().await.into_iter().filter(|invoice| invoice.status == InvoiceStatus::Open).collect();
        assert!(!open.is_empty() && open.iter().all(|invoice| invoice.next_attempt_at.is_none()), "{open:?}");
        let lines = async || -> Vec<&'static str> {
            let checked = rebilld::billing::invariants::check(&world.app).await.expect("checked");
            checked.iter().filter(|one| !one.holds()).map(|one| one.invariant.name).collect()
        };
        assert_eq!(lines().await, ["installment_plans_defaulted"]);
        // An operator's word is one attempt: refused again, the invoice waits again.
        let number = open[0].installment_number.expect("a number");
        operate(&world.app, &OPERATOR, &key(&plan), &Operation::Pay { number }).await.expect("asked");
        world.advance("2026-07-30T00:00:00Z").await;
        assert_eq!(world.payments().await.len(), attempts + 1);
        // Restored, with a card that works: what was open is collected as well.
        let customer = plan.schedule.plan.customer_id.to_string();
        let card = PaymentMethodInput { default: Some(true), ..vault(&world.token()) };
        payment_methods::add(&world.app, &OPERATOR, &customer, card).await.expect("added");
        world.advance("2026-07-31T00:00:00Z").await;
        assert_eq!(world.payments().await.len(), attempts + 1, "a new card charges nothing of a defaulted plan");
        operate(&world.app, &OPERATOR, &key(&plan), &Operation::Restore { arrears: Arrears::End }).await.expect("restored");
        world.advance("2026-12-31T00:00:00Z").await;
        assert_eq!(world.overview(&plan).await.schedule.plan.status, Paid);
        assert_eq!(lines().await, [""; 0]);
        world.prove().await;
    }

    async fn what_failed_is_collected_at_once_by_the_invoices_it_has(world: World) {
        let plan = defaulted(&world, 3, 0).await;
        let back = restored(&world, &plan, Arrears::Collect).await;
        assert_eq!(parts(&back)[..3], ["1 2026-01-10 1500 due", "2 2026-02-10 1500 due", "3 2026-03-10 1500 due"]);
        assert_eq!((parts(&back)[3..].to_vec(), money(&back)), (TO_COME.map(str::to_owned).to_vec(), (0, 4500, 9000)));
        assert_eq!((back.schedule.plan.status, back.schedule.plan.due_at), (Open, Some(at("2026-04-10T06:00:00Z"))));
        world.advance("2026-03-21T00:00:00Z").await;
        assert_eq!(money(&world.overview(&plan).await), (4500, 0, 4500));
        world.advance("2026-07-01T00:00:00Z").await;
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.invoices().await.len(), world.prove().await), (Paid, 6, 6));
        let told = world.plan_events(&plan).await;
        assert!(told.contains(&"installment_plan.restored".to_owned()), "{told:?}");
    }

    async fn what_failed_is_spread_over_the_rest_and_its_invoices_are_void(world: World) {
        // Credit that the first of them had used comes back, once, and is used again.
        let plan = defaulted(&world, 3, 500).await;
        let customer = plan.schedule.plan.customer_id.to_string();
        let balance = async || store::customers::find(&world.app.db, &customer).await.expect("read").expect("customer").balance;
        assert_eq!((money(&plan), balance().await), ((500, 0, 8500), 0));
        let back = restored(&world, &plan, Arrears::Spread).await;
        assert_eq!(parts(&back), [
            "1 2026-01-10 1500 moved", "2 2026-02-10 1500 moved", "3 2026-03-10 1500 moved",
            "4 2026-04-10 3000 scheduled", "5 2026-05-10 3000 scheduled", "6 2026-06-10 3000 scheduled",
        ]);
        assert_eq!((money(&back), balance().await), ((0, 0, 9000), 500));
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Void));
        world.advance("2026-07-01T00:00:00Z").await;
        let end = world.overview(&plan).await;
        assert_eq!((end.schedule.plan.status, money(&end), balance().await), (Paid, (9000, 0, 0), 0));
        assert_eq!(world.prove().await, 3);
        let charged: Vec<i64> = world.payments().await.iter().map(|payment| payment.amount_captured).filter(|amount| *amount > 0).collect();
        assert_eq!(charged, [2500, 3000, 3000]);
    }

    async fn what_failed_is_put_at_the_end_and_charged_there_once(world: World) {
        let plan = defaulted(&world, 3, 0).await;
        let back = restored(&world, &plan, Arrears::End).await;
        assert_eq!(parts(&back)[6..], ["7 2026-07-10 1500 scheduled", "8 2026-08-10 1500 scheduled", "9 2026-09-10 1500 scheduled"]);
        assert_eq!((money(&back), back.repay_by), ((0, 0, 9000), Some(date("2026-09-10"))));
        world.advance("2026-12-01T00:00:00Z").await;
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.prove().await), (Paid, 6));
        let voided = manual_operations::pay(&world.app, &OPERATOR, &key(&plan), 1).await;
        assert!(matches!(voided, Err(BillingError::WrongState(_))), "nobody pays for what was moved: {voided:?}");
    }

    async fn failures_are_counted_anew(world: World) {
        let plan = defaulted(&world, 5, 0).await;
        restored(&world, &plan, Arrears::End).await;
        world.advance("2026-06-09T00:00:00Z").await;
        let seen = world.overview(&plan).await;
        assert_eq!((seen.schedule.plan.status, seen.schedule.plan.failed_in_a_row), (Open, 2));
        world.advance("2026-12-01T00:00:00Z").await;
        let seen = world.overview(&plan).await;
        assert_eq!((seen.schedule.plan.status, money(&seen), seen.schedule.plan.failed_in_a_row), (Open, (6000, 0, 3000), 0));
        assert_eq!(world.prove().await, 4);
    }

    async fn a_plan_is_restored_once_and_only_when_defaulted(world: World) {
        let plan = defaulted(&world, 3, 0).await;
        let restore = Operation::Restore { arrears: Arrears::End };
        let (app, id) = (&world.app, key(&plan));
        let (one, other) = tokio::join!(operate(app, &OPERATOR, &id, &restore), operate(app, &OPERATOR, &id, &restore));
        assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
        for refused in [operate(app, &OPERATOR, &id, &restore).await, preview(app, &OPERATOR, &id, &restore).await] {
            assert!(matches!(&refused, Err(BillingError::WrongState(said)) if said.contains("only a defaulted one")), "{refused:?}");
        }
        world.advance("2026-12-01T00:00:00Z").await;
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.prove().await), (Paid, 6));
    }

    async fn what_is_paid_in_part_stays_with_its_invoice(world: World) {
        let plan = defaulted(&world, 3, 0).await;
        // As after a partial approval.
        let mut tx = world.app.db.begin().await.expect("tx");
        tx.query("update invoices set amount_paid = 200 where installment_number = 2").run().await.expect("paid in part");
        tx.commit().await.expect("commit");
        for arrears in [Arrears::Spread, Arrears::End] {
            let refused = operate(&world.app, &OPERATOR, &key(&plan), &Operation::Restore { arrears }).await;
            assert!(matches!(&refused, Err(BillingError::WrongState(said)) if said.contains("paid in part")), "{refused:?}");
        }
        assert_eq!(world.overview(&plan).await.schedule.plan.status, Defaulted);
        assert_eq!(restored(&world, &plan, Arrears::Collect).await.balance, 8800);
    }

    async fn a_pause_moves_the_charges_and_the_forecast_of_them(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-31", 3)).await;
        let skipped = operate(&world.app, &OPERATOR, &key(&plan), &Operation::Skip { cycles: 1 }).await.expect("skipped");
        assert_eq!((skipped.schedule.plan.due_at, skipped.repay_by), (Some(at("2026-02-28T06:00:00Z")), Some(date("2026-04-30"))));
        world.advance("2026-03-01T00:00:00Z").await;
        operate(&world.app, &OPERATOR, &key(&plan), &Operation::Reschedule { next_date: date("2026-08-15") }).await.expect("rescheduled");
        world.advance("2026-12-01T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-02-28 succeeded", "2026-08-15 succeeded", "2026-09-15 succeeded"]);
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.prove().await), (Paid, 3));
    }

    async fn a_refund_of_an_installment_is_shown_and_owes_nothing_anew(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-10", 4)).await;
        world.advance("2026-01-11T00:00:00Z").await;
        world.sandbox.sandbox().settle();
        let invoice = world.invoices().await.remove(0).id;
        let (app, why) = (&world.app, "goodwill");
        rebilld::billing::refunds::refund(app, &OPERATOR, invoice, Some(1000), why).await.expect("given back");
        rebilld::billing::refunds::to_credit(app, &OPERATOR, invoice, Some(700), why).await.expect("credited");
        let seen = world.overview(&plan).await;
        assert_eq!((money(&seen), seen.refunded, parts(&seen)[0].as_str()), ((2500, 0, 7500), 1700, "1 2026-01-10 2500 paid"));
        // The credit pays of the next, as any does.
        world.advance("2026-02-11T00:00:00Z").await;
        assert_eq!(world.payments().await.iter().map(|payment| payment.amount_captured).collect::<Vec<_>>(), [2500, 1800]);
        manual_operations::cancel(app, &OPERATOR, &key(&plan)).await.expect("cancelled");
        let seen = world.overview(&plan).await;
        assert_eq!((money(&seen), seen.refunded), ((5000, 0, 0), 1700), "a cancel gives nothing back by itself");
        assert_eq!(world.prove().await, 2);
    }

    async fn what_is_owed_since_yesterday_is_late(world: World) {
        let plan = world.plan_with("decline2020000000000", |customer| monthly(customer, "2026-01-10", 3)).await;
        let late = |plan: &Overview| -> Vec<i64> {
            let parts = plan.schedule.installments.iter();
            parts.filter(|part| part.is_late(plan.today, plan.schedule.plan.timezone)).map(|part| part.number).collect()
        };
        world.advance("2026-01-10T23:00:00Z").await;
        assert_eq!(late(&world.overview(&plan).await), [0; 0]);
        world.advance("2026-01-11T01:00:00Z").await;
        assert_eq!(late(&world.overview(&plan).await), [1]);
        world.advance("2026-02-20T00:00:00Z").await;
        assert_eq!(late(&world.overview(&plan).await), [1, 2]);
        manual_operations::cancel(&world.app, &OPERATOR, &key(&plan)).await.expect("cancelled");
        assert_eq!(late(&world.overview(&plan).await), [0; 0]);
    }
}
