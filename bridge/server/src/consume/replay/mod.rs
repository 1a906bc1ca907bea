//! Replayed partitions: their state is a pure function of the log's prefix (design §3).
//!
//! [`Replayed`] is the seam: *what* is replayed (events, pushes) stands behind it; *how* a
//! partition is begun, replayed, snapshotted and handed over is here and knows nothing
//! of it.
//!
//! - [`logs`]: what records leave in the log store.
//! - [`plan`]: where to begin, a pure decision.
//! - [`statelog`]: the state topic, followed and indexed.
//! - [`begin`]: a worker's way from the assignment to its first record.
//! - [`events`]: what is replayed of a topic of events.
//! - [`push`]: what is replayed of a topic of pushes.
//! - [`worker`]: records in, views out, judgements appended.
//! - [`snapshots`]: writing, reading back, naming, clearing away.
pub(crate) mod begin;
pub(crate) mod events;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod snapshots;
pub(crate) mod statelog;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use k2p_core::envelope::RawRecord;
use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::{Found, Tp};
use k2p_runtime::kafka::KafkaLog;
use k2p_runtime::shutdown::Shutdown;
use rdkafka::error::KafkaError;

use super::Config;
use super::counters::Counters;
use super::deadletter::DeadLetter;
use super::worker::Shared;
use crate::append::Appender;
use crate::live::{BlockReason, Blocked, LivePartition, Refusal};
use crate::metrics::ServerMetrics;
use plan::Marked;
use statelog::StateLog;
use worker::Replay;

/// How often snapshots are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPace {
    /// After this many records.
    pub records: u64,
    /// And after this time, if there was any record.
    pub interval: Duration,
}

impl Default for SnapshotPace {
    fn default() -> SnapshotPace {
        SnapshotPace { records: 200_000, interval: Duration::from_secs(60) }
    }
}

/// The state of one partition.
pub(crate) trait Replayed: Send {
    /// Applies the next record, whatever it is; what was refused of it is told. An error
    /// leaves the state as it was: the record is applied again later.
    fn apply(&mut self, record: &RawRecord<'_>) -> Result<Vec<Refusal>, Blocked>;

    /// How long a live partition's view is kept at least: the shorter, the sooner what is applied
    /// is shown, and the oftener what changed is made anew.
    fn publish_every(&self) -> MonoMs;

    /// Shows everything that was applied.
    fn publish(&mut self, live: &LivePartition);

    /// What the clock or the configuration has decided and the log does not know yet.
    /// Called by a live owner, again and again; what was returned lately and is not read back
    /// yet is not returned again.
    fn due(&mut self, now: UnixMs) -> Vec<Due>;

    /// It begins with this offset: at the log's beginning (`first`), or where a snapshot ends.
    fn begun(&mut self, _next: i64, _first: bool) {}

    /// A snapshot of what is below this offset is about to be made: what is not part of the
    /// state must be kept before.
    fn before_snapshot(&mut self, _next: i64) {}

    /// The whole state, compressed.
    fn snapshot(&mut self) -> Vec<u8>;
}

/// A record that the live owner appends to the partition that it judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// The bounded label `op`.
    pub(crate) op: &'static str,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
}

/// What is replayed: makes the states of a topic.
pub(crate) trait Kind: Send + Sync {
    /// Sees to it that what this bridge is configured with can be named in records;
    /// returns that name. Before the first record, and when the configuration changed.
    fn prepare(&self, state: &StateLog) -> Result<String, Blocked>;

    /// The state before the first record, begun with what `with` names.
    fn fresh(&self, tp: &Tp, offset: i64, with: &str) -> Result<Box<dyn Replayed>, Blocked>;

    /// A snapshot's state. `Ok(None)`: the bytes are no snapshot that can be read.
    fn restore(&self, tp: &Tp, bytes: &[u8]) -> Result<Option<Box<dyn Replayed>>, Blocked>;
}

/// What all replayed partitions of a bridge share.
#[derive(Clone)]
pub(crate) struct ReplayShared {
    /// The state topic.
    pub(crate) state: Arc<StateLog>,
    /// Where snapshots go.
    pub(crate) snapshots: Arc<snapshots::Snapshots>,
    /// Where judgements go.
    pub(crate) appender: Arc<Appender>,
    /// See [`begin::Clocks`].
    pub(crate) clocks: Arc<begin::Clocks>,
    /// See [`SnapshotPace`].
    pub(crate) pace: SnapshotPace,
    /// Records appended, by topic, op and result.
    pub(crate) appended: prometheus::IntCounterVec,
}

/// The replayed topics of a bridge, and what their partitions share.
pub(in crate::consume) struct Replays {
    pub(crate) kinds: BTreeMap<Arc<str>, Arc<dyn Kind>>,
    /// `None` where no topic is replayed.
    pub(crate) shared: Option<ReplayShared>,
    /// The writer of snapshots.
    pub(crate) writer: Option<JoinHandle<()>>,
}

/// Starts what replayed partitions share; nothing where no topic is replayed.
///
/// # Errors
/// When a client cannot be created from its settings.
pub(in crate::consume) fn start(
    config: &Config,
    metrics: &ServerMetrics,
    log: &Arc<KafkaLog>,
    shutdown: &Shutdown,
) -> Result<Replays, KafkaError> {
    let wanted = &config.replay;
    if wanted.events.is_empty() && wanted.push.is_empty() {
        return Ok(Replays { kinds: BTreeMap::new(), shared: None, writer: None });
    }
    let appender = Arc::new(Appender::new(&config.kafka, log)?);
    let state = StateLog::start(&wanted.state, &config.kafka, log, &appender, shutdown)?;
    let nonce = config.identity.incarnation;
    let (snapshots, writer) = snapshots::Snapshots::start(state.clone(), nonce, &metrics.snapshots, shutdown);
    let templates = Arc::new(events::Templates::new(wanted.templates.clone(), state.clone()));
    let mut kinds: BTreeMap<Arc<str>, Arc<dyn Kind>> = BTreeMap::new();
    for topic in &wanted.events {
        let kind = events::Events {
            config: topic.clone(),
            templates: templates.clone(),
            metrics: metrics.clone(),
            logs: wanted.logs.clone(),
        };
        kinds.insert(topic.topic.clone(), Arc::new(kind));
    }
    for topic in &wanted.push {
        let kind = push::Pushes { config: topic.clone(), metrics: metrics.clone() };
        kinds.insert(topic.topic.clone(), Arc::new(kind));
    }
    let shared = ReplayShared {
        state,
        snapshots,
        appender,
        clocks: Arc::new(begin::Clocks::new(&config.kafka)),
        pace: wanted.pace,
        appended: metrics.appended_records.clone(),
    };
    Ok(Replays { kinds, shared: Some(shared), writer: Some(writer) })
}

impl Replays {
    /// Whether a topic is replayed.
    pub(in crate::consume) fn has(&self, topic: &str) -> bool {
        self.shared.is_some() && self.kinds.contains_key(topic)
    }

    /// The replay of a partition; `None` if its topic is not replayed.
    pub(in crate::consume) fn of(
        &self,
        tp: &Tp,
        found: &Found,
        live: &Arc<LivePartition>,
        shared: &Arc<Shared>,
        deadletter: &Option<Arc<DeadLetter>>,
        metrics: &ServerMetrics,
    ) -> Option<Replay> {
        let (kind, replay) = (self.kinds.get(&tp.topic)?.clone(), self.shared.clone()?);
        let snapshot = found.marker().map_or("", |m| &*m.snapshot).to_owned();
        live.replay.set_replayed(&snapshot);
        Some(Replay {
            tp: tp.clone(),
            live: live.clone(),
            shared: shared.clone(),
            // A claim commits what was found: above 0 only what somebody could have seen.
            marked: Marked { snapshot, shown: !matches!(found, Found::Nothing) && found.offset() != 0 },
            kind,
            replay,
            counters: Counters::new(&tp.topic, metrics),
            deadletter: deadletter.clone(),
        })
    }

    /// Waits for the writer, after the shutdown.
    pub(in crate::consume) fn join(&mut self) {
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of snapshots panicked");
        }
    }
}

fn blocked(reason: BlockReason, detail: impl Into<String>) -> Blocked {
    Blocked { reason, detail: detail.into() }
}
