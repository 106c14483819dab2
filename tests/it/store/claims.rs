//! Several daemons on one database: eight claimers at once get distinct rows, and every row once.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex},
};

use rebilld::{
    domain::{
        self,
        clock::{ClockStatus, TestClock, Timeline},
        customer::Customer,
        invoice::Invoice,
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundStatus},
        subscription::Subscription,
    },
    store::{self, Db, Tx},
};

use super::{TestDatabase, on_both, samples};

const ROWS: i64 = 2000;
const LIMIT: i64 = 70;

/// Eight claimers, each until it finds nothing; answers what all of them got.
async fn race<T: Eq + Hash + Send + 'static, F>(db: &Db, claim: impl Fn(Db, String) -> F) -> Vec<T>
where
    F: Future<Output = Vec<T>> + Send + 'static,
{
    let got: Arc<Mutex<Vec<T>>> = Arc::default();
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let (claimed, got) = (claim(db.clone(), format!("daemon-{i}")), got.clone());
            tokio::spawn(async move {
                let mine = claimed.await;
                got.lock().expect("lock").extend(mine);
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a claimer");
    }
    let got = Arc::into_inner(got).expect("all are done").into_inner().expect("lock");
    let distinct: HashSet<&T> = got.iter().collect();
    assert_eq!(distinct.len(), got.len(), "rows that were claimed twice");
    got
}

/// Claims until nothing comes. Others may hold what is left, so an empty answer ends it.
macro_rules! until_empty {
    ($db:ident, |$tx:ident| $claim:expr) => {{
        let mut mine = Vec::new();
        loop {
            let mut $tx = $db.begin().await.expect("begun");
            let rows = $claim;
            $tx.commit().await.expect("committed");
            assert!(rows.len() <= usize::try_from(LIMIT).expect("a limit"), "{} rows at once", rows.len());
            if rows.is_empty() {
                break mine;
            }
            mine.extend(rows.into_iter().map(|row| row.id));
            tokio::task::yield_now().await;
        }
    }};
}

async fn customer(database: &TestDatabase) -> Customer {
    let customer = samples::customer();
    database.write(async |tx: &mut Tx| store::customers::insert(tx, &customer).await).await;
    customer
}

async fn invoices(database: &TestDatabase, due: bool) -> Vec<Invoice> {
    let ada = customer(database).await;
    let rows: Vec<Invoice> =
        (0..ROWS).map(|i| Invoice { next_attempt_at: due.then(|| samples::minute(-i)), ..samples::invoice(ada.id) }).collect();
    database.write(async |tx: &mut Tx| store::invoices::insert(tx, &rows).await).await;
    rows
}

async fn unknown_payments(database: &TestDatabase) -> Vec<Payment> {
    let invoices = invoices(database, false).await;
    let row = |(i, invoice): (usize, &Invoice)| Payment {
        status: PaymentStatus::Unknown,
        next_lookup_at: Some(samples::minute(-domain::count(i))),
        ..samples::payment(invoice)
    };
    let rows: Vec<Payment> = invoices.iter().enumerate().map(row).collect();
    database.write(async |tx: &mut Tx| store::payments::insert(tx, &rows).await).await;
    rows
}

/// What is due, in the transaction that holds it. PostgreSQL hears of a rollback a moment after the transaction is dropped.
async fn soon_due(database: &TestDatabase) -> (Tx, Vec<Subscription>) {
    for _ in 0..200 {
        let mut tx = database.db.begin().await.expect("begun");
        let due = store::subscriptions::due(&mut tx, Timeline::Wall, samples::noon(), LIMIT).await.expect("due");
        if !due.is_empty() {
            return (tx, due);
        }
        drop(tx);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never due again");
}

on_both! {
    async fn due_subscriptions_are_billed_by_one_daemon_each(database: &TestDatabase) {
        let ada = customer(database).await;
        let other = Timeline::Test(samples::id());
        let rows: Vec<Subscription> = (0..ROWS).map(|i| Subscription { due_at: Some(samples::minute(-i)), ..samples::subscription(ada.id) }).collect();
        let not_yet = Subscription { due_at: Some(samples::noon() + chrono::Duration::microseconds(1)), ..samples::subscription(ada.id) };
        let elsewhere = Subscription { due_at: Some(samples::noon()), timeline: other, ..samples::subscription(ada.id) };
        let never = samples::subscription(ada.id);
        database.write(async |tx: &mut Tx| {
            store::subscriptions::insert(tx, &rows).await?;
            store::subscriptions::insert(tx, &[not_yet.clone(), elsewhere.clone(), never]).await
        }).await;
        let got = race(&database.db, |db, _| async move {
            until_empty!(db, |tx| {
                let mut due = store::subscriptions::due(&mut tx, Timeline::Wall, samples::noon(), LIMIT).await.expect("due");
                for subscription in &mut due {
                    (subscription.due_at, subscription.next_cycle) = (None, subscription.next_cycle + 1);
                }
                store::subscriptions::save_progress(&mut tx, &due).await.expect("saved");
                due
            })
        }).await;
        assert_eq!(got.into_iter().collect::<HashSet<_>>(), rows.iter().map(|row| row.id).collect());
        let billed: (i64,) = database.db.query("select count(*) from subscriptions where next_cycle = 1 and due_at is null").one().await.expect("count");
        assert_eq!(billed.0, ROWS);
        for left in [not_yet, elsewhere] {
            assert_eq!(store::subscriptions::get(&database.db, left.id).await.expect("read"), Some(left));
        }
    }

    async fn a_claim_that_is_rolled_back_is_due_again(database: &TestDatabase) {
        let ada = customer(database).await;
        let row = Subscription { due_at: Some(samples::noon()), ..samples::subscription(ada.id) };
        database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, std::slice::from_ref(&row)).await).await;
        for _ in 0..2 {
            let (mut tx, mut due) = soon_due(database).await;
            assert_eq!(due, std::slice::from_ref(&row));
            due[0].due_at = None;
            store::subscriptions::save(&mut tx, &due).await.expect("saved");
            // The daemon dies here.
        }
        if database.db.is_postgres() {
            let (_holder, due) = soon_due(database).await;
            assert_eq!(due.len(), 1);
            let mut other = database.db.begin().await.expect("begun");
            assert!(store::subscriptions::due(&mut other, Timeline::Wall, samples::noon(), LIMIT).await.expect("due").is_empty());
        }
    }

    async fn due_invoices_are_collected_by_one_daemon_each(database: &TestDatabase) {
        let rows = invoices(database, true).await;
        let got = race(&database.db, |db, _| async move {
            until_empty!(db, |tx| {
                let mut due = store::invoices::due(&mut tx, Timeline::Wall, samples::noon(), LIMIT).await.expect("due");
                for invoice in &mut due {
                    (invoice.next_attempt_at, invoice.attempts) = (None, invoice.attempts + 1);
                }
                store::invoices::save(&mut tx, &due).await.expect("saved");
                due
            })
        }).await;
        assert_eq!(got.into_iter().collect::<HashSet<_>>(), rows.iter().map(|row| row.id).collect());
        let tried: (i64,) = database.db.query("select count(*) from invoices where attempts = 1").one().await.expect("count");
        assert_eq!(tried.0, ROWS);
    }

    async fn payments_are_looked_up_by_one_daemon_each(database: &TestDatabase) {
        let rows = unknown_payments(database).await;
        let got = race(&database.db, |db, owner| async move {
            until_empty!(db, |tx| store::leases::claim_lookups::<Payment>(&mut tx, &owner, Some(Timeline::Wall), samples::noon(), samples::minute(5), LIMIT).await.expect("claimed"))
        }).await;
        assert_eq!(got.into_iter().collect::<HashSet<_>>(), rows.iter().map(|row| row.id).collect());
        let tokens: (i64, i64) = database.db.query("select min(lease_token), max(lease_token) from payments").one().await.expect("tokens");
        assert_eq!(tokens, (1, 1), "every claim raises the fencing token");
    }

    async fn refunds_are_looked_up_by_one_daemon_each(database: &TestDatabase) {
        let payments = unknown_payments(database).await;
        let rows: Vec<Refund> = payments.iter().enumerate().map(|(i, payment)| Refund {
            status: RefundStatus::Unknown,
            next_lookup_at: Some(samples::minute(-domain::count(i))),
            ..samples::refund(payment.id, payment.invoice_id)
        }).collect();
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
        let got = race(&database.db, |db, owner| async move {
            until_empty!(db, |tx| store::leases::claim_lookups::<Refund>(&mut tx, &owner, None, samples::noon(), samples::minute(5), LIMIT).await.expect("claimed"))
        }).await;
        assert_eq!(got.into_iter().collect::<HashSet<_>>(), rows.iter().map(|row| row.id).collect());
    }

    async fn clocks_are_moved_by_one_daemon_each(database: &TestDatabase) {
        let row = |_| TestClock { status: ClockStatus::Advancing, target_at: Some(samples::minute(9)), ..samples::clock() };
        let rows: Vec<TestClock> = (0..ROWS).map(row).collect();
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
        let got = race(&database.db, |db, owner| async move {
            until_empty!(db, |tx| store::clocks::claim_advancing(&mut tx, &owner, samples::noon(), samples::minute(1)).await.expect("claimed"))
        }).await;
        assert_eq!(got.into_iter().collect::<HashSet<_>>(), rows.iter().map(|row| row.id).collect());
        let owned: (i64,) = database.db.query("select count(*) from clocks where lease_owner is not null").one().await.expect("count");
        assert_eq!(owned.0, ROWS);
    }

    async fn invoice_numbers_are_given_out_once(database: &TestDatabase) {
        let got = race(&database.db, |db, _| async move {
            let mut numbers = Vec::new();
            for count in 1..20 {
                let mut tx = db.begin().await.expect("begun");
                let first = store::counters::take(&mut tx, store::counters::Series::Invoice, count).await.expect("numbers");
                if count % 5 == 0 {
                    continue; // Rolled back: these are given out again.
                }
                tx.commit().await.expect("committed");
                numbers.extend(first..first + domain::count(count));
            }
            numbers
        }).await;
        let mut sorted = got;
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=domain::count(sorted.len())).collect::<Vec<_>>(), "without a gap");
    }
}
