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
mod outcome;
mod read;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use imbl::OrdMap;

pub use config::{CacheConfig, Limits, Now, Staleness};
pub(crate) use interval::CLOCK_SET_BACK;
pub use outcome::{Accepted, Applied, CatalogueEntry, Expired, Outcome, RefusedRecord};
pub(crate) use read::Prepared;

use crate::envelope::{self, Envelope, Op, OriginKey, RawRecord};
use crate::labels::Labels;
use crate::model::{MonoMs, UnixMs};
use crate::parts::{Assembly, Piece, Progress, Step};
use crate::reason::{DropReason, RecordReason, Refusal};
use crate::view::{Origin, PartitionView};
use interval::Interval;

/// How many refusals are kept for the status page.
pub const KEPT_REFUSALS: usize = 50;

/// The cache of one partition.
#[derive(Debug)]
pub struct PartitionCache {
    topic: Arc<str>,
    partition: i32,
    config: CacheConfig,
    slots: HashMap<Arc<str>, Slot>,
    unfinished: HashMap<Arc<str>, Assembly>,
    refusals: VecDeque<RefusedRecord>,
    /// What readers see; shares everything with earlier views that did not change.
    origins: OrdMap<Arc<str>, Arc<Origin>>,
    position: i64,
    log_time: UnixMs,
    live: bool,
    living: usize,
    series: u64,
    bytes: u64,
}

/// What the owner knows of an origin beside what it shows.
#[derive(Debug)]
struct Slot {
    origin: Arc<Origin>,
    interval: Interval,
    /// When its newest accepted dump came, by the place in the log.
    fresh: MonoMs,
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
            config,
            slots: HashMap::new(),
            unfinished: HashMap::new(),
            refusals: VecDeque::new(),
            origins: OrdMap::new(),
            position,
            log_time: UnixMs::MIN,
            live: false,
            living: 0,
            series: 0,
            bytes: 0,
        }
    }

    /// Takes a new configuration: for dumps to come, and for staleness at once.
    pub fn configure(&mut self, config: CacheConfig) {
        self.config = config;
    }

    /// Says that the partition is live: from now on a dump is as old as its arrival.
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Takes over what an earlier owner knew of origins; what this cache knows already
    /// and newer stays. Entries whose key cannot be read are left out.
    pub fn seed(&mut self, entries: impl IntoIterator<Item = CatalogueEntry>, now: Now) {
        for entry in entries {
            let Ok(identity) = self.identity(&entry.record_key) else {
                continue;
            };
            if self.slots.contains_key(&identity.key) || !self.make_room() {
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
            };
            self.show(slot);
        }
    }

    /// What a new owner should know, of every origin.
    pub fn catalogue(&self) -> impl Iterator<Item = CatalogueEntry> {
        self.slots.values().map(|slot| CatalogueEntry {
            record_key: slot.origin.record_key.clone(),
            dump_time: slot.origin.dump_time,
            offset: slot.origin.offset,
            interval: slot.interval.get(),
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
        match envelope::open(record) {
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
        let rewind = self.config.rewind;
        self.unfinished.retain(|_, assembly| {
            let keep = now.mono.saturating_sub(assembly.started) <= rewind;
            if !keep {
                expired.incomplete += assembly.records();
            }
            keep
        });
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
            bytes: self.bytes,
        })
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
        let dumps = dumps
            .filter(|slot| slot.origin.dump.is_some() && recent(slot.fresh))
            .map(|slot| slot.origin.offset);
        let parts = self.unfinished.values();
        let parts = parts
            .filter(|assembly| recent(assembly.started))
            .map(|assembly| assembly.first_offset);
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

    fn take(
        &mut self,
        identity: &Identity,
        envelope: &Envelope<'_>,
        log_time: UnixMs,
        now: Now,
    ) -> Applied {
        let key = &identity.key;
        let at = Taken {
            dump_time: envelope.dump_time,
            offset: envelope.offset,
            first_offset: envelope.offset,
            log_time,
        };
        if envelope.op == Op::Delete {
            let incomplete = self.drop_unfinished(key);
            return Applied {
                incomplete,
                ..self.delete(key, envelope.offset)
            };
        }
        if envelope.part.is_some() {
            return self.take_part(identity, envelope, at, now);
        }
        let incomplete = self.drop_unfinished(key);
        let dump = Dump {
            content_type: envelope.content_type,
            pieces: vec![Piece {
                encoding: envelope.encoding,
                body: envelope.body,
            }],
            at,
        };
        Applied {
            incomplete,
            ..self.complete(identity, &dump, now)
        }
    }

    fn take_part(
        &mut self,
        identity: &Identity,
        envelope: &Envelope<'_>,
        at: Taken,
        now: Now,
    ) -> Applied {
        let (key, limit) = (&identity.key, self.config.dump_bytes());
        let Some(part) = &envelope.part else {
            return applied(key, at.offset, Outcome::Pending);
        };
        let current = self.unfinished.get(key).map(|a| &a.progress);
        let mut incomplete = 0;
        match Progress::step(current, part) {
            Step::Repeat => {
                return applied(key, at.offset, Outcome::Dropped(DropReason::Duplicate));
            }
            step @ (Step::Stray | Step::Gap) => {
                if step == Step::Gap {
                    incomplete = self.drop_unfinished(key);
                }
                let outcome = Outcome::Dropped(DropReason::IncompleteParts);
                return Applied {
                    incomplete,
                    ..applied(key, at.offset, outcome)
                };
            }
            Step::Begin => {
                incomplete = self.drop_unfinished(key);
                if !self.admits(key) {
                    let refused = self.refuse(Some(key), at.offset, self.too_many(), now);
                    return Applied {
                        incomplete,
                        ..refused
                    };
                }
                let assembly = Assembly::begin(part, envelope, now.mono, limit);
                self.unfinished.insert(key.clone(), assembly);
            }
            Step::Next => {
                if let Some(assembly) = self.unfinished.get_mut(key) {
                    assembly.next(envelope, limit);
                }
            }
        }
        let unfinished = self.unfinished.get(key);
        let finished = unfinished.is_some_and(|a| a.progress.finished());
        let assembly = finished.then(|| self.unfinished.remove(key)).flatten();
        let Some(assembly) = assembly else {
            return Applied {
                incomplete,
                ..applied(key, at.offset, Outcome::Pending)
            };
        };
        Applied {
            incomplete,
            ..self.finish_parts(identity, &assembly, at, now)
        }
    }

    fn finish_parts(
        &mut self,
        identity: &Identity,
        assembly: &Assembly,
        at: Taken,
        now: Now,
    ) -> Applied {
        let at = Taken {
            first_offset: assembly.first_offset,
            ..at
        };
        match assembly.pieces() {
            Ok(pieces) => {
                let dump = Dump {
                    content_type: assembly.content_type.as_deref(),
                    pieces,
                    at,
                };
                self.complete(identity, &dump, now)
            }
            Err(bytes) => {
                self.observe(&identity.key, at.dump_time);
                if self.is_older(&identity.key, at.dump_time) {
                    let outcome = Outcome::Dropped(DropReason::Older);
                    return applied(&identity.key, at.offset, outcome);
                }
                let refusal = self.parts_too_large(bytes);
                self.refuse(Some(&identity.key), at.offset, refusal, now)
            }
        }
    }

    /// Judges a complete dump: rule 8, then the limits, then its content.
    fn complete(&mut self, identity: &Identity, dump: &Dump<'_>, now: Now) -> Applied {
        let key = &identity.key;
        self.observe(key, dump.at.dump_time);
        if self.is_older(key, dump.at.dump_time) {
            return applied(key, dump.at.offset, Outcome::Dropped(DropReason::Older));
        }
        if !self.admits(key) {
            return self.refuse(Some(key), dump.at.offset, self.too_many(), now);
        }
        match self.read(identity, dump) {
            Ok(prepared) => self.accept(identity, dump.at, prepared, &[], now),
            Err(refusal) => self.refuse(Some(key), dump.at.offset, refusal, now),
        }
    }
}

/// The steps, one by one, as a conflator takes them too.
impl PartitionCache {
    /// Whose record it is, and what labels its samples get.
    pub(crate) fn identity(&self, record_key: &[u8]) -> Result<Identity, Refusal> {
        let key = OriginKey::read(record_key)?;
        let text: Arc<str> = match &key {
            OriginKey::Labels(labels) => labels.canonical().into(),
            OriginKey::Opaque(_) => {
                let bare = envelope::origin_labels(&key, &Labels::default());
                bare.canonical().into()
            }
        };
        Ok(Identity {
            key: text,
            record_key: record_key.into(),
            labels: envelope::origin_labels(&key, &self.config.fixed),
        })
    }

    /// Everything below the next offset is in the cache, or accounted for.
    pub(crate) fn passed(&mut self, offset: i64) {
        self.position = self.position.max(offset.saturating_add(1));
    }

    /// The newest record timestamp so far; what lies in the future counts as now.
    pub(crate) fn log_reaches(&mut self, timestamp: Option<UnixMs>, now: Now) -> UnixMs {
        let timestamp = timestamp.unwrap_or(UnixMs::MIN).min(now.unix);
        self.log_time = self.log_time.max(timestamp);
        self.log_time
    }

    /// Whether a whole dump of that time would be dropped by rule 8.
    pub(crate) fn is_older(&self, key: &str, dump_time: UnixMs) -> bool {
        let newest = self.newest_time(key);
        newest.is_some_and(|newest| older(dump_time, newest))
    }

    /// When the newest accepted dump of an origin was taken.
    pub(crate) fn newest_time(&self, key: &str) -> Option<UnixMs> {
        Some(self.slots.get(key)?.origin.dump_time)
    }

    pub(crate) fn has_unfinished(&self, key: &str) -> bool {
        self.unfinished.contains_key(key)
    }

    pub(crate) fn is_living(&self, key: &str) -> bool {
        self.slots.get(key).is_some_and(|s| s.origin.dump.is_some())
    }

    /// Whether so many origins more may come to life, in any order, without a limit
    /// being reached.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        let unfinished = self.unfinished.len();
        self.living + unfinished + more <= self.config.limits.origins
            && self.slots.len() + more <= self.most_known()
    }

    /// Takes note of a complete dump's time, whatever becomes of it.
    pub(crate) fn observe(&mut self, key: &str, dump_time: UnixMs) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.interval.observe(dump_time);
        }
    }

    /// Reads a complete dump without changing anything.
    pub(crate) fn read(&self, identity: &Identity, dump: &Dump<'_>) -> Result<Prepared, Refusal> {
        read::read(
            &self.config,
            &identity.labels,
            dump.content_type,
            &dump.pieces,
        )
    }

    pub(crate) fn parts_too_large(&self, bytes: usize) -> Refusal {
        let limit = self.config.dump_bytes();
        let detail = format!(
            "its parts have {bytes} bytes, at most {limit} are taken: drop series at the target, or raise the topic's dump_bytes"
        );
        Refusal::new(RecordReason::TooLarge, detail)
    }

    /// The most bytes of a dump.
    pub(crate) fn dump_bytes(&self) -> usize {
        self.config.dump_bytes()
    }

    /// Shows a dump. `earlier`: times of dumps before it that were not looked at.
    pub(crate) fn accept(
        &mut self,
        identity: &Identity,
        at: Taken,
        prepared: Prepared,
        earlier: &[UnixMs],
        now: Now,
    ) -> Applied {
        let mut interval = match self.slots.get(&identity.key) {
            Some(slot) => slot.interval.clone(),
            None => {
                self.make_room();
                Interval::default()
            }
        };
        earlier.iter().for_each(|time| interval.observe(*time));
        interval.observe(at.dump_time);
        let age = match self.live || at.log_time == UnixMs::MIN {
            true => 0,
            false => now.unix.saturating_sub(at.log_time).max(0),
        };
        let accepted = Accepted {
            series: prepared.dump.series() as u64,
            bytes: prepared.bytes,
            format: prepared.format,
            dump_time: at.dump_time,
            rejected: prepared.rejected,
            rejections: prepared.rejections,
            duplicates: prepared.dump.duplicates(),
        };
        self.show(Slot {
            origin: Arc::new(Origin {
                key: identity.key.clone(),
                record_key: identity.record_key.clone(),
                labels: identity.labels.clone(),
                dump: Some(Arc::new(prepared.dump)),
                dump_time: at.dump_time,
                seen: now.mono,
                offset: at.first_offset,
                dump_bytes: prepared.bytes,
                stamp: self.config.stamp,
                last_refusal: None,
            }),
            interval,
            fresh: now.mono.saturating_sub(age),
        });
        applied(&identity.key, at.offset, Outcome::Accepted(accepted))
    }

    /// Notes a refusal, at the origin too if it is known.
    pub(crate) fn refuse(
        &mut self,
        key: Option<&Arc<str>>,
        offset: i64,
        refusal: Refusal,
        now: Now,
    ) -> Applied {
        let detail: Arc<str> = refusal.detail.as_str().into();
        if let Some(slot) = key.and_then(|key| self.slots.get_mut(key)) {
            let origin = Arc::new(Origin {
                last_refusal: Some(detail.clone()),
                ..Origin::clone(&slot.origin)
            });
            slot.origin = origin.clone();
            self.origins.insert(origin.key.clone(), origin);
        }
        if self.refusals.len() == KEPT_REFUSALS {
            self.refusals.pop_front();
        }
        self.refusals.push_back(RefusedRecord {
            offset,
            origin: key.cloned(),
            reason: refusal.reason,
            detail,
            time: now.unix,
        });
        Applied {
            offset,
            origin: key.cloned(),
            outcome: Outcome::Refused(refusal),
            incomplete: 0,
        }
    }

    /// Takes an origin's dump away.
    pub(crate) fn delete(&mut self, key: &Arc<str>, offset: i64) -> Applied {
        self.hide(key);
        applied(key, offset, Outcome::Deleted)
    }

    fn drop_unfinished(&mut self, key: &str) -> u64 {
        self.unfinished.remove(key).map_or(0, |a| a.records())
    }

    /// Whether the origin has a dump, or may have one beside the others.
    fn admits(&self, key: &str) -> bool {
        if self.is_living(key) {
            return true;
        }
        let limit = self.config.limits.origins;
        if self.living + self.unfinished.len() < limit {
            return true;
        }
        // Unfinished dumps of origins that have none yet hold a place as well.
        let waiting = self.unfinished.keys();
        let waiting = waiting.filter(|k| k.as_ref() != key && !self.is_living(k));
        self.living + waiting.count() < limit
    }

    fn too_many(&self) -> Refusal {
        let detail = format!(
            "the partition has {} origins already, its share of the topic's limit: raise the topic's origins, or add partitions",
            self.config.limits.origins
        );
        Refusal::new(RecordReason::TooManyOrigins, detail)
    }

    /// Origins with and without a dump together.
    fn most_known(&self) -> usize {
        self.config.limits.origins.saturating_mul(2)
    }

    /// Forgets the origin that has been without a dump for longest, if there are too
    /// many; `false` if nobody can go.
    fn make_room(&mut self) -> bool {
        if self.slots.len() < self.most_known() {
            return true;
        }
        let gone = self.slots.values().filter(|s| s.origin.dump.is_none());
        let oldest = gone.min_by_key(|s| (s.fresh, s.origin.key.clone()));
        match oldest.map(|s| s.origin.key.clone()) {
            Some(key) => {
                self.forget(&key);
                true
            }
            None => false,
        }
    }

    fn show(&mut self, slot: Slot) {
        self.hide(&slot.origin.key);
        if let Some(dump) = &slot.origin.dump {
            self.living += 1;
            self.series += dump.series() as u64;
            self.bytes += dump.bytes() as u64;
        }
        let key = slot.origin.key.clone();
        self.origins.insert(key.clone(), slot.origin.clone());
        self.slots.insert(key, slot);
    }

    fn hide(&mut self, key: &Arc<str>) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(dump) = slot.origin.dump.clone() else {
            return;
        };
        self.living -= 1;
        self.series -= dump.series() as u64;
        self.bytes -= dump.bytes() as u64;
        let origin = Arc::new(Origin {
            dump: None,
            dump_bytes: 0,
            ..Origin::clone(&slot.origin)
        });
        slot.origin = origin.clone();
        self.origins.insert(key.clone(), origin);
    }

    fn forget(&mut self, key: &Arc<str>) {
        self.hide(key);
        self.slots.remove(key);
        self.origins.remove(key);
    }
}

/// Rule 8: older, but not by so much that the clock was set back.
pub(crate) fn older(dump_time: UnixMs, newest: UnixMs) -> bool {
    dump_time < newest && newest.saturating_sub(dump_time) <= CLOCK_SET_BACK
}

pub(crate) fn applied(key: &Arc<str>, offset: i64, outcome: Outcome) -> Applied {
    Applied {
        offset,
        origin: Some(key.clone()),
        outcome,
        incomplete: 0,
    }
}
