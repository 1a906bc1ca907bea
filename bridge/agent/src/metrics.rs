//! What the agent counts about itself.
use k2p_runtime::http::client::ClientError;
use k2p_runtime::metrics::{MetricDef, MetricsError};
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::{file, scrape};

const SCRAPES: MetricDef = MetricDef::counter(
    "kafka2prom_agent_scrapes_total",
    "Scrapes of targets by result; only ok makes a dump.",
    &["result"],
);
const SCRAPE_SECONDS: MetricDef = MetricDef::histogram(
    "kafka2prom_agent_scrape_seconds",
    "Time from the start of a scrape to the last byte of its answer, or to its failure.",
    &[],
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
);
const FILE_READS: MetricDef = MetricDef::counter(
    "kafka2prom_agent_file_reads_total",
    "Versions of dump files by result; only ok makes a dump. What lasts (missing, not_a_file, error) counts once.",
    &["result"],
);
const SOURCE_UP: MetricDef = MetricDef::gauge(
    "kafka2prom_agent_source_up",
    "1 if the last scrape of this target, or read of this file, gave a dump.",
    &["source"],
);
const DUMPS: MetricDef = MetricDef::counter(
    "kafka2prom_agent_dumps_produced_total",
    "Dumps whose records Kafka has acknowledged, all of them.",
    &[],
);
const DROPPED: MetricDef = MetricDef::counter(
    "kafka2prom_agent_dumps_dropped_total",
    "Dumps taken that did not reach Kafka whole.",
    &["reason"],
);
const RECORDS: MetricDef = MetricDef::counter(
    "kafka2prom_agent_records_produced_total",
    "Records that Kafka has acknowledged; a large dump is several.",
    &[],
);
const RECORD_BYTES: MetricDef = MetricDef::counter(
    "kafka2prom_agent_record_bytes_total",
    "Bytes of the values of acknowledged records, as compressed by the agent.",
    &[],
);
const ERRORS: MetricDef = MetricDef::counter(
    "kafka2prom_agent_produce_errors_total",
    "Records that could not be queued or that Kafka did not acknowledge.",
    &["reason"],
);
const QUEUE_BYTES: MetricDef =
    MetricDef::gauge("kafka2prom_agent_queue_bytes", "Bytes of the values that wait for Kafka's acknowledgement.", &[]);
const QUEUE_CAPACITY: MetricDef = MetricDef::gauge(
    "kafka2prom_agent_queue_capacity_bytes",
    "Bytes that may wait for Kafka; what does not fit is dropped (queue_full).",
    &[],
);
const LAST_DELIVERY: MetricDef = MetricDef::gauge(
    "kafka2prom_agent_last_delivery_timestamp_seconds",
    "When Kafka last acknowledged a record, Unix time; 0 before the first.",
    &[],
);

/// The definitions behind [`AgentMetrics`].
pub static AGENT_METRICS: &[MetricDef] = &[
    SCRAPES,
    SCRAPE_SECONDS,
    FILE_READS,
    SOURCE_UP,
    DUMPS,
    DROPPED,
    RECORDS,
    RECORD_BYTES,
    ERRORS,
    QUEUE_BYTES,
    QUEUE_CAPACITY,
    LAST_DELIVERY,
];

/// Why a dump was dropped: the bounded `reason` of `dumps_dropped_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The queue to Kafka was full.
    QueueFull,
    /// A record would be larger than the limit, and could not be cut.
    TooLarge,
    /// Kafka refused a record or did not acknowledge it in time.
    NotDelivered,
    /// It still waited when the agent ended.
    Shutdown,
    /// The compressor or the client library failed.
    Internal,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 5] = [
        DropReason::QueueFull,
        DropReason::TooLarge,
        DropReason::NotDelivered,
        DropReason::Shutdown,
        DropReason::Internal,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::TooLarge => "too_large",
            DropReason::NotDelivered => "not_delivered",
            DropReason::Shutdown => "shutdown",
            DropReason::Internal => "internal",
        }
    }
}

/// The agent's metrics, registered. Clones share them.
#[derive(Debug, Clone)]
pub struct AgentMetrics {
    /// By `result`.
    pub scrapes: IntCounterVec,
    /// Seconds.
    pub scrape_seconds: Histogram,
    /// By `result`.
    pub file_reads: IntCounterVec,
    /// By `source`: a URL or a path of the configuration.
    pub source_up: IntGaugeVec,
    /// Dumps acknowledged whole.
    pub dumps: IntCounter,
    /// By `reason` ([`DropReason`]).
    pub dropped: IntCounterVec,
    /// Records acknowledged.
    pub records: IntCounter,
    /// Bytes of their values.
    pub record_bytes: IntCounter,
    /// By `reason`.
    pub errors: IntCounterVec,
    /// Bytes that wait.
    pub queue_bytes: IntGauge,
    /// Bytes that may wait.
    pub queue_capacity: IntGauge,
    /// Unix seconds.
    pub last_delivery: Gauge,
}

impl AgentMetrics {
    /// Makes and registers them; the reasons and results that can occur exist at once.
    ///
    /// # Errors
    /// When one of the names is taken in this registry: one agent per registry.
    pub fn new(registry: &Registry) -> Result<AgentMetrics, MetricsError> {
        let metrics = AgentMetrics {
            scrapes: SCRAPES.int_counter_vec(registry)?,
            scrape_seconds: SCRAPE_SECONDS.histogram_one(registry)?,
            file_reads: FILE_READS.int_counter_vec(registry)?,
            source_up: SOURCE_UP.int_gauge_vec(registry)?,
            dumps: DUMPS.int_counter(registry)?,
            dropped: DROPPED.int_counter_vec(registry)?,
            records: RECORDS.int_counter(registry)?,
            record_bytes: RECORD_BYTES.int_counter(registry)?,
            errors: ERRORS.int_counter_vec(registry)?,
            queue_bytes: QUEUE_BYTES.int_gauge(registry)?,
            queue_capacity: QUEUE_CAPACITY.int_gauge(registry)?,
            last_delivery: LAST_DELIVERY.gauge_f64(registry)?,
        };
        for reason in DropReason::ALL {
            metrics.dropped.with_label_values(&[reason.as_str()]);
        }
        for result in ClientError::REASONS.iter().chain(&scrape::RESULTS) {
            metrics.scrapes.with_label_values(&[result]);
        }
        for result in file::RESULTS {
            metrics.file_reads.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// Counts a dump that did not reach Kafka.
    pub(crate) fn drop_dump(&self, reason: DropReason) {
        self.dropped.with_label_values(&[reason.as_str()]).inc();
    }

    /// Notes whether a source gave a dump.
    pub(crate) fn up(&self, source: &str, up: bool) {
        self.source_up.with_label_values(&[source]).set(i64::from(up));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use k2p_runtime::metrics::Catalogue;

    use super::*;

    #[test]
    fn the_catalogue_is_clean_and_complete() {
        let registry = Registry::new();
        let metrics = AgentMetrics::new(&registry).unwrap();
        metrics.up("http://x/metrics", true);
        metrics.errors.with_label_values(&["queue_full"]).inc();
        let catalogue = Catalogue(vec![AGENT_METRICS]);
        assert_eq!(catalogue.lint(), Vec::<String>::new());
        assert_eq!(catalogue.check(&registry), Vec::<String>::new());
    }
}
