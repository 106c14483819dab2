//! What is written is read again: every column of every table, null and at its hardest, the same from both databases.

use std::{collections::BTreeSet, fmt::Debug};

use rebilld::{
    domain::{
        clock::{TestClock, Timeline},
        event::Event,
        id::{AddOn, Discount},
        installment_plan::{Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentStatus},
        invoice::{Adjustment, Invoice},
        payment_request::PaymentRequest,
        refund::{Refund, RefundStatus, RefundTo},
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{
        self, Tx,
        db::{Record, Row},
        page,
        runs::JobRun,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{TestDatabase, on_both, samples};

/// Columns that are null in a row.
fn nulls<T: Row>(row: &T) -> BTreeSet<String> {
    let Value::Object(fields) = serde_json::to_value(row).expect("json") else { panic!("{} is no object", T::TABLE) };
    let names: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, T::columns().iter().copied().collect(), "{}: the columns are the fields", T::TABLE);
    fields.into_iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name).collect()
}

async fn nullable(database: &TestDatabase, table: &'static str) -> BTreeSet<String> {
    let sql = if database.db.is_postgres() {
        "select cast(column_name as text) from information_schema.columns
         where table_schema = 'public' and table_name = $1 and is_nullable = 'YES'"
    } else {
        "select name from pragma_table_info($1) where \"notnull\" = 0 and pk = 0"
    };
    let rows: Vec<(String,)> = database.db.query(sql).bind(table.to_owned()).all().await.expect("columns");
    rows.into_iter().map(|row| row.0).collect()
}

/// Writes the rows and reads them back. Between them every column that may be null is so once, and set once.
async fn kept<T: Row + Record + Debug>(database: &TestDatabase, rows: Vec<T>) {
    let may_be_null = nullable(database, T::TABLE).await;
    let null_somewhere: BTreeSet<String> = rows.iter().flat_map(nulls).collect();
    assert_eq!(null_somewhere, may_be_null, "{}: columns that are null in some row", T::TABLE);
    let null_everywhere: Vec<&String> =
        may_be_null.iter().filter(|name| rows.iter().all(|row| nulls(row).contains(*name))).collect();
    assert!(null_everywhere.is_empty(), "{}: never set: {null_everywhere:?}", T::TABLE);
    database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
    let found = page::list::<T>(&database.db, page::Request { limit: 10, ..page::Request::default() }).await.expect("read");
    // As their Debug texts: kinds of ids cannot be compared.
    let texts = |rows: &[T]| rows.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>();
    let mut written = texts(&rows);
    // Each begins with its id.
    written.sort();
    written.reverse();
    assert_eq!(texts(&found.rows), written, "{}", T::TABLE);
    assert!(!found.has_more);
}

async fn batch<T: Record + DeserializeOwned + 'static>(database: &TestDatabase, sql: &'static str) -> Vec<T> {
    database.db.query(sql).batch().await.expect("read")
}

on_both! {
    async fn every_column_is_kept(database: &TestDatabase) {
        kept(database, vec![samples::clock(), samples::full_clock()]).await;
        kept(database, vec![samples::api_key(), samples::full_api_key()]).await;
        kept(database, vec![samples::entry::<AddOn>(), samples::full_entry()]).await;
        kept(database, vec![samples::entry::<Discount>(), samples::full_entry()]).await;
        kept(database, vec![samples::plan(), samples::full_plan()]).await;
        kept(database, vec![samples::policy(), samples::full_policy()]).await;
        let (ada, bob) = (samples::customer(), samples::full_customer());
        kept(database, vec![ada.clone(), bob.clone()]).await;
        kept(database, vec![samples::credit(ada.id), samples::full_credit(bob.id)]).await;
        let mut prior = samples::method(ada.id);
        prior.kind = rebilld::domain::payment_method::MethodKind::PriorTransaction;
        prior.transaction_id = Some(samples::hard());
        kept(database, vec![samples::method(ada.id), samples::full_method(bob.id), prior]).await;
        let mut parked = samples::subscription(ada.id);
        (parked.status, parked.parked_reason) = (SubscriptionStatus::Parked, Some(samples::hard()));
        let rows = vec![samples::subscription(ada.id), samples::full_subscription(bob.id), parked];
        kept(database, rows.clone()).await;
        kept(database, vec![samples::authorization(&rows[0]), samples::full_authorization(&rows[1])]).await;
        let due = InstallmentPlan { due_at: Some(samples::noon()), ..samples::installment_plan(ada.id) };
        let plans = vec![samples::installment_plan(ada.id), samples::full_installment_plan(bob.id), due];
        kept(database, plans.clone()).await;
        kept(database, vec![samples::installment(plans[0].id, 0), samples::full_installment(plans[1].id)]).await;
        let rows = vec![samples::invoice(ada.id), samples::full_invoice(&rows[1])];
        kept(database, rows.clone()).await;
        kept(database, vec![samples::credit_note(&rows[0]), samples::full_credit_note(&rows[1])]).await;
        kept(database, vec![samples::payment_request(&rows[0]), samples::full_payment_request(bob.id)]).await;
        let payments = vec![samples::payment(&rows[0]), samples::full_payment(&rows[1])];
        kept(database, payments.clone()).await;
        kept(database, vec![samples::dispute(&payments[0]), samples::full_dispute(&payments[1])]).await;
        let credited = Refund {
            payment_id: None,
            destination: RefundTo::Credit,
            status: RefundStatus::Succeeded,
            ..samples::refund(payments[0].id, rows[0].id)
        };
        kept(database, vec![samples::refund(payments[0].id, rows[0].id), samples::full_refund(payments[1].id, rows[1].id), credited]).await;
        let hard = Event { data: samples::nested(), timeline: Timeline::Test(samples::id()), ..samples::event(samples::HARD, samples::HARD) };
        kept(database, vec![samples::event("a.b", ""), hard]).await;
        kept(database, vec![samples::roll_out(), samples::full_roll_out()]).await;
        let counts: Map<String, Value> = samples::nested().as_object().expect("object").clone();
        let run = JobRun { counts, error: Some(samples::hard()), ended_at: Some(samples::noon()), ..samples::job_run() };
        kept(database, vec![samples::job_run(), run]).await;
    }

    async fn a_batch_holds_the_same_rows_in_the_same_order(database: &TestDatabase) {
        let (ada, bob) = (samples::customer(), samples::full_customer());
        database.write(async |tx: &mut Tx| tx.insert_rows(&[ada.clone(), bob.clone()]).await).await;
        assert_eq!(batch::<Subscription>(database, "select * from subscriptions").await, vec![]);
        let subscriptions = [samples::subscription(ada.id), samples::full_subscription(bob.id), samples::subscription(bob.id)];
        database.write(async |tx: &mut Tx| tx.insert_rows(&subscriptions).await).await;
        let [first, second, third] = subscriptions;
        let falling: Vec<Subscription> = batch(database, "select * from subscriptions order by id desc").await;
        assert_eq!(falling, vec![third.clone(), second.clone(), first.clone()]);
        assert_eq!(batch::<Subscription>(database, "select * from subscriptions order by id limit 2").await, vec![first, second.clone()]);
        let invoices = [samples::invoice(ada.id), samples::full_invoice(&second)];
        database.write(async |tx: &mut Tx| tx.insert_rows(&invoices).await).await;
        assert_eq!(batch::<Invoice>(database, "select * from invoices order by id").await, invoices);
    }

    async fn a_batch_does_not_tell_what_it_cannot_read(database: &TestDatabase) {
        let ada = samples::customer();
        let row = samples::subscription(ada.id);
        database.write(async |tx: &mut Tx| tx.insert_rows(std::slice::from_ref(&ada)).await).await;
        database.write(async |tx: &mut Tx| tx.insert_rows(std::slice::from_ref(&row)).await).await;
        database.run("update subscriptions set catch_up = 'secret-4711'".to_owned()).await.expect("spoiled");
        let refused = database.db.query("select * from subscriptions").batch::<Subscription>().await.expect_err("unreadable").to_string();
        assert!(refused.contains("what this version cannot read") && !refused.contains("4711"), "{refused}");
    }

    async fn every_word_of_every_enum_is_taken(database: &TestDatabase) {
        let ada = samples::customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        for status in SubscriptionStatus::ALL {
            let mut row = samples::subscription(ada.id);
            row.status = *status;
            row.parked_reason = (*status == SubscriptionStatus::Parked).then(String::new);
            database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, std::slice::from_ref(&row)).await).await;
            assert_eq!(store::subscriptions::get(&database.db, row.id).await.expect("read"), Some(row));
        }
        let invoice = samples::invoice(ada.id);
        database.write(async |tx: &mut Tx| store::invoices::insert(tx, std::slice::from_ref(&invoice)).await).await;
        for status in rebilld::domain::payment_request::RequestStatus::ALL {
            let row = PaymentRequest { status: *status, ..samples::payment_request(&invoice) };
            database.write(async |tx: &mut Tx| store::payment_requests::insert(tx, std::slice::from_ref(&row)).await).await;
            assert_eq!(store::payment_requests::get(&database.db, row.id).await.expect("read"), Some(row.clone()));
            database.run(format!("update payment_requests set status = 'paid' where id = '{}'", row.id)).await.expect("closed");
        }
        for status in rebilld::domain::payment::PaymentStatus::ALL {
            let mut row = samples::payment(&invoice);
            row.status = *status;
            database.write(async |tx: &mut Tx| store::payments::insert(tx, std::slice::from_ref(&row)).await).await;
            assert_eq!(store::payments::get(&database.db, row.id).await.expect("read"), Some(row.clone()));
            for status in rebilld::domain::refund::RefundStatus::ALL {
                let mut refund = samples::refund(row.id, invoice.id);
                refund.status = *status;
                database.write(async |tx: &mut Tx| store::refunds::insert(tx, refund.clone()).await).await;
                let back = database.write(async |tx: &mut Tx| store::refunds::lock(tx, refund.id).await).await;
                assert_eq!(back, Some(refund.clone()));
                database.run(format!("update refunds set status = 'succeeded' where id = '{}'", refund.id)).await.expect("closed");
            }
            database.run(format!("update payments set status = 'declined' where id = '{}'", row.id)).await.expect("closed");
        }
        for status in rebilld::domain::invoice::InvoiceStatus::ALL {
            let mut row = samples::invoice(ada.id);
            row.status = *status;
            row.amount_paid = if *status == rebilld::domain::invoice::InvoiceStatus::Paid { row.total } else { 0 };
            database.write(async |tx: &mut Tx| store::invoices::insert(tx, std::slice::from_ref(&row)).await).await;
            assert_eq!(store::invoices::get(&database.db, row.id).await.expect("read"), Some(row));
        }
        let plan = samples::installment_plan(ada.id);
        database.write(async |tx: &mut Tx| tx.insert_rows(std::slice::from_ref(&plan)).await).await;
        for (number, status) in InstallmentStatus::ALL.iter().enumerate() {
            let never = matches!(status, InstallmentStatus::Scheduled | InstallmentStatus::PaidElsewhere);
            let invoice_id = (!never).then_some(invoice.id);
            let row = Installment { status: *status, invoice_id, ..samples::installment(plan.id, rebilld::domain::count(number)) };
            database.write(async |tx: &mut Tx| store::installments::insert_parts(tx, std::slice::from_ref(&row)).await).await;
            assert_eq!(store::installments::of_plans(&database.db, &[plan.id]).await.expect("read").last(), Some(&row));
        }
        for status in InstallmentPlanStatus::ALL {
            let ended_at = (*status != InstallmentPlanStatus::Open).then(samples::noon);
            let row = InstallmentPlan { status: *status, ended_at, ..plan.clone() };
            database.write(async |tx: &mut Tx| store::installments::save_progress(tx, std::slice::from_ref(&row)).await).await;
            assert_eq!(store::installments::find(&database.db, &plan.id.to_string()).await.expect("read"), Some(row));
        }
        for scope in rebilld::domain::api_key::Scope::ALL {
            let key = rebilld::domain::api_key::ApiKey { scope: *scope, ..samples::api_key() };
            database.write(async |tx: &mut Tx| store::api_keys::insert(tx, key.clone()).await).await;
            assert_eq!(store::api_keys::get(&database.db, key.id).await.expect("read"), Some(key));
        }
    }

    async fn instants_sort_as_they_pass(database: &TestDatabase) {
        // Texts of different lengths on SQLite: without a fraction, with three digits, with six.
        let texts = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2026-06-01T11:59:59.999Z", "2026-06-01T12:00:00Z",
            "2026-06-01T12:00:00.000001Z", "2026-06-01T12:00:00.001Z", "2026-06-01T12:00:00.001001Z", "2026-06-01T12:00:01Z", "9999-12-31T23:59:59.999999Z"];
        let mut clocks: Vec<TestClock> = texts.iter().map(|text| TestClock { now_at: crate::world::at(text), ..samples::clock() }).collect();
        clocks.reverse();
        database.write(async |tx: &mut Tx| tx.insert_rows(&clocks).await).await;
        let rows: Vec<TestClock> = database.db.query("select * from clocks order by now_at").all().await.expect("rows");
        clocks.reverse();
        assert_eq!(rows, clocks);
        for (i, clock) in clocks.iter().enumerate() {
            let until: Vec<TestClock> = database.db.query("select * from clocks where now_at <= $1").bind(clock.now_at).all().await.expect("rows");
            assert_eq!(until.len(), i + 1, "bound and stored instants compare alike: {}", clock.now_at);
        }
        // The same after an update by a bound instant.
        database.write(async |tx: &mut Tx| store::clocks::save(tx, TestClock { now_at: samples::noon(), ..clocks[0].clone() }).await).await;
        assert_eq!(store::clocks::get(&database.db, clocks[0].id).await.expect("read").expect("clock").now_at, samples::noon());
    }

    async fn a_percentage_stays_what_it_was(database: &TestDatabase) {
        let entry = samples::full_entry::<AddOn>();
        assert_eq!(entry.adjustment(), Adjustment::Amount(0), "beyond any percentage, and kept all the same");
        let entry = rebilld::domain::catalog::Entry { percentage: Some(12_345), ..entry };
        database.write(async |tx: &mut Tx| store::catalog::insert(tx, &entry).await).await;
        let back = store::catalog::find::<AddOn>(&database.db, &entry.id.to_string()).await.expect("read").expect("entry");
        assert_eq!(back.adjustment(), Adjustment::Percentage("12.345".parse().expect("percentage")));
    }
}
