//! The deterministic simulation: one seed drives customers, operations, faults, crashes and clocks; then the promises are checked.
//!
//! `REBILLD_SIM_SEEDS=from..to` runs those seeds, and `REBILLD_SIM_SEEDS=number` one, with its trace.
//!
//! `REBILLD_SIM_TRACES=folder` writes the whole trace of each seed to `folder/seed`, one line for each step. Two versions of the
//! program that must behave alike write the same files: `diff -r` finds the first step at which they differ.

mod daemons;
mod dice;
mod faults;
mod ground;
mod life;
mod mutants;
mod operations;
mod promises;
mod run;
mod trace;
mod watch;
mod wire;
mod world;

use std::{
    env, fs,
    ops::Range,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use ground::Ground;
use run::{Report, run};

/// What is run where nobody asks for other seeds.
const SEEDS: Range<u64> = 0..1000;

/// What must have happened in any run of many seeds.
const HAPPENS: &[&str] = &[
    "claims.recovered",
    "invoice.not_collectable",
    "invoice.paid",
    "invoice.uncollectible",
    "invoice.voided",
    "payment.declined",
    "payment.orphaned_authorization",
    "payment.unknown",
    "refund.succeeded",
    "refund.unknown",
    "subscription.cancelled",
    "subscription.changed",
    "subscription.past_due",
    "subscription.recovered",
    "subscription.resumed",
];

fn command(seed: u64) -> String {
    format!("REBILLD_SIM_SEEDS={seed} cargo test --test it simulation::no_seed -- --nocapture")
}

/// The seeds asked for, and whether their traces are to be shown.
fn seeds() -> (Range<u64>, bool) {
    let Ok(text) = env::var("REBILLD_SIM_SEEDS") else { return (SEEDS, false) };
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or_else(|_| panic!("REBILLD_SIM_SEEDS: `{text}` is no number"));
    match text.split_once("..") {
        Some((from, to)) => (number(from)..number(to), false),
        None => (number(&text)..number(&text) + 1, true),
    }
}

/// The folder that the traces are to be written to.
fn traces() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("REBILLD_SIM_TRACES").filter(|folder| !folder.is_empty())?);
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("REBILLD_SIM_TRACES: {}: {error}", folder.display()));
    Some(folder)
}

/// A trace for a person to read: its long lines are cut.
fn show(trace: &str) {
    for line in trace.lines() {
        println!("{}", line.chars().take(430).collect::<String>());
    }
}

/// Runs all of them on all cores; what they came to together, and what failed, by seed. A handful of failures ends it.
fn run_all(seeds: Range<u64>, shown: bool) -> (Report, Vec<Report>) {
    let folder = traces();
    let next = AtomicU64::new(seeds.start);
    let enough = AtomicBool::new(false);
    let sum = Mutex::new((Report::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism()
            .map_or(1, usize::from)
            .min(usize::try_from(seeds.end - seeds.start).expect("seeds"))
        {
            scope.spawn(|| {
                let ground = Ground::new();
                while !enough.load(Ordering::SeqCst) {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run(&ground, seed, shown || folder.is_some());
                    if let Some(folder) = &folder {
                        fs::write(folder.join(seed.to_string()), &report.trace).expect("a trace written");
                    }
                    let mut sum = sum.lock().expect("nobody panics with it");
                    if shown {
                        show(&report.trace);
                    }
                    sum.0.add(&report);
                    if !report.broken.is_empty() || !report.panicked.is_empty() {
                        println!("seed {seed}: {:?} {:?}", report.broken, report.panicked);
                        sum.1.push(report);
                        enough.store(sum.1.len() >= 5, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let (sum, mut failed) = sum.into_inner().expect("nobody panics with it");
    failed.sort_by_key(|report| report.seed);
    (sum, failed)
}

#[test]
fn no_seed_breaks_a_promise() {
    let (seeds, shown) = seeds();
    let begun = Instant::now();
    let (sum, failed) = run_all(seeds.clone(), shown);
    println!("seeds {}..{} in {:.0?}: {sum}", seeds.start, seeds.end, begun.elapsed());
    for report in &failed {
        println!("seed {} {}", report.seed, report.words());
        println!("  again, with its trace: {}", command(report.seed));
    }
    assert!(failed.is_empty(), "{} seeds failed, the first is {}: {}", failed.len(), failed[0].seed, failed[0].words());
    // A simulation in which nothing happens finds nothing.
    for kind in if seeds.end - seeds.start >= 500 { HAPPENS } else { &[] } {
        assert!(sum.events.contains_key(*kind), "{kind} never happened: {sum}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let ground = Ground::new();
    for seed in 0..10 {
        let first = run(&ground, seed, true);
        // On other ground, with another seed before it.
        let other = Ground::new();
        run(&other, seed + 1000, false);
        let second = run(&other, seed, true);
        let differing = first.trace.lines().zip(second.trace.lines()).find(|(a, b)| a != b);
        assert_eq!(differing, None, "seed {seed} is not the same twice");
        assert_eq!((first.hash, first.steps), (second.hash, second.steps), "seed {seed} is not the same twice");
    }
    assert_ne!(run(&ground, 1, false).hash, run(&ground, 2, false).hash);
}
