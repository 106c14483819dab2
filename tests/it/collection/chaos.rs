//! A year of many subscriptions in a storm of faults: the books must agree to the cent afterwards. The seed is printed; set
//! `REBILLD_TEST_SEED` to run the same storm again.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::domain::{
    frequency::Frequency,
    id::CustomerId,
    invoice::{Adjustment, Modifier},
    money::Percentage,
    subscription::Subscription,
};
use serde_json::json;

use crate::world::*;

const ZONES: [&str; 5] = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia"];

/// Frequency, interval, billing days; the last of them bill rarely.
const RHYTHMS: [(Frequency, i64, Option<&str>); 9] = [
    (Frequency::Daily, 1, Some("10")),
    (Frequency::Daily, 2, Some("7")),
    (Frequency::Weekly, 3, Some("1,4")),
    (Frequency::TwiceMonthly, 1, Some("15,31")),
    (Frequency::Monthly, 1, Some("31")),
    (Frequency::Monthly, 1, None),
    (Frequency::Monthly, 3, Some("15")),
    (Frequency::Quarterly, 1, Some("30")),
    (Frequency::Yearly, 1, None),
];

pub fn seed() -> u64 {
    let seed = std::env::var("REBILLD_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("REBILLD_TEST_SEED={seed}");
    seed
}

/// Subscriptions of mixed rhythm, zone, gateway and price, each with a customer of its own.
pub async fn crowd(world: &World, random: &mut StdRng, count: usize) -> Vec<(CustomerId, Subscription)> {
    let start = |random: &mut StdRng| format!("2026-{:02}-{:02}", random.random_range(1..=3), random.random_range(1..=28));
    crowd_from(world, random, count, start).await
}

/// The same, starting on dates of one's own choice: the fewer, the more is due at one instant.
pub async fn crowd_from(
    world: &World,
    random: &mut StdRng,
    count: usize,
    start: impl Fn(&mut StdRng) -> String,
) -> Vec<(CustomerId, Subscription)> {
    let mut crowd = Vec::new();
    for n in 0..count {
        let customer = world.customer(ZONES[random.random_range(0..ZONES.len())]).await;
        let paylike = n % 3 == 0;
        let token = if paylike { world.prior() } else { world.token() };
        world.method(customer, paylike, &token).await;
        let (billing_frequency, billing_cycle_interval, days) = RHYTHMS[n % RHYTHMS.len()];
        let mut sub = world.monthly(customer, &start(random)).await;
        sub.billing_frequency = billing_frequency;
        sub.billing_cycle_interval = billing_cycle_interval;
        sub.billing_days = days.map(str::to_owned);
        sub.amount = random.random_range(100..=50_000);
        sub.quantity = random.random_range(1..=3);
        let modifier = |adjustment, duration| Modifier {
            id: "x".into(),
            name: "Extra".into(),
            description: String::new(),
            adjustment,
            duration,
            applied_from: 0,
        };
        if n % 2 == 0 {
            sub.add_ons.push(modifier(Adjustment::Amount(random.random_range(1..=999)), 0));
        }
        if n % 4 == 0 {
            sub.discounts.push(modifier(Adjustment::Percentage(Percentage::from_thousandths(12_500).expect("percent")), 3));
        }
        crowd.push((customer, world.add(sub).await));
    }
    crowd
}

pub fn storm() -> serde_json::Value {
    json!({ "drop_before": 25, "drop_after": 25, "delay": 3, "status_429": 20, "status_500": 10, "status_500_after": 10, "decline": 80 })
}

on_both! {
    async fn a_year_in_a_storm_leaves_both_books_equal(world: World) {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        crowd(&world, &mut random, 200).await;
        world.chaos(seed, storm()).await;
        world.advance("2026-12-20T00:00:00Z").await;
        world.calm().await;
        world.advance("2027-01-05T00:00:00Z").await;
        let charges = world.prove().await;
        assert!(charges > 1_500, "only {charges} charges: the storm was not worth the name");
    }
}
