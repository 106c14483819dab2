//! The database that a benchmark fills: a temporary one, or one that the caller names and that has nothing in it.

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::{
    billing::App,
    clock::Clock,
    config::{Caps, Config, DEFAULT_AUTHORIZATION_LIFETIME, GatewayConfig, GatewayKind, Mode},
    daemon, sandbox, store,
    store::tables::TABLES,
};

/// The name of the only gateway.
pub const GATEWAY: &str = "bench";

/// The database of a benchmark. Dropping it removes a temporary one, however the benchmark ends.
pub struct BenchDatabase {
    pub config: Config,
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    _folder: Option<TempDir>,
}

impl BenchDatabase {
    /// Settings of a daemon on this database. Missing tables are created.
    pub async fn prepare(database: Option<&str>) -> anyhow::Result<Self> {
        let folder = match database {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("rebilld-bench-").tempdir().context("no folder for the database")?),
        };
        let mut config = Config::defaults();
        config.database.url = match (database, &folder) {
            (Some(url), _) => url.to_owned(),
            (None, Some(folder)) => format!("sqlite://{}", folder.path().join("rebilld.db").display()),
            (None, None) => bail!("no folder for the database"),
        }
        .into();
        config.database.max_connections = 4;
        "warn".clone_into(&mut config.log.level);
        refuse_what_is_used(&config).await?;
        let kind = if config.database.url.expose_secret().starts_with("sqlite:") { "sqlite" } else { "postgres" };
        Ok(Self { config, kind, _folder: folder })
    }

    /// An app on this database, to store rows and to read them.
    pub async fn open(&self) -> anyhow::Result<App> {
        let db = daemon::open_existing(&self.config).await?;
        daemon::assemble(self.config.clone(), db, Clock::System, daemon::seed()?)
    }
}

/// One gateway, at the sandbox with this address.
pub fn gateway(sandbox: &str, in_flight: u32) -> GatewayConfig {
    GatewayConfig {
        kind: GatewayKind::Sandbox,
        mode: Mode::Test,
        base_url: format!("{sandbox}/api"),
        api_key: sandbox::FLUIDPAY_KEY.to_owned().into(),
        api_key_file: String::new(),
        merchant_id: String::new(),
        // Longer than the longest latency that an option allows, shorter than a lease.
        timeout: std::time::Duration::from_secs(50),
        max_in_flight: in_flight as usize,
        authorization_lifetime: DEFAULT_AUTHORIZATION_LIFETIME,
        caps: Caps::default(),
        breaker: Default::default(),
    }
}

async fn refuse_what_is_used(config: &Config) -> anyhow::Result<()> {
    let shown = config.database.shown();
    let url = config.database.url.expose_secret();
    store::sqlite_file::check(url, true).map_err(|why| anyhow::anyhow!("--database: {why}"))?;
    let db = store::Db::open(url, 1, true).await.map_err(|error| anyhow::anyhow!("--database {shown}: {error}"))?;
    let checked = async {
        let names = db.table_names().await?;
        if !names.is_empty() && !names.iter().any(|name| name == "_sqlx_migrations") {
            bail!("--database {shown} belongs to another program: name one with nothing in it");
        }
        db.migrate().await?;
        for table in TABLES.iter().filter(|table| table.name != "counters") {
            let found = store::tables::read(&db, [table], |table, _| Err(Occupied::By(table.name))).await;
            match found {
                Ok(()) => {}
                Err(Occupied::By(table)) => {
                    bail!("--database {shown} has rows in `{table}`: the benchmark fills its database, so name one with nothing in it")
                }
                Err(Occupied::Fault(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }
    .await;
    db.close().await;
    checked
}

enum Occupied {
    By(&'static str),
    Fault(store::Error),
}

impl From<store::Error> for Occupied {
    fn from(error: store::Error) -> Self {
        Self::Fault(error)
    }
}
