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
use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::{
    Applied, Dump, Identity, Now, Outcome, PartitionCache, Prepared, Taken, applied, older,
};
use crate::envelope::{self, Envelope, Op, RawRecord};
use crate::model::UnixMs;
use crate::parts::{Piece, Progress, Step};
use crate::reason::{DropReason, Refusal};

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
            headers: record
                .headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
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
        self.headers
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
            .collect()
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
        Conflator {
            reason,
            records: Vec::new(),
            bytes: 0,
        }
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
    pub fn flush(
        &mut self,
        cache: &mut PartitionCache,
        now: Now,
        report: &mut dyn FnMut(&OwnedRecord, Applied),
    ) {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        let headers: Vec<_> = records.iter().map(OwnedRecord::borrowed_headers).collect();
        let raws: Vec<RawRecord<'_>> = records
            .iter()
            .zip(&headers)
            .map(|(r, h)| r.raw(h))
            .collect();
        let mut results: Vec<Option<Applied>> = raws.iter().map(|_| None).collect();
        let groups = group(cache, &raws, now);
        let newcomers = groups.iter().filter(|g| !cache.is_living(&g.identity.key));
        if !cache.has_room_for(newcomers.count()) {
            for (raw, result) in raws.iter().zip(&mut results) {
                *result = Some(cache.apply(raw, now));
            }
        } else {
            for (raw, result) in raws.iter().zip(&mut results) {
                // A key that cannot be read belongs to no group.
                if cache.identity(raw.key.unwrap_or_default()).is_err() {
                    *result = Some(cache.apply(raw, now));
                }
            }
            for group in groups {
                self.settle(cache, &raws, &group, &mut results, now);
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
        let mut settling = Settling {
            cache,
            identity: &group.identity,
            reason: self.reason,
            now,
            raws,
            results,
        };
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

/// By origin, in the order of their first records.
fn group(cache: &mut PartitionCache, raws: &[RawRecord<'_>], now: Now) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut index: HashMap<Arc<str>, usize> = HashMap::new();
    for (i, raw) in raws.iter().enumerate() {
        let log_time = cache.log_reaches(raw.timestamp, now);
        let Ok(identity) = cache.identity(raw.key.unwrap_or_default()) else {
            continue;
        };
        let at = *index.entry(identity.key.clone()).or_insert_with(|| {
            groups.push(Group {
                identity,
                records: Vec::new(),
                log_times: Vec::new(),
            });
            groups.len() - 1
        });
        groups[at].records.push(i);
        groups[at].log_times.push(log_time);
    }
    groups
}

/// What one origin's records amount to, in order.
enum Event<'a> {
    /// A complete dump: its records, and what reading it gave, once it was tried.
    Dump {
        records: Vec<usize>,
        dump: Dump<'a>,
        /// Bytes of parts that are more than may be kept.
        overflow: Option<usize>,
        refusal: Option<Refusal>,
    },
    Delete {
        record: usize,
    },
    Bad {
        record: usize,
        refusal: Refusal,
    },
    /// A record that changes nothing but counters.
    Nothing {
        record: usize,
        reason: DropReason,
    },
    /// Parts of a dump that is not complete yet; only the last event may be one.
    Unfinished {
        records: Vec<usize>,
    },
}

/// The events of a group whose times, from the cached dump's on, never go back; `None`
/// if they do.
fn events<'a>(
    cache: &PartitionCache,
    raws: &[RawRecord<'a>],
    group: &Group,
) -> Option<Vec<Event<'a>>> {
    let mut reader = Reader {
        limit: cache.dump_bytes(),
        events: Vec::new(),
        open: None,
    };
    for (at, log_time) in group.records.iter().zip(&group.log_times) {
        reader.record(*at, &raws[*at], *log_time);
    }
    if let Some(open) = reader.open.take() {
        reader.events.push(Event::Unfinished {
            records: open.records,
        });
    }
    let mut newest = cache.newest_time(&group.identity.key);
    let mut moved = false;
    for event in &mut reader.events {
        let Event::Dump { records, dump, .. } = event else {
            continue;
        };
        let time = dump.at.dump_time;
        // Before any other dump was taken, rule 8 can be told without reading.
        if !moved && newest.is_some_and(|newest| older(time, newest)) {
            dump.pieces.clear();
            continue;
        }
        moved = true;
        if newest.is_some_and(|newest| time < newest) || records.is_empty() {
            return None;
        }
        newest = Some(time);
    }
    Some(reader.events)
}

/// Turns records into events, by the same steps as a cache.
struct Reader<'a> {
    limit: usize,
    events: Vec<Event<'a>>,
    open: Option<Open<'a>>,
}

struct Open<'a> {
    progress: Progress,
    records: Vec<usize>,
    content_type: Option<&'a str>,
    first_offset: i64,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Reader<'a> {
    fn record(&mut self, at: usize, raw: &RawRecord<'a>, log_time: UnixMs) {
        let envelope = match envelope::open(raw) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                self.events.push(Event::Bad {
                    record: at,
                    refusal,
                });
                return;
            }
        };
        let piece = Piece {
            encoding: envelope.encoding,
            body: envelope.body,
        };
        if envelope.part.is_some() {
            self.part(at, &envelope, piece, log_time);
            return;
        }
        self.drop_open();
        if envelope.op == Op::Delete {
            self.events.push(Event::Delete { record: at });
            return;
        }
        self.complete(
            Open {
                progress: Progress::whole(),
                records: vec![at],
                content_type: envelope.content_type,
                first_offset: envelope.offset,
                pieces: vec![piece],
            },
            &envelope,
            log_time,
        );
    }

    fn part(&mut self, at: usize, envelope: &Envelope<'a>, piece: Piece<'a>, log_time: UnixMs) {
        let Some(part) = &envelope.part else {
            return;
        };
        match Progress::step(self.open.as_ref().map(|o| &o.progress), part) {
            Step::Repeat => self.nothing(at, DropReason::Duplicate),
            Step::Stray => self.nothing(at, DropReason::IncompleteParts),
            Step::Gap => {
                self.drop_open();
                self.nothing(at, DropReason::IncompleteParts);
            }
            Step::Begin => {
                self.drop_open();
                self.open = Some(Open {
                    progress: Progress::begin(part),
                    records: vec![at],
                    content_type: envelope.content_type,
                    first_offset: envelope.offset,
                    pieces: vec![piece],
                });
            }
            Step::Next => {
                if let Some(open) = &mut self.open {
                    open.progress.advance();
                    open.records.push(at);
                    open.pieces.push(piece);
                }
            }
        }
        if let Some(open) = self.open.take_if(|o| o.progress.finished()) {
            self.complete(open, envelope, log_time);
        }
    }

    fn complete(&mut self, open: Open<'a>, last: &Envelope<'a>, log_time: UnixMs) {
        let bytes: usize = open.pieces.iter().map(|p| p.body.len()).sum();
        self.events.push(Event::Dump {
            overflow: (last.part.is_some() && bytes > self.limit).then_some(bytes),
            refusal: None,
            records: open.records,
            dump: Dump {
                content_type: open.content_type,
                pieces: open.pieces,
                at: Taken {
                    dump_time: last.dump_time,
                    offset: last.offset,
                    first_offset: open.first_offset,
                    log_time,
                },
            },
        });
    }

    fn nothing(&mut self, record: usize, reason: DropReason) {
        self.events.push(Event::Nothing { record, reason });
    }

    fn drop_open(&mut self) {
        for record in self.open.take().into_iter().flat_map(|open| open.records) {
            self.nothing(record, DropReason::IncompleteParts);
        }
    }
}

/// One origin's way into the cache.
struct Settling<'c, 'r> {
    cache: &'c mut PartitionCache,
    identity: &'c Identity,
    reason: DropReason,
    now: Now,
    raws: &'r [RawRecord<'r>],
    results: &'r mut [Option<Applied>],
}

impl Settling<'_, '_> {
    /// The newest dump that can be shown, by its place among the events. Those after it
    /// then hold their refusal.
    fn find_newest(&mut self, events: &mut [Event<'_>]) -> Option<(usize, Prepared)> {
        for (i, event) in events.iter_mut().enumerate().rev() {
            let Event::Dump {
                dump,
                overflow,
                refusal,
                ..
            } = event
            else {
                continue;
            };
            if dump.pieces.is_empty() {
                continue;
            }
            let read = match overflow {
                Some(bytes) => Err(self.cache.parts_too_large(*bytes)),
                None => self.cache.read(self.identity, dump),
            };
            match read {
                Ok(prepared) => return Some((i, prepared)),
                Err(why) => *refusal = Some(why),
            }
        }
        None
    }

    fn replay(&mut self, events: Vec<Event<'_>>, newest: Option<(usize, Prepared)>) {
        let (counts, mut prepared) = match newest {
            Some((at, prepared)) => (Some(at), Some(prepared)),
            None => (None, None),
        };
        let mut earlier: Vec<UnixMs> = Vec::new();
        for (i, event) in events.into_iter().enumerate() {
            let before = counts.is_some_and(|at| i < at);
            match event {
                Event::Dump {
                    records,
                    dump,
                    refusal,
                    ..
                } => {
                    let last = self.settle_parts(&records);
                    if dump.pieces.is_empty() {
                        self.cache.observe(&self.identity.key, dump.at.dump_time);
                        self.set(&records, DropReason::Older);
                    } else if before {
                        earlier.push(dump.at.dump_time);
                        self.set(&records, self.reason);
                    } else if let Some(prepared) = prepared.take_if(|_| counts == Some(i)) {
                        let done =
                            self.cache
                                .accept(self.identity, dump.at, prepared, &earlier, self.now);
                        self.results[last] = Some(done);
                    } else if let Some(refusal) = refusal {
                        self.cache.observe(&self.identity.key, dump.at.dump_time);
                        self.refuse(last, refusal);
                    }
                }
                Event::Bad { record, refusal } => self.refuse(record, refusal),
                Event::Delete { record } if before => self.set(&[record], self.reason),
                Event::Delete { record } => {
                    let done = self
                        .cache
                        .delete(&self.identity.key, self.raws[record].offset);
                    self.results[record] = Some(done);
                }
                Event::Nothing { record, reason } => self.set(&[record], reason),
                Event::Unfinished { records } => {
                    for record in records {
                        self.results[record] = Some(self.cache.apply(&self.raws[record], self.now));
                    }
                }
            }
        }
    }

    /// All records of a dump but the last are parts; that one tells what became of it.
    fn settle_parts(&mut self, records: &[usize]) -> usize {
        for record in records {
            self.results[*record] = Some(applied(
                &self.identity.key,
                self.raws[*record].offset,
                Outcome::Pending,
            ));
        }
        records.last().copied().unwrap_or_default()
    }

    fn set(&mut self, records: &[usize], reason: DropReason) {
        for record in records {
            let outcome = Outcome::Dropped(reason);
            self.results[*record] = Some(applied(
                &self.identity.key,
                self.raws[*record].offset,
                outcome,
            ));
        }
    }

    fn refuse(&mut self, record: usize, refusal: Refusal) {
        let (key, offset) = (Some(&self.identity.key), self.raws[record].offset);
        let done = self.cache.refuse(key, offset, refusal, self.now);
        self.results[record] = Some(done);
    }
}
