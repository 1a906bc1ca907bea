//! From the assignment to the first record: which snapshot, from where, and everything
//! that stops a partition before it begins.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use k2p_core::ownership::Tp;
use k2p_runtime::clock::unix_ms;
use k2p_runtime::kafka::{KafkaConfig, KafkaLog};
use k2p_runtime::metrics::RuntimeMetrics;
use k2p_runtime::shutdown::Shutdown;
use prometheus::Registry;

use super::plan::{Beginning, Extent, Known, Loss, Manifest, Marked, Plan, choose};
use super::statelog::{StateError, StateLog, place};
use super::{Kind, Replayed, blocked};
use crate::append::Appender;
use crate::live::{BlockReason, Blocked, ReplayStatus};
use crate::topics::Topics;

/// A state, and where it goes on.
pub(crate) struct Begun {
    pub(crate) state: Box<dyn Replayed>,
    /// The next offset to apply.
    pub(crate) next: i64,
    /// The snapshot that it is, and when the record before it was appended.
    pub(crate) snapshot: Option<(String, Option<i64>)>,
    /// The log's first offset just now.
    pub(crate) start: i64,
    /// There was nothing before `next`.
    pub(crate) first: bool,
}

/// Whether the topics' timestamps are append times, asked once each.
pub(crate) struct Clocks {
    kafka: KafkaConfig,
    sound: Mutex<BTreeSet<String>>,
}

impl Clocks {
    pub(crate) fn new(kafka: &KafkaConfig) -> Clocks {
        Clocks { kafka: kafka.clone(), sound: Mutex::default() }
    }

    /// A cluster that does not tell (rights, the demo's) is believed.
    fn check(&self, topic: &str) -> Result<(), Blocked> {
        if self.sound.lock().unwrap_or_else(PoisonError::into_inner).contains(topic) {
            return Ok(());
        }
        match self.kind(topic) {
            Ok(kind) if kind != "LogAppendTime" => {
                let detail = format!(
                    "{topic}: message.timestamp.type is {kind}; set it to LogAppendTime, or producers' clocks would decide what was counted"
                );
                return Err(blocked(BlockReason::Timestamps, detail));
            }
            Ok(_) => {}
            Err(why) => tracing::warn!(topic, why, "the topic's timestamp type is not known: LogAppendTime is assumed"),
        }
        self.sound.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
        Ok(())
    }

    fn kind(&self, topic: &str) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| e.to_string())?;
        let topics = Topics::new(&self.kafka).map_err(|e| e.to_string())?;
        let settings = runtime.block_on(topics.settings(topic)).map_err(|e| e.to_string())?;
        settings.get("message.timestamp.type").cloned().ok_or_else(|| "it is not among its settings".to_owned())
    }
}

/// One attempt. `void` are snapshots of another log.
pub(crate) fn begin(
    tp: &Tp,
    marked: &Marked,
    kind: &dyn Kind,
    state: &StateLog,
    clocks: &Clocks,
    status: &ReplayStatus,
    void: &[String],
) -> Result<Begun, Blocked> {
    state.refresh().map_err(|e| of_state(&e))?;
    clocks.check(&tp.topic)?;
    let count = state.partitions(&tp.topic).map_err(|why| blocked(BlockReason::State, why))?;
    pinned(state, tp, count)?;
    let mut void = void.to_vec();
    loop {
        let log = state.extent(tp).map_err(|why| blocked(BlockReason::State, why))?;
        match choose(&state.known(tp), log, marked, &void) {
            Plan::Snapshot(id, manifest) => {
                let Some(restored) = restore(tp, kind, state, &id, &manifest)? else {
                    void.push(id);
                    continue;
                };
                status.set_snapshot(&id, manifest.offset, manifest.written, manifest.bytes);
                let (next, start) = (manifest.offset, log.start);
                return Ok(Begun {
                    state: restored,
                    next,
                    snapshot: Some((id, manifest.last_time)),
                    start,
                    first: false,
                });
            }
            Plan::Beginning { offset, with } => {
                let with = match with {
                    Some(with) => with,
                    None => first(tp, kind, state, offset)?,
                };
                let fresh = kind.fresh(tp, offset, &with)?;
                return Ok(Begun { state: fresh, next: offset, snapshot: None, start: log.start, first: true });
            }
            Plan::AfterLoss { id, manifest, resume } => {
                let Some(restored) = restore(tp, kind, state, &id, &manifest)? else {
                    void.push(id);
                    continue;
                };
                return Ok(Begun { state: restored, next: resume, snapshot: None, start: log.start, first: false });
            }
            Plan::Missing { needed, start } => return Err(missing(tp, needed, start)),
        }
    }
}

/// Says in the state topic with what this log begins; what is there then counts.
fn first(tp: &Tp, kind: &dyn Kind, state: &StateLog, offset: i64) -> Result<String, Blocked> {
    let beginning = Beginning { offset, with: kind.prepare(state)? };
    let body = serde_json::to_vec(&beginning).unwrap_or_default();
    state.put(&place(tp), &format!("{}/begin", place(tp)), Some(&body)).map_err(|e| of_state(&e))?;
    state.refresh().map_err(|e| of_state(&e))?;
    let written = state.known(tp).beginning.filter(|b| b.offset == offset);
    written
        .map(|b| b.with)
        .ok_or_else(|| blocked(BlockReason::State, format!("{}: another bridge begins it elsewhere", place(tp))))
}

fn restore(
    tp: &Tp,
    kind: &dyn Kind,
    state: &StateLog,
    id: &str,
    manifest: &Manifest,
) -> Result<Option<Box<dyn Replayed>>, Blocked> {
    let Some(bytes) = state.read(tp, id, manifest) else { return Ok(None) };
    let restored = kind.restore(tp, &bytes)?;
    if restored.is_none() {
        tracing::error!(topic = %tp.topic, partition = tp.partition, snapshot = id, "a snapshot cannot be understood: another one, or the log, is used");
    }
    Ok(restored)
}

/// The topic's number of partitions is what it was when it was first used.
pub(crate) fn pinned(state: &StateLog, tp: &Tp, count: i32) -> Result<(), Blocked> {
    match state.pin(&tp.topic) {
        Some(pin) if pin == count => Ok(()),
        Some(pin) => Err(blocked(
            BlockReason::Pinned,
            format!(
                "{} has {count} partitions and had {pin}: what is counted by key would be split over two of them; move to a new topic with {count} partitions instead",
                tp.topic
            ),
        )),
        None => {
            let key = format!("pin/{}", tp.topic);
            state.put(&key, &key, Some(count.to_string().as_bytes())).map_err(|e| of_state(&e))?;
            Ok(())
        }
    }
}

/// What a person accepts who runs `kafka2prom topics accept-loss`: to go on where the log
/// begins now, with what there is. `Err`: nothing is missing, or it cannot be said.
pub(crate) fn accept_loss(known: &Known, log: Extent, now: i64) -> Result<Loss, String> {
    let marked = Marked { snapshot: String::new(), shown: true };
    match choose(known, log, &marked, &[]) {
        Plan::Snapshot(id, _) => Err(format!("nothing is missing: the snapshot {id} goes on inside the log")),
        Plan::Beginning { offset, .. } => {
            Err(format!("nothing is missing: the log is there from its beginning, {offset}"))
        }
        Plan::AfterLoss { resume, .. } => Err(format!("accepted already: replay goes on at {resume}")),
        Plan::Missing { .. } => {
            let newest = known.snapshots.iter().filter(|(_, m)| m.offset <= log.end).max_by_key(|(_, m)| m.offset);
            Ok(Loss { resume: log.start, base: newest.map(|(id, _)| id.clone()), time: now })
        }
    }
}

/// Writes an [`accept_loss`] of what is there now.
pub(crate) fn accept(kafka: &KafkaConfig, state: &Arc<str>, tp: &Tp) -> Result<String, String> {
    let runtime = RuntimeMetrics::new(&Registry::new(), "", "").map_err(|e| e.to_string())?;
    let log = KafkaLog::new("accept-loss", &runtime);
    let appender = Arc::new(Appender::new(kafka, &log).map_err(|e| e.to_string())?);
    let shutdown = Shutdown::new();
    let state = StateLog::start(state, kafka, &log, &appender, &shutdown).map_err(|e| e.to_string())?;
    state.refresh().map_err(|e| e.to_string())?;
    let loss = accept_loss(&state.known(tp), state.extent(tp)?, unix_ms())?;
    let body = serde_json::to_vec(&loss).map_err(|e| e.to_string())?;
    let key = format!("{}/accept-loss", place(tp));
    state.put(&place(tp), &key, Some(&body)).map_err(|e| e.to_string())?;
    let base = loss.base.map_or("nothing".to_owned(), |id| format!("the snapshot {id}"));
    Ok(format!("{}: replay goes on at {} on top of {base}", place(tp), loss.resume))
}

fn missing(tp: &Tp, needed: i64, start: i64) -> Blocked {
    let place = place(tp);
    let detail = format!(
        "{place}: the records {needed} to {} are gone and no snapshot stands for them; `kafka2prom topics accept-loss {} {}` goes on without them",
        start - 1,
        tp.topic,
        tp.partition
    );
    blocked(BlockReason::MissingPrefix, detail)
}

pub(crate) fn of_state(error: &StateError) -> Blocked {
    blocked(BlockReason::State, error.to_string())
}
