//! The other commands of the program: check, migrate, keys, sandbox, and what it says to nonsense.

use rebilld::domain::{calendar::BusinessDay, subscription::SubscriptionStatus};

use super::*;
use crate::{
    postgres,
    world::{World, on_both},
};

fn run(folder: &TempDir, settings: &Settings, arguments: &str) -> Ended {
    ended(rebilld(folder.path(), settings, arguments.split(' ')))
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder.path()).expect("folder").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn check_names_faults_and_changes_nothing() {
    let folder = folder();
    let settings = quick(&sqlite(&folder));
    let early = run(&folder, &settings, "check");
    assert_eq!(early.code, Some(1));
    assert!(early.err.contains("rebilld.db does not exist: `rebilld migrate` or `rebilld serve` makes it"), "{early:?}");
    assert_eq!(names(&folder), Vec::<String>::new());

    run(&folder, &settings, "migrate").ok();
    let before = fs::read(folder.path().join("rebilld.db")).expect("read");
    assert_eq!(run(&folder, &settings, "check").ok(), "ok\n");
    assert_eq!(fs::read(folder.path().join("rebilld.db")).expect("read"), before);
    assert_eq!(names(&folder), ["rebilld.db"]);

    let mut wrong = settings.clone();
    wrong.extend(super::settings([("billing.batch", "0"), ("jobs.tick", "soon"), ("billing.curency", "USD")]));
    let faults = run(&folder, &wrong, "check");
    assert_eq!((faults.code, faults.out.as_str()), (Some(1), ""), "{faults:?}");
    for word in ["billing.batch must be from 1 to 1000", "jobs.tick", "billing.curency is not a setting"] {
        assert!(faults.err.lines().any(|line| line.starts_with("error: ") && line.contains(word)), "{word}: {faults:?}");
    }
    assert_eq!(faults.err.lines().count(), 3, "one line for each: {faults:?}");

    // A gateway nobody can talk to yet, and a database that is not there: both are named.
    let mut both = super::settings([("database.url", "sqlite://none.db")]);
    both.extend(super::settings([("gateways.p.kind", "paysley"), ("gateways.p.mode", "test")]));
    both.extend(super::settings([("gateways.p.base_url", "http://127.0.0.1:1"), ("gateways.p.api_key", "s3cret")]));
    let faults = run(&folder, &both, "check");
    assert_eq!(faults.code, Some(1));
    assert!(faults.err.contains("none.db does not exist") && !faults.err.contains("s3cret"), "{faults:?}");

    let mut short = settings.clone();
    short.extend(with_gateways(&sqlite(&folder), "http://127.0.0.1:1"));
    short.insert("collection.lease".to_owned(), "10s".to_owned());
    let warned = run(&folder, &short, "check");
    assert_eq!(warned.ok(), "ok\n");
    assert!(warned.err.contains("warning: gateways.fluid.timeout should be shorter than collection.lease"), "{warned:?}");
}

on_both! {
    async fn check_misses_the_calendars_that_charges_are_dated_by(world: World) {
        let customer = world.customer("UTC").await;
        for (calendar, status) in
            [("england", SubscriptionStatus::Active), ("somewhere", SubscriptionStatus::Paused), ("atlantis", SubscriptionStatus::Cancelled)]
        {
            let mut subscription = world.monthly(customer, "2026-01-31").await;
            subscription.business_day = BusinessDay::Following;
            subscription.holiday_calendar = Some(calendar.into());
            subscription.status = status;
            world.add(subscription).await;
        }
        let folder = folder();
        let mut settings = quick(&world.url);
        let faults = run(&folder, &settings, "check");
        let lines: Vec<&str> = faults.err.lines().collect();
        assert_eq!((faults.code, lines.len()), (Some(1), 2), "{faults:?}");
        for (line, name) in lines.into_iter().zip(["england", "somewhere"]) {
            assert!(line.starts_with(&format!("error: billing.holidays.{name} is missing: ")), "{line}");
        }
        settings.extend(super::settings([("billing.holidays.england", "2026-12-25"), ("billing.holidays.somewhere", "[]")]));
        assert_eq!(run(&folder, &settings, "check").ok(), "ok\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_twice_is_migrating_once() {
    let folder = folder();
    let mut urls = vec![sqlite(&folder)];
    urls.extend(postgres::fresh_database().await);
    for url in urls {
        let settings = quick(&url);
        for _ in 0..2 {
            let done = run(&folder, &settings, "migrate");
            assert!(done.ok().ends_with(" is up to date\n"), "{done:?}");
            assert_eq!(done.err, "");
        }
        assert_eq!(run(&folder, &settings, "check").ok(), "ok\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_made_on_the_machine_work_at_once_within_their_scope() {
    let folder = folder();
    let settings = quick(&sqlite(&folder));
    let early = run(&folder, &settings, "keys create --scope read");
    assert!(early.code == Some(1) && early.out.is_empty() && early.err.contains("does not exist"), "{early:?}");

    let mut daemon = Daemon::up(folder.path(), &settings).await;
    let plan = || Some(json!({"name": "Gym", "amount": 100, "billing_frequency": "monthly"}));
    let mut made = Vec::new();
    for (scope, post, keys) in [("read", 403, 403), ("write", 201, 403), ("admin", 201, 200)] {
        let ended = run(&folder, &settings, &format!("keys create --scope {scope} --name for-{scope}"));
        let key = ended.ok().trim_end().to_owned();
        assert!(ended.out.lines().count() == 1 && key.starts_with("rk_") && key.len() > 40, "{ended:?}");
        assert!(!ended.err.contains(&key) && ended.err.contains("not shown again"), "{ended:?}");
        assert_eq!(daemon.send("GET", "/v1/plans", &key, None).await.0, 200, "{scope}");
        assert_eq!(daemon.send("POST", "/v1/plans", &key, plan()).await.0, post, "{scope}");
        assert_eq!(daemon.send("GET", "/v1/api-keys", &key, None).await.0, keys, "{scope}");
        made.push(key);
    }
    let list = run(&folder, &settings, "keys list").ok().to_owned();
    assert_eq!(list.lines().count(), 4, "the three and the bootstrap key: {list}");
    assert!(made.iter().all(|key| !list.contains(key.as_str())), "{list}");
    let line = list.lines().find(|line| line.contains("for-write")).expect("listed");
    assert!(line.contains(" write ") && line.contains(&made[1][made[1].len() - 4..]) && line.contains(" active "), "{line}");

    let id = line.split_whitespace().next().expect("an id");
    assert_eq!(run(&folder, &settings, &format!("keys revoke {id}")).ok(), format!("{id} is revoked\n"));
    assert_eq!(daemon.send("GET", "/v1/plans", &made[1], None).await.0, 401, "revoked at once");
    assert!(run(&folder, &settings, "keys list").ok().lines().any(|line| line.contains(id) && line.contains("revoked ")));
    let unknown = run(&folder, &settings, "keys revoke key_00000000000000000000000000");
    assert!(unknown.code == Some(1) && unknown.err.starts_with("error: ") && unknown.err.lines().count() == 1, "{unknown:?}");
    assert_eq!(run(&folder, &settings, "keys create --scope everything").code, Some(2));
    daemon.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_runs_alone() {
    let folder = folder();
    let command = rebilld(folder.path(), &Settings::new(), ["sandbox", "--listen", "127.0.0.1:0"]);
    let mut running = Running::start(command, folder.path());
    let url = running.says("sandbox listens on ").await;
    rebilld::gateway::http::install_tls();
    let fixtures = reqwest::get(format!("{url}/_sandbox/fixtures")).await.expect("answer");
    assert!(fixtures.text().await.expect("text").contains(FLUIDPAY_KEY));
    let taken = ended(rebilld(folder.path(), &Settings::new(), ["sandbox", "--listen", url.trim_start_matches("http://")]));
    assert!(taken.code == Some(1) && taken.err.lines().count() == 1, "{taken:?}");
    assert!(taken.err.starts_with("error: the sandbox cannot listen on "), "{taken:?}");
    running.signal("TERM");
    assert_eq!(running.ends().await.0, Some(0));
}

#[test]
fn nonsense_is_answered_with_help() {
    let folder = folder();
    let nothing = Settings::new();
    assert_eq!(run(&folder, &nothing, "--version").ok(), format!("rebilld {}\n", env!("CARGO_PKG_VERSION")));
    for nonsense in ["frobnicate", "serve --port 1", "sandbox", "sandbox --listen here", "keys"] {
        let ended = run(&folder, &nothing, nonsense);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.err.contains("Usage: ") || ended.err.contains("--help"), "{ended:?}");
    }
    let help = run(&folder, &nothing, "help");
    for command in ["demo", "serve", "migrate", "check", "keys", "sandbox"] {
        assert!(help.ok().contains(&format!("\n  {command} ")), "{help:?}");
    }
    assert_eq!(names(&folder), Vec::<String>::new());
}
