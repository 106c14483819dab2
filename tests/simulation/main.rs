//! The deterministic simulation: one seed drives customers, operations, faults, crashes and clocks; then the promises are checked.
//!
//! `REBILLD_SIM_SEEDS=from..to` runs those seeds; a single number runs one and prints its trace.

mod daemons;
mod dice;
mod faults;
mod ground;
mod life;
mod operations;
mod promises;
mod run;
mod trace;
mod watch;
mod wire;
mod world;

use ground::Ground;
use run::run;

#[test]
fn the_same_seed_gives_the_same_trace() {
    let ground = Ground::new();
    for seed in 0..10 {
        let begun = std::time::Instant::now();
        let first = run(&ground, seed, true);
        let took = begun.elapsed();
        let second = run(&ground, seed, true);
        let differing = first.trace.lines().zip(second.trace.lines()).find(|(a, b)| a != b);
        assert_eq!(differing, None, "seed {seed} is not the same twice");
        assert_eq!(first.hash, second.hash, "seed {seed} is not the same twice");
        println!(
            "{seed}: {took:?} {} steps, {} charges, {} kills {:?} {:?}",
            first.steps, first.charges, first.kills, first.broken, first.panicked
        );
    }
}
