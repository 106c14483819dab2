//! The daemon and the pretend gateway as processes of their own: this program's own file, started as an operator starts it.

use std::process::Stdio;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use reqwest::Client;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{database::GATEWAY, population::PREFIX};
use crate::{
    config::{Config, GatewayConfig},
    sandbox::Latency,
};

/// A process that is killed when it is dropped. What a sandbox remembers is lost with it.
pub struct Process {
    child: Child,
    url: String,
    client: Client,
}

/// What a daemon has asked of its database so far, and its peak memory.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub statements: u64,
    pub commits: u64,
    pub rows: u64,
    pub peak_rss_kib: u64,
}

impl Process {
    /// Starts a pretend gateway with this many cards.
    pub async fn sandbox(latency: Latency, cards: u32) -> anyhow::Result<Self> {
        let latency = latency.to_string();
        let arguments = ["sandbox", "--listen", "127.0.0.1:0", "--latency", &latency];
        let sandbox = Self::start(&arguments, &[], "sandbox listens on ").await?;
        let wanted = serde_json::json!({ "count": cards, "prefix": PREFIX });
        let path = "/_sandbox/tokens";
        let made = sandbox.client.post(format!("{}{path}", sandbox.url)).json(&wanted).send().await.context(path)?;
        made.error_for_status()?;
        Ok(sandbox)
    }

    /// Starts a daemon with one gateway, whose bill dates fall due at this time of day. Its jobs run as soon as it is up.
    pub async fn daemon(config: &Config, gateway: &GatewayConfig, bill_at: DateTime<Utc>) -> anyhow::Result<Self> {
        let gateways = GATEWAY.to_uppercase();
        let mut settings = vec![
            ("DATABASE__URL".to_owned(), config.database.url.expose_secret().to_owned()),
            ("ADMIN__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("INSTANCE__NAME".to_owned(), "bench".to_owned()),
            ("LOG__LEVEL".to_owned(), "warn".to_owned()),
            ("BILLING__BILL_AT".to_owned(), bill_at.format("%H:%M").to_string()),
        ];
        for (key, value) in [
            ("KIND", "sandbox".to_owned()),
            ("MODE", "test".to_owned()),
            ("BASE_URL", gateway.base_url.clone()),
            ("API_KEY", gateway.api_key.expose_secret().to_owned()),
            ("TIMEOUT", format!("{}s", gateway.timeout.as_secs())),
            ("MAX_IN_FLIGHT", gateway.max_in_flight.to_string()),
        ] {
            settings.push((format!("GATEWAYS__{gateways}__{key}"), value));
        }
        Self::start(&["serve"], &settings, "rebilld listens on ").await
    }

    async fn start(arguments: &[&str], settings: &[(String, String)], ready: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program cannot find its own file")?;
        let mut command = Command::new(program);
        // Settings in the caller's environment are dropped, so that two runs measure the same.
        command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.envs(settings.iter().map(|(key, value)| (format!("REBILLD_{key}"), value)));
        let what = format!("`rebilld {}`", arguments.join(" "));
        let mut child = command.spawn().with_context(|| format!("{what} cannot be started"))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some((_, url)) = line.split_once(ready) {
                let url = url.to_owned();
                // Later output is read and dropped, or the full pipe would block the process.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                let client = Client::builder().no_proxy().timeout(std::time::Duration::from_mins(2)).build()?;
                return Ok(Self { child, url, client });
            }
        }
        bail!("{what} did not come up: see what it says above")
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.with_context(|| path.to_owned())?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Whether the process has ended by itself, which is a fault.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub async fn effort(&self) -> anyhow::Result<Effort> {
        let metrics = self.get("/metrics").await?;
        let counter = |name: &str| -> anyhow::Result<u64> {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|text| text.parse().ok()).with_context(|| format!("/metrics has no {name}"))
        };
        let id = self.child.id().context("the daemon has ended")?;
        let status =
            std::fs::read_to_string(format!("/proc/{id}/status")).context("peak memory is read from /proc, as on Linux")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        Ok(Effort {
            statements: counter(crate::telemetry::DATABASE_STATEMENTS)?,
            commits: counter(crate::telemetry::DATABASE_COMMITS)?,
            rows: counter(crate::telemetry::DATABASE_ROWS)?,
            peak_rss_kib: peak.context("/proc says nothing about peak memory")?,
        })
    }

    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("a process could not be stopped")
    }
}
