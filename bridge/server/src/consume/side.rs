//! The questions that must not go through the group consumer: a group-less client for
//! the ends and start offsets of partitions (on the consuming client they wait behind
//! a long-poll fetch), and a client of the same group that never subscribes for the
//! markers of all partitions (kafka.md).
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use rdkafka::metadata::MetadataTopic;
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
        /// Of its topic, read after the end.
        topic_id: Arc<str>,
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

/// A topic as last seen.
#[derive(Debug, Clone, Default)]
struct Known {
    partitions: i32,
    /// Tells it from others of the same name; empty if the brokers tell none.
    id: Arc<str>,
    /// The id before: a broker that is behind may name it once more.
    former: Arc<str>,
}

type Topics = Arc<Mutex<BTreeMap<Arc<str>, Known>>>;

/// Handle to the side threads.
pub(super) struct Side {
    client: Arc<Client>,
    ends: Sender<(Tp, u64)>,
    answers: Receiver<SideAnswer>,
    topics: Topics,
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
        let known = Topics::default();
        let mut threads = Vec::new();
        threads.push(spawn("k2p-ends", {
            let (client, known, tx, shutdown) = (client.clone(), known.clone(), tx.clone(), shutdown.clone());
            move || read_ends(&client, &known, &wanted, &tx, &shutdown)
        }));
        threads.push(spawn("k2p-watch", {
            let (client, known, topics, shutdown) = (client.clone(), known.clone(), topics.to_vec(), shutdown.clone());
            move || watch_markers(&client, &watcher, &topics, &known, &tx, &shutdown)
        }));
        Ok(Side { client, ends, answers, topics: known, rewind, threads })
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
        lock(&self.topics).iter().map(|(topic, known)| (topic.clone(), known.partitions)).collect()
    }

    /// Asks the cluster about the topics; what it does not answer stays as last seen.
    pub(super) fn refresh(&self, topics: &[Arc<str>]) {
        refresh(&self.client, topics, &self.topics);
    }

    /// The id of a topic, as last seen. Empty: unknown.
    pub(super) fn topic_id(&self, topic: &Arc<str>) -> Arc<str> {
        id(&self.topics, topic)
    }

    /// The ids of all topics, as last seen.
    pub(super) fn topic_ids(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        lock(&self.topics).iter().map(|(topic, known)| (topic.clone(), known.id.clone())).collect()
    }

    /// How many partitions a topic has, as last seen. 0: unknown.
    pub(super) fn partition_count(&self, topic: &Arc<str>) -> i32 {
        lock(&self.topics).get(topic).map_or(0, |known| known.partitions)
    }

    /// Every known partition, as a list to ask about.
    pub(super) fn all_partitions(&self) -> TopicPartitionList {
        all_partitions(&self.topics)
    }

    /// Rule 7: at the marker's low-water offset; without one of this very topic, at what
    /// is `rewind` old.
    pub(super) fn start_offsets(
        &self,
        markers: &[(Tp, Found)],
        ids: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> BTreeMap<Tp, Start> {
        let mut starts = BTreeMap::new();
        let mut by_time = TopicPartitionList::new();
        let from = unix_ms() - i64::try_from(self.rewind.as_millis()).unwrap_or(i64::MAX);
        for (tp, found) in markers {
            let now = ids.get(&tp.topic).cloned().unwrap_or_default();
            let same = |then: &Arc<str>| then.is_empty() || now.is_empty() || *then == now;
            match found.marker().filter(|m| m.low_water >= 0 && same(&m.topic_id)) {
                Some(marker) => {
                    starts.insert(tp.clone(), Start::At(marker.low_water));
                }
                None => {
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

/// Answers end requests, all that are waiting of one topic and leader in one call.
fn read_ends(
    client: &Client,
    known: &Topics,
    wanted: &Receiver<(Tp, u64)>,
    answers: &Sender<SideAnswer>,
    shutdown: &Shutdown,
) {
    let mut unanswered: BTreeSet<Tp> = BTreeSet::new();
    while !shutdown.is_triggered() {
        let Ok(first) = wanted.recv_timeout(Duration::from_millis(100)) else { continue };
        let (batch, numbers): (Vec<Tp>, Vec<u64>) = std::iter::once(first).chain(wanted.try_iter()).unzip();
        let asked: BTreeMap<Tp, u64> = batch.into_iter().zip(numbers).collect();
        let mut groups = by_leader(client, asked.keys());
        // Those that failed last time come last: their timeout delays nobody.
        groups.sort_by_key(|group| group.iter().any(|tp| unanswered.contains(tp)));
        for group in groups {
            unanswered.retain(|tp| !group.contains(tp));
            let ends = ends(client, &group);
            // The id last: one that is still the same then says whose the ends are.
            let told = group.first().is_some_and(|tp| refresh(client, std::slice::from_ref(&tp.topic), known));
            for (tp, end) in ends {
                let (end, topic_id) = (end.filter(|_| told), id(known, &tp.topic));
                if end.is_none() {
                    unanswered.insert(tp.clone());
                }
                let asked = asked.get(&tp).copied().unwrap_or_default();
                if answers.send(SideAnswer::End { tp, asked, end, topic_id }).is_err() {
                    return;
                }
            }
        }
        let failed = asked.keys().any(|tp| unanswered.contains(tp));
        // Asked again at once by the owner: not in a spin while Kafka is away.
        if failed && shutdown.wait_timeout(Duration::from_millis(200)) {
            return;
        }
    }
}

/// By topic and leader: librdkafka gives no answer of any if one leader cannot be reached, or one
/// topic must not be read (`rd_kafka_offsets_for_times`), and then all of them would wait.
fn by_leader<'a>(client: &Client, tps: impl Iterator<Item = &'a Tp>) -> Vec<Vec<Tp>> {
    let mut leaders: BTreeMap<Arc<str>, BTreeMap<i32, i32>> = BTreeMap::new();
    let mut groups: BTreeMap<(Arc<str>, i32), Vec<Tp>> = BTreeMap::new();
    for tp in tps {
        let of_topic = leaders.entry(tp.topic.clone()).or_insert_with(|| leaders_of(client, &tp.topic));
        let leader = of_topic.get(&tp.partition).copied().unwrap_or(-1);
        groups.entry((tp.topic.clone(), leader)).or_default().push(tp.clone());
    }
    groups.into_values().collect()
}

/// The leader of each partition; empty if nobody answers.
fn leaders_of(client: &Client, topic: &str) -> BTreeMap<i32, i32> {
    match client.fetch_metadata(Some(topic), TIMEOUT) {
        Ok(found) => found.topics().iter().flat_map(MetadataTopic::partitions).map(|p| (p.id(), p.leader())).collect(),
        Err(error) => {
            tracing::debug!(%error, topic, "the leaders of a topic could not be read");
            BTreeMap::new()
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
    known: &Topics,
    answers: &Sender<SideAnswer>,
    shutdown: &Shutdown,
) {
    let mut looks = 0_u32;
    loop {
        let seen = lock(known).len();
        if looks.is_multiple_of(REFRESH_EVERY) || seen < topics.len() {
            refresh(side, topics, known);
        }
        looks = looks.wrapping_add(1);
        let list = all_partitions(known);
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

fn all_partitions(known: &Topics) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, known) in lock(known).iter() {
        for partition in 0..known.partitions {
            list.add_partition(topic, partition);
        }
    }
    list
}

fn lock(known: &Topics) -> MutexGuard<'_, BTreeMap<Arc<str>, Known>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(known: &Topics, topic: &Arc<str>) -> Arc<str> {
    lock(known).get(topic).map(|known| known.id.clone()).unwrap_or_default()
}

/// True if the cluster answered.
fn refresh(client: &Client, topics: &[Arc<str>], known: &Topics) -> bool {
    match ffi::describe_topics(client, topics, TIMEOUT) {
        Ok(found) => {
            let mut known = lock(known);
            for (topic, described) in topics.iter().zip(found) {
                if let Some(described) = described.filter(|d| d.partitions > 0) {
                    known.entry(topic.clone()).or_default().see(described);
                }
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "the topics could not be described");
            false
        }
    }
}

impl Known {
    fn see(&mut self, now: ffi::Described) {
        if !now.id.is_empty() && now.id == self.former {
            return;
        }
        self.partitions = now.partitions;
        if self.id != now.id && !now.id.is_empty() {
            self.former = std::mem::replace(&mut self.id, now.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_replaced_is_not_believed_again() {
        let mut known = Known::default();
        let seen = |known: &mut Known, id: &str, partitions| {
            known.see(ffi::Described { id: id.into(), partitions });
            (known.id.to_string(), known.partitions)
        };
        let steps = [
            (("", 2), ("", 2)),
            (("a", 3), ("a", 3)),
            (("", 4), ("a", 4)),
            (("b", 1), ("b", 1)),
            (("a", 4), ("b", 1)),
            (("b", 2), ("b", 2)),
            (("c", 5), ("c", 5)),
        ];
        for ((id, partitions), (wanted, count)) in steps {
            assert_eq!(seen(&mut known, id, partitions), (wanted.to_owned(), count), "{id:?}");
        }
    }
}
