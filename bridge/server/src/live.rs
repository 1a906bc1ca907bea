//! The table of live partitions: the only thing that consuming and exposing share.
//!
//! **Who writes what.** Consuming is the one writer of everything here: its
//! consumer thread inserts and removes partitions, moves their state, switches
//! them live and not live, extends the lease and publishes the group's map; the
//! partition's worker publishes its view, position, queue size and refusals.
//! Exposing only reads, with one exception: [`LivePartitions::switch_policy`],
//! which the admin API calls and the worker reads.
//!
//! **No writer ever waits for a reader.** Flags are atomics, views are swapped,
//! and the map is locked only while `Arc`s are cloned out of it. A slow scrape
//! holds immutable views, nothing else: eviction does not notice it.
//!
//! **One object per ownership.** A partition that is revoked and assigned again
//! gets a new [`LivePartition`], so what a reader took from the old one can never
//! pass for the new one's.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::State;
use k2p_core::view::PartitionView;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

mod replay;

pub use replay::{BlockReason, Blocked, ReplayStatus};

/// What a partition does when records come faster than they are applied (design §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Policy {
    // The default is the first: a cell of zero is it.
    /// The queue fills and only this partition waits.
    #[default]
    Backpressure,
    /// Only the newest complete dump of each origin is parsed.
    Conflate,
    /// The oldest records are dropped, counted.
    DropOldest,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 3] = [Policy::Backpressure, Policy::Conflate, Policy::DropOldest];

    /// As it is written in configuration and in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Backpressure => "backpressure",
            Policy::Conflate => "conflate",
            Policy::DropOldest => "drop_oldest",
        }
    }

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|p| p.as_str() == name)
    }

    fn from_u8(value: u8) -> Policy {
        Policy::ALL.into_iter().find(|p| *p as u8 == value).unwrap_or_default()
    }
}

/// Something refused on a partition, for the status page and `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When, wall clock.
    pub time: UnixMs,
    /// The record's offset.
    pub offset: i64,
    /// The origin's key, or the record's key as far as it could be read.
    pub origin: Arc<str>,
    /// The bounded reason, as in the metrics.
    pub reason: &'static str,
    /// What, where, why and the remedy, in one sentence (foreign text: escape it).
    pub detail: Arc<str>,
}

/// What a new [`LivePartition`] is made of.
#[derive(Debug, Clone)]
pub struct NewPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Until when (exclusive) the last acknowledged commit lets this bridge expose.
    /// Usually one for all partitions of a consumer.
    pub lease_until: Arc<AtomicI64>,
    /// The bound of its queue in bytes.
    pub queue_capacity: u64,
}

/// One partition that this bridge was assigned. See the module for who writes what.
#[derive(Debug)]
pub struct LivePartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The newest published view (written by the worker only).
    pub view: ArcSwap<PartitionView>,
    /// The next offset to process (written by the worker only).
    pub position: AtomicI64,
    /// The timestamp of the last processed record, Unix ms; 0: none yet.
    pub position_time: AtomicI64,
    /// The end of the log as last reported by the broker; -1: unknown.
    pub log_end: AtomicI64,
    /// Bytes waiting in the partition's queue.
    pub queue_bytes: AtomicU64,
    /// The queue's bound, bytes.
    pub queue_capacity: u64,
    /// When the wait for an earlier owner's lease ends; 0: no wait.
    pub wait_until: AtomicI64,
    /// Of a replayed topic: why it stands still, its snapshots.
    pub replay: ReplayStatus,
    lease_until: Arc<AtomicI64>,
    /// Odd: live. Each switch adds one, so that a reader sees a change between two looks.
    liveness: AtomicU64,
    state: AtomicU8,
    policy: Arc<AtomicU8>,
    refusals: ArcSwap<Vec<Arc<Refusal>>>,
    changed: Arc<watch::Sender<u64>>,
}

impl LivePartition {
    /// How many refusals a partition remembers.
    pub const KEPT_REFUSALS: usize = 32;

    /// Makes the partition visible to scrapes, or invisible at once. Never blocks.
    pub fn set_live(&self, live: bool) {
        let flip = |now: u64| (is_live(now) != live).then_some(now + 1);
        let _unchanged = self.liveness.fetch_update(Ordering::SeqCst, Ordering::SeqCst, flip);
        bump(&self.changed);
    }

    /// Whether it was switched live (the lease is another matter).
    pub fn live(&self) -> bool {
        is_live(self.liveness.load(Ordering::SeqCst))
    }

    /// Whether a scrape may see this partition at `now`: live, and the lease runs.
    pub fn may_expose(&self, now: MonoMs) -> bool {
        self.live() && self.lease_remaining(now) > 0 && self.replay.blocked().is_none()
    }

    /// Milliseconds left of the lease at `now`; negative once it has lapsed.
    pub fn lease_remaining(&self, now: MonoMs) -> i64 {
        self.lease_until.load(Ordering::SeqCst).saturating_sub(now)
    }

    /// Milliseconds left of the wait for an earlier owner, 0 where there is none.
    pub fn wait_remaining(&self, now: MonoMs) -> i64 {
        self.wait_until.load(Ordering::Relaxed).saturating_sub(now).max(0)
    }

    /// Records between the position and the log's end; `None` while the end is unknown.
    pub fn lag_records(&self) -> Option<u64> {
        let end = self.log_end.load(Ordering::Relaxed);
        let position = self.position.load(Ordering::Relaxed);
        (end >= 0).then(|| u64::try_from(end.saturating_sub(position)).unwrap_or(0))
    }

    /// The age of the last processed record while there is lag, else 0; `None` while
    /// either is unknown.
    pub fn lag_ms(&self, wall: UnixMs) -> Option<i64> {
        if self.lag_records()? == 0 {
            return Some(0);
        }
        let time = self.position_time.load(Ordering::Relaxed);
        (time > 0).then(|| wall.saturating_sub(time).max(0))
    }

    /// The protocol's state.
    pub fn state(&self) -> State {
        State::ALL.into_iter().find(|s| *s as u8 == self.state.load(Ordering::Relaxed)).unwrap_or(State::Gone)
    }

    /// Says which state the protocol is in, for people and metrics: visibility is
    /// [`set_live`](Self::set_live)'s alone.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
        bump(&self.changed);
    }

    /// It is not this bridge's any more.
    fn end(&self) {
        self.set_live(false);
        self.set_state(State::Gone);
    }

    /// The policy in force; the worker reads it before each batch.
    pub fn policy(&self) -> Policy {
        Policy::from_u8(self.policy.load(Ordering::Relaxed))
    }

    /// Remembers a refusal, the newest first; the worker is the only caller.
    pub fn refuse(&self, refusal: Refusal) {
        let old = self.refusals.load();
        let kept = old.iter().take(Self::KEPT_REFUSALS - 1).cloned();
        let list = std::iter::once(Arc::new(refusal)).chain(kept).collect();
        self.refusals.store(Arc::new(list));
    }

    /// The last refusals, the newest first.
    pub fn refusals(&self) -> Arc<Vec<Arc<Refusal>>> {
        self.refusals.load_full()
    }
}

fn is_live(liveness: u64) -> bool {
    liveness % 2 == 1
}

fn bump(changed: &watch::Sender<u64>) {
    changed.send_modify(|n| *n = n.wrapping_add(1));
}

/// A partition that may be exposed, with the view that belongs to this scrape.
#[derive(Debug, Clone)]
pub struct Exposed {
    /// The partition.
    pub partition: Arc<LivePartition>,
    /// Its view as of the scrape's arrival.
    pub view: Arc<PartitionView>,
}

/// Who holds a partition, by the markers in the group's commits (design §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// `H`: claimed by the owner that it names.
    Held,
    /// `R`: given back; the next owner has not claimed it yet.
    Released,
    /// No marker, or none of a known version.
    Unknown,
}

/// One partition in the group's map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// What its marker says.
    pub marker: Marker,
    /// The owner's peer address, if the marker names one.
    pub owner: Option<Arc<str>>,
    /// When this very marker was first seen.
    pub since: MonoMs,
}

/// The group's markers as the watcher last saw them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupMap {
    /// Every partition of every topic of the group is listed and its marker was read.
    pub complete: bool,
    /// By topic and partition: all partitions of the group, with or without an owner.
    pub partitions: BTreeMap<(Arc<str>, i32), Ownership>,
}

impl GroupMap {
    /// The addresses of all owners, each once, sorted.
    pub fn peers(&self) -> Vec<Arc<str>> {
        let held = self.partitions.values().filter(|o| o.marker == Marker::Held);
        let mut peers: Vec<Arc<str>> = held.filter_map(|o| o.owner.clone()).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}

/// All partitions of this bridge, the group's map, and how the bridge stands in the group.
#[derive(Debug)]
pub struct LivePartitions {
    map: DashMap<(Arc<str>, i32), Arc<LivePartition>>,
    policies: DashMap<Arc<str>, Arc<AtomicU8>>,
    group: ArcSwap<GroupMap>,
    changed: Arc<watch::Sender<u64>>,
    joined: AtomicBool,
    draining: AtomicBool,
}

impl Default for LivePartitions {
    fn default() -> LivePartitions {
        LivePartitions {
            map: DashMap::new(),
            policies: DashMap::new(),
            group: ArcSwap::default(),
            changed: Arc::new(watch::Sender::new(0)),
            joined: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }
}

impl LivePartitions {
    /// Declares a topic and its configured policy, before its partitions are inserted;
    /// again (a reload) to go back to the configured one.
    pub fn add_topic(&self, topic: Arc<str>, policy: Policy) {
        let cell = self.policies.entry(topic).or_default();
        cell.store(policy as u8, Ordering::Relaxed);
    }

    /// The topics, sorted, each with its policy in force.
    pub fn topics(&self) -> Vec<(Arc<str>, Policy)> {
        let policy = |p: &AtomicU8| Policy::from_u8(p.load(Ordering::Relaxed));
        let mut topics: Vec<_> = self.policies.iter().map(|t| (t.key().clone(), policy(t.value()))).collect();
        topics.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        topics
    }

    /// Switches a topic's policy at run time, for its present and later partitions.
    /// Returns the policy before, `None` for a topic that was not added.
    pub fn switch_policy(&self, topic: &str, policy: Policy) -> Option<Policy> {
        let cell = self.policies.get(topic)?;
        Some(Policy::from_u8(cell.swap(policy as u8, Ordering::Relaxed)))
    }

    /// Adds an assigned partition: not live, state `assigned`, an empty view. One that
    /// was there before is evicted.
    pub fn insert(&self, new: NewPartition) -> Arc<LivePartition> {
        let NewPartition { topic, partition, lease_until, queue_capacity } = new;
        let policy = self.policies.entry(topic.clone()).or_default().clone();
        let entry = Arc::new(LivePartition {
            topic: topic.clone(),
            partition,
            view: ArcSwap::from_pointee(empty_view(topic.clone(), partition)),
            position: AtomicI64::new(0),
            position_time: AtomicI64::new(0),
            log_end: AtomicI64::new(-1),
            queue_bytes: AtomicU64::new(0),
            queue_capacity,
            wait_until: AtomicI64::new(0),
            replay: ReplayStatus::default(),
            lease_until,
            liveness: AtomicU64::new(0),
            state: AtomicU8::new(State::Assigned as u8),
            policy,
            refusals: ArcSwap::default(),
            changed: self.changed.clone(),
        });
        if let Some(before) = self.map.insert((topic, partition), entry.clone()) {
            before.end();
        }
        bump(&self.changed);
        entry
    }

    /// Evicts a partition: no scrape that begins after this returns sees it. Waits for
    /// no reader: what a scrape in flight holds is its own. Only this entry goes: one that
    /// was inserted since, of the same partition, stays.
    pub fn evict(&self, entry: &Arc<LivePartition>) {
        entry.end();
        self.map.remove_if(&(entry.topic.clone(), entry.partition), |_, there| Arc::ptr_eq(there, entry));
    }

    /// The partition, live or not.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<LivePartition>> {
        self.map.get(&(Arc::from(topic), partition)).map(|e| e.value().clone())
    }

    /// All partitions, live or not, by topic and partition.
    pub fn all(&self) -> Vec<Arc<LivePartition>> {
        let mut all: Vec<_> = self.map.iter().map(|e| e.value().clone()).collect();
        all.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        all
    }

    /// What a scrape that arrived just now may show, by topic and partition. All views
    /// are taken first, then `clock` is read, then each lease is checked once (design
    /// §1.6): a lease that lapsed while the process stood still is noticed.
    pub fn snapshot(&self, clock: impl FnOnce() -> MonoMs) -> Vec<Exposed> {
        expose(self.all(), clock)
    }

    /// [`snapshot`](Self::snapshot) of one partition.
    pub fn snapshot_of(&self, topic: &str, partition: i32, clock: impl FnOnce() -> MonoMs) -> Option<Exposed> {
        expose(self.get(topic, partition).into_iter().collect(), clock).pop()
    }

    /// Publishes what the watcher saw; the watcher is the only caller.
    pub fn publish_group(&self, map: GroupMap) {
        self.group.store(Arc::new(map));
        bump(&self.changed);
    }

    /// The group's map as last seen.
    pub fn group(&self) -> Arc<GroupMap> {
        self.group.load_full()
    }

    /// Wakes on every change of a partition's state or visibility, and of the group's map.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the group was joined at least once; written by the consumer thread.
    pub fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// See [`set_joined`](Self::set_joined).
    pub fn joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// Says that everything is being handed over: never ready again.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// See [`set_draining`](Self::set_draining).
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Views first, then the clock, then the leases. A partition counts only if it was
/// live before its view was taken and has been ever since: else a view from before
/// an eviction, or of a partition still catching up, would pass for the new one.
fn expose(partitions: Vec<Arc<LivePartition>>, clock: impl FnOnce() -> MonoMs) -> Vec<Exposed> {
    let taken: Vec<_> =
        partitions.into_iter().map(|p| (p.liveness.load(Ordering::SeqCst), p.view.load_full(), p)).collect();
    let now = clock();
    taken
        .into_iter()
        .filter(|(before, _, p)| p.liveness.load(Ordering::SeqCst) == *before && p.may_expose(now))
        .map(|(_, view, partition)| Exposed { partition, view })
        .collect()
}

/// The view of a partition that was not read yet.
fn empty_view(topic: Arc<str>, partition: i32) -> PartitionView {
    PartitionView { topic, partition, position: 0, origins: Default::default(), series: 0, bytes: 0, quarantined: 0 }
}

#[cfg(test)]
mod tests;
