//! `rebilld bench` bills for real: what it counts is in the books and in the gateway's ledger. How fast it is, is not tested.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::postgres;

fn bench(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rebilld"));
    command.arg("bench").args(arguments).env_clear().env("TMPDIR", folder.path()).current_dir(folder.path());
    command.output().expect("run")
}

/// The line of JSON, after success.
#[track_caller]
fn figures(output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(out.lines().last().expect("a line")).expect("JSON")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn is_empty(folder: &TempDir) -> bool {
    std::fs::read_dir(folder.path()).expect("folder").next().is_none()
}

/// The contract with whoever reads the figures.
const KEYS: [&str; 14] = [
    "database",
    "subscriptions",
    "renewals_per_s",
    "bare_http_per_s",
    "bare_db_per_s",
    "efficiency",
    "lateness_p50_ms",
    "lateness_p99_ms",
    "commits_per_renewal",
    "statements_per_renewal",
    "rows_per_renewal",
    "peak_rss_mib",
    "latency_ms",
    "in_flight",
];

#[track_caller]
fn bills_everybody(database: &str, url: Option<&str>) {
    let folder = folder();
    let mut arguments: Vec<&str> =
        "--subscriptions 30 --stored 20 --history 3 --latency 1-3 --in-flight 7 --rounds 2 --json".split(' ').collect();
    arguments.extend(url.into_iter().flat_map(|url| ["--database", url]));
    let output = bench(&folder, &arguments);
    let all = figures(&output);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "--json prints nothing else");
    let told = |key: &str| all.get(key).unwrap_or_else(|| panic!("no {key} in {all}")).clone();
    for key in KEYS {
        assert!(!told(key).is_null(), "{key}");
    }
    assert_eq!((told("database"), told("subscriptions"), told("in_flight")), (database.into(), 30.into(), 7.into()));
    assert_eq!((told("ledger_agrees"), told("latency_ms").as_f64()), (true.into(), Some(2.0)));
    for key in KEYS.iter().filter(|key| key.contains("per_") || key.contains("_ms") || key.contains("rss")) {
        assert!(told(key).as_f64().is_some_and(|figure| figure > 0.0), "{key}: {all}");
    }
    for key in ["efficiency", "history_ratio"] {
        assert!(told(key).as_f64().is_some_and(|ratio| ratio > 0.0), "{key}: {all}");
    }
    // At least invoice, payment, three events and the subscription itself.
    assert!(told("rows_per_renewal").as_f64().is_some_and(|rows| rows >= 6.0), "{all}");
    assert!(is_empty(&folder), "nothing is left behind");
}

#[test]
fn on_sqlite_everybody_is_billed_and_the_ledger_agrees() {
    bills_everybody("sqlite", None);
}

#[test]
fn on_postgres_everybody_is_billed_and_the_ledger_agrees() {
    let Some(url) = postgres::url() else { return };
    bills_everybody("postgres", Some(&url));
}

/// Every subcommand on a database of its own of each kind.
fn on_each(arguments: &str, check: impl Fn(&Value)) {
    for url in [Some(None), postgres::url().map(Some)].into_iter().flatten() {
        let folder = folder();
        let mut all: Vec<&str> = arguments.split(' ').collect();
        all.extend(url.iter().flat_map(|url| ["--database", url]));
        let output = bench(&folder, &all);
        check(&figures(&output));
        assert!(is_empty(&folder), "nothing is left behind");
    }
}

#[test]
fn a_due_scan_finds_exactly_what_is_due() {
    on_each("due-scan --stored 700", |all| {
        assert_eq!((all["stored"].as_u64(), all["found"].as_u64()), (Some(700), Some(500)));
        for key in ["median_ms", "p99_ms", "idle_tick_ms", "idle_tick_ratio"] {
            assert!(all[key].as_f64().is_some_and(|figure| figure > 0.0), "{key}: {all}");
        }
    });
}

#[test]
fn a_clock_bills_every_cycle_of_the_year() {
    on_each("advance --subscriptions 6 --years 1 --in-flight 5", |all| {
        // One of each frequency, the first charge on day 1 to 6: monthly, weekly, yearly, twice monthly, quarterly, daily.
        let renewals = all["renewals"].as_u64().expect("a count");
        assert!((12 + 52 + 1 + 24 + 4 + 359..=12 + 53 + 1 + 25 + 5 + 361).contains(&renewals), "{all}");
        for key in ["renewals_per_s", "subscription_years_per_s", "http_renewals_per_s", "http_subscription_years_per_s"] {
            assert!(all[key].as_f64().is_some_and(|figure| figure > 0.0), "{key}: {all}");
        }
    });
}

#[test]
fn a_table_comes_before_the_line_of_json() {
    let folder = folder();
    let output = bench(&folder, &["schedule"]);
    assert!(figures(&output)["dates_per_s"].as_f64().is_some_and(|rate| rate > 0.0));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.lines().count() > 2 && out.contains("  dates_per_s "), "{out}");
    let alone = bench(&folder, &["schedule", "--json"]);
    assert_eq!(String::from_utf8_lossy(&alone.stdout).lines().count(), 1);
}

#[test]
fn a_database_with_anything_in_it_is_refused() {
    let folder = folder();
    let mut urls = vec![format!("sqlite://{}", folder.path().join("shop.db").display())];
    urls.extend(postgres::url());
    for url in urls {
        // Tables without rows are nothing.
        let migrate = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rebilld"));
            command.arg("migrate").env_clear().env("REBILLD_DATABASE__URL", &url).output().expect("run")
        };
        assert!(migrate().status.success());
        let run = || bench(&folder, &["due-scan", "--stored", "1", "--database", &url]);
        figures(&run());
        for arguments in [&["--subscriptions", "1"][..], &["due-scan"], &["advance"]] {
            let refused = bench(&folder, &[arguments, &["--database", &url]].concat());
            let err = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{err}");
            assert!(err.starts_with("error: --database ") && err.contains("has rows in `customers`"), "{err}");
            assert_eq!(err.lines().count(), 1, "{err}");
        }
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = folder();
    let file = folder.path().join("other.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        use sqlx::Connection;
        let url = format!("sqlite://{}?mode=rwc", file.display());
        let mut other = sqlx::SqliteConnection::connect(&url).await.expect("made");
        sqlx::query("create table theirs (n integer)").execute(&mut other).await.expect("a table");
        other.close().await.expect("closed");
    });
    let before = std::fs::read(&file).expect("read");
    let refused = bench(&folder, &["--database", &format!("sqlite://{}", file.display())]);
    let err = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && err.contains("belongs to another program"), "{err}");
    assert_eq!(std::fs::read(&file).expect("read"), before);
}

#[test]
fn nonsense_is_refused_with_a_hint() {
    let folder = folder();
    for (arguments, hint) in [
        ("--latency fast", "must be milliseconds such as 300"),
        ("--subscriptions 0", "is not in 1..=1000000"),
        ("--in-flight 0", "is not in 1..=4096"),
        ("--database mysql://h/d", "database.url must start with sqlite:// or postgres://"),
    ] {
        let refused = bench(&folder, &arguments.split(' ').collect::<Vec<_>>());
        let err = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && err.contains(hint), "{arguments}: {err}");
    }
}
