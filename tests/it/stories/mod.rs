//! Random stories of one customer: whatever meets whatever, no money is made and none is lost. The promises are checked after every
//! operation, not only at the end.
//!
//! `REBILLD_STORIES=0..2000` says which are told; without it a few are.

mod dice;
mod operations;
mod promises;

use std::ops::Range;

use chrono::TimeDelta;

use self::{dice::Dice, operations::Story};
use crate::world::*;

/// Operations in one story.
const OPERATIONS: usize = 40;
/// Stories in one database: the proof of all books at the end reads all of it.
const TOGETHER: u64 = 25;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("REBILLD_STORIES") else { return 0..TOGETHER };
    let (first, last) = text.split_once("..").expect("REBILLD_STORIES is a range such as 0..2000");
    first.parse().expect("a number")..last.parse().expect("a number")
}

async fn tell(on: On) {
    let mut seeds = seeds();
    while !seeds.is_empty() {
        let Some(mut world) = World::new(on).await else { return };
        for seed in seeds.by_ref().take(usize::try_from(TOGETHER).expect("few")) {
            world.another_clock().await;
            let mut story = Story::begin(&world, Dice::new(seed)).await;
            for _ in 0..OPERATIONS {
                let said = story.go_on().await;
                let broken = promises::broken(&world, story.customer, &story.observed()).await;
                assert!(broken.is_empty(), "story {seed}, after {said}: {broken:#?}\n{}", story.told());
            }
        }
        world.settle_requests().await;
        // What a bank took since a payment was last asked about is seen at its later ages.
        for days in [30, 60, 90, 120] {
            let later = world.app.clock.now() + TimeDelta::days(days) + TimeDelta::hours(1);
            rebilld::billing::disputes::check(&world.app, later).await.expect("asked");
        }
        world.settle_requests().await;
        world.prove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_story_breaks_a_promise_on_sqlite() {
    tell(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_story_breaks_a_promise_on_postgres() {
    tell(On::Postgres).await;
}
