//! Installment plans and their parts: saved in two halves, found by key, by what is due, by invoice.

use rebilld::{
    domain::{
        clock::Timeline,
        installment_plan::{Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentSchedule, InstallmentStatus},
        invoice::{Invoice, InvoiceStatus},
    },
    store::{self, Tx, installments::InstallmentCounts},
};

use super::{TestDatabase, on_both, people::saved_all_but, samples};

/// A plan of so many installments, the first of which fall due at noon, a minute later and so on.
async fn plan_of(database: &TestDatabase, plan: InstallmentPlan, count: i64) -> InstallmentSchedule {
    let part = |number| Installment { due_at: samples::minute(number), ..samples::installment(plan.id, number) };
    let schedule = InstallmentSchedule { installments: (0..count).map(part).collect(), plan };
    database.write(async |tx: &mut Tx| store::installments::insert(tx, &schedule).await).await;
    schedule
}

on_both! {
    async fn a_plan_is_found_by_id_or_reference_and_saved_in_two_halves(database: &TestDatabase) {
        let (ada, bob) = (samples::customer(), samples::customer());
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::customers::insert(tx, &bob).await
        }).await;
        let plain = plan_of(database, samples::installment_plan(ada.id), 3).await;
        let full = plan_of(database, InstallmentPlan { reference: Some("ref".into()), ..samples::full_installment_plan(bob.id) }, 0).await;
        for (key, found) in [(plain.plan.id.to_string(), Some(&plain)), ("ref".into(), Some(&full)), ("no".into(), None)] {
            assert_eq!(store::installments::find(&database.db, &key).await.expect("read").as_ref(), found.map(|found| &found.plan));
            assert_eq!(database.write(async |tx: &mut Tx| store::installments::lock(tx, &key).await).await.as_ref(), found);
        }
        let changed = InstallmentPlan { id: plain.plan.id, ..samples::full_installment_plan(bob.id) };
        database.write(async |tx: &mut Tx| store::installments::save_progress(tx, std::slice::from_ref(&changed)).await).await;
        database.write(async |tx: &mut Tx| store::installments::save_terms(tx, &changed).await).await;
        let after = database.write(async |tx: &mut Tx| store::installments::lock_many(tx, &[changed.id]).await).await.remove(0);
        let fixed = ["customer_id", "timeline", "currency", "amount", "down_payment", "timezone", "billing_frequency",
            "billing_cycle_interval", "billing_days", "business_day", "holiday_calendar", "created_at"];
        // Neither has anything due: one is not yet, the other not any more.
        let differing = InstallmentPlan { due_at: None, ..after };
        saved_all_but(&plain.plan, &changed, &differing, &fixed);

        let part = Installment { id: plain.installments[1].id.clone(), ..samples::full_installment(samples::id()) };
        database.write(async |tx: &mut Tx| store::installments::save_parts(tx, std::slice::from_ref(&part)).await).await;
        let parts = store::installments::of_plans(&database.db, &[changed.id]).await.expect("read");
        saved_all_but(&plain.installments[1], &part, &parts[1], &["installment_plan_id", "number"]);
        assert_eq!((&parts[0], &parts[2]), (&plain.installments[0], &plain.installments[2]));
    }

    async fn many_plans_are_written_at_once_and_known_again_by_reference(database: &TestDatabase) {
        let ada = samples::customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        let named = |reference: Option<&str>| InstallmentPlan { reference: reference.map(str::to_owned), ..samples::installment_plan(ada.id) };
        let plans = [named(Some("a")), named(None), named(Some("b"))];
        let parts = [samples::installment(plans[0].id, 1), samples::installment(plans[2].id, 1), samples::installment(plans[2].id, 2)];
        database.write(async |tx: &mut Tx| store::installments::insert_many(tx, &plans, &parts).await).await;
        let mut known = store::installments::referenced(&database.db, &["a", "b", "c"]).await.expect("read");
        known.sort();
        assert_eq!(known, [("a".to_owned(), plans[0].id), ("b".to_owned(), plans[2].id)]);
        let ids = plans.each_ref().map(|plan| plan.id);
        assert_eq!(store::installments::of_plans(&database.db, &ids).await.expect("read").len(), 3);
        let again = database.refused(async |tx: &mut Tx| store::installments::insert_many(tx, &[named(Some("a"))], &[]).await).await;
        assert!(matches!(again, store::Error::Conflict), "{again:?}");
    }

    async fn what_is_due_is_found_on_its_timeline_with_what_is_to_come(database: &TestDatabase) {
        let (ada, test) = (samples::customer(), Timeline::Test(samples::id()));
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        assert_eq!(store::next_due::bill(&database.db, test).await.expect("read"), None);
        let due = |timeline, minute: Option<i64>| InstallmentPlan { timeline, due_at: minute.map(samples::minute), ..samples::installment_plan(ada.id) };
        let mut plans = Vec::new();
        for (timeline, minute) in [(test, Some(3)), (test, Some(-2)), (test, None), (Timeline::Wall, Some(-9)), (test, Some(0))] {
            plans.push(plan_of(database, due(timeline, minute), 2).await);
        }
        assert_eq!(store::next_due::bill(&database.db, test).await.expect("read"), Some(samples::minute(-2)));
        let found = async |now, limit| database.write(async |tx: &mut Tx| store::installments::due(tx, test, samples::minute(now), limit).await).await;
        let of = |places: &[usize]| places.iter().map(|i| plans[*i].plan.clone()).collect::<Vec<_>>();
        assert_eq!((found(3, 10).await, found(2, 10).await, found(3, 1).await, found(-3, 10).await), (of(&[1, 4, 0]), of(&[1, 4]), of(&[1]), vec![]));

        let paid = Installment { status: InstallmentStatus::Paid, invoice_id: Some(samples::id()), ..plans[0].installments[0].clone() };
        database.write(async |tx: &mut Tx| store::installments::save_parts(tx, std::slice::from_ref(&paid)).await).await;
        let ids = [plans[0].plan.id, plans[1].plan.id];
        let scheduled = database.write(async |tx: &mut Tx| store::installments::scheduled_of(tx, &ids).await).await;
        assert_eq!(scheduled, [&plans[0].installments[1], &plans[1].installments[0], &plans[1].installments[1]].map(Clone::clone));
        let by_invoice = database.write(async |tx: &mut Tx| store::installments::of_invoices(tx, &[paid.invoice_id.expect("one"), samples::id()]).await).await;
        assert_eq!(by_invoice, [paid]);
        let mut standing = database.write(async |tx: &mut Tx| store::installments::counts_of(tx, &ids).await).await;
        standing.sort_by_key(|standing| standing.plan_id);
        assert_eq!(standing, [InstallmentCounts { plan_id: ids[0], owed: 1, paid: 1 }, InstallmentCounts { plan_id: ids[1], owed: 2, paid: 0 }]);
    }

    async fn what_came_for_a_plan_is_summed_by_what_became_of_its_invoices(database: &TestDatabase) {
        let ada = samples::customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        let plan = plan_of(database, samples::installment_plan(ada.id), 4).await.plan;
        let of = |number, status, credit_applied, amount_paid, amount_refunded| Invoice {
            installment_plan_id: Some(plan.id), installment_number: Some(number), status, credit_applied, amount_paid, amount_refunded,
            total: 1000 - credit_applied, ..samples::invoice(ada.id)
        };
        let rows = [
            of(0, InvoiceStatus::Open, 100, 20, 0), of(1, InvoiceStatus::Uncollectible, 3, 4, 2), of(2, InvoiceStatus::Paid, 0, 1000, 7),
            of(3, InvoiceStatus::Void, 50, 0, 0),
        ];
        database.write(async |tx: &mut Tx| store::invoices::insert(tx, &rows).await).await;
        let received = store::installments::received(&database.db, &[plan.id, samples::id()]).await.expect("read");
        assert_eq!(received.iter().map(|sum| (sum.plan_id, sum.open, sum.uncollectible, sum.refunded)).collect::<Vec<_>>(), [(plan.id, 120, 7, 9)]);
        let same = database.write(async |tx: &mut Tx| store::installments::received_in(tx, plan.id).await).await;
        assert_eq!(same, received.first().copied());
        let owed = database.write(async |tx: &mut Tx| store::invoices::lock_owed_of_installment_plan(tx, plan.id).await).await;
        assert_eq!(owed, rows[..2]);
        let twice = database.refused(async |tx: &mut Tx| store::invoices::insert(tx, &[of(3, InvoiceStatus::Open, 0, 0, 0)]).await).await;
        assert!(matches!(twice, store::Error::Conflict), "an installment is invoiced once: {twice:?}");
        let running = database.write(async |tx: &mut Tx| store::customers::running(tx, ada.id).await).await;
        assert_eq!(running, Some(plan.id.to_string()));
        assert_eq!(store::invariants::installment_plans_overdue(&database.db, samples::noon()).await.expect("read").count, 0);
        let late = plan_of(database, InstallmentPlan { due_at: Some(samples::noon()), ..samples::installment_plan(ada.id) }, 1).await.plan;
        assert_eq!(store::invariants::installment_plans_overdue(&database.db, samples::noon()).await.expect("read").ids, [late.id.to_string()]);
        // The first has open invoices, so something is to come of it.
        assert_eq!(store::invariants::installment_plans_stalled(&database.db).await.expect("read").count, 0);
        let stalled = plan_of(database, InstallmentPlan { due_at: None, ..samples::installment_plan(ada.id) }, 1).await.plan;
        assert_eq!(store::invariants::installment_plans_stalled(&database.db).await.expect("read").ids, [stalled.id.to_string()]);
        assert_eq!(store::invariants::installment_plans_defaulted(&database.db).await.expect("read").count, 0);
        let defaulted = InstallmentPlan { status: InstallmentPlanStatus::Defaulted, due_at: None, ended_at: Some(samples::noon()), ..samples::installment_plan(ada.id) };
        let defaulted = plan_of(database, defaulted, 1).await.plan;
        assert_eq!(store::invariants::installment_plans_defaulted(&database.db).await.expect("read").ids, [defaulted.id.to_string()]);
    }
}
