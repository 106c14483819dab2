//! What forecast, simulation, import and export ask of the store.

use rebilld::{
    domain::{
        calendar::BusinessDay,
        clock::Timeline,
        customer::Customer,
        installment_plan::{Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentSchedule, InstallmentStatus},
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        plan::Plan,
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Db, Tx, tables},
};
use serde_json::json;

use super::{TestDatabase, on_both, samples};

/// A customer and a subscription that is due at an instant.
async fn due(database: &TestDatabase, minute: Option<i64>, status: SubscriptionStatus) -> Subscription {
    let customer = samples::customer();
    let subscription = Subscription { due_at: minute.map(samples::minute), status, ..samples::subscription(customer.id) };
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert_many(tx, std::slice::from_ref(&customer)).await?;
            store::payment_methods::insert_many(tx, &[samples::method(customer.id)]).await?;
            store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await
        })
        .await;
    subscription
}

on_both! {
    async fn calendars_are_named_by_whatever_is_still_dated_by_them(database: &TestDatabase) {
        let customer = samples::customer();
        let named = |name: &str, status| Subscription {
            business_day: BusinessDay::Following,
            holiday_calendar: Some(name.into()),
            status,
            ..samples::subscription(customer.id)
        };
        let rows = [
            named("b", SubscriptionStatus::Active),
            named("b", SubscriptionStatus::Paused),
            named("ended", SubscriptionStatus::Completed),
            samples::subscription(customer.id),
        ];
        let plan = Plan { business_day: BusinessDay::Following, holiday_calendar: Some("c".into()), ..samples::plan() };
        database
            .write(async |tx: &mut Tx| {
                store::customers::insert_many(tx, std::slice::from_ref(&customer)).await?;
                store::plans::insert(tx, &plan).await?;
                store::subscriptions::insert(tx, &rows).await
            })
            .await;
        assert_eq!(store::calendars::in_use(&database.db).await.expect("names"), ["b", "c"]);
    }

    async fn planned_subscriptions_come_once_each_by_id(database: &TestDatabase) {
        let mut planned = Vec::new();
        for minute in [5, 3, 9, 1] {
            planned.push(due(database, Some(minute), SubscriptionStatus::Active).await.id);
        }
        planned.remove(2);
        due(database, None, SubscriptionStatus::Paused).await;
        planned.sort();
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page =
                store::subscriptions::planned(&database.db, Some(Timeline::Wall), samples::minute(9), &after, 2).await.expect("page");
            let Some(last) = page.last() else { break };
            after = last.id.to_string();
            found.extend(page.iter().map(|subscription| subscription.id));
        }
        assert_eq!(found, planned);
        let elsewhere = Timeline::Test(samples::clock().id);
        let page = store::subscriptions::planned(&database.db, Some(elsewhere), samples::minute(9), "", 9).await.expect("page");
        assert!(page.is_empty());
    }

    async fn planned_installments_are_those_of_open_plans(database: &TestDatabase) {
        let customer = samples::customer();
        let schedule = |due, status| {
            let plan = InstallmentPlan { due_at: due, status, ..samples::installment_plan(customer.id) };
            let ended_at = (status != InstallmentPlanStatus::Open).then(samples::noon);
            let plan = InstallmentPlan { ended_at, ..plan };
            let part = |number| Installment { due_at: samples::minute(number), ..samples::installment(plan.id, number) };
            InstallmentSchedule { installments: (0..4).map(part).collect(), plan }
        };
        let mut open = schedule(Some(samples::minute(1)), InstallmentPlanStatus::Open);
        open.installments[0].status = InstallmentStatus::Cancelled;
        let defaulted = schedule(None, InstallmentPlanStatus::Defaulted);
        database
            .write(async |tx: &mut Tx| {
                store::customers::insert(tx, &customer).await?;
                store::installments::insert(tx, &open).await?;
                store::installments::insert(tx, &defaulted).await
            })
            .await;
        let page = async |after: &str, limit| {
            let planned = store::installments::planned(&database.db, Some(Timeline::Wall), samples::minute(3), after, limit);
            planned.await.expect("page").into_iter().map(|part| part.id).collect::<Vec<_>>()
        };
        let expected = [open.installments[1].id.clone(), open.installments[2].id.clone()];
        assert_eq!(page("", 9).await, expected);
        assert_eq!((page("", 1).await, page(&expected[0], 9).await), (expected[..1].to_vec(), expected[1..].to_vec()));
    }

    async fn every_clock_is_known(database: &TestDatabase) {
        let clocks = [samples::clock(), samples::clock()];
        for clock in &clocks {
            database.write(async |tx: &mut Tx| store::clocks::insert(tx, clock.clone()).await).await;
        }
        let mut ids = clocks.map(|clock| clock.id);
        ids.sort();
        let found = store::clocks::all(&database.db).await.expect("clocks");
        assert_eq!(found.iter().map(|clock| clock.id).collect::<Vec<_>>(), ids);
    }

    async fn imports_know_what_was_imported_before(database: &TestDatabase) {
        let one = Customer { reference: Some("one".into()), ..samples::customer() };
        let two = Customer { reference: Some("two".into()), ..samples::customer() };
        let metadata = json!({"reference": "s-1"}).as_object().cloned().expect("an object");
        let known = Subscription { metadata, ..samples::subscription(one.id) };
        let plain = samples::subscription(two.id);
        database
            .write(async |tx: &mut Tx| {
                store::customers::insert_many(tx, &[one.clone(), two.clone()]).await?;
                store::subscriptions::lock_imports(tx).await?;
                store::subscriptions::insert(tx, &[known.clone(), plain.clone()]).await
            })
            .await;
        let two_id = two.id.to_string();
        let mut found = store::customers::find_many(&database.db, &["one", &two_id, "three"]).await.expect("found");
        found.sort_by_key(|customer| customer.id);
        let mut both = [one.id, two.id];
        both.sort();
        assert_eq!(found.iter().map(|customer| customer.id).collect::<Vec<_>>(), both);
        let mut expected = [(known.id, Some("s-1".to_owned())), (plain.id, None)];
        expected.sort();
        let rows = database.write(async |tx: &mut Tx| store::subscriptions::references(tx, "", 10).await).await;
        assert_eq!(rows, expected);
        let rest = database.write(async |tx: &mut Tx| store::subscriptions::references(tx, &expected[0].0.to_string(), 10).await).await;
        assert_eq!(rest, expected[1..]);
        // The second import raises what the first has made.
        database.write(async |tx: &mut Tx| store::subscriptions::lock_imports(tx).await).await;
        let row: (i64,) = database.db.query("select value from counters where name = 'import'").one().await.expect("counter");
        assert_eq!(row.0, 2);
    }

    async fn a_copy_has_the_living_and_no_history(database: &TestDatabase) {
        let active = due(database, Some(5), SubscriptionStatus::Active).await;
        let owing = due(database, None, SubscriptionStatus::Cancelled).await;
        due(database, None, SubscriptionStatus::Cancelled).await;
        let paid = Invoice { subscription_id: Some(active.id), cycle: Some(0), ..samples::invoice(active.customer_id) };
        let paid = Invoice { status: InvoiceStatus::Paid, amount_paid: paid.total, next_attempt_at: None, ..paid };
        let open = Invoice { subscription_id: Some(owing.id), cycle: Some(0), ..samples::invoice(owing.customer_id) };
        let other = Invoice { subscription_id: Some(active.id), cycle: Some(1), ..samples::invoice(active.customer_id) };
        let payment = |invoice: &Invoice, status, gateway: &str| {
            Payment { status, gateway: gateway.into(), transaction_id: Some("t".into()), ..samples::payment(invoice) }
        };
        let payments = [
            payment(&paid, PaymentStatus::Succeeded, "fluid"),
            payment(&open, PaymentStatus::Authorized, "fluid"),
            payment(&other, PaymentStatus::Pending, "gone"),
        ];
        database
            .write(async |tx: &mut Tx| {
                store::invoices::insert(tx, &[paid.clone(), open.clone(), other.clone()]).await?;
                store::events::append(tx, &[samples::event("a.b", "c")]).await?;
                store::roll_outs::insert(tx, &samples::roll_out()).await?;
                store::roll_outs::insert(tx, &samples::full_roll_out()).await?;
                store::payments::insert(tx, &payments).await
            })
            .await;
        let folder = tempfile::tempdir().expect("folder");
        let copy = Db::scratch(&folder.path().join("copy.db")).await.expect("a database");
        let rows = store::simulation_copy::living(&database.db, &copy, samples::noon(), &["fluid"]).await.expect("copied");
        // Two counters, three customers with a method each, two subscriptions, two invoices with a payment each, one roll-out.
        assert_eq!(rows, 2 + 6 + 2 + 4 + 1);
        let left: Vec<Payment> = copy.query("select * from payments order by status").all().await.expect("payments");
        assert_eq!(left.iter().map(|payment| payment.status).collect::<Vec<_>>(), [PaymentStatus::Parked, PaymentStatus::Unknown]);
        assert!(left.iter().all(|payment| payment.transaction_id.is_none() && payment.lease_owner.is_none()));
        assert_eq!(left[1].next_lookup_at, Some(samples::noon()));
        let there = store::subscriptions::get(&copy, active.id).await.expect("read").expect("copied");
        assert_eq!(there, store::subscriptions::get(&database.db, active.id).await.expect("read").expect("there"));
        assert_eq!(store::simulation_copy::gateways(&copy).await.expect("names"), [samples::method(active.customer_id).gateway]);
        copy.close().await;
    }

    async fn money_taken_before_an_instant_is_left_out(database: &TestDatabase) {
        let subscription = due(database, Some(5), SubscriptionStatus::Active).await;
        let mut ends = Vec::new();
        for minute in [1, 2, 3] {
            let cycle = Some(minute);
            let invoice = Invoice { subscription_id: Some(subscription.id), cycle, ..samples::invoice(subscription.customer_id) };
            let payment = Payment {
                status: PaymentStatus::Succeeded,
                amount_captured: 1,
                resolved_at: Some(samples::minute(minute)),
                ..samples::payment(&invoice)
            };
            database
                .write(async |tx: &mut Tx| {
                    store::invoices::insert(tx, &[invoice]).await?;
                    store::payments::insert(tx, std::slice::from_ref(&payment)).await
                })
                .await;
            ends.push(payment.reference);
        }
        let taken = store::reports::taken_since(&database.db, Timeline::Wall, samples::minute(2)).await.expect("taken");
        assert_eq!(taken.iter().map(|taken| &taken.reference).collect::<Vec<_>>(), ends[1..].iter().collect::<Vec<_>>());
    }

    async fn every_row_of_a_table_is_read_as_it_stood_at_one_moment(database: &TestDatabase) {
        let first = due(database, Some(1), SubscriptionStatus::Active).await;
        let chosen = tables::TABLES.iter().filter(|table| ["customers", "subscriptions"].contains(&table.name));
        let mut rows = Vec::new();
        let keep = |table: &'static tables::Table, row: tables::Fields| {
            rows.push((table.name, row[0].clone()));
            Ok::<_, store::Error>(())
        };
        store::tables::read(&database.db, chosen, keep).await.expect("read");
        assert_eq!(rows, [("customers", json!(first.customer_id)), ("subscriptions", json!(first.id))]);
        let fails = |_: &'static tables::Table, _: tables::Fields| Err(store::Error::Conflict);
        let ended = store::tables::read(&database.db, tables::TABLES, fails).await;
        assert!(matches!(ended, Err(store::Error::Conflict)), "{ended:?}");
    }
}
