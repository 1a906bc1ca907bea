//! Refused records are copied to the dead-letter topic: with all their headers, and
//! why and from where in three more (design §2).
use std::sync::Arc;
use std::time::Duration;

use k2p_core::envelope::RawRecord;
use k2p_runtime::kafka::{KafkaConfig, KafkaLog};
use prometheus::IntCounterVec;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;

use crate::metrics::ServerMetrics;

/// How long the end waits for copies under way.
const FLUSH: Duration = Duration::from_secs(2);

struct Context {
    log: Arc<KafkaLog>,
    counted: IntCounterVec,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(&error, reason);
    }

    /// rdkafka's default writes all of them to the log.
    fn stats(&self, _: Statistics) {}
}

impl ProducerContext for Context {
    /// The source topic.
    type DeliveryOpaque = Box<Arc<str>>;

    fn delivery(&self, result: &DeliveryResult<'_>, topic: Box<Arc<str>>) {
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        self.counted.with_label_values(&[&**topic, outcome]).inc();
    }
}

/// Produces dead letters. The client's own queue bounds what waits; what does not fit
/// is counted as failed, and the partition goes on.
pub(super) struct DeadLetter {
    topic: Arc<str>,
    producer: ThreadedProducer<Context>,
    counted: IntCounterVec,
}

impl DeadLetter {
    pub(super) fn new(
        topic: &Arc<str>,
        kafka: &KafkaConfig,
        metrics: &ServerMetrics,
        log: &Arc<KafkaLog>,
    ) -> Result<DeadLetter, KafkaError> {
        let counted = metrics.dead_letters.clone();
        let context = Context { log: log.clone(), counted: counted.clone() };
        let producer = kafka.producer_config().create_with_context(context)?;
        Ok(DeadLetter { topic: topic.clone(), producer, counted })
    }

    /// Copies a record, without waiting for anything.
    pub(super) fn send(&self, record: &RawRecord<'_>, topic: &Arc<str>, partition: i32, reason: &str, detail: &str) {
        let source = format!("{topic}/{partition}/{}", record.offset);
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        for (key, value) in [("k2p-reason", reason), ("k2p-detail", detail), ("k2p-source", source.as_str())] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut letter: BaseRecord<'_, [u8], [u8], Box<Arc<str>>> =
            BaseRecord::with_opaque_to(&self.topic, Box::new(topic.clone())).headers(headers);
        letter.key = record.key;
        letter.payload = record.value;
        if let Err((error, _)) = self.producer.send(letter) {
            tracing::warn!(%error, source, "a refused record could not be copied to the dead-letter topic");
            self.counted.with_label_values(&[&**topic, "failed"]).inc();
        }
    }
}

impl Drop for DeadLetter {
    fn drop(&mut self) {
        if let Err(error) = self.producer.flush(FLUSH) {
            tracing::warn!(%error, "dead letters were still under way at the end");
        }
    }
}
