//! The owner worker of one partition: the only one that mutates its cache, and the
//! only one that publishes its view.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use k2p_core::cache::CacheConfig;
use k2p_core::ownership::{Found, Progress, Tp};
use k2p_runtime::kafka::KafkaLog;
use rdkafka::error::KafkaError;

use super::Config;
use super::catalogue::Catalogue;
use super::context::GroupContext;
use super::counters::Counters;
use super::deadletter::DeadLetter;
use super::ffi::PartitionQueue;
use super::partition::Partition;
use super::replay::Replays;
use crate::live::LivePartition;
use crate::metrics::ServerMetrics;

/// What poll thread and worker tell each other.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    pub(super) live: AtomicBool,
    /// How many partitions the topic has, as last seen; 0: unknown.
    pub(super) partitions: AtomicI32,
    /// Stored by the worker only, after the view that holds it was published.
    pub(super) position: AtomicI64,
    pub(super) low_water: AtomicI64,
    /// Of a replayed partition: it is about to be let go. Cleared when that is done.
    pub(super) snapshot_wanted: AtomicBool,
}

/// Where a worker begins, and what was known of its partition then.
pub(super) struct Begins<'a> {
    /// The first offset that it reads.
    pub(super) first: i64,
    pub(super) found: &'a Found,
    /// How many partitions the topic has; 0: unknown.
    pub(super) partitions: i32,
    /// How many it had (rule 10).
    pub(super) former: Arc<[i32]>,
    /// Still may hold the same queue: it is waited for before the first record is taken.
    pub(super) predecessor: Option<WorkerHandle>,
}

/// The poll thread's handle of a worker.
pub(super) struct WorkerHandle {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// What it waits on: an idle worker looks around once a second, and when it is woken.
    queue: Weak<PartitionQueue<GroupContext>>,
}

impl WorkerHandle {
    /// How far it is. The low-water offset is read first: a position of later than it
    /// only makes a successor read more than it needs.
    pub(super) fn progress(&self) -> Progress {
        let low_water = self.shared.low_water.load(Ordering::SeqCst);
        Progress { position: self.shared.position.load(Ordering::SeqCst), low_water }
    }

    /// Rule 10: the topic may have gained partitions.
    pub(super) fn set_partitions(&self, count: i32) {
        if self.shared.partitions.swap(count, Ordering::SeqCst) != count {
            self.wake();
        }
    }

    /// Live partitions apply each record at once; others catch up newest first.
    pub(super) fn set_live(&self, live: bool) {
        if self.shared.live.swap(live, Ordering::SeqCst) != live {
            self.wake();
        }
    }

    /// The partition is about to be let go: a replayed one writes a snapshot if that spares
    /// its successor much.
    pub(super) fn snapshot_soon(&self) {
        self.shared.snapshot_wanted.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether what [`WorkerHandle::snapshot_soon`] asked for is done.
    pub(super) fn is_settled(&self) -> bool {
        !self.shared.snapshot_wanted.load(Ordering::SeqCst)
    }

    /// Tells it to end, without waiting.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.wake();
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for it to end.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a partition's worker panicked");
        }
    }
}

/// Makes the workers of a bridge.
pub(super) struct WorkerFactory {
    caches: BTreeMap<Arc<str>, CacheConfig>,
    metrics: ServerMetrics,
    deadletter: Option<Arc<DeadLetter>>,
    catalogue: Option<Arc<Catalogue>>,
    queue_capacity: u64,
    replays: Replays,
}

impl WorkerFactory {
    /// # Errors
    /// When the dead letters' producer cannot be created.
    pub(super) fn new(
        config: &Config,
        metrics: &ServerMetrics,
        log: &Arc<KafkaLog>,
        replays: Replays,
    ) -> Result<WorkerFactory, KafkaError> {
        let deadletter = match &config.deadletter {
            Some(topic) => Some(Arc::new(DeadLetter::new(topic, &config.kafka, metrics, log)?)),
            None => None,
        };
        let catalogue = match &config.state_topic {
            Some(topic) => Some(Arc::new(Catalogue::start(topic, &config.kafka, metrics, log)?)),
            None => None,
        };
        Ok(WorkerFactory {
            caches: config.topics.iter().map(|t| (t.name.clone(), cache_config(t, config.rewind))).collect(),
            metrics: metrics.clone(),
            deadletter,
            catalogue,
            queue_capacity: queue_capacity(&config.kafka),
            replays,
        })
    }

    /// Whether a topic is replayed and not cached.
    pub(super) fn is_replayed(&self, topic: &str) -> bool {
        self.replays.has(topic)
    }

    /// Waits for what the workers shared, once they have ended.
    pub(super) fn join(&mut self) {
        self.replays.join();
    }

    /// The bound of one partition's queue, in bytes.
    pub(super) fn queue_capacity(&self) -> u64 {
        self.queue_capacity
    }

    /// Starts a worker.
    pub(super) fn spawn(
        &self,
        tp: &Tp,
        live: Arc<LivePartition>,
        queue: PartitionQueue<GroupContext>,
        begins: Begins<'_>,
    ) -> WorkerHandle {
        let Begins { first, found, partitions, former, predecessor } = begins;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            live: AtomicBool::new(false),
            partitions: AtomicI32::new(partitions),
            position: AtomicI64::new(first),
            low_water: AtomicI64::new(first),
            snapshot_wanted: AtomicBool::new(false),
        });
        let replay = self.replays.of(tp, found, &live, &shared, &self.deadletter, &self.metrics);
        let cache = self.caches.get(&tp.topic).cloned().unwrap_or_default();
        let counters = Counters::new(&tp.topic, &self.metrics);
        let (state, deadletter, catalogue) = (shared.clone(), self.deadletter.clone(), self.catalogue.clone());
        let queue = Arc::new(queue);
        let waker = Arc::downgrade(&queue);
        let thread = std::thread::Builder::new()
            .name(format!("k2p-{}", tp.partition))
            .spawn(move || {
                if let Some(predecessor) = predecessor {
                    predecessor.join();
                }
                match replay {
                    Some(replay) => replay.run(&queue),
                    None => {
                        Partition::new(live, state, cache, counters, deadletter, catalogue).run(&queue, former);
                    }
                }
            })
            .expect("the system refuses a thread: this bridge cannot own a partition");
        WorkerHandle { shared, thread, queue: waker }
    }
}

fn cache_config(topic: &super::Topic, rewind: std::time::Duration) -> CacheConfig {
    let rewind = i64::try_from(rewind.as_millis()).unwrap_or(i64::MAX);
    // One account of memory for all partitions of the topic.
    CacheConfig { rewind, memory: Arc::default(), ..topic.cache.clone() }
}

/// librdkafka's bound of what is fetched and not yet taken: of each partition, once its
/// queue is split.
fn queue_capacity(kafka: &k2p_runtime::kafka::KafkaConfig) -> u64 {
    let config = kafka.consumer_config();
    let kilobytes = config.get("queued.max.messages.kbytes").and_then(|v| v.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}
