//! Typed settings: defaults < file < environment. An unknown key is refused by name; a secret never reaches a log or an error.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::Path, time::Duration};

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::domain::{breaker::BreakerRules, dunning::FinalAction, lookup::LookupPolicy, money::Currency, plan::CatchUp};

mod changes;
mod dunning;
mod parse;
mod sources;
#[cfg(test)]
mod tests;
mod validate;

pub use dunning::{Caps, DunningConfig};
pub use validate::{ConfigProblem, Severity};

/// `config/rebilld.toml`: every key with its default and a comment.
pub const DEFAULTS: &str = include_str!("../config/rebilld.toml");

/// All settings, in the order of `config/rebilld.toml`, which explains each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub database: DatabaseConfig,
    pub admin: AdminConfig,
    pub billing: BillingConfig,
    pub installments: InstallmentsConfig,
    pub collection: CollectionConfig,
    /// Policies by name.
    pub dunning: BTreeMap<String, DunningConfig>,
    pub invariants: InvariantsConfig,
    pub jobs: JobsConfig,
    pub instance: InstanceConfig,
    pub log: LogConfig,
    /// Gateways by name. A `BTreeMap`, so that every list of gateways has one order.
    pub gateways: BTreeMap<String, GatewayConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Secret, since a PostgreSQL URL may hold a password. Show [`DatabaseConfig::shown`] instead.
    #[serde(deserialize_with = "parse::secret")]
    pub url: SecretString,
    pub url_file: String,
    pub max_connections: u32,
}

impl DatabaseConfig {
    /// The URL without its password.
    pub fn shown(&self) -> String {
        let url = self.url.expose_secret();
        match reqwest::Url::parse(url) {
            Ok(mut parsed) if parsed.password().is_some() => {
                let hidden = parsed.set_password(Some("***")).is_ok();
                if hidden { parsed.into() } else { format!("{}://***", parsed.scheme()) }
            }
            Ok(_) => url.to_owned(),
            Err(_) => "***".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    #[serde(deserialize_with = "parse::address")]
    pub listen: SocketAddr,
    /// Empty: none.
    #[serde(deserialize_with = "parse::secret")]
    pub bootstrap_key: SecretString,
    pub bootstrap_key_file: String,
    /// Without a slash at the end. Empty: the daemon has no public address.
    #[serde(deserialize_with = "parse::base_url")]
    pub public_url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingConfig {
    pub currency: Currency,
    #[serde(deserialize_with = "parse::zone")]
    pub timezone: Tz,
    #[serde(deserialize_with = "parse::time_of_day")]
    pub bill_at: NaiveTime,
    pub catch_up: CatchUp,
    pub catch_up_limit: u32,
    pub batch: u32,
    /// Bank holidays by calendar name.
    #[serde(deserialize_with = "parse::calendars")]
    pub holidays: BTreeMap<String, Vec<NaiveDate>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallmentsConfig {
    /// For plans without a value of their own; 0 = never.
    pub default_after: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    #[serde(deserialize_with = "parse::duration")]
    pub lease: TimeDelta,
    /// The last one repeats.
    #[serde(deserialize_with = "parse::durations")]
    pub lookup_backoff: Vec<TimeDelta>,
    /// The last one repeats.
    #[serde(deserialize_with = "parse::durations")]
    pub gateway_fault_backoff: Vec<TimeDelta>,
    /// By the invoice's own clock.
    #[serde(deserialize_with = "parse::duration")]
    pub refused_after: TimeDelta,
    /// Days after the first decline, rising.
    pub retry_days: Vec<u32>,
    pub final_action: FinalAction,
    /// The policy where none is named. Empty: the default that an operator has set, else `retry_days`.
    #[serde(deserialize_with = "parse::text")]
    pub dunning_policy: String,
    /// Caps for each credential. A gateway may have its own.
    pub caps: Caps,
    /// Empty: none.
    pub payment_request_gateway: String,
    #[serde(deserialize_with = "parse::duration")]
    pub payment_request_expires: TimeDelta,
    /// After the request, rising.
    #[serde(deserialize_with = "parse::durations")]
    pub payment_request_reminders: Vec<TimeDelta>,
    /// The last one repeats.
    #[serde(deserialize_with = "parse::durations")]
    pub payment_request_poll: Vec<TimeDelta>,
}

/// How often the last wait of `lookup_backoff` is repeated before an operator must decide: by default daily for a week.
const LAST_LOOKUP_REPEATS: i64 = 7;

impl CollectionConfig {
    /// When a call whose outcome is unknown is looked up.
    pub fn lookup_policy(&self) -> LookupPolicy {
        policy(&self.lookup_backoff)
    }

    /// How often a claim is renewed while its work goes on: one renewal may fail without loss of the claim.
    pub fn renew_every(&self) -> Duration {
        (self.lease / 3).to_std().expect("no setting is a negative duration")
    }

    /// When the gateway is asked what was paid by a request.
    pub fn poll_policy(&self) -> LookupPolicy {
        policy(&self.payment_request_poll)
    }
}

fn policy(delays: &[TimeDelta]) -> LookupPolicy {
    LookupPolicy { backoff: delays.to_vec(), repeats: LAST_LOOKUP_REPEATS }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvariantsConfig {
    #[serde(deserialize_with = "parse::duration")]
    pub overdue_after: TimeDelta,
    #[serde(deserialize_with = "parse::duration")]
    pub recent: TimeDelta,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsConfig {
    #[serde(deserialize_with = "parse::wait")]
    pub tick: Duration,
    #[serde(deserialize_with = "parse::wait")]
    pub drain: Duration,
    #[serde(deserialize_with = "parse::duration")]
    pub keep_runs: TimeDelta,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceConfig {
    /// Empty: host and port, see [`Config::instance_name`].
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
    Journald,
}

/// One account at one gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    pub kind: GatewayKind,
    pub mode: Mode,
    /// A slash at the end is removed.
    #[serde(deserialize_with = "parse::base_url")]
    pub base_url: String,
    #[serde(default, deserialize_with = "parse::secret")]
    pub api_key: SecretString,
    #[serde(default)]
    pub api_key_file: String,
    /// Paylike only; empty for other gateways.
    #[serde(default, deserialize_with = "parse::text")]
    pub merchant_id: String,
    #[serde(default = "default_timeout", deserialize_with = "parse::wait")]
    pub timeout: Duration,
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
    /// How long an authorization can be captured. After that the money must be authorized again.
    #[serde(default = "default_lifetime", deserialize_with = "parse::duration")]
    pub authorization_lifetime: TimeDelta,
    /// Override `collection.caps`, for each length of time.
    #[serde(default)]
    pub caps: Caps,
    #[serde(default)]
    pub breaker: BreakerConfig,
}

/// When the circuit breaker stops calls to a gateway. With 0 faults and a ratio of 0 it never does.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    pub faults: u32,
    /// Percent.
    pub ratio: u32,
    pub window: u32,
    pub probes: u32,
    /// The last one repeats.
    #[serde(deserialize_with = "parse::durations")]
    pub waits: Vec<TimeDelta>,
    #[serde(deserialize_with = "parse::duration")]
    pub longest_retry_after: TimeDelta,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let waits = [30, 60, 120, 300, 900].map(TimeDelta::seconds).to_vec();
        Self { faults: 5, ratio: 50, window: 20, probes: 3, waits, longest_retry_after: TimeDelta::hours(1) }
    }
}

impl BreakerConfig {
    pub fn rules(&self) -> BreakerRules {
        BreakerRules {
            faults: self.faults,
            ratio: self.ratio,
            window: self.window,
            probes: self.probes,
            longest_retry_after: self.longest_retry_after,
        }
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

/// How long an authorization can be captured, where a gateway's settings do not say.
pub const DEFAULT_AUTHORIZATION_LIFETIME: TimeDelta = TimeDelta::days(7);

fn default_lifetime() -> TimeDelta {
    DEFAULT_AUTHORIZATION_LIFETIME
}

fn default_in_flight() -> usize {
    64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayKind {
    Fluidpay,
    Paylike,
    Paysley,
    Sandbox,
}

/// Customers on a test clock reach gateways in test mode only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Live,
    Test,
}

/// Why the settings cannot be used: one sentence for each fault. No sentence shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub sentences: Vec<String>,
}

impl ConfigError {
    fn one(sentence: impl Into<String>) -> Self {
        Self { sentences: vec![sentence.into()] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration: ")?;
        f.write_str(&self.sentences.join("; "))
    }
}

impl std::error::Error for ConfigError {}

/// Reads the defaults, then `file`, then this process's environment, and refuses what [`Config::validate`] calls an error.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    load_from(file, std::env::vars_os(), credentials.as_deref().map(Path::new))
}

/// Like [`load`], with everything that is read as an argument.
pub fn load_from<N, V>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (N, V)>,
    credentials: Option<&Path>,
) -> Result<Config, ConfigError>
where
    N: AsRef<std::ffi::OsStr>,
    V: AsRef<std::ffi::OsStr>,
{
    let (config, mut sentences) = sources::Sources::gather(file, environment)?.extract();
    let Some(mut config) = config else { return Err(ConfigError { sentences }) };
    sentences.extend(config.read_files(credentials));
    sentences.extend(config.validate().into_iter().filter(|f| f.severity == Severity::Error).map(|f| f.to_string()));
    if sentences.is_empty() { Ok(config) } else { Err(ConfigError { sentences }) }
}

impl Config {
    /// The compiled-in defaults alone: no file, no environment.
    pub fn defaults() -> Self {
        let nothing: [(&str, &str); 0] = [];
        load_from(None, nothing, None).expect("config/rebilld.toml is whole: a test holds it to that")
    }

    /// The name under which this daemon claims work: the configured name, or host and port.
    pub fn instance_name(&self) -> String {
        if !self.instance.name.is_empty() {
            return self.instance.name.clone();
        }
        // From the kernel, not from /proc: the systemd unit hides that, and two hosts must never share a name.
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        format!("{host}:{}", self.admin.listen.port())
    }

    /// Replaces values by the contents of their `*_file`. Returns a sentence for each file that cannot be read.
    fn read_files(&mut self, credentials: Option<&Path>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut read = |key: &str, file: &str, value: &mut SecretString, exclusive: bool| {
            if file.is_empty() {
                return;
            }
            if exclusive && !value.expose_secret().is_empty() {
                faults.push(format!("{key} and {key}_file are both set: keep one of them"));
                return;
            }
            match parse::secret_file(file, credentials) {
                Ok(text) => *value = text.into(),
                Err(why) => faults.push(format!("{key}_file: {why}")),
            }
        };
        // The URL always has a value, its default at least, so the file wins instead of being refused beside it.
        read("database.url", &self.database.url_file, &mut self.database.url, false);
        read("admin.bootstrap_key", &self.admin.bootstrap_key_file, &mut self.admin.bootstrap_key, true);
        for (name, gateway) in &mut self.gateways {
            read(&format!("gateways.{name}.api_key"), &gateway.api_key_file, &mut gateway.api_key, true);
        }
        faults
    }
}
