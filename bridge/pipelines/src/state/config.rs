//! What a topic's configuration says about its replayed state.
use std::sync::Arc;

use k2p_core::dedup::DedupWindow;
use k2p_core::labels::Labels;

use crate::event::EventLimits;
use crate::runs::RunLimits;

/// The configuration of an events topic.
///
/// Replayed state is a function of the log *and of these limits*: bridges of one group
/// must have the same ones. Changed limits hold from the place in the log at which the
/// first bridge with them goes on from a snapshot. `runs.lost_after_ms` is no such limit:
/// a judgement carries its own.
#[derive(Debug, Clone)]
pub struct EventConfig {
    /// The topic.
    pub topic: Arc<str>,
    /// Labels that the topic fixes: on every series, winning over all others.
    pub labels: Labels,
    /// Bytes of a record's value, decompressed.
    pub record_bytes: usize,
    /// What an event may hold.
    pub limits: EventLimits,
    /// Which ids are remembered.
    pub dedup: DedupWindow,
    /// Pipelines and jobs of one partition that have metrics of their own; those above
    /// share the subject `other/<partition>`.
    pub max_subjects: usize,
    /// What the run tracker keeps.
    pub runs: RunLimits,
    /// Bytes of a snapshot, decompressed, that are read.
    pub snapshot_bytes: u64,
}

impl Default for EventConfig {
    fn default() -> EventConfig {
        EventConfig {
            topic: Arc::from("k2p.events"),
            labels: Labels::default(),
            record_bytes: 16 << 20,
            limits: EventLimits::default(),
            dedup: DedupWindow::default(),
            max_subjects: 5_000,
            runs: RunLimits::default(),
            snapshot_bytes: 4 << 30,
        }
    }
}
