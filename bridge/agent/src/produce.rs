//! Ships dumps: packs each into records by the contract (design §2), hands them to
//! librdkafka's bounded queue, and follows every record to its acknowledgement.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use k2p_core::compress::Encoding;
use k2p_core::envelope::{EnvelopeOut, Part, ProducerId, headers};
use k2p_core::labels::Labels;
use k2p_core::model::UnixMs;
use k2p_runtime::clock::unix_ms;
use k2p_runtime::kafka::KafkaLog;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::statistics::Statistics;

use crate::config::Config;
use crate::metrics::{AgentMetrics, DropReason};
use crate::pack::{self, PackError, Shape};

/// Room for key and headers beside a value of the largest size.
const OVERHEAD_BYTES: u64 = 64 * 1024;

/// A dump as it was taken.
#[derive(Debug)]
pub(crate) struct Dump {
    /// Decompressed.
    pub(crate) body: Vec<u8>,
    /// As the source said; `None` if it said nothing.
    pub(crate) content_type: Option<String>,
    /// When.
    pub(crate) taken: UnixMs,
}

/// What the records of one dump share until the last of them is answered.
#[derive(Debug)]
struct Flight {
    parts_left: AtomicU32,
    failed: AtomicBool,
}

/// Travels with a record through librdkafka.
struct Ticket {
    flight: Arc<Flight>,
    bytes: i64,
}

struct Context {
    metrics: AgentMetrics,
    log: Arc<KafkaLog>,
}

impl Context {
    /// The first failure of a dump's records counts the dump.
    fn fail(&self, flight: &Flight, reason: DropReason) {
        if !flight.failed.swap(true, Ordering::Relaxed) {
            self.metrics.drop_dump(reason);
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.log.stats(&statistics);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        self.metrics.queue_bytes.sub(ticket.bytes);
        match result {
            Ok(message) => {
                let bytes = message.payload().map_or(0, <[u8]>::len);
                self.metrics.records.inc();
                self.metrics.record_bytes.inc_by(bytes as u64);
                self.metrics.last_delivery.set(unix_ms() as f64 / 1000.0);
                self.log.note_success();
            }
            Err((error, _)) => {
                let (reason, dropped) = classify(error);
                self.metrics.errors.with_label_values(&[reason]).inc();
                if !ticket.flight.failed.load(Ordering::Relaxed) {
                    tracing::warn!(reason, %error, "a dump did not reach Kafka");
                }
                self.fail(&ticket.flight, dropped);
            }
        }
        let last = ticket.flight.parts_left.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !ticket.flight.failed.load(Ordering::Relaxed) {
            self.metrics.dumps.inc();
        }
    }
}

/// The bounded reason of an error, and why its dump is lost.
fn classify(error: &KafkaError) -> (&'static str, DropReason) {
    let lost = DropReason::NotDelivered;
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => ("queue_full", DropReason::QueueFull),
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => ("too_large", DropReason::TooLarge),
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => ("shutdown", DropReason::Shutdown),
        Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::RequestTimedOut) => ("timed_out", lost),
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => ("unknown_topic", lost),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed,
        ) => ("not_allowed", lost),
        _ => ("other", lost),
    }
}

/// The way to Kafka that all sources of an agent share.
pub(crate) struct Shipper {
    producer: ThreadedProducer<Context>,
    topic: String,
    record_bytes: usize,
    incarnation: String,
    sequence: AtomicU64,
}

impl Shipper {
    /// Connects in the background: Kafka may be away.
    pub(crate) fn new(config: &Config, metrics: AgentMetrics, log: Arc<KafkaLog>) -> Result<Shipper, KafkaError> {
        let mut client = config.kafka.producer_config();
        metrics.queue_capacity.set(number(&client, "queue.buffering.max.kbytes") * 1024);
        let record = i64::try_from(config.record_bytes + OVERHEAD_BYTES).unwrap_or(i64::MAX);
        if number(&client, "message.max.bytes") < record {
            client.set("message.max.bytes", record.to_string());
        }
        let producer = client.create_with_context(Context { metrics, log })?;
        Ok(Shipper {
            producer,
            topic: config.topic.clone(),
            record_bytes: usize::try_from(config.record_bytes).unwrap_or(usize::MAX),
            incarnation: incarnation(),
            sequence: AtomicU64::new(0),
        })
    }

    fn context(&self) -> &Context {
        self.producer.context()
    }

    /// Packs and queues a dump. It never waits for Kafka: what finds the queue full is
    /// dropped and counted, since a later dump of the origin is worth more.
    pub(crate) async fn ship(self: &Arc<Self>, origin: Labels, dump: Dump) {
        let shipper = Arc::clone(self);
        // A large dump takes long to compress: not on the threads of the sockets.
        let work = tokio::task::spawn_blocking(move || shipper.ship_blocking(&origin, &dump));
        if work.await.is_err() {
            self.context().metrics.drop_dump(DropReason::Internal);
        }
    }

    fn ship_blocking(&self, origin: &Labels, dump: &Dump) {
        let shape = Shape::of(dump.content_type.as_deref(), &dump.body);
        let values = match pack::pack(&dump.body, shape, self.record_bytes) {
            Ok(values) => values,
            Err(error) => {
                let reason = match error {
                    PackError::TooLarge { .. } => DropReason::TooLarge,
                    PackError::Zstd(_) => DropReason::Internal,
                };
                tracing::warn!(origin = origin.canonical(), %error, "dump dropped");
                return self.context().metrics.drop_dump(reason);
            }
        };
        self.queue(origin, dump, &values);
    }

    fn queue(&self, origin: &Labels, dump: &Dump, values: &[Vec<u8>]) {
        let of = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let flight = Arc::new(Flight { parts_left: AtomicU32::new(of), failed: AtomicBool::new(false) });
        let sequences = self.sequence.fetch_add(u64::from(of), Ordering::Relaxed);
        for (index, value) in (1..).zip(values) {
            let sequence = sequences + u64::from(index) - 1;
            let incarnation = self.incarnation.clone();
            let part = (of > 1).then(|| Part { index, of, id: format!("{incarnation}-{sequences}") });
            let envelope = EnvelopeOut {
                content_type: dump.content_type.as_deref(),
                encoding: Encoding::Zstd,
                dump_time: dump.taken,
                producer: Some(ProducerId { incarnation, sequence }),
                part,
            };
            if !self.send(origin, &flight, &envelope, value) {
                // The parts before are of no use on the bridge, and it says so there.
                return;
            }
        }
    }

    fn send(&self, origin: &Labels, flight: &Arc<Flight>, envelope: &EnvelopeOut<'_>, value: &[u8]) -> bool {
        let mut all = OwnedHeaders::new();
        for (key, value) in headers(envelope) {
            all = all.insert(Header { key, value: Some(&value) });
        }
        let bytes = i64::try_from(value.len()).unwrap_or(i64::MAX);
        let ticket = Box::new(Ticket { flight: Arc::clone(flight), bytes });
        let record =
            BaseRecord::with_opaque_to(&self.topic, ticket).key(origin.canonical()).payload(value).headers(all);
        let context = self.context();
        context.metrics.queue_bytes.add(bytes);
        let Err((error, _)) = self.producer.send(record) else {
            return true;
        };
        context.metrics.queue_bytes.sub(bytes);
        let (reason, dropped) = classify(&error);
        context.metrics.errors.with_label_values(&[reason]).inc();
        context.fail(flight, dropped);
        tracing::debug!(origin = origin.canonical(), %error, "record not queued");
        false
    }

    /// Waits for the answers of what is queued, at most `timeout`; what then still
    /// waits is given up, and counted. Blocks.
    pub(crate) fn finish(&self, timeout: Duration) {
        if self.producer.flush(timeout).is_ok() {
            return;
        }
        tracing::warn!(records = self.producer.in_flight_count(), "giving up what Kafka did not take");
        self.producer.purge(PurgeConfig::default().queue().inflight());
        // The purged records' reports; they are there at once.
        let _ = self.producer.flush(Duration::from_millis(200));
    }
}

/// A numeric property; 0 if it is not set.
fn number(client: &ClientConfig, key: &str) -> i64 {
    client.get(key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// One life of this producer: never the same text twice, also not for two agents of
/// one process that start in the same millisecond.
fn incarnation() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    format!("{:x}-{random:016x}", unix_ms())
}
