//! What a scrape reads: immutable snapshots, published by a partition's one owner.
//!
//! A [`PartitionView`] is cheap to clone and to publish (a persistent map shares
//! everything that did not change). Readers never lock and never reach back into
//! the cache: what they hold stays as it was, whatever the owner does next.
use std::sync::Arc;

use imbl::OrdMap;

use crate::labels::Labels;
use crate::model::{MonoMs, UnixMs};
use crate::store::StoredDump;

/// One origin as of a moment: its labels and its newest accepted dump.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The origin's key in canonical form (`cluster="acme",job="spark"`), as it came
    /// or as it was made from a key that is no label set.
    pub key: Arc<str>,
    /// The record's key as it came: what a partitioner hashes (design §1.10).
    pub record_key: Arc<[u8]>,
    /// The labels injected into every sample.
    pub labels: Labels,
    /// The newest accepted dump; `None` once it went stale or was deleted (the entry
    /// then stays for `forget_after` so that its last-dump time can be seen).
    pub dump: Option<Arc<StoredDump>>,
    /// When the newest accepted dump was taken (`k2p-time`).
    pub dump_time: UnixMs,
    /// When it was published on this bridge.
    pub seen: MonoMs,
    /// Its record's offset.
    pub offset: i64,
    /// Bytes of the dump, decompressed.
    pub dump_bytes: u64,
    /// The topic's `timestamps: dump`: write `dump_time` on samples without their own.
    pub stamp: bool,
    /// Why the last record of this origin was refused, if it was newer than the dump.
    pub last_refusal: Option<Arc<str>>,
}

/// A partition as of a moment.
#[derive(Debug, Clone)]
pub struct PartitionView {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to process: everything below it is in this view, or was
    /// refused, superseded or dropped, and counted.
    pub position: i64,
    /// By origin key.
    pub origins: OrdMap<Arc<str>, Arc<Origin>>,
    /// Series over all origins that have a dump.
    pub series: u64,
    /// Estimated bytes of memory of everything that the partition's owner keeps for it.
    pub bytes: u64,
    /// Origins whose dumps are not read for now, because too many in a row were refused.
    pub quarantined: usize,
}
