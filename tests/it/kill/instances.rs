//! Several daemons at one desk: no two by one name, each timetabled run by one of them, and all of them shown to the operator.

use std::time::Duration;

use rebilld::billing::api_keys;
use serde_json::Value;

use super::Daemon;
use crate::world::*;

async fn get(daemon: &Daemon, path: &str) -> Vec<Value> {
    let (status, body) = daemon.ask("GET", path).await.expect("an answer");
    assert_eq!(status, 200, "{path}: {body}");
    body["data"].as_array().expect("a list").clone()
}

/// How many ticks a daemon has had, by the runs of a job that each of them starts.
async fn ticks(daemon: &Daemon) -> u64 {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).no_proxy().build().expect("client");
    let request = client.get(format!("http://127.0.0.1:{}/metrics", daemon.port)).bearer_auth(super::ADMIN_KEY);
    let metrics = request.send().await.expect("an answer").text().await.expect("text");
    let runs = metrics.lines().find_map(|line| line.strip_prefix(r#"rebilld_job_runs_total{job="bill_run",result="ok"} "#));
    runs.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namesake_is_refused_and_a_crash_is_no_obstacle() {
    let Some(world) = World::new(On::Postgres).await else { return };
    let (mut first, mut second) = (Daemon::new(&world, "twin", "5s"), Daemon::new(&world, "twin", "5s"));
    first.start();
    first.readiness(200).await;
    second.start();
    assert_eq!(second.end().await.code(), Some(1));
    let words = second.words();
    assert!(words.contains("instance.name: another daemon named twin") && words.contains("a name of its own"), "{words}");
    // Its name is free the moment it is dead, wherever it is started again.
    first.kill();
    second.start();
    let begun = std::time::Instant::now();
    second.readiness(200).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for {:?}", begun.elapsed());
    // Frozen for longer than a silence, it has lost its name, and says so instead of going on.
    second.signal("STOP");
    first.start();
    first.readiness(200).await;
    second.signal("CONT");
    assert_eq!(second.end().await.code(), Some(1));
    assert!(second.words().contains("goes by the same name"), "{}", second.words());
    first.readiness(200).await;
    assert!(first.terminate().await.success());
    second.start();
    second.readiness(200).await;
    assert!(second.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_daemons_run_a_timetabled_job_once_and_each_runs_it_when_asked() {
    let Some(world) = World::new(On::Postgres).await else { return };
    let mut daemons: Vec<Daemon> = ["one", "two", "three"].map(|name| Daemon::new(&world, name, "2s")).into();
    // All at once, on a database that nobody has migrated for them.
    for daemon in &mut daemons {
        daemon.start();
    }
    for daemon in &mut daemons {
        daemon.up().await;
    }
    let begun = std::time::Instant::now();
    while get(&daemons[0], "/v1/runs?job=housekeeping").await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "what was missed is not run");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The others have had their tick, too: a loop with a timetable looks once in a tick whether it is its turn.
    for daemon in &daemons {
        let before = ticks(daemon).await;
        while ticks(daemon).await < before + 2 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} has no ticks", daemon.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let before = get(&daemons[0], "/v1/runs?job=housekeeping").await.len();
    assert!(before <= 2, "{before} runs of one occurrence, or of two if an hour has just ended");
    for (n, name) in ["one", "two", "three"].into_iter().enumerate() {
        let (status, run) = daemons[n].ask("POST", "/v1/jobs/housekeeping/run").await.expect("an answer");
        assert_eq!((status, &run["instance"], &run["result"]), (200, &name.into(), &"ok".into()), "{run}");
    }
    let runs = get(&daemons[1], "/v1/runs?job=housekeeping").await;
    assert!((before + 3..=before + 4).contains(&runs.len()), "{runs:?}");

    let seen = get(&daemons[2], "/v1/instances").await;
    let told: Vec<_> =
        seen.iter().map(|it| (it["name"].as_str().expect("name"), it["status"].as_str().expect("status"))).collect();
    assert_eq!(told, [("one", "running"), ("three", "running"), ("two", "running")]);
    assert!(daemons[0].terminate().await.success());
    daemons[1].kill();
    world.app.db.query("update instances set seen_at = started_at where name = 'two'").run().await.expect("aged");
    let begun = std::time::Instant::now();
    loop {
        let seen = get(&daemons[2], "/v1/instances").await;
        let told: Vec<_> = seen.iter().map(|it| it["status"].as_str().expect("status").to_owned()).collect();
        if told == ["stopped", "running", "silent"] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(daemons[2].terminate().await.success());
}

/// Each does what a start writes: the key of the settings, and the policies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_that_start_at_one_moment_do_not_stand_in_each_others_way() {
    let Some(world) = World::new(On::Postgres).await else { return };
    for round in 0..10 {
        let mut starts = tokio::task::JoinSet::new();
        for n in 0..6 {
            let mut config = world.app.config.clone();
            config.admin.bootstrap_key = format!("bootstrap-key-of-round-{round:04}").into();
            let app = app(world.app.db.clone(), config, &format!("daemon-{n}"));
            starts.spawn(async move { api_keys::bootstrap(&app).await });
        }
        while let Some(started) = starts.join_next().await {
            started.expect("no panic").expect("started");
        }
        let valid = "select count(*) from api_keys where revoked_at is null and name = 'bootstrap'";
        assert_eq!(world.number(valid).await, 1);
    }
}
