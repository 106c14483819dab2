//! Random sequences of operations while time passes and cards decline: the total holds, nothing is charged twice, and a preview is
//! what then happens.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::{
    billing::{
        customers,
        installment_plans::operate::{Operation, operate, preview},
    },
    domain::{
        installment_plan::{
            InstallmentPlanStatus::{Cancelled, Defaulted, Open},
            change::Spread,
            restore::Arrears,
        },
        money::Percentage,
    },
    sandbox::Script,
};

use super::*;
use crate::collection::chaos::seed;

fn any_of<T: Copy>(random: &mut StdRng, list: &[T]) -> T {
    list[random.random_range(0..list.len())]
}

fn operation(random: &mut StdRng, plan: &Overview) -> Operation {
    let number = random.random_range(0..10);
    let day = plan.today + chrono::Days::new(random.random_range(0..90));
    let amount = plan.schedule.installments.iter().find(|part| part.number == number).map_or(10, |part| part.amount);
    if plan.schedule.plan.status == Defaulted && random.random_range(0..3) > 0 {
        return Operation::Restore { arrears: any_of(random, Arrears::ALL) };
    }
    match random.random_range(0..20) {
        0..=3 => Operation::Change {
            number,
            date: random.random_bool(0.5).then_some(day),
            amount: random.random_bool(0.7).then(|| random.random_range(1..=amount * 2)),
            spread: None,
        },
        4..=5 => Operation::Change {
            number,
            date: None,
            amount: Some(random.random_range(1..=amount * 2)),
            spread: Some(Spread::Even),
        },
        6..=8 => {
            let first = random.random_range(1..amount.max(2));
            Operation::Split { number, parts: vec![(day, first), (day + chrono::Days::new(9), amount - first)] }
        }
        9..=11 => Operation::Pay { number },
        12..=13 => Operation::Skip { cycles: random.random_range(1..4) },
        14..=15 => Operation::Reschedule { next_date: day },
        16..=17 => Operation::Restore { arrears: any_of(random, Arrears::ALL) },
        18 => Operation::PayOff,
        _ => Operation::Cancel,
    }
}

on_both! {
    async fn any_sequence_keeps_the_total_and_every_preview_comes_true(world: World) {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        let mut plans = Vec::new();
        for (n, zone) in (0..24_i64).zip(["UTC", "America/New_York", "Asia/Tokyo"].into_iter().cycle()) {
            let customer = world.customer(zone).await;
            let token = world.token();
            // Ladders that are climbed to their end, and payments between them.
            let declines = (0..40).flat_map(|_| if random.random_bool(0.4) { vec![202; 5] } else { vec![0] }).collect();
            world.sandbox.sandbox().set_script(&token, Script { declines, ..Script::default() });
            world.method(customer, false, &token).await;
            if n % 4 == 0 {
                let credit = random.random_range(1..5000);
                customers::give_credit(&world.app, &OPERATOR, &customer.to_string(), credit, None, "gift".into()).await.expect("given");
            }
            let down = Percentage::from_thousandths(random.random_range(0..40_000)).expect("percent");
            let down_payment = (n % 3 == 0).then_some(create::DownPaymentInput { amount: None, percentage: Some(down) });
            let frequency = any_of(&mut random, &[Frequency::Weekly, Frequency::TwiceMonthly, Frequency::Monthly]);
            let terms = InstallmentPlanInput {
                amount: random.random_range(500..50_000),
                down_payment,
                billing_frequency: Some(frequency),
                default_after: Some(1 + n % 3),
                ..monthly(customer, "2026-01-10", random.random_range(1..9))
            };
            let foreseen = create::preview(&world.app, terms.clone()).await.expect("previewed");
            let made = world.plan(terms).await;
            assert_eq!(parts(&foreseen).iter().skip(usize::from(down_payment.is_some())).collect::<Vec<_>>(),
                parts(&made).iter().skip(usize::from(down_payment.is_some())).collect::<Vec<_>>(), "seed {seed}");
            plans.push(made);
        }
        let (mut done, mut restored, mut now) = (0, 0, at("2026-01-01T00:00:00Z"));
        for _ in 0..16 {
            for plan in &plans {
                let before = world.overview(plan).await;
                let operation = operation(&mut random, &before);
                let told = world.plan_events(plan).await.len();
                let (app, id) = (&world.app, key(plan));
                let mut foreseen = preview(app, &OPERATOR, &id, &operation).await;
                let same = world.overview(plan).await;
                assert_eq!((&same.schedule, told), (&before.schedule, world.plan_events(plan).await.len()), "a preview stored something");
                let happened = operate(app, &OPERATOR, &id, &operation).await;
                if let (Ok(foreseen), Ok(happened)) = (&mut foreseen, &happened) {
                    for (foreseen, happened) in foreseen.schedule.installments.iter_mut().zip(&happened.schedule.installments) {
                        foreseen.invoice_id = foreseen.invoice_id.or(happened.invoice_id);
                    }
                    done += 1;
                    restored += usize::from(matches!(operation, Operation::Restore { .. }));
                    let stored = world.overview(plan).await;
                    assert_eq!((&stored.schedule, money(&stored)), (&happened.schedule, money(happened)), "seed {seed}: {operation:?}");
                    happened.schedule.check().expect("adds up");
                    let cancelled = happened.schedule.totals().cancelled;
                    assert!(happened.schedule.plan.status == Cancelled || happened.paid + happened.balance + cancelled >= plan.schedule.plan.amount, "seed {seed}: {operation:?} lost money: {happened:?}");
                }
                assert_eq!(format!("{foreseen:?}"), format!("{happened:?}"), "seed {seed}: {operation:?} on {before:?}");
            }
            now += chrono::TimeDelta::hours(random.random_range(6..400));
            world.advance(&now.to_rfc3339()).await;
            world.prove().await;
        }
        world.advance(&(now + chrono::TimeDelta::days(2000)).to_rfc3339()).await;
        let charges = world.prove().await;
        let mut open = 0;
        for plan in &plans {
            open += usize::from(world.overview(plan).await.schedule.plan.due_at.is_some());
        }
        assert_eq!(open, 0, "nothing is to come any more");
        let last = world.overview(&plans[0]).await;
        assert!(last.schedule.plan.status != Open || last.balance > 0);
        assert!(done > 40 && charges > 20, "seed {seed}: only {done} operations and {charges} charges");
        println!("{done} operations, {restored} of them restored a plan, {charges} charges");
    }
}
