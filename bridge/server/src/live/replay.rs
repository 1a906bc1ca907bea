//! What a partition of a replayed topic shows beside its view. Written by its worker and
//! by the writer of its snapshots; read by whoever answers.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use k2p_core::model::UnixMs;
use k2p_pipelines::runs::RunsView;
use k2p_push::GroupsView;

/// Why a replayed partition stands still: the bounded `reason` of
/// `kafka2prom_replay_blocked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockReason {
    /// The state topic cannot be read or written.
    State,
    /// The topic has another number of partitions than is pinned.
    Pinned,
    /// Records that the state is made of are gone.
    MissingPrefix,
    /// The topic's timestamps are the producers': no clock for replayed state.
    Timestamps,
    /// A record names templates (or a setting) whose text is not in the state topic.
    MissingText,
    /// A record made the program fail.
    Internal,
}

impl BlockReason {
    /// Every reason.
    pub const ALL: [BlockReason; 6] = [
        BlockReason::State,
        BlockReason::Pinned,
        BlockReason::MissingPrefix,
        BlockReason::Timestamps,
        BlockReason::MissingText,
        BlockReason::Internal,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockReason::State => "state",
            BlockReason::Pinned => "pinned",
            BlockReason::MissingPrefix => "missing_prefix",
            BlockReason::Timestamps => "timestamps",
            BlockReason::MissingText => "missing_text",
            BlockReason::Internal => "internal",
        }
    }
}

/// Why a replayed partition stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// For metrics.
    pub reason: BlockReason,
    /// What, where, why and the remedy.
    pub detail: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct ReplayStatus {
    replayed: AtomicBool,
    blocked: ArcSwapOption<Blocked>,
    runs: ArcSwapOption<RunsView>,
    groups: ArcSwapOption<GroupsView>,
    snapshot: ArcSwap<String>,
    /// The source offset of the newest snapshot that was read back; -1: none.
    snapshot_offset: AtomicI64,
    /// When it was written, Unix ms; 0: none.
    snapshot_written: AtomicI64,
    /// Its bytes.
    snapshot_bytes: AtomicU64,
}

impl ReplayStatus {
    /// Says that the partition is replayed and not cached; once, before it is worked on.
    pub fn set_replayed(&self, snapshot: &str) {
        self.snapshot.store(Arc::new(snapshot.to_owned()));
        self.snapshot_offset.store(-1, Ordering::Relaxed);
        self.replayed.store(true, Ordering::Relaxed);
    }

    /// Whether it is replayed (events, pushes), and its origins are no dumps.
    pub fn is_replayed(&self) -> bool {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Stops the partition, or lets it go on.
    pub fn set_blocked(&self, blocked: Option<Blocked>) {
        self.blocked.store(blocked.map(Arc::new));
    }

    /// Why it stands still; `None`: it does not.
    pub fn blocked(&self) -> Option<Arc<Blocked>> {
        self.blocked.load_full()
    }

    /// Publishes the runs, after the view that belongs to them.
    pub fn set_runs(&self, runs: Arc<RunsView>) {
        self.runs.store(Some(runs));
    }

    /// The runs as of the last view; `None` where there are none to be had.
    pub fn runs(&self) -> Option<Arc<RunsView>> {
        self.runs.load_full()
    }

    /// Publishes the pushed groups, after the view that belongs to them.
    pub fn set_groups(&self, groups: Arc<GroupsView>) {
        self.groups.store(Some(groups));
    }

    /// The pushed groups as of the last view; `None` where there are none to be had.
    pub fn groups(&self) -> Option<Arc<GroupsView>> {
        self.groups.load_full()
    }

    /// A snapshot is whole and was read back (or was begun with).
    pub fn set_snapshot(&self, id: &str, offset: i64, written: UnixMs, bytes: u64) {
        self.snapshot.store(Arc::new(id.to_owned()));
        self.snapshot_offset.store(offset, Ordering::Relaxed);
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
        self.snapshot_written.store(written, Ordering::Relaxed);
    }

    /// The id of the newest one, for the marker; empty: none.
    pub fn snapshot(&self) -> Arc<String> {
        self.snapshot.load_full()
    }

    /// When it was written, its source offset and its bytes; `None` while there is none.
    pub fn snapshot_facts(&self) -> Option<(UnixMs, i64, u64)> {
        let written = self.snapshot_written.load(Ordering::Relaxed);
        let offset = self.snapshot_offset.load(Ordering::Relaxed);
        (written > 0).then(|| (written, offset, self.snapshot_bytes.load(Ordering::Relaxed)))
    }
}
