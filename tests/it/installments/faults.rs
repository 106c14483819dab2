//! What goes wrong on the wire or beside it: each installment is charged once all the same, and the total still adds up.

use chrono::TimeDelta;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::{
    billing::{self, collection::run, installment_plans::open_due},
    domain::{
        clock::Timeline,
        installment_plan::{
            InstallmentPlanStatus::{Cancelled, Paid},
            change::Spread,
            terms::TermUnits,
        },
        invoice::InvoiceStatus,
        payment::PaymentStatus,
    },
    sandbox::Rule,
};
use serde_json::json;

use super::*;
use crate::collection::chaos::{seed, storm};

fn rule(fault: &str, operation: &str) -> Rule {
    serde_json::from_value(json!({ "match": { "operation": operation }, "fault": fault, "times": 1 })).expect("a rule")
}

on_both! {
    async fn every_fault_on_every_money_call_ends_in_one_charge(world: World) {
        for paylike in [false, true] {
            let customer = world.customer("UTC").await;
            world.method(customer, paylike, &if paylike { world.prior() } else { world.token() }).await;
            world.plan(monthly(customer, "2026-01-10", 20)).await;
        }
        let mut month = 0;
        for fault in ["drop_before", "drop_after", "500", "status_after:500", "429", "delay:450"] {
            for operation in ["charge", "authorize", "capture"] {
                world.sandbox.sandbox().add_fault(rule(fault, operation));
                let to = at("2026-01-11T00:00:00Z").checked_add_months(chrono::Months::new(month)).expect("date");
                world.advance(&to.to_rfc3339()).await;
                month += 1;
                assert_eq!(world.prove().await, 2 * month as usize, "{fault} on {operation}");
                world.sandbox.sandbox().clear_faults();
            }
        }
    }

    async fn two_daemons_open_an_installment_once(world: World) {
        for _ in 0..20 {
            world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-10", 2)).await;
        }
        let (timeline, now) = (Timeline::Test(world.clock), at("2026-02-10T06:00:00Z"));
        let other = world.another("other").await;
        let (here, there) = tokio::join!(open_due::open_due(&world.app, timeline, now), open_due::open_due(&other, timeline, now));
        assert_eq!((here.expect("opened") + there.expect("opened"), world.invoices().await.len()), (40, 40));
        world.prove().await;
    }

    async fn a_cancel_while_the_answer_is_unknown_sends_nothing_again(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-01", 2)).await;
        let (timeline, now) = (Timeline::Test(world.clock), at("2026-01-01T06:00:00Z"));
        world.sandbox.sandbox().add_fault(rule("drop_before", "charge"));
        open_due::open_due(&world.app, timeline, now).await.expect("opened");
        run::collect_due(&world.app, timeline, now).await.expect("collected");
        assert_eq!(world.payments().await[0].status, PaymentStatus::Unknown);
        let again = manual_operations::pay(&world.app, &OPERATOR, &key(&plan), 1).await;
        assert!(again.is_err(), "never while the outcome is unknown");
        let cancelled = manual_operations::cancel(&world.app, &OPERATOR, &key(&plan)).await.expect("cancelled");
        assert_eq!(parts(&cancelled), ["1 2026-01-01 5000 due", "2 2026-02-01 5000 cancelled"]);
        // A daemon for which the call has had time enough to arrive.
        let mut config = world.app.config.clone();
        config.collection.lease = TimeDelta::zero();
        let later = app(world.app.db.clone(), config, "later");
        billing::payments::look_up::look_up_payments(&later, None).await.expect("looked up");
        assert_eq!((world.prove().await, world.invoices().await[0].status), (0, InvoiceStatus::Void));
        assert_eq!(parts(&world.overview(&plan).await)[0], "1 2026-01-01 5000 cancelled");
    }

    async fn a_cancel_that_comes_too_late_keeps_the_money(world: World) {
        let plan = world.plan_with(&world.token(), |customer| monthly(customer, "2026-01-01", 2)).await;
        let (timeline, now) = (Timeline::Test(world.clock), at("2026-01-01T06:00:00Z"));
        world.sandbox.sandbox().add_fault(rule("drop_after", "charge"));
        open_due::open_due(&world.app, timeline, now).await.expect("opened");
        run::collect_due(&world.app, timeline, now).await.expect("collected");
        manual_operations::cancel(&world.app, &OPERATOR, &key(&plan)).await.expect("cancelled");
        billing::payments::look_up::look_up_payments(&world.app, None).await.expect("looked up");
        let plan = world.overview(&plan).await;
        assert_eq!((plan.schedule.plan.status, money(&plan), world.prove().await), (Cancelled, (5000, 0, 0), 1));
    }

    async fn a_storm_and_a_busy_operator_leave_the_books_equal(world: World) {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        let mut plans = Vec::new();
        for n in 0..40 {
            let customer = world.customer(["UTC", "America/New_York", "Europe/Berlin"][n % 3]).await;
            let paylike = n % 4 == 0;
            let token = match n % 10 {
                9 => "decline2020000000000".to_owned(),
                _ if paylike => world.prior(),
                _ => world.token(),
            };
            world.method(customer, paylike && n % 10 != 9, &token).await;
            let (frequency, term, units) = [
                (Frequency::Weekly, 3, TermUnits::Months),
                (Frequency::TwiceMonthly, 4, TermUnits::Months),
                (Frequency::Monthly, 8, TermUnits::Payments),
                (Frequency::Quarterly, 1, TermUnits::Years),
            ][n % 4];
            let input = InstallmentPlanInput {
                amount: random.random_range(5_000..=90_000),
                installments: None,
                term: Some(term),
                term_units: Some(units),
                billing_frequency: Some(frequency),
                ..monthly(customer, &format!("2026-01-{:02}", random.random_range(1..=28)), 1)
            };
            plans.push(world.plan(input).await);
        }
        world.chaos(seed, storm()).await;
        for month in 1..=12 {
            world.advance(&format!("2026-{month:02}-28T00:00:00Z")).await;
            for plan in &plans {
                let number = random.random_range(0..12);
                let day = date("2026-12-29") + chrono::Days::new(random.random_range(0..60));
                let (app, id) = (&world.app, key(plan));
                // Most are refused, as they come too late: what matters is what is left behind.
                let _ = match random.random_range(0..12) {
                    0 => manual_operations::change(app, &OPERATOR, &id, number, Some(day), Some(random.random_range(1..9000)), None).await,
                    1 => manual_operations::change(app, &OPERATOR, &id, number, None, Some(random.random_range(1..9000)), Some(Spread::Even)).await,
                    2 => {
                        let amount = plan.schedule.installments.iter().find(|part| part.number == number).map_or(2, |part| part.amount);
                        manual_operations::split(app, &OPERATOR, &id, number, &[(day, 1), (day, amount - 1)]).await
                    }
                    3 => manual_operations::pay(app, &OPERATOR, &id, number).await,
                    4 if month > 3 => manual_operations::pay_off(app, &OPERATOR, &id).await,
                    5 if month > 6 => manual_operations::cancel(app, &OPERATOR, &id).await,
                    _ => Ok(plan.clone()),
                };
            }
        }
        world.calm().await;
        world.advance("2027-04-01T00:00:00Z").await;
        let charges = world.prove().await;
        let mut paid = 0;
        for plan in &plans {
            paid += usize::from(world.overview(plan).await.schedule.plan.status == Paid);
        }
        assert!(charges > 100 && paid > 5, "only {charges} charges and {paid} plans paid: the storm was not worth the name");
    }
}
