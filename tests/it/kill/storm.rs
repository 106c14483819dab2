//! A year of two hundred subscriptions in a storm of faults, the daemon killed again and again at moments that nobody chose.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Daemon;
use crate::{
    collection::chaos::{crowd_from, seed, storm},
    world::*,
};

const LATENCY: Duration = Duration::from_millis(2);

async fn a_year_under_fire(on: On) {
    let Some(world) = World::slow(on, LATENCY).await else { return };
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let start = |random: &mut StdRng| ["2026-01-05", "2026-03-16"][random.random_range(0..2)].to_owned();
    crowd_from(&world, &mut random, 200, start).await;
    world.chaos(seed, storm()).await;
    let mut daemon = Daemon::new(&world, "phoenix", "5s");
    let begun = Instant::now();
    daemon.start();
    let mut startups = vec![daemon.up().await];
    daemon.advance(&world, "2027-01-05T00:00:00Z").await;
    let mut kills = 0;
    while kills < 30 && !world.arrived().await {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..=1500))).await;
        daemon.kill();
        kills += 1;
        daemon.start();
        // Now and then before it is even up.
        if random.random_range(0..4) > 0 {
            startups.push(daemon.up().await);
        }
    }
    world.arrival(&mut [&mut daemon], Duration::from_mins(10)).await;
    world.calm().await;
    let freed = world.freed().await;
    let charges = world.prove().await;
    startups.sort_unstable();
    println!(
        "{kills} kills over {:.1} s freed {freed} claims; {charges} charges agree; up after {:?} (median), {:?} (worst)",
        begun.elapsed().as_secs_f64(),
        startups[startups.len() / 2],
        startups.last().expect("one"),
    );
    assert!(kills >= 15, "only {kills} kills: the year was over too soon");
    assert!(freed > kills / 3, "only {freed} claims were freed by {kills} kills: nothing much was under way");
    assert!(charges > 1_500, "only {charges} charges");
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_under_fire_on_sqlite() {
    a_year_under_fire(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_under_fire_on_postgres() {
    a_year_under_fire(On::Postgres).await;
}
