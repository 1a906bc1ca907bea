//! What became of a record: the caller counts it.
use std::sync::Arc;

use crate::codec::Format;
use crate::model::{Rejection, SampleReason, UnixMs};
use crate::reason::{DropReason, RecordReason, Refusal};

/// What became of one record.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The record's offset.
    pub offset: i64,
    /// The key of its origin, if it has one.
    pub origin: Option<Arc<str>>,
    /// What became of it.
    pub outcome: Outcome,
    /// Records of an unfinished dump that this one made impossible
    /// ([`DropReason::IncompleteParts`]).
    pub incomplete: u64,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is in the view now.
    Accepted(Accepted),
    /// It was refused whole; a candidate for the dead-letter topic.
    Refused(Refusal),
    /// It could have been read, but is not shown.
    Dropped(DropReason),
    /// Its origin has no dump any more.
    Deleted,
    /// A part; the dump is not complete yet.
    Pending,
}

/// An accepted dump.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its samples.
    pub series: u64,
    /// Its bytes, decompressed.
    pub bytes: u64,
    /// Its format.
    pub format: Format,
    /// When it was taken.
    pub dump_time: UnixMs,
    /// Lines that were rejected, counted by reason.
    pub rejected: Vec<(SampleReason, u64)>,
    /// The first of them.
    pub rejections: Vec<Rejection>,
    /// Samples that became the same series by renaming (see
    /// [`StoredDump::duplicates`](crate::store::StoredDump::duplicates)); to be counted as
    /// [`SampleReason::DuplicateSeries`].
    pub duplicates: u64,
}

/// A refused record, kept for the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Its offset.
    pub offset: i64,
    /// The key of its origin, if that could be read.
    pub origin: Option<Arc<str>>,
    /// The bounded reason.
    pub reason: RecordReason,
    /// What, where, remedy.
    pub detail: Arc<str>,
    /// When it was refused.
    pub time: UnixMs,
}

/// What a turn of the timer removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// Origins whose dump was removed.
    pub stale: Vec<Arc<str>>,
    /// Origins that are not known any more.
    pub forgotten: Vec<Arc<str>>,
    /// Records of unfinished dumps that were let go
    /// ([`DropReason::IncompleteParts`]).
    pub incomplete: u64,
}

impl Expired {
    /// Whether the view has changed.
    pub fn changed(&self) -> bool {
        !self.stale.is_empty() || !self.forgotten.is_empty()
    }
}

/// What a new owner should know of an origin beside what it reads (design §1.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The record's key.
    pub record_key: Arc<[u8]>,
    /// When the newest accepted dump was taken.
    pub dump_time: UnixMs,
    /// Its offset.
    pub offset: i64,
    /// The origin's observed interval in ms.
    pub interval: Option<i64>,
    /// It was deleted: nobody misses it, and no older dump may bring it back.
    pub deleted: bool,
}
