//! The owner of the bridge's partitions: runs the ownership machine and does what it
//! says. Lives on the one thread that polls the consumer.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use k2p_core::model::MonoMs;
use k2p_core::ownership::{Action, Commit, Event, Found, Machine, State, Tp};
use k2p_runtime::clock::mono_ms;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::statistics::Statistics;

use super::context::{GroupConsumer, GroupContext};
use super::ffi::{self, CommitAnswer, CommitQueue};
use super::handover::Handover;
use super::remade;
use super::side::{Side, SideAnswer};
use super::worker::{WorkerFactory, WorkerHandle};
use crate::live::{LivePartition, LivePartitions};
use crate::metrics::ServerMetrics;

/// One partition that the group gave to this bridge.
pub(super) struct Owned {
    pub(super) live: Arc<LivePartition>,
    pub(super) lease: Arc<AtomicI64>,
    pub(super) worker: WorkerHandle,
    pub(super) handover: Handover,
    /// Of the topic that its worker reads; empty if unknown.
    pub(super) topic_id: Arc<str>,
}

impl Owned {
    /// A replayed partition that can be scraped, or could be a moment ago, is to write a
    /// snapshot before it goes.
    pub(super) fn want_snapshot(&self) {
        if self.live.replay.is_replayed() && self.live.state() == State::Live {
            self.worker.snapshot_soon();
        }
    }
}

/// See the module's documentation.
pub(super) struct Owner {
    pub(super) machine: Machine,
    pub(super) parts: BTreeMap<Tp, Owned>,
    /// Workers told to stop that may still hold their partition's queue: a new worker
    /// of the same partition begins when its predecessor has ended.
    pub(super) retired: BTreeMap<Tp, WorkerHandle>,
    pub(super) live: Arc<LivePartitions>,
    pub(super) metrics: ServerMetrics,
    pub(super) workers: WorkerFactory,
    pub(super) side: Side,
    pub(super) commits: Option<CommitQueue<GroupContext>>,
    /// Ends asked for and not answered yet, each with the number of its question: an
    /// answer to a question of an earlier assignment must not become a barrier.
    pub(super) ends_asked: BTreeMap<Tp, u64>,
    /// Numbers the questions.
    pub(super) questions: u64,
    /// The commit that was outstanding when partitions were last let go.
    pub(super) left_behind: Option<u64>,
    /// Why this process must end.
    pub(super) fatal: Option<&'static str>,
    pub(super) topics: Vec<Arc<str>>,
}

impl Owner {
    /// Everything that is due between two polls of the consumer.
    pub(super) fn step(&mut self, consumer: &Arc<GroupConsumer>) {
        self.take_answers(consumer, Duration::ZERO);
        self.take_side_answers();
        remade::look(self, consumer);
        self.report_progress(consumer);
        let generation = ffi::generation(consumer);
        self.handle(Event::Tick { generation });
        self.retired.retain(|_, worker| !worker.is_finished());
    }

    /// Runs one event through the machine now, and does what comes out of it.
    pub(super) fn handle(&mut self, event: Event) {
        self.handle_at(event, mono_ms());
    }

    /// The same for an event whose moment is known better (an answer's arrival).
    pub(super) fn handle_at(&mut self, event: Event, now: MonoMs) {
        let mut due = self.machine.handle(event, now);
        while !due.is_empty() {
            let mut more = Vec::new();
            for action in due {
                more.extend(self.run(action));
            }
            due = more;
        }
    }

    fn run(&mut self, action: Action) -> Vec<Action> {
        match action {
            Action::Expose { tp, visible } => {
                if let Some(part) = self.parts.get(&tp) {
                    part.live.set_live(visible);
                }
            }
            Action::Lease { tp, until } => {
                #[cfg(feature = "faults")]
                let until = crate::faults::lease_until(until);
                if let Some(part) = self.parts.get(&tp) {
                    part.lease.store(until, Ordering::SeqCst);
                }
            }
            Action::Commit(commit) => return self.commit(&commit),
            Action::ReadEnd(tp) => {
                if !self.ends_asked.contains_key(&tp) {
                    self.questions += 1;
                    self.ends_asked.insert(tp.clone(), self.questions);
                    self.side.ask_end(tp, self.questions);
                }
            }
            Action::Changed { tp, from, to } => self.changed(&tp, from, to),
            Action::ForeignMarker(tp) => {
                tracing::warn!(topic = %tp.topic, partition = tp.partition, "another bridge's marker on an owned partition: committing again");
                self.metrics.fences.with_label_values(&["foreign_marker"]).inc();
            }
        }
        Vec::new()
    }

    fn commit(&mut self, commit: &Commit) -> Vec<Action> {
        let mut commit = commit.clone();
        for entry in &mut commit.entries {
            if let Some(part) = self.parts.get(&entry.tp) {
                entry.marker.snapshot = part.live.replay.snapshot().as_str().into();
            }
        }
        let list = ffi::commit_list(&commit);
        let sent = match &self.commits {
            Some(queue) => queue.send(&list, commit.seq),
            None => Err(RDKafkaErrorCode::NoOffset),
        };
        let Err(error) = sent else { return Vec::new() };
        tracing::warn!(%error, seq = commit.seq, "a commit was not sent");
        self.metrics.commits.with_label_values(&["failed"]).inc();
        let answered = Event::CommitAnswered { seq: commit.seq, generation: -1, accepted: Vec::new() };
        self.machine.handle(answered, mono_ms())
    }

    /// Feeds the answers to commits that have arrived, waiting for the first one.
    pub(super) fn take_answers(&mut self, consumer: &GroupConsumer, timeout: Duration) {
        let mut timeout = timeout;
        while let Some(answer) = self.commits.as_ref().and_then(|q| q.poll(timeout)) {
            timeout = Duration::ZERO;
            self.answered(answer, ffi::generation(consumer));
        }
    }

    fn answered(&mut self, answer: CommitAnswer, generation: i32) {
        let result = match answer.error {
            None => "ok",
            Some(RDKafkaErrorCode::IllegalGeneration) => "illegal_generation",
            Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => "timeout",
            Some(_) => "failed",
        };
        self.metrics.commits.with_label_values(&[result]).inc();
        if let Some(error) = answer.error {
            tracing::info!(%error, seq = answer.seq, generation, "a commit proved nothing");
        }
        self.handle(Event::CommitAnswered { seq: answer.seq, generation, accepted: answer.accepted });
    }

    fn take_side_answers(&mut self) {
        while let Some(answer) = self.side.next_answer() {
            match answer {
                SideAnswer::End { tp, asked, end, topic_id } => {
                    if self.ends_asked.get(&tp) != Some(&asked) {
                        continue;
                    }
                    self.ends_asked.remove(&tp);
                    if let Some(end) = end {
                        if let Some(part) = self.parts.get(&tp) {
                            part.live.log_end.fetch_max(end, Ordering::Relaxed);
                        }
                        self.handle(Event::EndRead { tp, end, topic_id });
                    }
                }
                SideAnswer::Markers { at, markers } => self.markers(at, markers),
            }
        }
    }

    /// All markers of the group: for the machine, and as the group's map for routing.
    fn markers(&mut self, at: MonoMs, markers: Vec<(Tp, Found)>) {
        self.handle_at(Event::Watched(markers), at);
        for (tp, part) in &self.parts {
            part.worker.set_partitions(self.side.partition_count(&tp.topic));
        }
        self.live.publish_group(super::group::map(self.machine.watch(), self.side.partition_counts(), &self.topics));
    }

    /// Positions go to the machine before each tick and before each release.
    pub(super) fn report_progress(&mut self, consumer: &GroupConsumer) {
        let all: Vec<_> = self
            .parts
            .iter()
            .map(|(tp, part)| {
                if let Some(end) = ffi::cached_end(consumer, tp) {
                    part.live.log_end.fetch_max(end, Ordering::Relaxed);
                }
                Event::Progress(tp.clone(), part.worker.progress())
            })
            .collect();
        for event in all {
            self.handle(event);
        }
    }

    fn changed(&mut self, tp: &Tp, from: State, to: State) {
        let now = mono_ms();
        if from == State::Live && to == State::Fenced {
            tracing::error!(topic = %tp.topic, partition = tp.partition, "lease lapsed: the partition is dark until ownership is proven again");
            self.metrics.fences.with_label_values(&["lease_lapsed"]).inc();
        }
        tracing::debug!(topic = %tp.topic, partition = tp.partition, from = from.as_str(), to = to.as_str(), "partition state");
        if (from, to) == (State::Lost, State::Gone) {
            self.let_go(tp);
            return;
        }
        let Some(part) = self.parts.get_mut(tp) else { return };
        part.live.set_state(to);
        part.live.wait_until.store(self.machine.wait_until(tp).unwrap_or(0), Ordering::Relaxed);
        part.worker.set_live(to == State::Live);
        part.handover.step(tp, from, to, now, &self.metrics);
    }

    /// Takes a partition out of the table and ends its worker.
    pub(super) fn let_go(&mut self, tp: &Tp) {
        if let Some(part) = self.parts.remove(tp) {
            part.worker.stop();
            self.live.evict(&part.live);
            self.retired.insert(tp.clone(), part.worker);
        }
        self.ends_asked.remove(tp);
    }

    /// Statistics tell how full each partition's queue is.
    pub(super) fn queue_sizes(&self, statistics: &Statistics) {
        for (tp, part) in &self.parts {
            let stats = statistics.topics.get(&*tp.topic).and_then(|t| t.partitions.get(&tp.partition));
            if let Some(stats) = stats {
                part.live.queue_bytes.store(stats.fetchq_size, Ordering::Relaxed);
            }
        }
    }

    /// True when no worker of these has still to write the snapshot that it was asked for.
    pub(super) fn is_settled(&self, tps: &[Tp]) -> bool {
        tps.iter().filter_map(|tp| self.parts.get(tp)).all(|part| part.worker.is_settled())
    }

    /// [`Owner::is_settled`] of all.
    pub(super) fn all_settled(&self) -> bool {
        self.parts.values().all(|part| part.worker.is_settled())
    }

    /// True when nothing is owned and every worker has ended but those of partitions that
    /// are lost and still shown.
    pub(super) fn is_idle(&mut self) -> bool {
        self.retired.retain(|_, worker| !worker.is_finished());
        self.parts.keys().all(|tp| self.machine.state(tp) == State::Lost) && self.retired.is_empty()
    }
}
