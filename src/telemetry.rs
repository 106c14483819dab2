//! Logs and metrics. Logs go to stderr only, in the format that fits its reader. One table here declares every metric.

use std::{fmt, io::IsTerminal, os::unix::fs::MetadataExt, sync::OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, SubscriberBuilder,
        format::{DefaultFields, Format, Full, Writer},
    },
    registry::LookupSpan,
};

use crate::config::{LogConfig, LogFormat};

/// Billing cycles opened, each with its invoice.
pub const CYCLES_OPENED: &str = "rebilld_cycles_opened_total";
pub const INSTALLMENTS_OPENED: &str = "rebilld_installments_opened_total";
/// Payments that reached an outcome. Labels `gateway`, `status`.
pub const PAYMENTS: &str = "rebilld_payments_total";
/// What became of payment requests. Labels `gateway`, `status`: sent, reminded, paid, expired, withdrawn, refused, parked.
pub const PAYMENT_REQUESTS: &str = "rebilld_payment_requests_total";
pub const PAYMENT_REQUESTS_OPEN: &str = "rebilld_payment_requests_open";
pub const PAYMENT_REQUESTS_PARKED: &str = "rebilld_payment_requests_parked";
/// Duration of one call. Labels `gateway`, `operation`.
pub const GATEWAY_CALL_SECONDS: &str = "rebilld_gateway_call_seconds";
/// 0 closed, 1 half open, 2 open, 3 paused by an operator, 4 refuses the account. Label `gateway`.
pub const GATEWAY_STATE: &str = "rebilld_gateway_state";
/// Label `gateway`.
pub const GATEWAY_IN_FLIGHT: &str = "rebilld_gateway_in_flight";
/// Calls that met no answer, 5xx or 429. Labels `gateway`, `kind`.
pub const GATEWAY_FAULTS: &str = "rebilld_gateway_faults_total";
pub const INVOICES_OPEN: &str = "rebilld_invoices_open";
pub const PAYMENTS_UNKNOWN: &str = "rebilld_payments_unknown";
pub const PAYMENTS_PARKED: &str = "rebilld_payments_parked";
pub const SUBSCRIPTIONS_PARKED: &str = "rebilld_subscriptions_parked";
/// Violations of an invariant that the last check found. Label `invariant`.
pub const INVARIANT_VIOLATIONS: &str = "rebilld_invariant_violations";
/// Runs that ended. Labels `job`, `result`.
pub const JOB_RUNS: &str = "rebilld_job_runs_total";
/// Duration of one run. Label `job`.
pub const JOB_SECONDS: &str = "rebilld_job_seconds";
/// What the daemon has asked of its database since it started.
pub const DATABASE_STATEMENTS: &str = "rebilld_database_statements_total";
pub const DATABASE_COMMITS: &str = "rebilld_database_commits_total";
pub const DATABASE_ROWS: &str = "rebilld_database_rows_written_total";
/// Always 1. Label `version`.
pub const BUILD_INFO: &str = "rebilld_build_info";

/// A count as a gauge shows it.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; they are exact up to 2^53 rows, which no table reaches")]
pub fn level(count: i64) -> f64 {
    count as f64
}

enum Shape {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

/// A gateway answers after milliseconds (the sandbox) up to the timeout (30 s).
const CALL_BUCKETS_S: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A run may find nothing to do, or bill a million.
const RUN_BUCKETS_S: &[f64] = &[0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0];

/// Every metric there is, and the HELP line an operator reads.
const TABLE: &[(&str, Shape, &str)] = &[
    (CYCLES_OPENED, Shape::Counter, "Billing cycles opened, each with its invoice."),
    (INSTALLMENTS_OPENED, Shape::Counter, "Installments that fell due, each with its invoice."),
    (PAYMENTS, Shape::Counter, "Payments that reached an outcome, by gateway and status."),
    (PAYMENT_REQUESTS, Shape::Counter, "Payment requests sent, reminded of, paid or closed, by gateway and status."),
    (PAYMENT_REQUESTS_OPEN, Shape::Gauge, "Payment requests that customers may still pay."),
    (PAYMENT_REQUESTS_PARKED, Shape::Gauge, "Payment requests that wait for an operator."),
    (GATEWAY_CALL_SECONDS, Shape::Histogram(CALL_BUCKETS_S), "Seconds one gateway call took, by gateway and operation."),
    (
        GATEWAY_STATE,
        Shape::Gauge,
        "Whether a gateway is charged: 0 yes, 1 a few probes, 2 not for now, 3 paused by an operator, 4 it refuses the account.",
    ),
    (GATEWAY_IN_FLIGHT, Shape::Gauge, "Calls under way, by gateway."),
    (GATEWAY_FAULTS, Shape::Counter, "Calls that met no answer, 5xx or 429, by gateway and kind."),
    (INVOICES_OPEN, Shape::Gauge, "Invoices not yet paid, voided or given up."),
    (PAYMENTS_UNKNOWN, Shape::Gauge, "Payments whose outcome is not known yet; they are looked up, never charged again."),
    (PAYMENTS_PARKED, Shape::Gauge, "Payments that wait for an operator."),
    (SUBSCRIPTIONS_PARKED, Shape::Gauge, "Subscriptions that wait for an operator."),
    (INVARIANT_VIOLATIONS, Shape::Gauge, "What breaks an invariant, by invariant; anything above 0 needs a look."),
    (JOB_RUNS, Shape::Counter, "Job runs that ended, by job and result."),
    (JOB_SECONDS, Shape::Histogram(RUN_BUCKETS_S), "Seconds one job run took, by job."),
    (DATABASE_STATEMENTS, Shape::Counter, "Statements sent to the database."),
    (DATABASE_COMMITS, Shape::Counter, "Transactions committed."),
    (DATABASE_ROWS, Shape::Counter, "Rows inserted or updated in groups."),
    (BUILD_INFO, Shape::Gauge, "Always 1; the label says which version runs."),
];

/// `RUST_LOG` is no valid filter.
#[derive(Debug, thiserror::Error)]
#[error("RUST_LOG must be a level or a list of filters such as \"info,rebilld::gateway=debug\": {0}")]
pub struct BadFilter(String);

/// Starts logs and metrics. A second start changes nothing.
pub fn init(log: &LogConfig) -> Result<(), BadFilter> {
    metrics();
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()).unwrap_or_else(|| log.level.clone());
    let filter = filter(&directives)?;
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    // A macro, since each format is a type of its own. If a logger is set already, it stays.
    macro_rules! start {
        ($builder:expr) => {{
            let builder = $builder.with_filter_reloading();
            let handle = builder.reload_handle();
            if tracing::subscriber::set_global_default(builder.finish()).is_ok() {
                let _ = SET_FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
            }
        }};
    }
    match chosen(log.format, is_journal()) {
        LogFormat::Json => start!(builder.json().flatten_event(true)),
        LogFormat::Journald => start!(journald(builder)),
        LogFormat::Text | LogFormat::Auto => {
            let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            start!(builder.with_ansi(color));
        }
    }
    Ok(())
}

/// The filter, with the scheduler at `warn`: what it logs at `info` tells an operator nothing. A directive for it still wins.
fn filter(directives: &str) -> Result<EnvFilter, BadFilter> {
    EnvFilter::try_new(format!("tokio_cron_scheduler=warn,{directives}")).map_err(|error| BadFilter(error.to_string()))
}

type SetFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// Replaces the filter of the running logger.
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Sets the level of the running logger. False: `RUST_LOG` is set and wins.
pub fn set_level(log: &LogConfig) -> Result<bool, BadFilter> {
    if std::env::var("RUST_LOG").is_ok_and(|text| !text.is_empty()) {
        return Ok(false);
    }
    let filter = filter(&log.level)?;
    if let Some(set) = SET_FILTER.get() {
        set(filter);
    }
    Ok(true)
}

/// The metrics of this process; [`PrometheusHandle::render`] is the text of `/metrics`.
///
/// Samples of histograms are kept until they are rendered. A process that may never be scraped must call
/// [`PrometheusHandle::run_upkeep`] now and then, or they fill its memory.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for (name, shape, _) in TABLE {
            if let Shape::Histogram(buckets) = shape {
                builder =
                    builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets).expect("buckets are not empty");
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Nothing else in this process installs a recorder.
        metrics::set_global_recorder(recorder).unwrap_or_else(|_| unreachable!("the OnceLock admits one recorder"));
        for (name, shape, help) in TABLE {
            match shape {
                Shape::Counter => metrics::describe_counter!(*name, *help),
                Shape::Gauge => metrics::describe_gauge!(*name, *help),
                Shape::Histogram(_) => metrics::describe_histogram!(*name, metrics::Unit::Seconds, *help),
            }
        }
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
        metrics::counter!(CYCLES_OPENED).absolute(0);
        metrics::counter!(INSTALLMENTS_OPENED).absolute(0);
        for counter in [DATABASE_STATEMENTS, DATABASE_COMMITS, DATABASE_ROWS] {
            metrics::counter!(counter).absolute(0);
        }
        handle
    })
}

fn chosen(format: LogFormat, journal: bool) -> LogFormat {
    match format {
        LogFormat::Auto if journal => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Text,
        chosen => chosen,
    }
}

/// Whether stderr is the journal's socket. systemd names the socket in `JOURNAL_STREAM`; a child with a redirected stderr
/// inherits the variable, so the name is compared with stderr itself.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

type Builder<W> = SubscriberBuilder<DefaultFields, Format<Full>, EnvFilter, W>;

fn journald<W>(builder: Builder<W>) -> SubscriberBuilder<DefaultFields, Prioritized, EnvFilter, W>
where
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let inner = Format::default().without_time().with_level(false).with_ansi(false);
    builder.with_ansi(false).event_format(Prioritized { inner })
}

/// One line for each event, with its syslog priority (`<6>`), which the journal removes. Without a time: the journal adds it.
struct Prioritized {
    inner: Format<Full, ()>,
}

impl<S, N> FormatEvent<S, N> for Prioritized
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        // A line break would end the event, and the text after it could claim another priority.
        writeln!(writer, "<{priority}>{}", line.trim_end().replace('\n', "\\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("sink").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_journal_gets_priorities_and_no_forged_lines() {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = EnvFilter::new("info");
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone());
        tracing::subscriber::with_default(journald(builder).finish(), || {
            tracing::info!(subscription = "sub_1", "billed");
            tracing::error!("broken\n<6>forged");
            tracing::debug!("not shown");
        });
        let text = String::from_utf8(sink.0.lock().expect("sink").clone()).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0], "<6>rebilld::telemetry::tests: billed subscription=\"sub_1\"");
        assert!(lines[1].starts_with("<3>") && lines[1].contains("broken\\n<6>forged"), "{text}");
    }

    #[test]
    fn auto_follows_the_reader() {
        assert_eq!(chosen(LogFormat::Auto, true), LogFormat::Journald);
        assert_eq!(chosen(LogFormat::Auto, false), LogFormat::Text);
        assert_eq!(chosen(LogFormat::Json, true), LogFormat::Json);
    }

    #[test]
    fn every_metric_is_rendered_with_help_and_buckets() {
        let handle = metrics();
        metrics::counter!(PAYMENTS, "gateway" => "fluid", "status" => "succeeded").increment(1);
        metrics::counter!(PAYMENT_REQUESTS, "gateway" => "paysley", "status" => "sent").increment(1);
        metrics::counter!(JOB_RUNS, "job" => "bill", "result" => "ok").increment(1);
        metrics::histogram!(GATEWAY_CALL_SECONDS, "gateway" => "fluid", "operation" => "charge").record(0.2);
        metrics::histogram!(JOB_SECONDS, "job" => "bill").record(2.0);
        metrics::counter!(GATEWAY_FAULTS, "gateway" => "fluid", "kind" => "timed_out").increment(1);
        metrics::gauge!(INVARIANT_VIOLATIONS, "invariant" => "invoices_stuck").set(0);
        for gauge in [GATEWAY_STATE, GATEWAY_IN_FLIGHT] {
            metrics::gauge!(gauge, "gateway" => "fluid").set(0);
        }
        let requests = [PAYMENT_REQUESTS_OPEN, PAYMENT_REQUESTS_PARKED];
        for gauge in [INVOICES_OPEN, PAYMENTS_UNKNOWN, PAYMENTS_PARKED, SUBSCRIPTIONS_PARKED].into_iter().chain(requests) {
            metrics::gauge!(gauge).set(0);
        }
        handle.run_upkeep();
        let text = handle.render();
        for (name, _, help) in TABLE {
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "no HELP for {name}:\n{text}");
        }
        for line in [
            "rebilld_payments_total{gateway=\"fluid\",status=\"succeeded\"} 1",
            "rebilld_gateway_call_seconds_bucket{gateway=\"fluid\",operation=\"charge\",le=\"0.25\"} 1",
            "rebilld_job_seconds_bucket{job=\"bill\",le=\"1\"} 0",
        ] {
            assert!(text.contains(line), "no {line}:\n{text}");
        }
    }
}
