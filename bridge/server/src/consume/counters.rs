//! The counters of one topic, looked up once and not for each record.
use k2p_core::cache::{Applied, Outcome};
use k2p_core::model::{SampleReason, UnixMs};
use k2p_core::reason::DropReason;
use prometheus::{Histogram, IntCounter};

use crate::metrics::ServerMetrics;

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Counters {
    topic: String,
    metrics: ServerMetrics,
    consumed: IntCounter,
    bytes: IntCounter,
    age: Histogram,
}

impl Counters {
    pub(super) fn new(topic: &str, metrics: &ServerMetrics) -> Counters {
        Counters {
            consumed: metrics.records_consumed.with_label_values(&[topic]),
            bytes: metrics.record_bytes.with_label_values(&[topic]),
            age: metrics.exposure_age.with_label_values(&[topic]),
            topic: topic.to_owned(),
            metrics: metrics.clone(),
        }
    }

    pub(super) fn consumed(&self, bytes: usize) {
        self.consumed.inc();
        self.bytes.inc_by(bytes as u64);
    }

    pub(super) fn dropped(&self, reason: DropReason, records: u64) {
        if records > 0 {
            self.metrics.records_dropped.with_label_values(&[&self.topic, reason.as_str()]).inc_by(records);
        }
    }

    /// What became of one record; `now` is when a scrape can see it.
    pub(super) fn applied(&self, applied: &Applied, now: UnixMs) {
        self.dropped(DropReason::IncompleteParts, applied.incomplete);
        match &applied.outcome {
            Outcome::Accepted(accepted) => {
                for (reason, lines) in &accepted.rejected {
                    self.samples(*reason, *lines);
                }
                self.samples(SampleReason::DuplicateSeries, accepted.duplicates);
                #[allow(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^52")]
                self.age.observe((now - accepted.dump_time).max(0) as f64 / 1000.0);
            }
            Outcome::Refused(refusal) => {
                self.metrics.records_rejected.with_label_values(&[&self.topic, refusal.reason.as_str()]).inc();
            }
            Outcome::Dropped(reason) => self.dropped(*reason, 1),
            Outcome::Deleted | Outcome::Pending => {}
        }
    }

    fn samples(&self, reason: SampleReason, lines: u64) {
        if lines > 0 {
            self.metrics.samples_rejected.with_label_values(&[&self.topic, reason.as_str()]).inc_by(lines);
        }
    }
}
