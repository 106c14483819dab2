//! What several daemons agree by: limits of claims, occurrences, instances, held names.

use rebilld::{
    domain::{
        invoice::Invoice,
        payment::{Payment, PaymentStatus},
    },
    store::{self, Db, Tx, instances::Instance, occurrences::Claim},
};

use super::{TestDatabase, on_both, samples};
use crate::world::On;

/// Payments that can be looked up, and whose leases have ended.
async fn fill(database: &TestDatabase, status: PaymentStatus) {
    let ada = samples::customer();
    let invoices: Vec<Invoice> = (0..700).map(|_| samples::invoice(ada.id)).collect();
    let unknown = status == PaymentStatus::Unknown;
    let row = |invoice: &Invoice| Payment {
        status,
        next_lookup_at: unknown.then(samples::noon),
        lease_owner: Some("gone".into()),
        lease_expires_at: (!unknown).then(samples::noon),
        ..samples::payment(invoice)
    };
    let payments: Vec<Payment> = invoices.iter().map(row).collect();
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &payments).await
        })
        .await;
}

/// Under a planner that is left with nothing but the plan that asks a subquery again for each row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plan_makes_a_claim_exceed_its_limit() {
    let Some(database) = TestDatabase::migrated(On::Postgres).await else { return };
    fill(&database, PaymentStatus::Unknown).await;
    let off = ["hashjoin", "mergejoin", "hashagg", "sort", "incremental_sort", "material", "memoize"];
    let options: Vec<String> = off.iter().map(|name| format!("options[enable_{name}]=off")).collect();
    let hostile = Db::open(&format!("{}?{}", database.url, options.join("&")), 2, false).await.expect("database");
    let mut tx = hostile.begin().await.expect("begun");
    let naive = tx.query(
        "update payments set lease_token = lease_token + 1 where id in (
            select id from payments where next_lookup_at <= $1 and status = 'unknown' limit 10 for update skip locked)",
    );
    let naive = naive.bind(samples::noon()).run().await.expect("run");
    assert!(naive > 10, "the planner found a way out, so that this proves nothing: {naive}");
    // A transaction that is merely dropped may hold its rows for a moment more.
    tx.commit().await.expect("committed");
    let mut tx = hostile.begin().await.expect("begun");
    let claimed = store::leases::claim_lookups::<Payment>(&mut tx, "a", None, samples::noon(), samples::minute(5), 10)
        .await
        .expect("claimed");
    assert_eq!(claimed.len(), 10);
    drop(tx);
    database.run("delete from payments").await.expect("emptied");
    fill(&database, PaymentStatus::Pending).await;
    let mut tx = hostile.begin().await.expect("begun");
    assert_eq!(store::leases::expire::<Payment>(&mut tx, samples::noon(), None).await.expect("freed"), 500);
}

fn claim(owner: &str, occurs: i64, now: i64, again: bool) -> Claim<'_> {
    let (occurs_at, now, until) = (samples::minute(occurs), samples::minute(now), samples::minute(now + 5));
    Claim { job: "tidy", owner, occurs_at, now, until, again }
}

on_both! {
    async fn an_occurrence_is_taken_by_one_and_kept_by_that_one(database: &TestDatabase) {
        let take = async |owner: &str, occurs: i64, now: i64, again: bool| {
            database.write(async |tx: &mut Tx| store::occurrences::claim(tx, claim(owner, occurs, now, again)).await).await
        };
        assert_eq!(store::occurrences::of_job(&database.db, "tidy").await.expect("read"), None);
        assert!(take("a", 0, 0, false).await);
        assert!(!take("b", 0, 1, false).await && !take("b", 60, 1, true).await, "while it is under way");
        assert!(!database.write(async |tx: &mut Tx| store::occurrences::keep(tx, "tidy", "b", samples::minute(9)).await).await);
        assert!(database.write(async |tx: &mut Tx| store::occurrences::keep(tx, "tidy", "a", samples::minute(9)).await).await);
        assert!(!take("b", 0, 8, false).await);
        assert!(take("b", 0, 9, false).await, "its taker has gone silent");
        assert!(!database.write(async |tx: &mut Tx| store::occurrences::finish(tx, "tidy", "a", samples::minute(10)).await).await);
        assert!(database.write(async |tx: &mut Tx| store::occurrences::finish(tx, "tidy", "b", samples::minute(10)).await).await);
        assert!(!take("a", 0, 11, false).await && !take("a", -60, 11, false).await, "done");
        assert!(take("a", -60, 11, true).await, "by request");
        let row = store::occurrences::of_job(&database.db, "tidy").await.expect("read").expect("a row");
        assert_eq!((row.occurs_at, row.lease_owner.as_deref()), (samples::minute(0), Some("a")), "never back");
        // Its next life.
        assert_eq!(database.write(async |tx: &mut Tx| store::occurrences::release(tx, samples::minute(12), "a").await).await, 1);
        assert!(take("c", 60, 12, false).await);
    }

    async fn an_instance_is_known_by_its_latest_life(database: &TestDatabase) {
        let life = |token: &str, now: i64| Instance {
            name: "a".into(), token: token.into(), version: "1".into(), started_at: samples::minute(now), seen_at: samples::minute(now), stopped_at: None,
        };
        let beat = async |token: &str, now: i64| database.write(async |tx: &mut Tx| store::instances::beat(tx, "a", token, samples::minute(now)).await).await;
        database.write(async |tx: &mut Tx| store::instances::arrive(tx, life("x", 0)).await).await;
        assert!(beat("x", 1).await);
        database.write(async |tx: &mut Tx| store::instances::leave(tx, "a", "x", samples::minute(2)).await).await;
        database.write(async |tx: &mut Tx| store::instances::arrive(tx, life("y", 3)).await).await;
        assert!(!beat("x", 4).await, "another goes by its name now");
        database.write(async |tx: &mut Tx| store::instances::leave(tx, "a", "x", samples::minute(4)).await).await;
        assert_eq!(store::instances::get(&database.db, "a").await.expect("read"), Some(life("y", 3)));
        let clock = rebilld::domain::clock::TestClock { lease_owner: Some("a".into()), lease_expires_at: Some(samples::noon()), ..samples::clock() };
        database.write(async |tx: &mut Tx| store::clocks::insert(tx, clock).await).await;
        let all = store::instances::all(&database.db).await.expect("read");
        assert_eq!((all.len(), all[0].payments_claimed, all[0].clocks_claimed), (1, 0, 1));
        assert_eq!(database.write(async |tx: &mut Tx| store::instances::remove_older(tx, samples::minute(3)).await).await, 0);
        assert_eq!(database.write(async |tx: &mut Tx| store::instances::remove_older(tx, samples::minute(4)).await).await, 1);
    }

    async fn a_name_is_held_by_one_connection(database: &TestDatabase) {
        let db: &Db = &database.db;
        let mut first = db.try_lock_name("a").await.expect("asked").expect("free");
        assert!(first.is_kept().await);
        assert!(database.db.try_lock_name("b").await.expect("asked").is_some(), "another name");
        assert_eq!(database.db.try_lock_name("a").await.expect("asked").is_none(), database.db.is_postgres(), "SQLite is for one daemon");
        first.unlock().await;
        assert!(database.db.clone().with_statement_timeout(std::time::Duration::from_secs(9)).try_lock_name("a").await.expect("asked").is_some());
    }
}
