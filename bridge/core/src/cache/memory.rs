//! What a topic's caches may take of a bridge's memory.
//!
//! **Whose account.** Each partition's owner adds up its own cache: nobody else writes it.
//! What partitions of one topic share is a [`TopicMemory`], two numbers that their owners
//! keep by atomic additions; no owner ever waits for another.
//!
//! **The rule** (`limits.cache_bytes`, per topic and bridge). Half of the limit is shared
//! out evenly: each partition that the bridge holds may always take its *part*. The other
//! half is the *pool*: what a partition takes beyond its part it takes from there, first
//! come, first served. A dump for which neither has room is refused; nothing that is shown
//! is ever taken away for another one's sake. So
//! - whatever floods one partition, the others keep their part of the limit, also when a
//!   bridge begins anew;
//! - an origin that is shown goes on: its next dump passes, room or not, while it takes at
//!   most an eighth more than the last one that there was room for ([`Share::admits`] is
//!   not asked). Digits of values may come and go; a flood cannot creep.
//!
//! The sum over all partitions thus never exceeds the limit by more than an eighth, and by
//! one dump of each partition where owners ask in the same moment.
//!
//! What is counted: values, shapes, keys and labels of the origins, parts of unfinished
//! dumps. What is not: records that wait unread (bounded by the queue's capacity and the
//! worker's own bound), former views that a scrape still holds, the allocator's rounding.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{PartitionCache, Slot};
use crate::reason::{RecordReason, Refusal};
use crate::store::StoredDump;
use crate::view::Origin;

/// No limit.
pub const UNLIMITED: usize = usize::MAX;

/// What the partitions of one topic share on one bridge.
#[derive(Debug, Default)]
pub struct TopicMemory {
    partitions: AtomicU64,
    /// Bytes that they take beyond their parts.
    pooled: AtomicU64,
}

/// One partition's account with its topic.
#[derive(Debug)]
pub(super) struct Share {
    topic: Arc<TopicMemory>,
    pooled: u64,
}

impl Share {
    pub(super) fn open(topic: Arc<TopicMemory>) -> Share {
        topic.partitions.fetch_add(1, Ordering::Relaxed);
        Share { topic, pooled: 0 }
    }

    /// What of `used` bytes is beyond the partition's part.
    fn beyond(&self, used: u64, limit: usize) -> u64 {
        let partitions = self.topic.partitions.load(Ordering::Relaxed).max(1);
        used.saturating_sub(limit as u64 / 2 / partitions)
    }

    /// Whether the partition may take so much.
    fn admits(&self, used: u64, limit: usize) -> bool {
        let mine = self.beyond(used, limit);
        let others = self.topic.pooled.load(Ordering::Relaxed).saturating_sub(self.pooled);
        mine == 0 || others.saturating_add(mine) <= limit as u64 / 2
    }

    /// Says what the partition takes.
    fn settle(&mut self, used: u64, limit: usize) {
        let mine = self.beyond(used, limit);
        if mine != self.pooled {
            // Wrapping: what is taken off was added by this very account.
            self.topic.pooled.fetch_add(mine.wrapping_sub(self.pooled), Ordering::Relaxed);
            self.pooled = mine;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.topic.pooled.fetch_sub(self.pooled, Ordering::Relaxed);
        self.topic.partitions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an origin takes whether or not it has a dump: its entries in the maps, key, labels.
fn known_bytes(origin: &Origin) -> u64 {
    // The key stands in two maps by reference; the persistent one holds a node of its own.
    let entries = size_of::<Slot>() + size_of::<Origin>() + 6 * size_of::<usize>();
    // As text, and name by name.
    let labels = 2 * origin.labels.canonical().len() + 32 * origin.labels.iter().len();
    (entries + origin.key.len() + origin.record_key.len() + labels) as u64
}

/// What a slot adds to its partition's account, shapes aside.
pub(super) fn weight(origin: &Origin) -> u64 {
    known_bytes(origin) + origin.dump.as_ref().map_or(0, |dump| dump.own_bytes() as u64)
}

impl PartitionCache {
    /// Estimated bytes of memory of everything that the cache holds.
    pub fn used_bytes(&self) -> u64 {
        self.bytes + self.parts_bytes + self.shapes.as_ref().map_or(0, |s| s.bytes() as u64)
    }

    /// Brings the topic's account up to date.
    pub(super) fn settle_memory(&mut self) {
        let (used, limit) = (self.used_bytes(), self.config.limits.cache_bytes);
        self.share.settle(used, limit);
    }

    /// Whether there is room for so many bytes more.
    pub(super) fn has_memory_for(&self, more: usize) -> bool {
        let limit = self.config.limits.cache_bytes;
        limit == UNLIMITED || self.share.admits(self.used_bytes().saturating_add(more as u64), limit)
    }

    /// Judges a dump that could be shown: `Ok` with the bytes that its origin may take from
    /// now on, also where there is no room. The dump's shape is in the account already.
    pub(super) fn admit_memory(&self, slot: Option<&Slot>, dump: &StoredDump) -> Result<u64, Refusal> {
        let limits = &self.config.limits;
        if limits.origin_bytes == UNLIMITED && limits.cache_bytes == UNLIMITED {
            return Ok(dump.own_bytes() as u64);
        }
        let last = slot.and_then(|slot| slot.origin.dump.as_deref());
        let takes = dump.bytes() as u64;
        if takes > limits.origin_bytes as u64 {
            return Err(origin_too_large(takes, limits.origin_bytes));
        }
        let freed = last.map_or(0, |last| match last.shape_id() == dump.shape_id() {
            true => last.own_bytes(),
            false => last.bytes(),
        });
        let after = (self.used_bytes() + dump.own_bytes() as u64).saturating_sub(freed as u64);
        if limits.cache_bytes == UNLIMITED || self.share.admits(after, limits.cache_bytes) {
            return Ok(takes);
        }
        let entitled = last.and(slot).map_or(0, |slot| slot.entitled);
        if takes <= entitled + entitled / 8 {
            return Ok(entitled.min(takes));
        }
        Err(self.no_memory(takes))
    }

    pub(super) fn no_memory(&self, takes: u64) -> Refusal {
        let (used, limit) = (self.used_bytes(), self.config.limits.cache_bytes);
        let detail = format!(
            "it would take {takes} bytes of memory, and the topic's caches are full: this partition has {used} bytes, the topic may have {limit} on a bridge: drop series at the target, raise the topic's cache_bytes, or add bridges"
        );
        Refusal::new(RecordReason::MemoryLimit, detail)
    }
}

fn origin_too_large(takes: u64, limit: usize) -> Refusal {
    let detail = format!(
        "it would take {takes} bytes of memory, an origin may take {limit}: drop series at the target, or raise the topic's origin_bytes"
    );
    Refusal::new(RecordReason::MemoryLimit, detail)
}
