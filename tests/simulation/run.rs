//! One run: everything that one seed leads to, and what of it was not as promised.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use rebilld::{
    billing::App,
    clock::Clock,
    config::Config,
    domain::{
        dunning::FinalAction,
        event::Actor,
        id::InvoiceId,
        payment::{Payment, PaymentStatus},
    },
};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    daemons::{Daemon, gateways, skew},
    dice::Dice,
    faults::Weather,
    ground::Ground,
    life::{Fate, Life, Place},
    operations::{OPERATIONS, Operation, next_due, resolve},
    promises,
    world::World,
};

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub seed: u64,
    /// The same for the same run.
    pub hash: u64,
    pub steps: u64,
    pub charges: usize,
    pub kills: u64,
    pub freezes: u64,
    /// What happened by the books, how often.
    pub events: BTreeMap<String, u64>,
    pub broken: Vec<String>,
    /// Faults of another kind: a panic, a run that does not end.
    pub panicked: Vec<String>,
    pub trace: String,
}

impl Report {
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.charges += other.charges;
        self.kills += other.kills;
        self.freezes += other.freezes;
        for (kind, count) in &other.events {
            *self.events.entry(kind.clone()).or_default() += count;
        }
    }

    /// What was not as promised.
    pub fn words(&self) -> String {
        let broken = self.broken.iter().map(|words| format!("broken promise: {words}"));
        let panicked = self.panicked.iter().map(|words| format!("fault of another kind: {words}"));
        broken.chain(panicked).collect::<Vec<_>>().join("; ")
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { charges, kills, freezes, steps, .. } = self;
        write!(f, "{charges} charges, {kills} kills, {freezes} freezes, {steps} steps")?;
        self.events.iter().try_for_each(|(kind, count)| write!(f, ", {count} {kind}"))
    }
}

/// Runs one seed, on a runtime of its own whose time only moves when everything waits.
pub fn run(ground: &Ground, seed: u64, told: bool) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        ground.clear().await;
        let world = World::new(seed, told, ground.db.clone());
        let mut run = Run::new(&world);
        run.go().await;
        for daemon in &mut run.daemons {
            daemon.bury().await;
        }
        let mut broken = world.take_broken();
        run.desk.clock.set(world.now());
        promises::health_is_ok(&run.desk, &world, &mut broken).await;
        let (charges, events) = promises::check(&world, &mut broken).await;
        let (hash, steps, trace) = world.with_trace(|trace| (trace.hash(), trace.steps, trace.words()));
        Report {
            events,
            seed,
            hash,
            steps,
            charges,
            kills: run.kills,
            freezes: run.freezes,
            broken,
            panicked: world.take_panicked(),
            trace,
        }
    })
}

struct Run {
    world: Arc<World>,
    config: Config,
    /// Whose turn it is to write.
    turn: Arc<Semaphore>,
    /// For set-up and questions: no life, no crash.
    desk: App,
    daemons: Vec<Daemon>,
    kills: u64,
    freezes: u64,
    asked: u64,
}

impl Run {
    fn new(world: &Arc<World>) -> Self {
        let mut config = Config::defaults();
        // The invariants add up all that moved, and not only what moved in the last days of a run.
        config.invariants.recent = TimeDelta::days(3650);
        config.collection.final_action =
            world.dice(|dice| dice.pick(&[FinalAction::Cancel, FinalAction::Pause, FinalAction::MarkUncollectible]));
        let turn = Arc::new(Semaphore::new(1));
        let desk = App::new(
            world.books.clone(),
            Clock::manual(world.now()),
            config.clone(),
            gateways(&Life::new("desk", world.clone(), TimeDelta::zero()), 1),
            world.dice(Dice::bytes),
        );
        let names: &[&str] = if world.dice(|dice| dice.chance(600)) { &["left", "right"] } else { &["left"] };
        let daemons = names.iter().map(|&name| Daemon::new(name, world, &config, &turn)).collect();
        Self { world: world.clone(), config, turn, desk, daemons, kills: 0, freezes: 0, asked: 0 }
    }

    async fn go(&mut self) {
        let customers = self.world.dice(|dice| 1 + dice.below(3));
        for _ in 0..customers {
            self.at_the_desk(Operation::NewCustomer).await;
        }
        for daemon in &mut self.daemons {
            daemon.start();
        }
        self.wait(20).await;
        let rounds = self.world.dice(|dice| 12 + dice.below(10));
        for _ in 0..rounds {
            self.round().await;
        }
        self.calm_down().await;
    }

    /// Time goes on, people ask for things, the daemons work, and some of them do not survive it.
    async fn round(&mut self) {
        let weather = self.world.dice(|dice| {
            dice.weighted(&[(30, Weather::Calm), (30, Weather::Changeable), (30, Weather::Storm), (10, Weather::Outage)])
        });
        self.world.weather(weather, true);
        self.leap().await;
        for index in 0..self.daemons.len() {
            self.decide_fate(index);
            self.daemons[index].tick();
        }
        let asked = self.world.dice(|dice| dice.weighted(&[(4, 0), (5, 1), (2, 2), (1, 3)]));
        for _ in 0..asked {
            self.ask();
            let pause = self.world.dice(|dice| dice.millis(0, 3000));
            sleep(pause).await;
        }
        self.wait(130).await;
        for daemon in &mut self.daemons {
            daemon.life.forgive();
            if daemon.life.is_killed() {
                self.kills += 1;
                daemon.bury_and_bear(&self.config, &self.turn).await;
            }
        }
        self.wait(20).await;
    }

    /// To when something is due, or a little before or after it, or just on.
    async fn leap(&mut self) {
        self.desk.clock.set(self.world.now());
        let now = self.world.now();
        let due = next_due(&self.desk).await.expect("read").filter(|due| *due > now);
        let until = due.map_or(Duration::ZERO, |due| (due - now).to_std().unwrap_or_default());
        let time = self.world.dice(|dice| match dice.below(10) {
            0..6 => until.min(Duration::from_hours(24 * 31)) + dice.millis(0, 5000),
            6 => until.min(Duration::from_hours(24 * 31)) + dice.millis(0, 40_000_000),
            7 => dice.millis(0, 120_000),
            8 => dice.millis(0, 4_000_000),
            _ => dice.millis(0, 200_000_000),
        });
        self.pass(time).await;
    }

    /// Time passes; whoever waits for an instant on the way comes to it in order.
    async fn pass(&self, time: Duration) {
        sleep(time).await;
        self.world.tell("time", &self.world.now().to_rfc3339());
    }

    fn decide_fate(&mut self, index: usize) {
        let daemon = &self.daemons[index];
        let (fate, place, time) = self.world.dice(|dice| {
            let longest = if dice.chance(200) { 9_000_000 } else { 150_000 };
            // Calls are few among the points, and the best places to go wrong.
            let place = if dice.chance(400) { Place::Calls(1 + dice.below(6)) } else { Place::Points(1 + dice.below(80)) };
            (dice.below(10), place, dice.millis(20_000, longest))
        });
        match fate {
            0..3 => daemon.life.await_fate(place, Fate::Killed),
            3 if self.daemons.len() > 1 => {
                self.freezes += 1;
                daemon.life.await_fate(place, Fate::Frozen(time));
            }
            4 => daemon.life.set_clock(self.world.dice(skew)),
            _ => {}
        }
    }

    /// Somebody asks one of the daemons for something.
    fn ask(&mut self) {
        let (operation, who, seed) = self.world.dice(|dice| (dice.weighted(OPERATIONS), dice.index(8), dice.below(u64::MAX)));
        let count = self.daemons.len();
        let daemon = &mut self.daemons[who % count];
        let (app, world) = (daemon.app.clone(), self.world.clone());
        self.asked += 1;
        daemon.spawn(format!("{operation:?} {}", self.asked), async move {
            operation.perform(&app, &world, &mut Dice::new(seed)).await
        });
    }

    async fn at_the_desk(&self, operation: Operation) {
        self.desk.clock.set(self.world.now());
        let seed = self.world.dice(|dice| dice.below(u64::MAX));
        operation.perform(&self.desk, &self.world, &mut Dice::new(seed)).await.expect("done at the desk");
    }

    /// Until all is done or has ended, at most so many seconds.
    async fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let mut idle = true;
            for daemon in &mut self.daemons {
                idle &= daemon.is_idle().await || daemon.life.is_killed() || daemon.life.is_frozen();
            }
            if idle {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Nothing goes wrong any more: whatever is open comes to its end.
    async fn calm_down(&mut self) {
        self.world.weather(Weather::Calm, false);
        // Whoever is frozen comes back.
        self.pass(Duration::from_secs(9_200)).await;
        self.wait(400).await;
        self.desk.clock.set(self.world.now());
        for gateway in ["fluid", "paylike"] {
            // Most are not paused.
            let _ = rebilld::billing::gateways::resume(&self.desk, &Actor::System, gateway).await;
        }
        for round in 0..200 {
            for daemon in &mut self.daemons {
                daemon.tick();
            }
            self.wait(200).await;
            self.desk.clock.set(self.world.now());
            for payment in self.open_payments().await.iter().filter(|payment| payment.status == PaymentStatus::Parked) {
                self.world.tell("desk", &format!("resolves {}", payment.id));
                resolve(&self.desk, &self.world, payment).await.expect("resolved");
            }
            self.collect_parked().await;
            let due = next_due(&self.desk).await.expect("read");
            let waiting = due.is_some_and(|due| due <= self.world.now());
            let open = !self.open_payments().await.is_empty() || self.open_beside().await > 0;
            if !open && !waiting && round > 1 {
                return;
            }
            let until = due.map_or(Duration::from_secs(61), |due| (due - self.world.now()).to_std().unwrap_or_default());
            // What is due may have to wait for a lookup that is a day away.
            let least = if round < 50 { Duration::from_secs(61) } else { Duration::from_hours(1) };
            let until = if open { until.clamp(least, Duration::from_hours(25)) } else { Duration::from_secs(61) };
            self.pass(until).await;
        }
        self.world.broken("work does not come to an end though nothing goes wrong any more".to_owned());
    }

    /// What a gateway refused for what it is, is tried again by an operator.
    async fn collect_parked(&self) {
        let sql =
            "select id from invoices where status = 'open' and parked_reason is not null and next_attempt_at is null order by id";
        let parked: Vec<(InvoiceId,)> = self.world.books.query(sql).all().await.expect("read");
        for (id,) in parked {
            self.world.tell("desk", &format!("collects {id}"));
            rebilld::billing::invoices::collect(&self.desk, &Actor::System, id).await.expect("collected");
        }
    }

    async fn open_payments(&self) -> Vec<Payment> {
        let sql = "select * from payments where status in ('pending', 'authorized', 'unknown', 'parked') order by id";
        self.world.books.query(sql).all().await.expect("read")
    }

    /// Refunds and authorizations of which nobody knows yet, and whatever must be looked at once more.
    async fn open_beside(&self) -> i64 {
        let sql = "select (select count(*) from payments where next_lookup_at is not null)
            + (select count(*) from refunds where status in ('pending', 'unknown'))
            + (select count(*) from authorizations where status in ('pending', 'unknown', 'voiding') or next_lookup_at is not null)";
        let count: (i64,) = self.world.books.query(sql).one().await.expect("read");
        count.0
    }
}
