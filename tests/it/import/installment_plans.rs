//! Installment plans taken over amid their course: what was paid elsewhere is shown as paid and never charged.

use rebilld::{
    billing::{
        customers::CustomerRef,
        import::{self, ImportRows, InstallmentPlanRow},
        installment_plans::{
            self, Overview,
            create::{InstallmentPlanInput, PartInput, TakenOver},
        },
    },
    domain::{event::Actor, frequency::Frequency, installment_plan::InstallmentPlan},
};

use super::{Desk, Said, example, stored};
use crate::world::{World, date, on_both};

async fn import(desk: &Desk, plans: &std::path::Path, more: &[&str]) -> Said {
    let mut arguments = vec!["import", "--installment-plans", plans.to_str().expect("path")];
    arguments.extend(more);
    desk.say(&arguments).await
}

async fn plans(world: &World) -> Vec<InstallmentPlan> {
    world.app.db.query("select * from installment_plans order by id").all().await.expect("plans")
}

async fn overview(world: &World, reference: &str) -> Overview {
    installment_plans::overview(&world.app, reference).await.expect("the plan")
}

/// What a dry run shows for each row, by line.
fn shown(out: &str) -> Vec<String> {
    out.lines().filter_map(|line| Some(line.split_once("plans.csv:")?.1.to_owned())).collect()
}

fn parts(plan: &Overview) -> Vec<String> {
    plan.schedule
        .installments
        .iter()
        .map(|part| format!("{} {} {} {}", part.number, part.date, part.amount, part.status))
        .collect()
}

on_both! {
    async fn the_example_is_shown_then_imported_then_refused(world: World) {
        let desk = Desk::of(&world.url);
        let file = example("installment_plans.csv");
        let customers = example("customers.csv");
        let with_customers = ["--customers", customers.to_str().expect("path")];
        let dry = import(&desk, &file, &with_customers).await;
        assert!(dry.ok, "{}", dry.err);
        assert_eq!(shown(&dry.out), [
            "2 Bicycle: 2030-01-31 80.00 USD, 2030-02-28 80.00 USD, 2030-03-31 80.00 USD",
            "3 Piano: 2030-01-15 142.85 EUR, 2030-02-15 142.85 EUR, 2030-03-15 142.85 EUR",
            "4 Roof: 2030-01-31 3000.00 USD, 2030-06-30 3000.00 USD",
            "5 Desk: 2030-02-01 3333 JPY, 2030-02-15 3333 JPY, 2030-03-01 3334 JPY",
        ]);
        assert!(dry.out.contains("3 customers with 2 payment methods, 0 subscriptions and 4 installment plans are without fault"), "{}", dry.out);
        assert!(plans(&world).await.is_empty() && stored(&world).await.events.is_empty());

        let done = import(&desk, &file, &[&with_customers[..], &["--apply"]].concat()).await;
        assert!(done.ok, "{}", done.err);
        assert_eq!(stored(&world).await.events.iter().filter(|kind| *kind == "installment_plan.created").count(), 4);
        let bike = overview(&world, "bike-1").await;
        assert_eq!(parts(&bike)[..2], ["0 2026-11-21 24000 paid_elsewhere".to_owned(), "1 2029-08-31 8000 paid_elsewhere".to_owned()].map(|text| {
            // The down payment has the day of the import where that is earlier.
            text.replace("2026-11-21", &world.app.clock.now().with_timezone(&chrono_tz::America::Chicago).date_naive().min(date("2029-08-31")).to_string())
        }));
        assert_eq!((bike.paid, bike.paid_elsewhere, bike.balance, bike.pending), (24_000 + 5 * 8000, 64_000, 56_000, 0));
        assert_eq!((bike.schedule.plan.due_at, bike.repay_by), (Some("2030-01-31T12:00:00Z".parse().expect("instant")), Some(date("2030-07-31"))));
        let piano = overview(&world, "piano-1").await;
        assert_eq!((piano.paid, piano.balance, piano.schedule.plan.default_after), (2 * 14_285, 100_000 - 2 * 14_285, 2));
        let roof = overview(&world, "roof-1").await;
        assert_eq!(parts(&roof), ["1 2029-06-30 300000 paid_elsewhere", "2 2030-01-31 300000 scheduled", "3 2030-06-30 300000 scheduled"]);
        assert_eq!((overview(&world, "desk-1").await.paid, overview(&world, "desk-1").await.balance), (0, 10_000));

        let again = import(&desk, &file, &["--apply"]).await;
        assert!(!again.ok && again.err.lines().count() == 5, "{}", again.err);
        for place in (2..=5).map(|line| format!("installment_plans.csv:{line} column reference: is inst_")) {
            assert!(again.err.contains(&place), "{}", again.err);
        }
        assert_eq!(plans(&world).await.len(), 4);
    }

    async fn what_was_paid_elsewhere_is_never_charged_and_the_rest_once(world: World) {
        let customer = world.customer("UTC").await;
        world.method(customer, false, &world.token()).await;
        let row = |reference: &str, taken_over: TakenOver| InstallmentPlanRow {
            line: 2,
            input: InstallmentPlanInput {
                customer: CustomerRef { id: customer.to_string() },
                reference: Some(reference.to_owned()),
                amount: 10_000,
                installments: Some(7),
                billing_frequency: Some(Frequency::Monthly),
                first_date: Some(date("2025-10-31")),
                taken_over: Some(taken_over),
                ..InstallmentPlanInput::default()
            },
        };
        let rows = ImportRows {
            installment_plans: vec![
                row("through", TakenOver { paid_through: Some(date("2025-12-31")), ..TakenOver::default() }),
                row("count", TakenOver { installments_paid: Some(5), ..TakenOver::default() }),
                row("late", TakenOver { installments_paid: Some(1), backdated: true, ..TakenOver::default() }),
            ],
            ..ImportRows::default()
        };
        let prepared = import::prepare(&world.app, rows).await.expect("prepared");
        assert_eq!(prepared.faults, []);
        import::store(&world.app, &Actor::System, &prepared).await.expect("stored");
        world.advance("2026-01-02T00:00:00Z").await;
        // Those of November and December were missed where only one is said to be paid.
        assert_eq!(world.payments().await.iter().map(|payment| payment.amount_captured).collect::<Vec<_>>(), [1428, 1428]);
        world.advance("2026-06-01T00:00:00Z").await;
        for (reference, paid_elsewhere) in [("through", 3 * 1428), ("count", 5 * 1428), ("late", 1428)] {
            let plan = overview(&world, reference).await;
            assert_eq!((plan.paid, plan.paid_elsewhere, plan.balance), (10_000, paid_elsewhere, 0), "{reference}");
        }
        let charged: i64 = world.payments().await.iter().map(|payment| payment.amount_captured).sum();
        assert_eq!((charged, world.prove().await), (30_000 - 9 * 1428, 4 + 2 + 6));
    }

    async fn every_fault_of_a_plan_is_told_by_line_and_column_and_nothing_is_stored(world: World) {
        let desk = Desk::of(&world.url);
        let customers = desk.write("customers.csv", "reference,name,email\nok,Fine,\nbad,Bad,no mail\n,Nameless,\n");
        let file = desk.write("plans.csv", "\
            reference,customer,description,amount,currency,down_payment,installments,billing_frequency,billing_days,first_date,schedule,paid_through,installments_paid\n\
            fine,ok,Fine,9000,USD,,3,monthly,,2030-01-31,,,0\n\
            fine,ok,Again,9000,USD,,3,monthly,,2030-01-31,,,0\n\
            inst_x,nobody,,9000,XXX,,x,fortnightly,,soon,2030-01-01,,-1\n\
            c,ok,,9000,,,3,monthly,32,2030-01-31,,2030-01-01,2\n\
            d,ok,,9000,,,,,,,2030-01-31 4000; 2030-02-28 4999,,0\n\
            e,ok,,9000,,9000,3,monthly,,2030-01-31,,,0\n\
            f,ok,,9000,,,3,monthly,,,,,0\n\
            g,ok,,9000,,,3,monthly,,2030-01-31,,2030-03-31,\n\
            h,ok,,9000,,,3,monthly,,2030-01-31,,,4\n\
            i,ok,,9000,,,3,monthly,,2020-01-31,,,1\n\
            j,ok,,9000,,,3,monthly,,2030-01-31,,,\n\
            k,bad,,9000,,,3,monthly,,2030-01-31,,,0\n\
            l,ok,4111 1111 1111 1111,9000,,,3,monthly,,2030-01-31,,,0\n\
            m,ok\n\
            n,ok,,9000,,,3,monthly,,2030-01-31,,,x\n");
        for more in [&["--customers", customers.to_str().expect("path")][..], &["--customers", customers.to_str().expect("path"), "--apply"]] {
            let said = import(&desk, &file, more).await;
            assert!(!said.ok && said.out.is_empty(), "{}", said.out);
            let place = |line: &str| line.split(": ").next().expect("a place").rsplit('/').next().expect("a name").to_owned();
            assert_eq!(said.err.lines().map(place).collect::<Vec<_>>(), [
                "customers.csv:3 column email",
                "customers.csv:4 column reference",
                "plans.csv:3 column reference",
                "plans.csv:4 column reference",
                "plans.csv:4 column customer",
                "plans.csv:4 column currency",
                "plans.csv:4 column installments",
                "plans.csv:4 column billing_frequency",
                "plans.csv:4 column first_date",
                "plans.csv:4 column schedule",
                "plans.csv:4 column installments_paid",
                "plans.csv:5 column billing_days",
                "plans.csv:6 column schedule",
                "plans.csv:7 column down_payment",
                "plans.csv:8 column first_date",
                "plans.csv:9 column paid_through",
                "plans.csv:10 column installments_paid",
                "plans.csv:11 column installments_paid",
                "plans.csv:12 column paid_through",
                "plans.csv:14 column description",
                "plans.csv:15",
                "plans.csv:16 column installments_paid",
                "error",
            ], "{}", said.err);
            assert!(!said.err.contains("4111"), "a card number was repeated: {}", said.err);
            assert!(plans(&world).await.is_empty() && stored(&world).await.customers.is_empty());
        }
        let past = "reference,customer,amount,installments,billing_frequency,first_date,installments_paid\ni,ok,9000,3,monthly,2020-01-31,1\n";
        let (one, past) = (desk.write("one.csv", "reference,name\nok,Fine\n"), desk.write("plans.csv", past));
        let asked = ["--customers", one.to_str().expect("path"), "--apply", "--backdated"];
        assert!(import(&desk, &past, &asked[..3]).await.err.contains("must be asked for as backdated"));
        let said = import(&desk, &past, &asked).await;
        assert!(said.ok, "{}", said.err);
        assert_eq!(plans(&world).await.len(), 1);
    }

    async fn two_imports_of_one_plan_at_once_are_one(world: World) {
        let customer = world.customer("UTC").await;
        let rows = || ImportRows {
            installment_plans: vec![InstallmentPlanRow {
                line: 2,
                input: InstallmentPlanInput {
                    customer: CustomerRef { id: customer.to_string() },
                    reference: Some("a".into()),
                    amount: 100,
                    schedule: Some(vec![PartInput { date: date("2030-01-01"), amount: 100 }]),
                    taken_over: Some(TakenOver { installments_paid: Some(0), ..TakenOver::default() }),
                    ..InstallmentPlanInput::default()
                },
            }],
            ..ImportRows::default()
        };
        let (first, second) = (import::prepare(&world.app, rows()).await.expect("prepared"), import::prepare(&world.app, rows()).await.expect("prepared"));
        let (one, other) = tokio::join!(import::store(&world.app, &Actor::System, &first), import::store(&world.app, &Actor::System, &second));
        assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
        let refused = one.and(other).expect_err("one of them").to_string();
        assert!(refused.contains("nothing was stored"), "{refused}");
        assert_eq!((plans(&world).await.len(), stored(&world).await.events.len()), (1, 1));
    }
}
