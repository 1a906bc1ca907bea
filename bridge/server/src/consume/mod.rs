//! Consuming: one thread owns and polls the group consumer, one worker per partition
//! owns its cache. What they show, they show through [`crate::live`] and nothing else.
mod catalogue;
mod context;
mod counters;
mod deadletter;
pub(crate) mod ffi;
mod group;
mod handover;
mod owner;
mod partition;
mod rebalance;
mod remade;
pub(crate) mod replay;
mod side;
mod watchdog;
mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use k2p_core::cache::CacheConfig;
use k2p_core::ownership::{Identity, Machine, Tp};
use k2p_pipelines::state::EventConfig;
use k2p_pipelines::template::TemplateSet;
use k2p_push::state::PushConfig;
use k2p_runtime::kafka::{KafkaConfig, KafkaLog};
use k2p_runtime::shutdown::Shutdown;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use crate::live::{LivePartitions, Policy};
use crate::metrics::ServerMetrics;
use context::{GroupConsumer, GroupContext};
use ffi::CommitQueue;
use owner::{Owned, Owner};
use side::Side;
use watchdog::Heartbeat;
use worker::WorkerFactory;

/// The consumer is polled this often at least: callbacks, answers and ticks wait no
/// longer than that.
const POLL: Duration = Duration::from_millis(20);
pub use replay::SnapshotPace;
pub use replay::logs::LogSink;
pub(crate) use replay::snapshots::RESULTS as SNAPSHOT_RESULTS;

/// An orderly leave takes 150-300 ms (kafka.md); past this the process ends anyway and
/// its successors wait out the lease.
const LEAVE: Duration = Duration::from_secs(5);
/// How long leaving waits for the snapshots of replayed partitions.
const SNAPSHOTS: Duration = Duration::from_secs(2);

/// A topic to consume.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// What happens when records come faster than they are applied.
    pub policy: Policy,
    /// Labels, staleness and limits of its origins.
    pub cache: CacheConfig,
    /// What its records are.
    pub kind: TopicKind,
}

/// What a topic's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopicKind {
    /// Dumps: only the newest of an origin counts.
    #[default]
    Metrics,
    /// Events: replayed.
    Events,
    /// Pushes of the Pushgateway's clients: replayed.
    Push,
}

impl TopicKind {
    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            TopicKind::Metrics => "metrics",
            TopicKind::Events => "events",
            TopicKind::Push => "push",
        }
    }
}

/// What consuming needs to know.
#[derive(Clone)]
pub struct Config {
    /// Brokers, group and properties.
    pub kafka: KafkaConfig,
    /// The topics.
    pub topics: Vec<Topic>,
    /// The protocol's timers.
    pub ownership: k2p_core::ownership::Config,
    /// At most this far back a partition without a marker is read.
    pub rewind: Duration,
    /// Who this bridge is to the others.
    pub identity: Identity,
    /// Where refused records are copied.
    pub deadletter: Option<Arc<str>>,
    /// Where what is known of origins is kept for the next owner, beside the snapshots.
    pub state_topic: Option<Arc<str>>,
    /// What replayed topics need.
    pub replay: ReplayConfig,
}

/// What replayed topics need; unused where there is none.
#[derive(Clone)]
pub struct ReplayConfig {
    /// The state topic.
    pub state: Arc<str>,
    /// How often snapshots are written.
    pub pace: SnapshotPace,
    /// The templates; replaced when they are read again.
    pub templates: Arc<ArcSwap<TemplateSet>>,
    /// Of each topic of events.
    pub events: Vec<Arc<EventConfig>>,
    /// Of each topic of pushes.
    pub push: Vec<Arc<PushConfig>>,
    /// The log store; `None`: no logs are kept.
    pub logs: Option<LogSink>,
}

/// Why consuming cannot start or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// A client could not be created from its settings.
    #[error("the Kafka client cannot be created: {0}; check `kafka.properties`")]
    Client(#[source] KafkaError),
    /// The topics could not be subscribed to.
    #[error("cannot subscribe to the topics: {0}")]
    Subscribe(#[source] KafkaError),
    /// The client is in a state that only a new process leaves.
    #[error("the Kafka client failed for good: {0}; restart the bridge")]
    Fatal(String),
}

/// The running consumer; ends when the shutdown it was given is triggered.
pub struct Consuming {
    poller: JoinHandle<Result<(), ConsumeError>>,
}

impl Consuming {
    /// Waits until everything was handed over and the client is closed.
    ///
    /// # Errors
    /// [`ConsumeError::Fatal`] if it ended by itself.
    pub fn join(self) -> Result<(), ConsumeError> {
        self.poller.join().unwrap_or_else(|_| Err(ConsumeError::Fatal("the consumer thread panicked".to_owned())))
    }

    /// True when it has ended, by shutdown or failure.
    pub fn is_finished(&self) -> bool {
        self.poller.is_finished()
    }
}

/// Two switches: `leave` hands every partition over (drain), `end` ends the threads.
#[derive(Debug, Clone)]
pub struct Switches {
    /// Leave the group, keep the process.
    pub leave: Shutdown,
    /// End.
    pub end: Shutdown,
}

/// Subscribes and starts the threads.
///
/// # Errors
/// When a client cannot be created or the topics cannot be subscribed to. An absent
/// broker is no error: it may come.
pub fn start(
    config: &Config,
    live: &Arc<LivePartitions>,
    metrics: &ServerMetrics,
    events: &Arc<KafkaLog>,
    switches: &Switches,
    on_stall: impl Fn() + Send + 'static,
) -> Result<Consuming, ConsumeError> {
    let names: Vec<Arc<str>> = config.topics.iter().map(|t| t.name.clone()).collect();
    for topic in &config.topics {
        live.add_topic(topic.name.clone(), topic.policy);
        metrics.add_topic(&topic.name);
        metrics.set_cache_limit(&topic.name, topic.cache.limits.cache_bytes);
    }
    // The runtime's `watch` has no group and asks for offsets; its `side` reads the markers.
    let (offsets, markers) = (config.kafka.watch_config(), config.kafka.side_config());
    let side =
        Side::start(&offsets, &markers, &names, config.rewind, events, &switches.end).map_err(ConsumeError::Client)?;
    let replays = replay::start(config, metrics, events, &switches.end).map_err(ConsumeError::Client)?;
    let owner = Owner {
        machine: Machine::new(config.ownership.clone(), config.identity.clone()),
        parts: Default::default(),
        retired: Default::default(),
        live: live.clone(),
        metrics: metrics.clone(),
        workers: WorkerFactory::new(config, metrics, events, replays).map_err(ConsumeError::Client)?,
        side,
        commits: None,
        ends_asked: Default::default(),
        questions: 0,
        left_behind: None,
        fatal: None,
        topics: names.clone(),
    };
    let context = GroupContext::new(owner, events.clone());
    let consumer: GroupConsumer =
        config.kafka.consumer_config().create_with_context(context).map_err(ConsumeError::Client)?;
    let consumer = Arc::new(consumer);
    consumer.context().bind(&consumer);
    consumer.context().owner().commits = Some(CommitQueue::new(consumer.clone()));
    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
    consumer.subscribe(&names).map_err(ConsumeError::Subscribe)?;
    let heartbeat = Heartbeat::default();
    watchdog::start(heartbeat.clone(), switches.end.clone(), on_stall);
    let switches = switches.clone();
    let poller = std::thread::Builder::new()
        .name("k2p-consumer".to_owned())
        .spawn(move || {
            let ended = poll(&consumer, &switches, &heartbeat);
            switches.end.trigger();
            close(consumer);
            ended
        })
        .map_err(|error| ConsumeError::Fatal(error.to_string()))?;
    Ok(Consuming { poller })
}

/// The consumer thread: polls, steps, and in the end leaves the group in order.
fn poll(consumer: &Arc<GroupConsumer>, switches: &Switches, heartbeat: &Heartbeat) -> Result<(), ConsumeError> {
    let mut leaving: Option<Instant> = None;
    let mut writing: Option<Instant> = None;
    loop {
        match consumer.poll(POLL) {
            Some(Ok(_)) => tracing::error!("a record came outside of its partition's queue and is lost to this bridge"),
            Some(Err(KafkaError::MessageConsumptionFatal(error))) => {
                return Err(ConsumeError::Fatal(error.to_string()));
            }
            Some(Err(error)) => tracing::debug!(%error, "consumer error"),
            None => {}
        }
        heartbeat.beat();
        let mut owner = consumer.context().owner();
        owner.step(consumer);
        if let Some(why) = owner.fatal {
            return Err(ConsumeError::Fatal(why.to_owned()));
        }
        let idle = owner.is_idle();
        drop(owner);
        match leaving {
            None if switches.leave.is_triggered() || switches.end.is_triggered() => {
                // While everything is still shown: no hole, and little to replay.
                let since = *writing.get_or_insert_with(|| {
                    consumer.context().owner().parts.values().for_each(Owned::want_snapshot);
                    Instant::now()
                });
                if consumer.context().owner().all_settled() || since.elapsed() > SNAPSHOTS {
                    consumer.unsubscribe();
                    leaving = Some(Instant::now());
                }
            }
            Some(since) if idle || since.elapsed() > LEAVE => {
                consumer.context().owner().live.set_joined(false);
                if switches.end.is_triggered() {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

/// `kafka2prom topics accept-loss`: writes the record; what was done, in a sentence.
///
/// # Errors
/// When nothing is missing, or Kafka does not answer: for a person.
pub fn accept_loss(kafka: &KafkaConfig, state: &str, topic: &str, partition: i32) -> Result<String, String> {
    replay::begin::accept(kafka, &Arc::from(state), &Tp::new(topic, partition))
}

/// Takes the handles apart in the order that lets the client close: workers, side
/// threads, the commit queue, then the client itself.
fn close(consumer: Arc<GroupConsumer>) {
    let mut owner = consumer.context().owner();
    let parts = std::mem::take(&mut owner.parts);
    let retired = std::mem::take(&mut owner.retired);
    for part in parts.into_values() {
        owner.live.evict(&part.live);
        part.worker.stop();
        part.worker.join();
    }
    for worker in retired.into_values() {
        worker.join();
    }
    owner.workers.join();
    owner.side.join();
    let commits = owner.commits.take();
    drop(owner);
    drop(commits);
    if Arc::strong_count(&consumer) > 1 {
        tracing::warn!("the Kafka client is still in use and is left to the process's end");
    }
    drop(consumer);
}
