//! What the log store counts about itself.
use std::io;

use k2p_runtime::metrics::{MetricDef, MetricsError};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::mask::{MaskCounts, Masker};
use crate::store::{Appended, Maintained};

const WRITTEN: MetricDef =
    MetricDef::counter("kafka2prom_logs_entries_written_total", "Log entries that the log store has kept.", &[]);
const BYTES_WRITTEN: MetricDef =
    MetricDef::counter("kafka2prom_logs_bytes_written_total", "Bytes of the lines that the log store has kept.", &[]);
const DUPLICATES: MetricDef = MetricDef::counter(
    "kafka2prom_logs_entries_duplicate_total",
    "Log entries that came again (a replay, a zombie) and were there already.",
    &[],
);
const REFUSED: MetricDef = MetricDef::counter(
    "kafka2prom_logs_entries_refused_total",
    "Log entries that the log store did not keep, by reason; metrics made of them are not touched.",
    &["reason"],
);
const MASKED: MetricDef =
    MetricDef::counter("kafka2prom_logs_masked_total", "Values that were masked or hashed, by rule.", &["rule"]);
const WRITABLE: MetricDef = MetricDef::gauge(
    "kafka2prom_logs_writable",
    "0 while the log store could not keep what it was last given (disk full, I/O error, store away), else 1.",
    &[],
);
const BYTES: MetricDef =
    MetricDef::gauge("kafka2prom_logs_bytes", "Bytes of the log store as of the last maintenance.", &[]);
const FILES: MetricDef =
    MetricDef::gauge("kafka2prom_logs_files", "Files of the log store (a job's day) as of the last maintenance.", &[]);
const REMOVED: MetricDef = MetricDef::counter(
    "kafka2prom_logs_removed_bytes_total",
    "Bytes of logs removed by retention: too old (age), too much (size), or reports of runs above their pipeline's cap (reports).",
    &["reason"],
);
const PACKED: MetricDef =
    MetricDef::counter("kafka2prom_logs_files_compressed_total", "Files of closed days that were compressed.", &[]);
const READ_SECONDS: MetricDef = MetricDef::histogram(
    "kafka2prom_logs_read_seconds",
    "Time to read one page of a job's log.",
    &[],
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5],
);
const HOT_HITS: MetricDef =
    MetricDef::counter("kafka2prom_logs_hot_hits_total", "Blocks of logs served from the hot jobs' memory.", &[]);
const HOT_MISSES: MetricDef =
    MetricDef::counter("kafka2prom_logs_hot_misses_total", "Blocks of logs that had to be read from the store.", &[]);
const HOT_BYTES: MetricDef = MetricDef::gauge("kafka2prom_logs_hot_bytes", "Bytes of the hot jobs in memory.", &[]);
const HOT_CAPACITY: MetricDef =
    MetricDef::gauge("kafka2prom_logs_hot_capacity_bytes", "Bytes that hot jobs may take in memory.", &[]);

const BUFFER: MetricDef = MetricDef::gauge(
    "kafka2prom_logs_buffer_bytes",
    "Bytes of log entries that wait to be written to an object store.",
    &[],
);
const BUFFER_CAPACITY: MetricDef = MetricDef::gauge(
    "kafka2prom_logs_buffer_capacity_bytes",
    "Bytes of log entries that may wait to be written to an object store; 0 where logs are files.",
    &[],
);

/// The definitions behind [`LogMetrics`].
pub static LOG_METRICS: &[MetricDef] = &[
    WRITTEN,
    BYTES_WRITTEN,
    DUPLICATES,
    REFUSED,
    MASKED,
    WRITABLE,
    BYTES,
    FILES,
    REMOVED,
    PACKED,
    READ_SECONDS,
    HOT_HITS,
    HOT_MISSES,
    HOT_BYTES,
    HOT_CAPACITY,
    BUFFER,
    BUFFER_CAPACITY,
];

/// Why an entry was not kept: the bounded `reason` of `entries_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No room, or a quota of the file system.
    DiskFull,
    /// Another error of the file system.
    Io,
    /// More than a job may keep on one day.
    Quota,
    /// A line longer than the limit.
    TooLarge,
    /// No id, one too long, or a source that is none.
    BadEntry,
    /// Older than the retention, or more than a day ahead.
    BadTime,
    /// One job from more partitions than an index has room for.
    TooManySources,
    /// The object store is away, and as many entries wait as may.
    Away,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Refused; 8] = [
        Refused::DiskFull,
        Refused::Io,
        Refused::Quota,
        Refused::TooLarge,
        Refused::BadEntry,
        Refused::BadTime,
        Refused::TooManySources,
        Refused::Away,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::DiskFull => "disk_full",
            Refused::Io => "io",
            Refused::Quota => "quota",
            Refused::TooLarge => "too_large",
            Refused::BadEntry => "bad_entry",
            Refused::BadTime => "bad_time",
            Refused::TooManySources => "too_many_sources",
            Refused::Away => "away",
        }
    }

    /// What an error of the file system means.
    pub(crate) fn of(error: &io::Error) -> Refused {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Refused::DiskFull
            }
            _ => Refused::Io,
        }
    }
}

/// The log store's metrics, registered. Clones share them.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    written: IntCounter,
    bytes_written: IntCounter,
    duplicates: IntCounter,
    refused: IntCounterVec,
    masked: IntCounterVec,
    writable: IntGauge,
    bytes: IntGauge,
    files: IntGauge,
    removed: IntCounterVec,
    packed: IntCounter,
    pub(crate) read_seconds: Histogram,
    pub(crate) hot_hits: IntCounter,
    pub(crate) hot_misses: IntCounter,
    pub(crate) hot_bytes: IntGauge,
    pub(crate) hot_capacity: IntGauge,
    buffer: IntGauge,
    buffer_capacity: IntGauge,
}

impl LogMetrics {
    /// Makes and registers them; the reasons that can occur exist at once.
    ///
    /// # Errors
    /// When one of the names is taken in this registry: one log store per registry.
    pub fn new(registry: &Registry) -> Result<LogMetrics, MetricsError> {
        let metrics = LogMetrics {
            written: WRITTEN.int_counter(registry)?,
            bytes_written: BYTES_WRITTEN.int_counter(registry)?,
            duplicates: DUPLICATES.int_counter(registry)?,
            refused: REFUSED.int_counter_vec(registry)?,
            masked: MASKED.int_counter_vec(registry)?,
            writable: WRITABLE.int_gauge(registry)?,
            bytes: BYTES.int_gauge(registry)?,
            files: FILES.int_gauge(registry)?,
            removed: REMOVED.int_counter_vec(registry)?,
            packed: PACKED.int_counter(registry)?,
            read_seconds: READ_SECONDS.histogram_one(registry)?,
            hot_hits: HOT_HITS.int_counter(registry)?,
            hot_misses: HOT_MISSES.int_counter(registry)?,
            hot_bytes: HOT_BYTES.int_gauge(registry)?,
            hot_capacity: HOT_CAPACITY.int_gauge(registry)?,
            buffer: BUFFER.int_gauge(registry)?,
            buffer_capacity: BUFFER_CAPACITY.int_gauge(registry)?,
        };
        metrics.writable.set(1);
        for reason in Refused::ALL {
            metrics.refused.with_label_values(&[reason.as_str()]);
        }
        for reason in ["age", "size", "reports"] {
            metrics.removed.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// Counts what a masker replaced.
    pub fn masked(&self, masker: &Masker, counts: &MaskCounts) {
        for (rule, n) in masker.counted(counts) {
            self.masked.with_label_values(&[rule]).inc_by(n);
        }
    }

    pub(crate) fn appended(&self, appended: &Appended) {
        self.written.inc_by(appended.written);
        self.bytes_written.inc_by(appended.bytes);
        self.duplicates.inc_by(appended.duplicates);
        for reason in Refused::ALL {
            self.refused.with_label_values(&[reason.as_str()]).inc_by(appended.refused_for(reason));
        }
        if appended.failed() > 0 {
            self.writable.set(0);
        } else if appended.written > 0 {
            self.writable.set(1);
        }
    }

    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.set(i64::from(writable));
    }

    pub(crate) fn buffered(&self, bytes: usize) {
        self.buffer.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn buffer_capacity(&self, bytes: usize) {
        self.buffer_capacity.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn maintained(&self, done: &Maintained) {
        self.removed.with_label_values(&["age"]).inc_by(done.aged_bytes);
        self.removed.with_label_values(&["size"]).inc_by(done.sized_bytes);
        self.removed.with_label_values(&["reports"]).inc_by(done.report_bytes);
        self.packed.inc_by(done.packed);
        self.bytes.set(i64::try_from(done.bytes).unwrap_or(i64::MAX));
        self.files.set(i64::try_from(done.files).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use k2p_runtime::metrics::Catalogue;

    use super::*;
    use crate::mask::MaskConfig;

    #[test]
    fn the_catalogue_is_clean_and_complete() {
        let registry = Registry::new();
        let metrics = LogMetrics::new(&registry).unwrap();
        let masker = Masker::new(&MaskConfig::default(), None).unwrap();
        let mut counts = MaskCounts::default();
        masker.text("a@b.com", &mut counts);
        metrics.masked(&masker, &counts);
        let catalogue = Catalogue(vec![LOG_METRICS]);
        assert_eq!(catalogue.lint(), Vec::<String>::new());
        assert_eq!(catalogue.check(&registry), Vec::<String>::new());
        for (i, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
    }
}
