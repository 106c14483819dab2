//! Tables and property tests of the pure core, each against an independent way of finding the same answer.

mod anchors;
mod business_days;
mod calendar;
mod cost;
mod operations;
mod price;
mod schedule;

use proptest::{prelude::ProptestConfig, test_runner::RngSeed};

/// The same cases each time, so that what fails here fails for everybody; `REBILLD_TEST_SEED` asks for others.
fn config(cases: u32) -> ProptestConfig {
    let seed = std::env::var("REBILLD_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    }
}
