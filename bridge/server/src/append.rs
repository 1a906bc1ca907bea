//! The producer of what a bridge writes: judgements and template changes, snapshots and what
//! is known of origins, events that came by HTTP, dead letters. Idempotent, acknowledged by all
//! replicas; the client's queue is the bound of what waits.
use std::sync::Arc;
use std::time::Duration;

use k2p_runtime::kafka::{KafkaConfig, KafkaLog};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the end waits for records under way.
const FLUSH: Duration = Duration::from_secs(2);

/// A record to append.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Append<'a> {
    /// Where to.
    pub(crate) topic: &'a str,
    /// `None`: by the key, as Java's producer would.
    pub(crate) partition: Option<i32>,
    /// The key, if there is one.
    pub(crate) key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// In this order.
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
}

/// Where an acknowledged record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Called once, on the producer's thread: it must not wait. An error says that the record
/// was not acknowledged, not that it was not written.
pub(crate) type Done = Box<dyn FnOnce(Result<Place, KafkaError>) + Send + Sync>;

struct Context(Arc<KafkaLog>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }

    /// rdkafka's default writes all of them to the log.
    fn stats(&self, _: Statistics) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Done>;

    fn delivery(&self, result: &DeliveryResult<'_>, done: Box<Done>) {
        done(match result {
            Ok(message) => Ok(Place { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        });
    }
}

/// See the module's documentation.
pub(crate) struct Appender(ThreadedProducer<Context>);

impl Appender {
    /// # Errors
    /// When the client cannot be created from its settings.
    pub(crate) fn new(kafka: &KafkaConfig, log: &Arc<KafkaLog>) -> Result<Appender, KafkaError> {
        Ok(Appender(kafka.producer_config().create_with_context(Context(log.clone()))?))
    }

    /// Whose records are acknowledged, or given up for good, within `patience`: whoever waits
    /// longer than that knows what became of them, and none is sent later.
    ///
    /// # Errors
    /// As [`Appender::new`].
    pub(crate) fn within(kafka: &KafkaConfig, log: &Arc<KafkaLog>, patience: Duration) -> Result<Appender, KafkaError> {
        let mut config = kafka.producer_config();
        // Two names of one setting.
        config.remove("delivery.timeout.ms");
        config.set("message.timeout.ms", patience.as_millis().to_string());
        Ok(Appender(config.create_with_context(Context(log.clone()))?))
    }

    /// Hands a record to the client and returns at once.
    ///
    /// # Errors
    /// When the client does not take it (its queue is full, it is larger than allowed):
    /// it is then not written, and `done` is dropped uncalled.
    pub(crate) fn send(&self, append: &Append<'_>, done: Done) -> Result<(), KafkaError> {
        let mut headers = OwnedHeaders::new_with_capacity(append.headers.len());
        for (key, value) in append.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let mut record: BaseRecord<'_, [u8], [u8], Box<Done>> =
            BaseRecord::with_opaque_to(append.topic, Box::new(done)).headers(headers);
        record.key = append.key;
        record.payload = append.value;
        record.partition = append.partition;
        self.0.send(record).map_err(|(error, _)| error)
    }

    /// The same for one who waits elsewhere: what comes of the record.
    ///
    /// # Errors
    /// As [`Appender::send`].
    pub(crate) fn hand_over(&self, append: &Append<'_>) -> Result<UnderWay, KafkaError> {
        let (told, under_way) = oneshot::channel();
        // The one who waits may have gone.
        self.send(append, Box::new(move |result| drop(told.send(result))))?;
        Ok(UnderWay(under_way))
    }

    /// Appends a record and waits until it is acknowledged, for at most `patience`.
    ///
    /// # Errors
    /// Why it was not, as far as is known: it may be written later.
    pub(crate) fn send_and_wait(&self, append: &Append<'_>, patience: Duration) -> Result<Place, String> {
        let (tx, rx) = crossbeam_channel::bounded(1);
        // The one who waits may have given up.
        let done: Done = Box::new(move |result| drop(tx.send(result)));
        self.send(append, done).map_err(|e| e.to_string())?;
        match rx.recv_timeout(patience) {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(_) => Err(format!("{} was not acknowledged in time", append.topic)),
        }
    }
}

/// A record that was handed over.
pub(crate) struct UnderWay(oneshot::Receiver<Result<Place, KafkaError>>);

impl UnderWay {
    /// Waits until the record is acknowledged, or known not to be.
    ///
    /// # Errors
    /// Why it was not, as far as is known.
    pub(crate) async fn acknowledged(self) -> Result<Place, String> {
        match self.0.await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the producer is gone".to_owned()),
        }
    }

    /// The same, for at most `patience`.
    ///
    /// # Errors
    /// The same; the record may be written later.
    pub(crate) async fn acknowledged_within(self, patience: Duration) -> Result<Place, String> {
        timeout(patience, self.acknowledged()).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if let Err(error) = self.0.flush(FLUSH) {
            tracing::warn!(%error, "appended records were still under way at the end");
        }
    }
}
