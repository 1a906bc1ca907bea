//! The questions that must not go through the group consumer: a group-less client for
//! the ends and start offsets of partitions (on the consuming client they wait behind
//! a long-poll fetch), and a client of the same group that never subscribes for the
//! markers of all partitions (kafka.md).
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use k2p_core::model::MonoMs;
use k2p_core::ownership::{Found, Tp};
use k2p_runtime::clock::{mono_ms, unix_ms};
use k2p_runtime::kafka::{KafkaLog, PlainContext};
use k2p_runtime::shutdown::Shutdown;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::ffi;

type Client = BaseConsumer<PlainContext>;

/// Markers are read this often (design §1, rule 3).
const WATCH: Duration = Duration::from_secs(1);
/// Metadata is refreshed this often (rule 10), in watches.
const REFRESH_EVERY: u32 = 10;
const TIMEOUT: Duration = Duration::from_secs(3);
/// An answer that is not fetched stays: the owner takes them all between two polls.
const MAX_END_REQUESTS: usize = 16_384;

/// What the side threads found out.
pub(super) enum SideAnswer {
    /// The end of a partition, read from its leader; `None` if that failed.
    End {
        tp: Tp,
        /// Of which question.
        asked: u64,
        end: Option<i64>,
    },
    /// All markers of the group.
    Markers {
        /// Arrival of the answer.
        at: MonoMs,
        markers: Vec<(Tp, Found)>,
    },
}

/// Where consumption of a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At this offset.
    At(i64),
    /// At the oldest record there is.
    Beginning,
    /// Where the worker seeks to once it knows: of a replayed topic.
    Later,
}

impl Start {
    pub(super) fn offset(self) -> Offset {
        match self {
            Start::At(offset) => Offset::Offset(offset),
            Start::Beginning => Offset::Beginning,
            Start::Later => Offset::End,
        }
    }

    /// The first position: nothing below it is promised.
    pub(super) fn position(self) -> i64 {
        match self {
            Start::At(offset) => offset,
            Start::Beginning => 0,
            // Below any barrier.
            Start::Later => -1,
        }
    }
}

/// How many partitions each topic has, as last seen.
type Counts = Arc<Mutex<BTreeMap<Arc<str>, i32>>>;

/// Handle to the side threads.
pub(super) struct Side {
    client: Arc<Client>,
    ends: Sender<(Tp, u64)>,
    answers: Receiver<SideAnswer>,
    counts: Counts,
    rewind: Duration,
    threads: Vec<JoinHandle<()>>,
}

impl Side {
    /// Starts the two threads. They end after `shutdown`.
    ///
    /// # Errors
    /// When a client cannot be created from its settings.
    pub(super) fn start(
        offsets: &ClientConfig,
        markers: &ClientConfig,
        topics: &[Arc<str>],
        rewind: Duration,
        events: &Arc<KafkaLog>,
        shutdown: &Shutdown,
    ) -> Result<Side, KafkaError> {
        let client: Arc<Client> = Arc::new(offsets.create_with_context(PlainContext(events.clone()))?);
        let watcher: Client = markers.create_with_context(PlainContext(events.clone()))?;
        let (ends, wanted) = bounded(MAX_END_REQUESTS);
        let (tx, answers) = unbounded();
        let counts = Counts::default();
        let mut threads = Vec::new();
        threads.push(spawn("k2p-ends", {
            let (client, tx, shutdown) = (client.clone(), tx.clone(), shutdown.clone());
            move || read_ends(&client, &wanted, &tx, &shutdown)
        }));
        threads.push(spawn("k2p-watch", {
            let (client, counts, topics, shutdown) =
                (client.clone(), counts.clone(), topics.to_vec(), shutdown.clone());
            move || watch_markers(&client, &watcher, &topics, &counts, &tx, &shutdown)
        }));
        Ok(Side { client, ends, answers, counts, rewind, threads })
    }

    /// Asks for the end of a partition; the answer comes by [`Side::next_answer`].
    pub(super) fn ask_end(&self, tp: Tp, asked: u64) {
        if let Err(refused) = self.ends.try_send((tp, asked)) {
            tracing::error!(error = %refused, "the end of a partition cannot be asked for");
        }
    }

    pub(super) fn next_answer(&self) -> Option<SideAnswer> {
        self.answers.try_recv().ok()
    }

    /// All partition counts as last seen.
    pub(super) fn partition_counts(&self) -> BTreeMap<Arc<str>, i32> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the cluster how many partitions the topics have; what it does not answer
    /// stays as last seen.
    pub(super) fn refresh_counts(&self, topics: &[Arc<str>]) {
        refresh(&self.client, topics, &self.counts);
    }

    /// How many partitions a topic has, as last seen. 0: unknown.
    pub(super) fn partition_count(&self, topic: &Arc<str>) -> i32 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied().unwrap_or(0)
    }

    /// Every known partition, as a list to ask about.
    pub(super) fn all_partitions(&self) -> TopicPartitionList {
        all_partitions(&self.counts)
    }

    /// Rule 7: at the marker's low-water offset; without one, at what is `rewind` old.
    pub(super) fn start_offsets(&self, markers: &[(Tp, Found)]) -> BTreeMap<Tp, Start> {
        let mut starts = BTreeMap::new();
        let mut by_time = TopicPartitionList::new();
        let from = unix_ms() - i64::try_from(self.rewind.as_millis()).unwrap_or(i64::MAX);
        for (tp, found) in markers {
            match found.marker().map(|m| m.low_water) {
                Some(low) if low >= 0 => {
                    starts.insert(tp.clone(), Start::At(low));
                }
                _ => {
                    // A timestamp travels in the offset field of this request.
                    let _ = by_time.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(from.max(0)));
                }
            }
        }
        if by_time.count() == 0 {
            return starts;
        }
        // The ends first: a record that is produced between the two answers is then found
        // by its time, or lies behind the end that reading begins at. The other way
        // round it would be passed over.
        let wanted: Vec<Tp> = by_time.elements().iter().map(|e| Tp::new(e.topic(), e.partition())).collect();
        let ends: BTreeMap<Tp, Option<i64>> = ends(&self.client, &wanted).into_iter().collect();
        match self.client.offsets_for_times(by_time, TIMEOUT) {
            Ok(found) => starts.extend(by_time_or_end(&found, &ends)),
            Err(error) => tracing::warn!(%error, "no offsets by time: reading these partitions from their beginning"),
        }
        starts
    }

    /// Waits for the threads after the shutdown.
    pub(super) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a side thread panicked");
            }
        }
    }
}

/// Where the answer by time says; at the end where nothing is young enough.
fn by_time_or_end(found: &TopicPartitionList, ends: &BTreeMap<Tp, Option<i64>>) -> Vec<(Tp, Start)> {
    let start = |elem: &TopicPartitionListElem<'_>| {
        let tp = Tp::new(elem.topic(), elem.partition());
        let start = match elem.offset() {
            Offset::Offset(offset) if elem.error().is_ok() => Start::At(offset),
            Offset::End => ends.get(&tp).copied().flatten().map_or(Start::Beginning, Start::At),
            _ => Start::Beginning,
        };
        (tp, start)
    };
    found.elements().iter().map(start).collect()
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .expect("the system refuses a thread at start: nothing can run")
}

/// Answers end requests, all that are waiting in one call.
fn read_ends(client: &Client, wanted: &Receiver<(Tp, u64)>, answers: &Sender<SideAnswer>, shutdown: &Shutdown) {
    while !shutdown.is_triggered() {
        let Ok(first) = wanted.recv_timeout(Duration::from_millis(100)) else { continue };
        let (batch, numbers): (Vec<Tp>, Vec<u64>) = std::iter::once(first).chain(wanted.try_iter()).unzip();
        let mut failed = false;
        for ((tp, end), asked) in ends(client, &batch).into_iter().zip(numbers) {
            failed |= end.is_none();
            if answers.send(SideAnswer::End { tp, asked, end }).is_err() {
                return;
            }
        }
        // Asked again at once by the owner: not in a spin while Kafka is away.
        if failed && shutdown.wait_timeout(Duration::from_millis(200)) {
            return;
        }
    }
}

fn ends(client: &Client, tps: &[Tp]) -> Vec<(Tp, Option<i64>)> {
    let mut list = TopicPartitionList::with_capacity(tps.len());
    for tp in tps {
        // The end is a symbol of this request, always valid.
        let _ = list.add_partition_offset(&tp.topic, tp.partition, Offset::End);
    }
    let found = match client.offsets_for_times(list, TIMEOUT) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "the ends of partitions could not be read");
            return tps.iter().map(|tp| (tp.clone(), None)).collect();
        }
    };
    tps.iter()
        .map(|tp| {
            let elem = found.find_partition(&tp.topic, tp.partition);
            let end = match elem.filter(|e| e.error().is_ok()).map(|e| e.offset()) {
                Some(Offset::Offset(end)) => Some(end),
                _ => None,
            };
            (tp.clone(), end)
        })
        .collect()
}

fn watch_markers(
    side: &Client,
    watcher: &Client,
    topics: &[Arc<str>],
    counts: &Counts,
    answers: &Sender<SideAnswer>,
    shutdown: &Shutdown,
) {
    let mut looks = 0_u32;
    loop {
        let known = counts.lock().unwrap_or_else(PoisonError::into_inner).len();
        if looks.is_multiple_of(REFRESH_EVERY) || known < topics.len() {
            refresh(side, topics, counts);
        }
        looks = looks.wrapping_add(1);
        let list = all_partitions(counts);
        if list.count() > 0 {
            match ffi::committed(watcher, &list, TIMEOUT) {
                Ok(read) => {
                    watcher.context().0.note_success();
                    // What could not be read is left out: it would pass for a change.
                    let markers = read.into_iter().filter_map(|(tp, found)| Some((tp, found?))).collect();
                    // Taken after the answer: rule 3 counts from its arrival.
                    if answers.send(SideAnswer::Markers { at: mono_ms(), markers }).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "the group's markers could not be read"),
            }
        }
        if shutdown.wait_timeout(WATCH) {
            return;
        }
    }
}

fn all_partitions(counts: &Counts) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, count) in counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        for partition in 0..*count {
            list.add_partition(topic, partition);
        }
    }
    list
}

fn refresh(client: &Client, topics: &[Arc<str>], counts: &Counts) {
    for topic in topics {
        match client.fetch_metadata(Some(topic), TIMEOUT) {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|t| *t.name() == **topic);
                let count = found.filter(|t| t.error().is_none()).map_or(0, |t| t.partitions().len());
                if count > 0 {
                    let count = i32::try_from(count).unwrap_or(i32::MAX);
                    counts.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.clone(), count);
                }
            }
            Err(error) => tracing::debug!(%error, %topic, "metadata could not be refreshed"),
        }
    }
}
