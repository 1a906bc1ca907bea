//! The server's own metrics: one catalogue, one struct on a passed registry.
//!
//! Three kinds. Counters and histograms are written where things happen. Gauges
//! that only restate what the table of live partitions knows are computed when
//! somebody gathers ([`StateCollector`]), so that they can neither lag behind nor
//! outlive a partition. The families with an origin's labels are written from the
//! views at the scrape (module `expose`) and are in no registry.
use std::sync::Arc;

use k2p_core::cache::UNLIMITED;
use k2p_core::merge::ConflictKind;
use k2p_core::model::SampleReason;
use k2p_core::reason::{DropReason, RecordReason};
use k2p_runtime::metrics::{MetricDef, MetricsError};
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::live::LivePartitions;

mod state;

pub use state::StateCollector;

/// From a dump's `k2p-time` to its exposure: from a local Kafka to an outage.
const AGE_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// A handover and its phases: the planned ones below 2 s, a crash around L_wait.
const HANDOVER_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0];
/// From one partition's few series to a million, and waits for a moving partition.
const SCRAPE_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const TOPIC: &[&str] = &["topic"];
const TOPIC_REASON: &[&str] = &["topic", "reason"];
const PARTITION: &[&str] = &["topic", "partition"];

const RECORDS_CONSUMED: MetricDef =
    MetricDef::counter("kafka2prom_records_consumed_total", "Records read from Kafka, whatever became of them.", TOPIC);
const RECORD_BYTES: MetricDef = MetricDef::counter(
    "kafka2prom_record_bytes_total",
    "Bytes of the values of the records read, as they came (compressed).",
    TOPIC,
);
const RECORDS_REJECTED: MetricDef = MetricDef::counter(
    "kafka2prom_records_rejected_total",
    "Records refused whole; the origin keeps its last good dump until that is stale.",
    TOPIC_REASON,
);
const SAMPLES_REJECTED: MetricDef = MetricDef::counter(
    "kafka2prom_samples_rejected_total",
    "Lines of accepted dumps that were no valid sample; the rest of the dump counts.",
    TOPIC_REASON,
);
const RECORDS_DROPPED: MetricDef = MetricDef::counter(
    "kafka2prom_records_dropped_total",
    "Good records that were left out: superseded, older, or by the topic's policy.",
    TOPIC_REASON,
);
const DEAD_LETTERS: MetricDef = MetricDef::counter(
    "kafka2prom_dead_letters_total",
    "Refused records copied to the dead-letter topic (result ok) or not (result failed).",
    &["topic", "result"],
);
const CATALOGUES: MetricDef = MetricDef::counter(
    "kafka2prom_catalogues_total",
    "What is known of a partition's origins, in the state topic: written, or why it was not, or could not be read.",
    &["result"],
);
const EXPOSURE_AGE: MetricDef = MetricDef::histogram(
    "kafka2prom_exposure_age_seconds",
    "From the moment a dump was taken to the moment a scrape could see it.",
    TOPIC,
    AGE_BUCKETS,
);
const HANDOVER: MetricDef = MetricDef::histogram(
    "kafka2prom_handover_seconds",
    "Durations of a partition's handover, by kind (planned, crash, first, remade) and phase.",
    &["kind", "phase"],
    HANDOVER_BUCKETS,
);
const COMMITS: MetricDef = MetricDef::counter(
    "kafka2prom_commits_total",
    "Offset commits by result; an acknowledged one extends the lease.",
    &["result"],
);
const REBALANCES: MetricDef =
    MetricDef::counter("kafka2prom_rebalances_total", "Assignments and revocations that the group sent.", &[]);
const GROUP_REJOINS: MetricDef = MetricDef::counter(
    "kafka2prom_group_rejoins_total",
    "Times that this bridge lost its place in the group and joined again.",
    &[],
);
const FENCES: MetricDef = MetricDef::counter(
    "kafka2prom_fences_total",
    "Partitions made invisible because ownership was no longer proven, by reason.",
    &["reason"],
);
const SCRAPES: MetricDef =
    MetricDef::counter("kafka2prom_scrapes_total", "Scrapes answered, by route and status code.", &["route", "code"]);
const SCRAPES_ABORTED: MetricDef = MetricDef::counter(
    "kafka2prom_scrapes_aborted_total",
    "Scrapes whose client went away before the end.",
    &["route"],
);
const SCRAPE_SECONDS: MetricDef = MetricDef::histogram(
    "kafka2prom_scrape_seconds",
    "From a scrape's arrival to its last byte, waits for a moving partition included.",
    &["route"],
    SCRAPE_BUCKETS,
);
const SCRAPES_IN_FLIGHT: MetricDef =
    MetricDef::gauge("kafka2prom_scrapes_in_flight", "Scrapes being answered now.", &[]);
const SCRAPES_CAPACITY: MetricDef =
    MetricDef::gauge("kafka2prom_scrapes_capacity", "How many scrapes are answered at once; more get 503.", &[]);
const PEER_REQUESTS: MetricDef =
    MetricDef::counter("kafka2prom_peer_requests_total", "Requests sent to other bridges, by result.", &["result"]);
const FAMILY_CONFLICTS: MetricDef = MetricDef::gauge(
    "kafka2prom_family_conflicts",
    "Families that two origins describe differently, by what differs, as of the last whole scrape.",
    &["kind"],
);
const EVENT_POSTS: MetricDef =
    MetricDef::counter("kafka2prom_event_posts_total", "Requests with events, by status code.", &["code"]);
const EVENT_POST_LINES: MetricDef = MetricDef::counter(
    "kafka2prom_event_post_lines_total",
    "Events that came by HTTP: acknowledged by Kafka, or refused to the client.",
    &["result"],
);
const EVENTS_APPLIED: MetricDef = MetricDef::counter(
    "kafka2prom_events_applied_total",
    "Events applied by this bridge, by kind; those replayed after a handover count again.",
    &["topic", "kind"],
);
const EVENTS_REJECTED: MetricDef = MetricDef::counter(
    "kafka2prom_events_rejected_total",
    "Events (lines of records) refused, and records refused whole.",
    TOPIC_REASON,
);
const EVENTS_REDUCED: MetricDef = MetricDef::counter(
    "kafka2prom_events_reduced_total",
    "What events lost on their way into metrics and runs: overflowing series, replaced identifiers, cut texts.",
    TOPIC_REASON,
);
const PUSHES: MetricDef = MetricDef::counter(
    "kafka2prom_pushes_total",
    "Requests of the Pushgateway's clients to this bridge (push, delete, wipe), by what became of them.",
    &["result"],
);
const PUSHES_APPLIED: MetricDef = MetricDef::counter(
    "kafka2prom_pushes_applied_total",
    "Records of pushes applied by this bridge, by kind; those replayed after a handover count again.",
    &["topic", "kind"],
);
const APPENDED_RECORDS: MetricDef = MetricDef::counter(
    "kafka2prom_appended_records_total",
    "Records that this bridge appended to partitions that it judged, by what they say.",
    &["topic", "op", "result"],
);
const SNAPSHOTS: MetricDef = MetricDef::counter(
    "kafka2prom_snapshots_total",
    "Snapshots of replayed partitions: written and read back (ok), or not.",
    &["result"],
);
const SNAPSHOT_TIME: MetricDef = MetricDef::gauge(
    "kafka2prom_snapshot_timestamp_seconds",
    "When the partition's newest snapshot was written.",
    PARTITION,
);
const SNAPSHOT_BYTES: MetricDef =
    MetricDef::gauge("kafka2prom_snapshot_bytes", "Size of the partition's newest snapshot, compressed.", PARTITION);
const SNAPSHOT_BEHIND: MetricDef =
    MetricDef::gauge("kafka2prom_snapshot_behind_records", "Records that a new owner would have to replay.", PARTITION);
const REPLAY_BLOCKED: MetricDef = MetricDef::gauge(
    "kafka2prom_replay_blocked",
    "1 while a replayed partition stands still, by reason; the status page says what to do.",
    &["topic", "partition", "reason"],
);
const PARTITION_STATE: MetricDef = MetricDef::gauge(
    "kafka2prom_partition_state",
    "1 for the state of the ownership protocol that the partition is in, else 0.",
    &["topic", "partition", "state"],
);
const PARTITION_LAG_RECORDS: MetricDef = MetricDef::gauge(
    "kafka2prom_partition_lag_records",
    "Records between the position and the end of the log.",
    PARTITION,
);
const PARTITION_LAG_SECONDS: MetricDef = MetricDef::gauge(
    "kafka2prom_partition_lag_seconds",
    "Age of the last record processed while records are waiting, else 0.",
    PARTITION,
);
const PARTITION_QUEUE_BYTES: MetricDef =
    MetricDef::gauge("kafka2prom_partition_queue_bytes", "Bytes that wait in the partition's queue.", PARTITION);
const PARTITION_QUEUE_CAPACITY: MetricDef =
    MetricDef::gauge("kafka2prom_partition_queue_capacity_bytes", "The bound of the partition's queue.", PARTITION);
const LEASE_REMAINING: MetricDef = MetricDef::gauge(
    "kafka2prom_lease_remaining_seconds",
    "What is left of the lease; at 0 the partition is no longer exposed.",
    PARTITION,
);
const WAIT_REMAINING: MetricDef = MetricDef::gauge(
    "kafka2prom_wait_remaining_seconds",
    "What is left of the wait for an earlier owner's lease.",
    PARTITION,
);
const ORIGINS: MetricDef =
    MetricDef::gauge("kafka2prom_origins", "Origins with a dump, of the partitions exposed.", TOPIC);
const SERIES: MetricDef = MetricDef::gauge("kafka2prom_series", "Series of the partitions exposed.", TOPIC);
const CACHE_BYTES: MetricDef =
    MetricDef::gauge("kafka2prom_cache_bytes", "Estimated memory of the dumps of the partitions exposed.", TOPIC);
const ORIGINS_QUARANTINED: MetricDef = MetricDef::gauge(
    "kafka2prom_origins_quarantined",
    "Origins of which one dump a minute is read, because too many in a row were refused.",
    TOPIC,
);
const CACHE_LIMIT: MetricDef = MetricDef::gauge(
    "kafka2prom_cache_limit_bytes",
    "What the topic's dumps may take of this bridge's memory (limits.cache_bytes); absent without a limit.",
    TOPIC,
);
const PARTITION_CACHE_BYTES: MetricDef = MetricDef::gauge(
    "kafka2prom_partition_cache_bytes",
    "Estimated memory of what the partition's owner keeps for it: dumps, shapes, unfinished dumps.",
    PARTITION,
);
const GROUP_COMPLETE: MetricDef = MetricDef::gauge(
    "kafka2prom_group_map_complete",
    "1 if the markers of every partition of the group are known.",
    &[],
);
const GROUP_UNOWNED: MetricDef = MetricDef::gauge(
    "kafka2prom_group_unowned_partitions",
    "Partitions of the group that no bridge holds, as far as the markers tell.",
    &[],
);
/// By the labels of the origin; in no registry.
pub(crate) const ORIGIN_UP: MetricDef = MetricDef::gauge(
    "kafka2prom_origin_up",
    "1 while the origin has a dump that is not stale, 0 until it is forgotten.",
    &[],
)
.outside_registry();
/// By the labels of the origin; in no registry.
pub(crate) const ORIGIN_LAST_DUMP: MetricDef = MetricDef::gauge(
    "kafka2prom_origin_last_dump_timestamp_seconds",
    "When the origin's last accepted dump was taken.",
    &[],
)
.outside_registry();
/// By the labels of the origin; in no registry.
pub(crate) const ORIGIN_SERIES: MetricDef =
    MetricDef::gauge("kafka2prom_origin_series", "Series of the origin's last accepted dump; 0 once it is stale.", &[])
        .outside_registry();
/// By the labels of the origin; in no registry.
pub(crate) const ORIGIN_BYTES: MetricDef = MetricDef::gauge(
    "kafka2prom_origin_bytes",
    "Estimated memory of the origin's last accepted dump, its share of what it has in common with others included; 0 once it is stale.",
    &[],
)
.outside_registry();

/// Every metric of the server: the code, the documentation and the checks share it.
pub static SERVER_METRICS: &[MetricDef] = &[
    RECORDS_CONSUMED,
    RECORD_BYTES,
    RECORDS_REJECTED,
    SAMPLES_REJECTED,
    RECORDS_DROPPED,
    DEAD_LETTERS,
    CATALOGUES,
    EXPOSURE_AGE,
    HANDOVER,
    COMMITS,
    REBALANCES,
    GROUP_REJOINS,
    FENCES,
    SCRAPES,
    SCRAPES_ABORTED,
    SCRAPE_SECONDS,
    SCRAPES_IN_FLIGHT,
    SCRAPES_CAPACITY,
    PEER_REQUESTS,
    FAMILY_CONFLICTS,
    EVENT_POSTS,
    EVENT_POST_LINES,
    EVENTS_APPLIED,
    EVENTS_REJECTED,
    EVENTS_REDUCED,
    PUSHES,
    PUSHES_APPLIED,
    APPENDED_RECORDS,
    SNAPSHOTS,
    SNAPSHOT_TIME,
    SNAPSHOT_BYTES,
    SNAPSHOT_BEHIND,
    REPLAY_BLOCKED,
    PARTITION_STATE,
    PARTITION_LAG_RECORDS,
    PARTITION_LAG_SECONDS,
    PARTITION_QUEUE_BYTES,
    PARTITION_QUEUE_CAPACITY,
    PARTITION_CACHE_BYTES,
    LEASE_REMAINING,
    WAIT_REMAINING,
    ORIGINS,
    SERIES,
    CACHE_BYTES,
    ORIGINS_QUARANTINED,
    CACHE_LIMIT,
    GROUP_COMPLETE,
    GROUP_UNOWNED,
    ORIGIN_UP,
    ORIGIN_LAST_DUMP,
    ORIGIN_SERIES,
    ORIGIN_BYTES,
];

/// The results that `commits_total` knows.
pub const COMMIT_RESULTS: &[&str] = &["ok", "failed", "illegal_generation", "timeout"];

/// The reasons that `fences_total` knows.
pub const FENCE_REASONS: &[&str] = &["lease_lapsed", "foreign_marker", "assignment_lost", "topic_remade"];

/// Counters, histograms and gauges that are written where things happen.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    /// `records_consumed_total`: Records read from Kafka, whatever became of them.
    pub records_consumed: IntCounterVec,
    /// `record_bytes_total`: Bytes of the values of the records read, as they came (compressed).
    pub record_bytes: IntCounterVec,
    /// `records_rejected_total`: Records refused whole; the origin keeps its last good dump until that is stale.
    pub records_rejected: IntCounterVec,
    /// `samples_rejected_total`: Lines of accepted dumps that were no valid sample; the rest of the dump counts.
    pub samples_rejected: IntCounterVec,
    /// `records_dropped_total`: Good records that were left out: superseded, older, or by the topic's policy.
    pub records_dropped: IntCounterVec,
    /// `dead_letters_total`: Refused records copied to the dead-letter topic (result ok) or not (result failed).
    pub dead_letters: IntCounterVec,
    /// `catalogues_total`: What is known of a partition's origins, in the state topic.
    pub catalogues: IntCounterVec,
    /// `exposure_age_seconds`: From the moment a dump was taken to the moment a scrape could see it.
    pub exposure_age: HistogramVec,
    /// `handover_seconds`: Durations of a partition's handover, by kind (planned, crash, first, remade) and phase.
    pub handover: HistogramVec,
    /// `commits_total`: Offset commits by result; an acknowledged one extends the lease.
    pub commits: IntCounterVec,
    /// `rebalances_total`: Assignments and revocations that the group sent.
    pub rebalances: IntCounter,
    /// `group_rejoins_total`: Times that this bridge lost its place in the group and joined again.
    pub group_rejoins: IntCounter,
    /// `fences_total`: Partitions made invisible because ownership was no longer proven, by reason.
    pub fences: IntCounterVec,
    /// `scrapes_total`: Scrapes answered, by route and status code.
    pub scrapes: IntCounterVec,
    /// `scrapes_aborted_total`: Scrapes whose client went away before the end.
    pub scrapes_aborted: IntCounterVec,
    /// `scrape_seconds`: From a scrape's arrival to its last byte, waits for a moving partition included.
    pub scrape_seconds: HistogramVec,
    /// `scrapes_in_flight`: Scrapes being answered now.
    pub scrapes_in_flight: IntGauge,
    /// `scrapes_capacity`: How many scrapes are answered at once; more get 503.
    pub scrapes_capacity: IntGauge,
    /// `peer_requests_total`: Requests sent to other bridges, by result.
    pub peer_requests: IntCounterVec,
    /// `family_conflicts`: Families that two origins describe differently, by what differs, as of the last whole scrape.
    pub family_conflicts: IntGaugeVec,
    /// `cache_limit_bytes`: What the topic's dumps may take of this bridge's memory.
    pub cache_limit: IntGaugeVec,
    /// `event_posts_total`: Requests with events, by status code.
    pub event_posts: IntCounterVec,
    /// `event_post_lines_total`: Events that came by HTTP: acknowledged by Kafka, or refused to the client.
    pub event_post_lines: IntCounterVec,
    /// `events_applied_total`: Events applied by this bridge, by kind; those replayed after a handover count again.
    pub events_applied: IntCounterVec,
    /// `events_rejected_total`: Events (lines of records) refused, and records refused whole.
    pub events_rejected: IntCounterVec,
    /// `events_reduced_total`: What events lost on their way into metrics and runs.
    pub events_reduced: IntCounterVec,
    /// `pushes_total`: Requests of the Pushgateway's clients to this bridge (push, delete, wipe), by what became of them.
    pub pushes: IntCounterVec,
    /// `pushes_applied_total`: Records of pushes applied by this bridge, by kind; those replayed after a handover count again.
    pub pushes_applied: IntCounterVec,
    /// `appended_records_total`: Records that this bridge appended to partitions that it judged, by what they say.
    pub appended_records: IntCounterVec,
    /// `snapshots_total`: Snapshots of replayed partitions: written and read back (ok), or not.
    pub snapshots: IntCounterVec,
}

impl ServerMetrics {
    /// Registers everything on `registry`, the state of `live` (read by `clocks`) with it.
    pub fn new(registry: &Registry, live: Arc<LivePartitions>, clocks: Clocks) -> Result<ServerMetrics, MetricsError> {
        let metrics = ServerMetrics {
            records_consumed: RECORDS_CONSUMED.int_counter_vec(registry)?,
            record_bytes: RECORD_BYTES.int_counter_vec(registry)?,
            records_rejected: RECORDS_REJECTED.int_counter_vec(registry)?,
            samples_rejected: SAMPLES_REJECTED.int_counter_vec(registry)?,
            records_dropped: RECORDS_DROPPED.int_counter_vec(registry)?,
            dead_letters: DEAD_LETTERS.int_counter_vec(registry)?,
            catalogues: CATALOGUES.int_counter_vec(registry)?,
            exposure_age: EXPOSURE_AGE.histogram_vec(registry)?,
            handover: HANDOVER.histogram_vec(registry)?,
            commits: COMMITS.int_counter_vec(registry)?,
            rebalances: REBALANCES.int_counter(registry)?,
            group_rejoins: GROUP_REJOINS.int_counter(registry)?,
            fences: FENCES.int_counter_vec(registry)?,
            scrapes: SCRAPES.int_counter_vec(registry)?,
            scrapes_aborted: SCRAPES_ABORTED.int_counter_vec(registry)?,
            scrape_seconds: SCRAPE_SECONDS.histogram_vec(registry)?,
            scrapes_in_flight: SCRAPES_IN_FLIGHT.int_gauge(registry)?,
            scrapes_capacity: SCRAPES_CAPACITY.int_gauge(registry)?,
            peer_requests: PEER_REQUESTS.int_counter_vec(registry)?,
            family_conflicts: FAMILY_CONFLICTS.int_gauge_vec(registry)?,
            cache_limit: CACHE_LIMIT.int_gauge_vec(registry)?,
            event_posts: EVENT_POSTS.int_counter_vec(registry)?,
            event_post_lines: EVENT_POST_LINES.int_counter_vec(registry)?,
            events_applied: EVENTS_APPLIED.int_counter_vec(registry)?,
            events_rejected: EVENTS_REJECTED.int_counter_vec(registry)?,
            events_reduced: EVENTS_REDUCED.int_counter_vec(registry)?,
            pushes: PUSHES.int_counter_vec(registry)?,
            pushes_applied: PUSHES_APPLIED.int_counter_vec(registry)?,
            appended_records: APPENDED_RECORDS.int_counter_vec(registry)?,
            snapshots: SNAPSHOTS.int_counter_vec(registry)?,
        };
        let state = StateCollector::new(live, clocks)?;
        registry.register(Box::new(state)).map_err(|source| MetricsError { name: PARTITION_STATE.name, source })?;
        for result in COMMIT_RESULTS {
            metrics.commits.with_label_values(&[result]);
        }
        for kind in ConflictKind::ALL {
            metrics.family_conflicts.with_label_values(&[kind.as_str()]);
        }
        for result in crate::consume::SNAPSHOT_RESULTS {
            metrics.snapshots.with_label_values(&[result]);
        }
        for result in ["accepted", "rejected"] {
            metrics.event_post_lines.with_label_values(&[result]);
        }
        for reason in FENCE_REASONS {
            metrics.fences.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// Makes every series of a topic exist at 0: a rate over a counter that appears
    /// with its first event misses that event.
    pub fn add_topic(&self, topic: &str) {
        self.records_consumed.with_label_values(&[topic]);
        self.record_bytes.with_label_values(&[topic]);
        self.exposure_age.with_label_values(&[topic]);
        for reason in RecordReason::ALL {
            self.records_rejected.with_label_values(&[topic, reason.as_str()]);
        }
        for reason in SampleReason::ALL {
            self.samples_rejected.with_label_values(&[topic, reason.as_str()]);
        }
        for reason in DropReason::ALL {
            self.records_dropped.with_label_values(&[topic, reason.as_str()]);
        }
        for result in ["ok", "failed"] {
            self.dead_letters.with_label_values(&[topic, result]);
        }
    }

    /// Says the topic's limit of memory, if it has one.
    pub fn set_cache_limit(&self, topic: &str, bytes: usize) {
        if bytes != UNLIMITED {
            self.cache_limit.with_label_values(&[topic]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

/// Where the time comes from; tests bring their own.
#[derive(Clone, Copy)]
pub struct Clocks {
    /// Monotonic milliseconds that count suspended time.
    pub mono: fn() -> i64,
    /// Unix milliseconds.
    pub wall: fn() -> i64,
}
