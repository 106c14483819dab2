//! Jobs by themselves. Timetabled ones among several daemons: whatever their clocks say and whoever dies, an occurrence is run once.
//! Ticks that find nothing.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rebilld::{
    billing::{
        self, App,
        jobs::occurrences::{self, OccurrenceClaim},
    },
    clock::Clock,
    domain::clock::Timeline,
    jobs::{
        self, JOBS, Job, JobSchedule, Ran,
        occurrences::{Timetable, take_turn},
    },
};

use crate::world::*;

fn housekeeping() -> (&'static Job, Timetable) {
    (jobs::job("housekeeping").expect("a job"), "0 7 * * * *".parse().expect("a timetable"))
}

/// A daemon of its own on the same database, with a clock that is moved by hand.
fn daemon(world: &World, name: &str, now: DateTime<Utc>) -> Arc<App> {
    app_by(Clock::manual(now), world.app.db.clone(), world.app.config.clone(), name)
}

async fn runs(world: &World) -> Vec<String> {
    let rows: Vec<(String,)> = world
        .app
        .db
        .query("select instance from job_runs where job = 'housekeeping' order by started_at, id")
        .all()
        .await
        .expect("runs");
    rows.into_iter().map(|row| row.0).collect()
}

on_both! {
    async fn clocks_that_differ_run_an_occurrence_once(world: World) {
        let (job, timetable) = housekeeping();
        let hour = at("2026-05-01T10:07:00Z");
        let daemons: Vec<Arc<App>> =
            [("slow", -2), ("right", 0), ("fast", 2)].map(|(name, s)| daemon(&world, name, hour + TimeDelta::seconds(s))).into();
        for hours in 0..3 {
            for seconds in 0..6 {
                for (app, skew) in daemons.iter().zip([-2, 0, 2]) {
                    app.clock.set(hour + TimeDelta::hours(hours) + TimeDelta::seconds(seconds + skew));
                    take_turn(app, job, &timetable).await;
                }
            }
        }
        // One that was before all of them, since the slow one began within the hour before; then one each.
        assert_eq!(runs(&world).await.len(), 4, "{:?}", runs(&world).await);
    }

    async fn what_was_missed_is_run_once(world: World) {
        let (job, timetable) = housekeeping();
        let app = daemon(&world, "a", at("2026-05-01T10:30:00Z"));
        take_turn(&app, job, &timetable).await;
        let next = take_turn(&app, job, &timetable).await;
        assert_eq!((next, runs(&world).await.len()), (Some(at("2026-05-01T11:07:00Z")), 1));
        app.clock.set(at("2026-05-03T04:00:00Z"));
        for _ in 0..3 {
            take_turn(&app, job, &timetable).await;
        }
        assert_eq!(runs(&world).await.len(), 2, "forty hours were missed");
    }

    async fn who_dies_amid_a_run_is_stood_in_for_after_its_lease(world: World) {
        let (job, timetable) = housekeeping();
        let now = at("2026-05-01T10:07:00Z");
        let (dies, lives) = (daemon(&world, "dies", now), daemon(&world, "lives", now));
        assert_eq!(occurrences::take(&dies, job.name, now, false).await.expect("taken"), OccurrenceClaim::Ours);
        let lease = world.app.config.collection.lease;
        assert_eq!(take_turn(&lives, job, &timetable).await, Some(now + lease), "not while it may live");
        let ended = |app: &App| app.last_runs.ended_at(job.name);
        assert_eq!(ended(&lives), None, "another's run counts when it has ended, not while it hangs");
        assert!(runs(&world).await.is_empty());
        lives.clock.set(now + lease);
        take_turn(&lives, job, &timetable).await;
        assert_eq!(runs(&world).await, ["lives"]);
        assert_eq!(ended(&lives), Some(now + lease));
        take_turn(&dies, job, &timetable).await;
        assert_eq!(ended(&dies), Some(now), "ended by another");
        // It comes back, and is told that it is done.
        occurrences::finish(&dies, job.name).await.expect("too late");
        assert_eq!(occurrences::take(&dies, job.name, now, false).await.expect("asked"), OccurrenceClaim::Done);
        assert_eq!(occurrences::take(&dies, job.name, now, true).await.expect("asked"), OccurrenceClaim::Ours, "by request once more");
    }

    async fn a_tick_that_finds_nothing_waits_for_no_writer(world: World) {
        let customer = world.customer("UTC").await;
        world.add(world.monthly(customer, "2026-03-10").await).await;
        // On SQLite this is the only one.
        let writer = world.app.db.begin().await.expect("tx");
        let tick = async {
            for job in JOBS.iter().filter(|job| job.schedule == JobSchedule::EveryTick) {
                let ran = job.run_due(&world.app, Timeline::Wall, world.app.clock.now()).await.expect(job.name);
                assert!(matches!(ran, Ran::Idle(None)), "{}: {ran:?}", job.name);
            }
            assert!(billing::test_clocks::advance::claim(&world.app).await.expect("asked").is_empty());
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), tick).await.expect("nobody waits");
        drop(writer);
    }
}
