//! Three daemons on one PostgreSQL, a hundred of them killed while thousands of charges are under way: 0 double, 0 lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{Days, TimeDelta};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rebilld::{
    domain::{
        clock::Timeline,
        customer::{Customer, Metadata},
        dunning::Postponement,
        frequency::Frequency,
        invoice::Invoice,
        money::Currency,
        payment_method::{MethodKind, PaymentMethod},
        subscription::Subscription,
    },
    store,
};

use super::Daemon;
use crate::{
    collection::chaos::{crowd, seed, storm},
    world::*,
};

const KILLS: usize = 100;
const CHARGES: usize = 5_000;
/// Of real time; half of them owe one cycle, half of them three.
const SUBSCRIPTIONS: usize = 2_800;
const INVOICES: usize = SUBSCRIPTIONS / 2 * (1 + 3);
/// Over which they fall due, so that every job has work all the time.
const SPREAD: Duration = Duration::from_secs(40);
/// A kill waits for its share of the charges, but no longer than this.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What is left after the storm takes a minute on two cores of one's own.
const CALM: Duration = Duration::from_mins(8);
/// Of the test clocks.
const TARGET: &str = "2026-04-20T00:00:00Z";
const LATENCY: Duration = Duration::from_millis(25);

impl World {
    /// Daily subscriptions of real time by both gateways, some with several cycles owed, that fall due one after the other.
    pub async fn real_crowd(&self, random: &mut StdRng, count: usize, spread: Duration) {
        let now = self.app.clock.now();
        let sandbox = self.sandbox.sandbox();
        let mut tokens = sandbox.fluidpay_tokens(count, "cluster");
        let mut priors = sandbox.paylike_tokens(count);
        let (mut customers, mut methods, mut subscriptions) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..count {
            let customer = Customer {
                id: self.app.id(),
                reference: None,
                timeline: Timeline::Wall,
                name: "Ada".into(),
                email: None,
                phone: None,
                locale: None,
                timezone: "UTC".parse().expect("zone"),
                currency: Currency::USD,
                balance: 0,
                metadata: Metadata::new(),
                created_at: now,
                updated_at: now,
            };
            let paylike = n % 8 == 0;
            methods.push(PaymentMethod {
                id: self.app.id(),
                customer_id: customer.id,
                gateway: if paylike { "paylike" } else { "fluid" }.into(),
                kind: if paylike { MethodKind::PriorTransaction } else { MethodKind::VaultToken },
                customer_token: if paylike { None } else { tokens.pop() },
                payment_method_token: None,
                transaction_id: if paylike { priors.pop() } else { None },
                channels: vec![],
                expires: None,
                last_four: None,
                is_default: true,
                priority: 0,
                mandate_ended_at: None,
                created_at: now,
                updated_at: now,
            });
            let cycles = if n % 2 == 0 { 1 } else { 3 };
            let first = now.date_naive() - Days::new(7);
            let zone = customer.timezone;
            let mut subscription = Subscription {
                amount: random.random_range(100..=50_000),
                duration: cycles,
                ..Subscription::beginning(self.app.id(), customer.id, Currency::USD, zone, Frequency::Daily, first, now)
            };
            subscription.refresh(&self.app.rules);
            let spread = i64::try_from(spread.as_millis()).expect("a short while");
            subscription.due_at = Some(now + TimeDelta::milliseconds(random.random_range(0..spread)));
            subscriptions.push(subscription);
            customers.push(customer);
        }
        let mut tx = self.app.db.begin().await.expect("tx");
        tx.insert_rows(&customers).await.expect("customers");
        tx.insert_rows(&methods).await.expect("methods");
        store::subscriptions::insert(&mut tx, &subscriptions).await.expect("subscriptions");
        tx.commit().await.expect("commit");
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        let row: (i64,) = self.app.db.query(sql).one().await.expect("a number");
        row.0
    }

    /// What is due and not done yet: subscriptions, invoices, payments, clocks on their way.
    pub async fn left(&self) -> (i64, i64, i64, i64) {
        let left = self.app.db.query(
            "select (select count(*) from subscriptions where timeline = 'wall' and due_at <= $1),
                (select count(*) from invoices where timeline = 'wall' and (next_attempt_at <= $1 or postponed_by = 'gateway' and next_attempt_at is not null)),
                (select count(*) from payments where status in ('pending', 'authorized', 'unknown')),
                (select count(*) from clocks where status <> 'idle')",
        );
        left.bind(self.app.clock.now()).one().await.expect("counted")
    }
}

/// What daemons have said at these levels, without times and names, and how often.
pub fn said<'d>(daemons: impl IntoIterator<Item = &'d Daemon>, level: &str) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let mark = format!(" {level} ");
    for daemon in daemons {
        for (_, text) in daemon.story().lines().filter_map(|line| line.split_once(&mark)) {
            // Ids differ from line to line.
            let words: Vec<&str> = text.split(' ').filter(|word| !word.contains('=') || word.contains("error=")).collect();
            *all.entry(words.join(" ")).or_default() += 1;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_among_three_daemons_lose_and_double_nothing() {
    let Some(mut world) = World::slow(On::Postgres, LATENCY).await else { return };
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    for n in 0..2 {
        if n > 0 {
            world.another_clock().await;
        }
        crowd(&world, &mut random, 24).await;
        world.set_out(TARGET).await;
    }
    world.real_crowd(&mut random, SUBSCRIPTIONS, SPREAD).await;
    world.chaos(seed, storm()).await;

    let begun = Instant::now();
    let mut daemons: Vec<Daemon> = ["one", "two", "three"].map(|name| Daemon::in_storm(&world, name)).into();
    let mut dead: Vec<Option<Instant>> = vec![None; daemons.len()];
    for daemon in &mut daemons {
        daemon.start();
    }
    let mut kills = 0;
    let mut last = Instant::now();
    while kills < KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(1..=120))).await;
        for (daemon, until) in daemons.iter_mut().zip(&mut dead) {
            if until.is_some_and(|until| until <= Instant::now()) {
                *until = None;
                daemon.start();
            }
        }
        let earned = world.sandbox.sandbox().summary().entries * (KILLS + 5) / CHARGES;
        if earned <= kills && last.elapsed() < PATIENCE {
            continue;
        }
        let alive: Vec<usize> = (0..daemons.len()).filter(|&n| dead[n].is_none()).collect();
        let Some(&victim) = alive.get(random.random_range(0..alive.len().max(1))) else { continue };
        daemons[victim].kill();
        kills += 1;
        last = Instant::now();
        // Mostly at once, as systemd does; now and then so late that the others must take over.
        let rest = if random.random_range(0..4) > 0 { 0 } else { random.random_range(200..=4000) };
        dead[victim] = Some(Instant::now() + Duration::from_millis(rest));
    }
    let stormy = begun.elapsed();
    for (daemon, until) in daemons.iter_mut().zip(dead) {
        if until.is_some() {
            daemon.start();
        }
    }
    let calm = Instant::now();
    loop {
        for daemon in &mut daemons {
            daemon.must_live();
        }
        let left = world.left().await;
        if left == (0, 0, 0, 0) {
            break;
        }
        assert!(calm.elapsed() < CALM, "left of subscriptions, invoices, payments, clocks: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.calm().await;
    let (freed, charges) = (world.freed().await, world.prove().await);
    let warnings = said(&daemons, "WARN");
    let mut errors = said(&daemons, "ERROR");
    // The invariants tell of the storm: a gateway rests, what was due days ago is caught up with.
    errors.retain(|words, _| !words.contains("billing::invariants"));
    println!(
        "{kills} kills in {:.0} s of {:.0} s freed {freed} claims; {charges} charges agree: 0 double, 0 lost\nwarnings: {warnings:#?}\nerrors: {errors:#?}",
        stormy.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
    );
    assert_eq!(kills, KILLS);
    assert!(charges >= CHARGES, "only {charges} charges");
    assert!(freed >= 100, "only {freed} claims were freed: nothing much was under way");
    // Nothing is lost before it came to a payment either.
    assert_eq!(world.number("select count(*) from invoices where timeline = 'wall'").await, rebilld::domain::count(INVOICES));
    let untried: Vec<Invoice> = world
        .app
        .db
        .query(
            "select * from invoices i where not exists (
                 select 1 from payments p where p.invoice_id = i.id and p.status in ('succeeded', 'declined'))",
        )
        .all()
        .await
        .expect("read");
    // What waits for its gateway on a test clock waits until that goes on; so does a card that was declined twice today.
    let waits = |invoice: &&Invoice| match invoice.postponed_by {
        Some(Postponement::Cap) => true,
        Some(_) => invoice.timeline != Timeline::Wall && invoice.next_attempt_at > Some(at(TARGET)),
        None => false,
    };
    let untried: Vec<&Invoice> = untried.iter().filter(|invoice| !waits(invoice)).collect();
    assert!(untried.is_empty(), "invoices that were never brought to a card: {untried:#?}");
    for daemon in &mut daemons {
        assert!(daemon.terminate().await.success());
    }
    assert!(errors.is_empty(), "errors in the logs: {errors:#?}");
    let deadlocks = warnings.keys().filter(|words| words.contains("busy with the same rows")).count();
    assert_eq!(deadlocks, 0, "{warnings:#?}");
}
