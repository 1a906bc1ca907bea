//! The worker of one replayed partition: the only one that mutates its state.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k2p_core::envelope::RawRecord;
use k2p_core::model::MonoMs;
use k2p_core::ownership::Tp;
use k2p_runtime::clock::{mono_ms, unix_ms};
use rdkafka::Offset;
use rdkafka::consumer::Consumer;

use super::begin::{Begun, begin, pinned};
use super::plan::Marked;
use super::snapshots::Job;
use super::{Due, Kind, ReplayShared, Replayed, blocked};
use crate::append::{Append, Done};
use crate::consume::context::GroupContext;
use crate::consume::counters::Counters;
use crate::consume::deadletter::DeadLetter;
use crate::consume::ffi::{PartitionQueue, Polled, Record};
use crate::consume::worker::Shared;
use crate::live::{BlockReason, Blocked, LivePartition, Refusal};

/// While it waits for something that wakes nobody: the client's first answer, a snapshot.
const IDLE: Duration = Duration::from_millis(50);
/// How long the client may take to read from the end, before that is said.
const SETTLES: MonoMs = 5000;
/// What stands still is tried again this often.
const AGAIN: Duration = Duration::from_millis(500);
/// While it catches up nobody looks.
const PUBLISH_BEHIND: MonoMs = 1000;
/// The clock is asked this often what it has decided.
const JUDGE_EVERY: MonoMs = 250;
/// A handover waits for a snapshot only if it saves this part of the snapshot interval.
const WORTH: u64 = 10;

/// One partition's replay.
pub(in crate::consume) struct Replay {
    pub(super) tp: Tp,
    pub(super) live: Arc<LivePartition>,
    pub(super) shared: Arc<Shared>,
    pub(super) marked: Marked,
    pub(super) kind: Arc<dyn Kind>,
    pub(super) replay: ReplayShared,
    pub(super) counters: Counters,
    pub(super) deadletter: Option<Arc<DeadLetter>>,
}

/// How serving a state ended.
enum Ended {
    /// The worker is to end.
    Stopped,
    /// It has to begin again, without this snapshot if one is named.
    Again(Option<String>),
}

impl Replay {
    /// Works until told to stop.
    pub(in crate::consume) fn run(self, queue: &PartitionQueue<GroupContext>) {
        let mut void = Vec::new();
        self.settle(queue);
        while !self.stopped() {
            let Some(begun) = self.begin(queue, &void) else { return };
            let floor = self.shared.position.load(Ordering::SeqCst);
            match (Serving::new(&self, begun, floor)).serve(queue) {
                Ended::Stopped => return,
                Ended::Again(another) => void.extend(another),
            }
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
    }

    /// Tries until there is a state and the consumer reads from where it goes on.
    fn begin(&self, queue: &PartitionQueue<GroupContext>, void: &[String]) -> Option<Begun> {
        let ReplayShared { state, clocks, .. } = &self.replay;
        while !self.stopped() {
            let begun = begin(&self.tp, &self.marked, &*self.kind, state, clocks, &self.live.replay, void);
            let sought = begun.and_then(|begun| {
                // One before: it tells whether this is the log that the snapshot is of.
                let checked = begun.snapshot.as_ref().is_some_and(|(_, time)| time.is_some());
                let from = if checked && begun.next > begun.start { begun.next - 1 } else { begun.next };
                // The partition may be a successor's by now, which must not be moved under it.
                if self.stopped() {
                    return Err(blocked(BlockReason::State, "told to end".to_owned()));
                }
                self.seek(queue, from).map_err(|why| blocked(BlockReason::State, why))?;
                Ok(begun)
            });
            match sought {
                Ok(begun) => {
                    self.block(None);
                    tracing::info!(topic = %self.tp.topic, partition = self.tp.partition, from = begun.next, snapshot = begun.snapshot.is_some(), "replaying");
                    return Some(begun);
                }
                Err(why) => self.block(Some(why)),
            }
            self.nap();
        }
        None
    }

    fn nap(&self) {
        let until = mono_ms() + i64::try_from(AGAIN.as_millis()).unwrap_or(0);
        while !self.stopped() && mono_ms() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn seek(&self, queue: &PartitionQueue<GroupContext>, from: i64) -> Result<(), String> {
        let to = Offset::Offset(from);
        let done = queue.consumer().seek(&self.tp.topic, self.tp.partition, to, Duration::from_secs(5));
        done.map_err(|error| format!("seek to {from}: {error}"))
    }

    /// Waits until the client reads from the end, where it was assigned. Before, it must
    /// not be told to seek: librdkafka asks for the end once more 500 ms after a seek that
    /// overtook the answer (`rd_kafka_toppar_handle_Offset`: "outdated offset response"),
    /// and goes on there; what lies between would be missing.
    fn settle(&self, queue: &PartitionQueue<GroupContext>) {
        let mut said_at = mono_ms() + SETTLES;
        while !self.stopped() {
            match queue.poll(IDLE) {
                Some(Polled::Record(_) | Polled::End(_)) => return,
                Some(Polled::Error(error)) => tracing::debug!(%error, "partition error; the client retries"),
                None => {}
            }
            if mono_ms() > said_at {
                said_at = MonoMs::MAX;
                let why = "Kafka has not said yet where the partition ends";
                self.block(Some(blocked(BlockReason::State, why)));
            }
        }
    }

    /// Says once why it stands still, and once that it goes on.
    fn block(&self, why: Option<Blocked>) {
        let before = self.live.replay.blocked();
        match &why {
            Some(now) if before.as_deref() != Some(now) => {
                tracing::error!(topic = %self.tp.topic, partition = self.tp.partition, reason = now.reason.as_str(), detail = %now.detail, "the partition stands still");
            }
            None if before.is_some() => {
                tracing::info!(topic = %self.tp.topic, partition = self.tp.partition, "the partition goes on");
            }
            _ => {}
        }
        self.live.replay.set_blocked(why);
    }

    fn tell(&self, refusals: Vec<Refusal>, raw: &RawRecord<'_>) {
        for refusal in refusals {
            if let Some(deadletter) = &self.deadletter {
                deadletter.send(raw, &self.tp.topic, self.tp.partition, refusal.reason, &refusal.detail);
            }
            self.live.refuse(refusal);
        }
    }
}

/// A state being served.
struct Serving<'a> {
    on: &'a Replay,
    state: Box<dyn Replayed>,
    /// The next offset to apply.
    next: i64,
    /// Append time of the record before `next`.
    last_time: Option<i64>,
    /// The snapshot that still has to be seen to be of this log.
    unproven: Option<(String, i64)>,
    /// Something was applied and is not shown.
    dirty: bool,
    published: MonoMs,
    /// What was shown already: nothing below may be shown again.
    floor: i64,
    judged: MonoMs,
    /// Records since the last snapshot, and when that was.
    since: u64,
    snapshot_at: MonoMs,
    snapshot_busy: Arc<AtomicBool>,
}

impl<'a> Serving<'a> {
    fn new(on: &'a Replay, mut begun: Begun, floor: i64) -> Serving<'a> {
        begun.state.begun(begun.next, begun.first);
        let unproven = begun.snapshot.and_then(|(id, time)| Some((id, time?))).filter(|_| begun.next > begun.start);
        Serving {
            on,
            state: begun.state,
            next: begun.next,
            last_time: unproven.as_ref().map(|(_, time)| *time),
            unproven,
            dirty: true,
            published: MonoMs::MIN / 2,
            floor,
            judged: 0,
            since: 0,
            snapshot_at: mono_ms(),
            snapshot_busy: Arc::default(),
        }
    }

    fn serve(mut self, queue: &PartitionQueue<GroupContext>) -> Ended {
        while !self.on.stopped() {
            let ended = match queue.poll(self.patience()) {
                Some(Polled::Record(record)) => self.record(&record),
                Some(Polled::End(offset)) => self.end(offset),
                Some(Polled::Error(error)) => {
                    tracing::debug!(%error, "partition error; the client retries");
                    None
                }
                None => {
                    self.publish_if_due(true);
                    None
                }
            };
            if let Some(ended) = ended {
                return ended;
            }
            self.duties();
        }
        Ended::Stopped
    }

    /// What is applied is shown soon, also if nothing follows. Else it sleeps until the clock
    /// is asked again, or until it is woken (`WorkerHandle`).
    fn patience(&self) -> Duration {
        if self.on.shared.snapshot_wanted.load(Ordering::SeqCst) {
            return IDLE;
        }
        let due = match self.dirty {
            true => self.published + self.state.publish_every(),
            false => self.judged + JUDGE_EVERY,
        };
        Duration::from_millis((due - mono_ms()).clamp(1, JUDGE_EVERY).unsigned_abs())
    }

    fn record(&mut self, record: &Record) -> Option<Ended> {
        let (offset, time) = (record.offset(), record.timestamp());
        if let Some((id, expected)) = self.unproven.take()
            && offset == self.next - 1
            && time != Some(expected)
        {
            tracing::error!(topic = %self.on.tp.topic, partition = self.on.tp.partition, snapshot = id, "the snapshot is of another log under the same name: it is void");
            return Some(Ended::Again(Some(id)));
        }
        if offset < self.next {
            return None;
        }
        if offset > self.next && self.is_cut(offset) {
            return Some(Ended::Again(None));
        }
        let value = record.value();
        self.on.counters.consumed(value.map_or(0, <[u8]>::len));
        let headers = record.headers();
        let raw = RawRecord { key: record.key(), value, headers: &headers, timestamp: time, offset };
        if !self.apply(&raw) {
            return Some(Ended::Stopped);
        }
        self.next = offset + 1;
        self.last_time = time;
        self.since += 1;
        self.dirty = true;
        if let Some(at) = time {
            self.on.live.position_time.store(at, Ordering::Relaxed);
        }
        self.publish_if_due(false);
        None
    }

    /// Whether records between are gone (else they were control records, which are never
    /// delivered).
    fn is_cut(&self, offset: i64) -> bool {
        loop {
            match self.on.replay.state.extent(&self.on.tp) {
                Ok(log) => return log.start > self.next && log.start <= offset,
                Err(why) => self.on.block(Some(blocked(BlockReason::State, why))),
            }
            if self.on.stopped() {
                return true;
            }
            self.on.nap();
            self.on.block(None);
        }
    }

    /// Applies a record; stands still as long as the state cannot. `false`: told to stop.
    fn apply(&mut self, raw: &RawRecord<'_>) -> bool {
        let mut stood = false;
        loop {
            let state = &mut self.state;
            // It does the same to every owner, whatever is left of it: still a function
            // of the log.
            let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state.apply(raw)));
            match applied.unwrap_or_else(|_| Ok(vec![failed(raw)])) {
                Ok(refusals) => {
                    self.on.tell(refusals, raw);
                    if stood {
                        self.on.block(None);
                    }
                    return true;
                }
                Err(why) => self.on.block(Some(why)),
            }
            stood = true;
            self.on.nap();
            if self.on.stopped() {
                return false;
            }
            // What it lacks may have come.
            if let Err(error) = self.on.replay.state.refresh() {
                tracing::debug!(%error, "state topic");
            }
        }
    }

    /// The end of the log: whatever lies below and was not delivered never will be.
    fn end(&mut self, offset: i64) -> Option<Ended> {
        if offset > self.next {
            if self.is_cut(offset) {
                return Some(Ended::Again(None));
            }
            self.next = offset;
            self.dirty = true;
        }
        self.publish_if_due(true);
        None
    }

    fn publish_if_due(&mut self, idle: bool) {
        let now = mono_ms();
        let live = self.on.shared.live.load(Ordering::SeqCst);
        let pace = match (live, idle) {
            (true, _) => self.state.publish_every(),
            (false, true) => 0,
            (false, false) => PUBLISH_BEHIND,
        };
        if !self.dirty || now < self.published + pace || self.next < self.floor {
            return;
        }
        self.state.publish(&self.on.live);
        // First the view, then the position: what is below a position can be scraped (G2).
        self.on.live.position.store(self.next, Ordering::SeqCst);
        self.on.shared.low_water.store(self.next, Ordering::SeqCst);
        self.on.shared.position.store(self.next, Ordering::SeqCst);
        self.dirty = false;
        self.published = now;
    }

    /// What is due whether or not records come.
    fn duties(&mut self) {
        let now = mono_ms();
        if self.on.shared.snapshot_wanted.load(Ordering::SeqCst) {
            self.last_snapshot();
        }
        if now < self.judged + JUDGE_EVERY {
            return;
        }
        self.judged = now;
        let live = self.on.shared.live.load(Ordering::SeqCst) && self.on.live.may_expose(now);
        self.check_pin();
        if !live {
            return;
        }
        self.judge();
        let pace = self.on.replay.pace;
        let interval = i64::try_from(pace.interval.as_millis()).unwrap_or(i64::MAX);
        let due = self.since >= pace.records || (self.since > 0 && now - self.snapshot_at >= interval);
        // Even if nothing changed, the very first one bounds what is replayed.
        if due && !self.snapshot_busy.load(Ordering::SeqCst) && self.on.replay.snapshots.has_room() {
            self.snapshot(now);
        }
    }

    /// The partition is about to be let go: what a successor would have to replay.
    fn last_snapshot(&mut self) {
        if self.snapshot_busy.load(Ordering::SeqCst) {
            return;
        }
        let leased = self.on.live.lease_remaining(mono_ms()) > 0;
        if leased && self.since > self.on.replay.pace.records / WORTH && self.on.replay.snapshots.has_room() {
            self.snapshot(mono_ms());
            return;
        }
        self.on.shared.snapshot_wanted.store(false, Ordering::SeqCst);
    }

    fn snapshot(&mut self, now: MonoMs) {
        self.snapshot_busy.store(true, Ordering::SeqCst);
        self.state.before_snapshot(self.next);
        self.on.replay.snapshots.write(Job {
            live: self.on.live.clone(),
            offset: self.next,
            last_time: self.last_time,
            bytes: self.state.snapshot(),
            busy: self.snapshot_busy.clone(),
        });
        self.since = 0;
        self.snapshot_at = now;
    }

    fn check_pin(&self) {
        let count = self.on.shared.partitions.load(Ordering::SeqCst);
        if count == 0 {
            return;
        }
        match pinned(&self.on.replay.state, &self.on.tp, count) {
            Err(why) if why.reason == BlockReason::Pinned => self.on.block(Some(why)),
            _ => {}
        }
    }

    /// Appends what the clock has decided; applied only when it is read back.
    fn judge(&mut self) {
        for due in self.state.due(unix_ms()) {
            self.append(&due);
        }
    }

    /// The producer's queue is the bound of what is under way; what is not acknowledged is
    /// judged again.
    fn append(&self, due: &Due) {
        let headers: Vec<(&str, &[u8])> = due.headers.iter().map(|(n, v)| (*n, v.as_slice())).collect();
        let append = Append {
            topic: &self.on.tp.topic,
            partition: Some(self.on.tp.partition),
            key: Some(&due.key),
            value: Some(&due.value),
            headers: &headers,
        };
        let result = |result| self.on.replay.appended.with_label_values(&[&*self.on.tp.topic, due.op, result]);
        let (ok, failed) = (result("ok"), result("failed"));
        let done: Done = Box::new({
            let failed = failed.clone();
            move |result| match result {
                Ok(_) => ok.inc(),
                Err(error) => {
                    tracing::warn!(%error, "a judgement was not appended; it is judged again");
                    failed.inc();
                }
            }
        });
        if let Err(error) = self.on.replay.appender.send(&append, done) {
            tracing::warn!(%error, "a judgement was not appended; it is judged again");
            failed.inc();
        }
    }
}

/// A record that made the program fail.
fn failed(raw: &RawRecord<'_>) -> Refusal {
    Refusal {
        time: unix_ms(),
        offset: raw.offset,
        origin: String::from_utf8_lossy(raw.key.unwrap_or_default()).into(),
        reason: "internal",
        detail: "reading it made the program fail; please report it with the record".into(),
    }
}
