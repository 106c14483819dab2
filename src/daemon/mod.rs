//! The daemon: wires everything in one order, serves until it is told to stop, and drains. A start that cannot succeed says why
//! in one sentence and leaves nothing behind.

mod reload;
mod supervisor;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rand::{TryRng, rngs::SysRng};
use secrecy::ExposeSecret;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    billing::{
        App, api_keys, dunning_policies,
        gateway_operations::recover,
        gateways::refusals,
        jobs::instances::{self, Presence},
    },
    clock::Clock,
    config::{self, Config, GatewayConfig, Severity},
    gateway::Gateways,
    http,
    jobs::cron::{self, Jobs},
    store::{self, Db},
    telemetry,
};

/// A daemon that is up: its listener answers and its jobs run.
pub struct Daemon {
    pub app: Arc<App>,
    pub addr: SocketAddr,
    jobs: Jobs,
    server: JoinHandle<std::io::Result<()>>,
    /// Ends the listener; separate from `app.stopping`, which also ends claiming.
    closing: CancellationToken,
    /// Writes heartbeats until `left` is cancelled, or another daemon is found under this one's name.
    staying: JoinHandle<Presence>,
    left: CancellationToken,
    replaced: CancellationToken,
}

/// Runs until SIGTERM or SIGINT: what `rebilld serve` does.
pub async fn run(file: Option<PathBuf>) -> anyhow::Result<()> {
    let config = config::load(file.as_deref())?;
    telemetry::init(&config.log)?;
    // First, so that a signal that arrives during the start is not lost.
    let mut signals = Signals::new()?;
    let daemon = start(config, seed()?).await?;
    let watch = tokio::spawn(supervisor::watch(daemon.jobs.pulses()));
    supervisor::ready(daemon.addr);
    println!("rebilld listens on http://{}", daemon.addr);
    let replaced = daemon.replaced.clone();
    loop {
        tokio::select! {
            action = signals.next() => match action {
                SignalAction::Reload => supervisor::reloading(reload::reload(&daemon.app, file.as_deref())).await,
                SignalAction::Stop => break,
            },
            () = replaced.cancelled() => {
                tracing::error!(instance = daemon.app.instance, "another daemon has taken this one's name: stopping");
                break;
            }
        }
    }
    supervisor::stopping();
    watch.abort();
    tokio::select! {
        () = daemon.stop() => {}
        () = signals.stop() => tracing::warn!("told to stop once more: leaving at once; the next start looks up what was under way"),
    }
    if replaced.is_cancelled() {
        bail!("instance.name: another daemon on this database goes by the same name: give each one of its own");
    }
    Ok(())
}

/// Starts everything. Order matters: what can fail without touching anything comes first, the database file last.
pub async fn start(mut config: Config, seed: [u8; 32]) -> anyhow::Result<Daemon> {
    for problem in config.validate().iter().filter(|problem| problem.severity == Severity::Warning) {
        tracing::warn!("configuration: {problem}");
    }
    // Opens no connection, so a gateway that cannot be set up is found before anything is touched.
    let gateways = Gateways::connect(&config.gateways)?;
    let listener = bind(config.admin.listen).await?;
    // The port that was really taken: a daemon's claims are known by it.
    config.admin.listen = listener.local_addr().context("the listener has no address")?;
    let db = open_migrated(&config).await?;
    let app = Arc::new(App::new(db, Clock::System, config, gateways, seed));
    match serve(app.clone(), listener).await {
        Ok(daemon) => Ok(daemon),
        Err(error) => {
            app.db.close().await;
            Err(error)
        }
    }
}

async fn serve(app: Arc<App>, listener: TcpListener) -> anyhow::Result<Daemon> {
    let addr = app.config.admin.listen;
    // First: recovery looks for the claims of this instance's previous run.
    let presence = instances::arrive(&app).await?;
    // In steps, so that no transaction locks the rows of many payments for long.
    while recover::recover(&app, true).await? > 0 {}
    refusals::forget_replaced_keys(&app).await?;
    api_keys::bootstrap(&app).await?;
    for change in dunning_policies::configure(&app, &app.config).await? {
        tracing::info!("dunning policy {change}");
    }
    let closing = CancellationToken::new();
    let jobs = cron::start(app.clone()).await?;
    let server = tokio::spawn(http::serve(listener, app.clone(), closing.clone()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %addr,
        database = app.config.database.shown(),
        instance = app.instance,
        gateways = app.gateways.names().collect::<Vec<_>>().join(", "),
        "rebilld is up"
    );
    let (left, replaced) = (CancellationToken::new(), CancellationToken::new());
    let staying = tokio::spawn(stay(app.clone(), presence, left.clone(), replaced.clone()));
    Ok(Daemon { app, addr, jobs, server, closing, staying, left, replaced })
}

/// Keeps this daemon registered among the instances until `left` is cancelled.
async fn stay(app: Arc<App>, mut presence: Presence, left: CancellationToken, replaced: CancellationToken) -> Presence {
    tokio::select! {
        () = left.cancelled() => {}
        () = instances::stay(&app, &mut presence) => replaced.cancel(),
    }
    presence
}

impl Daemon {
    /// Claims nothing more, lets calls and requests in flight finish within `jobs.drain`, commits, closes the database.
    pub async fn stop(self) {
        let Self { app, jobs, server, closing, staying, left, .. } = self;
        let begun = Instant::now();
        tracing::info!(bound = ?app.config.jobs.drain, "stopping: nothing new is claimed, calls in flight may finish");
        app.stopping.cancel();
        closing.cancel();
        let abort = server.abort_handle();
        let (drained, served) = tokio::join!(jobs.drain(), tokio::time::timeout(app.config.jobs.drain, server));
        if served.is_err() {
            abort.abort();
        }
        if !drained || served.is_err() {
            tracing::warn!("not everything ended in time; the next start looks up what was under way");
        }
        left.cancel();
        let leaving = async {
            match staying.await {
                Ok(presence) => instances::leave(&app, presence).await,
                Err(_) => Ok(()),
            }
        };
        if !matches!(tokio::time::timeout(Duration::from_secs(5), leaving).await, Ok(Ok(()))) {
            tracing::warn!("the end of this run could not be recorded");
        }
        // A connection that is still open, of work that did not end in time, must not delay the exit.
        let _ = tokio::time::timeout(Duration::from_secs(5), app.db.close()).await;
        tracing::info!(took = ?begun.elapsed(), "stopped");
    }
}

/// 32 bytes that nobody can guess, from the system.
pub fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).context("the system has no randomness to give")?;
    Ok(seed)
}

async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(addr).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("admin.listen: {addr} is taken by another program: stop that one, or choose another address")
        }
        Err(error) => bail!("admin.listen: cannot listen on {addr}: {error}"),
    }
}

/// Opens the database and applies the missing migrations. A missing SQLite file is created.
pub async fn open_migrated(config: &Config) -> anyhow::Result<Db> {
    let db = open(config, true).await?;
    if let Err(error) = db.migrate().await {
        db.close().await;
        return Err(named(config, error));
    }
    Ok(db)
}

/// Opens a database that exists and has every migration; changes nothing.
pub async fn open_existing(config: &Config) -> anyhow::Result<Db> {
    let db = open(config, false).await?;
    if let Err(error) = db.check_migrated().await {
        db.close().await;
        return Err(named(config, error));
    }
    Ok(db)
}

/// An app without interfaces and gateways, for a command that does one thing and ends.
pub async fn idle(config: Config) -> anyhow::Result<App> {
    let db = open_existing(&config).await?;
    Ok(App::new(db, Clock::System, config, Gateways::default(), seed()?))
}

/// An app without interfaces, on a clock and a database of the caller's choice. Opens no connection to a gateway.
pub fn assemble(config: Config, db: Db, clock: Clock, seed: [u8; 32]) -> anyhow::Result<App> {
    let gateways = Gateways::connect(&config.gateways)?;
    Ok(App::new(db, clock, config, gateways, seed))
}

/// Why configured gateways could not be set up, one sentence each.
pub fn gateway_faults(config: &Config) -> Vec<String> {
    let alone =
        |(name, gateway): (&String, &GatewayConfig)| Gateways::connect(&BTreeMap::from([(name.clone(), gateway.clone())])).err();
    config.gateways.iter().filter_map(alone).map(|error| error.to_string()).collect()
}

async fn open(config: &Config, create: bool) -> anyhow::Result<Db> {
    let url = config.database.url.expose_secret();
    store::sqlite_file::check(url, create).map_err(|why| anyhow::anyhow!("database.url: {why}"))?;
    Db::open(url, config.database.max_connections, create).await.map_err(|error| named(config, error))
}

fn named(config: &Config, error: store::Error) -> anyhow::Error {
    anyhow::anyhow!("database.url {}: {error}", config.database.shown())
}

/// What a signal asks for.
enum SignalAction {
    Stop,
    Reload,
}

/// The signals that end the program or make it read its settings again. Listens from the moment it is created.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop,
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.hang_up.recv() => SignalAction::Reload,
        }
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn stop(&mut self) {
        while matches!(self.next().await, SignalAction::Reload) {}
    }
}
