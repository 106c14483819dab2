//! The adapter over both databases: many rows by one statement, lists, transactions that leave no trace, errors that keep secrets.

use std::sync::atomic::Ordering;

use rebilld::{
    domain::customer::Customer,
    store::{self, Db, Error, Tx, db::Row, runs::JobRun},
};

use super::{TestDatabase, on_both, samples};

fn many(count: usize) -> Vec<JobRun> {
    (0..count).map(|_| samples::job_run()).collect()
}

async fn runs(database: &TestDatabase) -> Vec<JobRun> {
    database.db.query("select * from job_runs order by id").all().await.expect("runs")
}

on_both! {
    async fn statistics_cost_no_row_and_every_table_is_seen(database: &TestDatabase) {
        let written = many(20);
        database.write(async |tx: &mut Tx| tx.insert_rows(&written).await).await;
        database.db.run_maintenance().await.expect("settled");
        assert_eq!(runs(database).await, written);
        let names = database.db.table_names().await.expect("names");
        assert!(store::tables::TABLES.iter().all(|table| names.contains(&table.name.to_owned())), "{names:?}");
    }

    async fn none_one_and_a_thousand_rows_are_one_statement(database: &TestDatabase) {
        let mut written = Vec::new();
        for count in [0, 1, 1000] {
            let rows = many(count);
            let before = database.db.tally().statements.load(Ordering::Relaxed);
            database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
            assert_eq!(database.db.tally().statements.load(Ordering::Relaxed) - before, u64::from(count > 0), "{count} rows");
            written.extend(rows);
            assert_eq!(runs(database).await, written);
        }
        for count in [0, 1, 1000] {
            for run in written.iter_mut().take(count) {
                run.error = Some(format!("{}{}", samples::HARD, run.id));
                run.instance = "not asked for".into();
            }
            let changed = database.write(async |tx: &mut Tx| tx.update_rows(&written[..count], &["error", "ended_at"]).await).await;
            assert_eq!(changed, count as u64);
            for run in &mut written {
                run.instance = String::new();
            }
            assert_eq!(runs(database).await, written, "only the columns that are named");
        }
        let gone = samples::job_run();
        assert_eq!(database.write(async |tx: &mut Tx| tx.update_rows(&[gone], &["error"]).await).await, 0);
    }

    async fn one_clash_and_none_is_inserted(database: &TestDatabase) {
        let mut rows = many(1000);
        rows.push(rows[500].clone());
        assert!(matches!(database.refused(async |tx: &mut Tx| tx.insert_rows(&rows).await).await, Error::Conflict));
        assert_eq!(database.count("job_runs").await, 0);
    }

    async fn lists_take_any_text_and_none(database: &TestDatabase) {
        let mut rows = many(3);
        rows[1].job = samples::hard();
        rows[2].job = "' or 1 = 1 --".into();
        database.write(async |tx: &mut Tx| tx.insert_rows(&rows).await).await;
        for (list, found) in [
            (vec![], vec![]),
            (vec![samples::HARD], vec![1]),
            (vec!["' or 1 = 1 --", samples::HARD, "nobody", samples::HARD], vec![1, 2]),
        ] {
            let got: Vec<JobRun> = database.db.query("select * from job_runs where job in list($1) and result = $2 order by id")
                .bind_list(&list).bind("ok".to_owned()).all().await.expect("rows");
            assert_eq!(got, found.into_iter().map(|i: usize| rows[i].clone()).collect::<Vec<_>>(), "{list:?}");
        }
        let all: Vec<String> = (0..2000).map(|i| format!("{i}")).chain([samples::hard()]).collect();
        let got: Vec<JobRun> = database.db.query("select * from job_runs where job in list($1)").bind_list(all).all().await.expect("rows");
        assert_eq!(got.len(), 1);
    }

    async fn what_is_not_committed_leaves_no_trace(database: &TestDatabase) {
        let customer = samples::customer();
        {
            let mut tx = database.db.begin().await.expect("begun");
            store::customers::insert(&mut tx, &customer).await.expect("written");
            assert_eq!(store::counters::take(&mut tx, store::counters::Series::Invoice, 5).await.expect("numbers"), 1);
            assert!(store::customers::lock(&mut tx, &customer.id.to_string()).await.expect("read").is_some(), "seen inside");
            assert!(store::customers::find(&database.db, &customer.id.to_string()).await.expect("read").is_none(), "not outside");
        }
        assert_eq!(database.count("customers").await, 0);
        assert_eq!(database.write(async |tx: &mut Tx| store::counters::take(tx, store::counters::Series::Invoice, 1).await).await, 1, "numbers have no gap");
        // A failed statement takes everything before it along.
        database.refused(async |tx: &mut Tx| {
            store::customers::insert(tx, &customer).await?;
            store::customers::insert(tx, &customer).await
        }).await;
        assert_eq!(database.count("customers").await, 0);
        // The connection that was dropped half-way serves the next one.
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &customer).await).await;
        assert_eq!(database.count("customers").await, 1);
    }

    async fn a_forgotten_bind_is_an_error(database: &TestDatabase) {
        let short: Result<Vec<JobRun>, Error> = database.db.query("select * from job_runs where job = $1 and id = $2").bind("x".to_owned()).all().await;
        assert!(matches!(short, Err(Error::Parameters { wanted: 2, given: 1, .. })), "{short:?}");
        let long = database.db.query("delete from job_runs").bind("x".to_owned()).run().await;
        assert!(matches!(long, Err(Error::Parameters { wanted: 0, given: 1, .. })), "{long:?}");
        let none: Result<JobRun, Error> = database.db.query("select * from job_runs").one().await;
        assert!(matches!(none, Err(Error::Database(_))), "{none:?}");
        let none: Option<JobRun> = database.db.query("select * from job_runs").optional().await.expect("read");
        assert_eq!(none, None);
    }

    async fn errors_never_tell_values(database: &TestDatabase) {
        const SECRET: &str = "topsecret4242";
        let ada = Customer { reference: Some(SECRET.into()), name: SECRET.into(), email: Some(SECRET.into()), ..samples::customer() };
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        let twin = Customer { id: samples::id(), ..ada.clone() };
        let broke = Customer { id: samples::id(), reference: None, balance: -4242, ..ada.clone() };
        let mut errors = vec![
            database.refused(async |tx: &mut Tx| store::customers::insert(tx, &twin).await).await,
            database.refused(async |tx: &mut Tx| store::customers::insert(tx, &broke).await).await,
        ];
        // Values that the database itself cannot read; a version that is not this one may have written them.
        for sql in [
            "update customers set balance = cast($1 as bigint) where reference is not null and cast($1 as bigint) > 0",
            "update customers set metadata = $1 where reference = $1",
            "insert into counters (name, value) values ('x', $1)",
            "insert into job_runs (id, job, instance, result, counts, started_at) values ($1, $1, $1, $1, $1, $1)",
        ] {
            errors.extend(database.db.query(sql).bind(SECRET.to_owned()).run().await.err());
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Broken {
            id: String,
            amount: String,
            created_at: String,
            anchor_date: String,
        }
        impl Row for Broken {
            const TABLE: &'static str = "subscriptions";
        }
        for column in 0..3 {
            let of = |at: usize, good: &str| if at == column { SECRET.to_owned() } else { good.to_owned() };
            let row = Broken {
                id: SECRET.into(),
                amount: of(0, "1"),
                created_at: of(1, "2026-01-01T00:00:00Z"),
                anchor_date: of(2, "2026-01-01"),
            };
            errors.push(database.refused(async |tx: &mut Tx| tx.insert_rows(&[row]).await).await);
        }
        for column in ["currency", "timezone", "timeline"] {
            database.run(format!("update customers set {column} = '{SECRET}'")).await.expect("written around the types");
            errors.extend(store::customers::find(&database.db, SECRET).await.err());
            database.run("update customers set currency = 'USD', timezone = 'UTC', timeline = 'wall'").await.expect("mended");
        }
        database.write(async |tx: &mut Tx| store::plans::insert(tx, &samples::full_plan()).await).await;
        for change in ["catch_up = 'topsecret4242'", "billing_frequency = 'topsecret4242'", "add_ons = '[{\"id\": \"topsecret4242\", \"amount\": \"topsecret4242\"}]'"] {
            database.run(format!("update plans set {change}")).await.expect("written around the types");
            errors.extend(store::plans::find(&database.db, samples::HARD).await.err());
        }
        assert!(errors.len() >= 12, "{errors:?}");
        for error in errors {
            let (shown, debug) = (error.to_string(), format!("{error:?}"));
            assert!(!shown.contains(SECRET) && !debug.contains(SECRET) && !debug.contains("4242"), "{debug}");
            assert!(shown.len() > 10, "{shown}");
        }
    }

    async fn what_only_one_database_can_keep_is_kept_by_none(database: &TestDatabase) {
        // U+0000: PostgreSQL has no place for it. A gateway may send it; the outcome must be recorded all the same.
        let mut event = samples::event("a.b", "nul\0in it");
        event.data = serde_json::json!({"message": "a\0b", "said": "\\u0000", "a\0key": ["\\\0"]});
        database.write(async |tx: &mut Tx| store::events::append(tx, &[event]).await).await;
        let back: rebilld::domain::event::Event = database.db.query("select * from events").one().await.expect("read");
        assert_eq!(back.subject, "nul\u{fffd}in it");
        assert_eq!(back.data, serde_json::json!({"message": "a\u{fffd}b", "said": "\\u0000", "a\u{fffd}key": ["\\\u{fffd}"]}));
    }

    async fn a_closed_database_says_so(database: &TestDatabase) {
        assert_eq!(database.db.is_postgres(), database.url.starts_with("postgres"));
        let before = database.db.tally().commits.load(Ordering::Relaxed);
        database.write(async |tx: &mut Tx| store::runs::insert(tx, samples::job_run()).await).await;
        assert_eq!(database.db.tally().commits.load(Ordering::Relaxed), before + 1);
        let other = Db::open(&database.url, 2, false).await.expect("opened again");
        other.close().await;
        assert!(other.begin().await.is_err());
        assert_eq!(database.count("job_runs").await, 1);
    }
}
