//! Plans that run by themselves: to the end, into default, and past failures that are not in a row.

use rebilld::{
    billing::{customers, installment_plans::create::DownPaymentInput},
    domain::{
        calendar::BusinessDay,
        installment_plan::InstallmentPlanStatus::{Cancelled, Defaulted, Open, Paid},
        invoice::InvoiceStatus,
        money::Percentage,
        payment::Reason,
    },
    sandbox::Script,
};

use super::*;

/// A ladder of five declines ends seven days after the first.
const LADDER: [u16; 5] = [202; 5];

on_both! {
    async fn a_plan_of_the_31st_is_paid_through_at_both_gateways(world: World) {
        let quarter = Percentage::from_thousandths(25_000).expect("percent");
        let mut plans = Vec::new();
        for paylike in [false, true] {
            let customer = world.customer("Europe/Berlin").await;
            world.method(customer, paylike, &if paylike { world.prior() } else { world.token() }).await;
            let down_payment = Some(DownPaymentInput { amount: None, percentage: Some(quarter) });
            let plan = world.plan(InstallmentPlanInput { down_payment, ..monthly(customer, "2026-01-31", 7) }).await;
            assert_eq!(parts(&plan)[..2], ["0 2026-01-01 2500 due", "1 2026-01-31 1071 scheduled"]);
            assert_eq!((money(&plan), plan.repay_by), ((0, 2500, 10_000), Some(date("2026-07-31"))));
            plans.push(plan);
        }
        world.advance("2026-03-01T00:00:00Z").await;
        for plan in &plans {
            let plan = world.overview(plan).await;
            assert_eq!((money(&plan), plan.schedule.plan.status), ((2500 + 2 * 1071, 0, 7500 - 2 * 1071), Open));
        }
        world.advance("2026-08-01T00:00:00Z").await;
        for plan in &plans {
            let plan = world.overview(plan).await;
            assert_eq!((money(&plan), plan.schedule.plan.status, plan.repay_by), ((10_000, 0, 0), Paid, None));
            assert_eq!(parts(&plan).last().expect("last"), "7 2026-07-31 1074 paid");
            let events = world.plan_events(&plan).await;
            assert_eq!((events[0].as_str(), events.last().expect("last").as_str()), ("installment_plan.created", "installment_plan.paid"));
            assert_eq!(events.iter().filter(|kind| *kind == "installment.paid").count(), 8);
        }
        assert_eq!(world.prove().await, 16);
        assert!(world.payments().await.iter().all(|payment| payment.reason == Reason::Installment));
    }

    async fn a_card_that_fails_defaults_the_plan_after_three_in_a_row(world: World) {
        let plan = world.plan_with("decline2020000000000", |customer| monthly(customer, "2026-01-10", 12)).await;
        world.advance("2026-03-16T00:00:00Z").await;
        let seen = world.overview(&plan).await;
        assert_eq!((seen.schedule.plan.status, seen.schedule.plan.failed_in_a_row, money(&seen)), (Open, 2, (0, 833, 10_000)));
        world.advance("2027-12-31T00:00:00Z").await;
        let plan = world.overview(&plan).await;
        assert_eq!(plan.schedule.plan.status, Defaulted);
        assert_eq!((world.payments().await.len(), world.invoices().await.len()), (15, 3), "three dunning_rules, and nothing more is charged");
        assert!(world.invoices().await.iter().all(|invoice| invoice.status == InvoiceStatus::Uncollectible));
        assert_eq!(parts(&plan)[2..4], ["3 2026-03-10 833 failed", "4 2026-04-10 833 scheduled"]);
        assert_eq!((money(&plan), plan.schedule.plan.due_at), ((0, 0, 10_000), None));
        let told: Vec<_> = world.plan_events(&plan).await;
        assert_eq!(told, ["installment_plan.created", "installment.failed", "installment.failed", "installment.failed", "installment_plan.defaulted"]);
        assert_eq!(world.prove().await, 0);
    }

    async fn failures_with_a_payment_between_them_default_nothing(world: World) {
        let token = world.token();
        let declines = LADDER.into_iter().chain([0]).chain(LADDER).chain([0]).collect();
        world.sandbox.sandbox().set_script(&token, Script { declines, ..Script::default() });
        let plan = world.plan_with(&token, |customer| InstallmentPlanInput { default_after: Some(2), ..monthly(customer, "2026-01-10", 4) }).await;
        world.advance("2026-06-01T00:00:00Z").await;
        let plan = world.overview(&plan).await;
        assert_eq!((plan.schedule.plan.status, plan.schedule.plan.failed_in_a_row, money(&plan)), (Open, 0, (5000, 0, 5000)));
        assert_eq!(plan.schedule.plan.due_at, None, "nothing is to come, and what failed is owed still");
        assert_eq!(world.prove().await, 2);
    }

    async fn an_issuer_that_ends_the_mandate_ends_the_charging(world: World) {
        let plan = world.plan_with("decline2610000000000", |customer| monthly(customer, "2026-01-10", 3)).await;
        world.advance("2027-01-01T00:00:00Z").await;
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.payments().await.len()), (Defaulted, 1));
    }

    async fn credit_pays_first_and_may_pay_all(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        customers::give_credit(&world.app, &OPERATOR, &customer.to_string(), 6000, None, "a present".into()).await.expect("credit");
        let down_payment = Some(DownPaymentInput { amount: Some(1000), percentage: None });
        let plan = world.plan(InstallmentPlanInput { down_payment, ..monthly(customer, "2026-01-10", 3) }).await;
        assert_eq!((parts(&plan)[0].as_str(), money(&plan)), ("0 2026-01-01 1000 paid", (1000, 0, 9000)));
        world.advance("2026-02-10T00:00:00Z").await;
        assert_eq!(money(&world.overview(&plan).await), (4000, 0, 6000));
        world.advance("2026-04-01T00:00:00Z").await;
        assert_eq!((world.overview(&plan).await.schedule.plan.status, world.prove().await), (Paid, 2));

        let rich = world.customer("UTC").await;
        customers::give_credit(&world.app, &OPERATOR, &rich.to_string(), 10_000, None, "a present".into()).await.expect("credit");
        let plan = world.plan(monthly(rich, "2026-04-10", 2)).await;
        world.advance("2026-06-01T00:00:00Z").await;
        let events = world.plan_events(&plan).await;
        assert_eq!(events, ["installment_plan.created", "installment.paid", "installment.paid", "installment_plan.paid"]);
        assert_eq!(world.prove().await, 2);
    }

    async fn a_weekend_moves_the_charge_and_not_the_date(world: World) {
        let customer = world.customer("America/New_York").await;
        world.method(customer, false, &world.token()).await;
        // 31 January 2026 is a Saturday.
        let business_day = Some(BusinessDay::ModifiedFollowing);
        let plan = world.plan(InstallmentPlanInput { business_day, ..monthly(customer, "2026-01-31", 2) }).await;
        assert_eq!(plan.schedule.installments[0].due_at, at("2026-01-30T11:00:00Z"));
        world.advance("2026-04-01T00:00:00Z").await;
        assert_eq!(world.story().await, ["2026-01-30 succeeded", "2026-02-27 succeeded"]);
        assert_eq!(parts(&world.overview(&plan).await), ["1 2026-01-31 5000 paid", "2 2026-02-28 5000 paid"]);
    }

    async fn one_jump_equals_many_short_ones(world: World) {
        let mut books = Vec::new();
        for jumps in [1, 29] {
            let Some(world) = World::new(if world.app.db.is_postgres() { On::Postgres } else { On::Sqlite }).await else { return };
            for (zone, first, token) in [
                ("Pacific/Auckland", "2026-01-31", world.token()),
                ("America/New_York", "2026-02-01", "decline2020000000000".to_owned()),
                ("UTC", "2026-01-15", "decline2230000000000".to_owned()),
            ] {
                let customer = world.customer(zone).await;
                world.method(customer, false, &token).await;
                world.plan(monthly(customer, first, 5)).await;
            }
            let (start, end) = (at("2026-01-01T00:00:00Z"), at("2026-09-01T00:00:00Z"));
            for jump in 1..=jumps {
                world.advance(&(start + (end - start) * jump / jumps).to_rfc3339()).await;
            }
            world.prove().await;
            let invoices: Vec<_> = world.invoices().await.into_iter().map(|i| (i.due_at, i.total, i.status, i.amount_paid, i.dunning_step)).collect();
            let mut story = world.story().await;
            story.sort();
            books.push((invoices, story));
        }
        assert!(!books[0].0.is_empty());
        assert_eq!(books[0], books[1]);
    }

    async fn all_of_it_written_off_is_no_payment(world: World) {
        let plan = world.plan_with("decline2020000000000", |customer| monthly(customer, "2026-01-10", 1)).await;
        world.advance("2026-01-11T00:00:00Z").await;
        let invoice = world.invoices().await.remove(0).id;
        rebilld::billing::invoices::void(&world.app, &OPERATOR, invoice, "forgiven").await.expect("voided");
        let plan = world.overview(&plan).await;
        assert_eq!((plan.schedule.plan.status, money(&plan), parts(&plan)[0].as_str()), (Cancelled, (0, 0, 0), "1 2026-01-10 10000 cancelled"));
        world.prove().await;
    }
}
