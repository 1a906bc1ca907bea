//! Refused records are copied to the dead-letter topic: with all their headers, and
//! why and from where in three more (design §2).
use std::sync::Arc;

use k2p_core::envelope::RawRecord;
use k2p_runtime::kafka::{KafkaConfig, KafkaLog};
use prometheus::IntCounterVec;
use rdkafka::error::KafkaError;

use crate::append::{Append, Appender};
use crate::metrics::ServerMetrics;

/// Produces dead letters. The client's own queue bounds what waits (a client of their own,
/// so that they fill nobody else's); what does not fit is counted as failed, and the
/// partition goes on.
pub(super) struct DeadLetter {
    topic: Arc<str>,
    appender: Appender,
    counted: IntCounterVec,
}

impl DeadLetter {
    pub(super) fn new(
        topic: &Arc<str>,
        kafka: &KafkaConfig,
        metrics: &ServerMetrics,
        log: &Arc<KafkaLog>,
    ) -> Result<DeadLetter, KafkaError> {
        let appender = Appender::new(kafka, log)?;
        Ok(DeadLetter { topic: topic.clone(), appender, counted: metrics.dead_letters.clone() })
    }

    /// Copies a record, without waiting for anything.
    pub(super) fn send(&self, record: &RawRecord<'_>, topic: &Arc<str>, partition: i32, reason: &str, detail: &str) {
        let source = format!("{topic}/{partition}/{}", record.offset);
        let why = [("k2p-reason", reason), ("k2p-detail", detail), ("k2p-source", source.as_str())];
        let headers = [record.headers, &why.map(|(name, value)| (name, value.as_bytes()))].concat();
        let letter =
            Append { topic: &self.topic, partition: None, key: record.key, value: record.value, headers: &headers };
        let of = |result| self.counted.with_label_values(&[&**topic, result]);
        let (ok, failed) = (of("ok"), of("failed"));
        let done = Box::new({
            let failed = failed.clone();
            move |result: Result<_, KafkaError>| if result.is_ok() { ok.inc() } else { failed.inc() }
        });
        if let Err(error) = self.appender.send(&letter, done) {
            tracing::warn!(%error, source, "a refused record could not be copied to the dead-letter topic");
            failed.inc();
        }
    }
}
