//! The origins of each partition in the state topic, so that one that is slow or has
//! vanished stays known to the next owner (design §1, rule 7).
//!
//! One record per partition under the key `topic/partition/origins`, written by its live
//! owner; the topic is compacted. A thread reads the topic all the time and keeps the
//! newest record of each; a worker that begins waits until it has come to the end.
//! Nothing rests on it: what is missing is missing from what is known of origins that
//! have no dump within the rewind.
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use k2p_core::cache::CatalogueEntry;
use k2p_core::ownership::Tp;
use k2p_core::partitioner::partition_of;
use k2p_runtime::kafka::{KafkaConfig, KafkaLog, PlainContext};
use k2p_runtime::shutdown::Shutdown;
use prometheus::IntCounterVec;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::metrics::ServerMetrics;

const SUFFIX: &str = "/origins";
const VERSION: u32 = 1;
/// A worker begins without what is known after this.
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(1);
/// A topic that is not there is looked for this often.
const LOOK: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// The record's value, as JSON.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u32,
    #[serde(borrow)]
    origins: Vec<StoredOrigin<'a>>,
}

/// One origin; times in Unix milliseconds, the interval in milliseconds.
#[derive(Serialize, Deserialize)]
struct StoredOrigin<'a> {
    #[serde(borrow)]
    key: std::borrow::Cow<'a, str>,
    time: i64,
    offset: i64,
    interval: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

#[derive(Default)]
struct Read {
    /// The newest record of each key that ends in `/origins`.
    newest: HashMap<Vec<u8>, Vec<u8>>,
    /// Read up to here, of each partition of the state topic. Empty: it is not there.
    positions: BTreeMap<i32, i64>,
    /// It was looked for.
    looked: bool,
}

#[derive(Default)]
struct Shared {
    read: Mutex<Read>,
    moved: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.counted.with_label_values(&[if result.is_ok() { "written" } else { "write_failed" }]).inc();
    }
}

/// See the module's documentation.
pub(super) struct Catalogue {
    topic: Arc<str>,
    producer: ThreadedProducer<Context>,
    /// Has no group and fetches nothing: it answers at once.
    ends: BaseConsumer<PlainContext>,
    shared: Arc<Shared>,
    counted: IntCounterVec,
    reader: Option<JoinHandle<()>>,
    stop: Shutdown,
}

impl Catalogue {
    /// # Errors
    /// When a client cannot be created from its settings.
    pub(super) fn start(
        topic: &Arc<str>,
        kafka: &KafkaConfig,
        metrics: &ServerMetrics,
        log: &Arc<KafkaLog>,
    ) -> Result<Catalogue, KafkaError> {
        let counted = metrics.catalogues.clone();
        let context = Context { log: log.clone(), counted: counted.clone() };
        let producer = kafka.producer_config().create_with_context(context)?;
        let ends = kafka.watch_config().create_with_context(PlainContext(log.clone()))?;
        let reader: BaseConsumer<PlainContext> = kafka.side_config().create_with_context(PlainContext(log.clone()))?;
        let (shared, stop) = (Arc::new(Shared::default()), Shutdown::new());
        let thread = std::thread::Builder::new().name("k2p-state".to_owned()).spawn({
            let (topic, shared, counted, stop) = (topic.clone(), shared.clone(), counted.clone(), stop.clone());
            move || read(&reader, &topic, &shared, &counted, &stop)
        });
        let reader = thread.map_err(|error| tracing::error!(%error, "origins that vanished are not known")).ok();
        Ok(Catalogue { topic: topic.clone(), producer, ends, shared, counted, reader, stop })
    }

    /// What the last owner knew. Waits for the topic's present end to be read, 2 s at most.
    pub(super) fn of(&self, tp: &Tp) -> Vec<CatalogueEntry> {
        let key = key(tp);
        let begun = Instant::now();
        let mut read = self.shared.lock();
        while !read.looked && begun.elapsed() < PATIENCE {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            read = self.shared.moved.wait_timeout(read, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(partition) = partition_of(&key, i32::try_from(read.positions.len()).unwrap_or(0)) else {
            return Vec::new();
        };
        drop(read);
        let end = self.ends.fetch_watermarks(&self.topic, partition, ANSWER).map(|(_, end)| end);
        read = self.shared.lock();
        while !end.as_ref().is_ok_and(|end| read.positions.get(&partition).is_some_and(|at| at >= end)) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() || end.is_err() {
                tracing::warn!(topic = %tp.topic, partition = tp.partition, "the state topic could not be read to its end: what is known of origins may be old");
                self.counted.with_label_values(&["read_failed"]).inc();
                break;
            }
            read = self.shared.moved.wait_timeout(read, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(value) = read.newest.get(&key).cloned() else { return Vec::new() };
        drop(read);
        decode(&value).unwrap_or_else(|| {
            tracing::warn!(topic = %tp.topic, partition = tp.partition, "what the state topic says of the partition's origins is not understood");
            self.counted.with_label_values(&["not_understood"]).inc();
            Vec::new()
        })
    }

    /// Writes what this owner knows, without waiting; failures are counted.
    pub(super) fn write(&self, tp: &Tp, origins: impl Iterator<Item = CatalogueEntry>) {
        if self.shared.lock().positions.is_empty() {
            self.counted.with_label_values(&["no_topic"]).inc();
            return;
        }
        let (key, value) = (key(tp), encode(origins));
        let record = BaseRecord::to(&self.topic).key(&key).payload(&value);
        if let Err((error, _)) = self.producer.send(record) {
            tracing::warn!(%error, topic = %tp.topic, partition = tp.partition, "the partition's origins could not be written to the state topic");
            self.counted.with_label_values(&["write_failed"]).inc();
        }
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        self.stop.trigger();
        if let Err(error) = rdkafka::producer::Producer::flush(&self.producer, ANSWER) {
            tracing::warn!(%error, "origins were still on the way to the state topic at the end");
        }
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            tracing::error!("the thread that reads the state topic panicked");
        }
    }
}

fn key(tp: &Tp) -> Vec<u8> {
    format!("{tp}{SUFFIX}").into_bytes()
}

fn encode(origins: impl Iterator<Item = CatalogueEntry>) -> Vec<u8> {
    let all: Vec<CatalogueEntry> = origins.collect();
    // A key that is no text is none of an origin that can be read back.
    let stored = all.iter().filter_map(|entry| {
        let key = std::str::from_utf8(&entry.record_key).ok()?.into();
        Some(StoredOrigin {
            key,
            time: entry.dump_time,
            offset: entry.offset,
            interval: entry.interval,
            deleted: entry.deleted,
        })
    });
    // Numbers and text always are JSON.
    serde_json::to_vec(&Stored { version: VERSION, origins: stored.collect() }).unwrap_or_default()
}

fn decode(value: &[u8]) -> Option<Vec<CatalogueEntry>> {
    let stored: Stored<'_> = serde_json::from_slice(value).ok()?;
    let entry = |origin: &StoredOrigin<'_>| CatalogueEntry {
        record_key: origin.key.as_bytes().into(),
        dump_time: origin.time,
        offset: origin.offset,
        interval: origin.interval,
        deleted: origin.deleted,
    };
    (stored.version == VERSION).then(|| stored.origins.iter().map(entry).collect())
}

/// Reads the state topic until `stop`.
fn read(
    client: &BaseConsumer<PlainContext>,
    topic: &Arc<str>,
    shared: &Shared,
    counted: &IntCounterVec,
    stop: &Shutdown,
) {
    let mut told = false;
    while !found(client, topic, shared) {
        if !told {
            tracing::warn!(%topic, "the state topic is not there: origins that fall silent are forgotten when their partition moves; make it with `kafka2prom topics create`");
            told = true;
        }
        counted.with_label_values(&["no_topic"]).inc();
        if stop.wait_timeout(LOOK) {
            return;
        }
    }
    while !stop.is_triggered() {
        let message = match client.poll(POLL) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(%error, "reading the state topic");
                continue;
            }
            None => continue,
        };
        let mut read = shared.lock();
        if let Some(key) = message.key().filter(|key| key.ends_with(SUFFIX.as_bytes())) {
            match message.payload() {
                Some(value) => read.newest.insert(key.to_vec(), value.to_vec()),
                None => read.newest.remove(key),
            };
        }
        read.positions.insert(message.partition(), message.offset() + 1);
        shared.moved.notify_all();
    }
}

fn found(client: &BaseConsumer<PlainContext>, topic: &Arc<str>, shared: &Shared) -> bool {
    let found = assign(client, topic, shared);
    shared.lock().looked = true;
    shared.moved.notify_all();
    found
}

/// Begins to read the topic from its beginning; false if it is not there.
fn assign(client: &BaseConsumer<PlainContext>, topic: &Arc<str>, shared: &Shared) -> bool {
    let Ok(metadata) = client.fetch_metadata(Some(topic), ANSWER) else { return false };
    let found = metadata.topics().iter().find(|t| *t.name() == **topic && t.error().is_none());
    let partitions: Vec<i32> = found
        .map(|t| t.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
        .unwrap_or_default();
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    let mut positions = BTreeMap::new();
    for partition in partitions {
        // A symbol is always valid.
        let _ = list.add_partition_offset(topic, partition, Offset::Beginning);
        // What lies before the first record there is was compacted away.
        let Ok((low, _)) = client.fetch_watermarks(topic, partition, ANSWER) else { return false };
        positions.insert(partition, low);
    }
    if list.count() == 0 || client.assign(&list).is_err() {
        return false;
    }
    shared.lock().positions = positions;
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn entry(key: &[u8], interval: Option<i64>) -> CatalogueEntry {
        CatalogueEntry { record_key: key.into(), dump_time: 1_700_000_000_123, offset: 7, interval, deleted: false }
    }

    #[test]
    fn origins_are_read_back_as_they_were_written() {
        let all = [entry(br#"job="a\"\\b""#, None), entry("näme=\"ü\"".as_bytes(), Some(15_000))];
        let back = decode(&encode(all.clone().into_iter())).unwrap();
        assert_eq!(back, all);
        assert_eq!(decode(&encode([entry(b"\xff", None)].into_iter())), Some(Vec::new()), "no text, no origin");
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        for value in ["", "{}", r#"{"version":2,"origins":[]}"#, r#"{"version":1,"origins":[{"key":1}]}"#, "k2p"] {
            assert_eq!(decode(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn the_key_names_topic_and_partition() {
        assert_eq!(key(&Tp::new("k2p.metrics", 3)), b"k2p.metrics/3/origins");
    }
}
