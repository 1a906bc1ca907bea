//! The state topic (`k2p.state`, compacted) as this bridge knows it: a thread follows it
//! from its beginning and keeps an index; parts of snapshots are only noted by place
//! and read when they are needed.
//!
//! Keys, all records of one partition in one partition of the state topic:
//!
//! | key | value |
//! |---|---|
//! | `TOPIC/PARTITION/SNAPSHOT/N` | part N of a snapshot |
//! | `TOPIC/PARTITION/SNAPSHOT/manifest` | its [`Manifest`], written last |
//! | `TOPIC/PARTITION/begin` | its [`Beginning`] |
//! | `TOPIC/PARTITION/accept-loss` | its [`Loss`] |
//! | `pin/TOPIC` | its number of partitions |
//! | `text/HASH` | what a hash in a record stands for (templates) |
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use k2p_core::ownership::Tp;
use k2p_core::partitioner::partition_of;
use k2p_runtime::kafka::{KafkaConfig, KafkaLog, PlainContext};
use k2p_runtime::shutdown::Shutdown;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::plan::{Beginning, Extent, Known, Loss, Manifest};
use crate::append::{Append, Appender};
use crate::consume::ffi;

type Client = BaseConsumer<PlainContext>;

const TIMEOUT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);
/// How long an answer that must be whole may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A record of the state topic: its partition there, and its offset.
pub(crate) type Spot = (i32, i64);

/// Key and value.
type Pair = (Vec<u8>, Vec<u8>);

/// Why the state topic gave no answer; its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    /// It does not exist.
    #[error("the state topic {0} does not exist; create it with `kafka2prom topics create`")]
    NoTopic(Arc<str>),
    /// It could not be read to its end.
    #[error("the state topic {topic} cannot be read to its end: {why}")]
    Unread {
        /// Its name.
        topic: Arc<str>,
        /// Why.
        why: String,
    },
    /// It could not be written.
    #[error("the state topic {topic} cannot be written: {why}")]
    Unwritten {
        /// Its name.
        topic: Arc<str>,
        /// Why.
        why: String,
    },
}

/// What is known of one partition's snapshots.
#[derive(Debug, Default)]
struct Shelf {
    parts: BTreeMap<String, BTreeMap<u32, Spot>>,
    manifests: BTreeMap<String, Manifest>,
    beginning: Option<Beginning>,
    loss: Option<Loss>,
}

#[derive(Debug, Default)]
struct Index {
    /// The next offset to read of each of the state topic's partitions.
    positions: BTreeMap<i32, i64>,
    shelves: HashMap<String, Shelf>,
    pins: HashMap<String, i32>,
    texts: HashMap<String, Arc<str>>,
}

/// See the module's documentation. Ends with its last handle.
pub(crate) struct StateLog {
    topic: Arc<str>,
    index: Arc<(Mutex<Index>, Condvar)>,
    /// For ends and extents.
    watch: Client,
    /// Reads parts; used by one at a time.
    parts: Mutex<Client>,
    appender: Arc<Appender>,
    stop: Arc<AtomicBool>,
    shutdown: Shutdown,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl StateLog {
    /// Begins to follow the topic; whether it is there is seen later. Ends after
    /// `shutdown`.
    ///
    /// # Errors
    /// When a client cannot be created from its settings.
    pub(crate) fn start(
        topic: &Arc<str>,
        kafka: &KafkaConfig,
        log: &Arc<KafkaLog>,
        appender: &Arc<Appender>,
        shutdown: &Shutdown,
    ) -> Result<Arc<StateLog>, KafkaError> {
        // No member of any group: it is assigned by hand, but librdkafka asks for a group.
        let reader = || -> Result<Client, KafkaError> {
            let mut config = kafka.side_config();
            if kafka.group().is_none() {
                config.set("group.id", "kafka2prom-state");
            }
            config.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
            config.create_with_context(PlainContext(log.clone()))
        };
        let follower = reader()?;
        let state = Arc::new(StateLog {
            topic: topic.clone(),
            index: Arc::default(),
            watch: kafka.watch_config().create_with_context(PlainContext(log.clone()))?,
            parts: Mutex::new(reader()?),
            appender: appender.clone(),
            stop: Arc::default(),
            shutdown: shutdown.clone(),
            follower: Mutex::default(),
        });
        let thread = std::thread::Builder::new().name("k2p-state".to_owned()).spawn({
            let (topic, index, stop, shutdown) =
                (topic.clone(), state.index.clone(), state.stop.clone(), shutdown.clone());
            move || follow(&follower, &topic, &index, &|| stop.load(Ordering::SeqCst) || shutdown.is_triggered())
        });
        *lock(&state.follower) = Some(thread.expect("the system refuses a thread at start: nothing can run"));
        Ok(state)
    }

    /// Waits until everything that is in the topic now is in the index.
    ///
    /// # Errors
    /// When the topic is not there, or does not arrive within 10 s.
    pub(crate) fn refresh(&self) -> Result<(), StateError> {
        let unread = |why: String| StateError::Unread { topic: self.topic.clone(), why };
        let metadata = self.watch.fetch_metadata(Some(&self.topic), TIMEOUT).map_err(|e| unread(e.to_string()))?;
        let found = metadata.topics().iter().find(|t| t.name() == &*self.topic && t.error().is_none());
        let count = found.map_or(0, |t| t.partitions().len());
        if count == 0 {
            return Err(StateError::NoTopic(self.topic.clone()));
        }
        let mut wanted = BTreeMap::new();
        for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
            let extent = self.extent(&Tp { topic: self.topic.clone(), partition }).map_err(unread)?;
            if extent.end > extent.start {
                wanted.insert(partition, extent.end);
            }
        }
        let (index, changed) = &*self.index;
        let mut index = lock(index);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let behind = wanted.iter().find(|(p, end)| index.positions.get(p).is_none_or(|at| at < end));
            let Some((partition, end)) = behind else { return Ok(()) };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.shutdown.is_triggered() {
                let at = index.positions.get(partition).copied().unwrap_or(0);
                return Err(unread(format!("partition {partition} is read up to {at} of {end}")));
            }
            index = changed.wait_timeout(index, left.min(POLL)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// First offset and end of any partition, from its leader.
    ///
    /// # Errors
    /// What the client says.
    pub(crate) fn extent(&self, tp: &Tp) -> Result<Extent, String> {
        let (start, end) = self.watch.fetch_watermarks(&tp.topic, tp.partition, TIMEOUT).map_err(|e| e.to_string())?;
        Ok(Extent { start, end })
    }

    /// How many partitions a topic has now.
    ///
    /// # Errors
    /// What the client says.
    pub(crate) fn partitions(&self, topic: &str) -> Result<i32, String> {
        let metadata = self.watch.fetch_metadata(Some(topic), TIMEOUT).map_err(|e| e.to_string())?;
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        match found.map_or(0, |t| t.partitions().len()) {
            0 => Err(format!("the topic {topic} does not exist")),
            count => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// What the index knows of a partition.
    pub(crate) fn known(&self, tp: &Tp) -> Known {
        let index = lock(&self.index.0);
        let Some(shelf) = index.shelves.get(&place(tp)) else { return Known::default() };
        let whole = |id: &str, m: &Manifest| {
            let parts = shelf.parts.get(id).map_or(0, BTreeMap::len);
            m.version == Manifest::VERSION && usize::try_from(m.parts).is_ok_and(|n| n == parts)
        };
        let complete = shelf.manifests.iter().filter(|(id, m)| whole(id, m));
        Known {
            snapshots: complete.map(|(id, m)| (id.clone(), m.clone())).collect(),
            beginning: shelf.beginning.clone(),
            loss: shelf.loss.clone(),
        }
    }

    /// The pinned number of partitions of a topic.
    pub(crate) fn pin(&self, topic: &str) -> Option<i32> {
        lock(&self.index.0).pins.get(topic).copied()
    }

    /// The text that a hash stands for.
    pub(crate) fn text(&self, hash: &str) -> Option<Arc<str>> {
        lock(&self.index.0).texts.get(hash).cloned()
    }

    /// Reads a snapshot's bytes. `None` when it is not whole any more, or not what its
    /// manifest says.
    pub(crate) fn read(&self, tp: &Tp, id: &str, manifest: &Manifest) -> Option<Vec<u8>> {
        let spots: Vec<Spot> = lock(&self.index.0).shelves.get(&place(tp))?.parts.get(id)?.values().copied().collect();
        self.read_spots(tp, id, manifest, &spots)
    }

    /// The same where the parts' places are known.
    pub(crate) fn read_spots(&self, tp: &Tp, id: &str, manifest: &Manifest, spots: &[Spot]) -> Option<Vec<u8>> {
        let partition = spots.first()?.0;
        let offsets: BTreeSet<i64> = spots.iter().filter(|s| s.0 == partition).map(|s| s.1).collect();
        if u32::try_from(offsets.len()).ok()? != manifest.parts {
            return None;
        }
        let found = self.fetch(partition, &offsets).inspect_err(|why| {
            tracing::warn!(topic = %tp.topic, partition = tp.partition, snapshot = id, why, "a snapshot cannot be read");
        });
        let mut bytes = Vec::with_capacity(usize::try_from(manifest.bytes).ok()?);
        for (number, (key, value)) in found.ok()?.into_iter().enumerate() {
            if key != format!("{}/{id}/{number}", place(tp)).as_bytes() {
                return None;
            }
            bytes.extend_from_slice(&value);
        }
        let whole = bytes.len() as u64 == manifest.bytes && crc(&bytes) == manifest.crc;
        whole.then_some(bytes)
    }

    /// Key and value of the records at these offsets, in order.
    fn fetch(&self, partition: i32, offsets: &BTreeSet<i64>) -> Result<Vec<Pair>, String> {
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Ok(Vec::new()) };
        let client = lock(&self.parts);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(*first)).map_err(|e| e.to_string())?;
        client.assign(&list).map_err(|e| e.to_string())?;
        let (mut found, mut heard) = (Vec::with_capacity(offsets.len()), Instant::now());
        let ended = loop {
            if heard.elapsed() > PATIENCE || self.shutdown.is_triggered() {
                break Err("Kafka does not send it".to_owned());
            }
            match client.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    if let (true, Some(value)) = (offsets.contains(&message.offset()), message.payload()) {
                        found.push((message.key().unwrap_or_default().to_vec(), value.to_vec()));
                    }
                    if message.offset() >= *last {
                        break Ok(found);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(found),
                Some(Err(error)) => tracing::debug!(%error, "state topic"),
                None => {}
            }
        };
        // Nothing more is fetched until it is needed again.
        let _idle = client.unassign();
        ended
    }

    /// Writes one record and waits for its acknowledgement.
    ///
    /// # Errors
    /// When it is not acknowledged in time.
    pub(crate) fn put(&self, subject: &str, key: &str, value: Option<&[u8]>) -> Result<Spot, StateError> {
        let failed = |why: String| StateError::Unwritten { topic: self.topic.clone(), why };
        let partition = self.home(subject).map_err(failed)?;
        let append =
            Append { topic: &self.topic, partition: Some(partition), key: Some(key.as_bytes()), value, headers: &[] };
        let written = self.appender.send_and_wait(&append, PATIENCE).map_err(failed)?;
        Ok((written.partition, written.offset))
    }

    /// Writes the records of one subject, all under way at once, and waits for all.
    ///
    /// # Errors
    /// When one is not acknowledged in time.
    pub(crate) fn put_all(&self, subject: &str, records: &[(String, Option<&[u8]>)]) -> Result<Vec<Spot>, StateError> {
        let failed = |why: String| StateError::Unwritten { topic: self.topic.clone(), why };
        let partition = self.home(subject).map_err(failed)?;
        let (tx, rx) = crossbeam_channel::unbounded();
        for (number, (key, value)) in records.iter().enumerate() {
            let append = Append {
                topic: &self.topic,
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: *value,
                headers: &[],
            };
            let deadline = Instant::now() + PATIENCE;
            loop {
                let tx = tx.clone();
                match self.appender.send(&append, Box::new(move |result| drop(tx.send((number, result))))) {
                    Ok(()) => break,
                    Err(e) if is_full(&e) && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                    Err(e) => return Err(failed(e.to_string())),
                }
            }
        }
        let mut spots = vec![(partition, -1); records.len()];
        for _ in records {
            let (number, result) = rx.recv_timeout(PATIENCE).map_err(|e| failed(e.to_string()))?;
            spots[number].1 = result.map_err(|e| failed(e.to_string()))?.offset;
        }
        Ok(spots)
    }

    /// The keys of the other snapshots of a partition below `offset`, whole or not.
    pub(crate) fn superseded(&self, tp: &Tp, id: &str, offset: i64) -> Vec<String> {
        let index = lock(&self.index.0);
        let Some(shelf) = index.shelves.get(&place(tp)) else { return Vec::new() };
        let old = |other: &String| other != id && snapshot_offset(other).is_some_and(|o| o <= offset);
        let mut keys: Vec<String> =
            shelf.manifests.keys().filter(|id| old(id)).map(|id| format!("{}/{id}/manifest", place(tp))).collect();
        for (other, parts) in shelf.parts.iter().filter(|(id, _)| old(id)) {
            keys.extend(parts.keys().map(|n| format!("{}/{other}/{n}", place(tp))));
        }
        keys
    }

    /// The partition of the state topic that everything of a subject is in.
    fn home(&self, subject: &str) -> Result<i32, String> {
        let count = match lock(&self.index.0).positions.len() {
            0 => self.partitions(&self.topic)?,
            known => i32::try_from(known).unwrap_or(i32::MAX),
        };
        partition_of(subject.as_bytes(), count).ok_or_else(|| "it has no partition".to_owned())
    }
}

impl Drop for StateLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = lock(&self.follower).take()
            && thread.join().is_err()
        {
            tracing::error!("the follower of the state topic panicked");
        }
    }
}

/// `TOPIC/PARTITION`, what all keys of a partition begin with.
pub(crate) fn place(tp: &Tp) -> String {
    format!("{}/{}", tp.topic, tp.partition)
}

/// The id of a snapshot: sorts by offset, and two writers never share one.
pub(crate) fn snapshot_id(offset: i64, nonce: u64) -> String {
    format!("{offset:020}-{nonce:016x}")
}

fn snapshot_offset(id: &str) -> Option<i64> {
    id.split_once('-')?.0.parse().ok()
}

/// CRC-32 of a snapshot's bytes.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn is_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The follower's thread: assigns itself every partition, reads for ever.
fn follow(client: &Client, topic: &Arc<str>, shared: &(Mutex<Index>, Condvar), ended: &dyn Fn() -> bool) {
    let mut assigned = 0;
    let mut looked: Option<Instant> = None;
    while !ended() {
        // Its partitions may come later, or become more.
        let again = Duration::from_secs(if assigned == 0 { 1 } else { 30 });
        if looked.is_none_or(|at| at.elapsed() > again) {
            assigned = assign(client, topic, assigned, &shared.0);
            looked = Some(Instant::now());
        }
        let arrived = match client.poll(POLL) {
            Some(Ok(message)) => {
                let mut index = lock(&shared.0);
                let spot = (message.partition(), message.offset());
                if let Some(key) = message.key().and_then(|k| std::str::from_utf8(k).ok()) {
                    index.take(key, message.payload(), spot);
                }
                let at = index.positions.entry(spot.0).or_default();
                *at = (*at).max(spot.1 + 1);
                true
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                // What was compacted away at the end never comes.
                let end = ffi::cached_end(client, &Tp { topic: topic.clone(), partition }).unwrap_or(0);
                let mut index = lock(&shared.0);
                let at = index.positions.entry(partition).or_default();
                *at = (*at).max(end);
                true
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "state topic");
                false
            }
            None => false,
        };
        if arrived {
            shared.1.notify_all();
        }
    }
}

/// Assigns all partitions, the new ones from their beginning; how many there are.
fn assign(client: &Client, topic: &Arc<str>, before: usize, index: &Mutex<Index>) -> usize {
    let count = match client.fetch_metadata(Some(topic), TIMEOUT) {
        Ok(metadata) => {
            let found = metadata.topics().iter().find(|t| t.name() == &**topic && t.error().is_none());
            found.map_or(0, |t| t.partitions().len())
        }
        Err(error) => {
            tracing::debug!(%error, "the state topic's metadata could not be read");
            return before;
        }
    };
    if count <= before {
        return before;
    }
    let mut list = TopicPartitionList::new();
    let mut index = lock(index);
    for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
        let at = *index.positions.entry(partition).or_default();
        let from = if at > 0 { Offset::Offset(at) } else { Offset::Beginning };
        // An offset of at least 0 or a symbol is always valid.
        let _ = list.add_partition_offset(topic, partition, from);
    }
    drop(index);
    match client.assign(&list) {
        Ok(()) => count,
        Err(error) => {
            tracing::warn!(%error, "the state topic cannot be followed; tried again");
            before
        }
    }
}

impl Index {
    /// One record. What another program wrote there is left alone.
    fn take(&mut self, key: &str, value: Option<&[u8]>, spot: Spot) {
        // A topic's name holds no '/'.
        let segments: Vec<&str> = key.split('/').collect();
        match segments.as_slice() {
            ["text", hash] => match value.and_then(|v| std::str::from_utf8(v).ok()) {
                Some(text) => drop(self.texts.insert((*hash).to_owned(), text.into())),
                None => drop(self.texts.remove(*hash)),
            },
            ["pin", topic] => match value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()) {
                Some(count) => drop(self.pins.insert((*topic).to_owned(), count)),
                None => drop(self.pins.remove(*topic)),
            },
            [topic, partition, "begin"] => self.shelf(topic, partition).beginning = read(value),
            [topic, partition, "accept-loss"] => self.shelf(topic, partition).loss = read(value),
            [topic, partition, id, "manifest"] => {
                let shelf = self.shelf(topic, partition);
                match read(value) {
                    Some(manifest) => drop(shelf.manifests.insert((*id).to_owned(), manifest)),
                    None => drop(shelf.manifests.remove(*id)),
                }
            }
            [topic, partition, id, part] => {
                let Ok(part) = part.parse() else { return };
                let parts = self.shelf(topic, partition).parts.entry((*id).to_owned()).or_default();
                match value {
                    Some(_) => drop(parts.insert(part, spot)),
                    None => drop(parts.remove(&part)),
                }
                if parts.is_empty() {
                    self.shelf(topic, partition).parts.remove(*id);
                }
            }
            _ => {}
        }
    }

    fn shelf(&mut self, topic: &str, partition: &str) -> &mut Shelf {
        self.shelves.entry(format!("{topic}/{partition}")).or_default()
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Option<&[u8]>) -> Option<T> {
    serde_json::from_slice(value?).ok()
}
