//! `rebilld export`: every table, the same text from both databases, and no secret.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use rebilld::{
    domain::{
        clock::TestClock, customer::Customer, event::Event, invoice::Invoice, payment::Payment, payment_method::PaymentMethod,
        subscription::Subscription,
    },
    store::{
        Db,
        db::{Record, Row},
        page,
        tables::TABLES,
    },
};
use serde_json::Value;

use super::Desk;
use crate::world::{On, World};

/// A story with everything that is written differently: dates, instants, flags, JSON, nulls, awkward text.
async fn story(world: &World) {
    for (i, zone) in ["Europe/Berlin", "Asia/Tokyo"].into_iter().enumerate() {
        let customer = world.customer(zone).await;
        let token = if i == 0 { world.token() } else { world.prior() };
        world.method(customer, i == 1, &token).await;
        let mut subscription = world.monthly(customer, "2026-01-31").await;
        subscription.description = "Gym, \"the big one\"\nwith a pool – ünïcode".into();
        subscription.metadata = serde_json::from_str(r#"{"zz": 1, "a": {"n": 12.5, "x": null, "list": [true]}}"#).expect("JSON");
        world.add(subscription).await;
    }
    world.advance("2026-04-02T00:00:00Z").await;
}

async fn copy<T: Row + Record>(from: &Db, to: &Db) {
    let all = page::Request { limit: 100_000, ..page::Request::default() };
    let rows = page::list::<T>(from, all).await.expect("rows").rows;
    let mut tx = to.begin().await.expect("tx");
    tx.insert_rows(&rows).await.expect("copied");
    tx.commit().await.expect("commit");
}

async fn files(url: &str, format: &str) -> BTreeMap<String, String> {
    let desk = Desk::of(url);
    let said = desk.say(&["export", "--format", format, "--out", "out"]).await;
    assert!(said.ok, "{}", said.err);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(desk.path("out")).expect("folder").flatten() {
        assert_eq!(entry.metadata().expect("metadata").permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
        let name = entry.file_name().into_string().expect("name");
        files.insert(name, fs::read_to_string(entry.path()).expect("text"));
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_give_the_same_text() {
    let Some(sqlite) = World::new(On::Sqlite).await else { return };
    let Some(postgres) = World::new(On::Postgres).await else { return };
    story(&sqlite).await;
    let (from, to) = (&sqlite.app.db, &postgres.app.db);
    let mut tx = to.begin().await.expect("tx");
    tx.query("delete from clocks").run().await.expect("empty");
    tx.query("delete from counters").run().await.expect("empty");
    tx.query("insert into counters (name, value) values ('credit_note', 0), ('invoice', 6)").run().await.expect("counter");
    tx.commit().await.expect("commit");
    copy::<TestClock>(from, to).await;
    copy::<Customer>(from, to).await;
    copy::<PaymentMethod>(from, to).await;
    copy::<Subscription>(from, to).await;
    copy::<Invoice>(from, to).await;
    copy::<Payment>(from, to).await;
    copy::<Event>(from, to).await;
    for format in ["csv", "jsonl"] {
        let (ours, theirs) = (files(&sqlite.url, format).await, files(&postgres.url, format).await);
        assert_eq!(ours.len(), TABLES.len());
        for (name, text) in &ours {
            assert_eq!(Some(text), theirs.get(name), "{name}");
        }
        let rows = |table: &str| {
            let text = &ours[&format!("{table}.{format}")];
            if format == "csv" { csv::Reader::from_reader(text.as_bytes()).records().count() } else { text.lines().count() }
        };
        assert_eq!((rows("payments"), rows("add_ons")), (6, 0), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_reads_back_as_what_is_stored() {
    let world = World::new(On::Sqlite).await.expect("SQLite");
    story(&world).await;
    let desk = Desk::of(&world.url);
    let made = desk.say(&["keys", "create", "--scope", "read"]).await;
    assert!(made.ok, "{}", made.err);
    let digest = rebilld::billing::api_keys::digest(made.out.trim());

    let all = desk.say(&["export", "--format", "jsonl"]).await;
    assert!(all.ok, "{}", all.err);
    let rows: Vec<Value> = all.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |table: &str| rows.iter().filter(|row| row["table"] == table).map(|row| row["row"].clone()).collect::<Vec<_>>();
    assert_eq!(
        of("invoices"),
        world.invoices().await.iter().map(|row| serde_json::to_value(row).expect("JSON")).collect::<Vec<_>>()
    );
    assert_eq!((of("api_keys").len(), of("events").len()), (1, world.events(None).await.len()));
    assert!(!all.out.contains(&digest) && !all.out.contains(made.out.trim()), "a secret was exported");

    let invoices = desk.say(&["export", "--format", "csv", "--table", "subscriptions"]).await;
    let mut reader = csv::Reader::from_reader(invoices.out.as_bytes());
    let header = reader.headers().expect("header").clone();
    let column = header.iter().position(|name| name == "description").expect("column");
    let texts: Vec<String> = reader.records().map(|row| row.expect("row")[column].to_owned()).collect();
    assert_eq!(texts, ["Gym, \"the big one\"\nwith a pool – ünïcode"; 2]);

    for (arguments, part) in [
        (&["export", "--format", "csv"][..], "CSV to stdout can hold one table only"),
        (&["export", "--format", "csv", "--table", "nix"], "there is no such table; there are counters, clocks"),
        (&["export"], "--format"),
    ] {
        let said = desk.say(arguments).await;
        assert!(!said.ok && said.err.contains(part), "{arguments:?}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_longer_than_a_page_are_whole() {
    for on in [On::Sqlite, On::Postgres] {
        let Some(world) = World::new(on).await else { continue };
        let customer = world.customer("UTC").await;
        let mut subscriptions = Vec::new();
        for _ in 0..2000 {
            subscriptions.push(world.monthly(customer, "2026-01-31").await);
        }
        let mut tx = world.app.db.begin().await.expect("tx");
        rebilld::store::subscriptions::insert(&mut tx, &subscriptions).await.expect("subscriptions");
        tx.commit().await.expect("commit");
        let said = Desk::of(&world.url).say(&["export", "--format", "jsonl", "--table", "subscriptions"]).await;
        let ids: Vec<String> = said
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().expect("id").to_owned())
            .collect();
        assert_eq!(ids, subscriptions.iter().map(|subscription| subscription.id.to_string()).collect::<Vec<_>>());
    }
}
