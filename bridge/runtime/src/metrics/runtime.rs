//! The metrics of the plumbing itself.
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::process::{self, ProcessCollector};
use super::{MetricDef, MetricsError};

const BUILD_INFO: MetricDef = MetricDef::gauge(
    "kafka2prom_build_info",
    "Always 1; version and source revision of the running build as labels.",
    &["version", "revision"],
);
const HTTP_CONNECTIONS: MetricDef =
    MetricDef::gauge("kafka2prom_http_connections", "Open connections of the HTTP listener.", &[]);
const HTTP_CAPACITY: MetricDef = MetricDef::gauge(
    "kafka2prom_http_connections_capacity",
    "Connections that the HTTP listener serves at the same time; more are refused.",
    &[],
);
const HTTP_REFUSED: MetricDef = MetricDef::counter(
    "kafka2prom_http_connections_refused_total",
    "Connections answered 503 and closed because the capacity, or one client's share of it, was reached.",
    &[],
);
const HTTP_CLOSED: MetricDef = MetricDef::counter(
    "kafka2prom_http_connections_failed_total",
    "Connections that did not end well: the client sent nonsense or no whole header in \
     time, did not read its response in time, or accepting failed.",
    &["reason"],
);
const HTTP_REQUESTS_REFUSED: MetricDef = MetricDef::counter(
    "kafka2prom_http_requests_refused_total",
    "Requests refused before they were routed: too many headers, a rate limit, no or wrong \
     credentials, too many logins at once.",
    &["reason"],
);
const TLS_FAILED: MetricDef =
    MetricDef::counter("kafka2prom_tls_handshakes_failed_total", "TLS handshakes that failed.", &["reason"]);
const TLS_EXPIRY: MetricDef = MetricDef::gauge(
    "kafka2prom_tls_certificate_expiry_timestamp_seconds",
    "Unix time at which the served certificate expires; 0 without TLS.",
    &[],
);
const WEB_RELOADS: MetricDef = MetricDef::counter(
    "kafka2prom_web_config_reloads_total",
    "Times that a changed web configuration or certificate was read; after a failed one the former stays in force.",
    &["result"],
);
const TELEMETRY_DROPPED: MetricDef = MetricDef::counter(
    "kafka2prom_telemetry_dropped_total",
    "Own spans, log records and metric points that did not reach the OTLP endpoint.",
    &["signal", "reason"],
);
const TELEMETRY_QUEUE: MetricDef = MetricDef::gauge(
    "kafka2prom_telemetry_queue_items",
    "Own spans and log records that wait to be sent to the OTLP endpoint.",
    &["signal"],
);
const TELEMETRY_CAPACITY: MetricDef = MetricDef::gauge(
    "kafka2prom_telemetry_queue_capacity_items",
    "Own spans and log records that may wait; more are dropped.",
    &["signal"],
);
const KAFKA_UP: MetricDef = MetricDef::gauge(
    "kafka2prom_kafka_up",
    "1 while at least one broker can be reached, 0 after librdkafka reported all down.",
    &["client"],
);
const KAFKA_ERRORS: MetricDef = MetricDef::counter(
    "kafka2prom_kafka_client_errors_total",
    "Errors that librdkafka reported outside of requests.",
    &["client", "reason"],
);
const KAFKA_LOGS: MetricDef = MetricDef::counter(
    "kafka2prom_kafka_log_lines_suppressed_total",
    "Log lines of librdkafka that were not written because there were too many.",
    &["client"],
);

/// The definitions behind [`RuntimeMetrics`].
pub static RUNTIME_METRICS: &[MetricDef] = &[
    BUILD_INFO,
    HTTP_CONNECTIONS,
    HTTP_CAPACITY,
    HTTP_REFUSED,
    HTTP_CLOSED,
    HTTP_REQUESTS_REFUSED,
    TLS_FAILED,
    TLS_EXPIRY,
    WEB_RELOADS,
    TELEMETRY_DROPPED,
    TELEMETRY_QUEUE,
    TELEMETRY_CAPACITY,
    KAFKA_UP,
    KAFKA_ERRORS,
    KAFKA_LOGS,
    process::CPU,
    process::MEMORY,
    process::OPEN_FDS,
    process::MAX_FDS,
    process::START,
];

/// What the HTTP accept loop counts.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    /// Open connections.
    pub connections: IntGauge,
    /// The bound of the above.
    pub capacity: IntGauge,
    /// Refused beyond the bound.
    pub refused: IntCounter,
    /// Ended badly, by `reason`.
    pub failed: IntCounterVec,
    /// Requests refused before they were routed, by `reason`.
    pub requests_refused: IntCounterVec,
    /// TLS handshakes that failed, by `reason`.
    pub tls_failed: IntCounterVec,
    /// When the served certificate expires.
    pub certificate_expiry: IntGauge,
    /// Web configurations read again, by `result`.
    pub web_reloads: IntCounterVec,
}

/// What the telemetry exporters count.
#[derive(Debug, Clone)]
pub struct TelemetryMetrics {
    /// By `signal` (`traces`, `logs`, `metrics`) and `reason`.
    pub dropped: IntCounterVec,
    /// By `signal`.
    pub queue: IntGaugeVec,
    /// By `signal`.
    pub capacity: IntGaugeVec,
}

/// The metrics of the plumbing, and the process' own.
#[derive(Debug, Clone)]
pub struct RuntimeMetrics {
    /// The accept loop's.
    pub http: HttpMetrics,
    /// The exporters'.
    pub telemetry: TelemetryMetrics,
    /// 1 or 0 by `client`.
    pub kafka_up: IntGaugeVec,
    /// By `client` and `reason`.
    pub kafka_errors: IntCounterVec,
    /// By `client`.
    pub kafka_logs_suppressed: IntCounterVec,
}

impl RuntimeMetrics {
    /// Makes and registers them. An empty `revision` is shown as `unknown`.
    ///
    /// # Errors
    /// When one of the names is taken in this registry.
    pub fn new(registry: &Registry, version: &str, revision: &str) -> Result<Self, MetricsError> {
        let revision = if revision.is_empty() { "unknown" } else { revision };
        BUILD_INFO.int_gauge_vec(registry)?.with_label_values(&[version, revision]).set(1);
        let processes = ProcessCollector::new()?;
        registry.register(Box::new(processes)).map_err(|error| process::CPU.error(error))?;
        let http = HttpMetrics {
            connections: HTTP_CONNECTIONS.int_gauge(registry)?,
            capacity: HTTP_CAPACITY.int_gauge(registry)?,
            refused: HTTP_REFUSED.int_counter(registry)?,
            failed: HTTP_CLOSED.int_counter_vec(registry)?,
            requests_refused: HTTP_REQUESTS_REFUSED.int_counter_vec(registry)?,
            tls_failed: TLS_FAILED.int_counter_vec(registry)?,
            certificate_expiry: TLS_EXPIRY.int_gauge(registry)?,
            web_reloads: WEB_RELOADS.int_counter_vec(registry)?,
        };
        for reason in crate::http::web::REFUSALS {
            http.requests_refused.with_label_values(&[reason]);
        }
        for reason in crate::http::handshake::REASONS {
            http.tls_failed.with_label_values(&[reason]);
        }
        let telemetry = TelemetryMetrics {
            dropped: TELEMETRY_DROPPED.int_counter_vec(registry)?,
            queue: TELEMETRY_QUEUE.int_gauge_vec(registry)?,
            capacity: TELEMETRY_CAPACITY.int_gauge_vec(registry)?,
        };
        Ok(Self {
            http,
            telemetry,
            kafka_up: KAFKA_UP.int_gauge_vec(registry)?,
            kafka_errors: KAFKA_ERRORS.int_counter_vec(registry)?,
            kafka_logs_suppressed: KAFKA_LOGS.int_counter_vec(registry)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::metrics::Catalogue;

    #[test]
    fn the_catalogue_is_clean_and_complete() {
        let registry = Registry::new();
        let metrics = RuntimeMetrics::new(&registry, "1.2.3", "").unwrap();
        metrics.kafka_up.with_label_values(&["consumer"]).set(1);
        let catalogue = Catalogue(vec![RUNTIME_METRICS]);
        assert_eq!(catalogue.lint(), Vec::<String>::new());
        assert_eq!(catalogue.check(&registry), Vec::<String>::new());
    }

    #[test]
    fn build_and_process_are_in_the_exposition() {
        let registry = Registry::new();
        let _metrics = RuntimeMetrics::new(&registry, "1.2.3", "abc").unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("kafka2prom_build_info{revision=\"abc\",version=\"1.2.3\"} 1\n"));
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"] {
            assert!(text.contains(&format!("\nkafka2prom_process_{name} ")), "{name} in {text}");
        }
    }
}
