//! The cache of one partition: exactly one owner mutates it, others read the views that
//! it publishes.
//!
//! A record goes: envelope → parts → rule 8 of design §1 → limits → decompress → read →
//! store → view. Whatever is refused or dropped changes nothing but counters: the last
//! good dump stays until it is stale.
//!
//! - **An origin is its key in canonical form.** A key that is no label set counts as
//!   `instance="<key>"`, so that this key and that label set are one origin. Two
//!   different keys stay two origins even where topic labels make their injected labels
//!   equal; a scrape then shows a series that both have once.
//! - **Rule 8**: a dump up to 10 min older than the newest accepted one of its origin is
//!   dropped, also if that one went stale or was deleted meanwhile; older by more means
//!   that the clock was set back. A deletion always holds, whatever its time says.
//! - **Staleness** runs on the monotonic clock from the moment a dump came. While
//!   catching up, a dump's age is that of its place in the log: the newest record
//!   timestamp up to it, against now. One origin with a slow clock is thus not stale
//!   where its neighbours are up to date.
mod config;
mod interval;
mod memory;
mod outcome;
mod quarantine;
mod read;
mod slots;
mod steps;
mod take;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::OrdMap;

pub use config::{CacheConfig, Limits, Now, Staleness};
pub(crate) use interval::CLOCK_SET_BACK;
pub use memory::{TopicMemory, UNLIMITED};
pub use outcome::{Accepted, Applied, CatalogueEntry, Expired, Outcome, RefusedRecord};
pub use quarantine::{PERIOD as QUARANTINE, REFUSED_IN_A_ROW};
pub(crate) use read::Prepared;

use crate::envelope::{self, OriginKey, RawRecord};
use crate::labels::Labels;
use crate::model::{MonoMs, UnixMs};
use crate::partitioner::partition_of;
use crate::parts::{Assembly, Piece};
use crate::reason::DropReason;
use crate::store::shape::Shapes;
use crate::view::{Origin, PartitionView};
use interval::Interval;
use memory::Share;
use quarantine::Quarantine;

/// How many refusals are kept for the status page.
pub const KEPT_REFUSALS: usize = 50;

/// The cache of one partition.
#[derive(Debug)]
pub struct PartitionCache {
    topic: Arc<str>,
    partition: i32,
    config: CacheConfig,
    /// How many partitions the topic had, and has (rule 10).
    counts: (Arc<[i32]>, i32),
    /// How often it was configured anew.
    configured: u64,
    slots: HashMap<Arc<str>, Slot, RandomState>,
    unfinished: HashMap<Arc<str>, Assembly>,
    refusals: VecDeque<RefusedRecord>,
    quarantine: Quarantine,
    /// What readers see; shares everything with earlier views that did not change.
    origins: OrdMap<Arc<str>, Arc<Origin>>,
    position: i64,
    log_time: UnixMs,
    live: bool,
    living: usize,
    series: u64,
    /// Of the origins and their dumps, without the shapes.
    bytes: u64,
    /// Of the parts of unfinished dumps.
    parts_bytes: u64,
    share: Share,
    /// `None`: every dump is read anew.
    shapes: Option<Shapes>,
}

/// What the owner knows of an origin beside what it shows.
#[derive(Debug)]
struct Slot {
    origin: Arc<Origin>,
    interval: Interval,
    /// When its newest accepted dump came, by the place in the log.
    fresh: MonoMs,
    /// The configuration under which its labels were made.
    configured: u64,
    /// Bytes that its dump may take though the topic's memory is full.
    entitled: u64,
}

/// Whose record it is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) key: Arc<str>,
    pub(crate) record_key: Arc<[u8]>,
    pub(crate) labels: Labels,
}

/// A complete dump, however many records it came in.
#[derive(Debug, Clone)]
pub(crate) struct Dump<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) pieces: Vec<Piece<'a>>,
    pub(crate) at: Taken,
}

/// When and where a dump was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) dump_time: UnixMs,
    /// The record that completes it.
    pub(crate) offset: i64,
    /// Where a new owner must begin to read it.
    pub(crate) first_offset: i64,
    /// The newest record timestamp of the log up to it.
    pub(crate) log_time: UnixMs,
}

impl PartitionCache {
    /// An empty cache that will read from `position` on.
    pub fn new(topic: Arc<str>, partition: i32, position: i64, config: CacheConfig) -> Self {
        PartitionCache {
            topic,
            partition,
            share: Share::open(config.memory.clone()),
            config,
            counts: ([].into(), 0),
            configured: 0,
            slots: HashMap::default(),
            unfinished: HashMap::new(),
            refusals: VecDeque::new(),
            quarantine: Quarantine::default(),
            origins: OrdMap::new(),
            position,
            log_time: UnixMs::MIN,
            live: false,
            living: 0,
            series: 0,
            bytes: 0,
            parts_bytes: 0,
            shapes: Some(Shapes::default()),
        }
    }

    /// Reads and stores every dump anew, as the shapes must do it faster: the tests hold
    /// both side by side.
    pub fn without_shapes(self) -> Self {
        PartitionCache { shapes: None, ..self }
    }

    /// Takes a new configuration: for dumps to come, and for staleness at once.
    pub fn configure(&mut self, config: CacheConfig) {
        self.configured += 1;
        self.config = config;
    }

    /// Says that the partition is live: from now on a dump is as old as its arrival.
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Takes over what an earlier owner knew of origins. To be called before the first
    /// record: an origin that is known already stays as it is. Entries whose key cannot
    /// be read are left out.
    pub fn seed(&mut self, entries: impl IntoIterator<Item = CatalogueEntry>, now: Now) {
        for entry in entries {
            let Ok(identity) = self.identity(&entry.record_key) else {
                continue;
            };
            if self.slots.contains_key(&identity.key) || self.moved_away(&entry.record_key) || !self.make_room() {
                continue;
            }
            let age = now.unix.saturating_sub(entry.dump_time).max(0);
            let slot = Slot {
                origin: Arc::new(Origin {
                    key: identity.key.clone(),
                    record_key: identity.record_key,
                    labels: identity.labels,
                    dump: None,
                    dump_time: entry.dump_time,
                    seen: now.mono,
                    offset: entry.offset,
                    dump_bytes: 0,
                    stamp: self.config.stamp,
                    last_refusal: None,
                }),
                interval: Interval::known(entry.dump_time, entry.interval),
                fresh: now.mono.saturating_sub(age),
                configured: self.configured,
                entitled: 0,
            };
            self.show(slot);
            if entry.deleted {
                self.origins.remove(&identity.key);
            }
        }
    }

    /// What a new owner should know, of every origin.
    pub fn catalogue(&self) -> impl Iterator<Item = CatalogueEntry> {
        self.slots.values().map(|slot| CatalogueEntry {
            record_key: slot.origin.record_key.clone(),
            dump_time: slot.origin.dump_time,
            offset: slot.origin.offset,
            interval: slot.interval.get(),
            deleted: !self.origins.contains_key(&slot.origin.key),
        })
    }

    /// Applies one record, in the order of the log.
    pub fn apply(&mut self, record: &RawRecord<'_>, now: Now) -> Applied {
        self.passed(record.offset);
        let log_time = self.log_reaches(record.timestamp, now);
        let identity = match self.identity(record.key.unwrap_or_default()) {
            Ok(identity) => identity,
            Err(refusal) => return self.refuse(None, record.offset, refusal, now),
        };
        if self.moved_away(&identity.record_key) {
            return applied(&identity.key, record.offset, Outcome::Dropped(DropReason::Repartitioned));
        }
        match envelope::open_as(record, OriginKey::Labels(identity.labels.clone())) {
            Ok(envelope) => self.take(&identity, &envelope, log_time, now),
            Err(refusal) => self.refuse(Some(&identity.key), record.offset, refusal, now),
        }
    }

    /// Removes what is stale or long forgotten. To be called on a timer, whether or not
    /// records come.
    pub fn expire(&mut self, now: Now) -> Expired {
        let mut expired = Expired::default();
        for (key, slot) in &self.slots {
            let age = now.mono.saturating_sub(slot.fresh);
            let limit = match self.config.staleness {
                Staleness::Auto => slot.interval.staleness(),
                Staleness::After(ms) => ms,
            };
            if slot.origin.dump.is_some() && age > limit {
                expired.stale.push(key.clone());
            } else if slot.origin.dump.is_none() && age > self.config.forget_after {
                expired.forgotten.push(key.clone());
            }
        }
        expired.stale.sort();
        expired.forgotten.sort();
        for key in &expired.stale {
            self.hide(key);
        }
        for key in &expired.forgotten {
            self.forget(key);
        }
        expired.incomplete = self.expire_parts(now);
        self.quarantine.expire(now.mono);
        // Others' partitions came and went, shapes went with their last view.
        self.settle_memory();
        expired
    }

    /// What readers see from now on.
    pub fn view(&self) -> Arc<PartitionView> {
        Arc::new(PartitionView {
            topic: self.topic.clone(),
            partition: self.partition,
            position: self.position,
            origins: self.origins.clone(),
            series: self.series,
            bytes: self.used_bytes(),
            quarantined: self.quarantine.len(),
        })
    }

    /// Rule 10: the topic had `former` partitions and has `now`. Origins whose key belonged
    /// here and does not any more are forgotten, and their records dropped from now on: their
    /// newer dumps are another partition's. Returns how many were forgotten.
    pub fn repartitioned(&mut self, former: Arc<[i32]>, now: i32) -> usize {
        self.counts = (former, now);
        let moved: Vec<Arc<str>> = self
            .slots
            .iter()
            .filter(|(_, slot)| self.moved_away(&slot.origin.record_key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &moved {
            self.drop_unfinished(key);
            self.forget(key);
        }
        moved.len()
    }

    pub(crate) fn moved_away(&self, record_key: &[u8]) -> bool {
        let here = Some(self.partition);
        let (former, now) = &self.counts;
        let was_here = former.iter().any(|count| partition_of(record_key, *count) == here);
        was_here && partition_of(record_key, *now) != here
    }

    /// Records below `next` were left out by the caller, or never delivered (control
    /// records, aborted transactions): the position passes them.
    pub fn skip_to(&mut self, next: i64) {
        self.position = self.position.max(next);
    }

    /// The next offset to process.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Where a new owner must begin to read (design §1.7): the oldest offset among the
    /// newest accepted dumps of the living origins and the first parts of unfinished
    /// ones, none older than `rewind`; else the position.
    pub fn low_water(&self, now: Now) -> i64 {
        let recent = |since: MonoMs| now.mono.saturating_sub(since) <= self.config.rewind;
        let dumps = self.slots.values();
        let dumps =
            dumps.filter(|slot| slot.origin.dump.is_some() && recent(slot.fresh)).map(|slot| slot.origin.offset);
        let parts = self.unfinished.values();
        let parts = parts.filter(|assembly| recent(assembly.started)).map(|assembly| assembly.first_offset);
        dumps.chain(parts).min().unwrap_or(self.position)
    }

    /// The last [`KEPT_REFUSALS`] refused records, oldest first.
    pub fn refusals(&self) -> impl ExactSizeIterator<Item = &RefusedRecord> {
        self.refusals.iter()
    }

    /// The origin's observed interval in ms.
    pub fn interval(&self, key: &str) -> Option<i64> {
        self.slots.get(key)?.interval.get()
    }

    /// Origins that have a dump.
    pub fn living(&self) -> usize {
        self.living
    }
}

/// Rule 8: older, but not by so much that the clock was set back.
pub(crate) fn older(dump_time: UnixMs, newest: UnixMs) -> bool {
    dump_time < newest && newest.saturating_sub(dump_time) <= CLOCK_SET_BACK
}

pub(crate) fn applied(key: &Arc<str>, offset: i64, outcome: Outcome) -> Applied {
    Applied { offset, origin: Some(key.clone()), outcome, incomplete: 0 }
}
