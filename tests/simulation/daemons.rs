//! The daemons of a run: they are born, tick, are killed or frozen, and are born again on the same database.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use rebilld::{
    billing::{App, Result, gateway_operations::recover},
    config::Config,
    domain::clock::Timeline,
    gateway::{Configured, Gateway, Gateways, fluidpay::FluidPay, http::Settings, paylike::Paylike},
    jobs::{JOBS, JobSchedule},
    sandbox::{FLUIDPAY_KEY, PAYLIKE_KEY, PAYLIKE_MERCHANT},
};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    dice::Dice,
    life::{Life, Task},
    watch::Watch,
    wire::InProcess,
    world::World,
};

pub const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Daemon {
    pub name: &'static str,
    pub life: Arc<Life>,
    pub app: Arc<App>,
    lives: usize,
    tasks: BTreeMap<String, JoinHandle<Option<Result<String>>>>,
}

/// How far a clock may be off, in milliseconds.
pub fn skew(dice: &mut Dice) -> i64 {
    dice.number(4000) - 2000
}

/// The real adapters, over the way without a socket.
pub fn gateways(life: &Arc<Life>, max_in_flight: usize) -> Gateways {
    let settings = |name: &str, base_url: &str, key: &str| Settings {
        name: name.into(),
        base_url: base_url.into(),
        api_key: key.to_owned().into(),
        merchant_id: PAYLIKE_MERCHANT.into(),
        timeout: TIMEOUT,
        max_in_flight,
    };
    let wire = || Arc::new(InProcess(life.clone()));
    let fluid = FluidPay::through(&settings("fluid", "http://gateway/api", FLUIDPAY_KEY), wire()).expect("settings");
    let paylike = Paylike::through(&settings("paylike", "http://gateway", PAYLIKE_KEY), wire()).expect("settings");
    let mut gateways = Gateways::default();
    let adapters: [(&str, Arc<dyn Gateway>); 2] = [("fluid", Arc::new(fluid)), ("paylike", Arc::new(paylike))];
    for (name, adapter) in adapters {
        gateways.insert(Configured { name: name.into(), live: false, permits: Semaphore::new(max_in_flight), adapter });
    }
    gateways
}

fn app(life: &Arc<Life>, config: &Config, turn: &Arc<Semaphore>) -> Arc<App> {
    let world = &life.world;
    let db = world.books.observed_by(Watch::new(life.clone(), turn.clone()));
    let (seed, max_in_flight) = world.dice(|dice| (dice.bytes(), dice.pick(&[1, 2, 8])));
    let mut config = config.clone();
    config.instance.name.clone_from(&life.name);
    Arc::new(App::new(db, life.clock.clone(), config, gateways(life, max_in_flight), seed))
}

impl Daemon {
    pub fn new(name: &'static str, world: &Arc<World>, config: &Config, turn: &Arc<Semaphore>) -> Self {
        let skew = TimeDelta::milliseconds(world.dice(skew));
        let life = Life::new(name, world.clone(), skew);
        Self { name, app: app(&life, config, turn), life, lives: 1, tasks: BTreeMap::new() }
    }

    /// A new process takes the place of one that is gone.
    pub async fn bury_and_bear(&mut self, config: &Config, turn: &Arc<Semaphore>) {
        self.bury().await;
        let world = self.life.world.clone();
        let (name, lives) = (self.name, self.lives + 1);
        *self = Self { lives, ..Self::new(name, &world, config, turn) };
        world.tell(name, &format!("life {lives}"));
        self.start();
    }

    /// What is left of its tasks goes.
    pub async fn bury(&mut self) {
        for task in std::mem::take(&mut self.tasks).into_values() {
            task.abort();
            let _ = task.await;
        }
    }

    /// What a daemon does before anything else.
    pub fn start(&mut self) {
        let app = self.app.clone();
        self.spawn("start", async move {
            let mut freed = 0;
            loop {
                match recover::recover(&app, true).await {
                    Ok(0) => return Ok(format!("freed {freed}")),
                    Ok(more) => freed += more,
                    // It could not start, and whoever supervises it starts it again.
                    Err(_) => sleep(Duration::from_secs(1)).await,
                }
            }
        });
    }

    pub fn spawn(&mut self, name: impl Into<String>, work: impl Future<Output = Result<String>> + Send + 'static) {
        let name = name.into();
        let (life, told) = (self.life.clone(), name.clone());
        let task = Task::new(&self.life, async move {
            let done = work.await;
            let words = match &done {
                Ok(words) => format!("{told}: {words}"),
                Err(refusal) => format!("{told} was refused: {refusal}"),
            };
            life.world.tell(&life.name, &words);
            done
        });
        self.tasks.insert(name, tokio::spawn(task));
    }

    /// Every job is done that is not being done already, and again while its schedule is rung.
    pub fn tick(&mut self) {
        if self.tasks.contains_key("start") {
            return;
        }
        for job in JOBS.iter().filter(|job| job.schedule == JobSchedule::EveryTick && job.name != "roll_outs") {
            if self.tasks.contains_key(job.name) {
                continue;
            }
            let app = self.app.clone();
            self.spawn(job.name, async move {
                let mut words = String::new();
                for _ in 0..4 {
                    let counts = (job.run)(&app, Timeline::Wall, app.clock.now()).await?;
                    words.push_str(&serde_json::to_string(&counts).unwrap_or_default());
                    if timeout(Duration::from_millis(1500), (job.wake)(&app.wakeups).notified()).await.is_err() {
                        break;
                    }
                }
                Ok(words)
            });
        }
    }

    /// Forgets what has ended; whether all has. A panic is a broken promise of its own.
    pub async fn is_idle(&mut self) -> bool {
        let ended: Vec<String> = self.tasks.iter().filter(|(_, task)| task.is_finished()).map(|(name, _)| name.clone()).collect();
        for name in ended {
            let Some(task) = self.tasks.remove(&name) else { continue };
            if let Err(error) = task.await {
                self.life.world.panicked(format!("{name} of {}: {error}", self.name));
            }
        }
        self.tasks.is_empty()
    }
}
