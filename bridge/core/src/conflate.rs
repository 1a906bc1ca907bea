//! Catching up: read of each origin only what a scrape could still see.
//!
//! Records are kept unread until a flush. Then the newest complete dump of each origin
//! is read first, an older one only if that is refused. The view is *exactly* that of
//! having applied all records in order:
//!
//! - Rule 8 judges by the time of the newest *accepted* dump, which is known only after
//!   reading. Where an origin's times never go back, any dump may be the newest; where
//!   they do, that origin's records are applied in order.
//! - Limits of one dump do not depend on others. The limit of origins depends on who
//!   comes first: if it could be reached, everything is applied in order.
//! - Deletions, refusals and unfinished parts that come after the dump that counts are
//!   applied after it, in order. An origin of which the cache holds an unfinished dump
//!   is applied in order.
//!
//! What was never read is counted with the conflator's reason; a refusal that in-order
//! application would have met before the dump that counts is not known.
mod events;
mod settle;

use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::{Applied, Identity, Now, PartitionCache};
use crate::envelope::RawRecord;
use crate::model::UnixMs;
use crate::reason::DropReason;
use events::events;
use settle::Settling;

/// A record that outlives its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The key.
    pub key: Option<Box<[u8]>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Box<[u8]>>,
    /// Name and value of each header.
    pub headers: Vec<(Box<str>, Box<[u8]>)>,
    /// The record's own timestamp.
    pub timestamp: Option<UnixMs>,
    /// Its offset.
    pub offset: i64,
}

impl OwnedRecord {
    /// Copies a record.
    pub fn copy(record: &RawRecord<'_>) -> OwnedRecord {
        OwnedRecord {
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
            headers: record.headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            timestamp: record.timestamp,
            offset: record.offset,
        }
    }

    /// Estimated bytes of memory.
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(n, v)| n.len() + v.len() + 32);
        size_of::<OwnedRecord>()
            + self.key.as_ref().map_or(0, |k| k.len())
            + self.value.as_ref().map_or(0, |v| v.len())
            + headers.sum::<usize>()
    }

    /// Lends the record in the form that a cache takes.
    pub fn with_raw<R>(&self, take: impl FnOnce(&RawRecord<'_>) -> R) -> R {
        let headers = self.borrowed_headers();
        take(&self.raw(&headers))
    }

    fn borrowed_headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect()
    }

    fn raw<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> RawRecord<'a> {
        RawRecord {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
            timestamp: self.timestamp,
            offset: self.offset,
        }
    }
}

/// Unread records of one partition. The caller flushes when
/// [`pending_bytes`](Conflator::pending_bytes) exceeds its bound, when it has caught up,
/// and before anything is committed: none of these records is in the cache yet.
#[derive(Debug)]
pub struct Conflator {
    reason: DropReason,
    records: Vec<OwnedRecord>,
    bytes: usize,
}

impl Conflator {
    /// An empty one. What is never read counts as `reason`: [`DropReason::Superseded`]
    /// while rewinding, [`DropReason::Conflated`] by policy.
    pub fn new(reason: DropReason) -> Conflator {
        Conflator { reason, records: Vec::new(), bytes: 0 }
    }

    /// Keeps a record; they come in the order of the log.
    pub fn push(&mut self, record: OwnedRecord) {
        self.bytes += record.bytes();
        self.records.push(record);
    }

    /// Estimated bytes of the records kept.
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// The number of records kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Brings the cache to where all records lead, and says of each, in the order of the
    /// log, what became of it.
    pub fn flush(&mut self, cache: &mut PartitionCache, now: Now, report: &mut dyn FnMut(&OwnedRecord, Applied)) {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        let headers: Vec<_> = records.iter().map(OwnedRecord::borrowed_headers).collect();
        let raws: Vec<RawRecord<'_>> = records.iter().zip(&headers).map(|(r, h)| r.raw(h)).collect();
        let mut results: Vec<Option<Applied>> = raws.iter().map(|_| None).collect();
        let (groups, keyless) = group(cache, &raws, now);
        let newcomers = groups.iter().filter(|g| !cache.is_living(&g.identity.key));
        if cache.has_room_for(newcomers.count()) {
            for at in keyless {
                results[at] = Some(cache.apply(&raws[at], now));
            }
            for group in groups {
                self.settle(cache, &raws, &group, &mut results, now);
            }
        } else {
            for (raw, result) in raws.iter().zip(&mut results) {
                *result = Some(cache.apply(raw, now));
            }
        }
        for (record, result) in records.iter().zip(results) {
            cache.passed(record.offset);
            if let Some(result) = result {
                report(record, result);
            }
        }
    }

    fn settle(
        &self,
        cache: &mut PartitionCache,
        raws: &[RawRecord<'_>],
        group: &Group,
        results: &mut [Option<Applied>],
        now: Now,
    ) {
        let events = match cache.has_unfinished(&group.identity.key) {
            true => None,
            false => events(cache, raws, group),
        };
        let Some(mut events) = events else {
            for at in &group.records {
                results[*at] = Some(cache.apply(&raws[*at], now));
            }
            return;
        };
        let mut settling = Settling { cache, identity: &group.identity, reason: self.reason, now, raws, results };
        let counts = settling.find_newest(&mut events);
        settling.replay(events, counts);
    }
}

/// The records of one origin.
struct Group {
    identity: Identity,
    /// Indices, in order, and the log's time at each.
    records: Vec<usize>,
    log_times: Vec<UnixMs>,
}

/// By origin, in the order of their first records; and those whose key cannot be read, or
/// is not this partition's any more.
fn group(cache: &mut PartitionCache, raws: &[RawRecord<'_>], now: Now) -> (Vec<Group>, Vec<usize>) {
    let (mut groups, mut keyless): (Vec<Group>, _) = (Vec::new(), Vec::new());
    let mut index: HashMap<Arc<str>, usize> = HashMap::new();
    for (i, raw) in raws.iter().enumerate() {
        let log_time = cache.log_reaches(raw.timestamp, now);
        let key = raw.key.unwrap_or_default();
        let Some(identity) = cache.identity(key).ok().filter(|_| !cache.moved_away(key)) else {
            keyless.push(i);
            continue;
        };
        let at = *index.entry(identity.key.clone()).or_insert_with(|| {
            groups.push(Group { identity, records: Vec::new(), log_times: Vec::new() });
            groups.len() - 1
        });
        groups[at].records.push(i);
        groups[at].log_times.push(log_time);
    }
    (groups, keyless)
}
