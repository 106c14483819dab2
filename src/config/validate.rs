//! What is wrong with settings that can be read: all at once, each as a sentence that says what to write instead.

use std::fmt;

use chrono::TimeDelta;
use reqwest::Url;
use secrecy::ExposeSecret;

use super::{Config, GatewayConfig, GatewayKind, Mode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Stops the start.
    Error,
    /// Shown by `rebilld check` and logged at the start.
    Warning,
}

/// What is wrong with one key. `Display` is the whole sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    pub severity: Severity,
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}

#[derive(Default)]
struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn error(&mut self, wrong: bool, key: impl Into<String>, message: impl Into<String>) {
        self.add(wrong, Severity::Error, key, message);
    }

    fn warning(&mut self, wrong: bool, key: impl Into<String>, message: impl Into<String>) {
        self.add(wrong, Severity::Warning, key, message);
    }

    fn add(&mut self, wrong: bool, severity: Severity, key: impl Into<String>, message: impl Into<String>) {
        if wrong {
            self.0.push(ConfigProblem { severity, key: key.into(), message: message.into() });
        }
    }
}

impl Config {
    /// Everything wrong with these settings, in the order of the file. Empty: they can be used.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Problems::default();
        let url = self.database.url.expose_secret();
        let known = ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        problems.error(!known, "database.url", "must begin with sqlite:// or postgres://");
        problems.error(self.database.max_connections == 0, "database.max_connections", "must be at least 1");
        self.public_url_problems(&mut problems);
        // A claim holds an advisory lock for each of its credentials, and PostgreSQL has some thousands of locks in all.
        problems.error(!(1..=1000).contains(&self.billing.batch), "billing.batch", "must be from 1 to 1000");

        let collection = &self.collection;
        problems.error(collection.lease.is_zero(), "collection.lease", "must be longer than 0s");
        problems.error(collection.refused_after.is_zero(), "collection.refused_after", "must be longer than 0s");
        for (key, waits) in [
            ("collection.lookup_backoff", &collection.lookup_backoff),
            ("collection.gateway_fault_backoff", &collection.gateway_fault_backoff),
            ("collection.payment_request_poll", &collection.payment_request_poll),
        ] {
            problems.error(waits.is_empty(), key, "must hold at least one duration");
            problems.error(waits.iter().any(TimeDelta::is_zero), key, "must hold durations longer than 0s");
        }
        let days = &collection.retry_days;
        let rising = days.first().is_none_or(|first| *first > 0) && days.windows(2).all(|pair| pair[0] < pair[1]);
        problems.error(!rising, "collection.retry_days", "must be rising whole days from 1, such as [1, 3, 5, 7]");
        self.dunning_problems(&mut problems);

        problems.error(
            collection.payment_request_expires.is_zero(),
            "collection.payment_request_expires",
            "must be longer than 0s",
        );
        let rising = collection.payment_request_reminders.first().is_none_or(|first| !first.is_zero())
            && collection.payment_request_reminders.windows(2).all(|pair| pair[0] < pair[1]);
        problems.error(!rising, "collection.payment_request_reminders", "must be rising durations such as [\"3d\", \"10d\"]");
        let asks = |gateway: &GatewayConfig| matches!(gateway.kind, GatewayKind::Paysley | GatewayKind::Paylike);
        let named = &collection.payment_request_gateway;
        problems.error(
            !named.is_empty() && !self.gateways.get(named).is_some_and(asks),
            "collection.payment_request_gateway",
            "must name a configured gateway of the kind paysley or paylike",
        );

        problems.error(self.jobs.tick.is_zero(), "jobs.tick", "must be longer than 0s");
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.level);
        let level = self.log.level.trim();
        problems.error(
            level.is_empty() || filter.is_err(),
            "log.level",
            "must be error, warn, info, debug, trace or a list of filters such as \"info,rebilld::gateway=debug\"",
        );
        for (name, gateway) in &self.gateways {
            self.gateway_problems(name, gateway, &mut problems);
        }
        problems.0
    }

    fn dunning_problems(&self, problems: &mut Problems) {
        let default = &self.collection.dunning_policy;
        let known = self.dunning.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {known}") };
        problems.error(
            !default.is_empty() && !self.dunning.contains_key(default),
            "collection.dunning_policy",
            format!("must name a policy of the settings, [dunning.<name>]: {known}"),
        );
        for (name, dunning_rules) in self.policies() {
            let usable = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
            problems.error(
                name.is_empty() || !usable || name.contains("__") || name.starts_with("dun_"),
                format!("dunning.{name}"),
                "is no usable name: take a-z, 0-9, `-` and single `_`",
            );
            for (path, message) in dunning_rules.faults(self.billing.bill_at) {
                problems.error(true, format!("dunning.{name}.{path}"), message);
            }
        }
    }

    fn public_url_problems(&self, problems: &mut Problems) {
        let url = &self.admin.public_url;
        let fine = |url: &Url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.username().is_empty()
        };
        problems.error(
            !url.is_empty() && !Url::parse(url).is_ok_and(|url| fine(&url)),
            "admin.public_url",
            "must be an http or https address such as https://billing.example.com",
        );
    }

    fn gateway_problems(&self, name: &str, gateway: &GatewayConfig, problems: &mut Problems) {
        let key = |field: &str| format!("gateways.{name}.{field}");
        let usable = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        problems.error(
            name.is_empty() || !usable || name.contains("__"),
            format!("gateways.{name}"),
            "is no usable name: take a-z, 0-9, `-` and single `_`",
        );
        match Url::parse(&gateway.base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            None => problems.error(true, key("base_url"), "must be an http or https address such as https://host/api"),
            Some(url) => {
                let tells =
                    !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some();
                problems.error(tells, key("base_url"), "must be a bare address, without user, password, `?` or `#`");
                let open = url.scheme() == "http" && !is_loopback(&url);
                problems.error(gateway.mode == Mode::Live && open, key("base_url"), "must be https in live mode");
            }
        }
        let keyless = gateway.api_key.expose_secret().is_empty();
        problems.error(
            keyless && gateway.kind != GatewayKind::Sandbox,
            key("api_key"),
            "is missing: set it, or name a file in api_key_file",
        );
        let in_header = |secret: &str| secret.chars().all(|c| c.is_ascii_graphic());
        problems.error(!in_header(gateway.api_key.expose_secret()), key("api_key"), "must be printable ASCII without spaces");
        let paylike = gateway.kind == GatewayKind::Paylike;
        problems.error(paylike && gateway.merchant_id.is_empty(), key("merchant_id"), "is missing: Paylike needs one");
        problems.error(gateway.timeout.is_zero(), key("timeout"), "must be longer than 0s");
        problems.error(gateway.max_in_flight == 0, key("max_in_flight"), "must be at least 1");
        let breaker = &gateway.breaker;
        problems.error(breaker.ratio > 100, key("breaker.ratio"), "is a percentage: 0 to 100");
        problems.error(breaker.window > 10_000, key("breaker.window"), "must be at most 10000");
        problems.error(breaker.probes == 0, key("breaker.probes"), "must be at least 1");
        problems.error(breaker.waits.is_empty(), key("breaker.waits"), "must hold at least one duration");
        problems.error(breaker.waits.iter().any(TimeDelta::is_zero), key("breaker.waits"), "must hold durations longer than 0s");
        let short = gateway.authorization_lifetime < TimeDelta::days(1);
        problems.error(short, key("authorization_lifetime"), "must be at least 1d");
        problems.warning(
            self.collection.lease.to_std().is_ok_and(|lease| lease <= gateway.timeout),
            key("timeout"),
            format!(
                "should be shorter than collection.lease ({}): slow calls will be looked up while they still run",
                humantime(self.collection.lease)
            ),
        );
    }
}

fn is_loopback(url: &Url) -> bool {
    // Only `localhost` itself and loopback addresses: other names may resolve to anything.
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn humantime(duration: TimeDelta) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.num_seconds())
    } else {
        format!("{}ms", duration.num_milliseconds())
    }
}
