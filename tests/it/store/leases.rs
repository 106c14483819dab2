//! Claims that end: by time, by a daemon's next life, by a newer claim. Who comes back too late changes nothing.

use rebilld::{
    domain::{
        clock::{ClockStatus, TestClock, Timeline},
        invoice::Invoice,
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundStatus},
    },
    store::{self, Tx},
};

use super::{TestDatabase, on_both, samples};

/// Payments on invoices of their own.
async fn payments(database: &TestDatabase, rows: Vec<Payment>) -> Vec<Payment> {
    let ada = samples::customer();
    let invoices: Vec<Invoice> =
        rows.iter().map(|payment| Invoice { id: payment.invoice_id, ..samples::invoice(ada.id) }).collect();
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &rows).await
        })
        .await;
    rows
}

fn payment(status: PaymentStatus, owner: Option<&str>, expires: Option<i64>, look_up: Option<i64>) -> Payment {
    Payment {
        status,
        lease_owner: owner.map(str::to_owned),
        lease_expires_at: expires.map(samples::minute),
        next_lookup_at: look_up.map(samples::minute),
        ..samples::payment(&Invoice { id: samples::id(), ..samples::invoice(samples::id()) })
    }
}

async fn read(database: &TestDatabase, payment: &Payment) -> Payment {
    store::payments::get(&database.db, payment.id).await.expect("read").expect("payment")
}

on_both! {
    async fn a_silent_daemons_payments_become_unknown(database: &TestDatabase) {
        use PaymentStatus::*;
        let rows = payments(database, vec![
            payment(Pending, Some("a"), Some(0), None),
            payment(Authorized, Some("b"), Some(-1), None),
            payment(Pending, Some("a"), Some(1), None),
            payment(Pending, Some("b"), Some(1), None),
            payment(Succeeded, Some("a"), Some(-1), None),
            payment(Pending, None, None, None),
        ]).await;
        let expired = database.write(async |tx: &mut Tx| store::leases::expire::<Payment>(tx, samples::noon(), None).await).await;
        assert_eq!(expired, 2, "whose time is over, to the microsecond");
        for row in &rows[..2] {
            let now = read(database, row).await;
            assert_eq!(now, Payment { status: Unknown, next_lookup_at: Some(samples::noon()), lease_owner: None, lease_expires_at: None, lease_token: 1, ..row.clone() });
            // Its first claimer comes back: too late.
            let renewed = database.write(async |tx: &mut Tx| store::leases::renew_lease(tx, row, samples::minute(5), samples::minute(9)).await).await;
            assert!(!renewed);
            assert_eq!(read(database, row).await, now);
        }
        let restarted = database.write(async |tx: &mut Tx| store::leases::expire::<Payment>(tx, samples::noon(), Some("a")).await).await;
        assert_eq!(restarted, 1, "a restarted daemon frees its own");
        assert_eq!(read(database, &rows[2]).await.status, Unknown);
        for row in &rows[3..] {
            assert_eq!(&read(database, row).await, row);
        }
        assert_eq!(store::payments::undecided(&database.db, Timeline::Wall).await.expect("count"), 5);
        assert_eq!(store::payments::undecided(&database.db, Timeline::Test(samples::id())).await.expect("count"), 0);
    }

    async fn a_lease_is_renewed_by_its_holder_only(database: &TestDatabase) {
        let rows = payments(database, vec![
            payment(PaymentStatus::Pending, Some("a"), Some(1), None),
            payment(PaymentStatus::Unknown, Some("a"), None, Some(0)),
        ]).await;
        for (row, token, renewed) in [(&rows[0], 0, true), (&rows[0], 1, false), (&rows[0], -1, false), (&rows[1], 0, false)] {
            let claimed = Payment { lease_token: token, ..row.clone() };
            let done = database.write(async |tx: &mut Tx| store::leases::renew_lease(tx, &claimed, samples::minute(5), samples::minute(7)).await).await;
            assert_eq!(done, renewed, "{} with {token}", row.status);
        }
        assert_eq!(read(database, &rows[0]).await.lease_expires_at, Some(samples::minute(7)));
        assert_eq!(&read(database, &rows[1]).await, &rows[1]);
    }

    async fn a_look_up_falls_due_again_if_its_claimer_dies(database: &TestDatabase) {
        use PaymentStatus::*;
        let test = Timeline::Test(samples::id());
        let rows = payments(database, vec![
            payment(Unknown, None, None, Some(0)),
            payment(Unknown, None, None, Some(1)),
            Payment { timeline: test, ..payment(Unknown, None, None, Some(-9)) },
            payment(Parked, None, None, Some(-9)),
            payment(Unknown, None, None, None),
        ]).await;
        let claim = async |owner: &str, timeline, now: i64| {
            let claimed = database.write(async |tx: &mut Tx| store::leases::claim_lookups::<Payment>(tx, owner, timeline, samples::minute(now), samples::minute(now + 5), 10).await).await;
            claimed.iter().map(|payment| rows.iter().position(|row| row.id == payment.id).expect("one of them")).collect::<Vec<_>>()
        };
        assert_eq!(store::leases::earliest_lookup::<Payment>(&database.db, Timeline::Wall).await.expect("read"), Some(samples::noon()));
        assert_eq!(store::leases::earliest_lookup::<Payment>(&database.db, test).await.expect("read"), Some(samples::minute(-9)));
        assert_eq!(store::leases::earliest_lookup::<Payment>(&database.db, Timeline::Test(samples::id())).await.expect("read"), None);
        assert_eq!(claim("a", Some(Timeline::Wall), 0).await, [0]);
        assert_eq!(claim("b", None, 0).await, [2], "of any timeline");
        assert_eq!(claim("b", None, 0).await, [0_usize; 0]);
        assert_eq!(claim("b", Some(Timeline::Wall), 4).await, [1]);
        assert_eq!(claim("b", Some(Timeline::Wall), 5).await, [0], "the first claimer has gone silent");
        assert_eq!(read(database, &rows[0]).await.lease_token, 2);
        // `b` starts again: what it had claimed is due at once.
        let freed = database.write(async |tx: &mut Tx| store::leases::release_lookups::<Payment>(tx, samples::minute(6), "b").await).await;
        assert_eq!(freed, 3);
        let mut again = claim("c", None, 6).await;
        again.sort_unstable();
        assert_eq!(again, [0, 1, 2]);
    }

    async fn a_look_up_is_kept_by_its_claimer_only(database: &TestDatabase) {
        use PaymentStatus::*;
        let rows = payments(database, vec![
            payment(Unknown, Some("a"), None, Some(0)),
            payment(Unknown, Some("b"), None, Some(0)),
            payment(Unknown, None, None, Some(0)),
            payment(Pending, Some("a"), Some(1), None),
            payment(Unknown, Some("a"), None, Some(0)),
        ]).await;
        let ids: Vec<_> = rows[..4].iter().map(|row| row.id).collect();
        let kept = database.write(async |tx: &mut Tx| store::leases::keep_lookups::<Payment>(tx, "a", &ids, samples::minute(7)).await).await;
        assert_eq!(kept, 1);
        assert_eq!(read(database, &rows[0]).await.next_lookup_at, Some(samples::minute(7)));
        for row in &rows[1..] {
            assert_eq!(&read(database, row).await, row);
        }
    }

    async fn the_oldest_look_up_comes_first(database: &TestDatabase) {
        let rows = payments(database, [5, -3, 1, -8, 0].map(|at| payment(PaymentStatus::Unknown, None, None, Some(at))).to_vec()).await;
        let claimed = database.write(async |tx: &mut Tx| store::leases::claim_lookups::<Payment>(tx, "a", None, samples::noon(), samples::minute(5), 2).await).await;
        let mut ids: Vec<_> = claimed.iter().map(|payment| payment.id).collect();
        ids.sort();
        assert_eq!(ids, [rows[1].id, rows[3].id]);
    }

    async fn a_silent_daemons_refunds_become_unknown(database: &TestDatabase) {
        let payments = payments(database, (0..5).map(|_| payment(PaymentStatus::Succeeded, None, None, None)).collect()).await;
        let refund = |i: usize, status, owner: &str, expires: Option<i64>, look_up: Option<i64>| Refund {
            status,
            lease_owner: Some(owner.into()),
            lease_expires_at: expires.map(samples::minute),
            next_lookup_at: look_up.map(samples::minute),
            ..samples::refund(payments[i].id, payments[i].invoice_id)
        };
        let rows = [
            refund(0, RefundStatus::Pending, "a", Some(0), None),
            refund(1, RefundStatus::Pending, "a", Some(1), None),
            refund(2, RefundStatus::Pending, "b", Some(1), None),
            refund(3, RefundStatus::Refused, "a", Some(-1), None),
            refund(4, RefundStatus::Unknown, "b", None, Some(3)),
        ];
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::expire::<Refund>(tx, samples::noon(), None).await).await, 1);
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::expire::<Refund>(tx, samples::noon(), Some("a")).await).await, 1);
        let claimed = database.write(async |tx: &mut Tx| store::leases::claim_lookups::<Refund>(tx, "c", None, samples::noon(), samples::minute(5), 10).await).await;
        let mut ids: Vec<_> = claimed.iter().map(|refund| refund.id).collect();
        ids.sort();
        assert_eq!(ids, [rows[0].id, rows[1].id]);
        assert!(claimed.iter().all(|refund| refund.lease_owner.as_deref() == Some("c") && refund.next_lookup_at == Some(samples::minute(5))));
        assert!(claimed.iter().all(|refund| refund.lease_token == 2), "one for the lease that ended, one for the claim");
        assert!(database.write(async |tx: &mut Tx| store::leases::claim_lookups::<Refund>(tx, "d", None, samples::noon(), samples::minute(5), 10).await).await.is_empty());
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::claim_lookups::<Refund>(tx, "d", None, samples::minute(3), samples::minute(5), 1).await).await[0].id, rows[4].id);
    }

    async fn a_restarted_daemons_refunds_are_looked_up_at_once(database: &TestDatabase) {
        let payments = payments(database, (0..3).map(|_| payment(PaymentStatus::Succeeded, None, None, None)).collect()).await;
        let refund = |i: usize, owner: &str, status, look_up: Option<i64>| Refund {
            status,
            lease_owner: Some(owner.into()),
            next_lookup_at: look_up.map(samples::minute),
            ..samples::refund(payments[i].id, payments[i].invoice_id)
        };
        let rows = [
            refund(0, "a", RefundStatus::Unknown, Some(9)),
            refund(1, "b", RefundStatus::Unknown, Some(9)),
            refund(2, "a", RefundStatus::Succeeded, None),
        ];
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
        assert_eq!(store::leases::earliest_lookup::<Refund>(&database.db, Timeline::Wall).await.expect("read"), Some(samples::minute(9)));
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::release_lookups::<Refund>(tx, samples::noon(), "a").await).await, 1);
        let claimed = database.write(async |tx: &mut Tx| store::leases::claim_lookups::<Refund>(tx, "c", None, samples::noon(), samples::minute(5), 10).await).await;
        assert_eq!(claimed.iter().map(|refund| refund.id).collect::<Vec<_>>(), [rows[0].id]);
    }

    async fn a_clocks_claim_is_renewed_by_its_holder_only(database: &TestDatabase) {
        let row = TestClock { lease_owner: Some("a".into()), lease_expires_at: Some(samples::minute(1)), ..samples::clock() };
        database.write(async |tx: &mut Tx| store::clocks::insert(tx, row.clone()).await).await;
        for (id, owner, renewed) in [(row.id, "b", false), (samples::id(), "a", false), (row.id, "a", true)] {
            assert_eq!(database.write(async |tx: &mut Tx| store::clocks::renew_claim(tx, id, owner, samples::minute(9)).await).await, renewed, "{owner}");
        }
        let now = store::clocks::get(&database.db, row.id).await.expect("read");
        assert_eq!(now, Some(TestClock { lease_expires_at: Some(samples::minute(9)), ..row }));
    }

    async fn clocks_are_freed_by_time_and_by_a_restart(database: &TestDatabase) {
        let on_its_way = |owner: Option<&str>, expires: Option<i64>| TestClock {
            status: ClockStatus::Advancing,
            target_at: Some(samples::minute(99)),
            lease_owner: owner.map(str::to_owned),
            lease_expires_at: expires.map(samples::minute),
            ..samples::clock()
        };
        let rows = [on_its_way(None, None), on_its_way(Some("a"), Some(0)), on_its_way(Some("a"), Some(1)), on_its_way(Some("b"), Some(1)), samples::clock()];
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
        let claim = async |owner: &str| {
            let mut ids: Vec<_> = database.write(async |tx: &mut Tx| store::clocks::claim_advancing(tx, owner, samples::noon(), samples::minute(2)).await).await
                .iter().map(|clock| clock.id).collect();
            ids.sort();
            ids
        };
        assert_eq!(claim("c").await, [rows[0].id, rows[1].id]);
        assert_eq!(database.write(async |tx: &mut Tx| store::clocks::release_claims(tx, "a").await).await, 1);
        assert_eq!(claim("d").await, [rows[2].id]);
    }

    async fn one_at_a_time_moves_a_clock(database: &TestDatabase) {
        let row = samples::clock();
        database.write(async |tx: &mut Tx| store::clocks::insert(tx, row.clone()).await).await;
        let mut first = database.db.begin().await.expect("begun");
        let seen = store::clocks::lock(&mut first, row.id).await.expect("read").expect("clock");
        let (db, id) = (database.db.clone(), row.id);
        let second = tokio::spawn(async move {
            let mut tx = db.begin().await.expect("begun");
            let clock = store::clocks::lock(&mut tx, id).await.expect("read").expect("clock");
            store::clocks::save(&mut tx, TestClock { now_at: clock.now_at + chrono::Duration::minutes(5), ..clock }).await.expect("moved");
            tx.commit().await.expect("committed");
        });
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        assert!(!second.is_finished(), "two read the same clock to move it");
        assert_eq!(store::clocks::hold(&mut first, row.id).await.expect("read"), Some(seen.clone()));
        store::clocks::save(&mut first, TestClock { now_at: samples::minute(1), ..seen }).await.expect("moved");
        first.commit().await.expect("committed");
        second.await.expect("moved");
        assert_eq!(store::clocks::get(&database.db, row.id).await.expect("read").expect("clock").now_at, samples::minute(6), "no move is lost");
    }

    async fn a_clock_stands_still_while_it_is_read(database: &TestDatabase) {
        let row = samples::clock();
        database.write(async |tx: &mut Tx| store::clocks::insert(tx, row.clone()).await).await;
        let mut reader = database.db.begin().await.expect("begun");
        let seen = store::clocks::hold(&mut reader, row.id).await.expect("read").expect("clock");
        let (db, id) = (database.db.clone(), row.id);
        let mover = tokio::spawn(async move {
            let mut tx = db.begin().await.expect("begun");
            let clock = store::clocks::lock(&mut tx, id).await.expect("read").expect("clock");
            store::clocks::save(&mut tx, TestClock { now_at: samples::minute(5), ..clock }).await.expect("moved");
            tx.commit().await.expect("committed");
        });
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        assert!(!mover.is_finished(), "it moved under a reader");
        assert_eq!(store::clocks::hold(&mut reader, row.id).await.expect("read").expect("clock"), seen);
        if database.db.is_postgres() {
            // Any number may hold it still at once.
            let mut other = database.db.begin().await.expect("begun");
            tokio::time::timeout(std::time::Duration::from_secs(5), store::clocks::hold(&mut other, row.id)).await.expect("at once").expect("read");
        }
        drop(reader);
        mover.await.expect("moved");
        assert_eq!(store::clocks::get(&database.db, row.id).await.expect("read").expect("clock").now_at, samples::minute(5));
    }

    async fn an_idle_clock_with_work_is_claimed_by_one(database: &TestDatabase) {
        let of = |owner: Option<&str>, expires: Option<i64>| TestClock { lease_owner: owner.map(str::to_owned), lease_expires_at: expires.map(samples::minute), ..samples::clock() };
        let rows = [of(None, None), of(None, None), of(None, None), of(Some("a"), Some(1)), of(Some("a"), Some(0)),
            TestClock { status: ClockStatus::Advancing, target_at: Some(samples::minute(9)), ..of(None, None) }];
        let any = async || store::clocks::any_to_claim(&database.db, samples::noon()).await.expect("read");
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows[5..]).await).await;
        assert!(any().await, "it is on its way");
        database.write(async |tx: &mut Tx| store::clocks::claim_advancing(tx, "z", samples::noon(), samples::minute(5)).await).await;
        assert!(!any().await, "somebody moves it");
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows[..5]).await).await;
        assert!(!any().await);
        let ada = samples::customer();
        let due = |i: usize, at: i64| rebilld::domain::subscription::Subscription { timeline: Timeline::Test(rows[i].id), due_at: Some(samples::minute(at)), ..samples::subscription(ada.id) };
        let owed = Invoice { timeline: Timeline::Test(rows[1].id), next_attempt_at: Some(samples::noon()), ..samples::invoice(ada.id) };
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::subscriptions::insert(tx, &[due(0, 0), due(2, 1), due(3, 0), due(4, 0), due(5, 0)]).await?;
            store::invoices::insert(tx, &[owed]).await
        }).await;
        assert!(any().await);
        let claim = async |owner: &str, now: i64| {
            let mut ids: Vec<_> = database.write(async |tx: &mut Tx| store::clocks::claim_idle_with_work(tx, owner, samples::minute(now), samples::minute(now + 5)).await).await
                .iter().map(|clock| clock.id).collect();
            ids.sort();
            ids
        };
        // By its own clock 2 has nothing due, 3 is somebody's, 5 is on its way.
        assert_eq!(claim("b", 0).await, [rows[0].id, rows[1].id, rows[4].id]);
        assert_eq!(claim("c", 0).await, []);
        assert_eq!(claim("c", 1).await, [rows[3].id]);
        assert!(database.write(async |tx: &mut Tx| store::clocks::hold_idle(tx, rows[0].id).await).await.is_none(), "somebody works on it");
    }

    async fn a_clock_sets_out_once_and_is_kept_from_it(database: &TestDatabase) {
        let row = samples::clock();
        database.write(async |tx: &mut Tx| store::clocks::insert(tx, row.clone()).await).await;
        assert!(database.write(async |tx: &mut Tx| store::clocks::hold_idle(tx, row.id).await).await.is_some());
        let started = database.write(async |tx: &mut Tx| store::clocks::start(tx, row.id, samples::minute(5)).await).await.expect("started");
        assert_eq!(started, TestClock { status: ClockStatus::Advancing, target_at: Some(samples::minute(5)), ..row.clone() });
        assert!(database.write(async |tx: &mut Tx| store::clocks::start(tx, row.id, samples::minute(9)).await).await.is_none());
        assert!(database.write(async |tx: &mut Tx| store::clocks::hold_idle(tx, row.id).await).await.is_none());
        assert!(database.write(async |tx: &mut Tx| store::clocks::start(tx, samples::id(), samples::minute(9)).await).await.is_none());
        assert!(database.write(async |tx: &mut Tx| store::clocks::lock(tx, samples::id()).await).await.is_none());
    }
}
