//! Migrations: the same tables on both databases, harmless when applied again, and never applied to what a newer version made.

use std::collections::{BTreeMap, BTreeSet};

use rebilld::{
    domain::subscription::Subscription,
    store::{self, Db, Error, Tx},
};

use super::{TestDatabase, samples};
use crate::world::On;

async fn both(bare: bool) -> Vec<TestDatabase> {
    let mut grounds = Vec::new();
    for on in [On::Sqlite, On::Postgres] {
        grounds.extend(if bare { TestDatabase::bare(on).await } else { TestDatabase::migrated(on).await });
    }
    grounds
}

/// `table.column` and its type, `not null` or not.
async fn columns(database: &TestDatabase) -> BTreeMap<String, (String, bool)> {
    let sql = if database.db.is_postgres() {
        "select cast(table_name || '.' || column_name as text), cast(data_type as text), is_nullable = 'NO' from information_schema.columns
         where table_schema = 'public'"
    } else {
        "select m.name || '.' || c.name, c.type, c.\"notnull\" or c.pk > 0 from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'"
    };
    let rows: Vec<(String, String, bool)> = database.db.query(sql).all().await.expect("columns");
    let ours = |name: &String| !name.starts_with("_sqlx") && !name.starts_with("sqlite_");
    rows.into_iter().filter(|row| ours(&row.0)).map(|(name, kind, not_null)| (name, (kind, not_null))).collect()
}

/// Indexes that have names of their own.
async fn indexes(database: &TestDatabase) -> BTreeSet<String> {
    let sql = if database.db.is_postgres() {
        "select cast(indexname as text) from pg_indexes where schemaname = 'public' and indexname not like '%key' and indexname not like '%pkey'"
    } else {
        "select name from sqlite_master where type = 'index' and name not like 'sqlite_%'"
    };
    let rows: Vec<(String,)> = database.db.query(sql).all().await.expect("indexes");
    rows.into_iter().map(|row| row.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_have_the_same_tables() {
    let [sqlite, postgres] = &both(false).await[..] else { return };
    let (a, b) = (columns(sqlite).await, columns(postgres).await);
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, (kind, not_null)) in &b {
        assert_eq!(a[name].1, *not_null, "{name}: null on one database only");
        let (instant, text) = (name.ends_with("_at"), &a[name].0);
        assert_eq!(instant, kind == "timestamp with time zone", "{name} is {kind}: instants end in _at, and nothing else does");
        let expected = match kind.as_str() {
            "bigint" | "boolean" => "INTEGER",
            _ => "TEXT",
        };
        assert!(text.eq_ignore_ascii_case(expected), "{name}: {kind} is {text} on SQLite");
        assert_ne!(kind, "timestamp without time zone", "{name}");
    }
    assert_eq!(indexes(sqlite).await, indexes(postgres).await);
}

/// A line of a PostgreSQL migration as its SQLite twin has it.
fn for_sqlite(line: &str) -> String {
    if line == ");" {
        return ") strict;".to_owned();
    }
    let column = line.strip_prefix("    ").and_then(|column| column.split_once(' ')).filter(|(name, _)| *name != "--");
    let Some((name, rest)) = column else { return line.to_owned() };
    let (kind, rest) = rest.split_at(rest.find([' ', ',']).unwrap_or(rest.len()));
    let (kind, check) = match kind {
        "timestamptz" | "date" => ("text", String::new()),
        "bigint" => ("integer", String::new()),
        "boolean" => ("integer", format!(" check ({name} in (0, 1))")),
        "jsonb" => ("text", format!(" check (json_valid({name}))")),
        _ => return line.to_owned(),
    };
    match rest.strip_suffix(',') {
        Some(rest) => format!("    {name} {kind}{rest}{check},"),
        None => format!("    {name} {kind}{rest}{check}"),
    }
}

#[test]
fn both_migrations_are_one_text() {
    let read = |file: &str| std::fs::read_to_string(format!("{}/migrations/{file}", env!("CARGO_MANIFEST_DIR"))).expect("text");
    let (sqlite, postgres) = (read("sqlite/0001_schema.sql"), read("postgres/0001_schema.sql"));
    for (line, (ours, theirs)) in sqlite.lines().zip(postgres.lines().map(for_sqlite)).enumerate() {
        assert_eq!(ours, theirs, "line {}", line + 1);
    }
    assert_eq!(sqlite.lines().count(), postgres.lines().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_twice_is_harmless() {
    for database in both(false).await {
        database.db.check_migrated().await.expect("migrated");
        let ada = samples::full_customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        let before = columns(&database).await;
        database.db.migrate().await.expect("again");
        let other = Db::open(&database.url, 2, false).await.expect("opened");
        other.migrate().await.expect("by another daemon");
        assert_eq!(columns(&database).await, before);
        assert_eq!(store::customers::find(&other, &ada.id.to_string()).await.expect("read"), Some(ada));
        let applied: (i64,) = database.db.query("select count(*) from _sqlx_migrations").one().await.expect("count");
        let known = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).expect("folder").count();
        assert_eq!(applied.0, rebilld::domain::count(known));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_that_start_together_migrate_once() {
    for database in both(true).await {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let url = database.url.clone();
                tokio::spawn(async move { Db::open(&url, 2, true).await.expect("opened").migrate().await })
            })
            .collect();
        for task in tasks {
            task.await.expect("joined").expect("migrated");
        }
        database.db.check_migrated().await.expect("migrated");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_database_is_refused_and_left_alone() {
    for database in both(false).await {
        database
            .run(
                "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             select 9999, 'of tomorrow', success, checksum, 0 from _sqlx_migrations where version = 1",
            )
            .await
            .expect("from the future");
        database.run("drop index events_of_type").await.expect("changed by it");
        let before = (columns(&database).await, indexes(&database).await);
        for refused in [database.db.migrate().await, database.db.check_migrated().await] {
            assert!(matches!(refused, Err(Error::Newer(9999))), "{refused:?}");
            assert!(refused.expect_err("refused").to_string().contains("newer rebilld"));
        }
        assert_eq!((columns(&database).await, indexes(&database).await), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_tables_says_what_to_do() {
    for database in both(true).await {
        let refused = database.db.check_migrated().await;
        assert!(matches!(refused, Err(Error::NotMigrated)), "{refused:?}");
        assert!(refused.expect_err("refused").to_string().contains("rebilld migrate"));
        assert!(columns(&database).await.is_empty(), "looking changes nothing");
        let read: Result<Option<Subscription>, Error> = store::subscriptions::get(&database.db, samples::id()).await;
        assert!(matches!(&read, Err(Error::NotMigrated)), "{read:?}");
        assert!(database.db.begin().await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_says_so() {
    for url in ["mysql://x/y", "", "rebilld.db", "postgresx://"] {
        assert!(matches!(Db::open(url, 2, true).await, Err(Error::BadUrl)), "{url}");
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("none.db");
    assert!(matches!(Db::open(&format!("sqlite://{}", path.display()), 2, false).await, Err(Error::Unreachable(_))));
    assert!(!path.exists(), "only `create` makes a file");
    let closed = Db::open("postgres://u:geheim@127.0.0.1:9/db", 2, false).await;
    let Err(Error::Unreachable(said)) = closed else { panic!("reached") };
    assert!(!said.contains("geheim"), "{said}");
}
